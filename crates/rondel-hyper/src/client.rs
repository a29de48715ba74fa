//! The client: HTTP/1.1 and HTTP/2, connections kept and shared, redirects followed.
//!
//! ```text
//!   request ── redirects ── a place at its host ── a connection: kept, shared, or new ── hyper ── answer
//!                                  │                                                              │
//!                                  └──────────── given back when the body has been read ──────────┘
//! ```

mod body;
mod builder;
mod connect;
#[cfg(feature = "decompression")]
mod decode;
mod error;
mod exchange;
mod host;
mod origin;
mod pool;
mod redirect;
mod response;
mod response_error;

use std::fmt;
use std::rc::Rc;

use http::{Method, Request, Response, Uri};

use self::builder::Options;
use self::pool::Pool;

pub use self::body::Body;
pub use self::builder::ClientBuilder;
pub use self::error::{ClientError, ClientErrorKind};
pub use self::response::{ResponseBody, ResponseInfo};
pub use self::response_error::ResponseBodyError;

/// A client for HTTP/1.1 and HTTP/2, with a pool of connections. Cheap to clone; the clones share the pool.
///
/// HTTP/2 is spoken where the server offers it by ALPN, over one connection for each host; HTTP/1.1 elsewhere, over as many as
/// are needed at a time. A connection serves the next request when the body of the answer has been read to its end;
/// an answer that is dropped before closes its connection. Redirects are followed, each host has a limit, and every step a time
/// limit; see [`ClientBuilder`].
///
/// A request that a kept connection did not take, since the server had closed it meanwhile, is sent again on a new one;
/// one that may have been taken is sent again only if its method is idempotent (RFC 9110, 9.2.2) and its body can be repeated.
///
/// `!Send`: it belongs to the loop in which it is used. Proxies are not supported.
///
/// # Cancel safety
/// Dropping a request that is under way ends its HTTP/2 stream or closes its HTTP/1.1 connection; whether the server has acted
/// on it is not known.
///
/// ```
/// use rondel_hyper::http_body_util::BodyExt;
/// use rondel_hyper::Client;
/// # use rondel_hyper::{bytes::Bytes, http::{Request, Response}, http_body_util::Full, HttpServer};
/// # use rondel_hyper::{hyper::service::service_fn, server::RequestBody};
///
/// # rondel_loop::run(async {
/// # let hello = service_fn(async |_: Request<RequestBody>| {
/// #     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("hello"))))
/// # });
/// # let server = HttpServer::new().serve(hello, "127.0.0.1:0").await?;
/// # let url = format!("http://{}/", server.local_addrs()[0]);
/// let client = Client::new();
/// let response = client.get(&url).await?;
/// assert_eq!(response.status(), 200);
/// let text = response.into_body().collect().await?.to_bytes();
/// assert_eq!(text, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Client(Rc<Inner>);

struct Inner {
    options: Options,
    pool: Rc<Pool>,
}

impl Client {
    /// One with the defaults; see [`ClientBuilder`] for each.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Sets up a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    fn from_options(options: Options) -> Self {
        let pool = Pool::new(&options);
        Self(Rc::new(Inner { options, pool }))
    }

    /// Asks for what is at `url`.
    ///
    /// # Errors
    /// [`ClientError`]. An answer that says of itself that it is an error (404, 500) is an answer.
    pub async fn get(&self, url: &str) -> Result<Response<ResponseBody>, ClientError> {
        self.send(Method::GET, url, Body::empty()).await
    }

    /// Asks for what is at `url`, its body left out.
    ///
    /// # Errors
    /// As [`get`](Client::get).
    pub async fn head(&self, url: &str) -> Result<Response<ResponseBody>, ClientError> {
        self.send(Method::HEAD, url, Body::empty()).await
    }

    /// Sends `body` to `url`.
    ///
    /// # Errors
    /// As [`get`](Client::get).
    pub async fn post(
        &self,
        url: &str,
        body: impl Into<Body>,
    ) -> Result<Response<ResponseBody>, ClientError> {
        self.send(Method::POST, url, body.into()).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Body,
    ) -> Result<Response<ResponseBody>, ClientError> {
        let uri: Uri = url
            .parse()
            .map_err(|error| ClientError::new(&method, url, ClientErrorKind::Url(error)))?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        self.request(request).await
    }

    /// Sends a request with headers of your own. Its URI has to be absolute. `Host`, `User-Agent`, `Accept`, and with the
    /// feature `decompression` `Accept-Encoding` are added where they are missing.
    ///
    /// # Errors
    /// As [`get`](Client::get).
    pub async fn request<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, ClientError>
    where
        B: Into<Body>,
    {
        redirect::follow(&self.0.options, &self.0.pool, request.map(Into::into)).await
    }

    /// How many connections are kept for the next request, HTTP/2 ones included.
    pub fn idle_connections(&self) -> usize {
        self.0.pool.idle()
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.0.options)
            .field("idle_connections", &self.idle_connections())
            .finish()
    }
}
