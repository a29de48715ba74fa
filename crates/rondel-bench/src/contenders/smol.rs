//! smol on one thread: a `LocalExecutor`, leaked, as its documentation advises for speed, and run by
//! async-io's `block_on`, which drives the reactor on the same thread.

use std::future::Future;
use std::io;
use std::net;
use std::time::Duration;

use async_executor::{LocalExecutor, StaticLocalExecutor};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream, UdpSocket};
use smol::process::Command;
use smol::{Task, Timer, future};

use super::{
    Contender, DATAGRAM_BUFFER, IDIOMATIC_BUFFER, Pool, Processes, Tasks, Timers, jobs_and_children,
};
use crate::workloads::procs::PROGRAM;

pub(super) const CONTENDER: Contender = Contender {
    name: "smol",
    what: "async-executor's LocalExecutor and async-io; 16 KiB buffers",
    micro: jobs_and_children::<Smol>,
    serve: Some(serve),
    serve_datagrams: Some(serve_datagrams),
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
