//! One request, and its answer.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;
use rondel_loop::{ExceptionContext, LocalLoop};

use super::body::RequestBody;
use super::connect_info::ConnectInfo;
use super::patience::{Requests, Served, Serving};
use crate::error::BoxError;

/// The service as hyper asks it.
///
/// Written by hand, as is the future of an answer: a request and its answer are some hundreds of bytes each, and every step between
/// asynchronous functions would move them.
pub(super) struct Answering<S> {
    pub(super) service: Rc<S>,
    pub(super) info: ConnectInfo,
    pub(super) requests: Rc<Requests>,
    pub(super) body_limit: Option<u64>,
    pub(super) body_timeout: Option<Duration>,
}

impl<S, B> Service<Request<Incoming>> for Answering<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<Served<Either<B, Empty<Bytes>>>>;
    type Error = BoxError;
    type Future = Answer<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let serving = self.requests.serve(!request.body().is_end_stream());
        let asked = Asked {
            method: request.method().clone(),
            uri: request.uri().clone(),
            info: self.info.clone(),
        };
        let (limit, patience) = (self.body_limit, self.body_timeout);
        let mut request = request.map(|incoming| RequestBody::new(incoming, limit, patience));
        let call = if request.body().is_announced_too_large() {
            None
        } else {
            request.extensions_mut().insert(self.info.clone());
            Some(self.service.call(request))
        };
        Answer {
            call,
            asked,
            serving: Some(serving),
        }
    }
}

pin_project! {
    /// The service's answer. Its failure is reported and answered.
    pub(super) struct Answer<F> {
        // `None`: it is not asked, since more is announced than it takes.
        #[pin]
        call: Option<F>,
        asked: Asked,
        // Until it is the answer's.
        serving: Option<Serving>,
    }
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Served<Either<B, Empty<Bytes>>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = match this.call.as_pin_mut() {
            Some(call) => match ready!(call.poll(cx)) {
                Ok(response) => Ok(response),
                Err(error) => {
                    this.asked.report(error.into());
                    Err(StatusCode::INTERNAL_SERVER_ERROR)
                }
            },
            None => Err(StatusCode::PAYLOAD_TOO_LARGE),
        };
        let serving = this
            .serving
            .take()
            .expect("an answer is not polled after it was ready");
        Poll::Ready(Ok(match answered {
            Ok(response) => response.map(|body| Served::new(Either::Left(body), serving)),
            Err(status) => {
                let mut response = Response::new(Served::new(Either::Right(Empty::new()), serving));
                *response.status_mut() = status;
                response
            }
        }))
    }
}

/// What was asked, and by whom: for reports.
struct Asked {
    method: Method,
    uri: Uri,
    info: ConnectInfo,
}

impl Asked {
    #[cold]
    fn report(&self, error: BoxError) {
        let from = match self.info.peer() {
            Some(peer) => peer.to_string(),
            None => "somebody".to_owned(),
        };
        let (method, uri) = (&self.method, &self.uri);
        // A task runs, so a loop does.
        if let Ok(local) = LocalLoop::current() {
            let message = format!("the service failed on {method} {uri} from {from}");
            let error: Box<dyn Error> = error;
            let mut context = ExceptionContext::new(message).with_error(error);
            context.task = rondel_loop::current_task();
            local.call_exception_handler(&context);
        }
    }
}
