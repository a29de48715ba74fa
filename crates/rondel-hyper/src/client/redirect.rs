//! Following redirects (RFC 9110, 15.4).

use std::rc::Rc;

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap,
    LOCATION, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::{Method, Request, Response, StatusCode, Uri};
use iri_string::types::{UriAbsoluteStr, UriReferenceStr};

use super::body::Body;
use super::builder::Options;
use super::error::{ClientError, ClientErrorKind};
use super::exchange::exchange;
use super::origin::Origin;
use super::pool::Pool;
use super::response::{ResponseBody, ResponseInfo};

/// Sends `request`, and what redirects make of it.
pub(super) async fn follow(
    options: &Options,
    pool: &Rc<Pool>,
    mut request: Request<Body>,
) -> Result<Response<ResponseBody>, ClientError> {
    let mut redirects = 0;
    #[cfg(feature = "decompression")]
    let decodes = options.decode && super::decode::ask(request.headers_mut());
    loop {
        let (method, url) = (request.method().clone(), request.uri().clone());
        let fail = |kind| ClientError::new(&method, &url, kind);
        let origin = Origin::of(&url).map_err(fail)?;
        // Nobody follows: nothing need be remembered.
        let again = (options.redirects > 0).then(|| Again::of(&request));
        let host = pool.host(origin.clone());
        let mut response = exchange(options, pool, &host, request)
            .await
            .map_err(fail)?;
        let next = match again {
            None => None,
            Some(again) => where_to(&response, &url)
                .transpose()
                .map_err(fail)?
                .and_then(|next| again.redirected(response.status(), next)),
        };
        let Some(mut next) = next else {
            #[cfg(feature = "decompression")]
            if decodes && let Some(decoder) = super::decode::decoder_of(&mut response) {
                response.body_mut().decode_by(decoder);
            }
            let info = ResponseInfo { url, redirects };
            response.extensions_mut().insert(info);
            return Ok(response);
        };
        if redirects == options.redirects {
            return Err(fail(ClientErrorKind::TooManyRedirects(redirects)));
        }
        redirects += 1;
        next.headers_mut().remove(HOST);
        let elsewhere = Origin::of(next.uri())
            .ok()
            .is_none_or(|next| next != origin);
        if elsewhere {
            // They were meant for whoever was asked first.
            for secret in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                next.headers_mut().remove(secret);
            }
        }
        finish(response).await;
        request = next;
    }
}

/// Where the answer leads, if it leads anywhere.
fn where_to(response: &Response<ResponseBody>, from: &Uri) -> Option<Result<Uri, ClientErrorKind>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    let resolved = location
        .to_str()
        .ok()
        .and_then(|location| resolve(location, from));
    let unreadable = || String::from_utf8_lossy(location.as_bytes()).into_owned();
    Some(resolved.ok_or_else(|| ClientErrorKind::Location(unreadable())))
}

/// A reference as seen from `base` (RFC 3986, 5.2).
fn resolve(reference: &str, base: &Uri) -> Option<Uri> {
    let base = base.to_string();
    let base = UriAbsoluteStr::new(&base).ok()?;
    let reference = UriReferenceStr::new(reference).ok()?;
    // What follows `#` is for the reader, not for the server.
    let whole = reference.resolve_against(base).to_string();
    whole.split('#').next()?.parse().ok()
}

/// What is left of a request that was sent: enough to send it elsewhere.
struct Again {
    method: Method,
    headers: HeaderMap,
    body: Option<Body>,
}

impl Again {
    fn of(request: &Request<Body>) -> Self {
        Self {
            method: request.method().clone(),
            headers: request.headers().clone(),
            body: request.body().again(),
        }
    }

    /// The request that a redirect makes of it; `None` if it would have to be sent again and cannot be.
    fn redirected(self, status: StatusCode, to: Uri) -> Option<Request<Body>> {
        let Self {
            mut method,
            mut headers,
            body,
        } = self;
        let becomes_get = match status {
            StatusCode::SEE_OTHER => method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => method == Method::POST,
            _ => false,
        };
        let body = if becomes_get {
            method = Method::GET;
            for about_body in [
                CONTENT_ENCODING,
                CONTENT_LENGTH,
                CONTENT_TYPE,
                TRANSFER_ENCODING,
            ] {
                headers.remove(about_body);
            }
            Body::empty()
        } else {
            body?
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = to;
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// How much of a redirect's body is read for the sake of its connection.
const FEW: usize = 64 * 1024;

/// Reads what a redirect has to say besides, if it is short: so that its connection serves the next request.
async fn finish(response: Response<ResponseBody>) {
    use http_body_util::{BodyExt, Limited};
    // Longer, or failing: its connection is closed.
    let _ = Limited::new(response.into_body(), FEW).collect().await;
}
