//! tokio at its best over sockets: one 256 KiB buffer for all connections, and what a receive has
//! brought goes back in one send.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task;

use super::contender::{Contender, SHARED_BUFFER};
use super::tokio::runtime;
use crate::workloads::jobs::no_job;

pub(super) const CONTENDER: Contender = Contender {
    name: "tokio-tuned",
    what: "the same with one shared 256 KiB buffer and gathered writes; network only",
    needs: None,
    micro: no_job,
    serve: Some(serve),
    serve_datagrams: None,
    serve_tls: None,
    serve_http: None,
    serve_http_by_workers: None,
};

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; SHARED_BUFFER].into());
}

fn serve(listener: net::TcpListener) -> io::Result<()> {
    runtime().block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let mut echo = Echo {
                stream,
                unsent: Vec::new(),
                sent: 0,
            };
            task::spawn_local(poll_fn(move |cx| echo.poll(cx)));
        }
    })
}

struct Echo {
    stream: TcpStream,
    /// What the socket did not take at once. Nothing is received before it is gone.
    unsent: Vec<u8>,
    sent: usize,
}

impl Echo {
    /// Ready when the peer has closed. The shared buffer is borrowed within one poll only.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        SHARED.with_borrow_mut(|shared| {
            loop {
                ready!(self.poll_flush(cx))?;
                let mut buffer = ReadBuf::new(shared);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                let received = buffer.filled();
                if received.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let taken = match Pin::new(&mut self.stream).poll_write(cx, received) {
                    Poll::Ready(taken) => taken?,
                    Poll::Pending => 0,
                };
                if taken < received.len() {
                    self.unsent.extend_from_slice(&received[taken..]);
                }
            }
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let rest = &self.unsent[self.sent..];
            self.sent += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
        }
        self.unsent.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
