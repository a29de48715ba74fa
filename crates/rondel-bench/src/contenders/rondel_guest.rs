//! rondel as a guest in tokio's thread: what that costs beside rondel alone.

use std::io;
use std::net;

use rondel::net::TcpListener;

use super::contender::Contender;
use super::rondel::echo;
use crate::workloads::jobs::no_job;

pub(super) const CONTENDER: Contender = Contender {
    name: "rondel-guest",
    what: "rondel's loop as a guest of tokio's current thread",
    needs: None,
    micro: no_job,
    serve: Some(serve),
    serve_datagrams: None,
    serve_tls: None,
    serve_http: None,
    serve_http_by_workers: None,
};

fn serve(listener: net::TcpListener) -> io::Result<()> {
    let ended = rondel_tokio::run(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            ::rondel::spawn(echo(stream));
        }
    });
    ended.map_err(io::Error::other)?
}
