//! One connection: from its first byte to its last answer.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use rondel_loop::time::{Sleep, sleep_until};
use rondel_loop::{ExceptionContext, LocalLoop};
use rondel_net::{StreamPair, StreamReader, StreamWriter};
use rondel_sync::Event;

use super::body::RequestBody;
use super::options::HttpServer;
use super::patience::{Requests, Served, Watch, Watched};
use super::version::{self, Version};
use crate::error::BoxError;
use crate::executor::LoopExecutor;
use crate::io::{Home, HyperIo};
use crate::timer::LoopTimer;

/// What is read at most before hyper has a connection back: a head, mostly.
const FIRST: usize = 4096;

/// Where a request comes from. Every request has it in its extensions. Cheap to clone.
///
/// ```
/// use rondel_hyper::http::Request;
/// use rondel_hyper::server::{ConnectInfo, RequestBody};
///
/// fn is_from_here(request: &Request<RequestBody>) -> bool {
///     let info = request.extensions().get::<ConnectInfo>();
///     info.and_then(ConnectInfo::peer).is_some_and(|peer| peer.ip().is_loopback())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ConnectInfo(Arc<Info>);

#[derive(Debug)]
struct Info {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    #[cfg(feature = "tls-core")]
    tls: Option<rondel_net::tls::SessionInfo>,
}

impl ConnectInfo {
    fn of(writer: &StreamWriter) -> Self {
        Self(Arc::new(Info {
            peer: writer.peer_addr(),
            local: writer.local_addr().ok(),
            #[cfg(feature = "tls-core")]
            tls: writer.tls(),
        }))
    }

    /// The other end; `None` if it is none of the Internet's.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// This end; likewise.
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// What TLS has agreed on, if the connection is encrypted.
    #[cfg(feature = "tls-core")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-core")))]
    pub fn tls(&self) -> Option<&rondel_net::tls::SessionInfo> {
        self.0.tls.as_ref()
    }
}

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

/// The service as hyper asks it.
trait HyperService<B>:
    Service<Request<Incoming>, Response = Response<Served<Either<B, Empty<Bytes>>>>, Error = BoxError>
{
}

impl<B, S> HyperService<B> for S where
    S: Service<
            Request<Incoming>,
            Response = Response<Served<Either<B, Empty<Bytes>>>>,
            Error = BoxError,
        >
{
}

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
    ) -> Pin<Box<Watched<UpgradeableConnection<HyperIo, impl HyperService<B> + use<S, B>>>>> {
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
    ) -> Pin<Box<http2::Connection<HyperIo, impl HyperService<B> + use<S, B>, LoopExecutor>>> {
        let io = HyperIo::with_early(pair, early);
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
    fn answering(&self) -> impl HyperService<B> + use<S, B> {
        let (limit, patience) = (self.options.body_limit, self.options.body_timeout);
        let requests = Rc::clone(&self.requests);
        let (service, info) = (Rc::clone(&self.service), self.info.clone());
        service_fn(move |request: Request<Incoming>| {
            let serving = requests.serve(!request.body().is_end_stream());
            let request = request.map(|incoming| RequestBody::new(incoming, limit, patience));
            let answer = answer(Rc::clone(&service), info.clone(), request);
            async move {
                let response = answer.await;
                Ok::<_, BoxError>(response.map(|body| Served::new(body, serving)))
            }
        })
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

/// Asks the service. Its failure is reported and answered.
async fn answer<S, B>(
    service: Rc<S>,
    info: ConnectInfo,
    mut request: Request<RequestBody>,
) -> Response<Either<B, Empty<Bytes>>>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    if request.body().is_announced_too_large() {
        return nothing_but(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    request.extensions_mut().insert(info.clone());
    match service.call(request).await {
        Ok(response) => response.map(Either::Left),
        Err(error) => {
            let from = match info.peer() {
                Some(peer) => peer.to_string(),
                None => "somebody".to_owned(),
            };
            report(
                format!("the service failed on {method} {uri} from {from}"),
                error.into(),
            );
            nothing_but(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn nothing_but<B>(status: StatusCode) -> Response<Either<B, Empty<Bytes>>> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response
}

fn report(message: String, error: BoxError) {
    // A task runs, so a loop does.
    if let Ok(local) = LocalLoop::current() {
        let error: Box<dyn Error> = error;
        let mut context = ExceptionContext::new(message).with_error(error);
        context.task = rondel_loop::current_task();
        local.call_exception_handler(&context);
    }
}
