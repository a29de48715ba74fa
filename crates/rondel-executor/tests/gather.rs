//! Gathering, racing, and one after the other as they end.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use harness::{Gate, Log, count_polls, executor, on_drop, poll_once, yield_now, yield_times};
use rondel_executor::{
    Either, Executor, JoinError, Shield, Spawner, as_completed, gather, race, select, shield,
    try_gather,
};

#[track_caller]
fn run<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let executor = Executor::new();
    let task = executor.spawn(future);
    executor.run_until_idle();
    task.into_result().expect("it hangs").unwrap()
}

#[test]
fn outputs_come_in_the_order_of_the_arguments_whoever_ends_first() {
    let after = |turns| async move {
        yield_times(turns).await;
        turns
    };
    let few = run(gather((after(5), async { "word" }, after(0))));
    assert_eq!(few, (5, "word", 0));
    let many = run(gather([7, 0, 3].map(after)));
    assert_eq!(many, [7, 0, 3]);
    let one = run(gather((after(1),)));
    assert_eq!(one, (1,));
}

#[test]
fn twelve_of_different_types_are_gathered() {
    let outputs = run(gather((
        ready(1u8),
        ready(2u16),
        ready(3u32),
        ready('4'),
        ready("5"),
        ready(6i8),
        ready(7i16),
        ready(8i32),
        ready(9i64),
        ready(10u64),
        ready(11.0f32),
        ready([12]),
    )));
    assert_eq!(outputs, (1, 2, 3, '4', "5", 6, 7, 8, 9, 10, 11.0, [12]));
}

/// asyncio F 88.
#[test]
fn nothing_gathered_is_an_empty_list() {
    assert!(run(gather(Vec::<std::future::Ready<()>>::new())).is_empty());
    assert_eq!(
        run(try_gather(Vec::<std::future::Ready<Result<(), ()>>>::new())),
        Ok(vec![])
    );
    assert_eq!(run(race(Vec::<std::future::Ready<()>>::new())), None);
    let mut none = as_completed(Vec::<std::future::Ready<()>>::new());
    assert_eq!(poll_once(pin!(none.next())), Poll::Ready(None));
}

#[test]
fn what_is_gathered_may_borrow() {
    let lengths = run(async {
        let words = [String::from("to"), String::from("be")];
        gather(words.iter().map(|word| async move {
            yield_now().await;
            word.len()
        }))
        .await
    });
    assert_eq!(lengths, [2, 2]);
}

/// asyncio F 83.
#[test]
fn with_return_exceptions_errors_and_cancellations_come_in_place() {
    let executor = Executor::new();
    let tasks = [
        executor.spawn(async { Ok("well") }),
        executor.spawn(async { Err("failed") }),
        executor.spawn(pending()),
        executor.spawn(async {
            if true {
                panic!("on purpose");
            }
            Ok("")
        }),
    ];
    tasks[2].cancel();
    let gathered = executor.spawn(gather(tasks));
    executor.run_until_idle();
    let outcomes = gathered.into_result().unwrap().unwrap();
    assert!(matches!(outcomes[0], Ok(Ok("well"))));
    assert!(matches!(outcomes[1], Ok(Err("failed"))));
    assert!(matches!(outcomes[2], Err(JoinError::Cancelled)));
    assert!(matches!(outcomes[3], Err(JoinError::Panicked(_))));
}

#[test]
fn of_many_each_is_woken_and_polled_singly() {
    let gates: Vec<_> = (0..50).map(|_| Gate::new()).collect();
    let mut counts = Vec::new();
    let futures: Vec<_> = gates
        .iter()
        .map(|gate| {
            let (future, count) = count_polls(gate.wait());
            counts.push(count);
            future
        })
        .collect();
    let executor = Executor::new();
    let task = executor.spawn(gather(futures));
    executor.run_until_idle();
    gates[3].open();
    executor.run_until_idle();
    assert_eq!(counts[3].get(), 2);
    assert_eq!(counts.iter().map(|count| count.get()).sum::<usize>(), 51);
    gates.iter().for_each(Gate::open);
    executor.run_until_idle();
    assert!(task.is_finished());
    assert_eq!(counts.iter().map(|count| count.get()).sum::<usize>(), 100);
}

#[test]
fn one_that_wakes_itself_at_its_first_poll_waits_for_the_next() {
    let (future, polls) = count_polls(Box::pin(yield_times(3)));
    let mut gathered = pin!(gather([future]));
    for n in 1..=3 {
        assert!(poll_once(gathered.as_mut()).is_pending());
        assert_eq!(polls.get(), n);
    }
    assert!(poll_once(gathered.as_mut()).is_ready());
}

#[test]
fn a_million_cheap_futures_are_gathered() {
    let outputs = run(gather((0..1_000_000).map(ready)));
    assert!(outputs.into_iter().eq(0..1_000_000));
    let half_pending = run(gather((0..100_000).map(|n| yield_times(n % 2))));
    assert_eq!(half_pending.len(), 100_000);
}

/// asyncio F 85.
#[test]
fn cancelling_the_awaiting_task_drops_every_future() {
    let (executor, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    let task = executor.spawn(async move {
        let hold = |name| harness::hold(logged.on_drop(name));
        gather((hold("a"), gather([hold("b"), hold("c")]))).await
    });
    executor.run_until_idle();
    assert!(task.cancel());
    executor.run_until_idle();
    assert_eq!(log.take(), ["a", "b", "c"]);
    assert!(!task.cancel(), "once");
}

/// asyncio F 86: nothing can swallow a cancellation, whatever the loop around.
#[test]
fn cancelled_in_a_loop_around_gather_the_task_ends() {
    let executor = Executor::new();
    let task = executor.spawn(async {
        loop {
            let _ = gather((yield_now(), async { Err::<(), _>("kept in place") })).await;
        }
    });
    let turn = executor.enter().unwrap();
    let mut entries = 0;
    turn.run_batch(|| {
        entries += 1;
        entries < 10
    });
    drop(turn);
    task.cancel();
    executor.run_until_idle();
    assert!(matches!(
        task.into_result().unwrap(),
        Err::<(), _>(JoinError::Cancelled)
    ));
}

/// asyncio F 82: here the siblings are cancelled; given as tasks they go on, as there.
#[test]
fn with_the_first_error_the_rest_is_cancelled_and_tasks_go_on() {
    let (executor, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    let task = executor.spawn(async move {
        let held = logged.on_drop("dropped");
        let ended = try_gather((
            async {
                let _held = held;
                pending::<Result<u8, &str>>().await
            },
            async {
                yield_now().await;
                Err::<(), _>("failed")
            },
        ))
        .await;
        logged.add("returned");
        let goes_on = Spawner::current().unwrap().spawn({
            let logged = logged.clone();
            async move {
                yield_times(5).await;
                logged.add("went on");
                Ok::<_, &str>(())
            }
        });
        let first = try_gather(
            (async { goes_on.await.unwrap_or(Err("cancelled")) }, async {
                Err::<(), _>("failed at once")
            }),
        )
        .await;
        (ended.unwrap_err(), first.unwrap_err())
    });
    executor.run_until_idle();
    assert_eq!(
        task.into_result().unwrap().unwrap(),
        ("failed", "failed at once")
    );
    assert_eq!(log.take(), ["dropped", "returned", "went on"]);
}

#[test]
fn all_values_of_try_gather_come_in_order() {
    assert_eq!(
        run(try_gather((ready(Ok::<_, ()>(1)), ready(Ok("two"))))),
        Ok((1, "two"))
    );
    let many = (0..5).map(|n| async move {
        yield_times(5 - n).await;
        Ok::<_, ()>(n)
    });
    assert_eq!(run(try_gather(many)), Ok(vec![0, 1, 2, 3, 4]));
    let errors = (0..5).map(|n| async move {
        yield_times(5 - n).await;
        if n > 2 { Err(n) } else { Ok(n) }
    });
    assert_eq!(run(try_gather(errors)), Err(4), "the first in time");
}

#[test]
fn a_panic_of_one_goes_on_in_the_caller() {
    let log = Log::new();
    let held = log.on_drop("sibling");
    let executor = Executor::new();
    let task = executor.spawn(gather((harness::hold(held), async {
        yield_now().await;
        panic!("on purpose");
    })));
    executor.run_until_idle();
    assert_eq!(log.take(), ["sibling"]);
    let Err(JoinError::Panicked(payload)) = task.into_result().unwrap() else {
        panic!("it panicked");
    };
    assert_eq!(payload.message(), Some("on purpose"));
}

#[test]
fn the_first_to_end_wins_and_the_others_are_gone_before_it_returns() {
    let log = Log::new();
    let logged = log.clone();
    run(async move {
        let loser = |name| {
            let held = logged.on_drop(name);
            async move {
                let _held = held;
                pending::<&str>().await
            }
        };
        let winner = async {
            yield_times(3).await;
            "winner"
        };
        assert_eq!(race((loser("a"), winner, loser("b"))).await, "winner");
        logged.add("returned");
    });
    assert_eq!(log.take(), ["a", "b", "returned"]);
}

#[test]
fn a_race_of_those_that_are_ready_is_fair() {
    let (few, many, two) = run(async {
        let (mut few, mut many, mut two) = ([0; 3], [0; 10], [0; 2]);
        for _ in 0..3000 {
            few[race((ready(0), ready(1), ready(2))).await] += 1;
            many[race((0..10).map(|_| ready(()))).await.unwrap().0] += 1;
            match select(ready(()), ready(())).await {
                Either::Left(()) => two[0] += 1,
                Either::Right(()) => two[1] += 1,
            }
        }
        (few, many, two)
    });
    assert!(few.iter().all(|won| (800..1200).contains(won)), "{few:?}");
    assert!(many.iter().all(|won| (200..400).contains(won)), "{many:?}");
    assert!(two.iter().all(|won| (1300..1700).contains(won)), "{two:?}");
}

#[test]
fn an_output_that_was_not_chosen_is_not_lost_when_it_is_kept_outside() {
    run(async {
        let mut kept = pin!(async {
            yield_times(3).await;
            "kept"
        });
        let mut turns = 0;
        let output = loop {
            match select(kept.as_mut(), yield_now()).await {
                Either::Left(output) => break output,
                Either::Right(()) => turns += 1,
            }
        };
        assert_eq!(output, "kept");
        assert!(turns > 0);
    });
}

/// asyncio F 94.
#[test]
fn as_completed_yields_in_the_order_of_the_ends_and_next_can_be_dropped() {
    run(async {
        let mut completed = as_completed([5, 1, 3].map(|turns| async move {
            yield_times(turns).await;
            turns
        }));
        assert_eq!(completed.len(), 3);
        // Asked and dropped without an answer: nothing is lost.
        assert!(poll_once(pin!(completed.next())).is_pending());
        let mut order = Vec::new();
        while let Some((place, turns)) = completed.next().await {
            order.push((place, turns));
            assert_eq!(completed.len(), 3 - order.len());
        }
        assert_eq!(order, [(1, 1), (2, 3), (0, 5)]);
        assert_eq!(completed.next().await, None);
        assert!(completed.is_empty());
    });
}

#[test]
fn as_completed_yields_all_that_were_ready_at_once() {
    let mut completed = as_completed((0..100).map(ready));
    for n in 0..100 {
        assert_eq!(poll_once(pin!(completed.next())), Poll::Ready(Some((n, n))));
    }
    assert_eq!(poll_once(pin!(completed.next())), Poll::Ready(None));
}

/// asyncio F 77.
#[test]
fn shield_passes_results_errors_and_cancellation_of_the_inner() {
    let executor = Executor::new();
    let task = executor.spawn(async {
        let result = shield(async { Ok::<_, &str>(1) }).await.unwrap();
        let error = shield(async { Err::<(), _>("failed") }).await.unwrap();
        let inner = Spawner::current().unwrap().spawn(pending::<()>());
        let outer = Shield::from(inner);
        assert!(outer.cancel());
        (result, error, outer.await)
    });
    executor.run_until_idle();
    let (result, error, outer) = task.into_result().unwrap().unwrap();
    assert_eq!((result, error), (Ok(1), Err("failed")));
    assert!(matches!(outer, Err(JoinError::Cancelled)));
    let done = executor.spawn(ready(3));
    executor.run_until_idle();
    let mut shielded = Shield::from(done);
    let polled = poll_once(Pin::new(&mut shielded));
    assert!(matches!(polled, Poll::Ready(Ok(3))), "done already");
    assert!(matches!(
        poll_once(Pin::new(&mut shielded)),
        Poll::Ready(Err(JoinError::Taken))
    ));
    assert!(shielded.into_task().is_none());
}

#[test]
fn cancelling_the_outer_leaves_the_inner_running() {
    let (executor, log) = (Executor::new(), Log::new());
    let logged = log.clone();
    let outer = executor.spawn(async move {
        shield(async move {
            yield_times(5).await;
            logged.add("finished");
        })
        .await
    });
    let turn = executor.enter().unwrap();
    turn.run_batch(|| false);
    drop(turn);
    outer.cancel();
    executor.run_until_idle();
    assert!(matches!(
        outer.into_result().unwrap(),
        Err(JoinError::Cancelled)
    ));
    assert_eq!(log.take(), ["finished"]);
}

/// asyncio F 79.
#[test]
fn an_inner_failure_after_the_outer_has_gone_is_reported_once_unless_somebody_took_it() {
    let (executor, losses) = executor();
    let fails = || async {
        yield_times(3).await;
        Err::<(), _>(std::io::Error::other("disk full"))
    };
    let outer = executor.spawn(async move { shield(fails()).reporting().await });
    executor.call_soon(move || {
        outer.cancel();
    });
    executor.run_until_idle();
    assert_eq!(losses.words(), ["failed: disk full"]);
    let taken = executor.spawn(async move { shield(fails()).reporting().await });
    executor.run_until_idle();
    assert!(taken.into_result().unwrap().unwrap().unwrap().is_err());
    assert!(losses.is_empty());
    let panics = executor.spawn(async move {
        shield(async {
            yield_times(3).await;
            panic!("on purpose");
        })
        .await
    });
    executor.call_soon(move || {
        panics.cancel();
    });
    executor.run_until_idle();
    assert_eq!(losses.words(), ["task: on purpose"]);
    let kept = executor.spawn(async move {
        let shield = shield(fails()).reporting();
        shield.into_task().unwrap().await
    });
    executor.run_until_idle();
    assert!(kept.into_result().unwrap().unwrap().unwrap().is_err());
    assert!(losses.is_empty());
}

/// asyncio F 80.
#[test]
fn a_shielded_gather_runs_on_and_a_gather_of_shields_lets_go_of_them() {
    for shields_inside in [false, true] {
        let (executor, log) = (Executor::new(), Log::new());
        let logged = log.clone();
        let part = move |name: &'static str| {
            let log = logged.clone();
            async move {
                yield_times(5).await;
                log.add(name);
            }
        };
        let outer = executor.spawn(async move {
            if shields_inside {
                let _ = gather((shield(part("a")), shield(part("b")))).await;
            } else {
                shield(gather((part("a"), part("b")))).await.unwrap();
            }
        });
        executor.call_soon(move || {
            outer.cancel();
        });
        executor.run_until_idle();
        assert_eq!(log.take(), ["a", "b"]);
    }
}

#[test]
#[should_panic(expected = "shield: no executor's turn is under way")]
fn shield_outside_a_turn_says_so() {
    drop(shield(ready(())));
}

#[test]
fn futures_that_own_something_let_go_of_it_when_they_end_not_when_the_gather_does() {
    let log = Log::new();
    let logged = log.clone();
    run(async move {
        let mut held = Some(on_drop({
            let logged = logged.clone();
            move || logged.add("released")
        }));
        let kept = poll_fn(move |_| {
            let _ = &mut held;
            Poll::Ready(())
        });
        let count = Rc::new(Cell::new(0));
        gather((kept, async {
            yield_times(2).await;
            logged.add("the other");
        }))
        .await;
        count.set(1);
    });
    assert_eq!(log.take(), ["released", "the other"]);
}
