//! One request and its answer.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use http::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use rondel_executor::Waits;
use rondel_loop::timeout;

use super::body::Body;
use super::builder::Options;
use super::error::ClientErrorKind;
use super::host::{Host, Lent};
use super::pool::Pool;
use super::response::{GiveBack, ResponseBody};

/// Sends `request` to `host`: on a connection that is at hand, and if that proves dead, on a new one.
pub(super) async fn exchange(
    options: &Options,
    pool: &Rc<Pool>,
    host: &Rc<Host>,
    mut request: Request<Body>,
) -> Result<Response<ResponseBody>, ClientErrorKind> {
    add_headers(options, &mut request);
    let url = request.uri().clone();
    let named = request.headers().get(HOST).cloned();
    let waiting = Rc::clone(&host.places).acquire_owned();
    let place = within(options.place_timeout, ClientErrorKind::Busy, waiting).await?;
    let mut after = None;
    loop {
        let lent = host.lend(&pool.connector, after).await?;
        after = Some(host.number_of(&lent));
        let fresh = lent.is_fresh();
        // In case it has to be sent again.
        let again = if fresh { None } else { copy(&request) };
        let sending = send(lent, request);
        let sent = within(options.head_timeout, ClientErrorKind::TimedOut, sending).await?;
        let mut failure = match sent {
            Ok((response, sender)) => {
                let give_back = sender.map(|sender| GiveBack {
                    pool: Rc::clone(pool),
                    host: Rc::clone(host),
                    sender,
                });
                let patience = options.body_timeout;
                return Ok(response
                    .map(|incoming| ResponseBody::new(incoming, give_back, place, patience)));
            }
            Err(failure) => failure,
        };
        // What was kept, the server may have closed: that says nothing about the request, if it has not seen it.
        let again = match failure.take_message() {
            _ if fresh => None,
            Some(mut untouched) => {
                // But for what was made of it for the wire.
                *untouched.uri_mut() = url.clone();
                untouched.headers_mut().remove(HOST);
                untouched
                    .headers_mut()
                    .extend(named.clone().map(|named| (HOST, named)));
                Some(untouched)
            }
            None => again,
        };
        match again {
            Some(again) => request = again,
            None => return Err(ClientErrorKind::Http(failure.into_error())),
        }
    }
}

/// Sends it in the form that the connection's HTTP wants. Of HTTP/1.1 the connection comes back with the answer.
async fn send(
    lent: Lent,
    mut request: Request<Body>,
) -> Result<(Response<Incoming>, Option<http1::SendRequest<Body>>), TrySendError<Request<Body>>> {
    match lent {
        Lent::Http1 { mut sender, .. } => {
            *request.version_mut() = Version::HTTP_11;
            add_host(&mut request);
            leave_path(request.uri_mut());
            let answer = Waits::ANSWER.while_pending(sender.try_send_request(request));
            Ok((answer.await?, Some(sender)))
        }
        Lent::Http2 { mut sender, .. } => {
            *request.version_mut() = Version::HTTP_2;
            say_authority(&mut request);
            let answer = Waits::ANSWER.while_pending(sender.try_send_request(request));
            Ok((answer.await?, None))
        }
    }
}

/// The same request, if it may be sent although an earlier one was perhaps acted upon.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    if !is_idempotent(request.method()) {
        return None;
    }
    let mut copy = Request::new(request.body().again()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// RFC 9110, 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || [Method::PUT, Method::DELETE].contains(method)
}

fn add_headers(options: &Options, request: &mut Request<Body>) {
    let headers = request.headers_mut();
    if let Some(name) = &options.user_agent
        && !headers.contains_key(USER_AGENT)
    {
        headers.insert(USER_AGENT, name.clone());
    }
    if !headers.contains_key(ACCEPT) {
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    }
}

fn add_host(request: &mut Request<Body>) {
    if request.headers().contains_key(HOST) {
        return;
    }
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(without_secret(authority))
    {
        request.headers_mut().insert(HOST, host);
    }
}

/// HTTP/2 names the host in the URI alone (RFC 9113, 8.3.1): the one of a `Host` header, if there is one.
fn say_authority(request: &mut Request<Body>) {
    let asked = request.headers_mut().remove(HOST);
    let asked = asked.and_then(|host| Authority::from_maybe_shared(host).ok());
    let own = || {
        let authority = request.uri().authority()?;
        without_secret(authority).parse().ok()
    };
    let authority = asked.or_else(own);
    let mut parts = request.uri().clone().into_parts();
    parts.authority = authority;
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// The name and password that may be before a host are not for the wire.
fn without_secret(authority: &Authority) -> &str {
    authority.as_str().rsplit('@').next().unwrap_or_default()
}

/// HTTP/1.1 names the host in a header, and in the request only what is wanted of it.
fn leave_path(uri: &mut Uri) {
    let path = uri.path_and_query().cloned();
    *uri = path
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
        .into();
}

async fn within<F: Future>(
    limit: Option<Duration>,
    late: fn(Duration) -> ClientErrorKind,
    future: F,
) -> Result<F::Output, ClientErrorKind> {
    match limit {
        None => Ok(future.await),
        Some(limit) => timeout(limit, future).await.map_err(|_| late(limit)),
    }
}
