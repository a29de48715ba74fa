//! Signals as a stream.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_core::Stream;
use rondel_executor::Waits;

use super::listeners::Inbox;
use super::number::Signal;
use super::{add_stream, tidy};
use crate::current;
use crate::state::LocalLoop;

/// The arrivals of `signal`, from now on. Any number of streams may listen to the same signal; each learns of it.
///
/// Arrivals that come faster than they are asked for are one: signals do not queue. While a stream listens, the signal does
/// not do what it did before; when the last one is dropped, it does again.
///
/// # Errors
/// `Unsupported` under a virtual clock; what the system says of the signal.
///
/// # Panics
/// If no loop is running on this thread.
///
/// ```
/// use rondel_loop::signal::{Signal, signal};
///
/// # rondel_loop::run(async {
/// let mut changes = signal(Signal::WINDOW_CHANGE).unwrap();
/// # std::process::Command::new("kill").args(["-WINCH", &std::process::id().to_string()]).status().unwrap();
/// changes.recv().await;
/// println!("the terminal has another size");
/// # }).unwrap();
/// ```
#[track_caller]
pub fn signal(signal: Signal) -> io::Result<SignalStream> {
    let local = current::expect("signal");
    let inbox = add_stream(local.state(), signal)?;
    Ok(SignalStream {
        local,
        signal,
        inbox,
    })
}

/// Waits for one Ctrl-C. From the first poll on, Ctrl-C no longer ends the process; once this is dropped, it does again.
///
/// # Errors
/// As [`signal`].
///
/// # Panics
/// When polled, if no loop is running on this thread.
///
/// # Cancel safety
/// Dropped, it stops listening.
pub async fn ctrl_c() -> io::Result<()> {
    signal(Signal::INTERRUPT)?.recv().await;
    Ok(())
}

/// The arrivals of a signal; see [`signal`].
pub struct SignalStream {
    local: LocalLoop,
    signal: Signal,
    inbox: Rc<Inbox>,
}

impl SignalStream {
    /// Waits for the next arrival; `None` when the loop is closed.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has used up no arrival.
    pub async fn recv(&mut self) -> Option<()> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](SignalStream::recv), for futures written by hand.
    pub fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Option<()>> {
        if self.inbox.arrived.take() {
            return Poll::Ready(Some(()));
        }
        if self.inbox.closed.get() {
            return Poll::Ready(None);
        }
        let before = self.inbox.waker.replace(Some(cx.waker().clone()));
        drop(before);
        Waits::SIGNAL.label(self.signal.as_raw().cast_unsigned());
        Poll::Pending
    }

    /// The signal listened to.
    pub fn signal(&self) -> Signal {
        self.signal
    }
}

impl Stream for SignalStream {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.poll_recv(cx)
    }
}

impl Drop for SignalStream {
    fn drop(&mut self) {
        self.inbox = Rc::default();
        tidy(self.local.state(), self.signal);
    }
}

impl fmt::Debug for SignalStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalStream")
            .field("signal", &self.signal)
            .finish_non_exhaustive()
    }
}
