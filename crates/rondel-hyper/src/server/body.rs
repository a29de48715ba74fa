//! [`RequestBody`]: what a client sends, within limits.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};

use crate::LoopTimer;

/// The body of a request, as it arrives; within the server's [limit](crate::HttpServer::body_limit) and
/// [timeout](crate::HttpServer::body_timeout).
///
/// Read it by the crate `http-body-util`: `body.collect().await?.to_bytes()`. What is not read when the answer is sent is
/// discarded, or the connection closed, as hyper sees fit.
pub struct RequestBody {
    incoming: Incoming,
    /// How many bytes may come yet.
    left: Option<u64>,
    limit: u64,
    patience: Option<Duration>,
    /// Armed while nothing comes.
    alarm: Option<Pin<Box<dyn Sleep>>>,
}

impl RequestBody {
    pub(super) const fn new(
        incoming: Incoming,
        limit: Option<u64>,
        patience: Option<Duration>,
    ) -> Self {
        Self {
            incoming,
            left: limit,
            limit: match limit {
                Some(limit) => limit,
                None => u64::MAX,
            },
            patience,
            alarm: None,
        }
    }

    /// Whether the client has announced more than the limit allows.
    pub(super) fn is_announced_too_large(&self) -> bool {
        self.left
            .is_some_and(|left| self.incoming.size_hint().lower() > left)
    }

    /// hyper's own body, without limit and timeout.
    pub fn into_incoming(self) -> Incoming {
        self.incoming
    }

    fn is_out_of_patience(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(patience) = self.patience else {
            return false;
        };
        let alarm = self.alarm.get_or_insert_with(|| LoopTimer.sleep(patience));
        alarm.as_mut().poll(cx).is_ready()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            if let Some(patience) = this.patience
                && this.is_out_of_patience(cx)
            {
                this.alarm = None;
                return Poll::Ready(Some(Err(BodyError(Kind::TooSlow(patience)))));
            }
            return Poll::Pending;
        };
        this.alarm = None;
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyError(Kind::Hyper(error))))),
            Some(Ok(frame)) => frame,
        };
        if let (Some(data), Some(left)) = (frame.data_ref(), &mut this.left) {
            match left.checked_sub(data.len() as u64) {
                Some(less) => *left = less,
                None => {
                    let limit = this.limit;
                    return Poll::Ready(Some(Err(BodyError(Kind::TooLarge(limit)))));
                }
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("incoming", &self.incoming)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// Why the body of a request could not be read to its end.
#[derive(Debug)]
pub struct BodyError(Kind);

#[derive(Debug)]
enum Kind {
    TooLarge(u64),
    TooSlow(Duration),
    Hyper(hyper::Error),
}

impl BodyError {
    /// Whether it is longer than the server's [limit](crate::HttpServer::body_limit): 413 is the answer to that.
    pub const fn is_too_large(&self) -> bool {
        matches!(self.0, Kind::TooLarge(_))
    }

    /// Whether nothing came for longer than the server's [timeout](crate::HttpServer::body_timeout): 408 is the answer to that.
    pub const fn is_too_slow(&self) -> bool {
        matches!(self.0, Kind::TooSlow(_))
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::TooLarge(limit) => write!(
                f,
                "the body of the request is longer than the limit of {limit} bytes"
            ),
            Kind::TooSlow(patience) => write!(
                f,
                "nothing of the request's body came for {patience:?}, which is the limit"
            ),
            Kind::Hyper(error) => write!(f, "reading the body of the request: {error}"),
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Hyper(error) => Some(error),
            Kind::TooLarge(_) | Kind::TooSlow(_) => None,
        }
    }
}
