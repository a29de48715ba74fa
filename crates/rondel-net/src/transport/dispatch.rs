//! Calling a protocol: the one place from which its methods are called.
//!
//! ```text
//!   made ──> settle ──> receive ──> settle ──> … ──> lost
//!            pause or     │ data, end
//!            resume       └ until there is nothing, it is paused or closed, or others have their turn
//! ```
//!
//! One call through a table for each readiness event; all that is behind it is known to the compiler.

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use rondel_executor::PanicPayload;
use rondel_loop::ExceptionContext;

use crate::engine::{Attendant, Connection};
use crate::transport::Transport;
use crate::transport::kind::{Sealed, Step};
use crate::transport::protocol::ProtocolPanicked;

/// How many times in a row a protocol is told to pause or resume before others have their turn: one pause and one resume.
const SETTLES: usize = 2;

/// A protocol.
pub(super) struct ProtocolCell<P, Kind> {
    /// Borrowed only while the protocol runs, and never waited for: if it is, whoever came is told so.
    protocol: RefCell<P>,
    kind: PhantomData<Kind>,
}

/// A protocol, whatever its kind.
pub(super) trait Holds<P> {
    fn protocol(&self) -> &RefCell<P>;
}

impl<P, Kind> Holds<P> for ProtocolCell<P, Kind> {
    fn protocol(&self) -> &RefCell<P> {
        &self.protocol
    }
}

/// Why a protocol's methods are not called any more for now.
enum Pass {
    /// There is nothing to tell.
    Done,
    /// There is more, when others had their turn.
    More,
    /// There is another protocol now.
    Replaced,
    /// The connection is over, for this reason if there is one of ours.
    Over(Option<io::Error>),
}

impl<P: Sealed<Kind>, Kind: 'static> ProtocolCell<P, Kind> {
    pub(super) fn new(protocol: P) -> Rc<Self> {
        Rc::new(Self {
            protocol: RefCell::new(protocol),
            kind: PhantomData,
        })
    }

    fn pass(protocol: &mut P, transport: &Transport) -> Pass {
        let connection = transport.connection();
        if connection.untold_made() {
            protocol.made(transport);
        }
        loop {
            if !connection.is_replaced() {
                settle(protocol, transport);
            }
            if connection.is_replaced() {
                return Pass::Replaced;
            }
            if !connection.may_receive() {
                break;
            }
            if connection.is_allowance_spent() {
                return Pass::More;
            }
            match protocol.receive(transport) {
                Step::Some { more: true } => {}
                Step::Some { more: false } | Step::Nothing => {
                    if connection.is_replaced() {
                        return Pass::Replaced;
                    }
                    settle(protocol, transport);
                    break;
                }
                Step::NoBuffer => {
                    connection.abort();
                    return Pass::Over(Some(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "the protocol's get_buffer gave an empty buffer",
                    )));
                }
            }
        }
        if connection.is_over() {
            return Pass::Over(None);
        }
        Pass::Done
    }

    /// The last call.
    #[cold]
    fn lose(protocol: &mut P, transport: &Transport, error: Option<io::Error>) {
        let connection = transport.connection();
        connection.close_failed();
        let error = error.or_else(|| connection.loss());
        let this = connection.remove_attendant();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| protocol.lost(transport, error))) {
            report(connection, payload);
        }
        // Whoever calls has this cell, too, and lets go of it last.
        drop(this);
    }
}

fn settle<P: Sealed<Kind>, Kind: 'static>(protocol: &mut P, transport: &Transport) {
    for _ in 0..SETTLES {
        match transport.connection().untold_flow() {
            Some(paused) => protocol.paused(transport, paused),
            None => return,
        }
        if transport.connection().is_replaced() {
            return;
        }
    }
}

impl<P: Sealed<Kind>, Kind: 'static> Attendant for ProtocolCell<P, Kind> {
    fn attend(&self, connection: &Rc<Connection>) -> bool {
        let Ok(mut protocol) = self.protocol.try_borrow_mut() else {
            connection.set_again();
            return false;
        };
        let transport = Transport::new(Rc::clone(connection));
        let pass = catch_unwind(AssertUnwindSafe(|| Self::pass(&mut protocol, &transport)));
        match pass {
            // One that was replaced is not told that the connection is lost, even if it is.
            Ok(Pass::Done | Pass::Replaced) => {}
            Ok(Pass::More) => return true,
            Ok(Pass::Over(error)) => Self::lose(&mut protocol, &transport, error),
            Err(payload) => {
                report(connection, payload);
                connection.abort();
                if connection.is_replaced() {
                    // What panicked has handed the connection on before; the next one is told that it is lost.
                    return false;
                }
                let error = io::Error::other(ProtocolPanicked);
                Self::lose(&mut protocol, &transport, Some(error));
            }
        }
        false
    }
}

#[cold]
fn report(connection: &Connection, payload: Box<dyn Any + Send>) {
    let mut context = ExceptionContext::new(format!(
        "the protocol of the connection with {} panicked",
        connection.peer_name()
    ));
    context.panic = Some(PanicPayload::new(payload));
    connection.local_loop().call_exception_handler(&context);
}
