//! tokio on one thread: a `LocalRuntime`, idiomatic use.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::Response;
use rondel_hyper::http_body_util::Full;
use rondel_hyper::hyper::server::conn::http1;
use rondel_hyper::hyper::service::service_fn;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::runtime::{Builder, LocalRuntime};
use tokio::sync::{Mutex, Semaphore, broadcast, mpsc};
use tokio::task::{self, JoinError, JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::contender::{Announce, Contender, DATAGRAM_BUFFER, IDIOMATIC_BUFFER, WORKERS};
use crate::workloads::jobs::all_jobs;
use crate::workloads::net::HELLO;
use crate::workloads::procs::PROGRAM;
use crate::workloads::runtime::{
    Broadcasts, Channels, Composes, Locks, Pool, Processes, Tasks, Timers,
};

pub(super) const CONTENDER: Contender = Contender {
    name: "tokio",
    what: "tokio's current thread by LocalRuntime; 16 KiB buffers",
    needs: None,
    micro: all_jobs::<Tokio>,
    serve: Some(serve),
    serve_datagrams: Some(serve_datagrams),
    serve_tls: Some(serve_tls),
    serve_http: Some(serve_http),
    serve_http_by_workers: Some(serve_http_by_workers),
};

pub(super) fn runtime() -> LocalRuntime {
    LocalRuntime::new().expect("tokio starts")
}

struct Tokio;

impl Tasks for Tokio {
    type Task<T: 'static> = JoinHandle<T>;

    fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
        runtime().block_on(main)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        task::spawn_local(future)
    }

    fn joined<T: 'static>(output: Result<T, JoinError>) -> T {
        output.expect("no task of a workload panics")
    }

    fn detach<T: 'static>(task: JoinHandle<T>) {
        drop(task);
    }

    fn yield_now() -> impl Future<Output = ()> {
        task::yield_now()
    }
}

impl Timers for Tokio {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }

    fn unbudgeted<T>(main: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        task::unconstrained(main)
    }
}

impl Pool for Tokio {
    async fn unblock(work: impl FnOnce() + Send + 'static) {
        task::spawn_blocking(work)
            .await
            .expect("the work does not panic");
    }
}

impl Locks for Tokio {
    type Mutex = Mutex<()>;
    type Semaphore = Semaphore;

    fn mutex() -> Mutex<()> {
        Mutex::new(())
    }

    fn lock(mutex: &Mutex<()>) -> impl Future<Output = impl Sized> {
        mutex.lock()
    }

    fn semaphore(permits: usize) -> Semaphore {
        Semaphore::new(permits)
    }

    async fn acquire(semaphore: &Semaphore) -> impl Sized {
        semaphore.acquire().await.expect("nobody closes it")
    }
}

impl Channels for Tokio {
    type Sender = mpsc::Sender<u64>;
    type Receiver = mpsc::Receiver<u64>;

    fn channel(bound: usize) -> (mpsc::Sender<u64>, mpsc::Receiver<u64>) {
        mpsc::channel(bound)
    }

    async fn send(sender: &mut mpsc::Sender<u64>, message: u64) {
        sender.send(message).await.expect("the receiver is there");
    }

    fn recv(receiver: &mut mpsc::Receiver<u64>) -> impl Future<Output = Option<u64>> {
        receiver.recv()
    }
}

impl Broadcasts for Tokio {
    type Announcer = broadcast::Sender<u64>;
    type Listener = broadcast::Receiver<u64>;

    fn broadcast(
        capacity: usize,
        receivers: usize,
    ) -> (broadcast::Sender<u64>, Vec<broadcast::Receiver<u64>>) {
        let (sender, first) = broadcast::channel(capacity);
        let mut all = vec![first];
        all.resize_with(receivers, || sender.subscribe());
        (sender, all)
    }

    async fn send_to_all(sender: &mut broadcast::Sender<u64>, value: u64) {
        sender.send(value).expect("there are receivers");
    }

    async fn receive(receiver: &mut broadcast::Receiver<u64>) -> u64 {
        receiver.recv().await.expect("none is missed")
    }
}

impl Composes for Tokio {
    type Set = JoinSet<usize>;

    async fn gather<F>(futures: Vec<F>) -> usize
    where
        F: Future<Output = usize> + 'static,
    {
        let mut set = JoinSet::new();
        for future in futures {
            set.spawn_local(future);
        }
        set.join_all().await.into_iter().sum()
    }

    fn set() -> JoinSet<usize> {
        JoinSet::new()
    }

    fn spawn_into(set: &mut JoinSet<usize>, future: impl Future<Output = usize> + 'static) {
        set.spawn_local(future);
    }

    async fn join_next(set: &mut JoinSet<usize>) -> Option<usize> {
        set.join_next().await.map(Self::joined)
    }
}

impl Processes for Tokio {
    async fn run_program() {
        let status = Command::new(PROGRAM).status().await;
        assert!(status.expect("it starts").success());
    }
}

fn serve(listener: net::TcpListener) -> io::Result<()> {
    runtime().block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            task::spawn_local(echo(stream));
        }
    })
}

fn serve_datagrams(socket: net::UdpSocket) -> io::Result<()> {
    runtime().block_on(async {
        let socket = UdpSocket::from_std(socket)?;
        let mut buffer = vec![0; DATAGRAM_BUFFER];
        loop {
            let (received, peer) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..received], peer).await?;
        }
    })
}

fn serve_tls(listener: net::TcpListener, config: Arc<ServerConfig>) -> io::Result<()> {
    runtime().block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let acceptor = TlsAcceptor::from(config);
        loop {
            let (stream, _) = listener.accept().await?;
            let acceptor = acceptor.clone();
            task::spawn_local(async move {
                stream.set_nodelay(true)?;
                let mut stream = acceptor.accept(stream).await?;
                let mut buffer = vec![0; IDIOMATIC_BUFFER];
                loop {
                    let received = stream.read(&mut buffer).await?;
                    if received == 0 {
                        return stream.shutdown().await;
                    }
                    stream.write_all(&buffer[..received]).await?;
                    stream.flush().await?;
                }
            });
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; IDIOMATIC_BUFFER];
    loop {
        let received = stream.read(&mut buffer).await?;
        if received == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..received]).await?;
    }
}

fn serve_http(listener: net::TcpListener) -> io::Result<()> {
    runtime().block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            task::spawn_local(answer_by_hyper(stream));
        }
    })
}

/// tokio's threads share one listener, and each other's tasks.
fn serve_http_by_workers(announce: Announce<'_>) -> io::Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        announce(listener.local_addr()?.port())?;
        let accepting = task::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                task::spawn(answer_by_hyper(stream));
            }
        });
        accepting.await.map_err(io::Error::other)?
    })
}

async fn answer_by_hyper(stream: TcpStream) -> io::Result<()> {
    let hello = service_fn(async |_| {
        let body = Full::new(Bytes::from_static(HELLO.as_bytes()));
        Ok::<_, Infallible>(Response::new(body))
    });
    stream.set_nodelay(true)?;
    // A client that leaves is no failure here.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), hello)
        .await;
    Ok(())
}
