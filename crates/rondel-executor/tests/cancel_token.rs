//! Tokens: the tree, the waiters, running until cancelled.
#![cfg(not(rondel_loom))]

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use harness::{Log, yield_now};
use hooked_waker::{On, hooked_waker};
use rondel_executor::{CancelToken, Executor, TaskInfo, Waits, WhenCancelled, leave, shielded};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

fn poll(waiting: &mut WhenCancelled, waker: &Waker) -> Poll<()> {
    Pin::new(waiting).poll(&mut Context::from_waker(waker))
}

/// What `Debug` tells of the entries a token keeps.
fn entries(token: &CancelToken) -> String {
    format!("{token:?}")
        .split_once("children")
        .map(|(_, rest)| format!("children{rest}"))
        .unwrap()
}

#[test]
fn is_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<CancelToken>();
    check::<WhenCancelled>();
}

#[test]
fn cancelling_reaches_everything_below_and_nothing_above() {
    let root = CancelToken::new();
    let (left, right) = (root.child(), root.child());
    let (below_left, below_right) = (left.child(), right.child());
    assert!(left.cancel());
    assert!(left.is_cancelled() && below_left.is_cancelled());
    assert!(!root.is_cancelled() && !right.is_cancelled() && !below_right.is_cancelled());
    assert!(root.cancel());
    assert!(right.is_cancelled() && below_right.is_cancelled());
}

#[test]
fn only_the_first_cancel_says_so_and_clones_are_the_same_token() {
    let token = CancelToken::new();
    let same = token.clone();
    assert!(same.cancel());
    assert!(!token.cancel());
    assert!(token.is_cancelled());
}

#[test]
fn a_child_of_a_cancelled_token_is_born_cancelled() {
    let token = CancelToken::new();
    token.cancel();
    let child = token.child();
    assert!(child.is_cancelled());
    assert!(!child.cancel(), "there is nothing left to cancel");
}

#[test]
fn a_grandchild_whose_parent_is_gone_is_still_reached() {
    let root = CancelToken::new();
    let grandchild = root.child().child();
    root.cancel();
    assert!(grandchild.is_cancelled());
}

#[test]
fn dropped_children_leave_no_entry_behind() {
    let root = CancelToken::new();
    for _ in 0..100 {
        let _grandchild = root.child().child();
    }
    assert_eq!(entries(&root), "children: 0, waiters: 0 }");
    let child = root.child();
    let clone = child.clone();
    drop(child);
    assert_eq!(entries(&root), "children: 1, waiters: 0 }");
    drop(clone);
    assert_eq!(entries(&root), "children: 0, waiters: 0 }");
}

#[test]
fn a_very_long_chain_is_cancelled_and_dropped_without_recursion() {
    let root = CancelToken::new();
    let mut chain = vec![root.clone()];
    for _ in 0..20_000 {
        let child = chain.last().unwrap().child();
        chain.push(child);
    }
    root.cancel();
    let last = chain.pop().unwrap();
    drop((chain, root));
    assert!(last.is_cancelled());
    drop(last);

    let mut deep = CancelToken::new();
    for _ in 0..20_000 {
        deep = deep.child();
    }
    assert!(!deep.is_cancelled());
}

#[test]
fn every_waiter_is_woken_once_and_all_tokens_are_cancelled_by_then() {
    let root = CancelToken::new();
    let child = root.child();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (noted, at_root, at_child) = (Rc::clone(&seen), root.clone(), child.clone());
    let waker = hooked_waker(move |on| {
        if on == On::Wake {
            noted
                .borrow_mut()
                .push((at_root.is_cancelled(), at_child.is_cancelled()));
        }
    });
    let mut waiting = [root.cancelled(), child.cancelled(), child.cancelled()];
    for waiting in &mut waiting {
        assert!(poll(waiting, &waker).is_pending());
    }
    child.cancel();
    assert_eq!(seen.take(), [(false, true), (false, true)]);
    root.cancel();
    root.cancel();
    assert_eq!(seen.take(), [(true, true)]);
    for waiting in &mut waiting {
        assert!(poll(waiting, &waker).is_ready());
        assert!(poll(waiting, &waker).is_ready(), "and stays so");
    }
}

#[test]
fn polling_again_keeps_one_waker_and_dropping_removes_it() {
    let token = CancelToken::new();
    let (first, first_waker) = counting();
    let (second, second_waker) = counting();
    let mut waiting = token.cancelled();
    for _ in 0..10 {
        assert!(poll(&mut waiting, &first_waker).is_pending());
    }
    assert!(poll(&mut waiting, &second_waker).is_pending());
    assert_eq!(entries(&token), "children: 0, waiters: 1 }");
    assert_eq!(Arc::strong_count(&first), 2, "the old waker was let go of");
    token.cancel();
    assert_eq!(first.0.load(Ordering::Relaxed), 0);
    assert_eq!(second.0.load(Ordering::Relaxed), 1);

    let token = CancelToken::new();
    for _ in 0..10 {
        let mut waiting = token.cancelled();
        assert!(poll(&mut waiting, &first_waker).is_pending());
    }
    assert_eq!(entries(&token), "children: 0, waiters: 0 }");
    assert_eq!(Arc::strong_count(&first), 2);
}

#[test]
fn wakers_may_use_the_token_from_clone_wake_and_drop() {
    let token = CancelToken::new();
    let inside = token.clone();
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let waker = hooked_waker(move |_| {
        counted.set(counted.get() + 1);
        let child = inside.child();
        let mut waiting = child.cancelled();
        let _ = poll(&mut waiting, Waker::noop());
        let _ = inside.is_cancelled();
    });
    let mut waiting = token.cancelled();
    assert!(poll(&mut waiting, &waker).is_pending());
    assert!(poll(&mut waiting, Waker::noop()).is_pending());
    assert!(poll(&mut waiting, &waker).is_pending());
    token.cancel();
    // Cloned twice, dropped once when replaced, woken and dropped.
    assert_eq!(calls.get(), 5);
}

#[test]
fn a_waker_that_cancels_while_it_is_cloned_is_not_left_waiting() {
    let token = CancelToken::new();
    let inside = token.clone();
    let waker = hooked_waker(move |on| {
        if on == On::Clone {
            inside.cancel();
        }
    });
    assert!(poll(&mut token.cancelled(), &waker).is_ready());
}

#[test]
fn a_panicking_waker_does_not_keep_the_others_asleep() {
    let token = CancelToken::new();
    let waker = hooked_waker(|on| assert!(on != On::Wake, "a bad waker"));
    let (count, good) = counting();
    let mut waiting = [token.cancelled(), token.cancelled(), token.cancelled()];
    assert!(poll(&mut waiting[0], &good).is_pending());
    assert!(poll(&mut waiting[1], &waker).is_pending());
    assert!(poll(&mut waiting[2], &good).is_pending());
    let cancelled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| token.cancel()));
    assert!(cancelled.is_err());
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    assert!(token.is_cancelled());
}

#[test]
fn tasks_on_several_threads_wait_for_one_token() {
    let token = CancelToken::new();
    let began = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (token, began) = (token.clone(), Arc::clone(&began));
            thread::spawn(move || {
                let (woken, wait) = std::sync::mpsc::channel();
                let executor = Executor::builder()
                    .notify(move || {
                        let _ = woken.send(());
                    })
                    .build();
                let task = executor.spawn(async move { token.child().cancelled().await });
                executor.run_until_idle();
                began.fetch_add(1, Ordering::Release);
                while !task.is_finished() {
                    executor.run_until_idle();
                    if !task.is_finished() {
                        wait.recv().unwrap();
                    }
                }
            })
        })
        .collect();
    while began.load(Ordering::Acquire) < 4 {
        thread::yield_now();
    }
    token.cancel();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn run_gives_the_output_of_what_finishes_first() {
    let executor = Executor::new();
    let token = CancelToken::new();
    let running = token.clone();
    let task = executor.spawn(async move {
        running
            .run(async {
                yield_now().await;
                7
            })
            .await
    });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), Some(7));
    assert_eq!(entries(&token), "children: 0, waiters: 0 }");
}

#[test]
fn run_under_a_cancelled_token_does_not_begin() {
    let executor = Executor::new();
    let token = CancelToken::new();
    token.cancel();
    let task =
        executor.spawn(async move { token.run(async { unreachable!("never begun") }).await });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), None::<()>);
}

#[test]
fn run_drops_the_future_and_waits_for_its_cleanup() {
    struct Cleaning(Log);
    impl Drop for Cleaning {
        fn drop(&mut self) {
            let log = self.0.clone();
            leave(Box::pin(async move {
                yield_now().await;
                log.add("cleaned up");
            }));
        }
    }
    let executor = Executor::new();
    let log = Log::new();
    let token = CancelToken::new();
    let (running, noted) = (token.clone(), log.clone());
    let task = executor.spawn(async move {
        let cleaning = Cleaning(noted.clone());
        let ended = running
            .run(async move {
                let _cleaning = cleaning;
                pending::<()>().await;
            })
            .await;
        assert_eq!(ended, None);
        noted.add("ended");
    });
    executor.run_until_idle();
    token.cancel();
    executor.run_until_idle();
    assert_eq!(log.take(), ["cleaned up", "ended"]);
    assert!(task.is_finished());
}

#[test]
fn run_lets_a_shielded_part_finish() {
    let executor = Executor::new();
    let token = CancelToken::new();
    let log = Log::new();
    let (running, noted, inside) = (token.clone(), log.clone(), token.clone());
    let task = executor.spawn(async move {
        running
            .run(async move {
                shielded(async {
                    inside.cancel();
                    yield_now().await;
                    noted.add("the shielded part");
                })
                .await;
                yield_now().await;
                noted.add("the rest");
            })
            .await
    });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), None);
    assert_eq!(log.take(), ["the shielded part"]);
}

#[test]
fn a_task_that_waits_for_a_token_says_so() {
    let executor = Executor::new();
    let token = CancelToken::new();
    let task = executor.spawn(token.cancelled());
    executor.run_until_idle();
    let waits: Vec<_> = executor.tasks().iter().map(TaskInfo::waits).collect();
    assert_eq!(waits, [Waits::CANCELLATION]);
    assert_eq!(Waits::CANCELLATION.to_string(), "a token to be cancelled");
    drop(task);
}

#[test]
fn a_guard_cancels_unless_it_is_disarmed() {
    let token = CancelToken::new();
    token.drop_guard().disarm();
    assert!(!token.is_cancelled());
    let guarded = token.child();
    let guard = guarded.drop_guard();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _guard = guard;
        panic!("on the way");
    }));
    assert!(unwound.is_err() && guarded.is_cancelled() && !token.is_cancelled());
}

#[test]
fn a_future_that_cancels_its_own_token_is_dropped_at_its_next_poll() {
    let executor = Executor::new();
    let token = CancelToken::new();
    let polls = Rc::new(Cell::new(0));
    let (running, inside, counted) = (token.clone(), token, Rc::clone(&polls));
    let task = executor.spawn(async move {
        let selfish = poll_fn(move |_| {
            counted.set(counted.get() + 1);
            inside.cancel();
            Poll::<()>::Pending
        });
        pin!(running.run(selfish)).await
    });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), None);
    assert_eq!(polls.get(), 1);
}
