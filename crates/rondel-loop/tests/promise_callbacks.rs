//! Done-callbacks of promises: when they are called, in which order, and how they are taken back.

mod trace;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use rondel_loop::{
    CallbackToken, EventLoop, Settled, SharedDeferred, TaskLocal, promise, spawn, yield_now,
};
use trace::Trace;

/// Runs `main` on a loop of its own, and what it leaves in the queue.
fn run(main: impl AsyncFnOnce()) {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        main().await;
        yield_now().await;
    })
    .unwrap();
}

/// asyncio's BaseFutureDoneCallbackTests.
#[test]
fn they_are_called_through_the_queue_in_the_order_of_registration_and_once() {
    let trace = Trace::new();
    run(async || {
        let (promise, deferred) = promise::<_, Infallible>();
        for number in 0..3 {
            let trace = trace.clone();
            deferred.on_done(move |how| trace.note((number, how)));
        }
        promise.set_result(()).unwrap();
        assert_eq!(trace.take(), [], "not at once");
        yield_now().await;
        assert_eq!(
            trace.take(),
            [0, 1, 2].map(|number| (number, Settled::Finished))
        );
        drop(deferred);
        yield_now().await;
        assert_eq!(trace.take(), []);
    });
}

#[test]
fn registered_after_the_end_they_go_through_the_queue_too_behind_the_earlier_ones() {
    let trace = Trace::new();
    run(async || {
        let (promise, deferred) = promise::<_, Infallible>();
        let note = |number| {
            let trace = trace.clone();
            move |_| trace.note(number)
        };
        deferred.on_done(note(1));
        promise.set_result(()).unwrap();
        deferred.on_done(note(2));
        let soon = trace.clone();
        rondel_loop::call_soon(move || soon.note(3));
        deferred.on_done(note(4));
        assert_eq!(trace.take(), []);
        yield_now().await;
        assert_eq!(trace.take(), [1, 2, 3, 4]);
    });
}

#[test]
fn they_learn_how_it_ended() {
    let trace = Trace::new();
    run(async || {
        let note = || {
            let trace = trace.clone();
            move |how| trace.note(how)
        };
        let (kept, deferred) = promise::<u8, String>();
        deferred.on_done(note());
        kept.set_result(1).unwrap();
        drop(deferred);
        let (failed, mut deferred) = promise::<u8, String>();
        deferred.on_done(note());
        failed.set_error("no".to_owned()).unwrap();
        let _ = deferred.try_result();
        let (_cancelled, deferred) = promise::<u8, String>();
        deferred.on_done(note());
        deferred.cancel();
        let (dropped, deferred) = promise::<u8, String>();
        deferred.on_done(note());
        drop(dropped);
        drop(deferred);
    });
    assert_eq!(
        trace.take(),
        [
            Settled::Finished,
            Settled::Failed,
            Settled::Cancelled,
            Settled::Dropped
        ]
    );
}

#[test]
fn one_that_is_taken_back_is_dropped_at_once_and_not_called() {
    let trace = Trace::new();
    run(async || {
        let (promise, deferred) = promise::<_, Infallible>();
        let held = Rc::new(());
        let (kept, taken) = (trace.clone(), Rc::clone(&held));
        let token = deferred.on_done(move |_| unreachable!("taken back with {taken:?}"));
        deferred.on_done(move |_| kept.note("kept"));
        assert!(deferred.remove_on_done(token));
        assert_eq!(Rc::strong_count(&held), 1);
        assert!(!deferred.remove_on_done(token));
        promise.set_result(()).unwrap();
    });
    assert_eq!(trace.take(), ["kept"]);
}

#[test]
fn a_token_of_another_promise_or_of_a_queued_callback_removes_nothing() {
    let trace = Trace::new();
    run(async || {
        let note = || {
            let trace = trace.clone();
            move |_| trace.note(())
        };
        let (one, first) = promise::<_, Infallible>();
        let (two, second) = promise::<_, Infallible>();
        let token = first.on_done(note());
        second.on_done(note());
        assert!(!second.remove_on_done(token));
        one.set_result(()).unwrap();
        two.set_result(()).unwrap();
        assert!(!first.remove_on_done(token), "it is on its way");
        let late = first.on_done(note());
        assert!(!first.remove_on_done(late));
    });
    assert_eq!(trace.take().len(), 3);
}

/// asyncio's test_remove_done_callbacks_list_mutation, test_schedule_callbacks_list_mutation.
#[test]
fn they_may_add_and_remove_others_while_they_are_called() {
    let trace = Trace::new();
    run(async || {
        let (promise, deferred) = promise::<_, Infallible>();
        let deferred = deferred.shared();
        let token: Rc<Cell<Option<CallbackToken>>> = Rc::default();
        let (inside, noted, second) = (deferred.clone(), trace.clone(), Rc::clone(&token));
        deferred.on_done(move |_| {
            noted.note("first");
            let added = noted.clone();
            inside.on_done(move |_| added.note("added"));
            assert!(!inside.remove_on_done(second.get().unwrap()));
        });
        let noted = trace.clone();
        token.set(Some(deferred.on_done(move |_| noted.note("second"))));
        promise.set_result(()).unwrap();
        yield_now().await;
        yield_now().await;
    });
    assert_eq!(trace.take(), ["first", "second", "added"]);
}

#[test]
fn a_callback_takes_the_value_from_a_handle_of_its_own() {
    let trace = Trace::new();
    run(async || {
        let (promise, deferred) = promise::<_, String>();
        let deferred = deferred.shared();
        let (inside, noted) = (deferred.clone(), trace.clone());
        deferred.on_done(move |_| noted.note(inside.try_result().unwrap()));
        drop(deferred);
        promise
            .set_error("seen by the callback".to_owned())
            .unwrap();
    });
    assert_eq!(
        trace.take(),
        [Err(rondel_loop::DeferredError::Failed::<String>(
            "seen by the callback".to_owned()
        ))] as [Result<(), _>; 1]
    );
}

#[test]
fn while_callbacks_wait_a_dropped_deferred_does_not_cancel() {
    let (trace, reports) = (Trace::new(), Trace::new());
    let mut lp = EventLoop::new().unwrap();
    let noted = reports.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        noted.note(context.error.as_ref().unwrap().to_string());
    })));
    lp.run_until_complete(async {
        for outcome in [Ok(1), Err("nobody's".to_owned())] {
            let (promise, deferred) = promise::<u32, String>();
            let noted = trace.clone();
            deferred.on_done(move |how| noted.note(how));
            drop(deferred);
            assert!(!promise.is_cancelled());
            promise.set(outcome).unwrap();
        }
        yield_now().await;
    })
    .unwrap();
    assert_eq!(trace.take(), [Settled::Finished, Settled::Failed]);
    assert_eq!(reports.take(), ["nobody's"]);
}

#[test]
fn those_who_await_are_woken_before_callbacks_are_queued() {
    let trace = Trace::new();
    run(async || {
        let (promise, deferred) = promise::<_, Infallible>();
        let noted = trace.clone();
        deferred.on_done(move |_| noted.note("callback"));
        let noted = trace.clone();
        let waiting = spawn(async move {
            deferred.await.unwrap();
            noted.note("task");
        });
        yield_now().await;
        promise.set_result(()).unwrap();
        waiting.await.unwrap();
        yield_now().await;
    });
    assert_eq!(trace.take(), ["task", "callback"]);
}

#[test]
fn they_are_called_in_the_loop_in_which_they_were_registered() {
    let mut first = EventLoop::new().unwrap();
    let mut second = EventLoop::new().unwrap();
    let trace = Trace::new();
    let (promise, deferred) = promise::<_, Infallible>();
    let deferred = deferred.shared();
    for (name, lp) in [("first", &mut first), ("second", &mut second)] {
        let (deferred, noted) = (deferred.clone(), trace.clone());
        lp.run_until_complete(async move {
            deferred.on_done(move |_| noted.note(name));
        })
        .unwrap();
    }
    promise.set_result(()).unwrap();
    second.run_until_complete(yield_now()).unwrap();
    assert_eq!(trace.take(), ["second"]);
    first.run_until_complete(yield_now()).unwrap();
    assert_eq!(trace.take(), ["first"]);
}

#[test]
fn registering_outside_a_loop_panics_and_says_why() {
    let (_promise, deferred) = promise::<(), Infallible>();
    let refused = catch_unwind(AssertUnwindSafe(|| deferred.on_done(|_| {})));
    let message = *refused.unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("on_done: no event loop is running"));
}

#[test]
fn one_that_panics_is_reported_with_where_it_was_registered_and_the_rest_run() {
    let (trace, reports) = (Trace::new(), Trace::new());
    let mut lp = EventLoop::new().unwrap();
    let noted = reports.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        noted.note(context.callback.unwrap().file().to_owned());
    })));
    lp.run_until_complete(async {
        let (promise, deferred) = promise::<_, Infallible>();
        deferred.on_done(|_| panic!("in a done-callback"));
        let noted = trace.clone();
        deferred.on_done(move |_| noted.note("the next"));
        promise.set_result(()).unwrap();
        yield_now().await;
    })
    .unwrap();
    assert_eq!(trace.take(), ["the next"]);
    assert!(reports.take()[0].ends_with("promise_callbacks.rs"));
}

#[test]
fn they_see_the_task_local_values_of_where_they_were_registered() {
    static NUMBER: TaskLocal<u32> = TaskLocal::new();
    let trace = Trace::new();
    run(async || {
        let (promise, deferred) = promise::<_, Infallible>();
        NUMBER.set(1).unwrap();
        let noted = trace.clone();
        deferred.on_done(move |_| noted.note(NUMBER.get()));
        NUMBER.set(2).unwrap();
        promise.set_result(()).unwrap();
    });
    assert_eq!(trace.take(), [Some(1)]);
}

#[test]
fn closing_the_loop_drops_those_that_are_queued_and_those_that_come_later() {
    let held = Rc::new(());
    let mut lp = EventLoop::new().unwrap();
    let (promise, deferred) = promise::<_, Infallible>();
    let (later, waiting) = rondel_loop::promise::<(), Infallible>();
    let (one, two) = (Rc::clone(&held), Rc::clone(&held));
    lp.run_until_complete(async {
        deferred.on_done(move |_| unreachable!("{one:?}"));
        waiting.on_done(move |_| unreachable!("{two:?}"));
        promise.set_result(()).unwrap();
    })
    .unwrap();
    lp.close();
    assert_eq!(Rc::strong_count(&held), 2);
    later.set_result(()).unwrap();
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn a_removed_callbacks_destructor_may_come_back_in() {
    struct Back(SharedDeferred<(), Infallible>, Rc<RefCell<Vec<bool>>>);
    impl Drop for Back {
        fn drop(&mut self) {
            let token = self.0.on_done(|_| {});
            self.1.borrow_mut().push(self.0.remove_on_done(token));
            self.0.cancel();
        }
    }
    let seen = Rc::new(RefCell::new(Vec::new()));
    run(async || {
        let (promise, deferred) = promise::<(), Infallible>();
        let deferred = deferred.shared();
        let back = Back(deferred.clone(), Rc::clone(&seen));
        let token = deferred.on_done(move |_| drop(back));
        assert!(deferred.remove_on_done(token));
        assert!(promise.is_cancelled());
    });
    assert_eq!(seen.take(), [true]);
}
