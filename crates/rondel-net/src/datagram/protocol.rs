//! [`DatagramProtocol`]: what is called with what an endpoint receives.

use std::io;
use std::net::SocketAddr;

use crate::datagram::addr::DatagramAddr;
use crate::datagram::transport::DatagramTransport;

/// What is called with the datagrams that an endpoint receives. asyncio: `DatagramProtocol`.
///
/// The order is [`connection_made`](DatagramProtocol::connection_made), any number of times
/// [`datagram_received`](DatagramProtocol::datagram_received) and [`error_received`](DatagramProtocol::error_received), and
/// [`connection_lost`](DatagramProtocol::connection_lost). The first and the last are called exactly once, also after an
/// [`abort`](DatagramTransport::abort), a panic in any of the methods, or when the loop is closed.
/// [`pause_writing`](DatagramProtocol::pause_writing) and [`resume_writing`](DatagramProtocol::resume_writing) take turns.
///
/// **A method of a [`DatagramTransport`] never calls a protocol.** It changes something; the protocol is told when the call
/// that is running returns, or, if none is, at the loop's next turn. (asyncio calls `pause_writing` and `error_received` inside
/// `sendto`.) What has changed back by then is not told.
///
/// The parameter is the [kind of addresses](DatagramAddr): those of UDP if it is not given, `std::os::unix::net::SocketAddr` for
/// Unix sockets.
///
/// A method that panics ends its endpoint: it is aborted, the panic goes to the loop's exception handler, and
/// [`connection_lost`](DatagramProtocol::connection_lost) is called with an error.
///
/// ```
/// use rondel_net::{create_datagram_endpoint, DatagramOptions, DatagramProtocol, DatagramTransport, UdpSocket};
/// use std::net::SocketAddr;
///
/// struct Echo;
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
///         // What does not arrive, the client asks for again.
///         let _ = transport.send_to(data, from);
///     }
/// }
///
/// # rondel_loop::run(async {
/// let options = DatagramOptions::new().local_addr("127.0.0.1:0");
/// let (transport, _) = create_datagram_endpoint(|| Echo, options).await?;
///
/// let client = UdpSocket::bind(([127, 0, 0, 1], 0))?;
/// client.send_to(b"ping", transport.local_addr()?).await?;
/// let mut buffer = [0; 16];
/// assert_eq!(client.recv(&mut buffer).await?, 4);
/// transport.close();
/// transport.wait_closed().await;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[allow(unused_variables, reason = "named for the documentation")]
pub trait DatagramProtocol<A: DatagramAddr = SocketAddr>: 'static {
    /// The endpoint is there. Nothing is received before this returns.
    fn connection_made(&mut self, transport: &DatagramTransport<A>) {}

    /// A datagram has arrived, whole; it may be empty. It is lent for the length of the call, out of the loop's own buffer.
    fn datagram_received(&mut self, transport: &DatagramTransport<A>, data: &[u8], from: A) {}

    /// Sending or receiving failed: a [`DatagramError`](crate::DatagramError). The endpoint goes on. On a connected endpoint of UDP,
    /// it may be the answer to a datagram of long before: `ConnectionRefused`, nobody has that port. On one of Unix sockets it
    /// may also be a datagram of more than 256 KiB that has arrived and is lost: `InvalidData`.
    ///
    /// Of more than 16 failures that wait to be told the oldest are left out.
    fn error_received(&mut self, transport: &DatagramTransport<A>, error: io::Error) {}

    /// More is queued than the [high water mark](DatagramTransport::set_write_buffer_limits): one should send no more.
    fn pause_writing(&mut self, transport: &DatagramTransport<A>) {}

    /// The queue is down at the low water mark again.
    fn resume_writing(&mut self, transport: &DatagramTransport<A>) {}

    /// The endpoint is closed, and so is its descriptor. An error says that this was not asked for: the loop was closed
    /// ([`LoopClosed`](rondel_loop::LoopClosed)), or a method has panicked.
    fn connection_lost(&mut self, transport: &DatagramTransport<A>, error: Option<io::Error>) {}
}
