//! What promises and task-local values cost, counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rondel_loop::{EventLoop, TaskLocal, call_soon, promise, spawn, spawn_eager, yield_now};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BLOCKS: Cell<isize> = const { Cell::new(0) };
}

fn note(allocations: usize, blocks: isize) {
    ALLOCATIONS.with(|count| count.set(count.get() + allocations));
    BLOCKS.with(|count| count.set(count.get() + blocks));
}

// SAFETY: passes everything on to the system's allocator; the counts are thread-locals that neither allocate nor drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, -1);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, 0);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    f();
    ALLOCATIONS.with(Cell::get) - before
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// A loop whose queues have grown as far as these tests need.
fn warm() -> EventLoop {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let tasks: Vec<_> = (0..64).map(|_| spawn(yield_now())).collect();
        for task in tasks {
            call_soon(|| ());
            task.await.unwrap();
        }
    })
    .unwrap();
    lp
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(Box::new(1))), 1);
}

#[test]
fn a_promise_is_one_allocation_and_keeping_and_awaiting_it_none() {
    let mut lp = warm();
    lp.run_until_complete(async {
        let mut pair = None;
        assert_eq!(
            allocations(|| pair = Some(promise::<[u64; 8], Infallible>())),
            1
        );
        let (promise, mut deferred) = pair.unwrap();
        let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let rest = allocations(|| {
            assert!(poll(&mut deferred, &waker).is_pending());
            assert!(promise.set_result([7; 8]).is_ok());
            assert_eq!(poll(&mut deferred, &waker), Poll::Ready(Ok([7; 8])));
            drop(deferred);
        });
        assert_eq!(rest, 0);
        yield_now().await;
    })
    .unwrap();
}

#[test]
fn cancelling_and_waiting_for_it_allocate_nothing() {
    let (mut promise, deferred) = promise::<u32, Infallible>();
    let rest = allocations(|| {
        assert!(poll(&mut promise.cancelled(), Waker::noop()).is_pending());
        drop(deferred);
        assert!(promise.is_cancelled());
        drop(promise);
    });
    assert_eq!(rest, 0);
}

#[test]
fn everything_is_given_back() {
    let mut lp = warm();
    let run = |lp: &mut EventLoop| {
        lp.run_until_complete(async {
            for kept in [true, false] {
                let (promise, deferred) = promise::<Vec<u8>, Infallible>();
                let deferred = deferred.shared();
                let clones: Vec<_> = (0..50).map(|_| deferred.clone()).collect();
                let inside = deferred.clone();
                deferred.on_done(move |_| drop(inside));
                let tasks: Vec<_> = clones.into_iter().map(spawn).collect();
                yield_now().await;
                if kept {
                    promise.set_result(vec![1; 100]).unwrap();
                } else {
                    drop(promise);
                }
                for task in tasks {
                    assert_eq!(task.await.unwrap().is_ok(), kept);
                }
                yield_now().await;
            }
        })
        .unwrap();
    };
    run(&mut lp);
    let before = BLOCKS.with(Cell::get);
    for _ in 0..3 {
        run(&mut lp);
    }
    assert_eq!(BLOCKS.with(Cell::get), before);
}

#[test]
fn who_uses_no_task_local_values_pays_no_allocation_for_them() {
    let mut lp = warm();
    lp.run_until_complete(async {
        assert_eq!(allocations(|| drop(call_soon(|| ()))), 0);
        assert_eq!(allocations(|| spawn(async {}).detach()), 1);
        assert_eq!(allocations(|| spawn_eager(async {}).detach()), 1);
        yield_now().await;
    })
    .unwrap();
}

#[test]
fn inheriting_values_shares_them_and_setting_one_that_nobody_shares_is_in_place() {
    static NUMBER: TaskLocal<u64> = TaskLocal::new();
    let mut lp = warm();
    lp.run_until_complete(async {
        NUMBER.set(1).unwrap();
        assert_eq!(
            allocations(|| drop(call_soon(|| ()))),
            0,
            "a share, no copy"
        );
        yield_now().await;
        let setting = allocations(|| assert_eq!(NUMBER.set(2), Ok(Some(1))));
        assert_eq!(setting, 1, "the value alone");
        assert_eq!(allocations(|| assert_eq!(NUMBER.get(), Some(2))), 0);
        let scoped = allocations(|| assert_eq!(NUMBER.sync_scope(3, || NUMBER.get()), Some(3)));
        assert_eq!(scoped, 1, "the value alone");
    })
    .unwrap();
}
