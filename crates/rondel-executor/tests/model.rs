//! Random programs, run by the executor and by a simple model of it: the same things happen in the same order.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use harness::{Gate, yield_now, yield_times};
use proptest::collection::vec;
use proptest::prelude::*;
use rondel_executor::{
    Cleanup, Executor, JoinError, LostKind, Outcome, Spawner, Task, TaskInfo, leave,
};

/// What a task does, one after the other. Handles stand in one table for all, in the order of spawning; an index means
/// the handle there, if it is still there.
#[derive(Clone, Debug)]
enum Op {
    Yield,
    Wait(usize),
    Open(usize),
    Spawn(Rc<[Self]>),
    Cancel(usize),
    Await(usize),
    DropHandle(usize),
    OnDone(usize),
    Leave(Left),
    /// Leaves it when the task's frame is dropped.
    Guard(Left),
    CallSoon(Option<Left>),
    Panic,
}

/// A cleanup: so many turns, perhaps a wait, perhaps a panic.
#[derive(Clone, Copy, Debug)]
struct Left {
    turns: usize,
    gate: Option<usize>,
    panics: bool,
}

const GATES: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Polled(usize),
    /// A task's frame is gone.
    Dropped(usize),
    Cancelled(usize, bool),
    Joined(usize, Ended),
    Done(usize, Ended),
    Called(usize),
    CleanupBegins(usize),
    CleanupEnds(usize),
    LostTask(usize),
    LostCleanup(usize),
    /// Between turns: tasks alive, cleanups among them, entries ready.
    Counted(usize, usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Finished,
    Cancelled,
    Panicked,
}

/// What the owner does between turns.
#[derive(Clone, Debug)]
enum Step {
    Run,
    Do(Op),
}

// ---- The executor at work.

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

fn run_real(steps: &[Step]) -> Vec<Event> {
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

// ---- The model.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Nothing,
    Yielded,
    Gate(usize, usize),
    Join(usize),
}

#[derive(Debug)]
enum Kind {
    /// With its number, script and guards.
    Script(usize, Rc<[Op]>, Vec<Left>),
    /// Runs what is left to a scope; a cleanup under way, with the turns it still has.
    Runner(usize, Option<(usize, Left, usize)>),
}

#[derive(Debug)]
struct Modelled {
    kind: Kind,
    step: usize,
    waiting: Waiting,
    queued: bool,
    running: bool,
    woken: bool,
    suspended_before: bool,
    cancel: bool,
    cleaning: bool,
    finished: bool,
    ended: Ended,
    detached: bool,
    panic_unread: bool,
    awaiter: Option<usize>,
    done: Vec<usize>,
    scope: Option<usize>,
}

#[derive(Debug, Default)]
struct ModelScope {
    left: VecDeque<(usize, Left)>,
    busy: bool,
    waiting: Vec<usize>,
}

#[derive(Debug)]
enum Entry {
    Task(usize),
    Call(usize, Option<Left>),
    Done(usize, Ended),
}

#[derive(Debug, Default)]
struct Model {
    log: Vec<Event>,
    queue: VecDeque<Entry>,
    tasks: Vec<Modelled>,
    /// Places in `tasks`, by the numbers of tasks that have scripts; and whether the handle is still in the table.
    table: Vec<(usize, bool)>,
    gates: [(usize, Vec<usize>); GATES],
    scopes: Vec<ModelScope>,
    root: Option<usize>,
    cleanups: usize,
    callbacks: usize,
}

/// How a poll went.
enum Went {
    Pending,
    Ready,
    Panicked,
}

impl Model {
    fn add(&mut self, kind: Kind, detached: bool) -> usize {
        self.tasks.push(Modelled {
            kind,
            step: 0,
            waiting: Waiting::Nothing,
            queued: false,
            running: false,
            woken: false,
            suspended_before: false,
            cancel: false,
            cleaning: false,
            finished: false,
            ended: Ended::Finished,
            detached,
            panic_unread: false,
            awaiter: None,
            done: Vec::new(),
            scope: None,
        });
        let task = self.tasks.len() - 1;
        self.wake(task);
        task
    }

    fn wake(&mut self, task: usize) {
        let state = &mut self.tasks[task];
        if state.finished || state.queued {
        } else if state.running {
            state.woken = true;
        } else {
            state.queued = true;
            self.queue.push_back(Entry::Task(task));
        }
    }

    /// The task whose handle is there.
    fn there(&self, index: usize) -> Option<usize> {
        let (task, there) = *self.table.get(index % self.table.len().max(1))?;
        there.then_some(task)
    }

    fn take(&mut self, index: usize) -> Option<usize> {
        let task = self.there(index)?;
        let len = self.table.len();
        self.table[index % len].1 = false;
        Some(task)
    }

    fn drop_handle(&mut self, task: usize) {
        self.tasks[task].detached = true;
        if self.tasks[task].finished {
            self.tell_panic(task);
        }
    }

    fn tell_panic(&mut self, task: usize) {
        let state = &mut self.tasks[task];
        if std::mem::take(&mut state.panic_unread)
            && let Kind::Script(number, ..) = state.kind
        {
            self.log.push(Event::LostTask(number));
        }
    }

    fn leave(&mut self, owner: Option<usize>, left: Left) {
        let number = self.cleanups;
        self.cleanups += 1;
        let place = match owner {
            Some(task) => &mut self.tasks[task].scope,
            None => &mut self.root,
        };
        let scope = *place.get_or_insert_with(|| {
            self.scopes.push(ModelScope::default());
            self.scopes.len() - 1
        });
        self.scopes[scope].left.push_back((number, left));
        if !std::mem::replace(&mut self.scopes[scope].busy, true) {
            self.add(Kind::Runner(scope, None), true);
        }
    }

    fn act(&mut self, owner: Option<usize>, op: &Op) {
        match op {
            Op::Open(gate) => {
                self.gates[*gate].0 += 1;
                let waiting = std::mem::take(&mut self.gates[*gate].1);
                waiting.into_iter().for_each(|task| self.wake(task));
            }
            Op::Spawn(script) => {
                let number = self.table.len();
                let task = self.add(Kind::Script(number, Rc::clone(script), Vec::new()), false);
                self.table.push((task, true));
            }
            Op::Cancel(index) => {
                if let Some(task) = self.there(*index) {
                    let state = &mut self.tasks[task];
                    let accepted = !state.finished;
                    let index = index % self.table.len();
                    if accepted && !state.cleaning {
                        state.cancel = true;
                        if state.suspended_before {
                            self.wake(task);
                        }
                    }
                    self.log.push(Event::Cancelled(index, accepted));
                }
            }
            Op::DropHandle(index) => {
                if let Some(task) = self.take(*index) {
                    self.drop_handle(task);
                }
            }
            Op::OnDone(index) => {
                if let Some(task) = self.there(*index) {
                    let number = self.callbacks;
                    self.callbacks += 1;
                    let state = &mut self.tasks[task];
                    if state.finished {
                        self.queue.push_back(Entry::Done(number, state.ended));
                    } else {
                        state.done.push(number);
                    }
                }
            }
            Op::CallSoon(left) => {
                self.queue.push_back(Entry::Call(self.callbacks, *left));
                self.callbacks += 1;
            }
            Op::Leave(left) => self.leave(owner, *left),
            Op::Yield | Op::Wait(_) | Op::Await(_) | Op::Guard(_) | Op::Panic => {}
        }
    }

    fn run(&mut self) {
        while let Some(entry) = self.queue.pop_front() {
            match entry {
                Entry::Task(task) => self.turn(task),
                Entry::Call(number, left) => {
                    self.log.push(Event::Called(number));
                    if let Some(left) = left {
                        self.leave(None, left);
                    }
                }
                Entry::Done(number, ended) => self.log.push(Event::Done(number, ended)),
            }
        }
    }

    fn turn(&mut self, task: usize) {
        let state = &mut self.tasks[task];
        state.queued = false;
        state.running = true;
        state.woken = false;
        if self.is_pending(task) {
            let state = &mut self.tasks[task];
            state.suspended_before = true;
            state.running = false;
            if std::mem::take(&mut state.woken) {
                self.wake(task);
            }
            return;
        }
        let state = &mut self.tasks[task];
        state.running = false;
        state.finished = true;
        let ended = state.ended;
        for number in std::mem::take(&mut state.done) {
            self.queue.push_back(Entry::Done(number, ended));
        }
        if self.tasks[task].detached {
            self.tell_panic(task);
        }
        if let Some(awaiter) = self.tasks[task].awaiter.take() {
            self.wake(awaiter);
        }
    }

    fn is_pending(&mut self, task: usize) -> bool {
        if !self.tasks[task].cleaning {
            if self.tasks[task].cancel {
                self.end_cancelled(task);
            } else {
                match self.poll(task) {
                    Went::Pending if self.tasks[task].cancel => self.end_cancelled(task),
                    Went::Pending => return true,
                    Went::Ready => self.drop_frame(task),
                    Went::Panicked => {
                        self.drop_frame(task);
                        self.tasks[task].ended = Ended::Panicked;
                        self.tasks[task].panic_unread = true;
                    }
                }
            }
        }
        let Some(scope) = self.tasks[task]
            .scope
            .filter(|scope| self.scopes[*scope].busy)
        else {
            return false;
        };
        self.tasks[task].cleaning = true;
        if !self.scopes[scope].waiting.contains(&task) {
            self.scopes[scope].waiting.push(task);
        }
        true
    }

    fn end_cancelled(&mut self, task: usize) {
        self.tasks[task].cancel = false;
        self.tasks[task].ended = Ended::Cancelled;
        self.drop_frame(task);
    }

    fn drop_frame(&mut self, task: usize) {
        if let Waiting::Join(awaited) = self.tasks[task].waiting {
            self.drop_handle(awaited);
        }
        if let Kind::Script(number, _, guards) = &mut self.tasks[task].kind {
            let guards = std::mem::take(guards);
            self.log.push(Event::Dropped(*number));
            for left in guards {
                self.leave(Some(task), left);
            }
        }
    }

    fn poll(&mut self, task: usize) -> Went {
        if let Kind::Runner(scope, under_way) = &self.tasks[task].kind {
            let (scope, under_way) = (*scope, *under_way);
            return self.poll_runner(task, scope, under_way);
        }
        let Kind::Script(number, script, _) = &self.tasks[task].kind else {
            unreachable!()
        };
        let (number, script) = (*number, Rc::clone(script));
        self.log.push(Event::Polled(number));
        loop {
            match self.tasks[task].waiting {
                Waiting::Nothing => {}
                Waiting::Yielded => {}
                Waiting::Gate(gate, since) => {
                    if !self.passes(task, gate, since) {
                        return Went::Pending;
                    }
                }
                Waiting::Join(awaited) => {
                    if !self.tasks[awaited].finished {
                        self.tasks[awaited].awaiter = Some(task);
                        return Went::Pending;
                    }
                    self.tasks[awaited].panic_unread = false;
                    let ended = self.tasks[awaited].ended;
                    self.log.push(Event::Joined(number, ended));
                }
            }
            self.tasks[task].waiting = Waiting::Nothing;
            let Some(op) = script.get(self.tasks[task].step) else {
                return Went::Ready;
            };
            self.tasks[task].step += 1;
            match op {
                Op::Yield => {
                    self.tasks[task].waiting = Waiting::Yielded;
                    self.wake(task);
                    return Went::Pending;
                }
                Op::Wait(gate) => {
                    self.tasks[task].waiting = Waiting::Gate(*gate, self.gates[*gate].0)
                }
                Op::Await(index) => {
                    if let Some(awaited) = self.take(*index) {
                        self.tasks[task].waiting = Waiting::Join(awaited);
                    }
                }
                Op::Guard(left) => {
                    if let Kind::Script(_, _, guards) = &mut self.tasks[task].kind {
                        guards.push(*left);
                    }
                }
                Op::Panic => return Went::Panicked,
                other => self.act(Some(task), other),
            }
        }
    }

    fn passes(&mut self, task: usize, gate: usize, since: usize) -> bool {
        if self.gates[gate].0 > since {
            return true;
        }
        self.gates[gate].1.push(task);
        false
    }

    fn poll_runner(
        &mut self,
        task: usize,
        scope: usize,
        mut under_way: Option<(usize, Left, usize)>,
    ) -> Went {
        loop {
            let (number, left, turns) = match under_way {
                Some(cleanup) => cleanup,
                None => {
                    let Some((number, left)) = self.scopes[scope].left.pop_front() else {
                        self.scopes[scope].busy = false;
                        let waiting = std::mem::take(&mut self.scopes[scope].waiting);
                        waiting.into_iter().for_each(|task| self.wake(task));
                        return Went::Ready;
                    };
                    self.log.push(Event::CleanupBegins(number));
                    (number, left, left.turns)
                }
            };
            if turns > 0 {
                self.tasks[task].kind = Kind::Runner(scope, Some((number, left, turns - 1)));
                self.wake(task);
                return Went::Pending;
            }
            if let Some(gate) = left.gate {
                let since = match self.tasks[task].waiting {
                    Waiting::Gate(_, since) => since,
                    _ => self.gates[gate].0,
                };
                self.tasks[task].waiting = Waiting::Gate(gate, since);
                self.tasks[task].kind = Kind::Runner(scope, Some((number, left, 0)));
                if !self.passes(task, gate, since) {
                    return Went::Pending;
                }
                self.tasks[task].waiting = Waiting::Nothing;
            }
            self.log.push(if left.panics {
                Event::LostCleanup(number)
            } else {
                Event::CleanupEnds(number)
            });
            under_way = None;
            self.tasks[task].kind = Kind::Runner(scope, None);
        }
    }

    fn count(&mut self) {
        let alive = self.tasks.iter().filter(|task| !task.finished);
        let runners = alive
            .clone()
            .filter(|task| matches!(task.kind, Kind::Runner(..)));
        let counted = Event::Counted(alive.clone().count(), runners.count(), self.queue.len());
        self.log.push(counted);
    }
}

fn run_model(steps: &[Step]) -> Vec<Event> {
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Run => model.run(),
            Step::Do(op) => model.act(None, op),
        }
        model.count();
    }
    model.run();
    for index in 0..model.table.len() {
        if let Some(task) = model.take(index) {
            model.drop_handle(task);
        }
    }
    model.count();
    model.log
}

// ---- Programs.

fn left() -> impl Strategy<Value = Left> {
    (
        0..3_usize,
        proptest::option::weighted(0.2, 0..GATES),
        proptest::bool::weighted(0.15),
    )
        .prop_map(|(turns, gate, panics)| Left {
            turns,
            gate,
            panics,
        })
}

fn op() -> impl Strategy<Value = Op> {
    let leaf = prop_oneof![
        4 => Just(Op::Yield),
        3 => (0..GATES).prop_map(Op::Wait),
        3 => (0..GATES).prop_map(Op::Open),
        3 => (0..8_usize).prop_map(Op::Cancel),
        3 => (0..8_usize).prop_map(Op::Await),
        1 => (0..8_usize).prop_map(Op::DropHandle),
        2 => (0..8_usize).prop_map(Op::OnDone),
        2 => left().prop_map(Op::Leave),
        2 => left().prop_map(Op::Guard),
        2 => proptest::option::weighted(0.3, left()).prop_map(Op::CallSoon),
        1 => Just(Op::Panic),
    ];
    leaf.prop_recursive(3, 40, 6, |inner| {
        vec(inner, 0..6).prop_map(|script| Op::Spawn(script.into()))
    })
}

fn script() -> impl Strategy<Value = Op> {
    vec(op(), 0..8).prop_map(|script| Op::Spawn(script.into()))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Run),
        3 => script().prop_map(Step::Do),
        2 => (0..GATES).prop_map(|gate| Step::Do(Op::Open(gate))),
        2 => (0..8_usize).prop_map(|index| Step::Do(Op::Cancel(index))),
        1 => (0..8_usize).prop_map(|index| Step::Do(Op::DropHandle(index))),
        1 => (0..8_usize).prop_map(|index| Step::Do(Op::OnDone(index))),
        1 => proptest::option::weighted(0.5, left()).prop_map(|left| Step::Do(Op::CallSoon(left))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_happens_is_what_the_model_says(steps in vec(step(), 1..14)) {
        prop_assert_eq!(run_real(&steps), run_model(&steps));
    }
}

#[test]
fn the_model_says_something() {
    let steps = [
        Step::Do(Op::Spawn(
            [
                Op::Guard(Left {
                    turns: 1,
                    gate: Some(0),
                    panics: true,
                }),
                Op::Spawn([Op::Yield, Op::Panic].into()),
                Op::OnDone(1),
                Op::Await(1),
                Op::Wait(1),
            ]
            .into(),
        )),
        Step::Run,
        Step::Do(Op::Cancel(0)),
        Step::Run,
        Step::Do(Op::Open(0)),
    ];
    let expected = [
        Event::Counted(1, 0, 1),
        Event::Polled(0),
        Event::Polled(1),
        Event::Polled(1),
        Event::Dropped(1),
        Event::Done(0, Ended::Panicked),
        Event::Polled(0),
        Event::Joined(0, Ended::Panicked),
        Event::Counted(1, 0, 0),
        Event::Cancelled(0, true),
        Event::Counted(1, 0, 1),
        Event::Dropped(0),
        Event::CleanupBegins(0),
        Event::Counted(2, 1, 0),
        Event::Counted(2, 1, 1),
        Event::LostCleanup(0),
        Event::Counted(0, 0, 0),
    ];
    assert_eq!(run_model(&steps), expected);
    assert_eq!(run_real(&steps), expected);
}
