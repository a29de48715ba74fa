//! Foreign code may come back in, from wherever it is called: nothing of the executor is borrowed then.
#![cfg(not(rondel_loom))]

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::thread;

use harness::{Losses, hold, on_drop, poll_once, yield_now};
use hooked_waker::{On, hooked_waker};
use rondel_executor::{
    BatchEnd, Callback, Cleanup, Closed, Executor, LoopBound, Lost, Scope, Spawner, Task, leave,
};

/// An executor together with somebody who uses all of it whenever he is called.
#[derive(Clone)]
struct World(Rc<Inner>);

struct Inner {
    executor: RefCell<Weak<Executor>>,
    losses: RefCell<Vec<Lost>>,
    /// Visits, and of what was started in them, how much has run.
    visits: Cell<usize>,
    tasks: Cell<usize>,
    callbacks: Cell<usize>,
    dones: Cell<usize>,
    /// Something that waits for ever, to be cancelled.
    victim: RefCell<Option<Task<()>>>,
    /// Whether a visit is under way: those that it leads to at once are not counted.
    deep: Cell<bool>,
    nudge: RefCell<Option<Box<dyn Fn()>>>,
}

impl World {
    fn new() -> (Rc<Executor>, Self) {
        let world = Self(Rc::new(Inner {
            executor: RefCell::default(),
            losses: RefCell::default(),
            visits: Cell::new(0),
            tasks: Cell::new(0),
            callbacks: Cell::new(0),
            dones: Cell::new(0),
            victim: RefCell::default(),
            deep: Cell::new(false),
            nudge: RefCell::default(),
        }));
        let (sink, nudge) = (world.clone(), world.clone());
        let executor = Executor::builder()
            .lost(move |lost| {
                sink.0.losses.borrow_mut().push(lost);
                sink.visit();
            })
            .nudge(move || {
                let hook = nudge.0.nudge.take();
                if let Some(hook) = hook {
                    hook();
                    *nudge.0.nudge.borrow_mut() = Some(hook);
                }
            })
            .build();
        let executor = Rc::new(executor);
        *world.0.executor.borrow_mut() = Rc::downgrade(&executor);
        (executor, world)
    }

    fn executor(&self) -> Rc<Executor> {
        self.0.executor.borrow().upgrade().unwrap()
    }

    /// Uses everything there is. Refused is what would run the executor inside itself.
    fn visit(&self) {
        if self.0.deep.replace(true) {
            return;
        }
        let executor = self.executor();
        let in_turn = match executor.enter() {
            None => true,
            Some(turn) => {
                drop(turn);
                false
            }
        };
        self.0.visits.set(self.0.visits.get() + 1);

        let world = self.clone();
        let task = executor.spawn(async move {
            yield_now().await;
            world.0.tasks.set(world.0.tasks.get() + 1);
        });
        let world = self.clone();
        task.on_done(move |_| world.0.dones.set(world.0.dones.get() + 1));
        task.set_name("visitor");
        let unwanted = task.on_done(|_| unreachable!("removed"));
        assert!(task.remove_on_done(unwanted.unwrap()));
        let cancelled = executor.spawn(pending::<()>());
        cancelled.cancel();
        drop(cancelled);

        let world = self.clone();
        executor.call_soon(move || world.0.callbacks.set(world.0.callbacks.get() + 1));
        let taken_back = executor.call_soon(|| unreachable!("cancelled"));
        taken_back.cancel();

        let victim = self.0.victim.take();
        if let Some(victim) = victim {
            victim.cancel();
        }
        *self.0.victim.borrow_mut() = Some(executor.spawn(pending()));

        assert!(executor.tasks().len() <= executor.alive() + 1);
        let _ = (
            executor.has_ready(),
            executor.cleanups(),
            format!("{executor:?}"),
        );
        let _ = (Spawner::current(), Spawner::current_task());
        executor.cancel_main();
        self.0.deep.set(false);
        if in_turn {
            let ready = executor.spawner().ready_len();
            executor.run_until_idle();
            assert_eq!(
                executor.spawner().ready_len(),
                ready,
                "it ran inside itself"
            );
            assert_eq!(executor.close(), Closed::default());
            assert!(!executor.remote().is_closed());
        } else {
            executor.run_until_idle();
        }
    }

    fn on_drop(&self) -> impl Sized + use<> {
        let world = self.clone();
        on_drop(move || world.visit())
    }

    fn visits(&self) -> usize {
        self.0.visits.get()
    }

    /// All that was started has run, and nothing else was lost.
    #[track_caller]
    fn settle(&self, visits: usize, losses: usize) {
        let executor = self.executor();
        executor.run_until_idle();
        assert_eq!(self.visits(), visits, "visits");
        let told = self.0.losses.take();
        assert_eq!(told.len(), losses, "{told:?}");
        assert_eq!(self.0.tasks.get(), visits);
        assert_eq!(self.0.callbacks.get(), visits);
        assert_eq!(self.0.dones.get(), visits);
        let victim = self.0.victim.take();
        if let Some(victim) = victim {
            victim.cancel();
        }
        executor.run_until_idle();
        assert_eq!(executor.alive(), 0);
    }
}

#[test]
fn from_polls() {
    let (executor, world) = World::new();
    let inside = world.clone();
    let task = executor.spawn(async move {
        inside.visit();
        yield_now().await;
        inside.visit();
    });
    executor.run_until_idle();
    assert!(task.is_finished());
    world.settle(2, 0);
}

#[test]
fn from_the_main_future() {
    let (executor, world) = World::new();
    let mut future = pin!(Some(async {
        world.visit();
        yield_now().await;
        unreachable!("the visit has cancelled it");
    }));
    let mut main = executor.main(future.as_mut()).unwrap();
    let turn = executor.enter().unwrap();
    let outcome: Result<(), _> = loop {
        if turn.run_batch(|| true) == BatchEnd::Main
            && let Poll::Ready(outcome) = main.poll()
        {
            break outcome;
        }
    };
    assert!(outcome.is_err());
    drop((main, turn));
    world.settle(1, 0);
}

#[test]
fn from_callbacks_and_their_destructors() {
    let (executor, world) = World::new();
    let (inside, held) = (world.clone(), world.on_drop());
    executor.call_soon(move || {
        inside.visit();
        drop(held);
    });
    let held = world.on_drop();
    let cancelled = executor.call_soon(move || drop(held));
    let inside = world.clone();
    executor.call_soon(move || {
        // Dropped here, inside a turn.
        cancelled.cancel();
        inside.visit();
    });
    executor.run_until_idle();
    let held = world.on_drop();
    // And here outside one.
    executor.call_soon(move || drop(held)).cancel();
    world.settle(5, 0);
}

/// Visits when it is called, and when it is asked for its place, as it is if it panics.
struct Visiting(World, bool);

impl Callback for Visiting {
    fn call(self: Rc<Self>) {
        self.0.visit();
        assert!(!self.1, "in a callback");
    }

    fn site(&self) -> &'static Location<'static> {
        self.0.visit();
        Location::caller()
    }
}

#[test]
fn from_callbacks_of_ones_own_making() {
    let (executor, world) = World::new();
    for panics in [false, true] {
        let visiting = Visiting(world.clone(), panics);
        executor.spawner().push(Rc::new(visiting));
    }
    executor.run_until_idle();
    let visits = world.visits();
    // Called twice, asked once, and once in the sink.
    assert!(visits >= 4);
    world.settle(visits, 1);
}

#[test]
fn from_done_callbacks_and_their_destructors() {
    let (executor, world) = World::new();
    let task = executor.spawn(yield_now());
    let (inside, held) = (world.clone(), world.on_drop());
    task.on_done(move |_| {
        inside.visit();
        drop(held);
    });
    let held = world.on_drop();
    let token = task.on_done(move |_| drop(held)).unwrap();
    assert!(task.remove_on_done(token));
    world.settle(3, 0);
}

#[test]
fn from_the_destructors_of_futures() {
    let (executor, world) = World::new();
    let held = world.on_drop();
    let finishing = executor.spawn(async move {
        let _held = held;
        yield_now().await;
    });
    let suspended = executor.spawn(hold(world.on_drop()));
    executor.run_until_idle();
    let not_begun = executor.spawn(hold(world.on_drop()));
    suspended.cancel();
    not_begun.cancel();
    let held = world.on_drop();
    let panicking: Task<()> = executor.spawn(async move {
        let _held = held;
        yield_now().await;
        panic!("on purpose");
    });
    executor.run_until_idle();
    assert!(panicking.into_result().unwrap().is_err());
    drop((finishing, suspended, not_begun));
    world.settle(4, 0);
}

#[test]
fn from_the_destructors_of_outputs() {
    let (executor, world) = World::new();
    let held = world.on_drop();
    executor.spawn(async move { held }).detach();
    let held = world.on_drop();
    let task = executor.spawn(async move { held });
    let held = world.on_drop();
    let given_to_a_task = executor.spawn(async move { held });
    executor.run_until_idle();
    drop(task);
    executor
        .spawn(async move { drop(given_to_a_task) })
        .detach();
    world.settle(3, 0);
}

#[test]
fn from_the_destructors_of_parcels() {
    let (executor, world) = World::new();
    let parcel = LoopBound::new(&executor.spawner(), world.on_drop());
    thread::spawn(move || drop(parcel)).join().unwrap();
    let parcel = LoopBound::new(&executor.spawner(), world.on_drop());
    drop(parcel);
    world.settle(2, 0);
}

#[test]
fn from_the_sink() {
    let (executor, world) = World::new();
    // The sink visits by itself.
    executor.spawn(async { panic!("a task") }).detach();
    executor.call_soon(|| panic!("a callback"));
    let unread: Task<()> = executor.spawn(async { panic!("unread") });
    let bomb = on_drop(|| panic!("a destructor"));
    executor.spawn(async move { bomb }).detach();
    executor
        .spawn(async { Err::<(), _>("an error") })
        .detach_reported();
    executor.run_until_idle();
    drop(unread);
    world.settle(5, 5);
}

#[test]
fn from_the_nudge() {
    let (executor, world) = World::new();
    let inside = world.clone();
    // Runs all there is at once, inside `spawn`, `call_soon`, `cancel` and wakes.
    *world.0.nudge.borrow_mut() = Some(Box::new(move || inside.visit()));
    let task = executor.spawn(yield_now());
    assert!(task.is_finished());
    executor.call_soon(|| ());
    let task = executor.spawn(pending::<()>());
    task.cancel();
    assert!(task.is_finished());
    let gate = harness::Gate::new();
    let waiting = executor.spawn(gate.wait());
    gate.open();
    assert!(waiting.is_finished());
    let mut future = pin!(Some(pending::<()>()));
    let mut main = executor.main(future.as_mut()).unwrap();
    executor.cancel_main();
    let turn = executor.enter().unwrap();
    while turn.run_batch(|| true) != BatchEnd::Main {}
    assert!(main.poll().is_ready());
    drop((turn, main));
    world.0.nudge.take();
    let visits = world.visits();
    assert!(visits >= 7);
    world.settle(visits, 0);
}

#[test]
fn from_cleanups_and_their_limit() {
    let (executor, world) = World::new();
    let inside = world.clone();
    let held = world.on_drop();
    let leaving = on_drop(move || {
        leave(Box::pin(async move {
            inside.visit();
            yield_now().await;
            drop(held);
        }));
    });
    let task = executor.spawn(hold(leaving));
    executor.run_until_idle();
    task.cancel();
    world.settle(2, 0);

    let place: Rc<RefCell<Option<World>>> = Rc::default();
    let limiting = Rc::clone(&place);
    let executor = Executor::builder()
        .cleanup_limit(Rc::new(move |cleanup: Cleanup| {
            let world = limiting.borrow().clone();
            world.unwrap().visit();
            cleanup
        }))
        .build();
    let (_other, world) = World::new();
    let executor = Rc::new(executor);
    *world.0.executor.borrow_mut() = Rc::downgrade(&executor);
    *place.borrow_mut() = Some(world.clone());
    let task = executor.spawn(hold(on_drop(|| leave(Box::pin(async {})))));
    executor.run_until_idle();
    task.cancel();
    world.settle(1, 0);
    place.take();
}

#[test]
fn from_every_operation_of_an_awaiters_waker() {
    for (in_turn, replaced) in [(false, false), (false, true), (true, false), (true, true)] {
        let (executor, world) = World::new();
        let gate = harness::Gate::new();
        let mut task = executor.spawn(gate.wait());
        let seen: Rc<RefCell<Vec<On>>> = Rc::default();
        let (inside, told) = (world.clone(), Rc::clone(&seen));
        let waker = hooked_waker(move |on| {
            told.borrow_mut().push(on);
            inside.visit();
        });
        let poll = move |task: &mut Task<()>| {
            let mut cx = Context::from_waker(&waker);
            assert!(Pin::new(&mut *task).poll(&mut cx).is_pending());
            if replaced {
                assert!(poll_once(Pin::new(task)).is_pending());
            }
            drop(waker);
        };
        let mut poll = Some(poll);
        if in_turn {
            let parent = executor.spawn(poll_fn(move |cx| {
                if let Some(poll) = poll.take() {
                    poll(&mut task);
                    if !replaced {
                        // Leaves the hooked waker in its place.
                        return Poll::Ready(());
                    }
                }
                Pin::new(&mut task).poll(cx).map(drop)
            }));
            executor.run_until_idle();
            gate.open();
            executor.run_until_idle();
            assert!(parent.is_finished());
        } else {
            poll.take().unwrap()(&mut task);
            executor.run_until_idle();
            gate.open();
            executor.run_until_idle();
            assert!(task.is_finished());
        }
        let seen = seen.take();
        assert!(seen.contains(&On::Clone) && seen.contains(&On::Drop));
        assert_eq!(
            seen.contains(&On::Wake),
            !replaced && !seen.is_empty() && seen.contains(&On::Wake)
        );
        if !replaced {
            assert!(seen.contains(&On::Wake), "{seen:?}, in turn: {in_turn}");
        }
        let visits = world.visits();
        assert!(visits >= 2);
        world.settle(visits, 0);
    }
}

#[test]
fn from_every_operation_of_a_waker_that_waits_for_a_scope() {
    let (executor, world) = World::new();
    let gate = harness::Gate::new();
    let (waiting, place) = (gate.wait(), Rc::new(RefCell::new(None)));
    let made = Rc::clone(&place);
    executor.call_soon(move || {
        let scope = Scope::new();
        scope.enter(|| leave(Box::pin(waiting)));
        *made.borrow_mut() = Some(scope);
    });
    executor.run_until_idle();
    let scope = place.take().unwrap();
    let seen: Rc<RefCell<Vec<On>>> = Rc::default();
    let (inside, told, same) = (world.clone(), Rc::clone(&seen), scope.clone());
    let waker = hooked_waker(move |on| {
        told.borrow_mut().push(on);
        inside.visit();
        let _ = (same.is_done(), poll_once(pin!(same.done())));
    });
    {
        let mut done = pin!(scope.done());
        let mut cx = Context::from_waker(&waker);
        assert!(done.as_mut().poll(&mut cx).is_pending());
    }
    drop(waker);
    gate.open();
    executor.run_until_idle();
    assert!(scope.is_done());
    let seen = seen.take();
    for on in [On::Clone, On::Wake, On::Drop] {
        assert!(seen.contains(&on), "{seen:?}");
    }
    let visits = world.visits();
    world.settle(visits, 0);
}

#[test]
fn from_every_operation_of_a_waker_that_waits_for_the_end_of_a_task() {
    let (executor, world) = World::new();
    let gate = harness::Gate::new();
    let task = Rc::new(executor.spawn(gate.wait()));
    executor.run_until_idle();
    let seen: Rc<RefCell<Vec<On>>> = Rc::default();
    let (inside, told, same) = (world.clone(), Rc::clone(&seen), Rc::downgrade(&task));
    let waker = hooked_waker(move |on| {
        told.borrow_mut().push(on);
        inside.visit();
        if let Some(task) = same.upgrade() {
            task.set_name("seen");
            let _ = poll_once(pin!(task.done()));
        }
        assert!(on != On::Wake, "in a waker");
    });
    let other = Rc::clone(&task);
    let next = executor.spawn(async move { other.done().await });
    {
        let mut done = pin!(task.done());
        let mut cx = Context::from_waker(&waker);
        assert!(done.as_mut().poll(&mut cx).is_pending());
    }
    drop(waker);
    executor.run_until_idle();
    gate.open();
    executor.run_until_idle();
    assert!(task.is_finished());
    assert!(next.is_finished(), "the next in line was woken");
    let seen = seen.take();
    for on in [On::Clone, On::Wake] {
        assert!(seen.contains(&on), "{seen:?}");
    }
    let visits = world.visits();
    world.settle(visits, 1);
    Rc::into_inner(task)
        .unwrap()
        .into_result()
        .unwrap()
        .unwrap();
}

#[test]
fn a_waker_may_close_the_executor_of_the_task_it_waits_for() {
    for when in [On::Clone, On::Wake, On::Drop] {
        let losses = Losses::default();
        let executor = Rc::new(losses.builder().build());
        let gate = harness::Gate::new();
        let mut task = executor.spawn(gate.wait());
        executor.run_until_idle();
        let closing = Rc::downgrade(&executor);
        let done = Cell::new(false);
        let waker = hooked_waker(move |on| {
            if on == when && !done.replace(true) {
                // Refused inside a turn.
                closing.upgrade().unwrap().close();
            }
        });
        let polled = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
        drop(waker);
        if when == On::Clone {
            // Closed in the middle of the poll, which may see it or hear of it.
            assert!(executor.remote().is_closed());
        }
        if polled.is_pending() {
            gate.open();
            executor.run_until_idle();
            assert!(task.is_finished(), "closed on {when:?}");
        }
        drop(task);
        drop(executor);
        assert!(losses.is_empty());
    }
}

#[test]
fn from_a_destructor_while_a_panic_unwinds_through_a_callback() {
    let (executor, world) = World::new();
    let held = world.on_drop();
    executor.call_soon(move || {
        let _held = held;
        panic!("in a callback");
    });
    executor.run_until_idle();
    // One by the destructor, one by the sink.
    world.settle(2, 1);
}

#[test]
fn dropping_ones_own_handle_from_within() {
    let executor = Executor::new();
    let own: Rc<RefCell<Option<Task<&str>>>> = Rc::default();
    let inside = Rc::clone(&own);
    *own.borrow_mut() = Some(executor.spawn(async move {
        yield_now().await;
        drop(inside.take());
        yield_now().await;
        "nobody asks"
    }));
    executor.run_until_idle();
    assert_eq!(executor.alive(), 0);

    // In its last poll, and from its own done-callback.
    let own: Rc<RefCell<Option<Task<Rc<()>>>>> = Rc::default();
    let (inside, output) = (Rc::clone(&own), Rc::new(()));
    let given = Rc::clone(&output);
    let task = executor.spawn(async move { given });
    task.on_done(move |_| drop(inside.take()));
    *own.borrow_mut() = Some(task);
    executor.run_until_idle();
    assert_eq!(Rc::strong_count(&output), 1);
    assert!(own.borrow().is_none());
}

#[test]
fn awaiting_ones_own_handle_is_a_wait_like_any_other() {
    let executor = Executor::new();
    let own: Rc<RefCell<Option<Task<()>>>> = Rc::default();
    let inside = Rc::clone(&own);
    let task = executor.spawn(async move {
        let own = inside.take().unwrap();
        let _ = own.await;
    });
    *own.borrow_mut() = Some(task);
    executor.run_until_idle();
    assert_eq!(executor.alive(), 1);
    // Whoever waits for itself waits for ever, until it is cancelled.
    assert_eq!(executor.cancel_all(), 1);
    executor.run_until_idle();
    assert_eq!(executor.alive(), 0);
}
