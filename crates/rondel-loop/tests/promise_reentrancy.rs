//! Foreign code that comes back into a promise: wakers, values, errors.

mod prying_waker;
mod trace;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use prying_waker::prying_waker;
use rondel_loop::{Deferred, DeferredError, EventLoop, Promise, Settled, SharedDeferred, promise};
use trace::Trace;

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_waker_that_keeps_the_promise_while_it_is_cloned_is_neither_left_waiting_nor_kept() {
    for shared in [false, true] {
        let (promise, mut deferred) = promise::<u32, String>();
        let kept: Rc<Cell<Option<Promise<u32, String>>>> = Rc::new(Cell::new(Some(promise)));
        let clones = Rc::new(Cell::new(0));
        let counted = Rc::clone(&clones);
        let waker = prying_waker(move |what| {
            match what {
                "clone" => counted.set(counted.get() + 1),
                "drop" => counted.set(counted.get() - 1),
                _ => {}
            }
            if what == "clone"
                && let Some(promise) = kept.take()
            {
                promise.set_result(1).unwrap();
            }
        });
        if shared {
            let mut deferred = deferred.shared();
            assert_eq!(poll_with(&mut deferred, &waker), Poll::Ready(Ok(1)));
            assert_eq!(clones.get(), 0);
        } else {
            assert_eq!(poll_with(&mut deferred, &waker), Poll::Ready(Ok(1)));
            assert_eq!(clones.get(), 0);
        }
    }
}

#[test]
fn a_waker_may_poll_drop_and_cancel_as_it_is_woken() {
    let (promise, deferred) = promise::<u32, String>();
    let first = Rc::new(RefCell::new(Some(deferred.shared())));
    let second = first.borrow().clone().unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (inside, noted) = (Rc::clone(&first), Rc::clone(&seen));
    let waker = prying_waker(move |what| {
        if what != "wake" {
            return;
        }
        let Some(mut own) = inside.take() else { return };
        let mut cx = Context::from_waker(Waker::noop());
        noted.borrow_mut().push(Pin::new(&mut own).poll(&mut cx));
        assert!(!own.cancel());
        drop(own);
    });
    let mut other = second.clone();
    assert!(poll_with(first.borrow_mut().as_mut().unwrap(), &waker).is_pending());
    assert!(poll_with(&mut other, &waker).is_pending());
    drop(second);
    promise.set_result(4).unwrap();
    assert_eq!(seen.take(), [Poll::Ready(Ok(4))]);
    assert!(first.borrow().is_none());
    assert_eq!(poll_with(&mut other, Waker::noop()), Poll::Ready(Ok(4)));
}

#[test]
fn a_waker_that_is_dropped_may_come_back_in() {
    let (promise, deferred) = promise::<u32, String>();
    let mut deferred = deferred.shared();
    let inside = deferred.clone();
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let waker = prying_waker(move |what| {
        if what == "drop" {
            counted.set(counted.get() + 1);
            let mut another = inside.clone();
            let _ = poll_with(&mut another, Waker::noop());
            let _ = inside.settled();
        }
    });
    assert!(poll_with(&mut deferred, &waker).is_pending());
    // Replaced, then registered again and removed with its handle.
    assert!(poll_with(&mut deferred, Waker::noop()).is_pending());
    assert!(poll_with(&mut deferred, &waker).is_pending());
    drop(deferred);
    assert_eq!(calls.get(), 2);
    drop(waker);
    drop(promise);
}

#[test]
fn the_canceller_may_use_the_promise_as_it_is_woken() {
    let (promise, deferred) = promise::<u32, String>();
    let promise = Rc::new(RefCell::new(Some(promise)));
    let inside = Rc::clone(&promise);
    let seen = Rc::new(RefCell::new(None));
    let noted = Rc::clone(&seen);
    let waker = prying_waker(move |what| {
        if what == "wake" {
            let promise = inside.take().unwrap();
            noted.replace(Some((promise.is_cancelled(), promise.set_result(1))));
        }
    });
    {
        let mut promise = promise.borrow_mut();
        let mut cx = Context::from_waker(&waker);
        let promise = promise.as_mut().unwrap();
        assert!(promise.poll_cancelled(&mut cx).is_pending());
    }
    assert!(deferred.cancel());
    assert_eq!(seen.take(), Some((true, Err(1))));
}

#[test]
fn a_dropped_wait_for_cancellation_leaves_no_waker() {
    let (mut promise, deferred) = promise::<u32, String>();
    let wakes = Rc::new(Cell::new(0));
    let counted = Rc::clone(&wakes);
    let waker = prying_waker(move |what| counted.set(counted.get() + usize::from(what == "wake")));
    assert!(poll_with(&mut promise.cancelled(), &waker).is_pending());
    drop(deferred);
    assert_eq!(wakes.get(), 0);
    assert!(poll_with(&mut promise.cancelled(), &waker).is_ready());
}

#[test]
fn only_those_who_still_wait_are_woken() {
    let (promise, mut deferred) = promise::<u32, String>();
    let wakes = Rc::new(Cell::new(0));
    let counted = Rc::clone(&wakes);
    let waker = prying_waker(move |what| counted.set(counted.get() + usize::from(what == "wake")));
    assert!(poll_with(&mut deferred, &waker).is_pending());
    assert!(poll_with(&mut deferred, &waker).is_pending());
    let mut shared = deferred.shared();
    let mut gone = shared.clone();
    assert!(poll_with(&mut shared, &waker).is_pending());
    assert!(poll_with(&mut gone, &waker).is_pending());
    drop(gone);
    promise.set_result(1).unwrap();
    assert_eq!(wakes.get(), 1);
}

#[test]
fn a_panicking_waker_keeps_nobody_else_asleep() {
    let (promise, deferred) = promise::<u32, String>();
    let mut first = deferred.shared();
    let mut second = first.clone();
    let wakes = Rc::new(Cell::new(0));
    let counted = Rc::clone(&wakes);
    let bad = prying_waker(|what| assert!(what != "wake", "a bad waker"));
    let good = prying_waker(move |what| counted.set(counted.get() + usize::from(what == "wake")));
    assert!(poll_with(&mut first, &bad).is_pending());
    assert!(poll_with(&mut second, &good).is_pending());
    let set = catch_unwind(AssertUnwindSafe(|| promise.set_result(1)));
    assert!(set.is_err(), "without a loop it comes out here");
    assert_eq!(wakes.get(), 1);
    assert_eq!(first.try_result(), Some(Ok(1)));
}

#[test]
fn inside_a_loop_a_wakers_panic_goes_to_the_exception_handler() {
    let mut lp = EventLoop::new().unwrap();
    let reports = Trace::new();
    let noted = reports.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        noted.note(context.panic.as_ref().unwrap().to_string());
    })));
    lp.run_until_complete(async {
        let (promise, mut deferred) = promise::<u32, String>();
        let bad = prying_waker(|what| assert!(what != "wake", "a bad waker"));
        assert!(poll_with(&mut deferred, &bad).is_pending());
        promise.set_result(1).unwrap();
        assert_eq!(deferred.await, Ok(1));
    })
    .unwrap();
    assert_eq!(reports.take(), ["a bad waker"]);
}

/// A value whose clone and drop look at the promise it is in.
struct Prying {
    home: Rc<RefCell<Option<SharedDeferred<Self, String>>>>,
    calls: Rc<Cell<u32>>,
}

impl Prying {
    fn pry(&self) {
        self.calls.set(self.calls.get() + 1);
        if let Ok(mut home) = self.home.try_borrow_mut()
            && let Some(home) = home.as_mut()
        {
            assert_eq!(home.settled(), Some(Settled::Finished));
            assert!(!home.cancel());
            if self.calls.get() < 4 {
                // Clones the value again, from inside its own clone.
                drop(home.try_result());
            }
        }
    }
}

impl Clone for Prying {
    fn clone(&self) -> Self {
        self.pry();
        Self {
            home: Rc::clone(&self.home),
            calls: Rc::clone(&self.calls),
        }
    }
}

impl Drop for Prying {
    fn drop(&mut self) {
        self.pry();
    }
}

#[test]
fn clones_and_destructors_of_values_may_come_back_in() {
    let (promise, deferred) = promise::<Prying, String>();
    let home = Rc::new(RefCell::new(Some(deferred.shared())));
    let calls = Rc::new(Cell::new(0));
    let value = Prying {
        home: Rc::clone(&home),
        calls: Rc::clone(&calls),
    };
    assert!(promise.set_result(value).is_ok());
    let other = home.borrow().clone().unwrap();
    let copied = other.try_result();
    assert!(matches!(copied, Some(Ok(_))));
    drop(copied);
    assert!(calls.get() >= 3);
    let last = home.take();
    drop(other);
    drop(last);
}

#[test]
fn a_value_that_keeps_and_drops_another_promise_as_it_is_dropped() {
    struct Domino(Option<Promise<u32, String>>, Option<Deferred<u32, String>>);
    impl Drop for Domino {
        fn drop(&mut self) {
            if let Some(promise) = self.0.take() {
                let _ = promise.set_result(7);
            }
            drop(self.1.take());
        }
    }
    let (next, mut result) = promise::<u32, String>();
    let (other, unwanted) = promise::<u32, String>();
    let (promise, deferred) = promise::<Domino, String>();
    assert!(
        promise
            .set_result(Domino(Some(next), Some(unwanted)))
            .is_ok()
    );
    drop(deferred);
    assert_eq!(result.try_result(), Some(Ok(7)));
    assert!(other.is_cancelled());
}

#[test]
fn the_exception_handler_may_make_and_drop_promises() {
    #[derive(Debug)]
    struct Chained(Cell<u32>);
    impl fmt::Display for Chained {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.0.get())
        }
    }
    impl Error for Chained {}
    fn fail(left: u32) {
        let (promise, deferred) = promise::<u32, Chained>();
        promise.set_error(Chained(Cell::new(left))).unwrap();
        drop(deferred);
    }
    let mut lp = EventLoop::new().unwrap();
    let reports = Trace::new();
    let noted = reports.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        let said = context.error.as_ref().unwrap().to_string();
        let left: u32 = said.parse().unwrap();
        noted.note(left);
        if left > 0 {
            fail(left - 1);
        }
    })));
    lp.run_until_complete(async { fail(3) }).unwrap();
    assert_eq!(reports.take(), [3, 2, 1, 0]);
}

#[test]
fn a_promise_dropped_while_unwinding_still_tells_those_who_wait() {
    let (promise, deferred) = promise::<u32, String>();
    let bad = prying_waker(|what| assert!(what != "wake", "a bad waker"));
    let mut first = deferred.shared();
    let mut second = first.clone();
    assert!(poll_with(&mut first, &bad).is_pending());
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _promise = promise;
        panic!("on the way");
    }));
    let payload = unwound.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"on the way"));
    assert_eq!(
        poll_with(&mut second, Waker::noop()),
        Poll::Ready(Err(DeferredError::Dropped))
    );
}
