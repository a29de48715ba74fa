//! Handlers: what a server runs for a connection.

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;

use rondel_executor::Spawner;
use rondel_loop::{ExceptionContext, LocalLoop, Task};

use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::tcp::stream::TcpStream;

/// What a server's handler may return: nothing, or a result without a value.
pub trait HandlerOutcome {
    /// The error that is to be reported, if it is one.
    fn into_error(self) -> Option<Box<dyn Error>>;
}

impl HandlerOutcome for () {
    fn into_error(self) -> Option<Box<dyn Error>> {
        None
    }
}

impl<E: Into<Box<dyn Error>>> HandlerOutcome for Result<(), E> {
    fn into_error(self) -> Option<Box<dyn Error>> {
        self.err().map(Into::into)
    }
}

/// Starts the task that handles a connection.
pub(super) type Start = Box<dyn Fn(&LocalLoop, TcpStream, SocketAddr) -> Task<()>>;

pub(super) fn start<H, R>(handler: H, limit: Option<usize>) -> Start
where
    H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
    R: HandlerOutcome + 'static,
{
    let handler = Rc::new(handler);
    Box::new(move |local, stream, peer| {
        let handler = Rc::clone(&handler);
        let (mut reader, writer) = stream.into_split();
        if let Some(limit) = limit {
            reader.set_limit(limit);
        }
        local
            .create_task(async move {
                let outcome = handler(reader, writer).await;
                if let Some(error) = outcome.into_error() {
                    report(peer, error);
                }
            })
            .named(format!("server {peer}"))
    })
}

fn report(peer: SocketAddr, error: Box<dyn Error>) {
    // A task runs, so a loop does.
    if let Ok(local) = LocalLoop::current() {
        let mut context =
            ExceptionContext::new(format!("the handler of the connection from {peer} failed"))
                .with_error(error);
        context.task = Spawner::current_task();
        local.call_exception_handler(&context);
    }
}
