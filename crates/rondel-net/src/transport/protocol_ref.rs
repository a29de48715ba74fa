//! [`ProtocolRef`]: a protocol, from outside.

use std::error::Error;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::transport::Transport;
use crate::transport::dispatch::Holds;

/// A protocol, to be looked at and asked from outside: also when its connection is gone. asyncio: what `create_connection`
/// returns beside the transport, and `get_protocol`.
///
/// It keeps the protocol, not the connection. A protocol that has one of its own keeps itself. `!Send`.
///
/// ```
/// use rondel_net::{Protocol, Transport, TcpStream};
/// use std::{io, net::TcpListener};
///
/// #[derive(Default)]
/// struct Counter {
///     bytes: usize,
/// }
///
/// impl Protocol for Counter {
///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
///         self.bytes += data.len();
///     }
/// }
///
/// # rondel_loop::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = TcpStream::connect(listener.local_addr()?).await?;
/// let (transport, counter) = stream.into_transport(Counter::default());
/// assert_eq!(counter.with(|counter, _| counter.bytes)?, 0);
/// # transport.abort();
/// # Ok::<(), io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct ProtocolRef<P> {
    cell: Rc<dyn Holds<P>>,
    transport: Transport,
}

impl<P> ProtocolRef<P> {
    pub(super) fn new(cell: Rc<dyn Holds<P>>, transport: Transport) -> Self {
        Self { cell, transport }
    }

    /// Calls `look` with the protocol and its transport, on which it may do as it likes: the protocol is told what has changed
    /// at the next turn.
    ///
    /// # Errors
    /// [`Busy`] if the protocol is running: this was called from one of its methods, or from inside another `with`.
    pub fn with<R>(&self, look: impl FnOnce(&mut P, &Transport) -> R) -> Result<R, Busy> {
        /// Even if `look` panics.
        struct GoOn<'t>(&'t Transport);

        impl Drop for GoOn<'_> {
            fn drop(&mut self) {
                self.0.connection().go_on_if_again();
            }
        }

        // Dropped after the borrow.
        let _go_on = GoOn(&self.transport);
        let Ok(mut protocol) = self.cell.protocol().try_borrow_mut() else {
            return Err(Busy(()));
        };
        Ok(look(&mut protocol, &self.transport))
    }

    /// The transport that the protocol was given.
    pub const fn transport(&self) -> &Transport {
        &self.transport
    }
}

impl<P> Clone for ProtocolRef<P> {
    fn clone(&self) -> Self {
        Self {
            cell: Rc::clone(&self.cell),
            transport: self.transport.clone(),
        }
    }
}

impl<P> fmt::Debug for ProtocolRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolRef")
            .field("protocol", &std::any::type_name::<P>())
            .field("transport", &self.transport)
            .finish()
    }
}

/// The protocol is running: one cannot have it a second time. See [`ProtocolRef::with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy(());

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the protocol is running")
    }
}

impl Error for Busy {}

impl From<Busy> for io::Error {
    fn from(busy: Busy) -> Self {
        Self::new(io::ErrorKind::ResourceBusy, busy)
    }
}
