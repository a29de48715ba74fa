//! Running entries of the ready queue, with and without somebody who looks on.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::observed::{Observed, Who};
use super::{BatchEnd, Entered};
use crate::callback::Callback;
use crate::callback::once::Once;
use crate::context::{self, Turn};
use crate::core::{Culprit, Local};
use crate::lost::Lost;
use crate::observer::Observer;
use crate::pulse::Pulse;
use crate::ready_queue::Entry;
use crate::span;
use crate::task::harness;

impl Entered<'_> {
    /// Runs entries in order. After each, `go_on` is asked: `false` ends the batch. A panic of a callback is reported, and
    /// the batch goes on.
    #[inline]
    pub fn run_batch(&self, mut go_on: impl FnMut() -> bool) -> BatchEnd {
        let local = self.executor.local();
        // Here and not in the turn, which may be forgotten or end out of order: this cannot.
        let _turn = Turn::enter(self.executor.core());
        loop {
            // One for the whole batch: entries pay nothing for it. Panics of tasks are caught in their harness.
            let ended = catch_unwind(AssertUnwindSafe(|| {
                if local.observed.get() {
                    run_looked_at(local, &mut go_on)
                } else {
                    run_entries(local, &mut go_on)
                }
            }));
            match ended {
                Ok(end) => return end,
                Err(payload) => {
                    context::retire();
                    let site = site_of_panicked(local);
                    if let Some(site) = site
                        && local.pulsed.get()
                    {
                        let pulse = local.hooks.borrow().pulse.clone();
                        if let Some(pulse) = pulse {
                            pulse.ran(local, Who::callback(site));
                        }
                    }
                    local.report(Lost::in_callback(payload, site));
                    if !go_on() {
                        return BatchEnd::Stopped;
                    }
                }
            }
        }
    }
}

/// Notes who it was if a callback panics: cheaper than asking each for its site, and keeping that.
struct OnPanic<'a> {
    local: &'a Local,
    culprit: Option<Culprit>,
}

impl<'a> OnPanic<'a> {
    #[inline]
    fn of(local: &'a Local, culprit: Culprit) -> Self {
        let culprit = Some(culprit);
        Self { local, culprit }
    }
}

impl Drop for OnPanic<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(culprit) = self.culprit.take() {
            // Not asked for its site here: that is foreign code, and this is an unwinding.
            self.local.panicked.set(Some(culprit));
        }
    }
}

/// Where the callback comes from that has just panicked.
fn site_of_panicked(local: &Local) -> Option<&'static Location<'static>> {
    match local.panicked.take()? {
        Culprit::Site(site) => Some(site),
        Culprit::Callback(callback) => {
            let site = catch_unwind(AssertUnwindSafe(|| callback.site())).ok();
            local.guarded(|| drop(callback));
            site
        }
    }
}

#[inline]
fn run_entries(local: &Local, go_on: &mut impl FnMut() -> bool) -> BatchEnd {
    while let Some(entry) = local.ready.pop() {
        if run_entry(local, entry).is_break() {
            return BatchEnd::Main;
        }
        if !go_on() {
            return BatchEnd::Stopped;
        }
    }
    BatchEnd::Dry
}

/// The same with somebody looking over our shoulder. Apart, so that the one above pays nothing for it.
#[cold]
fn run_looked_at(local: &Local, go_on: &mut impl FnMut() -> bool) -> BatchEnd {
    let (observer, pulse) = {
        let hooks = local.hooks.borrow();
        (hooks.observer.clone(), hooks.pulse.clone())
    };
    let Some(observer) = observer else {
        return match pulse {
            Some(pulse) => run_pulsed(local, &pulse, go_on),
            None => run_entries(local, go_on),
        };
    };
    run_observed(local, &observer, pulse.as_ref(), go_on)
}

fn run_observed(
    local: &Local,
    observer: &Rc<dyn Observer>,
    pulse: Option<&Pulse>,
    go_on: &mut impl FnMut() -> bool,
) -> BatchEnd {
    while let Some(entry) = local.ready.pop() {
        let who = Who::of(&entry);
        let observed = match &entry {
            Entry::Task(runnable) => Some(Observed::task(local, observer, runnable.metadata())),
            Entry::Once(once) => Some(Observed::callback(local, observer, once.site())),
            Entry::Callback(callback) => Some(Observed::callback(local, observer, callback.site())),
            // Its owner polls it, and says so there.
            Entry::Main => None,
        };
        let ran = run_entry(local, entry);
        drop(observed);
        if ran.is_break() {
            return BatchEnd::Main;
        }
        if let Some(pulse) = pulse {
            pulse.ran(local, who);
        }
        if !go_on() {
            return BatchEnd::Stopped;
        }
    }
    BatchEnd::Dry
}

/// The same with somebody who only wants to know what ran when a counter moved.
#[inline(never)]
fn run_pulsed(local: &Local, pulse: &Pulse, go_on: &mut impl FnMut() -> bool) -> BatchEnd {
    let (beat, mut seen) = pulse.counter();
    while let Some(entry) = local.ready.pop() {
        // Taken apart here: described as a whole, it would have to lie in memory.
        let who = match entry {
            Entry::Task(runnable) => {
                let who = Who::task(runnable.metadata());
                harness::run(runnable);
                who
            }
            Entry::Once(once) => {
                let who = Who::callback(once.site());
                run_once(local, once);
                who
            }
            Entry::Callback(callback) => {
                let who = Who::callback(callback.site());
                run_callback(local, callback);
                who
            }
            Entry::Main => return BatchEnd::Main,
        };
        // Relaxed: nothing but the number itself.
        let now = beat.load(Ordering::Relaxed);
        if now != seen {
            seen = now;
            pulse.moved(local, who, now);
        }
        if !go_on() {
            return BatchEnd::Stopped;
        }
    }
    BatchEnd::Dry
}

/// Runs one entry; `Break` if it is the main future's turn.
#[inline(always)]
fn run_entry(local: &Local, entry: Entry) -> ControlFlow<()> {
    match entry {
        Entry::Task(runnable) => harness::run(runnable),
        Entry::Once(once) => run_once(local, once),
        Entry::Callback(callback) => run_callback(local, callback),
        Entry::Main => return ControlFlow::Break(()),
    }
    ControlFlow::Continue(())
}

#[inline(always)]
fn run_once(local: &Local, once: Once) {
    let running = OnPanic::of(local, Culprit::Site(once.site()));
    let inside = span::callback(|| once.site());
    once.call();
    inside.leave();
    // Nothing in it wants to be dropped.
    std::mem::forget(running);
    local.spare.keep(once);
}

#[inline(always)]
fn run_callback(local: &Local, callback: Rc<dyn Callback>) {
    let mut running = OnPanic::of(local, Culprit::Callback(Rc::clone(&callback)));
    let inside = span::callback(|| callback.site());
    callback.call();
    inside.leave();
    let done = running.culprit.take();
    drop(done);
}
