//! Where transports come from, on the connecting side, and out of streams.

use std::error::Error;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::connect::{ConnectError, ConnectOptions, ToTarget};
#[cfg(feature = "pipe")]
use crate::engine::Handle;
use crate::engine::{Connection, Handles};
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::tcp::stream::TcpStream;
use crate::transport::kind::AnyProtocol;
use crate::transport::protocol_ref::ProtocolRef;
use crate::transport::{Transport, attach};

/// Connects to `target` by TCP and has a protocol called with what the connection brings. asyncio: `create_connection`.
///
/// All is as with [`open_connection`](crate::open_connection); when the connection is there, `factory` makes the protocol, and
/// its [`connection_made`](crate::Protocol::connection_made) is called before this returns. [`ConnectOptions`] has more to say.
///
/// # Cancel safety
/// Dropped at any point, it closes every descriptor that it has opened.
///
/// # Errors
/// As [`open_connection`](crate::open_connection).
///
/// ```
/// use rondel_net::{Protocol, Transport, create_connection};
/// use std::{io::Read, net::TcpListener};
///
/// struct Greet(&'static [u8]);
///
/// impl Protocol for Greet {
///     fn connection_made(&mut self, transport: &Transport) {
///         let _ = transport.write(self.0);
///         transport.close();
///     }
/// }
///
/// # rondel_loop::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let (transport, _protocol) = create_connection(|| Greet(b"hello"), listener.local_addr()?).await?;
/// transport.wait_closed().await?;
/// let mut received = String::new();
/// listener.accept()?.0.read_to_string(&mut received)?;
/// assert_eq!(received, "hello");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub async fn create_connection<P: AnyProtocol<Kind>, Kind: 'static>(
    factory: impl FnOnce() -> P,
    target: impl ToTarget,
) -> Result<(Transport, ProtocolRef<P>), ConnectError> {
    ConnectOptions::new()
        .create_connection(factory, target)
        .await
}

impl ConnectOptions {
    /// Connects and has a protocol called with what the connection brings; see [`create_connection`].
    ///
    /// # Cancel safety
    /// Dropped at any point, it closes every descriptor that it has opened.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn create_connection<P: AnyProtocol<Kind>, Kind: 'static>(
        &self,
        factory: impl FnOnce() -> P,
        target: impl ToTarget,
    ) -> Result<(Transport, ProtocolRef<P>), ConnectError> {
        let stream = self.connect(target).await?;
        Ok(begin(stream.into_handles(), factory()))
    }
}

/// Has a protocol called with what a connection brings that was accepted elsewhere. asyncio: `connect_accepted_socket`.
///
/// The protocol's [`connection_made`](crate::Protocol::connection_made) is called before this returns. It is asynchronous for
/// this, and because TLS will have something to wait for.
///
/// # Cancel safety
/// It does not wait.
///
/// # Errors
/// As [`TcpStream::from_std`]. The socket is closed then.
pub async fn connect_accepted_socket<P: AnyProtocol<Kind>, Kind: 'static>(
    factory: impl FnOnce() -> P,
    socket: std::net::TcpStream,
) -> io::Result<(Transport, ProtocolRef<P>)> {
    let stream = TcpStream::from_std(socket)?;
    Ok(begin(stream.into_handles(), factory()))
}

/// Attaches the protocol and tells it so.
pub(crate) fn begin<P: AnyProtocol<Kind>, Kind: 'static>(
    handles: Handles,
    protocol: P,
) -> (Transport, ProtocolRef<P>) {
    let connection = Rc::clone(handles.writer.connection());
    begin_without(handles, connection, protocol)
}

/// The same for what goes one way.
#[cfg(feature = "pipe")]
pub(crate) fn begin_one_way<P: AnyProtocol<Kind>, Kind: 'static>(
    handle: Handle,
    protocol: P,
) -> (Transport, ProtocolRef<P>) {
    let connection = Rc::clone(handle.connection());
    begin_without(handle, connection, protocol)
}

fn begin_without<P: AnyProtocol<Kind>, Kind: 'static>(
    handles: impl Sized,
    connection: Rc<Connection>,
    protocol: P,
) -> (Transport, ProtocolRef<P>) {
    let attached = attach(&connection, protocol, Vec::new());
    // Before the protocol is called, since it may hand out others.
    drop(handles);
    connection.dispatch();
    attached
}

impl TcpStream {
    /// Has `protocol` called with what the connection brings, from the next turn on. asyncio: there is no such thing; nothing
    /// that has arrived is lost.
    pub fn into_transport<P: AnyProtocol<Kind>, Kind: 'static>(
        self,
        protocol: P,
    ) -> (Transport, ProtocolRef<P>) {
        let connection = Rc::clone(self.connection());
        let attached = attach(&connection, protocol, Vec::new());
        connection.changed();
        attached
    }
}

impl StreamWriter {
    /// Puts a reader and its writer together again, and has `protocol` called with what the connection brings, from the next
    /// turn on: first with what the reader holds. [`Transport::into_streams`] is the way back.
    ///
    /// # Errors
    /// [`NotAPair`] gives everything back if the two are not of one connection.
    ///
    /// ```
    /// use rondel_net::{Protocol, Transport, TcpListener, TcpStream};
    ///
    /// #[derive(Default)]
    /// struct Body(Vec<u8>);
    ///
    /// impl Protocol for Body {
    ///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
    ///         self.0.extend_from_slice(data);
    ///     }
    /// }
    ///
    /// # rondel_loop::run(async {
    /// # let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    /// # let peer = TcpStream::connect(listener.local_addr()).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// let (mut reader, writer) = stream.into_split();
    /// peer.write_all(b"a line\nand the rest").await?;
    /// # peer.close();
    /// assert_eq!(reader.read_line().await?, b"a line\n");
    /// let (transport, body) = writer.into_transport(reader, Body::default())?;
    /// transport.wait_closed().await?;
    /// body.with(|body, _| assert_eq!(body.0, b"and the rest"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_transport<P: AnyProtocol<Kind>, Kind: 'static>(
        self,
        reader: StreamReader,
        protocol: P,
    ) -> Result<(Transport, ProtocolRef<P>), NotAPair<P>> {
        if !Rc::ptr_eq(self.connection(), reader.connection()) {
            return Err(NotAPair {
                reader,
                writer: self,
                protocol,
            });
        }
        let connection = Rc::clone(self.connection());
        let mut reader = reader;
        let attached = attach(&connection, protocol, reader.take_buffer());
        connection.changed();
        Ok(attached)
    }
}

/// A reader and a writer are of two connections; see [`StreamWriter::into_transport`].
pub struct NotAPair<P> {
    /// The reader, as it was.
    pub reader: StreamReader,
    /// The writer, as it was.
    pub writer: StreamWriter,
    /// The protocol that was to be called.
    pub protocol: P,
}

impl<P> fmt::Display for NotAPair<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader and the writer belong to two connections")
    }
}

impl<P> fmt::Debug for NotAPair<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotAPair")
            .field("reader", &self.reader)
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

impl<P> Error for NotAPair<P> {}
