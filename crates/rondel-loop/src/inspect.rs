//! A loop seen from outside: a socket on which the program says what its tasks are doing.
//!
//! ```text
//!   rondel ps PID ──> socket ──> thread "rondel-inspect" ──(call_soon)──> loop: makes a snapshot
//!                        <── JSON ──┘        ^ if the loop does not come by: the last one, and what blocks it
//! ```

mod json;
mod path;
mod server;
mod snapshot;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::environment::{is_no, is_yes};
use rondel_executor::Remote;

use crate::overseer::published::{Published, Seen};
use crate::state::{AfterLook, LocalLoop, State};
use server::Server;
use snapshot::Snapshot;

/// A busy loop makes a snapshot of its own accord at most this often, for the case that it is blocked when somebody asks.
const SELDOM: Duration = Duration::from_secs(1);
/// And spends at most one part in so many of its time on it.
const SHARE: u32 = 50;

/// Keeps a loop open to inspection; see [`LocalLoop::inspect`]. Dropped, it ends that; so does closing the loop.
#[must_use = "dropped at once, nothing can be inspected"]
pub struct Inspection {
    server: Arc<Server>,
    inspected: Arc<Inspected>,
}

impl Inspection {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        self.server.path()
    }
}

impl Drop for Inspection {
    fn drop(&mut self) {
        if self.inspected.handles.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        // Relaxed: a loop that sees it late makes one snapshot for nothing.
        self.inspected.left.store(true, Ordering::Relaxed);
        self.server.leave(&self.inspected);
    }
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// The socket for inspection could not be opened.
#[derive(Debug)]
pub struct InspectError {
    path: PathBuf,
    error: io::Error,
}

impl InspectError {
    /// Where it was to be.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "opening {path} for inspection: {}", self.error)
    }
}

impl std::error::Error for InspectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl LocalLoop {
    /// Opens the loop to inspection from outside: `rondel ps`, `rondel pstree` and `rondel top` with the number of this process
    /// show its tasks, what they wait for, and the loop's figures, even while it is blocked. `RONDEL_INSPECT=1` does the same
    /// for every loop of a process, without a change of the program.
    ///
    /// The socket is at `path`, or where the command looks for it: `$XDG_RUNTIME_DIR/rondel/PID.sock`, else
    /// `/tmp/rondel-UID/PID.sock`. Only the same user can use it. One thread, `rondel-inspect`, serves all loops of the process
    /// that are inspected at the same path. A loop that is inspected already, perhaps by `RONDEL_INSPECT`, stays where it is, whatever
    /// `path` says, until the last handle is dropped. [Accounts](LocalLoop::set_accounts) are kept from now on.
    ///
    /// # Errors
    /// The socket cannot be made; or the directory for it belongs to somebody else, or others may write there.
    ///
    /// ```
    /// use rondel_loop::LocalLoop;
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    ///
    /// rondel_loop::run(async {
    ///     let local = LocalLoop::current().unwrap();
    ///     let path = std::env::temp_dir().join(format!("inspect-doc-{}", std::process::id()));
    ///     let inspection = local.inspect(Some(&path)).unwrap();
    ///     let socket = inspection.path().to_owned();
    ///     let answer = rondel_loop::to_thread(move || {
    ///         let mut stream = UnixStream::connect(socket).unwrap();
    ///         stream.write_all(b"snapshot\n").unwrap();
    ///         let mut answer = String::new();
    ///         stream.read_to_string(&mut answer).unwrap();
    ///         answer
    ///     })
    ///     .await
    ///     .unwrap();
    ///     assert!(answer.contains("\"waits_for\":\"a job in a thread pool\""));
    /// }).unwrap();
    /// ```
    pub fn inspect(&self, path: Option<&Path>) -> Result<Inspection, InspectError> {
        let path = match path {
            Some(path) => Ok(path.to_owned()),
            None => path::default(),
        };
        let path = path.map_err(|(path, error)| InspectError { path, error })?;
        let state = self.state();
        let published = &state.overseer().published;
        if let Some((server, inspected)) = server::find(published) {
            // Relaxed, here and where it is taken back: all of it happens where the handles are.
            inspected.handles.fetch_add(1, Ordering::Relaxed);
            return Ok(Inspection { server, inspected });
        }
        let inspected = Arc::new(Inspected {
            thread: std::thread::current().name().map(ToOwned::to_owned),
            remote: state.executor.remote(),
            published: Arc::clone(published),
            handles: AtomicUsize::new(1),
            latest: Mutex::default(),
            made: Condvar::new(),
            left: AtomicBool::new(false),
        });
        let server =
            server::join(&path, &inspected).map_err(|error| InspectError { path, error })?;
        state.change_modes(|modes| {
            modes.accounts = true;
            modes.watchdog = true;
        });
        // The loop may be blocked before it looks around for the first time: there is something to be seen from the start.
        inspected.keep(self);
        let (own, weak) = (Arc::clone(&inspected), Rc::downgrade(state));
        let entries = Cell::new(0_u64);
        state.overseer().set_before_entry(Some(Rc::new(move || {
            entries.set(entries.get() + 1);
            // Not each time: one with many tasks takes a while.
            if entries.get().is_power_of_two()
                && let Some(state) = weak.upgrade()
            {
                own.keep(&Self::of(&state));
            }
        })));
        let own = Arc::clone(&inspected);
        let hook: AfterLook = Rc::new(move |state, now| own.make_if_due(state, now));
        let before = state.after_look.replace(Some(hook));
        drop(before);
        Ok(Inspection { server, inspected })
    }

    /// Has the task graph and the figures written to standard error whenever the process receives `signal`, SIGUSR1 as a rule:
    /// of as many tasks as [`inspect`](LocalLoop::inspect) shows, the rest counted. A loop that is blocked does it when it goes on.
    /// [Accounts](LocalLoop::set_accounts) are kept from now on. [`remove_signal_handler`](LocalLoop::remove_signal_handler) ends it, but for
    /// those.
    ///
    /// # Errors
    /// As [`add_signal_handler`](LocalLoop::add_signal_handler).
    #[track_caller]
    pub fn dump_on(&self, signal: crate::signal::Signal) -> io::Result<()> {
        self.set_accounts(true);
        self.add_signal_handler(signal, || {
            if let Ok(local) = Self::current() {
                // Nowhere to report a failing standard error to.
                let _ = io::Write::write_all(&mut io::stderr(), local.dump().as_bytes());
            }
        })
    }

    fn dump(&self) -> String {
        let (graph, metrics) = (snapshot::graph(self), self.metrics());
        let more = metrics.tasks_alive.saturating_sub(graph.tasks().len());
        let more = match more {
            0 => String::new(),
            more => format!("and {more} more\n"),
        };
        format!("{graph}{more}{metrics}")
    }
}

/// Opens a new loop to inspection if the environment says so: `RONDEL_INSPECT=1`, or the path of the socket.
pub(crate) fn by_environment(local: &LocalLoop) {
    let Some(wanted) = std::env::var_os("RONDEL_INSPECT") else {
        return;
    };
    if is_no(&wanted) {
        return;
    }
    let path = (!is_yes(&wanted)).then(|| PathBuf::from(wanted));
    match local.inspect(path.as_deref()) {
        Ok(inspection) => local.state().kept.borrow_mut().push(Box::new(inspection)),
        Err(error) => {
            // Somebody set the variable to see something: say why there is nothing to see.
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("rondel: {error}\n"));
        }
    }
}

/// A loop in the eyes of the server's thread.
pub(crate) struct Inspected {
    thread: Option<String>,
    remote: Remote,
    published: Arc<Published>,
    /// How many [`Inspection`]s there are.
    handles: AtomicUsize,
    latest: Mutex<Latest>,
    made: Condvar,
    /// Nobody will ask any more.
    left: AtomicBool,
}

#[derive(Default)]
struct Latest {
    snapshot: Option<Arc<Snapshot>>,
    /// How long it took to make.
    cost: Duration,
    /// Goes up with each.
    number: u64,
    asked: bool,
}

impl Inspected {
    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a snapshot, on the loop's thread, for those who wait for one.
    fn make(&self, local: &LocalLoop) {
        self.keep(local);
        let mut latest = self.latest();
        latest.number += 1;
        latest.asked = false;
        drop(latest);
        self.made.notify_all();
    }

    /// Makes a snapshot in case that nobody can make one later. It is no answer to a request: the task that is about to run is
    /// missing if it has not run before.
    fn keep(&self, local: &LocalLoop) {
        let begun = Instant::now();
        let snapshot = Arc::new(Snapshot::of(local));
        let mut latest = self.latest();
        latest.cost = begun.elapsed();
        local.state().overseer().excuse(latest.cost);
        let before = latest.snapshot.replace(snapshot);
        drop(latest);
        drop(before);
    }

    /// The loop has looked around: a good moment, if it is time for another one.
    fn make_if_due(&self, state: &Rc<State>, now: Instant) {
        if self.left.load(Ordering::Relaxed) {
            return;
        }
        let latest = self.latest();
        let due = latest.snapshot.as_ref().is_none_or(|snapshot| {
            snapshot.first_turn
                || now.saturating_duration_since(snapshot.taken) > SELDOM.max(latest.cost * SHARE)
        });
        drop(latest);
        if let Some(overseer) = state.overseer.get() {
            overseer.set_before_entry(None);
        }
        if due {
            self.make(&LocalLoop::of(state));
        }
    }

    /// Asks for a fresh snapshot; gives the number of the last one. On the server's thread, as the next.
    fn ask(self: &Arc<Self>) -> u64 {
        let mut latest = self.latest();
        let number = latest.number;
        // One request stands in the loop's inbox at most, however often somebody asks a loop that is blocked.
        if !std::mem::replace(&mut latest.asked, true) {
            let own = Arc::clone(self);
            let sent = self.remote.call_soon(move || {
                if let Ok(local) = LocalLoop::current() {
                    own.make(&local);
                }
            });
            if sent.is_err() {
                latest.asked = false;
            }
        }
        number
    }

    /// A fresher snapshot than that, waiting for the loop at most so long; or the last one, and what runs meanwhile.
    fn answer(&self, number: u64, patience: Duration) -> Answer {
        let latest = self.latest();
        let (latest, _) = self
            .made
            .wait_timeout_while(latest, patience, |latest| latest.number == number)
            .unwrap_or_else(PoisonError::into_inner);
        let fresh = latest.number != number;
        Answer {
            snapshot: latest.snapshot.clone(),
            fresh,
            running: if fresh { None } else { self.published.look() },
        }
    }
}

/// What there is to say of a loop.
struct Answer {
    snapshot: Option<Arc<Snapshot>>,
    fresh: bool,
    /// What blocks it, if it did not answer itself.
    running: Option<Seen>,
}
