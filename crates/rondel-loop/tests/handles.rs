//! What a `Handle` and a `TimerHandle` can take back, and what they still know afterwards.

mod trace;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rondel_loop::{EventLoop, TimerHandle};
use rondel_poll::Virtual;
use trace::Trace;

/// Says so when it is dropped.
struct Noisy(Trace<&'static str>);

impl Drop for Noisy {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

fn new_loop() -> EventLoop {
    EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap()
}

#[test]
fn cancel_drops_the_closure_before_it_returns() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let noisy = Noisy(trace.clone());
    let handle = lp.call_soon(move || noisy.0.note("called"));
    assert!(handle.is_pending() && !handle.cancelled());
    assert!(handle.cancel());
    trace.note("after");
    assert_eq!(trace.take(), ["dropped", "after"]);
    assert!(handle.cancelled() && !handle.is_pending());
    assert!(!handle.cancel(), "once is enough");
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), [] as [&str; 0]);
}

#[test]
fn cancelling_a_timer_drops_the_closure_before_it_returns() {
    let lp = new_loop();
    let trace = Trace::new();
    let noisy = Noisy(trace.clone());
    let handle = lp.call_later(Duration::from_secs(1), move || noisy.0.note("called"));
    assert!(handle.cancel());
    trace.note("after");
    assert_eq!(trace.take(), ["dropped", "after"]);
    assert!(handle.cancelled());
    assert_eq!(lp.next_deadline(), None, "the timer itself is gone, too");
}

#[test]
fn the_closure_is_dropped_right_after_it_was_called() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let noisy = Noisy(trace.clone());
    let handle = lp.call_soon(move || noisy.0.note("called"));
    let next = trace.clone();
    lp.call_soon(move || next.note("next"));
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["called", "dropped", "next"]);
    assert!(!handle.is_pending() && !handle.cancelled());
    assert!(!handle.cancel() && !handle.cancelled());
}

#[test]
fn dropping_a_handle_changes_nothing() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let noted = trace.clone();
    drop(lp.call_soon(move || noted.note("soon")));
    let noted = trace.clone();
    drop(lp.call_later(Duration::from_secs(1), move || noted.note("later")));
    let stop = lp.local();
    lp.call_later(Duration::from_secs(2), move || stop.stop());
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["soon", "later"]);
}

#[test]
fn a_callback_that_cancels_itself_is_too_late() {
    let mut lp = new_loop();
    let own = Rc::new(RefCell::new(None::<TimerHandle>));
    let trace = Trace::new();
    let (inside, noted) = (Rc::clone(&own), trace.clone());
    let handle = lp.call_later(Duration::from_secs(1), move || {
        noted.note(inside.borrow().as_ref().unwrap().cancel());
    });
    *own.borrow_mut() = Some(handle);
    let stop = lp.local();
    lp.call_later(Duration::from_secs(2), move || stop.stop());
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), [false]);
    assert!(!own.borrow().as_ref().unwrap().cancelled());
    own.take();
}

/// uvloop: `test_loop_call_later_handle_when_after_fired`.
#[test]
fn a_timer_that_has_fired_still_knows_when_and_cancelling_it_hits_no_other() {
    let mut lp = new_loop();
    let fired = lp.call_later(Duration::from_secs(1), || {});
    let when = fired.when();
    assert_eq!(when, lp.time() + Duration::from_secs(1));
    let stop = lp.local();
    lp.call_later(Duration::from_secs(2), move || stop.stop());
    lp.run_forever().unwrap();
    assert_eq!(fired.when(), when);

    // Timers that come to where the fired one was must not suffer for it.
    let trace = Trace::new();
    let later: Vec<_> = (0..4)
        .map(|number| {
            let trace = trace.clone();
            lp.call_later(Duration::from_secs(1), move || trace.note(number))
        })
        .collect();
    assert!(!fired.cancel());
    assert!(!fired.cancelled());
    let stop = lp.local();
    lp.call_later(Duration::from_secs(2), move || stop.stop());
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), [0, 1, 2, 3]);
    assert!(later.iter().all(|handle| !handle.cancelled()));
}

#[test]
fn a_due_timer_can_be_cancelled_by_one_that_was_due_before_it() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let second = Rc::new(RefCell::new(None::<TimerHandle>));
    let (cancels, noted) = (Rc::clone(&second), trace.clone());
    lp.call_later(Duration::from_secs(1), move || {
        assert!(cancels.borrow_mut().take().unwrap().cancel());
        noted.note("first");
    });
    let noted = trace.clone();
    *second.borrow_mut() =
        Some(lp.call_later(Duration::from_secs(1), move || noted.note("second")));
    let stop = lp.local();
    lp.call_later(Duration::from_secs(2), move || stop.stop());
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["first"]);
}

#[test]
fn closing_the_loop_drops_what_was_scheduled_uncalled() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let noisy = Noisy(trace.clone());
    lp.call_soon(move || noisy.0.note("called"));
    let noisy = Noisy(trace.clone());
    lp.call_later(Duration::from_secs(1), move || noisy.0.note("called"));
    lp.close();
    assert_eq!(trace.take(), ["dropped", "dropped"]);
}

#[test]
fn closing_the_loop_drops_closures_though_handles_are_kept() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let noisy = Noisy(trace.clone());
    let soon = lp.call_soon(move || noisy.0.note("called"));
    let noisy = Noisy(trace.clone());
    let later = lp.call_later(Duration::from_secs(1), move || noisy.0.note("called"));
    let when = later.when();
    lp.close();
    assert_eq!(trace.take(), ["dropped", "dropped"]);
    assert!(!soon.cancel() && !soon.is_pending());
    assert!(!later.cancel());
    assert_eq!(later.when(), when);
}

#[test]
fn handles_say_where_they_were_made() {
    let lp = new_loop();
    let handle = lp.call_soon(|| {});
    assert!(handle.scheduled_at().file().ends_with("handles.rs"));
    let shown = format!("{handle:?} {:?}", lp.call_later(Duration::ZERO, || {}));
    assert_eq!(shown.matches("handles.rs").count(), 2, "{shown}");
}
