//! Entries as observers and pulses are told of them.

use std::panic::Location;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use crate::core::Local;
use crate::observer::{Observer, Running};
use crate::pulse::Pulse;
use crate::ready_queue::Entry;
use crate::task::header::{Header, ShortId};
use crate::task::id::TaskId;

/// An entry under observation: it ends when this does, also by a panic.
pub(crate) struct Observed<'a> {
    local: &'a Local,
    observer: &'a Rc<dyn Observer>,
    task: Option<u64>,
}

impl<'a> Observed<'a> {
    pub(crate) fn task(local: &'a Local, observer: &'a Rc<dyn Observer>, header: &Header) -> Self {
        let name = if local.accounts.get() {
            local.with_extras(header, |extras| {
                extras.account.get_or_insert_default();
                extras.name.clone()
            })
        } else {
            local.extras(header, |extras| extras.name.clone()).flatten()
        };
        observer.begin(&Running::Task {
            id: TaskId(header.id()),
            site: header.site,
            name,
        });
        Self {
            local,
            observer,
            task: Some(header.id()),
        }
    }

    pub(crate) fn callback(
        local: &'a Local,
        observer: &'a Rc<dyn Observer>,
        site: &'static Location<'static>,
    ) -> Self {
        observer.begin(&Running::Callback { site });
        Self {
            local,
            observer,
            task: None,
        }
    }
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        let took = self.observer.end();
        if let (Some(took), Some(task)) = (took, self.task)
            && self.local.accounts.get()
        {
            self.local.enter_account(task, took);
        }
    }
}

/// What runs, in few words: who is told of nearly none of the entries does not want each of them described.
#[derive(Clone, Copy)]
pub(crate) struct Who {
    /// 0 for a callback.
    task: ShortId,
    site: &'static Location<'static>,
}

impl Who {
    #[inline]
    pub(super) fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Task(runnable) => Self::task(runnable.metadata()),
            Entry::Once(once) => Self::callback(once.site()),
            Entry::Callback(callback) => Self::callback(callback.site()),
            // Its owner polls it, and says so there.
            Entry::Main => Self::callback(Location::caller()),
        }
    }

    #[inline]
    pub(crate) fn task(header: &Header) -> Self {
        Self {
            task: header.short_id(),
            site: header.site,
        }
    }

    pub(crate) const fn callback(site: &'static Location<'static>) -> Self {
        Self {
            task: ShortId::NONE,
            site,
        }
    }
}

impl Pulse {
    /// `who` has run: tells of it if the counter has moved.
    #[inline]
    pub(crate) fn ran(&self, local: &Local, who: Who) {
        let (beat, seen) = self.counter();
        // Relaxed: nothing but the number itself.
        let now = beat.load(Ordering::Relaxed);
        if now != seen {
            self.moved(local, who, now);
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn moved(&self, local: &Local, who: Who, now: u32) {
        let (task, site) = (who.task.get(), who.site);
        let running = if task == 0 {
            Running::Callback { site }
        } else {
            Running::Task {
                id: TaskId(task),
                site,
                name: local.name_of(task),
            }
        };
        self.tell(now, &running);
    }
}
