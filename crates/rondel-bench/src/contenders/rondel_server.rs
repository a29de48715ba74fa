//! How rondel's servers are run.

use std::future::Future;
use std::io;
use std::time::Duration;

use ::rondel::poll::Epoll;
use ::rondel::{EventLoop, RunOptions, Runner};

/// Runs `serving` on a loop of its own.
pub(super) fn run_server(serving: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let mut builder = EventLoop::builder();
    if is_watched() {
        // Everything takes ten to fifty times as long, and so must the time after which a loop looks around.
        builder = builder.batch_time(Duration::from_millis(100));
    }
    if let Err(error) = Epoll::new() {
        // Valgrind does not know epoll_pwait2.
        builder = builder.selector(Epoll::coarse().map_err(|_| error)?);
    }
    let event_loop = builder.build().map_err(io::Error::other)?;
    let mut runner = Runner::with(event_loop, RunOptions::default());
    runner.run(serving).map_err(io::Error::other)?
}

/// Whether this is being counted rather than timed: by strace, or by valgrind.
fn is_watched() -> bool {
    let traced = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    });
    traced || Epoll::new().is_err()
}
