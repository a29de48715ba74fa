//! The embedded site's modern host: TLS, HTTP/2, compressed pages, `robots.txt`, a sitemap, and pages that work the second time.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rondel::net::tls::{Identity, ServerTls};
use rondel_hyper::HttpServer;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER,
};
use rondel_hyper::http::{HeaderValue, Request, Response, StatusCode};
use rondel_hyper::http_body_util::Full;
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::{RequestBody, RunningServer};

/// Pages that the others link to, and pages that only the sitemap names.
const PAGES: u64 = 300;
const HIDDEN: u64 = 50;

/// Every so manieth page is there only for who asks twice.
const FLAKY: u64 = 25;

pub struct Modern {
    server: RunningServer,
    /// PEM; whoever trusts it trusts this host.
    pub certificate: String,
}

struct Pages {
    /// As the certificate has it, and the port.
    authority: RefCell<String>,
    /// Those that have failed once.
    failed: RefCell<HashSet<String>>,
    in_hand: Cell<usize>,
    busiest: Rc<Cell<usize>>,
}

impl Modern {
    pub async fn start(busiest: Rc<Cell<usize>>) -> Result<Self, Box<dyn Error>> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes())?;
        let pages = Rc::new(Pages {
            authority: RefCell::default(),
            failed: RefCell::default(),
            in_hand: Cell::new(0),
            busiest,
        });
        let answering = Rc::clone(&pages);
        let service = service_fn(move |request: Request<RequestBody>| {
            let pages = Rc::clone(&answering);
            async move { Ok::<_, Infallible>(pages.answer(&request).await) }
        });
        let server = HttpServer::new()
            .tls(ServerTls::builder().identity(identity).build()?)
            .serve(service, (Ipv4Addr::LOCALHOST, 0))
            .await?;
        let port = server.local_addrs().first().map_or(0, SocketAddr::port);
        pages.authority.replace(format!("localhost:{port}"));
        Ok(Self {
            server,
            certificate,
        })
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.server.local_addrs().first().copied()
    }

    pub async fn close(&self) {
        self.server.shutdown(Duration::ZERO).await;
    }
}

impl Pages {
    async fn answer(&self, request: &Request<RequestBody>) -> Response<Full<Bytes>> {
        self.in_hand.update(|requests| requests + 1);
        self.busiest.set(self.busiest.get().max(self.in_hand.get()));
        // So that several are in hand at a time.
        rondel::yield_now().await;
        let answer = self.page(request.uri().path(), request.headers());
        self.in_hand.update(|requests| requests - 1);
        answer
    }

    fn page(&self, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let mut parts = path.split('/').skip(1);
        let kind = parts.next().unwrap_or_default();
        let number = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        match kind {
            "robots.txt" => plain(StatusCode::OK, self.robots()),
            "sitemap.xml" => plain(StatusCode::OK, self.sitemap()),
            "" => html(page(0), headers),
            "page" if number < PAGES => {
                if number % FLAKY == FLAKY - 1 && self.failed.borrow_mut().insert(path.to_owned()) {
                    return not_now();
                }
                html(page(number), headers)
            }
            "hidden" if number < HIDDEN => html("<title>Found</title>\n".to_owned(), headers),
            _ => plain(StatusCode::NOT_FOUND, "Sorry\n".to_owned()),
        }
    }

    fn robots(&self) -> String {
        format!(
            "User-agent: *\nDisallow: /private/\n\nSitemap: https://{}/sitemap.xml\n",
            self.authority.borrow(),
        )
    }

    fn sitemap(&self) -> String {
        let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n"
            .to_owned();
        for number in 0..HIDDEN {
            let authority = self.authority.borrow();
            // A string takes whatever is written to it.
            let _ = writeln!(
                xml,
                "<url><loc>https://{authority}/hidden/{number}</loc></url>"
            );
        }
        xml.push_str("</urlset>\n");
        xml
    }
}

/// Pages form a chain of tens, and each names something that is not for crawlers.
fn page(number: u64) -> String {
    let mut html = format!("<!doctype html>\n<title>Modern page {number}</title>\n");
    let mut link = |to: String| {
        // A string takes whatever is written to it.
        let _ = writeln!(html, "<p>See <a href=\"{to}\">there</a>.");
    };
    for next in (10 * number + 1..=10 * number + 10).filter(|next| *next < PAGES) {
        link(format!("/page/{next}"));
    }
    if number.is_multiple_of(10) {
        link(format!("/private/{number}"));
    }
    html.push_str(&"<p>Lorem ipsum dolor sit amet, consetetur sadipscing elitr.\n".repeat(100));
    html
}

fn html(text: String, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let takes_gzip = headers
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"));
    let packed = takes_gzip.then(|| gzip(&text)).flatten();
    let is_packed = packed.is_some();
    let mut answer = Response::new(Full::from(packed.unwrap_or_else(|| text.into_bytes())));
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

fn gzip(text: &str) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}

fn not_now() -> Response<Full<Bytes>> {
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "Not now\n".to_owned());
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("0"));
    answer
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
}
