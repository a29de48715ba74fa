//! [`DatagramAddr`]: the two kinds of addresses, and the system calls that know them.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use rondel_executor::Callback;
use rondel_loop::LocalLoop;

/// What the addresses of a datagram endpoint are: [`std::net::SocketAddr`] for UDP,
/// [`std::os::unix::net::SocketAddr`] for Unix sockets. There are no others.
///
/// A protocol that does not look at them serves both:
///
/// ```
/// use rondel_net::{DatagramAddr, DatagramProtocol, DatagramTransport};
///
/// struct Echo;
///
/// impl<A: DatagramAddr> DatagramProtocol<A> for Echo {
///     fn datagram_received(&mut self, transport: &DatagramTransport<A>, data: &[u8], from: A) {
///         let _ = transport.send_to(data, from);
///     }
/// }
/// ```
pub trait DatagramAddr: Calls {}

impl<A: Calls> DatagramAddr for A {}

/// How many datagrams one call brings at most.
pub(crate) const AT_ONCE: usize = 4;

/// A datagram's sender, or receiver, and the calls that an endpoint makes.
#[allow(unnameable_types, reason = "sealed: nobody else implements it")]
pub trait Calls: Clone + fmt::Debug + Send + Sync + 'static {
    /// How large a buffer has to be to receive into.
    #[doc(hidden)]
    const ROOM: usize;
    /// Whether sending on a connected socket may fail by what became of an earlier datagram.
    #[doc(hidden)]
    const ECHOES: bool;
    /// What is let go of with the socket.
    #[doc(hidden)]
    type Held: 'static;
    /// Watches for room at a receiver.
    #[doc(hidden)]
    type Room: Room;

    /// Receives what one call brings, at least one.
    #[doc(hidden)]
    fn receive(
        fd: BorrowedFd<'_>,
        buffer: &mut [u8],
        arrived: &mut [Arrived<Self>; AT_ONCE],
    ) -> io::Result<usize>;
    /// Sends one datagram, whole; to the connected peer if no address is given.
    #[doc(hidden)]
    fn send(fd: BorrowedFd<'_>, bytes: &[u8], to: Option<&Self>) -> io::Result<()>;
    /// Sends some, in order, at least one. An error belongs to the first.
    #[doc(hidden)]
    fn send_many<'b>(
        fd: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = (&'b [u8], Option<&'b Self>)>,
    ) -> io::Result<usize>;
    /// Where the socket is bound.
    #[doc(hidden)]
    fn local(fd: BorrowedFd<'_>) -> io::Result<Self>;
    /// Refuses what cannot be sent to.
    #[doc(hidden)]
    fn check(&self) -> io::Result<()>;
    #[doc(hidden)]
    fn is_same(&self, other: &Self) -> bool;
    /// What it is called in reports.
    #[doc(hidden)]
    fn name(&self) -> String;
    /// Whether a socket that has just taken nothing for an address is not going to say when it does again.
    #[doc(hidden)]
    fn lacks_room(fd: BorrowedFd<'_>) -> bool;
    /// Watches for room there, then.
    #[doc(hidden)]
    fn room(&self, local: &LocalLoop) -> io::Result<Self::Room>;
}

/// Says when a receiver has room, where the socket itself does not.
#[allow(unnameable_types, reason = "belongs to a sealed trait")]
pub trait Room: 'static {
    /// Whether there is room. If not, the callback is queued when there may be.
    #[doc(hidden)]
    fn is_there(&self) -> bool;
    #[doc(hidden)]
    fn set_callback(&self, callback: Rc<dyn Callback>);
}

/// The socket itself says it.
impl Room for Infallible {
    fn is_there(&self) -> bool {
        match *self {}
    }

    fn set_callback(&self, _: Rc<dyn Callback>) {
        match *self {}
    }
}

/// A datagram that was received.
#[allow(unnameable_types, reason = "belongs to a sealed trait")]
#[derive(Debug)]
pub struct Arrived<A> {
    /// Where its bytes are in the buffer.
    pub(crate) place: Range<usize>,
    /// Who sent it, where the system tells.
    pub(crate) from: Option<A>,
    /// Whether there were more bytes than the buffer had room for.
    pub(crate) truncated: bool,
}

impl<A> Default for Arrived<A> {
    fn default() -> Self {
        Self {
            place: 0..0,
            from: None,
            truncated: false,
        }
    }
}
