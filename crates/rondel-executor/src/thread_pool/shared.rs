//! What the threads of a pool share: the queue, who is idle, who works on what.
//!
//! One lock guards all of it and is held for a few instructions at a time, except while a thread is being started. No
//! foreign code runs under it: no closure, waker, guard or destructor of somebody else's.
//!
//! Invariant: while a live job is queued, a thread is busy or on its way to the queue. It holds because a job is queued
//! in the same critical section that calls or starts a thread (or finds that this is not needed), and a thread goes idle
//! or ends in the same critical section that finds the queue empty. So no wake-up is lost, and none is made without need:
//! whoever submits the next job as soon as it has the result of the last one meets a thread that is not idle yet, but as
//! good as free. It is relied upon, instead of waking or starting another.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::error::SubmitError;
use super::running::RunningJob;
use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, contain, lock, thread};
use crate::PanicPayload;

/// Cancelled jobs stay in the queue until a thread comes by, but no more of them than this or than live ones.
const CANCELLED_KEPT: usize = 32;

/// Who is told of panics that nobody awaits.
pub(super) type LostPanic = Arc<dyn Fn(PanicPayload, &'static Location<'static>) + Send + Sync>;

/// What a [`ThreadPoolBuilder`](super::ThreadPoolBuilder) has set.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) threads: usize,
    pub(super) name: String,
    pub(super) stack_size: Option<usize>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_queue: Option<usize>,
    pub(super) lost_panic: Option<LostPanic>,
}

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) state: Mutex<State>,
    /// A thread of a closed pool has ended, or is waiting for the others.
    pub(super) progress: Condvar,
    /// Jobs accepted whose results have not been delivered.
    outstanding: AtomicUsize,
    /// Busy threads that only deliver a result and then come to the queue. Raised anywhere, before anybody can see the
    /// result; lowered under the lock.
    delivering: AtomicUsize,
}

pub(super) struct State {
    queue: VecDeque<Queued>,
    /// How long jobs that have begun had been queued, all together, and how many they are.
    pub(super) waited: (Duration, u64),
    /// How many in the queue are cancelled.
    cancelled: usize,
    /// By number, which is part of the thread's name; `None` where one has ended.
    workers: Vec<Option<Worker>>,
    pub(super) alive: usize,
    busy: usize,
    /// Threads that have been started or called and are not at the queue yet.
    coming: usize,
    /// Threads that wait, the latest on top: it is the one to call, so that those not needed time out.
    idle: Vec<usize>,
    pub(super) closed: bool,
    /// Threads whose job is in `shutdown` of this very pool.
    pub(super) inside: usize,
    /// The thread that ended last. It has joined the one before it.
    pub(super) ended: Option<thread::JoinHandle<()>>,
    pub(super) drain_wakers: Vec<(u64, Waker)>,
    pub(super) next_drain: u64,
}

/// A job as the pool sees it.
pub(super) trait Work: Send + Sync {
    /// Where it was submitted.
    fn site(&self) -> &'static Location<'static>;

    /// Decides who gets it, a thread that starts it or somebody who cancels it: the first call returns `true`. Under the
    /// pool's lock only.
    fn claim(&self) -> bool;

    /// Whether it has been claimed. Under the pool's lock only.
    fn is_claimed(&self) -> bool;

    /// Calls the closure, delivers the result. Outside all locks; does not panic. Returns whether it has announced to be
    /// [delivering](Shared::delivering).
    fn run(&self) -> bool;

    /// Drops the closure of a job claimed for cancelling and tells who waits for it. Outside all locks.
    fn finish_cancelled(&self);
}

struct Queued {
    job: Arc<dyn Work>,
    since: Instant,
}

struct Worker {
    handle: thread::JoinHandle<()>,
    bell: Arc<Condvar>,
    /// It was taken off the idle ones and is to look at the queue.
    called: bool,
    job: Option<(&'static Location<'static>, Instant)>,
}

impl Shared {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                waited: (Duration::ZERO, 0),
                cancelled: 0,
                workers: Vec::new(),
                alive: 0,
                busy: 0,
                coming: 0,
                idle: Vec::new(),
                closed: false,
                inside: 0,
                ended: None,
                drain_wakers: Vec::new(),
                next_drain: 0,
            }),
            progress: Condvar::new(),
            outstanding: AtomicUsize::new(0),
            delivering: AtomicUsize::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Queues a job and sees to it that a thread takes it. The caller still owns it if it is refused.
    pub(super) fn push(self: &Arc<Self>, work: Arc<dyn Work>) -> Result<(), SubmitError> {
        let mut state = self.lock();
        if state.closed {
            return Err(SubmitError::Closed);
        }
        let mut bell = None;
        let coming = state.coming + self.delivering.load(Ordering::Relaxed);
        let free = if coming > state.queued() {
            true
        } else if let Some(index) = state.idle.pop() {
            bell = state.call(index);
            true
        } else {
            state.alive < self.config.threads && self.start(&mut state)?
        };
        if let (false, Some(max_queue)) = (free, self.config.max_queue)
            && state.queued() - coming >= max_queue
        {
            return Err(SubmitError::QueueFull { max_queue });
        }
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        state.queue.push_back(Queued {
            job: work,
            since: Instant::now(),
        });
        drop(state);
        // After unlocking, or the thread would wake up only to wait for the lock.
        if let Some(bell) = bell {
            bell.notify_one();
        }
        Ok(())
    }

    /// Starts another thread. `false` if the system would not, but others are alive to do the work.
    ///
    /// Under the lock, unlike all other system calls: otherwise a failure could leave jobs queued that were accepted
    /// meanwhile with no thread to take them.
    fn start(self: &Arc<Self>, state: &mut State) -> Result<bool, SubmitError> {
        let vacant = state.workers.iter().position(Option::is_none);
        let index = vacant.unwrap_or(state.workers.len());
        let shared = Arc::clone(self);
        match self.spawn(index, move || shared.work(index)) {
            Ok(handle) => {
                let worker = Some(Worker {
                    handle,
                    bell: Arc::new(Condvar::new()),
                    called: false,
                    job: None,
                });
                match vacant {
                    Some(index) => state.workers[index] = worker,
                    None => state.workers.push(worker),
                }
                state.alive += 1;
                state.coming += 1;
                Ok(true)
            }
            Err(error) if state.alive == 0 => Err(SubmitError::NoThread(error)),
            Err(_) => Ok(false),
        }
    }

    fn spawn(
        &self,
        index: usize,
        main: impl FnOnce() + Send + 'static,
    ) -> io::Result<thread::JoinHandle<()>> {
        let mut builder = thread::Builder::new().name(self.thread_name(index));
        if let Some(size) = self.config.stack_size {
            builder = builder.stack_size(size);
        }
        builder.spawn(main)
    }

    fn thread_name(&self, index: usize) -> String {
        format!("{}-{index}", self.config.name)
    }

    /// What a thread does from its start to its end.
    fn work(&self, index: usize) {
        let mut state = self.lock();
        state.coming -= 1;
        loop {
            if let Some(job) = state.take_job(index) {
                drop(state);
                let delivering = job.run();
                drop(job);
                state = self.lock();
                state.finish_job(index);
                if delivering {
                    self.delivering.fetch_sub(1, Ordering::Relaxed);
                }
            } else if let Some(wakers) = state.take_drain_wakers() {
                drop(state);
                for (_, waker) in wakers {
                    contain(|| waker.wake());
                }
                state = self.lock();
            } else if state.closed {
                break;
            } else {
                let called;
                (state, called) = self.idle(state, index);
                if !called {
                    break;
                }
            }
        }
        self.end(state, index);
    }

    /// Waits to be called; `false` if that does not happen in time.
    fn idle<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        index: usize,
    ) -> (MutexGuard<'a, State>, bool) {
        state.idle.push(index);
        let bell = Arc::clone(&state.worker(index).bell);
        loop {
            let timed_out;
            (state, timed_out) = match self.config.idle_timeout {
                None => (
                    bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                    false,
                ),
                Some(timeout) => {
                    let (state, result) = bell
                        .wait_timeout(state, timeout)
                        .unwrap_or_else(PoisonError::into_inner);
                    (state, result.timed_out())
                }
            };
            // Called counts even if it took too long: a job relies on it.
            if std::mem::take(&mut state.worker(index).called) {
                state.coming -= 1;
                return (state, true);
            }
            if timed_out {
                state.idle.retain(|&idle| idle != index);
                return (state, false);
            }
        }
    }

    fn end(&self, mut state: MutexGuard<'_, State>, index: usize) {
        let worker = state.workers[index].take();
        state.alive -= 1;
        let previous = worker.and_then(|worker| state.ended.replace(worker.handle));
        if state.closed {
            self.progress.notify_all();
        }
        drop(state);
        // Each thread joins the one that ended before it, so that at most one is unjoined, and `shutdown` joins all by
        // joining that one.
        if let Some(previous) = previous {
            let _ = previous.join();
        }
    }

    /// Refuses jobs from now on; threads end when the queue is empty.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        while let Some(index) = state.idle.pop() {
            if let Some(bell) = state.call(index) {
                bell.notify_one();
            }
        }
    }

    /// Claims a job for cancelling; `false` if it has started or was cancelled before.
    pub(super) fn cancel(&self, job: &dyn Work) -> bool {
        let mut state = self.lock();
        if !job.claim() {
            return false;
        }
        state.cancelled += 1;
        if state.cancelled > CANCELLED_KEPT && state.cancelled > state.queue.len() / 2 {
            // Whoever cancels holds a reference until the closure is gone, so nothing foreign is dropped here.
            state.queue.retain(|queued| !queued.job.is_claimed());
            state.cancelled = 0;
        }
        true
    }

    /// Cancels what has not started.
    pub(super) fn cancel_pending(&self) -> usize {
        let mut state = self.lock();
        state.cancelled = 0;
        let mut jobs = std::mem::take(&mut state.queue);
        jobs.retain(|queued| queued.job.claim());
        drop(state);
        for queued in &jobs {
            queued.job.finish_cancelled();
        }
        jobs.len()
    }

    /// The calling thread, one of ours, is about to make a result visible.
    pub(super) fn delivering(&self) {
        self.delivering.fetch_add(1, Ordering::Relaxed);
    }

    /// A job's waker has been woken and its guard dropped.
    pub(super) fn delivered(&self) {
        // Whoever reads 0 sees what the wakers did.
        self.outstanding.fetch_sub(1, Ordering::Release);
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Acquire)
    }

    pub(super) fn lost_panic(&self, payload: PanicPayload, site: &'static Location<'static>) {
        match &self.config.lost_panic {
            Some(tell) => contain(|| tell(payload, site)),
            None => contain(|| drop(payload)),
        }
    }

    /// The jobs that run, without the one that the calling thread is in.
    pub(super) fn running(&self, state: &State, but: Option<usize>) -> Vec<RunningJob> {
        let workers = state.workers.iter().enumerate();
        workers
            .filter(|&(index, _)| Some(index) != but)
            .filter_map(|(index, worker)| {
                let (site, since) = worker.as_ref()?.job?;
                Some(RunningJob {
                    site,
                    since,
                    thread: self.thread_name(index),
                })
            })
            .collect()
    }
}

impl State {
    /// The next live job, which the thread is now busy with.
    fn take_job(&mut self, index: usize) -> Option<Arc<dyn Work>> {
        while let Some(Queued { job, since }) = self.queue.pop_front() {
            if job.claim() {
                self.busy += 1;
                let now = Instant::now();
                self.waited.0 += now.saturating_duration_since(since);
                self.waited.1 += 1;
                self.worker(index).job = Some((job.site(), now));
                return Some(job);
            }
            // Whoever cancelled it holds a reference until the closure is gone.
            self.cancelled -= 1;
        }
        None
    }

    fn finish_job(&mut self, index: usize) {
        self.busy -= 1;
        self.worker(index).job = None;
    }

    /// Who waits for the pool to be drained, if it is and there are any.
    fn take_drain_wakers(&mut self) -> Option<Vec<(u64, Waker)>> {
        let told = self.is_drained() && !self.drain_wakers.is_empty();
        told.then(|| std::mem::take(&mut self.drain_wakers))
    }

    /// Marks a thread that was idle as called; its bell is to be rung.
    fn call(&mut self, index: usize) -> Option<Arc<Condvar>> {
        let worker = self.workers[index].as_mut()?;
        worker.called = true;
        let bell = Arc::clone(&worker.bell);
        self.coming += 1;
        Some(bell)
    }

    /// Whether no job is queued or running.
    pub(super) fn is_drained(&self) -> bool {
        self.busy == 0 && self.queued() == 0
    }

    /// Whether nothing is left for which `shutdown` has to wait for long.
    pub(super) fn has_only_jobs_inside(&self) -> bool {
        self.busy <= self.inside && self.queued() == 0
    }

    /// The live jobs in the queue.
    pub(super) fn queued(&self) -> usize {
        self.queue.len() - self.cancelled
    }

    /// The number of the worker that the calling thread is, if it is one.
    pub(super) fn current_worker(&self) -> Option<usize> {
        let current = thread::current().id();
        let is_current = |worker: &Option<Worker>| {
            let worker = worker.as_ref();
            worker.is_some_and(|worker| worker.handle.thread().id() == current)
        };
        self.workers.iter().position(is_current)
    }

    fn worker(&mut self, index: usize) -> &mut Worker {
        let worker = self.workers[index].as_mut();
        worker.expect("invariant: a thread's own entry stays until it ends")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("ThreadPool")
            .field("name", &self.config.name)
            .field("max_threads", &self.config.threads)
            .field("threads", &state.alive)
            .field("queued", &state.queued())
            .field("running", &self.running(&state, None))
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
