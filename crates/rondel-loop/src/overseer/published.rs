//! What runs on a loop, as other threads may see it while it runs.

#![allow(
    unsafe_code,
    reason = "a pointer to a static is passed through an atomic"
)]

use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use rondel_executor::Running;

/// The entry that runs, written by the loop's thread with a few plain stores and read by any other.
///
/// `turn` is odd while an entry runs, and goes up by one whenever one begins or ends. Who reads it before and after the rest, and
/// finds the same odd number, has read what belongs together.
#[derive(Debug, Default)]
pub(crate) struct Published {
    turn: AtomicU64,
    /// The task's number; 0 for a callback.
    task: AtomicU64,
    /// A `&'static Location<'static>`, or null before the first entry.
    site: AtomicPtr<Location<'static>>,
    named: AtomicBool,
    /// The task's name, if `named`.
    name: Mutex<Option<Arc<str>>>,
}

/// What was seen running.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Differs for each entry.
    pub(crate) turn: u64,
    pub(crate) task: Option<u64>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Arc<str>>,
}

impl Published {
    pub(crate) fn begin(&self, entry: &Running) {
        // Relaxed: only this thread writes.
        let turn = self.turn.load(Ordering::Relaxed);
        // Whoever sees one of the stores below sees that the entry before has ended.
        fence(Ordering::Release);
        let (task, name) = match entry {
            Running::Task { id, name, .. } => (id.get(), name.as_ref()),
            _ => (0, None),
        };
        self.task.store(task, Ordering::Relaxed);
        self.site.store(
            std::ptr::from_ref(entry.site()).cast_mut(),
            Ordering::Relaxed,
        );
        let named = name.is_some();
        if named || self.named.load(Ordering::Relaxed) {
            let name = name.cloned();
            let before = std::mem::replace(
                &mut *self.name.lock().unwrap_or_else(PoisonError::into_inner),
                name,
            );
            drop(before);
            self.named.store(named, Ordering::Relaxed);
        }
        // Release: the number is odd only for who sees the rest.
        self.turn.store(turn | 1, Ordering::Release);
    }

    pub(crate) fn end(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        if turn & 1 == 1 {
            self.turn.store(turn + 1, Ordering::Relaxed);
        }
    }

    /// What runs at the moment; `None` if nothing does, or it changed while we looked.
    pub(crate) fn look(&self) -> Option<Seen> {
        let turn = self.turn.load(Ordering::Acquire);
        if turn & 1 == 0 {
            return None;
        }
        let task = self.task.load(Ordering::Relaxed);
        let site = self.site.load(Ordering::Relaxed);
        let name = if self.named.load(Ordering::Relaxed) {
            self.name
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        } else {
            None
        };
        fence(Ordering::Acquire);
        if self.turn.load(Ordering::Relaxed) != turn {
            return None;
        }
        // SAFETY: null, or what `begin` stored: a `&'static Location<'static>`, valid for ever and never written to.
        let site: &'static Location<'static> = unsafe { site.as_ref() }?;
        Some(Seen {
            turn,
            task: (task != 0).then_some(task),
            site,
            name,
        })
    }
}

impl Seen {
    /// The name it was given, else asyncio's `Task-N`; `None` for callbacks.
    pub(crate) fn task_name(&self) -> Option<String> {
        let id = self.task?;
        Some(match &self.name {
            Some(name) => name.to_string(),
            None => format!("Task-{id}"),
        })
    }
}
