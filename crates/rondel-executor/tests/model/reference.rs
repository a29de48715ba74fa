//! Programs run by a model of the executor: a queue, tasks as plain states, and the rules.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::program::{Ended, Event, GATES, Left, Op, Step};

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

pub(crate) fn run_model(steps: &[Step]) -> Vec<Event> {
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
