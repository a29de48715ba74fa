//! The loop as a guest: when it is given turns, and how it says that it wants one.
//!
//! ```text
//!   a socket, another thread ──> the loop's descriptor ──> AsyncFd ──┐
//!   a timer ──────────────────────────────────> tokio's sleep ───────┼──> the task that holds the guest ──> turns
//!   a wake on this thread ────> guest hook ──────────────────────────┘
//! ```

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rondel_loop::EventLoop;
use rondel_poll::Wait;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Sleep, sleep_until};

use crate::error::HostError;

/// How many turns the loop has before tokio has one.
const TURNS: u32 = 16;

/// A loop, in the hands of a task of tokio's.
pub(crate) struct Guest {
    event_loop: EventLoop,
    host: Rc<Host>,
    /// The loop's own descriptor, once more: readable when it wants a turn.
    door: AsyncFd<OwnedFd>,
    alarm: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// The task that holds the guest.
#[derive(Default)]
struct Host(Cell<Option<Waker>>);

impl Host {
    fn call(&self) {
        // Taken out while it is called: it is foreign code.
        if let Some(waker) = self.0.take() {
            waker.wake_by_ref();
            self.0.set(Some(waker));
        }
    }

    fn is_now(&self, waker: &Waker) {
        let known = self.0.take().filter(|known| known.will_wake(waker));
        self.0.set(Some(known.unwrap_or_else(|| waker.clone())));
    }
}

impl Guest {
    /// A new loop, as a guest of the runtime in which this is called.
    pub(crate) fn new() -> Result<Self, HostError> {
        let host = Rc::new(Host::default());
        let hook = {
            let host = Rc::clone(&host);
            move || host.call()
        };
        let event_loop = EventLoop::builder().guest_hook(hook).build()?;
        let door = open_door(&event_loop).map_err(HostError::Watch)?;
        Ok(Self {
            event_loop,
            host,
            door,
            alarm: None,
        })
    }

    pub(crate) fn event_loop(&mut self) -> &mut EventLoop {
        &mut self.event_loop
    }

    /// Gives the loop turns until it has nothing more to do, or tokio should have one; `until` is looked at after each. Then has the
    /// task woken for the next.
    pub(crate) fn poll_turns(
        &mut self,
        cx: &mut Context<'_>,
        until: impl Fn(&EventLoop) -> bool,
    ) -> Poll<Result<(), HostError>> {
        self.host.is_now(cx.waker());
        for _ in 0..TURNS {
            let more = match self.event_loop.run_once(Wait::Poll) {
                Ok(more) => more,
                Err(error) => return Poll::Ready(Err(error.into())),
            };
            if until(&self.event_loop) {
                return Poll::Ready(Ok(()));
            }
            if !more {
                return self.poll_wishes(cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Has the task woken when the loop wants a turn.
    fn poll_wishes(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HostError>> {
        loop {
            match self.door.poll_read_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(mut open)) => {
                    // Told once for all that happens until it is clear; what the loop did not take in its turn must not be waited for.
                    open.clear_ready();
                    if is_readable(self.door.get_ref()) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(HostError::Watch(error))),
            }
        }
        match self.event_loop.next_deadline() {
            None => self.alarm = None,
            Some(deadline) => {
                let (at, sleep) = self
                    .alarm
                    .get_or_insert_with(|| (deadline, Box::pin(sleep_until(deadline.into()))));
                if *at != deadline {
                    *at = deadline;
                    sleep.as_mut().reset(deadline.into());
                }
                if sleep.as_mut().poll(cx).is_ready() {
                    self.alarm = None;
                    cx.waker().wake_by_ref();
                }
            }
        }
        Poll::Pending
    }
}

/// tokio wants a descriptor for itself.
#[allow(
    deprecated,
    reason = "what may be unsound, a descriptor closed too early, cannot be: it is owned and never given out"
)]
fn open_door(event_loop: &EventLoop) -> io::Result<AsyncFd<OwnedFd>> {
    let text = "the loop's selector has no descriptor";
    let fd = event_loop
        .as_fd()
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, text))?;
    AsyncFd::with_interest(fd.try_clone_to_owned()?, Interest::READABLE)
}

fn is_readable(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    // What cannot be told is found out in another turn.
    poll(&mut fds, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("event_loop", &self.event_loop)
            .finish_non_exhaustive()
    }
}
