//! monoio with the driver that its own probe picks, as its `main` macro does: io_uring where the
//! kernel allows it, else epoll. Its `sync` feature is on, without which no other thread may wake a task.

use std::cell::OnceCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use local_sync::mpsc::bounded;
use local_sync::semaphore::Semaphore;
use monoio::blocking::{BlockingTask, DefaultThreadPool, ThreadPool};
use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::udp::UdpSocket;
use monoio::net::{TcpListener, TcpStream};
use monoio::task::JoinHandle;
use monoio::{FusionDriver, RuntimeBuilder};

use super::contender::{Contender, DATAGRAM_BUFFER, IDIOMATIC_BUFFER};
use crate::workloads::jobs::most_jobs;
use crate::workloads::runtime::{Channels, Composes, Locks, Pool, Tasks, Timers};

pub(super) const CONTENDER: Contender = Contender {
    name: "monoio",
    what: "monoio on io_uring if the kernel allows it, else epoll; 16 KiB buffers",
    needs: None,
    micro: most_jobs::<Monoio>,
    serve: Some(serve),
    serve_datagrams: Some(serve_datagrams),
    serve_tls: None,
    serve_http: None,
    serve_http_by_workers: None,
};

/// More than the submissions of one turn at 500 connections, so that the ring never overflows.
const RING_ENTRIES: u32 = 4096;
/// Its pool has no default size. On one core more threads only get in each other's way.
const POOL_THREADS: usize = 4;

struct Monoio;

impl Tasks for Monoio {
    type Task<T: 'static> = JoinHandle<T>;

    fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
        RuntimeBuilder::<FusionDriver>::new()
            .with_entries(RING_ENTRIES)
            .enable_timer()
            .attach_thread_pool(Box::new(LazyPool(OnceCell::new())))
            .build()
            .expect("monoio starts")
            .block_on(main)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        monoio::spawn(future)
    }

    fn joined<T: 'static>(output: T) -> T {
        output
    }

    fn detach<T: 'static>(task: JoinHandle<T>) {
        drop(task);
    }

    /// It has none of its own; a task that wakes itself goes to the back of its queue.
    fn yield_now() -> impl Future<Output = ()> {
        let mut yielded = false;
        poll_fn(move |cx| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }
}

/// monoio's own pool, with its threads started at first use, as the other contenders start theirs.
struct LazyPool(OnceCell<DefaultThreadPool>);

impl ThreadPool for LazyPool {
    fn schedule_task(&self, task: BlockingTask) {
        self.0
            .get_or_init(|| DefaultThreadPool::new(POOL_THREADS))
            .schedule_task(task);
    }
}

impl Timers for Monoio {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(duration)
    }
}

impl Pool for Monoio {
    async fn unblock(work: impl FnOnce() + Send + 'static) {
        monoio::spawn_blocking(work).await.expect("the pool stays");
    }
}

/// By local-sync, of the same makers. It has no mutex: a semaphore of one permit is the nearest.
impl Locks for Monoio {
    type Mutex = Semaphore;
    type Semaphore = Semaphore;

    fn mutex() -> Semaphore {
        Semaphore::new(1)
    }

    async fn lock(mutex: &Semaphore) -> impl Sized {
        mutex.acquire().await.expect("nobody closes it")
    }

    fn semaphore(permits: usize) -> Semaphore {
        Semaphore::new(permits)
    }

    async fn acquire(semaphore: &Semaphore) -> impl Sized {
        semaphore.acquire().await.expect("nobody closes it")
    }
}

impl Channels for Monoio {
    type Sender = bounded::Tx<u64>;
    type Receiver = bounded::Rx<u64>;

    fn channel(bound: usize) -> (bounded::Tx<u64>, bounded::Rx<u64>) {
        bounded::channel(bound)
    }

    async fn send(sender: &mut bounded::Tx<u64>, message: u64) {
        sender.send(message).await.expect("the receiver is there");
    }

    fn recv(receiver: &mut bounded::Rx<u64>) -> impl Future<Output = Option<u64>> {
        receiver.recv()
    }
}

impl Composes for Monoio {
    type Set = FuturesUnordered<JoinHandle<usize>>;

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

fn serve(listener: net::TcpListener) -> io::Result<()> {
    Monoio::run(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            monoio::spawn(echo(stream));
        }
    })
}

fn serve_datagrams(socket: net::UdpSocket) -> io::Result<()> {
    Monoio::run(async {
        let socket = UdpSocket::from_std(socket)?;
        let mut buffer = vec![0; DATAGRAM_BUFFER];
        loop {
            let (received, returned) = socket.recv_from(buffer).await;
            let (received, peer) = received?;
            let (sent, slice) = socket.send_to(returned.slice(..received), peer).await;
            sent?;
            buffer = slice.into_inner();
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; IDIOMATIC_BUFFER];
    loop {
        let (received, returned) = stream.read(buffer).await;
        let received = received?;
        if received == 0 {
            return Ok(());
        }
        let (written, slice) = stream.write_all(returned.slice(..received)).await;
        written?;
        buffer = slice.into_inner();
    }
}
