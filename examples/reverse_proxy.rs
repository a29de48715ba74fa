//! A reverse proxy: requests go to the least busy of several servers, bodies pass through piece by piece in both directions, and a
//! server that dies is passed over.
//!
//! It starts three servers and itself, sends them requests, stops one server in the middle, and says who answered.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use rondel::prelude::*;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::client::{self, ResponseBody, ResponseBodyError};
use rondel_hyper::http::header::{self, HeaderName};
use rondel_hyper::http::{HeaderMap, Request, Response, StatusCode, Uri};
use rondel_hyper::http_body::{Body, Frame, SizeHint};
use rondel_hyper::http_body_util::{BodyExt, Either, Full};
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::{ConnectInfo, RequestBody, RunningServer};
use rondel_hyper::{BoxError, Client, HttpServer};
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How long a server that failed is left alone, unless all have.
const REST: Duration = Duration::from_secs(1);

struct Backend {
    authority: String,
    under_way: Cell<usize>,
    answered: Cell<usize>,
    down: Cell<bool>,
}

struct Proxy {
    backends: Vec<Rc<Backend>>,
    client: Client,
}

/// Counts a request as under way as long as it lives: to the last byte of its answer.
struct UnderWay(Rc<Backend>);

impl UnderWay {
    fn at(backend: &Rc<Backend>) -> Self {
        backend.under_way.set(backend.under_way.get() + 1);
        Self(Rc::clone(backend))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

/// An answer on its way through, and its place among the requests under way.
struct PassedOn {
    body: ResponseBody,
    _under_way: UnderWay,
}

impl Body for PassedOn {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

type Answer = Either<PassedOn, Full<Bytes>>;

impl Proxy {
    fn new(authorities: impl IntoIterator<Item = String>) -> Rc<Self> {
        let backend = |authority| {
            Rc::new(Backend {
                authority,
                under_way: Cell::new(0),
                answered: Cell::new(0),
                down: Cell::new(false),
            })
        };
        Rc::new(Self {
            backends: authorities.into_iter().map(backend).collect(),
            client: Client::builder().redirects(0).user_agent(None).build(),
        })
    }

    /// The least busy of those that are up; of equals the one that has answered least.
    fn choose(&self, tried: &[Rc<Backend>]) -> Option<Rc<Backend>> {
        let untried = |backend: &&Rc<Backend>| !tried.iter().any(|one| Rc::ptr_eq(one, backend));
        let burden = |backend: &&Rc<Backend>| {
            let Backend {
                down,
                under_way,
                answered,
                ..
            } = &***backend;
            (down.get(), under_way.get(), answered.get())
        };
        self.backends
            .iter()
            .filter(untried)
            .min_by_key(burden)
            .cloned()
    }

    async fn pass_on(&self, request: Request<RequestBody>) -> Result<Response<Answer>, BoxError> {
        let (mut head, body) = request.into_parts();
        let info = head.extensions.get::<ConnectInfo>();
        if let Some(peer) = info.and_then(ConnectInfo::peer) {
            head.headers
                .append("x-forwarded-for", peer.ip().to_string().parse()?);
        }
        leave_out_hops(&mut head.headers);
        // What has no body can be sent again, elsewhere.
        let is_repeatable = body.is_end_stream();
        let mut body = Some(match is_repeatable {
            true => client::Body::empty(),
            false => client::Body::stream(body),
        });
        let mut tried = Vec::new();
        while let (Some(backend), Some(sent)) = (self.choose(&tried), body.take()) {
            let under_way = UnderWay::at(&backend);
            let mut request = Request::from_parts(head.clone(), sent);
            *request.uri_mut() = Uri::builder()
                .scheme("http")
                .authority(backend.authority.as_str())
                .path_and_query(head.uri.path_and_query().map_or("/", |path| path.as_str()))
                .build()?;
            match self.client.request(request).await {
                Ok(response) => {
                    backend.answered.set(backend.answered.get() + 1);
                    let mut response = response.map(|body| {
                        Either::Left(PassedOn {
                            body,
                            _under_way: under_way,
                        })
                    });
                    leave_out_hops(response.headers_mut());
                    return Ok(response);
                }
                Err(error) => {
                    if !backend.down.replace(true) {
                        eprintln!("{error}");
                    }
                    let resting = Rc::clone(&backend);
                    LocalLoop::current()?.call_later(REST, move || resting.down.set(false));
                    body = is_repeatable.then(client::Body::empty);
                    tried.push(backend);
                }
            }
        }
        let mut response = Response::new(Either::Right(Full::from("no server could be reached\n")));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        Ok(response)
    }
}

/// What is between neighbours only (RFC 9110, 7.6.1), and not for whoever comes behind.
fn leave_out_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let known = [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
    ];
    for name in named.iter().chain(&known) {
        headers.remove(name);
    }
}

/// A server behind the proxy: says who it is, and how much it was sent.
async fn start_backend(name: &'static str) -> io::Result<RunningServer> {
    let service = service_fn(move |request: Request<RequestBody>| async move {
        let from = request.headers().get("x-forwarded-for").cloned();
        let size = request.into_body().collect().await?.to_bytes().len();
        let from = from
            .as_ref()
            .and_then(|from| from.to_str().ok())
            .unwrap_or("-");
        let said = format!("{name}: {size} bytes from {from}");
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(said)))
    });
    let server = HttpServer::new().body_limit(None);
    server.serve(service, "127.0.0.1:0").await
}

fn main() -> Result<(), BoxError> {
    run(async {
        let mut backends = Vec::new();
        for name in ["first", "second", "third"] {
            backends.push(start_backend(name).await?);
        }
        let proxy = Proxy::new(backends.iter().map(|one| one.local_addrs()[0].to_string()));
        let service = service_fn({
            let proxy = Rc::clone(&proxy);
            move |request| {
                let proxy = Rc::clone(&proxy);
                async move { proxy.pass_on(request).await }
            }
        });
        let server = HttpServer::new()
            .body_limit(None)
            .serve(service, "127.0.0.1:0")
            .await?;
        let url = format!("http://{}/", server.local_addrs()[0]);

        let client = Client::new();
        let get = async || {
            let response = client.get(&url).await?;
            let is_ok = response.status().is_success();
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>((is_ok, body))
        };
        let sent = client.post(&url, vec![0; 5_000_000]).await?;
        let said = sent.into_body().collect().await?.to_bytes();
        println!("{}", String::from_utf8_lossy(&said));

        let (mut answered, mut failed) = (0, 0);
        for round in 0..30 {
            if round == 15 {
                backends.remove(1).shutdown(Duration::ZERO).await;
                println!("the second server stops");
            }
            for answer in gather((0..10).map(|_| get()).collect::<Vec<_>>()).await {
                match answer {
                    Ok((true, _)) => answered += 1,
                    _ => failed += 1,
                }
            }
        }
        println!("answered: {answered}, failed: {failed}");
        let shares: Vec<_> = proxy
            .backends
            .iter()
            .map(|one| one.answered.get())
            .collect();
        println!(
            "every server had a share: {}",
            shares.iter().all(|share| *share >= 40)
        );
        println!(
            "still under way: {}",
            proxy
                .backends
                .iter()
                .map(|one| one.under_way.get())
                .sum::<usize>()
        );
        server.shutdown(Duration::from_secs(5)).await;
        Ok::<(), BoxError>(())
    })?
}
