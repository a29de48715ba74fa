//! What a loop has done so far, in figures.

#[cfg(feature = "metrics")]
mod export;
pub(crate) mod histogram;

use std::fmt;
use std::time::Duration;

use rondel_executor::ThreadPool;

use crate::state::LocalLoop;
use histogram::Histogram;

/// A loop's figures at one moment; see [`LocalLoop::metrics`]. Counts go up from the making of the loop.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Tasks made, cleanups and main ones among them.
    pub tasks_spawned: u64,
    /// Of these, how many have not ended.
    pub tasks_alive: usize,
    /// How many were cancelled before they had finished.
    pub tasks_cancelled: u64,
    /// Cleanups under way.
    pub cleanups: usize,
    /// Entries of the ready queue.
    pub ready: usize,
    /// Timers armed.
    pub timers: usize,
    /// Descriptors of the loop's own: connections, listeners, pipes.
    pub descriptors: usize,
    /// Descriptors watched by [`add_reader`](LocalLoop::add_reader) and [`add_writer`](LocalLoop::add_writer).
    pub watched: usize,
    /// Bytes received by the loop's connections.
    pub received: u64,
    /// Bytes sent by the loop's connections.
    pub sent: u64,
    /// Jobs of the loop's own thread pool that wait for a thread.
    pub pool_queued: usize,
    /// Threads of that pool.
    pub pool_threads: usize,
    /// How long jobs of that pool waited for a thread, all together, and how many have begun.
    pub pool_waited: (Duration, u64),
    /// How often the loop has looked around for I/O, timers and other threads.
    pub turns: u64,
    /// How long single entries ran. Empty unless [accounts](LocalLoop::set_accounts) are kept.
    pub entry_time: Histogram,
    /// How long what was ready waited for its turn: the loop's lag. Empty unless accounts are kept or debug mode is on; so is
    /// the next.
    pub lag: Histogram,
    /// How long the loop ran from one look around to the next.
    pub turn_time: Histogram,
}

impl Metrics {
    /// How long entries ran, all together.
    pub const fn busy(&self) -> Duration {
        self.entry_time.sum()
    }
}

impl LocalLoop {
    /// Counts bytes as received, for the [metrics](LocalLoop::metrics): for connections of your own. Those of this workspace do it
    /// themselves.
    #[inline]
    pub fn count_received(&self, bytes: usize) {
        let counter = &self.state().received;
        counter.set(counter.get() + bytes as u64);
    }

    /// Counts bytes as sent.
    #[inline]
    pub fn count_sent(&self, bytes: usize) {
        let counter = &self.state().sent;
        counter.set(counter.get() + bytes as u64);
    }

    /// The loop's figures as they are now. What costs nothing is always counted; times are measured while
    /// [accounts](LocalLoop::set_accounts) are kept, or debug mode is on. uvloop: `print_debug_info`, which this prints.
    ///
    /// ```
    /// # rondel_loop::run(async {
    /// let lp = rondel_loop::LocalLoop::current().unwrap();
    /// let task = rondel_loop::spawn(std::future::pending::<()>());
    /// let metrics = lp.metrics();
    /// assert_eq!((metrics.tasks_spawned, metrics.tasks_alive), (2, 2));
    /// println!("{metrics}");
    /// # task.cancel();
    /// # }).unwrap();
    /// ```
    #[doc(alias = "print_debug_info")]
    pub fn metrics(&self) -> Metrics {
        let state = self.state();
        let times = state
            .overseer
            .get()
            .map(|overseer| overseer.times.borrow().clone())
            .unwrap_or_default();
        let measures = state
            .overseer
            .get()
            .is_some_and(|overseer| overseer.measures_lag());
        let pool = state.pool.borrow().clone();
        Metrics {
            tasks_spawned: state.executor.made(),
            tasks_alive: state.executor.alive(),
            tasks_cancelled: state.executor.cancelled(),
            cleanups: state.executor.cleanups(),
            // Without the entry that measures the lag.
            ready: state
                .executor
                .spawner()
                .ready_len()
                .saturating_sub(usize::from(measures)),
            timers: state.timers.len(),
            descriptors: state.sources.borrow().len(),
            watched: state.watches.borrow().len(),
            received: state.received.get(),
            sent: state.sent.get(),
            pool_queued: pool.as_ref().map_or(0, ThreadPool::queued),
            pool_threads: pool.as_ref().map_or(0, ThreadPool::threads),
            pool_waited: pool.as_ref().map(ThreadPool::waited).unwrap_or_default(),
            turns: state.turns.get(),
            entry_time: times.entries,
            lag: times.lag,
            turn_time: times.turns,
        }
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "tasks: {} alive, {} spawned, {} cancelled, {} cleanups",
            self.tasks_alive, self.tasks_spawned, self.tasks_cancelled, self.cleanups
        )?;
        writeln!(
            f,
            "loop: {} ready, {} timers, {} descriptors, {} watched, {} bytes received, {} sent, {} turns",
            self.ready,
            self.timers,
            self.descriptors,
            self.watched,
            self.received,
            self.sent,
            self.turns
        )?;
        if self.pool_threads > 0 || self.pool_waited.1 > 0 {
            let (waited, begun) = self.pool_waited;
            writeln!(
                f,
                "pool: {} queued, {} threads, {begun} jobs begun after {waited:?} of waiting",
                self.pool_queued, self.pool_threads
            )?;
        }
        if self.entry_time.count() > 0 {
            writeln!(f, "entries: {}", self.entry_time)?;
            writeln!(f, "lag: {}", self.lag)?;
            writeln!(f, "turns: {}", self.turn_time)?;
        }
        Ok(())
    }
}
