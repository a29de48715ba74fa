//! Allocations, counted: what things cost, and that all of it is given back.
#![cfg(not(rondel_loom))]

mod harness;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{pending, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::Waker;
use std::thread;

use harness::{Gate, hold, on_drop, yield_now, yield_times};
use rondel_executor::{
    Callback, Executor, LoopBound, TaskSet, gather, leave, race, task_scope, try_gather,
};

struct Counting;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    allocations: usize,
    /// Allocated less freed, by this thread.
    bytes: isize,
    /// Blocks allocated less blocks freed, by this thread.
    blocks: isize,
}

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally { allocations: 0, bytes: 0, blocks: 0 }) };
}

fn note(allocations: usize, blocks: isize, bytes: isize) {
    TALLY.with(|tally| {
        let before = tally.get();
        tally.set(Tally {
            allocations: before.allocations + allocations,
            bytes: before.bytes + bytes,
            blocks: before.blocks + blocks,
        });
    });
}

// SAFETY: passes everything on to the system's allocator; the tally is a thread-local that neither allocates nor drops.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, 1, layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, -1, -layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, 0, size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `run` did, and what it gave.
fn tally<T>(run: impl FnOnce() -> T) -> (Tally, T) {
    let before = TALLY.with(Cell::get);
    let result = run();
    let after = TALLY.with(Cell::get);
    let tally = Tally {
        allocations: after.allocations - before.allocations,
        bytes: after.bytes - before.bytes,
        blocks: after.blocks - before.blocks,
    };
    (tally, result)
}

fn allocations(run: impl FnOnce()) -> usize {
    tally(run).0.allocations
}

/// An executor whose queues have grown as far as these tests need.
fn warm() -> Executor {
    let executor = Executor::new();
    for _ in 0..64 {
        executor.spawn(pending::<()>()).detach();
        executor.call_soon(|| ());
    }
    executor.run_until_idle();
    executor.cancel_all();
    executor.run_until_idle();
    executor
}

#[test]
fn the_count_counts() {
    let (counted, boxed) = tally(|| Box::new([0_u8; 100]));
    assert_eq!(
        (counted.allocations, counted.blocks, counted.bytes),
        (1, 1, 100)
    );
    let (counted, ()) = tally(|| drop(boxed));
    assert_eq!(
        (counted.allocations, counted.blocks, counted.bytes),
        (0, -1, -100)
    );
}

#[test]
fn spawning_allocates_once() {
    let executor = warm();
    assert_eq!(allocations(|| executor.spawn(ready(())).detach()), 1);
    assert_eq!(allocations(|| executor.run_until_idle()), 0);

    let (counted, task) = tally(|| executor.spawn(yield_times(3)));
    assert_eq!(counted.allocations, 1);
    assert_eq!(allocations(|| executor.run_until_idle()), 0);
    let (counted, output) = tally(|| task.into_result().unwrap());
    output.unwrap();
    assert_eq!((counted.allocations, counted.blocks), (0, -1));

    fn of_size<const SIZE: usize>() -> impl Future<Output = ()> {
        let bytes = [1_u8; SIZE];
        std::future::poll_fn(move |_| {
            std::hint::black_box(&bytes);
            std::task::Poll::Pending
        })
    }
    assert_eq!(
        allocations(|| executor.spawn(of_size::<1900>()).detach()),
        1
    );
    assert_eq!(
        allocations(|| executor.spawn(of_size::<2048>()).detach()),
        2
    );
}

#[test]
fn wakes_yields_and_turns_allocate_nothing() {
    let executor = warm();
    let gate = Gate::new();
    let waker: Rc<Cell<Option<Waker>>> = Rc::default();
    let place = Rc::clone(&waker);
    executor
        .spawn(std::future::poll_fn(move |cx| {
            place.set(Some(cx.waker().clone()));
            std::task::Poll::<()>::Pending
        }))
        .detach();
    for _ in 0..8 {
        executor.spawn(yield_times(1000)).detach();
    }
    let waiting = gate.wait();
    let parent = executor.spawn(async move {
        let child = harness::here().spawn(waiting);
        child.await.unwrap();
    });
    let turn = executor.enter().unwrap();
    for _ in 0..100 {
        let _ = turn.run_batch(|| false);
    }
    drop(turn);
    let waker = waker.take().unwrap();
    let counted = allocations(|| {
        for _ in 0..100 {
            waker.wake_by_ref();
            let another = waker.clone();
            another.wake();
        }
        executor.run_until_idle();
        gate.open();
        executor.run_until_idle();
    });
    assert_eq!(counted, 0);
    assert!(parent.is_finished());
}

#[test]
fn calling_soon_allocates_for_large_closures_only_and_a_callback_queued_again_never() {
    struct Again;
    impl Callback for Again {
        fn call(self: Rc<Self>) {}
        fn site(&self) -> &'static std::panic::Location<'static> {
            std::panic::Location::caller()
        }
    }
    let executor = warm();
    let call = |expected| {
        let value = [1_usize; 5];
        let small = allocations(|| {
            executor.call_soon(move || {
                std::hint::black_box(value);
            });
        });
        let value = [1_usize; 6];
        let large = allocations(|| {
            executor.call_soon(move || {
                std::hint::black_box(value);
            });
        });
        assert_eq!((small, large), expected);
    };
    call((0, 1));
    assert_eq!(allocations(|| executor.run_until_idle()), 0);
    for _ in 0..100 {
        call((0, 1));
        executor.run_until_idle();
    }
    let (spawner, again) = (executor.spawner(), Rc::new(Again));
    spawner.push(Rc::clone(&again) as _);
    executor.run_until_idle();
    let counted = allocations(|| {
        for _ in 0..100 {
            spawner.push(Rc::clone(&again) as _);
            executor.run_until_idle();
        }
    });
    assert_eq!(counted, 0);
    let handle = executor.call_soon(|| ());
    assert_eq!(allocations(|| assert!(handle.cancel())), 0);
}

#[test]
fn a_block_whose_handle_lives_on_is_not_used_again() {
    let executor = warm();
    let handles: Vec<_> = (0..100)
        .map(|index| executor.call_soon(move || drop(hold(Rc::new(index)))))
        .collect();
    executor.run_until_idle();
    let next: Vec<_> = (0..100).map(|_| executor.call_soon(|| ())).collect();
    assert!(handles.iter().all(|handle| !handle.is_pending()));
    assert!(next.iter().all(|handle| handle.is_pending()));
    assert!(next.iter().step_by(2).all(|handle| handle.cancel()));
    executor.run_until_idle();
    let cancelled = next.iter().filter(|handle| handle.cancelled());
    assert_eq!(cancelled.count(), 50);
    assert!(!handles.iter().any(|handle| handle.cancelled()));
}

#[test]
fn spare_blocks_are_bounded() {
    let executor = warm();
    let (counted, ()) = tally(|| {
        for _ in 0..100_000 {
            executor.call_soon(|| ());
        }
        executor.run_until_idle();
    });
    // A queue of 100,000 words, which is kept, and little else.
    let kept = counted.bytes - (128 << 10) * 8;
    assert!((0..100_000).contains(&kept), "{kept} bytes are kept");
}

#[test]
fn cancelling_allocates_nothing() {
    let executor = warm();
    let tasks: Vec<_> = (0..16).map(|_| executor.spawn(hold(Rc::new(1)))).collect();
    executor.run_until_idle();
    let counted = allocations(|| {
        for task in &tasks {
            task.cancel();
        }
        executor.run_until_idle();
    });
    assert_eq!(counted, 0);
    assert!(tasks.iter().all(|task| task.is_finished()));
}

#[test]
fn a_bound_value_allocates_only_to_be_sent_home() {
    let executor = warm();
    let spawner = executor.spawner();
    let bound = LoopBound::new(&spawner, 1);
    let counted = allocations(|| {
        let bound = LoopBound::new(&spawner, 1);
        bound.get();
    });
    assert_eq!(counted, 0);
    assert_eq!(size_of_val(&bound), 4 * size_of::<usize>());
}

#[test]
fn an_idle_task_costs_its_future_and_little_more() {
    const MANY: usize = 16_384;
    let executor = Executor::new();
    // The queue and the registry at their size beforehand, so that what is measured is the tasks alone.
    for _ in 0..MANY {
        executor.spawn(pending::<()>()).detach();
    }
    executor.run_until_idle();
    executor.cancel_all();
    executor.run_until_idle();

    let value = 7_u64;
    let future = || async move {
        pending::<()>().await;
        std::hint::black_box(value);
    };
    let size = size_of_val(&future()).cast_signed();
    let (spawned, ()) = tally(|| {
        for _ in 0..MANY {
            executor.spawn(future()).detach();
        }
    });
    let (suspended, ()) = tally(|| executor.run_until_idle());
    let each = spawned.bytes / MANY.cast_signed();
    println!(
        "a task of a future of {size} bytes: {each} bytes, and {} when suspended",
        suspended.bytes
    );
    assert_eq!(spawned.allocations, MANY);
    assert!(each - size <= 112, "{each} bytes for a future of {size}");
    assert_eq!(suspended.allocations, 0);

    // From nothing, with what the queue and the registry take.
    let other = Executor::new();
    let (all, ()) = tally(|| {
        for _ in 0..MANY {
            other.spawn(future()).detach();
        }
        other.run_until_idle();
    });
    let each = all.bytes / MANY.cast_signed();
    println!("with the queue at its fullest and the registry: {each} bytes");
    assert!(each - size <= 112, "{each} bytes for a future of {size}");
}

#[test]
fn nothing_is_left_when_it_is_gone() {
    // Whatever is made once for the thread or the process is made before.
    busy_life();
    let (counted, ()) = tally(busy_life);
    assert_eq!((counted.blocks, counted.bytes), (0, 0));
}

fn busy_life() {
    let executor = Executor::builder()
        .lost(drop)
        .nudge(|| ())
        .notify(|| ())
        .build();
    let remote = executor.remote();
    for index in 0..20 {
        let task = executor
            .spawn(async move {
                yield_now().await;
                if index % 3 == 0 {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
                Box::new(index)
            })
            .named(format!("task {index}"));
        task.on_done(|_| ());
        if index % 4 == 0 {
            task.cancel();
        }
        if index % 2 == 0 {
            task.detach();
        }
        let leaving = on_drop(move || leave(Box::pin(yield_times(index))));
        executor.spawn(hold(leaving)).detach();
        let leaving = on_drop(move || leave(Box::pin(yield_times(index))));
        executor.call_soon(move || drop(leaving));
        executor.call_soon(|| unreachable!()).cancel();
        drop(remote.spawn(async move { Box::new(index) }));
    }
    let held: Rc<Cell<Option<rondel_executor::Handle>>> = Rc::default();
    executor.run_until_idle();
    executor.cancel_all();
    executor.run_until_idle();
    let inside = Rc::clone(&held);
    held.set(Some(executor.call_soon(move || drop(inside))));
    let leaving = on_drop(|| leave(Box::pin(pending())));
    executor.spawn(hold(leaving)).detach();
    let leaving = on_drop(|| leave(Box::pin(pending())));
    executor.call_soon(move || drop(leaving));
    executor.spawn(hold(Box::new(1))).detach();
    executor.run_until_idle();
    {
        let leaving = on_drop(|| leave(Box::pin(pending())));
        let mut future = pin!(Some(hold(leaving)));
        let main = executor.main(future.as_mut());
        executor.close();
        drop(main);
    }
    drop(executor);
    assert!(remote.is_closed());
}

#[test]
fn what_other_threads_keep_of_it_leaves_nothing_either() {
    let life = || {
        let executor = Executor::new();
        for _ in 0..1000 {
            executor.spawn(hold(Box::new(1))).named("idle").detach();
            executor.call_soon(|| ());
        }
        let leaving = on_drop(|| leave(Box::pin(ready(()))));
        executor.call_soon(move || drop(leaving));
        executor.run_until_idle();
        let waker: Rc<Cell<Option<Waker>>> = Rc::default();
        let place = Rc::clone(&waker);
        executor
            .spawn(std::future::poll_fn(move |cx| {
                place.set(Some(cx.waker().clone()));
                std::task::Poll::<()>::Pending
            }))
            .detach();
        executor.run_until_idle();
        (executor.remote(), waker.take())
    };
    drop(life());
    let (home, kept) = tally(life);
    assert!(home.blocks > 0, "the other thread keeps something");
    let away = thread::spawn(move || tally(|| drop(kept)).0)
        .join()
        .unwrap();
    assert_eq!((home.blocks + away.blocks, home.bytes + away.bytes), (0, 0));
}

#[test]
fn a_task_of_a_set_is_spawned_and_joined_with_one_allocation() {
    let executor = warm();
    let mut set = TaskSet::on(executor.spawner());
    let round = |set: &mut TaskSet<u32>| {
        for n in 0..8 {
            set.spawn(ready(n));
        }
        executor.run_until_idle();
        while set.try_join_next().is_some() {}
    };
    round(&mut set);
    assert_eq!(allocations(|| round(&mut set)), 8);
}

#[test]
fn a_set_that_is_joined_stays_as_large_as_its_most() {
    let executor = warm();
    let mut set = TaskSet::on(executor.spawner());
    let mut round = || {
        for n in 0..10 {
            set.spawn(ready(n));
        }
        executor.run_until_idle();
        while set.try_join_next().is_some() {}
    };
    round();
    let (counted, ()) = tally(|| (0..1000).for_each(|_| round()));
    assert_eq!((counted.blocks, counted.bytes), (0, 0));
}

#[test]
fn gathering_and_racing_a_few_allocates_nothing() {
    let executor = warm();
    let task = executor.spawn(async {
        let yields = || async { yield_now().await };
        let mut counted = 0;
        counted += counted_across(gather((yields(), yields(), yields()))).await;
        counted += counted_across(try_gather((async { Ok::<_, ()>(1) }, async {
            yield_now().await;
            Ok(2)
        })))
        .await;
        counted += counted_across(race((yields(), pending()))).await;
        counted
    });
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), 0);
}

/// How many allocations happen on this thread from a future's first poll to its end.
async fn counted_across<T>(future: impl Future<Output = T>) -> usize {
    let before = TALLY.with(Cell::get).allocations;
    future.await;
    TALLY.with(Cell::get).allocations - before
}

#[test]
fn a_child_of_a_group_takes_two_allocations_and_its_wakes_none() {
    let executor = warm();
    let task = executor.spawn(task_scope(async move |s| {
        for _ in 0..8 {
            s.spawn(ready(()));
        }
        yield_now().await;
        yield_now().await;
        assert!(s.is_empty());
        let spawned = allocations(|| {
            for _ in 0..8 {
                s.spawn(ready(()));
            }
        });
        let child = s.spawn(async { yield_times(1000).await });
        yield_times(10).await;
        let wakes = counted_across(yield_times(900)).await;
        child.await.unwrap();
        (spawned, wakes)
    }));
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), (16, 0));
}

#[test]
fn a_group_gives_back_all_it_took() {
    let executor = warm();
    let round = || {
        let task = executor.spawn(task_scope(async |s| {
            for n in 0..20 {
                s.spawn(yield_times(n % 3));
            }
        }));
        executor.run_until_idle();
        task.into_result().unwrap().unwrap();
    };
    round();
    let (counted, ()) = tally(round);
    assert_eq!((counted.blocks, counted.bytes), (0, 0));
}
