//! `Semaphore`: order, cancellation, permits, limits.

mod harness;

use std::rc::Rc;

use harness::{Task, Wakes};
use rondel_sync::Semaphore;

#[test]
fn a_free_permit_is_acquired_without_yielding() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(2));
    let permit = Task::new(1, &wakes, semaphore.acquire()).ready();
    assert_eq!(permit.permits(), 1);
    assert_eq!(semaphore.available_permits(), 1);
    assert!(!semaphore.locked());
    drop(permit);
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
fn permits_are_handed_over_in_the_order_of_asking() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(1));
    let mut held = semaphore.try_acquire().unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|id| Task::waiting(id, &wakes, semaphore.acquire()))
        .collect();
    assert_eq!(semaphore.waiting(), 4);
    for (id, mut task) in tasks.into_iter().enumerate() {
        drop(held);
        assert_eq!(wakes.take(), [id as u32]);
        held = task.ready();
    }
}

#[test]
fn a_permit_given_back_and_asked_for_again_goes_to_the_one_who_waits() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(1));
    let held = semaphore.try_acquire().unwrap();
    let mut patient = Task::waiting(1, &wakes, semaphore.acquire());
    drop(held);
    assert!(semaphore.locked());
    assert!(semaphore.try_acquire().is_err());
    let mut greedy = Task::waiting(2, &wakes, semaphore.acquire());
    drop(patient.ready());
    drop(greedy.ready());
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn small_requests_wait_behind_a_large_one() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(3));
    let held = semaphore.try_acquire().unwrap();
    let mut large = Task::waiting(1, &wakes, semaphore.acquire_many(3));
    let mut small = Task::waiting(2, &wakes, semaphore.acquire());
    assert_eq!(semaphore.available_permits(), 2);
    assert!(semaphore.locked(), "permits are free, but somebody waits");
    let refused = semaphore.try_acquire().unwrap_err();
    assert_eq!(
        (refused.asked, refused.available, refused.waiting),
        (1, 2, 2)
    );
    assert_eq!(
        refused.to_string(),
        "cannot acquire 1 semaphore permit(s) at once: 2 free, 2 waiting"
    );
    drop(held);
    assert_eq!(wakes.take(), [1]);
    assert!(small.is_pending());
    drop(large.ready());
    assert_eq!(wakes.take(), [2]);
    drop(small.ready());
}

#[test]
fn a_large_request_that_gives_up_lets_the_small_ones_behind_it_through() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(2));
    let large = Task::waiting(1, &wakes, semaphore.acquire_many(3));
    let mut small: Vec<_> = (2..5)
        .map(|id| Task::waiting(id, &wakes, semaphore.acquire()))
        .collect();
    drop(large);
    assert_eq!(wakes.take(), [2, 3]);
    let held: Vec<_> = small[..2].iter_mut().map(Task::ready).collect();
    assert!(small[2].is_pending());
    drop(held);
    assert_eq!(wakes.take(), [4]);
}

#[test]
fn a_permit_handed_to_a_task_that_is_cancelled_goes_to_the_next() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(1));
    let held = semaphore.try_acquire().unwrap();
    let first = Task::waiting(1, &wakes, semaphore.acquire());
    let mut second = Task::waiting(2, &wakes, semaphore.acquire());
    drop(held);
    assert_eq!(wakes.take(), [1]);
    drop(first);
    assert_eq!(wakes.take(), [2]);
    drop(second.ready());
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn a_permit_handed_to_the_only_task_which_is_cancelled_is_free_again() {
    let (wakes, semaphore) = (Wakes::new(), Rc::new(Semaphore::new(2)));
    let held = semaphore.try_acquire_many(2).unwrap();
    let only = Task::waiting(1, &wakes, Rc::clone(&semaphore).acquire_many_owned(2));
    drop(held);
    assert_eq!(semaphore.available_permits(), 0);
    drop(only);
    assert_eq!(semaphore.available_permits(), 2);
    assert_eq!(Rc::strong_count(&semaphore), 1);
}

#[test]
fn what_was_handed_over_is_taken_and_no_more() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(0));
    let mut task = Task::waiting(1, &wakes, semaphore.acquire());
    semaphore.add_permits(2).unwrap();
    assert_eq!(semaphore.available_permits(), 1);
    let permit = task.ready();
    assert_eq!(semaphore.available_permits(), 1);
    drop(task);
    assert_eq!(semaphore.available_permits(), 1);
    drop(permit);
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
fn cancelled_waiters_at_the_front_do_not_swallow_releases() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(0));
    let mut tasks: Vec<_> = (0..4)
        .map(|id| Task::waiting(id, &wakes, semaphore.acquire()))
        .collect();
    let (mut fourth, mut third) = (tasks.pop().unwrap(), tasks.pop().unwrap());
    drop(tasks);
    semaphore.add_permits(1).unwrap();
    semaphore.add_permits(1).unwrap();
    assert_eq!(wakes.take(), [2, 3]);
    third.ready().forget();
    fourth.ready().forget();
}

#[test]
fn cancelling_and_releasing_in_one_step_serves_exactly_one() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(1));
    let held = semaphore.try_acquire().unwrap();
    let first = Task::waiting(1, &wakes, semaphore.acquire());
    let mut second = Task::waiting(2, &wakes, semaphore.acquire());
    let mut third = Task::waiting(3, &wakes, semaphore.acquire());
    drop(first);
    drop(held);
    assert_eq!(wakes.take(), [2]);
    let _held = second.ready();
    assert!(third.is_pending());
}

#[test]
fn three_permits_added_in_one_step_serve_three() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(0));
    let mut tasks: Vec<_> = (0..4)
        .map(|id| Task::waiting(id, &wakes, semaphore.acquire()))
        .collect();
    for _ in 0..3 {
        semaphore.add_permits(1).unwrap();
    }
    assert_eq!(wakes.take(), [0, 1, 2]);
    tasks[..3].iter_mut().for_each(|task| task.ready().forget());
    assert_eq!(semaphore.available_permits(), 0);
    assert!(tasks[3].is_pending());
}

#[test]
fn a_task_that_moves_to_another_waker_is_woken_there() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(0));
    let mut future = std::pin::pin!(semaphore.acquire());
    for id in [1, 2] {
        let waker = wakes.waker(id);
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(future.as_mut().poll(&mut cx).is_pending());
    }
    semaphore.add_permits(1).unwrap();
    assert_eq!(wakes.take(), [2]);
}

#[test]
fn owned_permits_keep_the_semaphore() {
    let (wakes, semaphore) = (Wakes::new(), Rc::new(Semaphore::new(1)));
    let first = Rc::clone(&semaphore).try_acquire_owned().unwrap();
    let mut second = Task::waiting(2, &wakes, semaphore.acquire_owned());
    drop(first);
    assert_eq!(wakes.take(), [2]);
    let permit = second.ready();
    drop(second);
    assert_eq!(permit.semaphore().available_permits(), 0);
}

#[test]
fn forgotten_permits_are_gone() {
    let semaphore = Semaphore::new(3);
    semaphore.try_acquire_many(2).unwrap().forget();
    assert_eq!(semaphore.available_permits(), 1);
    assert!(semaphore.try_acquire_many(2).is_err());
}

#[test]
fn permits_split_and_merge() {
    let (semaphore, other) = (Rc::new(Semaphore::new(5)), Rc::new(Semaphore::new(1)));
    let mut four = semaphore.try_acquire_many(4).unwrap();
    assert!(four.split(5).is_none());
    let mut three = four.split(3).unwrap();
    assert_eq!((four.permits(), three.permits()), (1, 3));
    drop(four);
    assert_eq!(semaphore.available_permits(), 2);
    three.merge(semaphore.try_acquire().unwrap()).unwrap();
    assert_eq!(three.permits(), 4);
    let stranger = three.merge(other.try_acquire().unwrap()).unwrap_err();
    assert_eq!(other.available_permits(), 0);
    drop(stranger);
    drop(three);
    assert_eq!(
        (semaphore.available_permits(), other.available_permits()),
        (5, 1)
    );

    let mut owned = Rc::clone(&semaphore).try_acquire_many_owned(2).unwrap();
    let half = owned.split(1).unwrap();
    owned.merge(half).unwrap();
    drop(owned);
    assert_eq!(
        (semaphore.available_permits(), Rc::strong_count(&semaphore)),
        (5, 1)
    );
}

#[test]
fn permits_beyond_the_largest_number_are_refused_even_while_some_are_held() {
    let semaphore = Semaphore::new(usize::MAX);
    let held = semaphore.try_acquire_many(usize::MAX).unwrap();
    let refused = semaphore.add_permits(1).unwrap_err();
    assert_eq!(
        (refused.asked, refused.total, refused.limit),
        (1, usize::MAX, usize::MAX)
    );
    drop(held);
    assert_eq!(semaphore.available_permits(), usize::MAX);
    semaphore.try_acquire().unwrap().forget();
    semaphore.add_permits(1).unwrap();
    assert!(semaphore.add_permits(usize::MAX).is_err());
    assert_eq!(semaphore.available_permits(), usize::MAX);
}

#[test]
fn a_bounded_semaphore_refuses_to_be_released_too_often() {
    let semaphore = Semaphore::bounded(2);
    let refused = semaphore.add_permits(1).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "cannot add 1 permit(s) to a semaphore that has 2 and may have 2"
    );
    let held = semaphore.try_acquire().unwrap();
    assert!(
        semaphore.add_permits(1).is_err(),
        "the held one will come back by itself"
    );
    held.forget();
    semaphore.add_permits(1).unwrap();
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
fn an_amount_of_zero_waits_for_its_turn() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(0));
    assert_eq!(
        Task::new(1, &wakes, semaphore.acquire_many(0))
            .ready()
            .permits(),
        0
    );
    let mut one = Task::waiting(2, &wakes, semaphore.acquire());
    let mut none = Task::waiting(3, &wakes, semaphore.acquire_many(0));
    assert!(semaphore.try_acquire_many(0).is_err());
    semaphore.add_permits(1).unwrap();
    assert_eq!(wakes.take(), [2, 3]);
    drop(none.ready());
    drop(one.ready());
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
#[should_panic(expected = "`Semaphore::acquire` polled after it was ready")]
fn polling_again_after_ready_panics() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(2));
    let mut task = Task::new(1, &wakes, semaphore.acquire());
    drop(task.ready());
    let _ = task.poll();
}
