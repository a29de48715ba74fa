//! tokio on one thread: a `LocalRuntime`, idiomatic use.

use std::future::Future;
use std::io;
use std::net;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::runtime::LocalRuntime;
use tokio::task::{self, JoinError, JoinHandle};

use super::{
    Contender, DATAGRAM_BUFFER, IDIOMATIC_BUFFER, Pool, Processes, Tasks, Timers, jobs_and_children,
};
use crate::workloads::procs::PROGRAM;

pub(super) const CONTENDER: Contender = Contender {
    name: "tokio",
    what: "tokio's current thread by LocalRuntime; 16 KiB buffers",
    micro: jobs_and_children::<Tokio>,
    serve: Some(serve),
    serve_datagrams: Some(serve_datagrams),
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
