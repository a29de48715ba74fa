//! Transports and protocols: a connection that calls, instead of being waited for.

pub(crate) mod dispatch;
pub(crate) mod endpoint;
pub(crate) mod kind;
pub(crate) mod protocol;
pub(crate) mod protocol_ref;

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use crate::engine::Connection;
use crate::error::WriteError;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use dispatch::ProtocolCell;
use kind::AnyProtocol;
use protocol_ref::ProtocolRef;

/// A connection, as its [`Protocol`](crate::Protocol) uses it: to write, to pause, to close. asyncio: `Transport`.
///
/// No method waits, and none calls a protocol: it can be used inside the protocol's methods and outside, from tasks, timers
/// and other connections. What is written in one call or poll leaves in one system call when that returns, or at once from
/// 16 KiB on.
///
/// It does not know its protocol's type, and is as large as a pointer: clone it freely. The connection does not end with the
/// last clone; it ends when it is closed, or lost. One that a protocol keeps in itself is no leak: the connection lets go of
/// the protocol after [`connection_lost`](crate::Protocol::connection_lost). `!Send`.
///
/// ```
/// use rondel_net::{Protocol, Transport, create_connection};
/// use std::{io::Read, net::TcpListener};
///
/// struct Silent;
/// impl Protocol for Silent {}
///
/// # rondel_loop::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let (transport, _) = create_connection(|| Silent, listener.local_addr()?).await?;
/// transport.write(b"once ")?;
/// transport.write(b"more")?;
/// transport.close();
/// transport.wait_closed().await?;
/// let mut received = String::new();
/// listener.accept()?.0.read_to_string(&mut received)?;
/// assert_eq!(received, "once more");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Transport {
    connection: Rc<Connection>,
}

impl Transport {
    pub(crate) const fn new(connection: Rc<Connection>) -> Self {
        Self { connection }
    }

    #[inline]
    pub(crate) const fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Accepts `bytes` whole, to be sent together with what else is written until the running call or poll returns; large ones
    /// are sent at once.
    ///
    /// `true` if more is queued now than the [high water mark](Transport::set_write_buffer_limits), or has been and the queue
    /// is not yet down at the low one: wait with what is next until
    /// [`resume_writing`](crate::Protocol::resume_writing), which follows.
    ///
    /// # Errors
    /// - [`WriteError::Full`] if more would be queued than the [hard limit](Transport::set_hard_limit) allows,
    ///   [`WriteError::Closed`], [`WriteError::Finished`]: nothing was accepted.
    /// - [`WriteError::Io`]: the connection has failed, now or before.
    ///
    /// A protocol can ignore all but the first: it is told by [`connection_lost`](crate::Protocol::connection_lost).
    #[inline]
    pub fn write(&self, bytes: &[u8]) -> Result<bool, WriteError> {
        self.connection.write_in_turn(bytes)
    }

    /// Accepts all of `parts`, as one [`write`](Transport::write). asyncio: `writelines`.
    ///
    /// # Errors
    /// As [`write`](Transport::write).
    #[doc(alias = "writelines")]
    #[inline]
    pub fn write_vectored(&self, parts: &[IoSlice<'_>]) -> Result<bool, WriteError> {
        self.connection.write_parts_in_turn(parts)
    }

    /// Ends the stream that the peer reads, behind what is queued; reading goes on. Again, or after a close, it does nothing.
    /// Of a pipe it is a [`close`](Transport::close).
    ///
    /// # Errors
    /// [`WriteError::Io`] if the connection has failed.
    pub fn write_eof(&self) -> Result<(), WriteError> {
        self.connection.write_eof()
    }

    /// Sends `count` bytes of `file` from `offset` on, or all to its end, behind what is queued; awaited, it gives how many were
    /// sent. On a plain socket they are not copied through this process where the system can do without; see
    /// [`SendFile`](crate::SendFile). asyncio: `loop.sendfile`.
    ///
    /// A protocol cannot await; it has a task do it ([`spawn`](rondel_loop::spawn)).
    #[cfg(feature = "fs")]
    #[cfg_attr(docsrs, doc(cfg(feature = "fs")))]
    #[doc(alias = "send_file")]
    pub fn sendfile<'f>(
        &'f self,
        file: &'f impl crate::FileToSend,
        offset: u64,
        count: impl Into<Option<u64>>,
    ) -> crate::SendFile<'f> {
        crate::SendFile::new(&self.connection, file, offset, count.into())
    }

    /// Whether the stream can be ended without closing the connection.
    pub const fn can_write_eof(&self) -> bool {
        true
    }

    /// Reads no more, sends what is queued, and closes. Then the protocol is told that the connection is lost, without an
    /// error. Again, it does nothing.
    pub fn close(&self) {
        self.connection.close();
    }

    /// Closes at once: what is queued is dropped, and the peer sees a reset instead of an end. Then the protocol is told that
    /// the connection is lost, without an error.
    pub fn abort(&self) {
        self.connection.abort();
    }

    /// Whether it was closed or aborted at this end, or is lost.
    pub fn is_closing(&self) -> bool {
        self.connection.is_closing()
    }

    /// Waits until the connection is closed, and its protocol was told.
    ///
    /// # Errors
    /// What the connection failed with, if it has.
    ///
    /// # Cancel safety
    /// Dropped, it changes nothing.
    pub async fn wait_closed(&self) -> io::Result<()> {
        let outcome = self.connection.wait_closed().await;
        while self.connection.is_attended() && !self.connection.local_loop().is_closed() {
            rondel_loop::yield_now().await;
        }
        outcome
    }

    /// Hands over nothing more of what arrives, from now on, until [`resume_reading`](Transport::resume_reading): the peer is
    /// held up by the system once its buffers are full. An end and a reset are not noticed either, but by writing.
    pub fn pause_reading(&self) {
        self.connection.pause_reading();
    }

    /// Takes [`pause_reading`](Transport::pause_reading) back.
    pub fn resume_reading(&self) {
        self.connection.resume_reading();
    }

    /// Whether what arrives is handed over: not if it is paused, closing, or at the end.
    pub fn is_reading(&self) -> bool {
        self.connection.is_reading()
    }

    /// How many bytes are queued: accepted, and not yet taken by the system. asyncio: `get_write_buffer_size`.
    #[doc(alias = "get_write_buffer_size")]
    pub fn buffered(&self) -> usize {
        self.connection.queued()
    }

    /// The water marks: low, then high. asyncio: `get_write_buffer_limits`.
    #[doc(alias = "get_write_buffer_limits")]
    pub fn write_buffer_limits(&self) -> (usize, usize) {
        self.connection.water_marks()
    }

    /// Sets the water marks: with more than `high` bytes queued the protocol is told to
    /// [pause](crate::Protocol::pause_writing), with not more than `low` to [resume](crate::Protocol::resume_writing). If one
    /// is not given, `low` is a quarter of `high`; without either, they are 16 and 64 KiB, as at the beginning. With zero and
    /// zero, whatever the system does not take at once is too much.
    ///
    /// # Errors
    /// `InvalidInput` if `low` is above `high`; nothing is changed.
    pub fn set_write_buffer_limits(
        &self,
        high: impl Into<Option<usize>>,
        low: impl Into<Option<usize>>,
    ) -> io::Result<()> {
        self.connection.set_water_marks(high.into(), low.into())
    }

    /// How many bytes may be queued; see [`set_hard_limit`](Transport::set_hard_limit).
    pub fn hard_limit(&self) -> usize {
        self.connection.hard_limit()
    }

    /// Sets how many bytes may be queued at all: 16 MiB unless set. A [`write`](Transport::write) that would exceed it is
    /// refused. What is queued already stays.
    pub fn set_hard_limit(&self, bytes: usize) {
        self.connection.set_hard_limit(bytes);
    }

    /// Puts another protocol in the place of the one there is: what is received next is its. asyncio: `set_protocol`.
    ///
    /// It is not told that the connection is made, nor is the one before told that it is lost: that is dropped when its
    /// running method, if one is, has returned. A protocol that switches in the middle of
    /// [`data_received`](crate::Protocol::data_received) passes on the rest of the data itself, before:
    ///
    /// ```
    /// use rondel_net::{Protocol, Transport};
    ///
    /// struct Preface;
    /// #[derive(Default)]
    /// struct Body(Vec<u8>);
    ///
    /// impl Protocol for Preface {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
    ///         let Some(end) = data.iter().position(|&byte| byte == b'\n') else { return };
    ///         let mut body = Body::default();
    ///         if end + 1 < data.len() {
    ///             body.data_received(transport, &data[end + 1..]);
    ///         }
    ///         transport.replace_protocol(body);
    ///     }
    /// }
    ///
    /// impl Protocol for Body {
    ///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
    ///         self.0.extend_from_slice(data);
    ///     }
    /// }
    /// ```
    ///
    /// If the queue is above its high water mark the new one is told to pause; that the stream has ended it is not told, if
    /// the one before was. On a connection that is lost, or belongs to [streams](Transport::into_streams), it does nothing
    /// but wrap the protocol.
    #[doc(alias = "set_protocol")]
    pub fn replace_protocol<P: AnyProtocol<Kind>, Kind: 'static>(
        &self,
        protocol: P,
    ) -> ProtocolRef<P> {
        let cell = ProtocolCell::new(protocol);
        self.connection.replace_attendant(Rc::clone(&cell) as _);
        ProtocolRef::new(cell, self.clone())
    }

    /// Takes the connection from its protocol, and gives streams instead; what was not handed over yet, they will read, and in
    /// front of it `unread`: what the protocol was given and leaves to them. The protocol is not told; it is dropped when its
    /// running method, if one is, has returned. Clones of this transport go on working.
    ///
    /// # Errors
    /// `NotConnected` if the connection is lost, or belongs to streams already.
    pub fn into_streams(self, unread: &[u8]) -> io::Result<(StreamReader, StreamWriter)> {
        let Some(handles) = self.connection.release_attendant() else {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the connection has no protocol to take it from",
            ));
        };
        let mut held = unread.to_vec();
        held.extend(self.connection.take_all_early());
        Ok((
            StreamReader::with_buffer(handles.reader, held),
            StreamWriter::new(handles.writer),
        ))
    }

    /// The other end; `None` if it is not known. asyncio: `get_extra_info("peername")`.
    #[doc(alias = "get_extra_info")]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.connection.peer()
    }

    /// This end. asyncio: `get_extra_info("sockname")`.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if it is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.connection.local_addr()
    }

    /// Calls `look` with the socket, for its options; see `SockRef` in the crate `socket2`. asyncio:
    /// `get_extra_info("socket")`.
    ///
    /// ```
    /// # use rondel_net::{Protocol, create_connection};
    /// # struct Silent;
    /// # impl Protocol for Silent {}
    /// # rondel_loop::run(async {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let (transport, _) = create_connection(|| Silent, listener.local_addr()?).await?;
    /// transport.with_fd(|fd| socket2::SockRef::from(&fd).set_keepalive(true))?;
    /// # transport.abort();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// What `look` returns; `NotConnected` if it is closed.
    pub fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        look(self.connection.open_registration()?.as_fd())
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("peer", &format_args!("{}", self.connection.peer_name()))
            .field("buffered", &self.buffered())
            .field("is_closing", &self.is_closing())
            .field("is_reading", &self.is_reading())
            .finish_non_exhaustive()
    }
}

/// Hands `connection` over to a protocol, which is called when the connection is next dispatched.
pub(crate) fn attach<P: AnyProtocol<Kind>, Kind: 'static>(
    connection: &Rc<Connection>,
    protocol: P,
    early: Vec<u8>,
) -> (Transport, ProtocolRef<P>) {
    let cell = ProtocolCell::new(protocol);
    connection.attend_by(Rc::clone(&cell) as _, early);
    let transport = Transport::new(Rc::clone(connection));
    (transport.clone(), ProtocolRef::new(cell, transport))
}
