//! rondel under hyper: its server with all its defaults, and hyper driven by hand as its peers do it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net;

use rondel::net::{TcpListener, Worker, Workers};
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::Response;
use rondel_hyper::http_body_util::Full;
use rondel_hyper::hyper::server::conn::http1;
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::{BoxError, HttpServer, HyperIo};

use super::contender::{Announce, Contender, WORKERS};
use super::rondel_server::run_server;
use crate::workloads::jobs::no_job;
use crate::workloads::net::HELLO;

pub(super) const CONTENDER: Contender = Contender {
    name: "rondel-http",
    what: "rondel's HttpServer: limits, timeouts, both versions of HTTP",
    needs: None,
    micro: no_job,
    serve: None,
    serve_datagrams: None,
    serve_tls: None,
    serve_http: Some(|listener| {
        run_server(async { serve_by_server(TcpListener::from_std(listener)).await })
    }),
    serve_http_by_workers: Some(|announce| by_workers(announce, serve_by_server)),
};

pub(super) fn serve_bare(listener: net::TcpListener) -> io::Result<()> {
    run_server(async { serve_by_hand(TcpListener::from_std(listener)).await })
}

pub(super) fn serve_bare_by_workers(announce: Announce<'_>) -> io::Result<()> {
    by_workers(announce, serve_by_hand)
}

/// A loop for each worker, and a listener for each loop.
fn by_workers<S>(announce: Announce<'_>, serve: fn(io::Result<TcpListener>) -> S) -> io::Result<()>
where
    S: Future<Output = io::Result<()>>,
{
    let workers = Workers::new().count(WORKERS).listen(([127, 0, 0, 1], 0))?;
    announce(workers.local_addrs()?[0].port())?;
    workers
        .run(async move |worker: Worker| serve(worker.take_listener(0)).await)
        .map(drop)
        .map_err(io::Error::other)
}

async fn serve_by_server(listener: io::Result<TcpListener>) -> io::Result<()> {
    let hello = service_fn(async |_| {
        let body = Full::new(Bytes::from_static(HELLO.as_bytes()));
        Ok::<_, BoxError>(Response::new(body))
    });
    let server = HttpServer::new().serve_on(hello, [listener?]);
    server.serve_forever().await
}

async fn serve_by_hand(listener: io::Result<TcpListener>) -> io::Result<()> {
    let listener = listener?;
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
}
