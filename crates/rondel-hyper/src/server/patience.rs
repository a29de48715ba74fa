//! How long an HTTP/1.1 connection may ask for nothing.
//!
//! hyper has a limit for heads of its own, for which it arms a timer, drops it, and goes round once more with every request. Here the
//! connection's one timer is left alone while requests come: when it fires, it finds that there was one since, and is armed for what
//! is left.
//!
//! ```text
//!   a request ── Serving ──┐
//!   its answer, all of it ─┴─> since when nothing is asked ──> Watched: one timer, which looks once in a while
//! ```

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Timer;
use pin_project_lite::pin_project;
use rondel_loop::time::{Sleep, sleep_until};

use crate::timer::LoopTimer;

/// What is known of a connection's requests.
#[derive(Debug)]
pub(super) struct Requests {
    /// Under way, to the last piece of the answer.
    serving: Cell<usize>,
    /// When the last one ended, or the connection began.
    since: Cell<Instant>,
    /// Something of an answer has not been sent yet; told by the connection's I/O.
    unsent: Arc<AtomicBool>,
}

impl Requests {
    pub(super) fn none() -> Rc<Self> {
        Rc::new(Self {
            serving: Cell::new(0),
            since: Cell::new(LoopTimer.now()),
            unsent: Arc::default(),
        })
    }

    /// Whether sending waits for the client, to be told by the connection's I/O.
    pub(super) const fn unsent(&self) -> &Arc<AtomicBool> {
        &self.unsent
    }

    /// A request is there.
    pub(super) fn serve(self: &Rc<Self>) -> Serving {
        self.serving.set(self.serving.get() + 1);
        Serving(Rc::clone(self))
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Serving(Rc<Requests>);

impl Drop for Serving {
    fn drop(&mut self) {
        let left = self.0.serving.get() - 1;
        self.0.serving.set(left);
        if left == 0 {
            self.0.since.set(LoopTimer.now());
        }
    }
}

pin_project! {
    /// An answer's body; its request is under way as long as it lives.
    pub(super) struct Served<B> {
        #[pin]
        body: B,
        serving: Serving,
    }
}

impl<B> Served<B> {
    pub(super) const fn new(body: B, serving: Serving) -> Self {
        Self { body, serving }
    }
}

impl<B: Body<Data = Bytes>> Body for Served<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Until the next look, where the clock cannot say more.
const HOUR: Duration = Duration::from_secs(60 * 60);

pin_project! {
    /// A connection that ends when nothing has been asked for too long: with `None` then.
    pub(super) struct Watched<C> {
        #[pin]
        connection: C,
        requests: Rc<Requests>,
        limit: Option<Duration>,
        // `None` before the first look.
        timer: Option<Pin<Box<Sleep>>>,
        // The timer has fired and was not armed again.
        fired: bool,
    }
}

impl<C> Watched<C> {
    pub(super) const fn new(
        connection: C,
        requests: Rc<Requests>,
        limit: Option<Duration>,
    ) -> Self {
        Self {
            connection,
            requests,
            limit,
            timer: None,
            fired: false,
        }
    }

    /// The connection inside.
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for Watched<C> {
    type Output = Option<C::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Output>> {
        let mut this = self.project();
        // First, so that what the connection waits for is what is said to be waited for.
        if let Some(timer) = this.timer.as_mut().filter(|_| !*this.fired) {
            *this.fired = timer.as_mut().poll(cx).is_ready();
        }
        if let Poll::Ready(output) = this.connection.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let Some(limit) = *this.limit else {
            return Poll::Pending;
        };
        // Armed: it will look. And while something is under way there is nothing to look for; its end comes through here.
        while (this.timer.is_none() || *this.fired) && this.requests.serving.get() == 0 {
            let now = LoopTimer.now();
            // A limit beyond what the clock can say is none.
            let Some(mut deadline) = this.requests.since.get().checked_add(limit) else {
                return Poll::Pending;
            };
            if deadline <= now {
                if !this.requests.unsent.load(Ordering::Relaxed) {
                    return Poll::Ready(None);
                }
                // Slow in hearing the last answer is not the same as silent.
                deadline = now.checked_add(limit).unwrap_or(now + HOUR);
            }
            let timer = this
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            timer.as_mut().get_mut().reset(deadline);
            *this.fired = false;
            ready!(timer.as_mut().poll(cx));
            *this.fired = true;
        }
        Poll::Pending
    }
}
