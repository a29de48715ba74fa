//! Child processes, the cores they are pinned to, and the CPU time they have used.

use std::fmt;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What was attempted, and what came in between.
#[derive(Debug)]
pub(crate) struct Error {
    attempted: String,
    source: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            attempted: message.into(),
            source: None,
        }
    }

    /// For `map_err`: the attempt as a phrase such as "bind 127.0.0.1:0".
    pub(crate) fn during<E: Into<io::Error>>(
        attempted: impl fmt::Display,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self {
            attempted: attempted.to_string(),
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.attempted),
            None => f.write_str(&self.attempted),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Which of the two cores of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Core {
    /// The contender's, the first that this process may use.
    Contender,
    /// The load generator's, the second; the first again on a machine that has one.
    Load,
}

/// Binds the calling thread, and the threads and processes that it starts from now on.
pub(crate) fn pin(core: Core) -> Result<(), Error> {
    let allowed = sched_getaffinity(None).map_err(Error::during("read the allowed cores"))?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let first = cores
        .next()
        .ok_or_else(|| Error::new("this process may use no core"))?;
    let chosen = match core {
        Core::Contender => first,
        Core::Load => cores.next().unwrap_or(first),
    };
    let mut set = CpuSet::new();
    set.set(chosen);
    sched_setaffinity(None, &set).map_err(Error::during(format_args!("pin to core {chosen}")))
}

/// Has the kernel kill this process when the one that started it is gone.
pub(crate) fn die_with_parent() -> Result<(), Error> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Error::during("ask for a signal when the parent dies"))
}

/// CPU time, user and system, of all threads of this process so far.
pub(crate) fn own_cpu_time() -> Duration {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
        .expect("every process can read its own CPU-time clock")
}

/// CPU time, user and system, of the children of this process that have ended and been waited for.
pub(crate) fn cpu_time_of_children() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a valid place for one rusage during the call.
    let code = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert_eq!(code, 0, "every process can ask for its children's usage");
    // SAFETY: the call has filled it in; and all zeroes were a valid one.
    let usage = unsafe { usage.assume_init() };
    [usage.ru_utime, usage.ru_stime]
        .map(|time| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000))
        .iter()
        .sum()
}

/// CPU time, user and system, of another process and its children so far, to the nanosecond.
pub(crate) fn cpu_time_of(pid: Pid) -> Result<Duration, Error> {
    let mut sum = cpu_time_of_one(pid)?;
    for child in children_of(pid) {
        sum += cpu_time_of_one(child)?;
    }
    Ok(sum)
}

/// Those that its first thread has started (proc(5)); none where the kernel does not say.
fn children_of(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let listed = listed.unwrap_or_default();
    let pids = listed.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(Pid::from_raw).collect()
}

/// Of all threads of one process (clock_getcpuclockid(3)).
fn cpu_time_of_one(pid: Pid) -> Result<Duration, Error> {
    let mut clock = 0;
    // SAFETY: `clock` is a valid place for one clock id during the call.
    let code = unsafe { libc::clock_getcpuclockid(pid.as_raw_nonzero().get(), &raw mut clock) };
    let found = match code {
        0 => read_clock(clock),
        code => Err(io::Error::from_raw_os_error(code)),
    };
    found.map_err(Error::during(format_args!(
        "read the CPU time of process {pid:?}"
    )))
}

/// The resident memory of another process and its children, in bytes.
pub(crate) fn resident_of(pid: Pid) -> Result<usize, Error> {
    let mut sum = resident_of_one(pid)?;
    for child in children_of(pid) {
        sum += resident_of_one(child)?;
    }
    Ok(sum)
}

fn resident_of_one(pid: Pid) -> Result<usize, Error> {
    let path = format!("/proc/{}/statm", pid.as_raw_nonzero());
    let doing = format!("read {path}");
    let text = std::fs::read_to_string(path).map_err(Error::during(&doing))?;
    let pages = text.split_whitespace().nth(1).and_then(|p| p.parse().ok());
    let pages: usize = pages.ok_or_else(|| Error::new(format!("{doing}: {text:?}")))?;
    Ok(pages * rustix::param::page_size())
}

/// Allows this process as many descriptors as it may have.
pub(crate) fn allow_descriptors() -> Result<(), Error> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(Error::during("raise the limit of descriptors"))
}

fn read_clock(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for one timespec during the call.
    match unsafe { libc::clock_gettime(clock, &raw mut time) } {
        0 => Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A child that is killed, and waited for, when it is dropped.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Child);

impl Guarded {
    /// Sleeps until the child has ended: `None` when it has not within the limit.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>, Error> {
        let attempt = format!("wait for process {}", self.0.id());
        let pidfd = pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty())
            .map_err(Error::during(&attempt))?;
        let limit = Timespec::try_from(limit)
            .map_err(|_| Error::new(format!("{attempt}: {limit:?} is too long")))?;
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))
            .map_err(Error::during(&attempt))?;
        let status = (ended > 0).then(|| self.0.wait().map_err(Error::during(&attempt)));
        status.transpose()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail only when it has ended and been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end and returns what it has printed; its errors go to ours.
///
/// Sleeps meanwhile, so that it takes nothing from what it measures. The output must fit into a pipe's
/// buffer (64 KiB, pipe(7)). A program that has not ended in time is killed.
pub(crate) fn output_of(command: &mut Command, limit: Duration) -> Result<String, Error> {
    let shown = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = Guarded(child.map_err(Error::during(format_args!("start {shown}")))?);
    match child.wait(limit)? {
        None => return Err(Error::new(format!("{shown} took too long and was killed"))),
        Some(status) if !status.success() => {
            return Err(Error::new(format!("{shown} failed, {status}")));
        }
        Some(_) => {}
    }
    let mut output = String::new();
    if let Some(stdout) = &mut child.0.stdout {
        let read = stdout.read_to_string(&mut output);
        read.map_err(Error::during(format_args!("read what {shown} has printed")))?;
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_returned_and_failure_is_an_error() {
        let limit = Duration::from_secs(60);
        let output = output_of(Command::new("echo").arg("hello"), limit);
        assert_eq!(output.unwrap(), "hello\n");
        let failed = output_of(&mut Command::new("false"), limit).unwrap_err();
        assert!(failed.to_string().contains("\"false\" failed"), "{failed}");
        let absent = output_of(&mut Command::new("/no/such/program"), limit).unwrap_err();
        assert!(absent.to_string().starts_with("start "), "{absent}");
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let endless = &mut Command::new("sleep");
        let error = output_of(endless.arg("1000"), Duration::from_millis(10)).unwrap_err();
        assert!(error.to_string().contains("took too long"), "{error}");
    }

    #[test]
    fn cpu_time_of_another_process_and_of_this_one_grow() {
        let me = rustix::process::getpid();
        let before = (cpu_time_of(me).unwrap(), own_cpu_time());
        let mut spun = 0_u64;
        while own_cpu_time() - before.1 < Duration::from_millis(1) {
            spun = std::hint::black_box(spun + 1);
        }
        assert!(cpu_time_of(me).unwrap() - before.0 >= Duration::from_millis(1));
    }
}
