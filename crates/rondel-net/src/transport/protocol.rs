//! [`Protocol`] and [`BufferedProtocol`]: what is called with what a connection brings.

use std::io;

use crate::transport::Transport;

/// What is called with what a connection brings, instead of waiting for it. asyncio: `Protocol`.
///
/// The order is [`connection_made`](Protocol::connection_made), any number of times
/// [`data_received`](Protocol::data_received), perhaps [`eof_received`](Protocol::eof_received), and
/// [`connection_lost`](Protocol::connection_lost). The first and the last are called exactly once, whatever happens: resets,
/// [`abort`](Transport::abort), a panic in any of the methods, a loop that is closed. In between,
/// [`pause_writing`](Protocol::pause_writing) and [`resume_writing`](Protocol::resume_writing) take turns. Only a protocol
/// that was [replaced](Transport::replace_protocol) is told nothing more.
///
/// **A method of a [`Transport`] never calls a protocol.** It changes something; the protocol is told when the call that is
/// running returns, or, if none is, at the loop's next turn. So there is never a second call inside a first, and a protocol
/// may write, close or pause as it likes from anywhere. (asyncio calls `pause_writing` inside `write`.) What has changed back
/// by then is not told: a pause and a resume inside one call cancel out.
///
/// A method that panics ends its connection: it is aborted, the panic goes to the loop's exception handler, and
/// [`connection_lost`](Protocol::connection_lost) is called with an error. When that has returned, the connection lets go of
/// the protocol.
///
/// The methods run on the loop, as callbacks do: what they block is everything.
///
/// ```
/// use rondel_net::{Protocol, Transport, create_connection, create_server};
/// use std::{io, time::Duration};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         // A failure is told by `connection_lost`.
///         let _ = transport.write(data);
///     }
/// }
///
/// #[derive(Default)]
/// struct Client {
///     received: Vec<u8>,
/// }
///
/// impl Protocol for Client {
///     fn connection_made(&mut self, transport: &Transport) {
///         let _ = transport.write(b"round and round");
///     }
///
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         self.received.extend_from_slice(data);
///         if self.received.len() == 15 {
///             transport.close();
///         }
///     }
/// }
///
/// # rondel_loop::run(async {
/// let server = create_server(|| Echo, "127.0.0.1:0").await?;
/// let (transport, client) = create_connection(Client::default, server.local_addrs()[0]).await?;
/// transport.wait_closed().await?;
/// client.with(|client, _| assert_eq!(client.received, b"round and round"))?;
/// server.shutdown(Duration::from_secs(1)).await;
/// # Ok::<(), io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[allow(unused_variables, reason = "named for the documentation")]
pub trait Protocol: 'static {
    /// The connection is there. Nothing is received before this returns.
    fn connection_made(&mut self, transport: &Transport) {}

    /// Bytes have arrived: at least one, in order, each once, cut anywhere. They are lent for the length of the call, out of
    /// the loop's own buffer: up to 256 KiB.
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {}

    /// The peer sends no more. `true` keeps the connection open, to go on writing; `false`, as by default, closes it when
    /// what is queued has been sent.
    fn eof_received(&mut self, transport: &Transport) -> bool {
        false
    }

    /// More is queued than the [high water mark](Transport::set_write_buffer_limits): one should write no more.
    fn pause_writing(&mut self, transport: &Transport) {}

    /// The queue is down at the low water mark again.
    fn resume_writing(&mut self, transport: &Transport) {}

    /// The connection is gone, and so is its descriptor. Without an error it was closed or aborted at this end, or the peer
    /// has ended it; otherwise a [`ConnectionLost`](crate::ConnectionLost), a [`LoopClosed`](rondel_loop::LoopClosed) or a
    /// [`ProtocolPanicked`] is in the error.
    fn connection_lost(&mut self, transport: &Transport, error: Option<io::Error>) {}
}

/// A protocol with a buffer of its own, that is received into without a copy. asyncio: `BufferedProtocol`.
///
/// All is as with [`Protocol`], but that [`get_buffer`](BufferedProtocol::get_buffer) and
/// [`buffer_updated`](BufferedProtocol::buffer_updated) are called in the place of `data_received`. It is of use where what
/// arrives has to be in one place anyway; elsewhere the loop's buffer is larger, and costs nothing while nothing arrives.
///
/// ```
/// use rondel_net::{BufferedProtocol, Transport, connect_accepted_socket};
/// use std::{io::Write, net};
///
/// /// Collects exactly sixteen bytes.
/// #[derive(Default)]
/// struct Header {
///     bytes: [u8; 16],
///     filled: usize,
/// }
///
/// impl BufferedProtocol for Header {
///     fn get_buffer(&mut self, _size_hint: usize) -> &mut [u8] {
///         &mut self.bytes[self.filled..]
///     }
///
///     fn buffer_updated(&mut self, transport: &Transport, count: usize) {
///         self.filled += count;
///         if self.filled == 16 {
///             transport.close();
///         }
///     }
/// }
///
/// # rondel_loop::run(async {
/// # let listener = net::TcpListener::bind("127.0.0.1:0")?;
/// # let mut peer = net::TcpStream::connect(listener.local_addr()?)?;
/// let (socket, _) = listener.accept()?;
/// let (transport, header) = connect_accepted_socket(Header::default, socket).await?;
/// peer.write_all(b"sixteen bytes, no")?;
/// transport.wait_closed().await?;
/// header.with(|header, _| assert_eq!(&header.bytes, b"sixteen bytes, n"))?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[allow(unused_variables, reason = "named for the documentation")]
pub trait BufferedProtocol: 'static {
    /// See [`Protocol::connection_made`].
    fn connection_made(&mut self, transport: &Transport) {}

    /// Where to receive to next. `size_hint` is what would be convenient. An empty buffer is an error, which ends the
    /// connection; to receive nothing for now, [pause](Transport::pause_reading).
    fn get_buffer(&mut self, size_hint: usize) -> &mut [u8];

    /// The first `count` bytes of the buffer have been received: at least one.
    fn buffer_updated(&mut self, transport: &Transport, count: usize);

    /// See [`Protocol::eof_received`].
    fn eof_received(&mut self, transport: &Transport) -> bool {
        false
    }

    /// See [`Protocol::pause_writing`].
    fn pause_writing(&mut self, transport: &Transport) {}

    /// See [`Protocol::resume_writing`].
    fn resume_writing(&mut self, transport: &Transport) {}

    /// See [`Protocol::connection_lost`].
    fn connection_lost(&mut self, transport: &Transport, error: Option<io::Error>) {}
}

/// What a connection is lost with when a method of its protocol has panicked. The panic itself goes to the loop's exception
/// handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolPanicked;

impl std::fmt::Display for ProtocolPanicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection's protocol panicked")
    }
}

impl std::error::Error for ProtocolPanicked {}
