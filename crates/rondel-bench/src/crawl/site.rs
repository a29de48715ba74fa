//! The site: pages of some kilobytes that link to one another, by rondel's own server, the same for all crawlers.

use std::fmt::Write;
use std::io;

use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::header::{CONTENT_TYPE, HeaderValue};
use rondel_hyper::http::{Request, Response, StatusCode};
use rondel_hyper::http_body_util::Full;
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::RequestBody;
use rondel_hyper::{BoxError, HttpServer};

use super::begin;
use crate::process::{Core, Error};

/// How many pages there are, the first among them.
pub(crate) const PAGES: u64 = 5000;

/// Every page links to the next in a tree, so that all are found, and to some others.
const CHILDREN: u64 = 8;
const OTHERS: u64 = 20;

/// Serves until the process is killed; says where on standard output.
pub(crate) fn serve() -> Result<(), Error> {
    begin(Core::Load)?;
    let pages: Vec<Bytes> = (0..PAGES).map(|number| page(number).into()).collect();
    let service = service_fn(move |request: Request<RequestBody>| {
        let answer = answer(&pages, request.uri().path());
        async move { Ok::<_, BoxError>(answer) }
    });
    let served = rondel::run(async {
        let server = HttpServer::new().serve(service, "127.0.0.1:0").await?;
        if let Some(addr) = server.local_addrs().first() {
            println!("http://{addr}/");
        }
        server.serve_forever().await
    });
    served
        .map_err(io::Error::other)
        .and_then(|served| served)
        .map_err(Error::during("serve the site"))
}

fn answer(pages: &[Bytes], path: &str) -> Response<Full<Bytes>> {
    let number = match path {
        "/" => Some(0),
        path => path
            .strip_prefix("/page/")
            .and_then(|number| number.parse::<usize>().ok()),
    };
    match number.and_then(|number| pages.get(number)) {
        Some(page) => {
            let mut answer = Response::new(Full::new(page.clone()));
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            answer.headers_mut().insert(CONTENT_TYPE, html);
            answer
        }
        None => {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }
    }
}

fn page(number: u64) -> String {
    let mut html =
        format!("<!doctype html>\n<title>Page {number}</title>\n<h1>Page {number}</h1>\n");
    let mut link = |to: u64| {
        // Page 0 has one name only, so that it is one page. A string takes whatever is written to it.
        if to > 0 {
            let _ = writeln!(html, "<p>See <a href=\"/page/{to}\">page {to}</a>.</p>");
        }
    };
    (CHILDREN * number + 1..=CHILDREN * (number + 1))
        .filter(|child| *child < PAGES)
        .for_each(&mut link);
    (1..=OTHERS)
        .map(|step| (number * 31 + step * 997) % PAGES)
        .for_each(&mut link);
    html.push_str(&"<p>Lorem ipsum dolor sit amet, consetetur sadipscing elitr.</p>\n".repeat(50));
    html
}
