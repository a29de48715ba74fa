//! rondel under hyper: its server with all its defaults, and hyper driven by hand as its peers do it.

use std::convert::Infallible;
use std::io;
use std::net;

use rondel::net::TcpListener;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::Response;
use rondel_hyper::http_body_util::Full;
use rondel_hyper::hyper::server::conn::http1;
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::{BoxError, HttpServer, HyperIo};

use super::rondel::run_server;
use super::{Contender, no_job};
use crate::workloads::net::HELLO;

pub(super) const CONTENDER: Contender = Contender {
    name: "rondel-http",
    what: "rondel's HttpServer: limits, timeouts, both versions of HTTP",
    micro: no_job,
    serve: None,
    serve_datagrams: None,
    serve_tls: None,
    serve_http: Some(serve_http),
};

fn serve_http(listener: net::TcpListener) -> io::Result<()> {
    run_server(async {
        let listener = TcpListener::from_std(listener)?;
        let hello = service_fn(async |_| {
            Ok::<_, BoxError>(Response::new(Full::new(Bytes::from_static(
                HELLO.as_bytes(),
            ))))
        });
        HttpServer::new()
            .serve_on(hello, [listener])
            .serve_forever()
            .await
    })
}

pub(super) fn serve_bare(listener: net::TcpListener) -> io::Result<()> {
    run_server(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            ::rondel::spawn(async move {
                let hello = service_fn(async |_| {
                    let body = Full::new(Bytes::from_static(HELLO.as_bytes()));
                    Ok::<_, Infallible>(Response::new(body))
                });
                // A client that leaves is no failure here.
                let _ = http1::Builder::new()
                    .serve_connection(HyperIo::new(stream), hello)
                    .await;
            });
        }
    })
}
