//! Programs run by the executor.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use rondel_executor::{
    Cleanup, Executor, JoinError, LostKind, Outcome, Spawner, Task, TaskInfo, leave,
};

use crate::harness::{Gate, yield_now, yield_times};
use crate::program::{Ended, Event, GATES, Left, Op, Step};

struct Real {
    spawner: Spawner,
    log: RefCell<Vec<Event>>,
    table: RefCell<Vec<Option<Task<()>>>>,
    gates: [Gate; GATES],
    cleanups: Cell<usize>,
    callbacks: Cell<usize>,
}

fn next(counter: &Cell<usize>) -> usize {
    let number = counter.get();
    counter.set(number + 1);
    number
}

impl Real {
    fn log(&self, event: Event) {
        self.log.borrow_mut().push(event);
    }

    fn spawn(self: &Rc<Self>, script: &Rc<[Op]>) {
        let number = self.table.borrow().len();
        let frame = Frame {
            world: Rc::clone(self),
            number,
            guards: Vec::new(),
        };
        let (world, script) = (Rc::clone(self), Rc::clone(script));
        let task = async move {
            let log = Rc::clone(&world);
            let mut body = pin!(frame.run(script));
            poll_fn(move |cx| {
                log.log(Event::Polled(number));
                body.as_mut().poll(cx)
            })
            .await;
        };
        let task = self.spawner.spawn(task).named(number.to_string());
        self.table.borrow_mut().push(Some(task));
    }

    fn take(&self, index: usize) -> Option<Task<()>> {
        let mut table = self.table.borrow_mut();
        let len = table.len();
        table.get_mut(index % len.max(1))?.take()
    }

    /// What needs no waiting.
    fn act(self: &Rc<Self>, op: &Op) {
        match op {
            Op::Open(gate) => self.gates[*gate].open(),
            Op::Spawn(script) => self.spawn(script),
            Op::Cancel(index) => {
                let table = self.table.borrow();
                let index = index % table.len().max(1);
                if let Some(Some(task)) = table.get(index) {
                    self.log(Event::Cancelled(index, task.cancel()));
                }
            }
            Op::DropHandle(index) => drop(self.take(*index)),
            Op::OnDone(index) => {
                let table = self.table.borrow();
                if let Some(Some(task)) = table.get(index % table.len().max(1)) {
                    let (world, number) = (Rc::clone(self), next(&self.callbacks));
                    task.on_done(move |info| world.log(Event::Done(number, ended(info))));
                }
            }
            Op::CallSoon(left) => {
                let (world, number, left) = (Rc::clone(self), next(&self.callbacks), *left);
                self.spawner.call_soon(move || {
                    world.log(Event::Called(number));
                    if let Some(left) = left {
                        leave(world.cleanup(left));
                    }
                });
            }
            Op::Leave(left) => leave(self.cleanup(*left)),
            Op::Yield | Op::Wait(_) | Op::Await(_) | Op::Guard(_) | Op::Panic => {}
        }
    }

    fn cleanup(self: &Rc<Self>, left: Left) -> Cleanup {
        let (world, number) = (Rc::clone(self), next(&self.cleanups));
        Box::pin(async move {
            world.log(Event::CleanupBegins(number));
            yield_times(left.turns).await;
            if let Some(gate) = left.gate {
                world.gates[gate].wait().await;
            }
            if left.panics {
                std::panic::resume_unwind(Box::new(number));
            }
            world.log(Event::CleanupEnds(number));
        })
    }

    fn count(&self, executor: &Executor) {
        assert_eq!(executor.tasks().len(), executor.alive());
        self.log(Event::Counted(
            executor.alive(),
            executor.cleanups(),
            executor.spawner().ready_len(),
        ));
    }
}

fn ended(info: &TaskInfo) -> Ended {
    match info.outcome() {
        Outcome::Finished => Ended::Finished,
        Outcome::Cancelled => Ended::Cancelled,
        Outcome::Panicked => Ended::Panicked,
        other => panic!("not done: {other:?}"),
    }
}

struct Frame {
    world: Rc<Real>,
    number: usize,
    guards: Vec<Left>,
}

impl Frame {
    async fn run(mut self, script: Rc<[Op]>) {
        for op in script.iter() {
            match op {
                Op::Yield => yield_now().await,
                Op::Wait(gate) => self.world.gates[*gate].wait().await,
                Op::Await(index) => {
                    let taken = self.world.take(*index);
                    if let Some(task) = taken {
                        let ended = match task.await {
                            Ok(()) => Ended::Finished,
                            Err(JoinError::Cancelled) => Ended::Cancelled,
                            Err(JoinError::Panicked(_)) => Ended::Panicked,
                            Err(other) => panic!("{other}"),
                        };
                        self.world.log(Event::Joined(self.number, ended));
                    }
                }
                Op::Guard(left) => self.guards.push(*left),
                Op::Panic => std::panic::resume_unwind(Box::new(())),
                other => self.world.act(other),
            }
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.world.log(Event::Dropped(self.number));
        for left in self.guards.drain(..) {
            leave(self.world.cleanup(left));
        }
    }
}

pub(crate) fn run_real(steps: &[Step]) -> Vec<Event> {
    let place: Rc<RefCell<Option<Rc<Real>>>> = Rc::default();
    let telling = Rc::clone(&place);
    let executor = Executor::builder()
        .lost(move |lost| {
            let world = telling.borrow().clone().unwrap();
            match lost.kind {
                LostKind::TaskPanicked(_) => {
                    let name = lost.task.unwrap().name();
                    world.log(Event::LostTask(name.parse().unwrap()));
                }
                LostKind::CleanupPanicked(payload) => {
                    let number = payload.into_inner().downcast::<usize>().unwrap();
                    world.log(Event::LostCleanup(*number));
                }
                LostKind::CleanupDropped => {}
                other => panic!("{other:?}"),
            }
        })
        .build();
    let world = Rc::new(Real {
        spawner: executor.spawner(),
        log: RefCell::default(),
        table: RefCell::default(),
        gates: Default::default(),
        cleanups: Cell::new(0),
        callbacks: Cell::new(0),
    });
    *place.borrow_mut() = Some(Rc::clone(&world));
    for step in steps {
        match step {
            Step::Run => executor.run_until_idle(),
            Step::Do(op) => world.act(op),
        }
        world.count(&executor);
    }
    executor.run_until_idle();
    let tasks = world.table.borrow().len();
    for index in 0..tasks {
        drop(world.take(index));
    }
    world.count(&executor);
    let log = world.log.take();

    // Whatever is left is dropped by the close, once, and none is dropped twice altogether.
    let closed = executor.close();
    assert_eq!(closed.leaked, 0);
    let mut dropped: Vec<_> = log
        .iter()
        .chain(&*world.log.borrow())
        .filter_map(|event| match event {
            Event::Dropped(number) => Some(*number),
            _ => None,
        })
        .collect();
    dropped.sort_unstable();
    assert_eq!(dropped, (0..tasks).collect::<Vec<_>>());
    assert_eq!((executor.alive(), executor.cleanups()), (0, 0));
    assert!(executor.tasks().is_empty() && !executor.has_ready());
    // Nothing keeps the world but the tests' own hands.
    place.take();
    drop(executor);
    assert_eq!(Rc::strong_count(&world), 1);
    log
}
