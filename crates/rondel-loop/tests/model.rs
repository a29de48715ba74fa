//! Random programs on the virtual clock, against a model of the loop that is one page long: the same things must happen, in
//! the same order, at the same times to the nanosecond.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use rondel_loop::{
    EventLoop, Handle, LocalLoop, Task, TimerHandle, sleep, sleep_until, timeout, yield_now,
};
use rondel_poll::Virtual;

/// What a callback or a task may do at once.
#[derive(Clone, Debug)]
enum Op {
    Soon(Ops),
    Later(i64, Ops),
    At(i64, Ops),
    /// The n-th callback scheduled so far, in whatever state it is.
    Cancel(usize),
    Spawn(Steps),
    CancelTask(usize),
}

/// What a task may do besides: things that take time.
#[derive(Clone, Debug)]
enum Step {
    Do(Op),
    Sleep(i64),
    SleepUntil(i64),
    Yield,
    Timeout(i64, Steps),
}

type Ops = Rc<Vec<Op>>;
type Steps = Rc<Vec<Step>>;

/// What is seen of a program; times are nanoseconds since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Called { callback: usize, at: i64 },
    Stepped { task: usize, at: i64 },
    Limited { task: usize, expired: bool, at: i64 },
    Ended { task: usize, at: i64 },
}

// ---- The real loop. ----

struct World {
    lp: LocalLoop,
    start: Instant,
    seen: RefCell<Vec<Seen>>,
    callbacks: RefCell<Vec<Option<Scheduled>>>,
    tasks: RefCell<Vec<Option<Task<()>>>>,
}

#[derive(Clone)]
enum Scheduled {
    Soon(Handle),
    Timer(TimerHandle),
}

impl World {
    fn now(&self) -> i64 {
        i64::try_from((self.lp.time() - self.start).as_nanos()).unwrap()
    }

    fn instant(&self, at: i64) -> Instant {
        let distance = Duration::from_nanos(at.unsigned_abs());
        if at < 0 {
            self.start - distance
        } else {
            self.start + distance
        }
    }

    fn see(&self, seen: Seen) {
        self.seen.borrow_mut().push(seen);
    }

    fn callback(self: &Rc<Self>, ops: &Ops) -> (usize, impl FnOnce() + 'static) {
        let callback = self.callbacks.borrow().len();
        self.callbacks.borrow_mut().push(None);
        let (world, ops) = (Rc::clone(self), Rc::clone(ops));
        let closure = move || {
            world.see(Seen::Called {
                callback,
                at: world.now(),
            });
            world.run(&ops);
        };
        (callback, closure)
    }

    fn run(self: &Rc<Self>, ops: &[Op]) {
        for op in ops {
            self.step(op);
        }
    }

    fn step(self: &Rc<Self>, op: &Op) {
        match op {
            Op::Soon(ops) => {
                let (number, closure) = self.callback(ops);
                let handle = self.lp.call_soon(closure);
                self.callbacks.borrow_mut()[number] = Some(Scheduled::Soon(handle));
            }
            Op::Later(delay, ops) => {
                let (number, closure) = self.callback(ops);
                let delay = Duration::from_nanos(delay.unsigned_abs());
                let handle = self.lp.call_later(delay, closure);
                self.callbacks.borrow_mut()[number] = Some(Scheduled::Timer(handle));
            }
            Op::At(at, ops) => {
                let (number, closure) = self.callback(ops);
                let handle = self.lp.call_at(self.instant(*at), closure);
                self.callbacks.borrow_mut()[number] = Some(Scheduled::Timer(handle));
            }
            Op::Cancel(number) => {
                let chosen = pick(&self.callbacks.borrow(), *number).cloned().flatten();
                match chosen {
                    Some(Scheduled::Soon(handle)) => _ = handle.cancel(),
                    Some(Scheduled::Timer(handle)) => _ = handle.cancel(),
                    None => {}
                }
            }
            Op::Spawn(steps) => {
                let number = self.tasks.borrow().len();
                self.tasks.borrow_mut().push(None);
                let (world, steps) = (Rc::clone(self), Rc::clone(steps));
                let task = self.lp.create_task(async move {
                    let _ended = Ended(Rc::clone(&world), number);
                    world.walk(number, steps).await;
                });
                self.tasks.borrow_mut()[number] = Some(task);
            }
            Op::CancelTask(number) => {
                if let Some(Some(task)) = pick(&self.tasks.borrow(), *number) {
                    task.cancel();
                }
            }
        }
    }

    fn walk(self: Rc<Self>, task: usize, steps: Steps) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            for step in &*steps {
                match step {
                    Step::Do(op) => self.step(op),
                    Step::Sleep(delay) => sleep(Duration::from_nanos(delay.unsigned_abs())).await,
                    Step::SleepUntil(at) => sleep_until(self.instant(*at)).await,
                    Step::Yield => yield_now().await,
                    Step::Timeout(limit, steps) => {
                        let limit = Duration::from_nanos(limit.unsigned_abs());
                        let inner = Rc::clone(&self).walk(task, Rc::clone(steps));
                        let expired = timeout(limit, inner).await.is_err();
                        self.see(Seen::Limited {
                            task,
                            expired,
                            at: self.now(),
                        });
                    }
                }
                self.see(Seen::Stepped {
                    task,
                    at: self.now(),
                });
            }
        })
    }
}

struct Ended(Rc<World>, usize);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.see(Seen::Ended {
            task: self.1,
            at: self.0.now(),
        });
    }
}

fn pick<T>(all: &[T], number: usize) -> Option<&T> {
    all.get(number.checked_rem(all.len())?)
}

/// Later than anything that a program does.
const END: i64 = 1_000_000_000;

fn really(program: &[Op], batch: u32) -> Vec<Seen> {
    let mut lp = EventLoop::builder()
        .selector(Virtual::new())
        .batch_entries(batch)
        .build()
        .unwrap();
    let world = Rc::new(World {
        lp: lp.local(),
        start: lp.time(),
        seen: RefCell::default(),
        callbacks: RefCell::default(),
        tasks: RefCell::default(),
    });
    let stop = lp.local();
    lp.call_at(world.instant(END), move || stop.stop());
    world.run(program);
    lp.run_forever().unwrap();
    assert_eq!(lp.next_deadline(), None, "no timer is left behind");
    assert_eq!(lp.tasks().len(), 0);
    let seen = world.seen.take();
    world.tasks.take();
    seen
}

// ---- The model. ----

#[derive(Default)]
struct Model {
    now: i64,
    queue: VecDeque<Entry>,
    /// By deadline, then by the order of arming.
    timers: BTreeMap<Timer, Entry>,
    armed: u64,
    callbacks: Vec<Callback>,
    tasks: Vec<ModelTask>,
    seen: Vec<Seen>,
}

#[derive(Clone, Copy)]
enum Entry {
    Callback(usize),
    Task(usize),
}

type Timer = (i64, u64);

struct Callback {
    ops: Option<Ops>,
    timer: Option<Timer>,
}

#[derive(Default)]
struct ModelTask {
    /// The steps under way, each but the first inside a timeout of the one before.
    frames: Vec<Frame>,
    begun: bool,
    queued: bool,
    running: bool,
    woken_while_running: bool,
    cancelled: bool,
}

struct Frame {
    steps: Steps,
    next: usize,
    limit: Option<Wait>,
    wait: Option<Wait>,
}

#[derive(Clone, Copy)]
enum Wait {
    Until(i64),
    Armed(Timer),
    Yielding,
    Yielded,
}

impl Wait {
    fn sleep(now: i64, delay: i64) -> Self {
        if delay == 0 {
            Self::Yielding
        } else {
            Self::Until(now + delay)
        }
    }
}

impl Model {
    /// Runs until nothing is left to happen.
    fn run(mut self, program: &[Op], batch: u32) -> Vec<Seen> {
        for op in program {
            self.step(op);
        }
        loop {
            for _ in 0..batch {
                match self.queue.pop_front() {
                    Some(Entry::Callback(number)) => self.call(number),
                    Some(Entry::Task(number)) => self.turn(number),
                    None => break,
                }
            }
            // The look: time passes only if there is nothing to do, and not beyond the next deadline.
            let Some((&(deadline, _), _)) = self.timers.first_key_value() else {
                if self.queue.is_empty() {
                    return self.seen;
                }
                continue;
            };
            if self.queue.is_empty() {
                self.now = self.now.max(deadline);
            }
            while let Some(first) = self.timers.first_entry() {
                if first.key().0 > self.now {
                    break;
                }
                match first.remove() {
                    Entry::Task(number) => self.wake(number),
                    callback => self.queue.push_back(callback),
                }
            }
        }
    }

    fn arm(&mut self, deadline: i64, entry: Entry) -> Timer {
        self.armed += 1;
        let timer = (deadline, self.armed);
        self.timers.insert(timer, entry);
        timer
    }

    fn schedule(&mut self, ops: &Ops, deadline: Option<i64>) {
        let number = self.callbacks.len();
        let timer = match deadline {
            Some(deadline) => Some(self.arm(deadline, Entry::Callback(number))),
            None => {
                self.queue.push_back(Entry::Callback(number));
                None
            }
        };
        self.callbacks.push(Callback {
            ops: Some(Rc::clone(ops)),
            timer,
        });
    }

    fn call(&mut self, number: usize) {
        // A cancelled one still takes its place in the queue.
        if let Some(ops) = self.callbacks[number].ops.take() {
            self.seen.push(Seen::Called {
                callback: number,
                at: self.now,
            });
            for op in &*ops {
                self.step(op);
            }
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Soon(ops) => self.schedule(ops, None),
            Op::Later(delay, ops) => self.schedule(ops, Some(self.now + delay)),
            Op::At(at, ops) => self.schedule(ops, Some(*at)),
            Op::Cancel(number) => {
                if let Some(number) = number.checked_rem(self.callbacks.len()) {
                    self.callbacks[number].ops = None;
                    if let Some(timer) = self.callbacks[number].timer {
                        self.timers.remove(&timer);
                    }
                }
            }
            Op::Spawn(steps) => {
                self.queue.push_back(Entry::Task(self.tasks.len()));
                self.tasks.push(ModelTask {
                    frames: vec![Frame {
                        steps: Rc::clone(steps),
                        next: 0,
                        limit: None,
                        wait: None,
                    }],
                    queued: true,
                    ..ModelTask::default()
                });
            }
            Op::CancelTask(number) => {
                if let Some(number) = number.checked_rem(self.tasks.len()) {
                    let task = &mut self.tasks[number];
                    if !task.frames.is_empty() {
                        task.cancelled = true;
                        if task.begun {
                            self.wake(number);
                        }
                    }
                }
            }
        }
    }

    fn wake(&mut self, number: usize) {
        let task = &mut self.tasks[number];
        if task.running {
            task.woken_while_running = true;
        } else if !task.frames.is_empty() && !task.queued {
            task.queued = true;
            self.queue.push_back(Entry::Task(number));
        }
    }

    fn turn(&mut self, number: usize) {
        let task = &mut self.tasks[number];
        task.queued = false;
        let mut ended = task.cancelled;
        if !ended {
            task.running = true;
            // Taken out meanwhile: what it does may look at the task, but not at where it is.
            let mut frames = std::mem::replace(&mut task.frames, vec![Frame::none()]);
            ended = self.poll(number, &mut frames);
            let task = &mut self.tasks[number];
            task.frames = frames;
            task.running = false;
            task.begun = true;
            // Cancelled by itself: this is where it is suspended.
            ended |= task.cancelled;
        }
        let woken = std::mem::take(&mut self.tasks[number].woken_while_running);
        if ended {
            let frames = std::mem::take(&mut self.tasks[number].frames);
            // Before its first turn a task holds nothing that could tell of its end.
            let begun = self.tasks[number].begun;
            self.forget(&frames);
            if begun {
                self.seen.push(Seen::Ended {
                    task: number,
                    at: self.now,
                });
            }
        } else if woken {
            self.wake(number);
        }
    }

    /// Goes as far as it gets; true if the task has come to its end.
    fn poll(&mut self, number: usize, frames: &mut Vec<Frame>) -> bool {
        loop {
            // The innermost steps, until they wait or end.
            let frame = frames.last_mut().unwrap();
            if let Some(wait) = &mut frame.wait {
                if !self.is_over(number, wait) {
                    if !self.expire(number, frames) {
                        return false;
                    }
                    continue;
                }
                frame.wait = None;
                self.stepped(number, frame);
                continue;
            }
            let Some(step) = frame.steps.get(frame.next).cloned() else {
                let ended = frames.pop().unwrap();
                self.forget(&[ended]);
                let Some(outer) = frames.last_mut() else {
                    return true;
                };
                self.seen.push(Seen::Limited {
                    task: number,
                    expired: false,
                    at: self.now,
                });
                self.stepped(number, outer);
                continue;
            };
            match step {
                Step::Do(op) => {
                    self.step(&op);
                    self.stepped(number, frame);
                }
                Step::Sleep(delay) => frame.wait = Some(Wait::sleep(self.now, delay)),
                Step::SleepUntil(at) => frame.wait = Some(Wait::Until(at)),
                Step::Yield => frame.wait = Some(Wait::Yielding),
                Step::Timeout(limit, steps) => {
                    let limit = Some(Wait::sleep(self.now, limit));
                    frames.push(Frame {
                        steps,
                        next: 0,
                        limit,
                        wait: None,
                    });
                }
            }
        }
    }

    /// Asks the limits around what waits, inner before outer; true if one has expired, and what was inside is gone.
    fn expire(&mut self, number: usize, frames: &mut Vec<Frame>) -> bool {
        for depth in (0..frames.len()).rev() {
            let Some(limit) = &mut frames[depth].limit else {
                continue;
            };
            if self.is_over(number, limit) {
                let dropped = frames.split_off(depth);
                self.forget(&dropped);
                let outer = frames.last_mut().unwrap();
                self.seen.push(Seen::Limited {
                    task: number,
                    expired: true,
                    at: self.now,
                });
                self.stepped(number, outer);
                return true;
            }
        }
        false
    }

    fn stepped(&mut self, number: usize, frame: &mut Frame) {
        frame.next += 1;
        self.seen.push(Seen::Stepped {
            task: number,
            at: self.now,
        });
    }

    fn is_over(&mut self, number: usize, wait: &mut Wait) -> bool {
        match *wait {
            Wait::Until(deadline) => {
                *wait = Wait::Armed(self.arm(deadline, Entry::Task(number)));
                false
            }
            Wait::Armed(timer) => !self.timers.contains_key(&timer),
            Wait::Yielding => {
                *wait = Wait::Yielded;
                self.wake(number);
                false
            }
            Wait::Yielded => true,
        }
    }

    /// The timers of what is dropped go with it.
    fn forget(&mut self, frames: &[Frame]) {
        for frame in frames {
            for wait in [frame.limit, frame.wait].into_iter().flatten() {
                if let Wait::Armed(timer) = wait {
                    self.timers.remove(&timer);
                }
            }
        }
    }
}

impl Frame {
    fn none() -> Self {
        Self {
            steps: Rc::default(),
            next: 0,
            limit: None,
            wait: None,
        }
    }
}

// ---- Programs. ----

/// Few different times, so that many coincide.
fn delays() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => 0..4_i64,
        2 => (0..5_i64).prop_map(|n| n * 1_000),
        1 => (0..3_i64).prop_map(|n| n * 100_000),
    ]
}

fn instants() -> impl Strategy<Value = i64> {
    prop_oneof![-3..5_i64, (0..8_i64).prop_map(|n| n * 1_000 - 2_000)]
}

fn op() -> impl Strategy<Value = Op> {
    // What can stand inside: callbacks that do nothing more, tasks with plain steps.
    let empty = Just(Ops::default());
    let leaf = prop_oneof![
        3 => empty.clone().prop_map(Op::Soon),
        3 => (delays(), empty.clone()).prop_map(|(delay, ops)| Op::Later(delay, ops)),
        2 => (instants(), empty).prop_map(|(at, ops)| Op::At(at, ops)),
        2 => (0..20_usize).prop_map(Op::Cancel),
        1 => (0..10_usize).prop_map(Op::CancelTask),
    ];
    leaf.prop_recursive(4, 40, 5, |op| {
        let ops = vec(op.clone(), 0..4).prop_map(Rc::new);
        prop_oneof![
            1 => ops.clone().prop_map(Op::Soon),
            1 => (delays(), ops.clone()).prop_map(|(delay, ops)| Op::Later(delay, ops)),
            1 => (instants(), ops).prop_map(|(at, ops)| Op::At(at, ops)),
            4 => steps(op).prop_map(Op::Spawn),
        ]
    })
}

fn steps(op: impl Strategy<Value = Op> + Clone + 'static) -> impl Strategy<Value = Steps> {
    let plain = prop_oneof![
        2 => op.prop_map(Step::Do),
        3 => delays().prop_map(Step::Sleep),
        1 => instants().prop_map(Step::SleepUntil),
        2 => Just(Step::Yield),
    ];
    let step = plain.prop_recursive(3, 12, 4, |step| {
        (delays(), vec(step, 0..4)).prop_map(|(limit, steps)| Step::Timeout(limit, Rc::new(steps)))
    });
    vec(step, 0..5).prop_map(Rc::new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    #[test]
    fn the_loop_does_what_the_model_says(
        program in vec(op(), 1..12),
        batch in prop_oneof![Just(1_u32), Just(2), Just(3), Just(64)],
    ) {
        let expected = Model::default().run(&program, batch);
        prop_assert_eq!(really(&program, batch), expected);
    }
}

#[test]
fn the_same_program_runs_the_same_way_every_time() {
    let steps: Steps = Rc::new(
        (0..200)
            .flat_map(|n| {
                [
                    Step::Sleep(n % 3),
                    Step::Yield,
                    Step::Timeout(n % 2, Rc::new(vec![Step::Sleep(1)])),
                ]
            })
            .collect(),
    );
    let program: Vec<_> = (0..20)
        .map(|n| {
            if n % 2 == 0 {
                Op::Spawn(Rc::clone(&steps))
            } else {
                Op::Later(n, Ops::default())
            }
        })
        .collect();
    let first = really(&program, 64);
    for _ in 0..5 {
        assert!(really(&program, 64) == first);
    }
    assert!(Model::default().run(&program, 64) == first);
}
