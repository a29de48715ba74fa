//! Groups that are leaked or outlived: late wakes from here and from other threads find nobody, and nothing is touched that
//! has gone. Worth running under valgrind or a sanitizer.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use harness::{Alive, poll_once};
use rondel_executor::{as_completed, gather, race, task_group, task_scope};

/// Where a future leaves its waker, for whoever wants to wake it from wherever.
#[derive(Clone, Default)]
struct Wakers(Arc<Mutex<Vec<Waker>>>);

impl Wakers {
    /// Leaves its waker at every poll, and never ends.
    fn leave<T>(&self) -> impl Future<Output = T> + Unpin + use<T> {
        let wakers = self.clone();
        poll_fn(move |cx| {
            wakers.0.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        })
    }

    fn take(&self) -> Vec<Waker> {
        mem::take(&mut self.0.lock().unwrap())
    }
}

fn wake_everywhere(wakers: Vec<Waker>) {
    for waker in &wakers {
        waker.wake_by_ref();
    }
    let there = wakers.clone();
    thread::spawn(move || {
        for waker in &there {
            waker.wake_by_ref();
        }
        drop(there);
    })
    .join()
    .unwrap();
    for waker in wakers {
        waker.wake();
    }
}

#[test]
fn a_forgotten_group_leaves_its_children_unpolled_and_undropped() {
    let (wakers, alive) = (Wakers::default(), Alive::new());
    {
        let borrowed = RefCell::new(String::from("gone after this block"));
        let mut group = Box::pin(task_group(async |g| {
            let (borrowed, mut leave) = (&borrowed, wakers.leave::<()>());
            let probe = alive.probe();
            g.spawn(async move {
                let _probe = probe;
                (&mut leave).await;
                borrowed.borrow_mut().push('!');
                Ok::<_, ()>(())
            });
            Ok(())
        }));
        assert!(poll_once(group.as_mut()).is_pending());
        assert!(poll_once(group.as_mut()).is_pending());
        mem::forget(group);
    }
    wake_everywhere(wakers.take());
    assert_eq!(alive.count(), 1, "leaked, not dropped late");
}

#[test]
fn wakes_after_a_group_was_dropped_do_nothing() {
    let (wakers, alive) = (Wakers::default(), Alive::new());
    {
        let borrowed = RefCell::new(0);
        let mut group = Box::pin(task_scope(async |s| {
            for _ in 0..3 {
                let (borrowed, mut leave, probe) = (&borrowed, wakers.leave::<()>(), alive.probe());
                s.spawn(async move {
                    let _probe = probe;
                    (&mut leave).await;
                    *borrowed.borrow_mut() += 1;
                });
            }
        }));
        assert!(poll_once(group.as_mut()).is_pending());
        assert!(poll_once(group.as_mut()).is_pending());
    }
    assert_eq!(alive.count(), 0);
    wake_everywhere(wakers.take());
}

#[test]
fn wakes_after_combinators_were_dropped_do_nothing() {
    let (wakers, alive) = (Wakers::default(), Alive::new());
    let future = || {
        let (mut leave, probe) = (wakers.leave::<()>(), alive.probe());
        async move {
            let _probe = probe;
            (&mut leave).await;
        }
    };
    let mut gathered = Box::pin(gather([future(), future()]));
    let mut raced = Box::pin(race([future(), future()]));
    let mut completed = as_completed([future(), future()]);
    assert!(poll_once(gathered.as_mut()).is_pending());
    assert!(poll_once(raced.as_mut()).is_pending());
    assert!(poll_once(pin!(completed.next())).is_pending());
    drop((gathered, raced, completed));
    assert_eq!(alive.count(), 0);
    wake_everywhere(wakers.take());
}

#[test]
fn a_late_wake_of_a_child_that_has_ended_does_not_reach_the_one_in_its_place() {
    let wakers = Wakers::default();
    let mut ended = wakers.leave::<()>();
    let polls = RefCell::new(0);
    let mut scope = Box::pin(task_scope(async |s| {
        let first = s.spawn(poll_fn(move |cx| {
            let _ = Pin::new(&mut ended).poll(cx);
            Poll::Ready(())
        }));
        first.await.unwrap();
        let polls = &polls;
        s.spawn(poll_fn(move |_| {
            *polls.borrow_mut() += 1;
            Poll::<()>::Pending
        }));
    }));
    for _ in 0..5 {
        assert!(poll_once(scope.as_mut()).is_pending());
    }
    assert_eq!(*polls.borrow(), 1);
    wake_everywhere(wakers.take());
    assert!(poll_once(scope.as_mut()).is_pending());
    assert_eq!(*polls.borrow(), 1);
}

#[test]
fn the_owners_waker_is_not_held_by_a_childs_that_outlives_the_group() {
    let wakers = Wakers::default();
    let owner = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&owner));
    let mut cx = Context::from_waker(&waker);
    for body_waits in [true, false] {
        let leave = wakers.leave::<()>();
        let mut scope = Box::pin(task_scope(async |s| {
            s.spawn(leave);
            if body_waits {
                std::future::pending::<()>().await;
            }
        }));
        assert!(scope.as_mut().poll(&mut cx).is_pending());
        assert!(scope.as_mut().poll(&mut cx).is_pending());
        assert!(
            Arc::strong_count(&owner) > 2,
            "it is held while the group lives"
        );
        drop(scope);
        let late = wakers.take();
        assert!(!late.is_empty());
        assert_eq!(Arc::strong_count(&owner), 2, "this one and `waker`");
        thread::spawn(move || drop(late)).join().unwrap();
    }
}

/// Parks the thread; for futures without an executor.
struct Unpark(Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::Release);
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !unpark.1.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

/// Ready when another thread has counted up to its number.
struct Reached {
    counter: Arc<Counter>,
    number: usize,
}

#[derive(Default)]
struct Counter {
    count: AtomicUsize,
    waiting: Mutex<Vec<(usize, Waker)>>,
}

impl Counter {
    fn count_to(self: &Arc<Self>, end: usize) {
        for count in 1..=end {
            self.count.store(count, Ordering::Release);
            let mut due = Vec::new();
            self.waiting.lock().unwrap().retain(|(number, waker)| {
                let wait = *number > count;
                if !wait {
                    due.push(waker.clone());
                }
                wait
            });
            due.into_iter().for_each(Waker::wake);
        }
    }
}

impl Future for Reached {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let mut waiting = self.counter.waiting.lock().unwrap();
        if self.counter.count.load(Ordering::Acquire) >= self.number {
            return Poll::Ready(self.number);
        }
        waiting.push((self.number, cx.waker().clone()));
        Poll::Pending
    }
}

const NUMBERS: usize = if cfg!(miri) { 20 } else { 2000 };

#[test]
fn no_wake_from_another_thread_is_lost_without_an_executor() {
    for round in 0..20 {
        let counter = Arc::new(Counter::default());
        let there = Arc::clone(&counter);
        let counting = thread::spawn(move || there.count_to(NUMBERS));
        let numbers = (1..=NUMBERS).map(|number| Reached {
            counter: Arc::clone(&counter),
            number,
        });
        match round % 3 {
            0 => {
                let sum = block_on(task_scope(async |s| {
                    let children: Vec<_> = numbers.map(|reached| s.spawn(reached)).collect();
                    let mut sum = 0;
                    for child in children {
                        sum += child.await.unwrap();
                    }
                    sum
                }));
                assert_eq!(sum, NUMBERS * (NUMBERS + 1) / 2);
            }
            1 => assert_eq!(block_on(gather(numbers)), (1..=NUMBERS).collect::<Vec<_>>()),
            _ => {
                let mut completed = as_completed(numbers);
                let ended = block_on(async {
                    let mut ended = 0;
                    while completed.next().await.is_some() {
                        ended += 1;
                    }
                    ended
                });
                assert_eq!(ended, NUMBERS);
            }
        }
        counting.join().unwrap();
    }
}

#[test]
fn wakes_that_race_the_end_of_a_group_harm_nobody() {
    for _ in 0..200 {
        let wakers = Wakers::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (there, stopped) = (wakers.clone(), Arc::clone(&stop));
        let waking = thread::spawn(move || {
            let mut kept = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                kept.extend(there.take());
                kept.iter().for_each(Waker::wake_by_ref);
                thread::yield_now();
            }
        });
        let mut polls = 0;
        let mut leave = wakers.leave::<()>();
        block_on(task_scope(async |s| {
            s.spawn(poll_fn(move |cx| {
                polls += 1;
                let _ = Pin::new(&mut leave).poll(cx);
                if polls == 3 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }));
        }));
        stop.store(true, Ordering::Relaxed);
        waking.join().unwrap();
    }
}
