//! Who had to do with what others wait for: the holder of a lock, the one who put in last, the one who took out last.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Party, number, running};

/// Of at most so many things at a time.
const AT_MOST: usize = 1 << 18;

static KEPT: AtomicBool = AtomicBool::new(false);

thread_local! {
    static TRACES: RefCell<HashMap<u32, Traces>> = RefCell::default();
}

/// What is known of a primitive that tasks wait at; see [`traces`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traces {
    /// Who holds it: a lock, or the turn to make a value. Of a guard that owns a share of its lock, and may be handed on, and of those
    /// who read together, it is not known.
    pub holder: Option<Party>,
    /// Who gave last what others wait for: put an item in, set the event or the value, notified.
    pub giver: Option<Party>,
    /// Who took last: an item out, permits, a lock that it may have handed on.
    pub taker: Option<Party>,
    /// How many items of a queue are still to be reported as done.
    pub unfinished: usize,
}

/// Whether it is noted from now on who holds what, who gave and who took last, in the whole process. Default: no. It costs a
/// look-up in a table each time.
///
/// At most 262,144 things are kept in mind on a thread; with one more, all are forgotten.
pub fn keep_traces(on: bool) {
    // Relaxed: nothing is ordered by it; noted late is noted soon enough.
    KEPT.store(on, Ordering::Relaxed);
}

/// What is known of the thing that `which` stands for, on the thread that it belongs to.
pub fn traces(which: u32) -> Traces {
    let known = TRACES.try_with(|traces| traces.borrow().get(&which).copied());
    known.ok().flatten().unwrap_or_default()
}

#[inline(always)]
fn are_kept() -> bool {
    KEPT.load(Ordering::Relaxed)
}

/// The running task has got a lock, or whatever others have to wait for until it lets go.
#[inline(always)]
pub(crate) fn holds(of: &Anchor) {
    if are_kept() {
        note_held(of);
    }
}

/// A lock is on its way from one to the next. One that nobody waits for need not say so: nobody asks who has it.
#[inline(always)]
pub(crate) fn lets_go(of: &Anchor) {
    if are_kept() {
        note_free(of);
    }
}

/// The running task has given something that others may be waiting for.
#[inline(always)]
pub(crate) fn gave(of: &Anchor) {
    if are_kept() {
        note_given(of);
    }
}

/// The running task has taken something out.
#[inline(always)]
pub(crate) fn took(of: &Anchor) {
    if are_kept() {
        note_taken(of);
    }
}

/// So many items are not done.
#[inline(always)]
pub(crate) fn sets_unfinished(of: &Anchor, unfinished: usize) {
    if are_kept() {
        note_unfinished(of, unfinished);
    }
}

// `extern "C"` says that none of them unwinds, so that whoever calls them need not be prepared for it.

#[cold]
#[inline(never)]
extern "C" fn note_held(of: &Anchor) {
    note(of, |traces, who| traces.holder = who);
}

#[cold]
#[inline(never)]
extern "C" fn note_free(of: &Anchor) {
    note(of, |traces, _| traces.holder = None);
}

#[cold]
#[inline(never)]
extern "C" fn note_given(of: &Anchor) {
    note(of, |traces, who| traces.giver = who);
}

#[cold]
#[inline(never)]
extern "C" fn note_taken(of: &Anchor) {
    note(of, |traces, who| {
        traces.taker = who;
        // Whoever is still noted as that has let go.
        traces.holder = None;
    });
}

#[cold]
#[inline(never)]
extern "C" fn note_unfinished(of: &Anchor, unfinished: usize) {
    note(of, |traces, _| traces.unfinished = unfinished);
}

fn note(of: &Anchor, change: impl FnOnce(&mut Traces, Option<Party>)) {
    let which = number(of);
    let who = running();
    // None at the end of the thread: then nobody looks any more.
    let _ = TRACES.try_with(|all| {
        let mut all = all.borrow_mut();
        let mut traces = all.get(&which).copied().unwrap_or_default();
        change(&mut traces, who);
        if traces == Traces::default() {
            all.remove(&which);
            return;
        }
        if all.len() >= AT_MOST {
            all.clear();
        }
        all.insert(which, traces);
    });
}

/// Lies at the address that a thing is known by, and has it forgotten with it: another may come to lie there.
#[derive(Default)]
pub(crate) struct Anchor;

impl Drop for Anchor {
    #[inline]
    fn drop(&mut self) {
        if are_kept() {
            forget(self);
        }
    }
}

#[cold]
#[inline(never)]
extern "C" fn forget(of: &Anchor) {
    let which = number(of);
    let _ = TRACES.try_with(|traces| traces.borrow_mut().remove(&which));
}
