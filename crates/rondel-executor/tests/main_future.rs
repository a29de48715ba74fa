//! The main future: borrowed, run in place, a task in every other respect.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use harness::{Gate, Log, count_polls, executor, here, hold, on_drop, running, yield_now};
use rondel_executor::{BatchEnd, Executor, JoinError, Main, Outcome, Waits, leave};

/// Runs until the main future is done, or nothing is ready.
fn run<F: Future>(
    executor: &Executor,
    main: &mut Main<'_, '_, F>,
) -> Option<Result<F::Output, JoinError>> {
    let turn = executor.enter().expect("no turn is under way");
    loop {
        turn.drain_inbox();
        match turn.run_batch(|| true) {
            BatchEnd::Main => {
                if let Poll::Ready(outcome) = main.poll() {
                    return Some(outcome);
                }
            }
            BatchEnd::Dry if !executor.has_ready() => return None,
            _ => {}
        }
    }
}

#[test]
fn it_borrows_and_takes_turns_with_the_others() {
    let (executor, log) = (Executor::new(), Log::new());
    let words = ["borrowed".to_owned(), "words".to_owned()];
    let logged = log.clone();
    executor.call_soon(move || logged.add("ready before"));
    let mut future = pin!(Some(async {
        log.add(&words[0]);
        let other = log.clone();
        let task = here().spawn(async move { other.add("a task") });
        yield_now().await;
        task.await.unwrap();
        words.len()
    }));
    let mut main = executor.main(future.as_mut()).unwrap();
    let logged = log.clone();
    executor.call_soon(move || logged.add("ready after"));
    let outcome = run(&executor, &mut main);
    assert_eq!(outcome.unwrap().unwrap(), 2);
    assert_eq!(
        log.take(),
        ["ready before", "borrowed", "ready after", "a task"]
    );
    drop(main);
    assert!(future.is_none());
    assert_eq!(executor.alive(), 0);
}

#[test]
fn there_is_one_at_a_time_and_it_must_be_there() {
    let executor = Executor::new();
    let mut future = pin!(Some(pending::<()>()));
    let main = executor.main(future.as_mut()).unwrap();
    let mut second = pin!(Some(pending::<()>()));
    assert!(executor.main(second.as_mut()).is_none());
    drop(main);
    assert!(executor.main(future.as_mut()).is_none(), "it is gone");
    let mut again = executor.main(second.as_mut()).unwrap();
    executor.cancel_main();
    assert!(matches!(
        run(&executor, &mut again),
        Some(Err(JoinError::Cancelled))
    ));
}

#[test]
fn each_wake_polls_it_once() {
    let executor = Executor::new();
    let gate = Gate::new();
    let (future, polls) = count_polls(Box::pin(async {
        for _ in 0..3 {
            gate.wait().await;
        }
    }));
    let mut future = pin!(Some(future));
    let mut main = executor.main(future.as_mut()).unwrap();
    for expected in 1..=3 {
        assert!(run(&executor, &mut main).is_none());
        assert!(run(&executor, &mut main).is_none());
        assert_eq!(polls.get(), expected);
        gate.open();
        gate.open();
    }
    run(&executor, &mut main).unwrap().unwrap();
    assert_eq!(polls.get(), 4);
}

#[test]
fn it_is_listed_named_and_current() {
    let executor = Executor::new();
    let line = line!() + 4;
    let mut future = pin!(Some(poll_fn(|_| {
        Waits::label(Waits::OTHER, running().map_or(0, |name| name.len() as u32));
        Poll::<()>::Pending
    })));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert_eq!(main.info().name(), "Task-1");
    assert_eq!(main.info().spawned_at().line(), line + 1);
    main.set_name("main");
    assert!(run(&executor, &mut main).is_none());
    let info = main.info();
    assert_eq!((info.waits(), info.waits_on()), (Waits::OTHER, 4));
    assert_eq!(info.outcome(), Outcome::Pending);
    let listed: Vec<_> = executor.tasks().iter().map(|task| task.name()).collect();
    assert_eq!(listed, ["main"]);
    assert_eq!(executor.alive(), 1);
    executor.cancel_main();
    assert!(run(&executor, &mut main).is_some());
    assert!(executor.tasks().is_empty());
}

#[test]
fn cancelled_it_is_dropped_and_cleaned_up_before_it_is_done() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (waiting, logged) = (gate.clone(), log.clone());
    let held = on_drop(move || {
        logged.add(format!("dropped in {}", running().unwrap()));
        leave(Box::pin(async move {
            waiting.wait().await;
            logged.add("cleaned up");
        }));
    });
    let mut future = pin!(Some(hold(held)));
    let mut main = executor.main(future.as_mut()).unwrap();
    main.set_name("main");
    assert!(run(&executor, &mut main).is_none());
    assert!(executor.cancel_main());
    assert!(executor.cancel_main());
    assert!(run(&executor, &mut main).is_none());
    assert_eq!(log.take(), ["dropped in main"]);
    assert_eq!(main.info().waits(), Waits::CLEANUP);
    gate.open();
    assert!(matches!(
        run(&executor, &mut main),
        Some(Err(JoinError::Cancelled))
    ));
    assert_eq!(log.take(), ["cleaned up"]);
    assert!(!executor.cancel_main());
    drop(main);
    assert!(!executor.cancel_main());
    assert_eq!(executor.alive(), 0);
}

#[test]
fn cancelled_before_its_first_poll_it_is_never_polled() {
    let executor = Executor::new();
    let (future, polls) = count_polls(pending::<()>());
    let mut future = pin!(Some(future));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert!(executor.cancel_main());
    assert!(matches!(
        run(&executor, &mut main),
        Some(Err(JoinError::Cancelled))
    ));
    assert_eq!(polls.get(), 0);
}

#[test]
fn it_may_cancel_itself_and_its_result_wins() {
    let executor = Rc::new(Executor::new());
    let mut future = pin!(Some(async {
        executor.cancel_main();
        5
    }));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert_eq!(run(&executor, &mut main).unwrap().unwrap(), 5);
    drop(main);
    let mut future = pin!(Some(async {
        executor.cancel_main();
        yield_now().await;
    }));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert!(matches!(
        run(&executor, &mut main),
        Some(Err(JoinError::Cancelled))
    ));
}

#[test]
fn its_panic_is_its_outcome() {
    let (executor, losses) = executor();
    let mut future = pin!(Some(async {
        yield_now().await;
        panic!("in main");
    }));
    let mut main = executor.main(future.as_mut()).unwrap();
    let outcome: Result<(), _> = run(&executor, &mut main).unwrap();
    let Err(JoinError::Panicked(payload)) = outcome else {
        panic!("it panicked");
    };
    assert_eq!(payload.message(), Some("in main"));
    drop(main);
    assert!(losses.is_empty());
    // The executor is as good as before.
    let task = executor.spawn(async { 1 });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), 1);
}

#[test]
fn its_result_waits_for_its_cleanup() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (waiting, logged) = (gate.clone(), log.clone());
    let mut future = pin!(Some(async move {
        leave(Box::pin(async move {
            waiting.wait().await;
            logged.add("cleaned up");
        }));
        "result"
    }));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert!(run(&executor, &mut main).is_none());
    gate.open();
    assert_eq!(run(&executor, &mut main).unwrap().unwrap(), "result");
    assert_eq!(log.take(), ["cleaned up"]);
}

#[test]
fn dropped_midway_its_cleanup_is_the_executors() {
    let (executor, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    let held = on_drop(move || {
        logged.add("dropped");
        leave(Box::pin(async move { logged.add("cleaned up") }));
    });
    let mut future = pin!(Some(hold(held)));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert!(run(&executor, &mut main).is_none());
    drop(main);
    assert_eq!(log.take(), ["dropped"]);
    assert_eq!((executor.alive(), executor.cleanups()), (1, 1));
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned up"]);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn dropped_during_its_cleanup_the_cleanup_goes_on() {
    let (executor, log) = (Executor::new(), Log::new());
    let gate = Gate::new();
    let (waiting, logged) = (gate.clone(), log.clone());
    let output = log.on_drop("output");
    let mut future = pin!(Some(async move {
        leave(Box::pin(async move {
            waiting.wait().await;
            logged.add("cleaned up");
        }));
        output
    }));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert!(run(&executor, &mut main).is_none());
    drop(main);
    assert_eq!(log.take(), ["output"]);
    gate.open();
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned up"]);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn dropped_midway_a_panicking_destructor_is_reported() {
    let (executor, losses) = executor();
    {
        let mut future = pin!(Some(hold(on_drop(|| panic!("of the main future")))));
        let mut main = executor.main(future.as_mut()).unwrap();
        assert!(run(&executor, &mut main).is_none());
        drop(main);
    }
    assert_eq!(losses.words(), ["drop: of the main future"]);
    assert_eq!(executor.alive(), 0);
    let mut future = pin!(Some(async { 3 }));
    let mut main = executor
        .main(future.as_mut())
        .expect("the last one is gone");
    assert_eq!(run(&executor, &mut main).unwrap().unwrap(), 3);
}

#[test]
fn dropped_before_its_first_poll_it_leaves_no_trace() {
    let executor = Executor::new();
    let mut first = pin!(Some(pending::<()>()));
    drop(executor.main(first.as_mut()));
    executor.run_until_idle();
    assert_eq!(executor.alive(), 0);
    assert!(!executor.has_ready());
}

#[test]
fn polling_it_after_its_end_panics() {
    let executor = Executor::new();
    let mut future = pin!(Some(async {}));
    let mut main = executor.main(future.as_mut()).unwrap();
    run(&executor, &mut main).unwrap().unwrap();
    let polled = catch_unwind(AssertUnwindSafe(|| main.poll()));
    assert!(polled.is_err());
}

#[test]
fn running_until_idle_leaves_it_to_its_owner() {
    let (executor, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    let mut future = pin!(Some(async { log.add("main") }));
    let mut main = executor.main(future.as_mut()).unwrap();
    executor.call_soon(move || logged.add("callback"));
    executor.run_until_idle();
    assert_eq!(log.take(), ["callback"]);
    assert!(executor.has_ready(), "it is still its turn");
    run(&executor, &mut main)
        .expect("its wake was not lost")
        .unwrap();
    assert_eq!(log.take(), ["main"]);
    drop(main);
    executor.run_until_idle();
    assert!(!executor.has_ready());
}

#[test]
fn closed_it_is_cancelled_at_its_next_poll() {
    let (executor, log) = (Executor::new(), Log::new());
    let mut future = pin!(Some(hold(log.on_drop("dropped"))));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert!(run(&executor, &mut main).is_none());
    let closed = executor.close();
    assert_eq!(closed.leaked, 0, "its owner has it in hand");
    assert_eq!(executor.leaked(), 0);
    assert!(log.take().is_empty());
    assert!(matches!(
        main.poll(),
        Poll::Ready(Err(JoinError::Cancelled))
    ));
    assert_eq!(log.take(), ["dropped"]);
    drop(main);
    assert_eq!(executor.alive(), 0);
}

#[test]
fn its_wakers_come_from_anywhere_and_outlive_it() {
    let notified = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&notified);
    let executor = Executor::builder()
        .notify(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .build();
    let place: Rc<RefCell<Option<Waker>>> = Rc::default();
    let polls = Cell::new(0);
    let mut future = pin!(Some(poll_fn(|cx| {
        polls.set(polls.get() + 1);
        *place.borrow_mut() = Some(cx.waker().clone());
        if polls.get() < 3 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert!(run(&executor, &mut main).is_none());
    let waker = place.borrow().clone().unwrap();
    let away = waker.clone();
    thread::spawn(move || {
        away.wake_by_ref();
        away.wake();
    })
    .join()
    .unwrap();
    assert_eq!(
        notified.load(Ordering::Relaxed),
        1,
        "two wakes, one message"
    );
    assert!(run(&executor, &mut main).is_none());
    assert_eq!(polls.get(), 2);
    waker.wake_by_ref();
    assert!(run(&executor, &mut main).is_some());
    drop(main);
    waker.wake_by_ref();
    executor.run_until_idle();
    executor.close();
    waker.wake_by_ref();
    drop(executor);
    thread::spawn(move || waker.wake()).join().unwrap();
}

#[test]
fn a_wake_that_races_its_poll_is_not_lost() {
    // The future looks at a counter that orders nothing by itself: what it must see, the wake must bring, also the wake
    // that finds another one on its way already.
    const ROUNDS: usize = 5_000;
    let bell = Arc::new((Mutex::new(false), Condvar::new()));
    let ringing = Arc::clone(&bell);
    let executor = Executor::builder()
        .notify(move || {
            *ringing.0.lock().unwrap() = true;
            ringing.1.notify_one();
        })
        .build();
    let (round, news) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (send, receive) = channel::<Waker>();
    let (mut sender, seen) = (Some(send), Cell::new(0));
    let mut future = pin!(Some(poll_fn(|cx| {
        if let Some(sender) = sender.take() {
            sender.send(cx.waker().clone()).unwrap();
        }
        seen.set(news.load(Ordering::Relaxed));
        if seen.get() == ROUNDS {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert!(run(&executor, &mut main).is_none());
    let waker = receive.recv().unwrap();
    let other = {
        let (round, news, waker) = (Arc::clone(&round), Arc::clone(&news), waker.clone());
        thread::spawn(move || {
            for step in 1..=ROUNDS {
                while round.load(Ordering::Acquire) < step {
                    std::hint::spin_loop();
                }
                news.store(step, Ordering::Relaxed);
                waker.wake_by_ref();
            }
        })
    };
    for step in 1..=ROUNDS {
        waker.wake_by_ref();
        round.store(step, Ordering::Release);
        while run(&executor, &mut main).is_none() && seen.get() < step {
            // A lost wake hangs here.
            let mut rung = bell.0.lock().unwrap();
            while !*rung && !executor.has_ready() {
                rung = bell.1.wait(rung).unwrap();
            }
            *rung = false;
        }
    }
    other.join().unwrap();
    assert_eq!(seen.get(), ROUNDS);
}

#[test]
fn a_pinned_handle_is_a_future_like_any_other() {
    let executor = Executor::new();
    let mut task = executor.spawn(async {
        yield_now().await;
        2
    });
    let mut future = pin!(Some(Pin::new(&mut task)));
    let mut main = executor.main(future.as_mut()).unwrap();
    assert_eq!(run(&executor, &mut main).unwrap().unwrap().unwrap(), 2);
}
