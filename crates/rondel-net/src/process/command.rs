//! [`Command`]: what is to be started, and how.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as StdCommand, ExitStatus, Output, Stdio as StdStdio};
use std::time::Duration;

use rondel_loop::LocalLoop;

use crate::peer::Peer;
use crate::pipe::{PipeReader, PipeWriter};
use crate::process::child::{Child, Streams};
use crate::process::communicate::{CommunicateError, MAX_OUTPUT, communicate};
use crate::process::error::SpawnError;
use crate::process::exit::Exit;
use crate::process::orphan;
use crate::process::pty::{self, Pty};
use crate::process::session::{Terminal, begin_session};
use crate::process::stdio::{self, Kind, Stdio, Theirs};
use crate::process::watch::Watch;

/// A program to be started, with its arguments, surroundings and standard streams. asyncio: `create_subprocess_exec`,
/// `create_subprocess_shell`.
///
/// Starting is what [`std::process::Command`] does, by its fast path where it has one, and takes its time on the loop's
/// thread: a fraction of a millisecond. The child inherits the three standard streams as told, and no other descriptor of
/// this library; signals are at their defaults and unblocked.
///
/// The same command can be started again and again. `!Send` are only the children.
///
/// ```
/// use rondel_net::{Command, Stdio};
///
/// # rondel_loop::run(async {
/// let mut child = Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let output = child.communicate(b"pear\napple\n").await?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"apple\npear\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
#[doc(alias = "create_subprocess_exec")]
pub struct Command {
    inner: StdCommand,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    group: Option<i32>,
    session: bool,
    /// Shared with the hook that begins sessions, once there is one.
    terminal: Option<Terminal>,
    terminal_size: (u16, u16),
    kill_on_drop: bool,
    by_thread: bool,
    timeout: Option<Duration>,
    max_output: usize,
}

/// What streams are that nothing was said about.
#[derive(Debug)]
pub(super) struct Defaults {
    pub(super) stdin: Stdio,
    pub(super) output: Stdio,
}

impl Command {
    /// A program by its path, or by its name, to be looked for in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            inner: StdCommand::new(program),
            stdin: None,
            stdout: None,
            stderr: None,
            group: None,
            session: false,
            terminal: None,
            terminal_size: (24, 80),
            kill_on_drop: false,
            by_thread: false,
            timeout: None,
            max_output: MAX_OUTPUT,
        }
    }

    /// A command line for `/bin/sh`. Never put into it what others may choose, without quoting; better pass that as an
    /// argument to a program. asyncio: `create_subprocess_shell`.
    ///
    /// Killing the shell does not kill what it has started: give it a [group](Command::process_group), and
    /// [kill that](Child::kill_group).
    #[doc(alias = "create_subprocess_shell")]
    pub fn shell(line: impl AsRef<OsStr>) -> Self {
        let mut command = Self::new("/bin/sh");
        command.arg("-c").arg(line);
        command
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.inner.args(args);
        self
    }

    /// Sets what the program is told to be called, instead of what it was found by.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.inner.arg0(name);
        self
    }

    /// Sets a variable of the child's environment. The rest of it is this process's at the time of the start.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.inner.env(key, value);
        self
    }

    /// Sets variables; see [`env`](Command::env).
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Self {
        self.inner.envs(vars);
        self
    }

    /// Leaves a variable out.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.inner.env_remove(key);
        self
    }

    /// Leaves out all variables but those set after this.
    pub fn env_clear(&mut self) -> &mut Self {
        self.inner.env_clear();
        self
    }

    /// Sets the child's working directory. asyncio: `cwd`.
    #[doc(alias = "cwd")]
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.inner.current_dir(dir);
        self
    }

    /// Sets the child's standard input: inherited unless set; nothing with [`output`](Command::output).
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Sets the child's standard output: inherited unless set; a pipe with [`output`](Command::output).
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Sets the child's standard error: as [`stdout`](Command::stdout), and it can be [`merged`](Stdio::merged) with it.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Puts the child into a process group: 0 is a new one, led by it, which [`Child::kill_group`] can end with all that the
    /// child has started. A child that leads a group keeps its number, as a zombie once it has ended, until its
    /// [`Child`] is dropped: so the group can be killed after it, and no other.
    ///
    /// A group of its own does not get the terminal's Ctrl-C.
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.group = Some(group);
        self
    }

    /// Has the child begin a session, and so a group; see [`process_group`](Command::process_group). It has no controlling
    /// terminal then, unless it is given [one of its own](Stdio::pty). asyncio: `start_new_session`.
    ///
    /// The standard library can do this only between fork and exec, so starting takes longer.
    #[doc(alias = "start_new_session")]
    pub fn session(&mut self, session: bool) -> &mut Self {
        self.session = session;
        self
    }

    /// Sets the size of a [pseudo-terminal](Stdio::pty), in rows and columns: 24 and 80 unless set.
    pub fn pty_size(&mut self, rows: u16, columns: u16) -> &mut Self {
        self.terminal_size = (rows, columns);
        self
    }

    /// Sets the child's user.
    pub fn uid(&mut self, id: u32) -> &mut Self {
        self.inner.uid(id);
        self
    }

    /// Sets the child's group of users.
    pub fn gid(&mut self, id: u32) -> &mut Self {
        self.inner.gid(id);
        self
    }

    /// Whether the child, and its group if it leads one, is killed when its [`Child`] is dropped: not unless set. Killed or
    /// not, it is reaped in the background.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Sets how long [`output`](Command::output) and [`status`](Command::status) wait before they kill: for ever unless set.
    pub fn timeout(&mut self, limit: impl Into<Option<Duration>>) -> &mut Self {
        self.timeout = limit.into();
        self
    }

    /// Sets how many bytes [`output`](Command::output) collects of each stream before it kills: 64 MiB unless set.
    pub fn max_output(&mut self, bytes: usize) -> &mut Self {
        self.max_output = bytes;
        self
    }

    /// Has a thread wait for the child's end, as where there are no pidfds. For tests.
    #[doc(hidden)]
    pub fn watch_by_thread(&mut self, by_thread: bool) -> &mut Self {
        self.by_thread = by_thread;
        self
    }

    /// What is to be started.
    pub fn program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// The standard library's command, for what has no method here. Its standard streams and process group are set at each
    /// start, to what this one was told.
    pub fn as_std_mut(&mut self) -> &mut StdCommand {
        &mut self.inner
    }

    /// Starts the program. When this returns, it runs.
    ///
    /// # Errors
    /// [`SpawnError`]: what the system says of the program, the directory, the streams; too many descriptors or processes.
    /// Nothing is left behind then. Also if no loop is running on this thread.
    pub fn spawn(&mut self) -> Result<Child, SpawnError> {
        let defaults = Defaults {
            stdin: Stdio::inherit(),
            output: Stdio::inherit(),
        };
        self.spawn_with(&defaults)
    }

    pub(super) fn spawn_with(&mut self, defaults: &Defaults) -> Result<Child, SpawnError> {
        self.start(defaults)
            .map_err(|error| SpawnError::new(self.inner.get_program(), error))
    }

    /// Runs the program to its end. A pipe at one of its streams is closed at once. If this is dropped before, or the [time](Command::timeout) is up, the program is killed,
    /// with its group if it leads one.
    ///
    /// # Errors
    /// [`CommunicateError`].
    ///
    /// # Cancel safety
    /// Dropped, it kills the program.
    pub async fn status(&mut self) -> Result<ExitStatus, CommunicateError> {
        let mut child = self.spawn().map_err(CommunicateError::from_spawn)?;
        child.set_kill_on_drop(true);
        (child.stdin, child.stdout, child.stderr) = (None, None, None);
        Ok(communicate(&mut child, &[], 0, self.timeout).await?.status)
    }

    /// Runs the program to its end and collects what it prints: standard input is nothing and the others are pipes, unless
    /// set. If this is dropped before, or fails, the program is killed, with its group if it leads one.
    ///
    /// # Errors
    /// [`CommunicateError`]: it could not be started; more [output](Command::max_output) or [time](Command::timeout) than was
    /// allowed. What was printed until then is in it.
    ///
    /// # Cancel safety
    /// Dropped, it kills the program.
    ///
    /// ```
    /// use rondel_net::{Command, CommunicateErrorKind};
    /// use std::time::Duration;
    ///
    /// # rondel_loop::run(async {
    /// let output = Command::new("echo").arg("hello").output().await.unwrap();
    /// assert_eq!(output.stdout, b"hello\n");
    ///
    /// let error = Command::shell("echo begun; exec sleep 1000")
    ///     .timeout(Duration::from_millis(200))
    ///     .output()
    ///     .await
    ///     .unwrap_err();
    /// assert!(matches!(error.kind(), CommunicateErrorKind::TimedOut));
    /// assert_eq!(error.stdout(), b"begun\n");
    /// # }).unwrap();
    /// ```
    pub async fn output(&mut self) -> Result<Output, CommunicateError> {
        let defaults = Defaults {
            stdin: Stdio::null(),
            output: Stdio::piped(),
        };
        let mut child = self
            .spawn_with(&defaults)
            .map_err(CommunicateError::from_spawn)?;
        child.set_kill_on_drop(true);
        communicate(&mut child, &[], self.max_output, self.timeout).await
    }

    fn start(&mut self, defaults: &Defaults) -> io::Result<Child> {
        let local = LocalLoop::current().map_err(io::Error::other)?;
        orphan::look_after();
        let prepared = self.prepare(&local, defaults)?;
        let leads = self.lead(prepared.terminal);
        let [stdin, stdout, stderr] = prepared.theirs;
        self.inner.stdin(stdin).stdout(stdout).stderr(stderr);
        let spawned = self.inner.spawn();
        // The child's ends are the child's alone: with one of them open here there would be no end.
        self.inner
            .stdin(StdStdio::null())
            .stdout(StdStdio::null())
            .stderr(StdStdio::null());
        let exit = Exit::new(spawned?, leads);
        match Watch::begin(&local, exit.clone(), self.by_thread) {
            Ok(watch) => Ok(Child::new(watch, prepared.ours, self.kill_on_drop)),
            Err(error) => {
                // Nobody would notice its end: it must not have been started.
                let _ = exit.signal(rustix::process::Signal::KILL, None);
                exit.block();
                exit.let_go();
                exit.look();
                Err(error)
            }
        }
    }

    /// Says which group or session the child is to be in; whether it will lead it.
    fn lead(&mut self, terminal: Option<i32>) -> bool {
        let session = self.session || terminal.is_some();
        if session {
            let known = self.terminal.get_or_insert_with(|| {
                let terminal = Terminal::default();
                begin_session(&mut self.inner, &terminal);
                terminal
            });
            known.set(terminal);
            return true;
        }
        if let Some(group) = self.group {
            self.inner.process_group(group);
        }
        self.terminal.is_some() || self.group == Some(0)
    }

    fn prepare(&self, local: &LocalLoop, defaults: &Defaults) -> io::Result<Prepared> {
        let stdin = &self.stdin.as_ref().unwrap_or(&defaults.stdin).0;
        let stdout = &self.stdout.as_ref().unwrap_or(&defaults.output).0;
        let stderr = &self.stderr.as_ref().unwrap_or(&defaults.output).0;
        let program = Path::new(self.inner.get_program()).display().to_string();
        let named = |what: &str| Peer::named(format!("the {what} of {program}"));

        let mut ours = Streams::default();
        let mut pty = None;
        let mut on_pty = || -> io::Result<Theirs> {
            if pty.is_none() {
                pty = Some(pty::open(local, || named("terminal"), self.terminal_size)?);
            }
            let side: &Option<(Pty, _)> = &pty;
            let (_, side) = side.as_ref().expect("made just now");
            Ok(Theirs::Fd(side.try_clone()?))
        };
        let stdin = match stdin {
            Kind::Piped => ours.keep_stdin(stdio::pipe_to_child(local, named("standard input"))?),
            Kind::Pty => on_pty()?,
            Kind::Merged => return Err(not_to_merge()),
            other => stdio::plain(other)?.ok_or_else(not_to_merge)?,
        };
        let stdout_theirs = match stdout {
            Kind::Piped => {
                let pipe = stdio::pipe_from_child(local, named("standard output"))?;
                keep(&mut ours.stdout, pipe)
            }
            Kind::Pty => on_pty()?,
            Kind::Merged => return Err(not_to_merge()),
            other => stdio::plain(other)?.ok_or_else(not_to_merge)?,
        };
        let stderr_theirs = match stderr {
            Kind::Piped => {
                let pipe = stdio::pipe_from_child(local, named("standard error"))?;
                keep(&mut ours.stderr, pipe)
            }
            Kind::Pty => on_pty()?,
            Kind::Merged => stdout_theirs.duplicate(io::stdout().as_fd())?,
            other => stdio::plain(other)?.ok_or_else(not_to_merge)?,
        };
        let standard = [&self.stdin, &self.stdout, &self.stderr];
        let terminal = standard
            .iter()
            .position(|one| one.as_ref().is_some_and(Stdio::is_pty));
        ours.pty = pty.map(|(pty, _)| pty);
        Ok(Prepared {
            ours,
            theirs: [stdin, stdout_theirs, stderr_theirs],
            // One of three.
            terminal: terminal.and_then(|standard| i32::try_from(standard).ok()),
        })
    }
}

/// Both ends of all streams, before the start.
struct Prepared {
    ours: Streams,
    theirs: [Theirs; 3],
    /// Which of the standard descriptors is a pseudo-terminal, if one is.
    terminal: Option<i32>,
}

impl Streams {
    fn keep_stdin(&mut self, (writer, theirs): (PipeWriter, Theirs)) -> Theirs {
        self.stdin = Some(writer);
        theirs
    }
}

fn keep(place: &mut Option<PipeReader>, (reader, theirs): (PipeReader, Theirs)) -> Theirs {
    *place = Some(reader);
    theirs
}

fn not_to_merge() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "only standard error can be merged, with standard output",
    )
}

impl From<StdCommand> for Command {
    /// All but its standard streams and its process group is kept.
    fn from(inner: StdCommand) -> Self {
        let mut command = Self::new(OsString::new());
        command.inner = inner;
        command
    }
}
