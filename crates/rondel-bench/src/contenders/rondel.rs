//! rondel: one loop, default features, default settings.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net;
use std::sync::Arc;
use std::time::Duration;

use ::rondel::net::{
    Command, Protocol, RecvBatch, ServerOptions, StreamReader, StreamWriter, TcpListener,
    TcpStream, Transport, UdpSocket, tls::ServerTls,
};
use ::rondel::sync::{Mutex, Semaphore, broadcast, mpsc};
use ::rondel::{JoinError, Task, TaskSet, gather, task_group};

use rustls::ServerConfig;

use super::contender::{Contender, DATAGRAM_BUFFER};
use super::rondel_server::run_server;
use crate::workloads::jobs::{all_jobs, no_job};
use crate::workloads::procs::PROGRAM;
use crate::workloads::runtime::{
    Broadcasts, Channels, Composes, Locks, Pool, Processes, Tasks, Timers,
};

pub(super) const CONTENDER: Contender = Contender {
    name: "rondel",
    what: "rondel's event loop as it comes",
    needs: None,
    micro: all_jobs::<Rondel>,
    serve: Some(serve),
    serve_datagrams: Some(serve_datagrams),
    serve_tls: Some(serve_tls),
    serve_http: Some(super::rondel_http::serve_bare),
    serve_http_by_workers: Some(super::rondel_http::serve_bare_by_workers),
};

/// Datagrams received and sent by one system call, at most.
const BATCH: usize = 16;

/// The same loop, called back instead of awaited.
pub(super) const PROTOCOL: Contender = Contender {
    name: "rondel-protocol",
    what: "rondel's transports and protocols: no task, no buffer",
    needs: None,
    micro: no_job,
    serve: Some(serve_protocol),
    serve_datagrams: None,
    serve_tls: Some(serve_protocol_tls),
    serve_http: None,
    serve_http_by_workers: None,
};

struct Rondel;

impl Tasks for Rondel {
    type Task<T: 'static> = Task<T>;

    fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
        ::rondel::run(main).expect("the loop runs")
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
        ::rondel::spawn(future)
    }

    fn joined<T: 'static>(output: Result<T, JoinError>) -> T {
        output.expect("no task of a workload panics")
    }

    fn detach<T: 'static>(task: Task<T>) {
        drop(task);
    }

    fn yield_now() -> impl Future<Output = ()> {
        ::rondel::yield_now()
    }

    fn call_soon(callback: impl FnOnce() + 'static) {
        ::rondel::call_soon(callback);
    }
}

impl Timers for Rondel {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        ::rondel::sleep(duration)
    }
}

impl Pool for Rondel {
    async fn unblock(work: impl FnOnce() + Send + 'static) {
        ::rondel::to_thread(work)
            .await
            .expect("a thread can be started");
    }
}

impl Locks for Rondel {
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

impl Channels for Rondel {
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

impl Broadcasts for Rondel {
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

impl Composes for Rondel {
    type Set = TaskSet<usize>;

    async fn gather<F>(futures: Vec<F>) -> usize
    where
        F: Future<Output = usize> + 'static,
    {
        gather(futures).await.into_iter().sum()
    }

    fn set() -> TaskSet<usize> {
        TaskSet::new()
    }

    fn spawn_into(set: &mut TaskSet<usize>, future: impl Future<Output = usize> + 'static) {
        set.spawn(future);
    }

    async fn join_next(set: &mut TaskSet<usize>) -> Option<usize> {
        set.join_next().await.map(Self::joined)
    }

    async fn group<F>(children: Vec<F>)
    where
        F: Future<Output = ()> + 'static,
    {
        let ended = task_group(async |group| {
            for child in children {
                group.spawn(async move {
                    child.await;
                    Ok::<_, Infallible>(())
                });
            }
            Ok(())
        });
        ended.await.expect("nobody fails or cancels");
    }
}

impl Processes for Rondel {
    async fn run_program() {
        let status = Command::new(PROGRAM).status().await;
        assert!(status.expect("it starts").success());
    }
}

fn serve(listener: net::TcpListener) -> io::Result<()> {
    run_server(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            ::rondel::spawn(echo(stream));
        }
    })
}

fn serve_protocol(listener: net::TcpListener) -> io::Result<()> {
    run_server(async {
        let listener = TcpListener::from_std(listener)?;
        ServerOptions::new()
            .serve_protocol_on(|| Echo, [listener])
            .serve_forever()
            .await
    })
}

fn serve_tls(listener: net::TcpListener, config: Arc<ServerConfig>) -> io::Result<()> {
    run_server(async {
        let listener = TcpListener::from_std(listener)?;
        ServerOptions::new()
            .tls(ServerTls::from(config))
            // A client that leaves without a farewell is no failure here.
            .serve_on(
                async |reader, writer| drop(echo_streams(reader, writer).await),
                [listener],
            )
            .serve_forever()
            .await
    })
}

fn serve_protocol_tls(listener: net::TcpListener, config: Arc<ServerConfig>) -> io::Result<()> {
    run_server(async {
        let listener = TcpListener::from_std(listener)?;
        ServerOptions::new()
            .tls(ServerTls::from(config))
            .serve_protocol_on(|| Echo, [listener])
            .serve_forever()
            .await
    })
}

fn serve_datagrams(socket: net::UdpSocket) -> io::Result<()> {
    run_server(async {
        let socket = UdpSocket::from_std(socket)?;
        let mut batch = RecvBatch::new(BATCH, DATAGRAM_BUFFER);
        loop {
            socket.recv_batch(&mut batch).await?;
            let answers: Vec<_> = batch.iter().map(|d| (d.bytes(), d.from())).collect();
            let mut sent = 0;
            while sent < answers.len() {
                sent += socket.send_batch(&answers[sent..]).await?;
            }
        }
    })
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        // What fails is told by `connection_lost`, for which there is nothing to do.
        let _ = transport.write(data);
    }
}

async fn echo_streams(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        let received = reader
            .receive(|bytes| writer.write(bytes).map(|_| bytes.len()))
            .await??;
        if received == 0 {
            return Ok(());
        }
        writer.drain().await?;
    }
}

pub(super) async fn echo(stream: TcpStream) -> io::Result<()> {
    loop {
        let received = stream
            .receive(|bytes| stream.write_now(bytes).map(|()| bytes.len()))
            .await??;
        if received == 0 {
            return Ok(());
        }
        stream.flush().await?;
    }
}
