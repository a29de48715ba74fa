//! `Barrier`: rounds, indexes, late arrivals, cancellation, reset and abort.

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use harness::{Task, Wakes};
use hooked_waker::{On, hooked_waker};
use rondel_sync::Barrier;
use rondel_sync::barrier::{BrokenBarrier, Wait};

fn waiting<'a>(
    ids: std::ops::Range<u32>,
    wakes: &Wakes,
    barrier: &'a Barrier,
) -> Vec<Task<Wait<'a>>> {
    ids.map(|id| Task::waiting(id, wakes, barrier.wait()))
        .collect()
}

#[test]
fn the_last_to_arrive_releases_all_and_does_not_wait() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(3));
    let mut tasks = waiting(0..2, &wakes, &barrier);
    assert_eq!((barrier.parties(), barrier.n_waiting()), (3, 2));
    assert_eq!(Task::new(2, &wakes, barrier.wait()).ready(), Ok(2));
    assert_eq!(wakes.take(), [0, 1]);
    assert_eq!(barrier.n_waiting(), 0);
    assert_eq!(tasks[1].ready(), Ok(1));
    assert_eq!(tasks[0].ready(), Ok(0));
    assert!(!barrier.broken());
}

#[test]
fn a_single_party_never_waits_and_none_counts_as_one() {
    let wakes = Wakes::new();
    for barrier in [Barrier::new(1), Barrier::new(0)] {
        assert_eq!(barrier.parties(), 1);
        for _ in 0..2 {
            assert_eq!(Task::new(0, &wakes, barrier.wait()).ready(), Ok(0));
        }
    }
}

#[test]
fn each_round_has_the_same_indexes() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(2));
    for _ in 0..3 {
        let mut first = Task::waiting(1, &wakes, barrier.wait());
        assert_eq!(Task::new(2, &wakes, barrier.wait()).ready(), Ok(1));
        assert_eq!(first.ready(), Ok(0));
    }
}

#[test]
fn late_arrivals_wait_until_all_of_the_round_before_have_left() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(2));
    let mut slow = Task::waiting(0, &wakes, barrier.wait());
    assert_eq!(Task::new(1, &wakes, barrier.wait()).ready(), Ok(1));
    let mut late = waiting(2..5, &wakes, &barrier);
    assert_eq!(barrier.n_waiting(), 0, "they are not in a round yet");
    assert_eq!(wakes.take(), [0]);
    assert_eq!(slow.ready(), Ok(0));
    // They were enough for a round, and one is left for the next.
    assert_eq!(wakes.take(), [2, 3]);
    assert!(late[2].is_pending());
    assert_eq!((late[0].ready(), late[1].ready()), (Ok(0), Ok(1)));
    assert_eq!(barrier.n_waiting(), 1);
    assert!(
        wakes.take().is_empty(),
        "nobody is woken just to join a round"
    );
    assert_eq!(Task::new(5, &wakes, barrier.wait()).ready(), Ok(1));
    assert_eq!(late[2].ready(), Ok(0));
}

#[test]
fn a_released_task_that_is_dropped_has_left() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(2));
    let slow = Task::waiting(0, &wakes, barrier.wait());
    assert_eq!(Task::new(1, &wakes, barrier.wait()).ready(), Ok(1));
    let _late = Task::waiting(2, &wakes, barrier.wait());
    drop(slow);
    assert_eq!(barrier.n_waiting(), 1);
    assert!(!barrier.broken());
}

#[test]
fn cancelling_while_filling_takes_the_arrival_back() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(3));
    let mut tasks = waiting(0..2, &wakes, &barrier);
    drop(tasks.remove(0));
    assert_eq!((barrier.n_waiting(), barrier.broken()), (1, false));
    let mut next = Task::waiting(2, &wakes, barrier.wait());
    assert_eq!(Task::new(3, &wakes, barrier.wait()).ready(), Ok(2));
    // Each index once, although the first of the arrivals was taken back.
    assert_eq!((tasks[0].ready(), next.ready()), (Ok(0), Ok(1)));
}

#[test]
fn cancelling_a_late_arrival_takes_it_out_of_the_next_round() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(2));
    let mut slow = Task::waiting(0, &wakes, barrier.wait());
    assert_eq!(Task::new(1, &wakes, barrier.wait()).ready(), Ok(1));
    let mut late = waiting(2..4, &wakes, &barrier);
    drop(late.remove(0));
    wakes.take();
    assert_eq!(slow.ready(), Ok(0));
    assert!(late[0].is_pending());
    assert_eq!(barrier.n_waiting(), 1);
}

#[test]
fn an_abort_turns_away_all_who_wait_and_all_who_come() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(3));
    let mut tasks = waiting(0..2, &wakes, &barrier);
    barrier.abort();
    assert!(barrier.broken());
    assert_eq!((wakes.take(), barrier.n_waiting()), (vec![0, 1], 0));
    for task in &mut tasks {
        assert_eq!(task.ready(), Err(BrokenBarrier));
    }
    assert_eq!(
        Task::new(2, &wakes, barrier.wait()).ready(),
        Err(BrokenBarrier)
    );
    assert_eq!(
        BrokenBarrier.to_string(),
        "the barrier was aborted or reset before the task had passed it"
    );
}

#[test]
fn an_abort_while_draining_turns_away_those_who_have_not_run_and_the_late() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(3));
    let mut tasks = waiting(0..2, &wakes, &barrier);
    assert_eq!(Task::new(2, &wakes, barrier.wait()).ready(), Ok(2));
    let mut late = Task::waiting(3, &wakes, barrier.wait());
    assert_eq!(tasks[0].ready(), Ok(0));
    barrier.abort();
    assert_eq!(wakes.take(), [0, 1, 3]);
    assert_eq!(tasks[1].ready(), Err(BrokenBarrier));
    assert_eq!(late.ready(), Err(BrokenBarrier));
    assert!(barrier.broken(), "until it is reset");
}

#[test]
fn a_reset_turns_away_those_who_have_arrived_and_the_next_round_waits_for_them_to_leave() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(2));
    barrier.reset();
    let mut early = Task::waiting(0, &wakes, barrier.wait());
    barrier.reset();
    assert_eq!((wakes.take(), barrier.broken()), (vec![0], false));
    let mut next = waiting(1..3, &wakes, &barrier);
    barrier.reset();
    assert_eq!(barrier.n_waiting(), 0);
    assert!(wakes.take().is_empty());
    assert_eq!(early.ready(), Err(BrokenBarrier));
    assert_eq!(wakes.take(), [1, 2]);
    assert_eq!((next[0].ready(), next[1].ready()), (Ok(0), Ok(1)));
}

#[test]
fn a_reset_while_draining_turns_away_those_who_have_not_run_but_not_the_late() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(3));
    let mut tasks = waiting(0..2, &wakes, &barrier);
    assert_eq!(Task::new(2, &wakes, barrier.wait()).ready(), Ok(2));
    let mut late = Task::waiting(3, &wakes, barrier.wait());
    assert_eq!(tasks[0].ready(), Ok(0));
    barrier.reset();
    assert_eq!(tasks[1].ready(), Err(BrokenBarrier));
    assert!(late.is_pending());
    assert_eq!(barrier.n_waiting(), 1);
}

#[test]
fn a_broken_barrier_is_mended_by_a_reset() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(2));
    let mut turned_away = Task::waiting(0, &wakes, barrier.wait());
    barrier.abort();
    barrier.reset();
    assert!(!barrier.broken());
    // The one who was turned away does not get into the new round by running late.
    let mut first = Task::waiting(1, &wakes, barrier.wait());
    let mut second = Task::waiting(2, &wakes, barrier.wait());
    assert_eq!(turned_away.ready(), Err(BrokenBarrier));
    assert_eq!((first.ready(), second.ready()), (Ok(0), Ok(1)));
}

#[test]
fn a_waker_that_panics_costs_nobody_its_index() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: std::sync::Arc<Self>) {
            std::panic::resume_unwind(Box::new("a panic on purpose"));
        }
    }
    let (wakes, barrier) = (Wakes::new(), Barrier::new(3));
    let waker = std::sync::Arc::new(Panics).into();
    let mut first = pin!(barrier.wait());
    let polled = first.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    let mut second = Task::waiting(1, &wakes, barrier.wait());
    let mut last = Task::new(2, &wakes, barrier.wait());
    assert!(catch_unwind(AssertUnwindSafe(|| last.poll())).is_err());
    assert_eq!(wakes.take(), [1]);
    assert_eq!(last.ready(), Ok(2));
    assert_eq!(second.ready(), Ok(1));
    assert_eq!(harness::poll_once(first), Poll::Ready(Ok(0)));
    assert_eq!(format!("{barrier:?}"), format!("{:?}", Barrier::new(3)));
}

#[test]
fn a_released_future_that_is_leaked_keeps_the_round_from_ending() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(2));
    let leaked = Task::waiting(0, &wakes, barrier.wait());
    assert_eq!(Task::new(1, &wakes, barrier.wait()).ready(), Ok(1));
    leaked.leak();
    let _late = waiting(2..5, &wakes, &barrier);
    assert_eq!((wakes.take(), barrier.n_waiting()), (vec![0], 0));
}

#[test]
fn it_says_what_it_is_doing() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(2));
    let wait = Task::waiting(0, &wakes, barrier.wait());
    assert_eq!(
        format!("{barrier:?}"),
        "Barrier { parties: 2, phase: Filling, waiting: 1, leaving: 0 }"
    );
    drop(wait);
    assert!(format!("{:?}", barrier.wait()).starts_with("Wait { barrier: Barrier"));
}

#[test]
#[should_panic(expected = "`Barrier::wait` polled after it was ready")]
fn polling_again_after_ready_panics() {
    let (wakes, barrier) = (Wakes::new(), Barrier::new(1));
    let mut task = Task::new(0, &wakes, barrier.wait());
    let _ = task.ready();
    let _ = task.poll();
}

type Shared = Pin<Box<dyn Future<Output = Result<usize, BrokenBarrier>>>>;

fn shared(barrier: &Rc<Barrier>) -> Shared {
    let barrier = Rc::clone(barrier);
    Box::pin(async move { barrier.wait().await })
}

#[test]
fn an_abort_while_the_waker_is_cloned_is_not_missed() {
    let barrier = Rc::new(Barrier::new(2));
    let waker = hooked_waker({
        let barrier = Rc::clone(&barrier);
        move |on| {
            if on == On::Clone {
                barrier.abort();
            }
        }
    });
    let mut wait = pin!(barrier.wait());
    assert_eq!(
        wait.as_mut().poll(&mut Context::from_waker(&waker)),
        Poll::Ready(Err(BrokenBarrier))
    );
}

#[test]
fn a_waker_that_drops_the_others_of_its_round_ends_the_round() {
    let barrier = Rc::new(Barrier::new(3));
    let own: Rc<Cell<Option<Shared>>> = Rc::default();
    let other: Rc<RefCell<Option<Shared>>> = Rc::default();
    let waker = hooked_waker({
        let (own, other) = (Rc::clone(&own), Rc::clone(&other));
        move |on| {
            if on == On::Wake {
                drop(own.take());
                let taken = other.borrow_mut().take();
                drop(taken);
            }
        }
    });
    let mut first = shared(&barrier);
    assert!(
        first
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    own.set(Some(first));
    let wakes = Wakes::new();
    let mut second = shared(&barrier);
    let second_waker = wakes.waker(2);
    assert!(
        second
            .as_mut()
            .poll(&mut Context::from_waker(&second_waker))
            .is_pending()
    );
    *other.borrow_mut() = Some(second);
    assert_eq!(harness::poll_once(pin!(barrier.wait())), Poll::Ready(Ok(2)));
    assert!(wakes.take().is_empty());
    assert_eq!(Rc::strong_count(&barrier), 1);
    let _next = waiting(3..5, &wakes, &barrier);
    assert_eq!(barrier.n_waiting(), 2);
}
