//! [`ResponseBody`]: what a server answers.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Sleep, Timer};
use rondel_executor::Waits;
use rondel_sync::semaphore::OwnedSemaphorePermit;

use super::body::Body;
#[cfg(feature = "decompression")]
use super::decode::Decoder;
use super::host::Host;
use super::pool::Pool;
use super::response_error::ResponseBodyError;
use crate::timer::LoopTimer;

/// What an answer says about how it came about. Every response has it in its extensions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResponseInfo {
    /// Where it comes from, after redirects.
    pub url: Uri,
    /// How many redirects were followed.
    pub redirects: usize,
}

/// The body of an answer, as it arrives; within the client's [timeout](super::ClientBuilder::body_timeout).
///
/// Read it by the crate `http-body-util`: `body.collect().await?.to_bytes()`; what comes from strangers inside of its `Limited`. Read
/// to the end, its connection serves the next request; dropped before, it ends its stream (HTTP/2) or closes its connection
/// (HTTP/1.1).
pub struct ResponseBody {
    incoming: Incoming,
    #[cfg(feature = "decompression")]
    decoder: Option<Decoder>,
    patience: Option<Duration>,
    /// Armed while nothing comes.
    alarm: Option<Pin<Box<dyn Sleep>>>,
    /// Held until the end.
    rest: Option<(Option<GiveBack>, OwnedSemaphorePermit)>,
}

/// A connection that can serve another request when the answer to this one has been read.
pub(super) struct GiveBack {
    pub(super) pool: Rc<Pool>,
    pub(super) host: Rc<Host>,
    pub(super) sender: http1::SendRequest<Body>,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        give_back: Option<GiveBack>,
        place: OwnedSemaphorePermit,
        patience: Option<Duration>,
    ) -> Self {
        let mut body = Self {
            incoming,
            #[cfg(feature = "decompression")]
            decoder: None,
            patience,
            alarm: None,
            rest: Some((give_back, place)),
        };
        if body.incoming.is_end_stream() {
            body.end();
        }
        body
    }

    #[cfg(feature = "decompression")]
    pub(super) fn decode_by(&mut self, decoder: Decoder) {
        self.decoder = Some(decoder);
    }

    /// The answer has been read.
    fn end(&mut self) {
        if let Some((Some(GiveBack { pool, host, sender }), place)) = self.rest.take() {
            pool.give_back(&host, sender);
            drop(place);
        }
    }

    /// What arrives, as it is sent.
    fn poll_raw(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            return self.poll_alarm(cx).map(Some);
        };
        self.alarm = None;
        match frame {
            Some(Ok(frame)) => {
                if self.incoming.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.rest = None;
                Poll::Ready(Some(Err(ResponseBodyError::http(error))))
            }
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn poll_alarm(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Frame<Bytes>, ResponseBodyError>> {
        if let Some(patience) = self.patience {
            let alarm = self.alarm.get_or_insert_with(|| LoopTimer.sleep(patience));
            if alarm.as_mut().poll(cx).is_ready() {
                self.alarm = None;
                return Poll::Ready(Err(ResponseBodyError::timed_out(patience)));
            }
        }
        // Not for the alarm.
        Waits::ANSWER.label(0);
        Poll::Pending
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        #[cfg(feature = "decompression")]
        if let Some(mut decoder) = self.decoder.take() {
            let polled = decoder.poll_frame(|| self.poll_raw(cx));
            self.decoder = Some(decoder);
            return polled;
        }
        self.poll_raw(cx)
    }

    fn is_end_stream(&self) -> bool {
        #[cfg(feature = "decompression")]
        if self.decoder.is_some() {
            return false;
        }
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        #[cfg(feature = "decompression")]
        if self.decoder.is_some() {
            return SizeHint::new();
        }
        self.incoming.size_hint()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("incoming", &self.incoming)
            .field("read", &self.rest.is_none())
            .finish_non_exhaustive()
    }
}
