//! smol on one thread: a `LocalExecutor`, leaked, as its documentation advises for speed, and run by
//! async-io's `block_on`, which drives the reactor on the same thread.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net;
use std::sync::Arc;
use std::time::Duration;

use async_channel as channel;
use async_executor::{LocalExecutor, StaticLocalExecutor};
use async_lock::{Mutex, Semaphore};
use futures_rustls::TlsAcceptor;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::Response;
use rondel_hyper::http_body_util::Full;
use rondel_hyper::hyper::server::conn::http1;
use rondel_hyper::hyper::service::service_fn;
use rustls::ServerConfig;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream, UdpSocket};
use smol::process::Command;
use smol::{Task, Timer, future};
use smol_hyper::rt::FuturesIo;

use super::contender::{Contender, DATAGRAM_BUFFER, IDIOMATIC_BUFFER};
use crate::workloads::jobs::all_jobs;
use crate::workloads::net::HELLO;
use crate::workloads::procs::PROGRAM;
use crate::workloads::runtime::{
    Broadcasts, Channels, Composes, Locks, Pool, Processes, Tasks, Timers,
};

pub(super) const CONTENDER: Contender = Contender {
    name: "smol",
    what: "async-executor's LocalExecutor and async-io; 16 KiB buffers",
    needs: None,
    micro: all_jobs::<Smol>,
    serve: Some(serve),
    serve_datagrams: Some(serve_datagrams),
    serve_tls: Some(serve_tls),
    serve_http: Some(serve_http),
    serve_http_by_workers: None,
};

thread_local! {
    static EXECUTOR: &'static StaticLocalExecutor = LocalExecutor::new().leak();
}

struct Smol;

impl Tasks for Smol {
    type Task<T: 'static> = Task<T>;

    fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
        let executor = EXECUTOR.with(|executor| *executor);
        async_io::block_on(executor.run(main))
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
        EXECUTOR.with(|executor| executor.spawn(future))
    }

    fn joined<T: 'static>(output: T) -> T {
        output
    }

    fn detach<T: 'static>(task: Task<T>) {
        task.detach();
    }

    fn yield_now() -> impl Future<Output = ()> {
        future::yield_now()
    }
}

impl Timers for Smol {
    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }
}

impl Pool for Smol {
    async fn unblock(work: impl FnOnce() + Send + 'static) {
        smol::unblock(work).await;
    }
}

impl Locks for Smol {
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

    fn acquire(semaphore: &Semaphore) -> impl Future<Output = impl Sized> {
        semaphore.acquire()
    }
}

impl Channels for Smol {
    type Sender = channel::Sender<u64>;
    type Receiver = channel::Receiver<u64>;

    fn channel(bound: usize) -> (channel::Sender<u64>, channel::Receiver<u64>) {
        channel::bounded(bound)
    }

    async fn send(sender: &mut channel::Sender<u64>, message: u64) {
        sender.send(message).await.expect("the receiver is there");
    }

    async fn recv(receiver: &mut channel::Receiver<u64>) -> Option<u64> {
        receiver.recv().await.ok()
    }
}

impl Broadcasts for Smol {
    type Announcer = async_broadcast::Sender<u64>;
    type Listener = async_broadcast::Receiver<u64>;

    fn broadcast(
        capacity: usize,
        receivers: usize,
    ) -> (
        async_broadcast::Sender<u64>,
        Vec<async_broadcast::Receiver<u64>>,
    ) {
        let (sender, first) = async_broadcast::broadcast(capacity);
        (sender, vec![first; receivers])
    }

    async fn send_to_all(sender: &mut async_broadcast::Sender<u64>, value: u64) {
        sender
            .broadcast_direct(value)
            .await
            .expect("there are receivers");
    }

    async fn receive(receiver: &mut async_broadcast::Receiver<u64>) -> u64 {
        receiver.recv_direct().await.expect("none is missed")
    }
}

impl Composes for Smol {
    type Set = FuturesUnordered<Task<usize>>;

    async fn gather<F>(futures: Vec<F>) -> usize
    where
        F: Future<Output = usize> + 'static,
    {
        join_all(futures).await.into_iter().sum()
    }

    fn set() -> Self::Set {
        FuturesUnordered::new()
    }

    fn spawn_into(set: &mut Self::Set, future: impl Future<Output = usize> + 'static) {
        set.push(Self::spawn(future));
    }

    fn join_next(set: &mut Self::Set) -> impl Future<Output = Option<usize>> {
        set.next()
    }
}

impl Processes for Smol {
    async fn run_program() {
        let status = Command::new(PROGRAM).status().await;
        assert!(status.expect("it starts").success());
    }
}

fn serve(listener: net::TcpListener) -> io::Result<()> {
    Smol::run(async {
        let listener = TcpListener::try_from(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            Smol::spawn(echo(stream)).detach();
        }
    })
}

fn serve_datagrams(socket: net::UdpSocket) -> io::Result<()> {
    Smol::run(async {
        let socket = UdpSocket::try_from(socket)?;
        let mut buffer = vec![0; DATAGRAM_BUFFER];
        loop {
            let (received, peer) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..received], peer).await?;
        }
    })
}

fn serve_tls(listener: net::TcpListener, config: Arc<ServerConfig>) -> io::Result<()> {
    Smol::run(async {
        let listener = TcpListener::try_from(listener)?;
        let acceptor = TlsAcceptor::from(config);
        loop {
            let (stream, _) = listener.accept().await?;
            let acceptor = acceptor.clone();
            Smol::spawn(async move {
                stream.set_nodelay(true)?;
                let mut stream = acceptor.accept(stream).await?;
                let mut buffer = vec![0; IDIOMATIC_BUFFER];
                loop {
                    let received = stream.read(&mut buffer).await?;
                    if received == 0 {
                        return stream.close().await;
                    }
                    stream.write_all(&buffer[..received]).await?;
                    stream.flush().await?;
                }
            })
            .detach();
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
    Smol::run(async {
        let listener = TcpListener::try_from(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            Smol::spawn(async move {
                let hello = service_fn(async |_| {
                    let body = Full::new(Bytes::from_static(HELLO.as_bytes()));
                    Ok::<_, Infallible>(Response::new(body))
                });
                stream.set_nodelay(true)?;
                // A client that leaves is no failure here.
                let _ = http1::Builder::new()
                    .serve_connection(FuturesIo::new(stream), hello)
                    .await;
                io::Result::Ok(())
            })
            .detach();
        }
    })
}
