//! rondel: one loop, default features, default settings.

use std::future::Future;
use std::io;
use std::net;
use std::time::Duration;

use ::rondel::net::{
    Command, Protocol, RecvBatch, ServerOptions, TcpListener, TcpStream, Transport, UdpSocket,
};
use ::rondel::poll::Epoll;
use ::rondel::{EventLoop, JoinError, RunOptions, Runner, Task};

use super::{Contender, DATAGRAM_BUFFER, Pool, Processes, Tasks, Timers, jobs_and_children};
use crate::workloads::procs::PROGRAM;

pub(super) const CONTENDER: Contender = Contender {
    name: "rondel",
    what: "rondel's event loop as it comes",
    micro: jobs_and_children::<Rondel>,
    serve: Some(serve),
    serve_datagrams: Some(serve_datagrams),
};

/// Datagrams received and sent by one system call, at most.
const BATCH: usize = 16;

/// The same loop, called back instead of awaited.
pub(super) const PROTOCOL: Contender = Contender {
    name: "rondel-protocol",
    what: "rondel's transports and protocols: no task, no buffer",
    micro: super::no_job,
    serve: Some(serve_protocol),
    serve_datagrams: None,
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

fn run_server(serving: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let mut builder = EventLoop::builder();
    if is_watched() {
        // Everything takes ten to fifty times as long, and so must the time after which a loop looks around.
        builder = builder.batch_time(Duration::from_millis(100));
    }
    if let Err(error) = Epoll::new() {
        // Valgrind does not know epoll_pwait2.
        builder = builder.selector(Epoll::coarse().map_err(|_| error)?);
    }
    let event_loop = builder.build().map_err(io::Error::other)?;
    let mut runner = Runner::with(event_loop, RunOptions::default());
    runner.run(serving).map_err(io::Error::other)?
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        // What fails is told by `connection_lost`, for which there is nothing to do.
        let _ = transport.write(data);
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
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

/// Whether this is being counted rather than timed: by strace, or by valgrind.
fn is_watched() -> bool {
    let traced = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    });
    traced || Epoll::new().is_err()
}
