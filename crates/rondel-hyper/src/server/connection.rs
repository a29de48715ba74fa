//! One connection: from its first byte to its last answer.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use rondel_executor::select;
use rondel_loop::{ExceptionContext, LocalLoop, timeout};
use rondel_net::{StreamPair, StreamReader, StreamWriter};
use rondel_sync::Event;

use super::body::RequestBody;
use super::options::HttpServer;
use super::patience::{Requests, Served, Watched};
use super::version::{self, Version};
use crate::error::BoxError;
use crate::executor::LoopExecutor;
use crate::io::HyperIo;
use crate::timer::LoopTimer;

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
    mut reader: StreamReader,
    writer: StreamWriter,
) where
    S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    let info = ConnectInfo::of(&writer);
    let first = version::detect(&mut reader);
    let first = async {
        match options.header_timeout {
            Some(limit) => timeout(limit, first).await.ok(),
            None => Some(first.await),
        }
    };
    let (version, early) = match select(first, closing.wait()).await {
        rondel_executor::Either::Left(Some(Ok(Some(found)))) => found,
        // Nothing was asked, so nothing is owed: it is closed with the writer.
        _ => return,
    };
    let allowed = match version {
        Version::Http1 => options.http1,
        Version::Http2 => options.http2,
    };
    if !allowed {
        return;
    }
    let requests = Requests::none();
    let pair = StreamPair::new(reader, writer);
    let io = HyperIo::with_early(pair, early).telling(Arc::clone(requests.unsent()));
    let answering = service_fn({
        let (limit, patience) = (options.body_limit, options.body_timeout);
        let requests = Rc::clone(&requests);
        move |request: Request<Incoming>| {
            let serving = requests.serve();
            let request = request.map(|incoming| RequestBody::new(incoming, limit, patience));
            let answer = answer(Rc::clone(&service), info.clone(), request);
            async move {
                let response = answer.await;
                Ok::<_, BoxError>(response.map(|body| Served::new(body, serving)))
            }
        }
    });
    // What a connection ends with is its client's doing, who has been told as far as can be.
    let _ = match version {
        Version::Http1 => {
            let mut http1 = http1::Builder::new();
            http1
                .header_read_timeout(None)
                .keep_alive(options.keep_alive)
                .max_buf_size(options.header_bytes);
            let connection = http1.serve_connection(io, answering).with_upgrades();
            // In a box, so that what is around it, and looked at with every request, lies together.
            let watched = Watched::new(Box::pin(connection), requests, options.header_timeout);
            until(closing, watched, |w| {
                w.connection().as_deref_mut().graceful_shutdown()
            })
            .await
            .unwrap_or(Ok(()))
        }
        Version::Http2 => {
            let mut http2 = http2::Builder::new(LoopExecutor);
            http2
                .timer(LoopTimer)
                .max_header_list_size(u32::try_from(options.header_bytes).unwrap_or(u32::MAX))
                .max_concurrent_streams(options.max_streams)
                .keep_alive_interval(options.ping_interval);
            let connection = http2.serve_connection(io, answering);
            until(closing, connection, |c| c.graceful_shutdown()).await
        }
    };
}

/// Runs a connection; when it is closing time, asks it to end.
async fn until<C: Future>(
    closing: &Event,
    connection: C,
    last_orders: impl FnOnce(Pin<&mut C>),
) -> C::Output {
    let mut connection = pin!(connection);
    match select(connection.as_mut(), closing.wait()).await {
        rondel_executor::Either::Left(output) => output,
        rondel_executor::Either::Right(_) => {
            last_orders(connection.as_mut());
            connection.await
        }
    }
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
