//! A server for files and JSON, over HTTP/1.1 and HTTP/2.
//!
//! Without arguments it makes a small site, asks itself for all of it by the pooled client, says what came, and shuts down.
//! With an address it serves until Ctrl-C: `http_server 127.0.0.1:8080 some/folder`; then try `curl --http2-prior-knowledge`, or `wrk`.
#![allow(clippy::print_stdout, reason = "a program for people")]

use futures_util::stream::try_unfold;
use rondel::net::files::File;
use rondel::prelude::*;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::{Method, Request, Response, StatusCode, header};
use rondel_hyper::http_body::{Body, Frame};
use rondel_hyper::http_body_util::{BodyExt, Empty, Full, StreamBody};
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::RequestBody;
use rondel_hyper::{BoxError, Client, HttpServer};
use serde_json::json;
use std::cell::Cell;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;

/// Read from the disk at a time.
const PIECE: usize = 64 * 1024;

type Content = Pin<Box<dyn Body<Data = Bytes, Error = io::Error>>>;

struct Site {
    root: PathBuf,
    requests: Cell<u64>,
}

impl Site {
    async fn answer(&self, request: Request<RequestBody>) -> Result<Response<Content>, BoxError> {
        self.requests.set(self.requests.get() + 1);
        let (head, body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/status") => json_answer(&json!({
                "requests": self.requests.get(),
                "tasks": rondel::all_tasks().len(),
            })),
            (&Method::POST, "/sum") => {
                let bytes = body.collect().await?.to_bytes();
                match serde_json::from_slice::<Vec<i64>>(&bytes) {
                    Ok(numbers) => json_answer(&json!({ "sum": numbers.iter().sum::<i64>() })),
                    Err(error) => plain(StatusCode::BAD_REQUEST, error.to_string()),
                }
            }
            (&Method::GET | &Method::HEAD, path) => {
                let only_head = head.method == Method::HEAD;
                self.file(path, only_head).await
            }
            _ => plain(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, or POST to /sum"),
        }
    }

    /// A file, piece by piece as the client takes it.
    async fn file(&self, path: &str, only_head: bool) -> Result<Response<Content>, BoxError> {
        let Some(path) = below(&self.root, path) else {
            return plain(StatusCode::NOT_FOUND, "no such page");
        };
        let opened = match File::open(&path).await {
            Ok(file) => file.metadata().await.map(|about| (file, about)),
            Err(error) => Err(error),
        };
        let (file, about) = match opened {
            Ok((file, about)) if about.is_file() => (file, about),
            Ok(_) => return plain(StatusCode::NOT_FOUND, "no such page"),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return plain(StatusCode::FORBIDDEN, "not for you");
            }
            Err(_) => return plain(StatusCode::NOT_FOUND, "no such page"),
        };
        let pieces = try_unfold(file, async |mut file| {
            let piece = file.read(PIECE).await?;
            let frame = Frame::data(Bytes::from(piece));
            let is_last = frame.data_ref().is_none_or(Bytes::is_empty);
            Ok((!is_last).then_some((frame, file)))
        });
        let content: Content = match only_head {
            true => Box::pin(Empty::new().map_err(io::Error::other)),
            false => Box::pin(StreamBody::new(pieces)),
        };
        Ok(Response::builder()
            .header(header::CONTENT_TYPE, content_type(&path))
            .header(header::CONTENT_LENGTH, about.len())
            .body(content)?)
    }
}

/// The file that is meant, unless that would lead out of `root`.
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let mut found = root.to_path_buf();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => found.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    if path.ends_with('/') {
        found.push("index.html");
    }
    Some(found)
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn json_answer(value: &serde_json::Value) -> Result<Response<Content>, BoxError> {
    let mut response = plain(StatusCode::OK, value.to_string())?;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Result<Response<Content>, BoxError> {
    let content: Content = Box::pin(Full::new(text.into()).map_err(io::Error::other));
    Ok(Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(content)?)
}

/// Asks the server for this and that, and says what came.
async fn visit(url: &str) -> Result<(), BoxError> {
    let client = Client::new();
    for path in ["/", "/big.bin", "/nothing", "/../secret", "/status"] {
        let response = client.get(&format!("{url}{path}")).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let kind = head.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("-");
        println!("GET {path}: {}, {kind}, {} bytes", head.status, body.len());
    }
    for numbers in ["[1, 2, 39]", "[1, 2,"] {
        let response = client.post(&format!("{url}/sum"), numbers).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!(
            "POST {numbers}: {status}, {}",
            String::from_utf8_lossy(&body)
        );
    }
    println!("connections kept: {}", client.idle_connections());
    Ok(())
}

/// A site to show, removed when it goes.
struct Shown(PathBuf);

impl Shown {
    fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("rondel-site-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("index.html"), "<h1>Hello</h1>\n")?;
        std::fs::write(folder.join("big.bin"), vec![7; 3_000_000])?;
        Ok(Self(folder))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next();
    let (root, _shown) = match (&address, arguments.next()) {
        (_, Some(folder)) => (PathBuf::from(folder), None),
        (Some(_), None) => (std::env::current_dir()?, None),
        (None, None) => {
            let shown = Shown::new()?;
            (shown.0.clone(), Some(shown))
        }
    };
    let ended = run(async {
        let site = Rc::new(Site {
            root,
            requests: Cell::new(0),
        });
        let service = service_fn(move |request| {
            let site = Rc::clone(&site);
            async move { site.answer(request).await }
        });
        let target = address.as_deref().unwrap_or("127.0.0.1:0");
        let server = HttpServer::new().serve(service, target).await?;
        let url = format!("http://{}", server.local_addrs()[0]);
        // Ctrl-C cancels what is in the middle; the cleanup is waited for.
        bracket(
            server,
            async |server| {
                if address.is_none() {
                    return visit(&url).await;
                }
                println!("serving {url}, until Ctrl-C");
                Ok(server.serve_forever().await?)
            },
            async |server| {
                let report = server.shutdown(Duration::from_secs(5)).await;
                println!("cut off: {}", report.cancelled + report.aborted);
            },
        )
        .await
    });
    match ended {
        Err(RunError::Interrupted) => Ok(()),
        ended => ended?,
    }
}
