//! One connection: from its first byte to its last answer.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use rondel_loop::time::{Sleep, sleep_until};
use rondel_net::{StreamPair, StreamReader, StreamWriter};
use rondel_sync::Event;

use super::answer::Answering;
use super::body::RequestBody;
use super::connect_info::ConnectInfo;
use super::options::HttpServer;
use super::patience::{Requests, Watch, Watched};
use super::version::{self, Version};
use crate::error::BoxError;
use crate::executor::LoopExecutor;
use crate::io::{Home, HyperIo};
use crate::timer::LoopTimer;

/// What is read at most before hyper has a connection back: a head, mostly.
const FIRST: usize = 4096;

/// Serves a connection until one of the two ends it, or until `closing` is set and what is under way is done.
pub(super) async fn serve<S, B>(
    options: &HttpServer,
    service: Rc<S>,
    closing: &Event,
    reader: StreamReader,
    writer: StreamWriter,
) where
    S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    let served = Serves {
        options,
        service,
        closing,
        info: ConnectInfo::of(&writer),
        requests: Requests::none(),
    };
    let mut pair = StreamPair::new(reader, writer);
    let found = served.in_time(version::detect(pair.reader_mut())).await;
    match found {
        Some((Version::Http1, early)) if options.http1 => {
            served.by_http1(pair, early).await;
        }
        Some((Version::Http2, early)) if options.http2 => {
            served.by_http2(pair, early).await;
        }
        // Nothing was asked, so nothing is owed: it is closed with the writer.
        _ => {}
    }
}

/// What hyper makes of a connection.
type Http1Connection<S> = UpgradeableConnection<HyperIo, Answering<S>>;

/// A connection, apart from its stream.
struct Serves<'a, S> {
    options: &'a HttpServer,
    service: Rc<S>,
    closing: &'a Event,
    info: ConnectInfo,
    requests: Rc<Requests>,
}

impl<S, B> Serves<'_, S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    /// Waits for the first bytes of a request: not for ever, and not beyond closing time. `None`: there will be none.
    async fn in_time<T>(&self, bytes: impl Future<Output = io::Result<Option<T>>>) -> Option<T> {
        let limit = self.options.header_timeout;
        let deadline = limit.and_then(|limit| self.requests.since().checked_add(limit));
        // Polled side by side rather than by `select` and `timeout`: a connection spends its life here, and these few are small.
        let mut timer = deadline.map(sleep_until);
        let (mut bytes, mut closing) = (pin!(bytes), pin!(self.closing.wait()));
        poll_fn(|cx| {
            let late = |timer: &mut Sleep| Pin::new(timer).poll(cx).is_ready();
            if timer.as_mut().is_some_and(late) || closing.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            bytes.as_mut().poll(cx).map(|found| found.ok().flatten())
        })
        .await
    }

    /// Whatever is asked is answered; in between, when nothing is asked for a while, hyper lets go of the connection: it holds
    /// 8 KiB for each.
    async fn by_http1(&self, mut pair: StreamPair, mut early: Vec<u8>) {
        loop {
            let home = Home::default();
            let mut watched = self.lend_to_http1(pair, early, &home);
            let watch = until(self.closing, watched.as_mut(), |watched| {
                watched.connection().graceful_shutdown();
            });
            let Watch::AtRest = watch.await else {
                // What a connection ends with is its client's doing, who has been told as far as can be.
                return;
            };
            drop(watched);
            let Some(rested) = home.take() else {
                return;
            };
            pair = rested;
            match self.in_time(first_bytes(pair.reader_mut())).await {
                Some(bytes) => early = bytes,
                None => return,
            }
        }
    }

    /// In a box, so that nothing of it is there while the connection is at rest.
    fn lend_to_http1(
        &self,
        pair: StreamPair,
        early: Vec<u8>,
        home: &Home,
    ) -> Pin<Box<Watched<Http1Connection<S>>>> {
        let io = HyperIo::lend(pair, early, Arc::clone(self.requests.told()), home);
        let options = self.options;
        let mut http1 = http1::Builder::new();
        http1
            .header_read_timeout(None)
            .keep_alive(options.keep_alive)
            .max_buf_size(options.header_bytes);
        let connection = http1.serve_connection(io, self.answering()).with_upgrades();
        let requests = Rc::clone(&self.requests);
        Box::pin(Watched::new(connection, requests, options.header_timeout))
    }

    async fn by_http2(&self, pair: StreamPair, early: Vec<u8>) {
        let mut connection = self.lend_to_http2(pair, early);
        // As above.
        let _ = until(self.closing, connection.as_mut(), |c| c.graceful_shutdown()).await;
    }

    /// In a box, since hardly any connection needs the room.
    fn lend_to_http2(
        &self,
        pair: StreamPair,
        early: Vec<u8>,
    ) -> Pin<Box<http2::Connection<HyperIo, Answering<S>, LoopExecutor>>> {
        let io = HyperIo::gathering(pair, early);
        let options = self.options;
        let mut http2 = http2::Builder::new(LoopExecutor);
        http2
            .timer(LoopTimer)
            .max_header_list_size(u32::try_from(options.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(options.max_streams)
            .keep_alive_interval(options.ping_interval);
        Box::pin(http2.serve_connection(io, self.answering()))
    }

    /// The service as hyper asks it.
    fn answering(&self) -> Answering<S> {
        Answering {
            service: Rc::clone(&self.service),
            info: self.info.clone(),
            requests: Rc::clone(&self.requests),
            body_limit: self.options.body_limit,
            body_timeout: self.options.body_timeout,
        }
    }
}

/// Waits until something arrives; `None` at the end.
async fn first_bytes(reader: &mut StreamReader) -> io::Result<Option<Vec<u8>>> {
    let received = poll_fn(|cx| reader.poll_receive(cx, FIRST, <[u8]>::to_vec)).await?;
    Ok((!received.is_empty()).then_some(received))
}

/// Runs a connection; when it is closing time, asks it to end.
async fn until<C: Future>(
    closing: &Event,
    mut connection: Pin<&mut C>,
    last_orders: impl FnOnce(Pin<&mut C>),
) -> C::Output {
    let mut closing = pin!(closing.wait());
    let mut last_orders = Some(last_orders);
    poll_fn(|cx| {
        // First, so that what the connection waits for is what is said to be waited for.
        let is_time = last_orders.is_some() && closing.as_mut().poll(cx).is_ready();
        if is_time && let Some(last_orders) = last_orders.take() {
            last_orders(connection.as_mut());
        }
        connection.as_mut().poll(cx)
    })
    .await
}
