//! Handlers: what a server runs for a connection.

use std::cell::RefCell;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use rondel_executor::{PanicPayload, Spawner};
use rondel_loop::{ExceptionContext, LocalLoop, Task};

use crate::engine::{Connection, Handles};
use crate::peer::Peer;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
#[cfg(feature = "tls-core")]
use crate::tls::{ServerTls, start_server_side};
use crate::transport::endpoint::begin;
use crate::transport::kind::AnyProtocol;

/// What a server's handler may return: nothing, or a result without a value.
#[diagnostic::on_unimplemented(
    message = "a handler returns nothing or a `Result<(), _>`, not `{Self}`",
    note = "an error is reported to the loop's exception handler: it has to be one, or convert into a boxed one"
)]
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

/// Begins to handle a connection; gives the task that does, if there is one.
pub(super) type Start = Box<dyn Fn(&LocalLoop, Handles) -> Option<Task<()>>>;

/// What has to be done with a connection before it is served.
#[derive(Clone)]
pub(super) enum Prelude {
    None,
    #[cfg(feature = "tls-core")]
    Tls(ServerTls),
}

impl Prelude {
    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// `false` if it failed; the connection is closed then.
    async fn play(&self, connection: &Rc<Connection>) -> bool {
        match self {
            Self::None => {
                let _ = connection;
                true
            }
            #[cfg(feature = "tls-core")]
            Self::Tls(tls) => start_server_side(tls, connection).await.is_ok(),
        }
    }
}

/// A task for each connection.
pub(super) fn start<H, R>(handler: H, limit: Option<usize>, prelude: Prelude) -> Start
where
    H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
    R: HandlerOutcome + 'static,
{
    let handler = Rc::new(handler);
    Box::new(move |local, handles| {
        let handler = Rc::clone(&handler);
        let peer = handles.writer.connection().peer_name();
        let mut reader = StreamReader::new(handles.reader);
        let writer = StreamWriter::new(handles.writer);
        if let Some(limit) = limit {
            reader.set_limit(limit);
        }
        let name = format!("server {peer}");
        let prelude = prelude.clone();
        let span = writer.connection().span().clone();
        let serve = async move {
            if !prelude.play(writer.connection()).await {
                return;
            }
            let outcome = handler(reader, writer).await;
            if let Some(error) = outcome.into_error() {
                report(&peer, error);
            }
        };
        let task = span.enter(|| local.create_task(serve));
        Some(task.named(name))
    })
}

/// A protocol for each connection.
pub(super) fn start_protocol<P, Kind>(
    factory: impl FnMut() -> P + 'static,
    prelude: Prelude,
) -> Start
where
    P: AnyProtocol<Kind>,
    Kind: 'static,
{
    let make = Rc::new(protocol_maker(factory));
    Box::new(move |local, handles| {
        if prelude.is_none() {
            make(local, handles);
            return None;
        }
        let (make, prelude) = (Rc::clone(&make), prelude.clone());
        let name = format!("server {}", handles.writer.connection().peer_name());
        let here = local.clone();
        let span = handles.writer.connection().span().clone();
        let serve = async move {
            if prelude.play(handles.writer.connection()).await {
                make(&here, handles);
            }
        };
        let task = span.enter(|| local.create_task(serve));
        Some(task.named(name))
    })
}

/// Makes a protocol for a connection, and begins with it.
fn protocol_maker<P, Kind>(factory: impl FnMut() -> P + 'static) -> impl Fn(&LocalLoop, Handles)
where
    P: AnyProtocol<Kind>,
    Kind: 'static,
{
    let factory = RefCell::new(factory);
    move |local, handles| {
        let made = catch_unwind(AssertUnwindSafe(|| {
            // Accepting is not entered again from a factory: that is a callback's matter.
            let mut factory = factory.try_borrow_mut().ok()?;
            let span = handles.writer.connection().span();
            Some(span.enter(&mut *factory))
        }));
        match made {
            Ok(Some(protocol)) => drop(begin(handles, protocol)),
            Ok(None) => handles.writer.connection().abort(),
            Err(payload) => {
                let connection = handles.writer.connection();
                connection.abort();
                let mut context = ExceptionContext::new(format!(
                    "the protocol factory for the connection from {} panicked",
                    connection.peer_name()
                ));
                context.panic = Some(PanicPayload::new(payload));
                local.call_exception_handler(&context);
            }
        }
    }
}

fn report(peer: &Peer, error: Box<dyn Error>) {
    // A task runs, so a loop does.
    if let Ok(local) = LocalLoop::current() {
        let mut context =
            ExceptionContext::new(format!("the handler of the connection from {peer} failed"))
                .with_error(error);
        context.task = Spawner::current_task();
        local.call_exception_handler(&context);
    }
}
