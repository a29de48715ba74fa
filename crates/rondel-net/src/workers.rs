//! Workers: one event loop per core, each on a thread of its own.
//!
//! ```text
//!   the calling thread: Ctrl-C ──> token        waits until all threads have ended
//!   worker 0 .. n - 1:  main ──ended──> outcomes;  failed ──> token
//!                       token ──> main sees it, or is cancelled after the grace
//! ```
//!
//! Loops share nothing but the token and the list of outcomes.

mod affinity;
pub(crate) mod error;
mod thread;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use rondel_executor::CancelToken;
use rondel_loop::LocalLoop;

use crate::tcp::listener::{ListenOptions, TcpListener};
use crate::workers::error::WorkersError;

/// Runs the same program on several cores: a loop and a thread for each, which share nothing but a token to end by.
///
/// Tasks never move from one loop to another, so nothing needs to be `Send` but the program's result. Connections are spread
/// over the workers by the system: each has a listener of its own on the same port (`SO_REUSEPORT`). On Linux that is even, by
/// a hash of the addresses; other systems may prefer one of the listeners, or give all to the latest.
///
/// ```
/// use rondel_net::{ServerOptions, Worker, Workers};
/// use std::{io, time::Duration};
///
/// let served = Workers::new()
///     .count(2)
///     .listen(([127, 0, 0, 1], 0))?
///     .run(async |worker: Worker| {
///         let server = ServerOptions::new().serve_on(
///             async |_reader, writer| writer.write_all(b"hello\n").await,
///             [worker.take_listener(0)?],
///         );
/// #       worker.shutdown().cancel();
///         worker.shutdown().cancelled().await; // Ctrl-C, or another worker that failed
///         io::Result::Ok(server.shutdown(Duration::from_secs(5)).await.is_clean())
///     })?;
/// assert_eq!(served, [true, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "workers do nothing unless they are run"]
pub struct Workers {
    count: usize,
    name: String,
    pinned: bool,
    grace: Duration,
    ctrl_c: bool,
    listen: ListenOptions,
    listeners: Vec<std::net::TcpListener>,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            count: available_parallelism().map_or(1, NonZero::get),
            name: "rondel-worker".into(),
            pinned: false,
            grace: Duration::from_secs(30),
            ctrl_c: true,
            listen: ListenOptions::new(),
            listeners: Vec::new(),
        }
    }
}

impl Workers {
    /// As many workers as the process may use cores: its affinity and its cgroup's quota count, as far as
    /// [`available_parallelism`] knows them. One, if that is not known.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many workers there are. 0 is taken for 1.
    pub fn count(mut self, workers: usize) -> Self {
        self.count = workers.max(1);
        self
    }

    /// What the threads' names begin with; a hyphen and the worker's number follow. Default: `rondel-worker`. A zero byte in it
    /// has the threads fail to start.
    pub fn name(mut self, prefix: impl Into<String>) -> Self {
        self.name = prefix.into();
        self
    }

    /// Whether each worker keeps to one core, of those that the process is allowed to use: the first worker to the first, and so
    /// on, beginning again if there are more workers than cores. Threads of a loop's pool inherit it. Default: no. Elsewhere than
    /// on Linux and Android it does nothing.
    pub fn pin_to_cores(mut self, on: bool) -> Self {
        self.pinned = on;
        self
    }

    /// How long a worker that was told to end may go on, before its main future is cancelled. Default: 30 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Whether Ctrl-C tells the workers to end, and a second one ends the process. Default: yes. It is left alone if the program
    /// has changed what SIGINT does, or another loop listens to it.
    pub fn ctrl_c(mut self, ends: bool) -> Self {
        self.ctrl_c = ends;
        self
    }

    /// How sockets listen that are asked for after this; `reuse_port` is on in any case.
    pub fn listen_options(mut self, options: ListenOptions) -> Self {
        self.listen = options;
        self
    }

    /// Has every worker listen on `addr`, with a listener of its own. May be called again for further addresses, which are
    /// counted from 0; see [`Worker::take_listener`].
    ///
    /// The first worker's listener is there at once, and with it the port if `addr` leaves that to the system; the others follow
    /// before any thread is started. From then on connections are given to all of them: each worker should take its listener,
    /// and one that ends before the others loses those which it has not accepted.
    ///
    /// # Errors
    /// What the system says, with the address.
    pub fn listen(mut self, addr: impl Into<SocketAddr>) -> io::Result<Self> {
        let options = self.listen.clone().reuse_port(true);
        self.listeners.push(options.bind_std(addr.into())?);
        Ok(self)
    }

    /// The addresses listened on, in the order of the calls of [`listen`](Workers::listen).
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(|one| one.local_addr()).collect()
    }

    /// Runs `main` in each worker, and blocks this thread until all have ended. Gives what they gave, in the order of their
    /// numbers.
    ///
    /// Each worker runs on a loop of its own, as [`rondel_loop::run`] does it: what is left of other tasks when `main` has ended
    /// is cancelled and waited for, then the pool is shut down. The first failure of a worker, an error or a panic, and Ctrl-C
    /// cancel the [shutdown token](Worker::shutdown), as any worker can by itself. Who then does not end within the
    /// [grace](Workers::grace) is cancelled: its main future is dropped, and its cleanups are waited for. A worker that ends
    /// well does not end the others; all of them ending well after Ctrl-C is a success.
    ///
    /// # Errors
    /// - [`WorkersError::LoopRunning`]: this thread runs a loop, which would stand still. Run it in a thread of its own.
    /// - [`WorkersError::Listen`]: a worker's listener could not be made; no thread was started.
    /// - [`WorkersError::Loop`]: the calling thread, too, needs a loop, and it could not be made or run.
    /// - [`WorkersError::Failed`]: what became of all the workers that failed. What the others gave is dropped.
    pub fn run<F, T, E>(mut self, main: F) -> Result<Vec<T>, WorkersError<E>>
    where
        F: AsyncFn(Worker) -> Result<T, E> + Send + Sync,
        T: Send,
        E: Send,
    {
        if LocalLoop::current().is_ok() {
            return Err(WorkersError::LoopRunning);
        }
        let workers = self.each().map_err(WorkersError::Listen)?;
        thread::run_all(&self, workers, &main)
    }

    /// The workers, each with its listeners, of which none is kept here: they are closed when a worker ends.
    fn each(&mut self) -> io::Result<Vec<Worker>> {
        let shutdown = CancelToken::new();
        let addrs = self.local_addrs()?;
        let options = self.listen.clone().reuse_port(true);
        let mut first = std::mem::take(&mut self.listeners).into_iter();
        (0..self.count)
            .map(|index| {
                let listeners = addrs
                    .iter()
                    .map(|addr| first.next().map_or_else(|| options.bind_std(*addr), Ok))
                    .map(|listener| listener.map(Some))
                    .collect::<io::Result<_>>()?;
                Ok(Worker {
                    index,
                    count: self.count,
                    listeners: RefCell::new(listeners),
                    shutdown: shutdown.clone(),
                })
            })
            .collect()
    }
}

/// What a worker knows of itself; see [`Workers::run`].
pub struct Worker {
    index: usize,
    count: usize,
    listeners: RefCell<Vec<Option<std::net::TcpListener>>>,
    shutdown: CancelToken,
}

impl Worker {
    /// Its number, from 0.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// How many workers there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Takes its listener on the address of the call number `listen` of [`Workers::listen`].
    ///
    /// # Errors
    /// `NotFound` if there was no such call, or the listener was taken before; what the system says of registering it; and if no
    /// loop is running on this thread.
    pub fn take_listener(&self, listen: usize) -> io::Result<TcpListener> {
        let taken = self
            .listeners
            .borrow_mut()
            .get_mut(listen)
            .and_then(Option::take);
        let listener = taken.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("worker {} has no listener {listen} to take", self.index),
            )
        })?;
        TcpListener::from_std(listener)
    }

    /// Cancelled when the workers are to end: by Ctrl-C, by the failure of one of them, or by one that calls
    /// [`cancel`](CancelToken::cancel). A worker that ends by itself need not look at it.
    pub const fn shutdown(&self) -> &CancelToken {
        &self.shutdown
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("index", &self.index)
            .field("count", &self.count)
            .field("shutdown", &self.shutdown.is_cancelled())
            .finish_non_exhaustive()
    }
}
