//! [`KeepAlive`]: when a silent peer is asked whether it is still there.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// When the peer of a connection on which nothing arrives is asked whether it is still there, and after how many questions
/// without an answer the connection is given up: reading and writing then fail with `TimedOut`. The system does it by itself
/// (`SO_KEEPALIVE`; socket(7), tcp(7)).
///
/// What is not set is as the system has it: on Linux the first question after two hours, 9 of them, 75 seconds apart. Systems
/// count whole seconds, so that parts of one are rounded up. Linux takes times from 1 to 32767 s and 1 to 127 questions; what a
/// system does not take is an error where the option is used.
///
/// [`ListenOptions::keep_alive_with`](crate::ListenOptions::keep_alive_with),
/// [`ConnectOptions::keep_alive_with`](crate::ConnectOptions::keep_alive_with) and
/// [`TcpStream::set_keep_alive`](crate::TcpStream::set_keep_alive) take it.
///
/// ```
/// use rondel_net::{KeepAlive, TcpListener, TcpStream};
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// # let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
/// let stream = TcpStream::connect(listener.local_addr()).await?;
/// // Somebody who has left without a word is noticed after 60 + 3 × 10 seconds.
/// let minute = KeepAlive::new()
///     .idle(Duration::from_secs(60))
///     .interval(Duration::from_secs(10))
///     .count(3);
/// stream.set_keep_alive(minute)?;
/// # #[cfg(not(target_os = "openbsd"))]
/// assert_eq!(stream.keep_alive()?, Some(minute));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[must_use = "it does nothing unless a socket is given it"]
pub struct KeepAlive {
    /// How long nothing may arrive before the first question (`TCP_KEEPIDLE`). `None`: as the system has it.
    pub idle: Option<Duration>,
    /// How long an answer is waited for before the next question (`TCP_KEEPINTVL`). `None`: as the system has it.
    pub interval: Option<Duration>,
    /// How many questions may go without an answer (`TCP_KEEPCNT`). `None`: as the system has it.
    pub count: Option<u32>,
}

impl KeepAlive {
    /// Times and count as the system has them.
    pub const fn new() -> Self {
        Self {
            idle: None,
            interval: None,
            count: None,
        }
    }

    /// How long nothing may arrive before the first question (`TCP_KEEPIDLE`; `TCP_KEEPALIVE` on macOS).
    pub const fn idle(mut self, time: Duration) -> Self {
        self.idle = Some(time);
        self
    }

    /// How long an answer is waited for before the next question, or the end (`TCP_KEEPINTVL`).
    pub const fn interval(mut self, time: Duration) -> Self {
        self.interval = Some(time);
        self
    }

    /// How many questions may go without an answer (`TCP_KEEPCNT`).
    pub const fn count(mut self, questions: u32) -> Self {
        self.count = Some(questions);
        self
    }
}

/// Switches it on or off. The times come first, so that a socket whose times are refused is as it was in this.
pub(super) fn set(socket: impl AsFd, keep_alive: Option<KeepAlive>) -> io::Result<()> {
    if let Some(times) = keep_alive {
        set_times(&socket, times)?;
    }
    sockopt::set_socket_keepalive(&socket, keep_alive.is_some())
        .map_err(|error| crate::error::while_doing("set SO_KEEPALIVE", error.into()))
}

/// What is set; `None` if it is off.
pub(super) fn get(socket: impl AsFd) -> io::Result<Option<KeepAlive>> {
    if sockopt::socket_keepalive(&socket)? {
        times(&socket).map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(not(any(
    target_os = "haiku",
    target_os = "nto",
    target_os = "openbsd",
    target_os = "redox"
)))]
fn set_times(socket: impl AsFd, times: KeepAlive) -> io::Result<()> {
    use crate::error::while_doing;

    if let Some(time) = times.idle {
        sockopt::set_tcp_keepidle(&socket, time).map_err(|error| {
            while_doing(
                format!("set keep-alive's idle time to {time:?}"),
                error.into(),
            )
        })?;
    }
    if let Some(time) = times.interval {
        sockopt::set_tcp_keepintvl(&socket, time).map_err(|error| {
            while_doing(
                format!("set keep-alive's interval to {time:?}"),
                error.into(),
            )
        })?;
    }
    if let Some(count) = times.count {
        sockopt::set_tcp_keepcnt(&socket, count).map_err(|error| {
            while_doing(format!("set keep-alive's count to {count}"), error.into())
        })?;
    }
    Ok(())
}

#[cfg(not(any(
    target_os = "haiku",
    target_os = "nto",
    target_os = "openbsd",
    target_os = "redox"
)))]
fn times(socket: impl AsFd) -> io::Result<KeepAlive> {
    Ok(KeepAlive {
        idle: Some(sockopt::tcp_keepidle(&socket)?),
        interval: Some(sockopt::tcp_keepintvl(&socket)?),
        count: Some(sockopt::tcp_keepcnt(&socket)?),
    })
}

#[cfg(any(
    target_os = "haiku",
    target_os = "nto",
    target_os = "openbsd",
    target_os = "redox"
))]
fn set_times(_: impl AsFd, times: KeepAlive) -> io::Result<()> {
    if times == KeepAlive::new() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system has the same times of keep-alive for all connections",
    ))
}

#[cfg(any(
    target_os = "haiku",
    target_os = "nto",
    target_os = "openbsd",
    target_os = "redox"
))]
fn times(_: impl AsFd) -> io::Result<KeepAlive> {
    Ok(KeepAlive::new())
}
