//! How long an HTTP/1.1 connection may ask for nothing, and when hyper may let go of it.
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
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Timer;
use pin_project_lite::pin_project;
use rondel_loop::time::{Sleep, sleep_until};

use crate::io::Told;
use crate::timer::LoopTimer;

/// What is known of a connection's requests.
#[derive(Debug)]
pub(super) struct Requests {
    /// Under way, to the last piece of the answer.
    serving: Cell<usize>,
    /// When the last one ended, or the connection began.
    since: Cell<Instant>,
    /// Whether the last one had a body, whoever may be reading it still.
    with_body: Cell<bool>,
    /// What the connection's I/O says.
    told: Arc<Told>,
}

impl Requests {
    pub(super) fn none() -> Rc<Self> {
        Rc::new(Self {
            serving: Cell::new(0),
            since: Cell::new(LoopTimer.now()),
            with_body: Cell::new(false),
            told: Arc::default(),
        })
    }

    /// To be told by the connection's I/O.
    pub(super) const fn told(&self) -> &Arc<Told> {
        &self.told
    }

    /// When the last one ended, or the connection began.
    pub(super) fn since(&self) -> Instant {
        self.since.get()
    }

    /// A request is there.
    pub(super) fn serve(self: &Rc<Self>, with_body: bool) -> Serving {
        self.serving.set(self.serving.get() + 1);
        self.with_body.set(with_body);
        Serving(Rc::clone(self))
    }

    /// Whether hyper has nothing in hand, not even the beginning of a request: all that was read ended with a whole head, and
    /// what that asked for has been answered and sent.
    ///
    /// Said of a connection that waits: hyper has looked at all that it has read.
    fn is_all_done(&self) -> bool {
        self.serving.get() == 0
            && !self.with_body.get()
            && self.told.ends_a_head()
            && !self.told.is_unsent()
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

/// Without a request for so long, a connection is not worth the memory that hyper holds for it. Looked at as often, too.
const RESTLESS: Duration = Duration::from_secs(1);

/// What became of a connection.
#[derive(Debug)]
pub(super) enum Watch<T> {
    /// It ended by itself.
    Ended(T),
    /// Nothing was asked for too long.
    Silent,
    /// Nothing is asked, and nothing is in hand: hyper can let go of it.
    AtRest,
}

pin_project! {
    /// A connection, until it ends, or there is nothing to do for it.
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
    type Output = Watch<C::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Watch<C::Output>> {
        let mut this = self.project();
        // First, so that what the connection waits for is what is said to be waited for.
        if let Some(timer) = this.timer.as_mut().filter(|_| !*this.fired) {
            *this.fired = timer.as_mut().poll(cx).is_ready();
        }
        if let Poll::Ready(output) = this.connection.as_mut().poll(cx) {
            return Poll::Ready(Watch::Ended(output));
        }
        // Armed: it will look. And while something is under way there is nothing to look for; its end comes through here.
        while (this.timer.is_none() || *this.fired) && this.requests.serving.get() == 0 {
            let deadline = match next_look(this.requests, *this.limit) {
                Ok(deadline) => deadline,
                Err(over) => return Poll::Ready(over),
            };
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

/// When to look again at a connection that nothing is asked of; or that there is no need to.
fn next_look<T>(requests: &Requests, limit: Option<Duration>) -> Result<Instant, Watch<T>> {
    let (now, since) = (LoopTimer.now(), requests.since());
    let restless = since + RESTLESS;
    if restless <= now && requests.is_all_done() {
        return Err(Watch::AtRest);
    }
    // What is not done now may be, the next time.
    let next = restless.max(now + RESTLESS);
    // A limit beyond what the clock can say is none.
    match limit.and_then(|limit| since.checked_add(limit)) {
        // Slow in hearing the last answer is not the same as silent.
        Some(silent) if silent <= now && !requests.told.is_unsent() => Err(Watch::Silent),
        Some(silent) if silent > now => Ok(next.min(silent)),
        _ => Ok(next),
    }
}
