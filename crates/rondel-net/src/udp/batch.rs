//! Many datagrams by one system call.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};

use crate::datagram::error::{Attempt, DatagramError};
use crate::udp::error::Truncated;
use crate::udp::socket::UdpSocket;
use crate::udp::sys::{self, BATCH, Received};

/// Room for several datagrams, and those received last: see [`UdpSocket::recv_batch`].
pub struct RecvBatch {
    buffer: Box<[u8]>,
    /// What each has of it.
    room: usize,
    received: [Received; BATCH],
    count: usize,
}

/// One of the datagrams of a [`RecvBatch`].
#[derive(Clone, Copy)]
pub struct Datagram<'b> {
    bytes: &'b [u8],
    from: SocketAddr,
    truncated: Option<Truncated>,
}

impl<'b> Datagram<'b> {
    /// What was sent; if it was [truncated](Datagram::truncated), the beginning of it.
    pub const fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Who sent it.
    pub const fn from(&self) -> SocketAddr {
        self.from
    }

    /// Says what was lost if there was not enough room.
    pub const fn truncated(&self) -> Option<Truncated> {
        self.truncated
    }
}

impl fmt::Debug for Datagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagram")
            .field("len", &self.bytes.len())
            .field("from", &self.from)
            .field("truncated", &self.truncated)
            .finish()
    }
}

impl RecvBatch {
    /// Room for `datagrams` of up to `bytes` each, one of one byte at least. One system call brings 32 at most.
    ///
    /// With [GRO](UdpSocket::set_gro), what is put together has to fit: give 64 KiB then.
    pub fn new(datagrams: usize, bytes: usize) -> Self {
        let room = bytes.max(1);
        Self {
            buffer: vec![0; room * datagrams.clamp(1, BATCH)].into_boxed_slice(),
            room,
            received: [Received::default(); BATCH],
            count: 0,
        }
    }

    /// The datagrams that were received last, in order.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        let received = self.received[..self.count].iter();
        self.buffer
            .chunks_exact(self.room)
            .zip(received)
            .flat_map(|(place, received)| parts(place, received))
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none: nothing was received yet.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn fill(&mut self, fd: BorrowedFd<'_>, gro: bool) -> io::Result<()> {
        self.count = 0;
        self.count = sys::receive_many(fd, &mut self.buffer, self.room, &mut self.received, gro)?;
        Ok(())
    }
}

/// The datagrams that were put together, or the one.
pub(super) fn parts<'b>(
    place: &'b [u8],
    received: &'b Received,
) -> impl Iterator<Item = Datagram<'b>> {
    let from = received
        .from
        .expect("a datagram was received with its sender's address");
    let bytes = &place[..received.kept];
    let size = match received.segment {
        0 => bytes.len().max(1),
        size => size,
    };
    // An empty one is one, too.
    let count = bytes.len().div_ceil(size).max(1);
    (0..count).map(move |index| {
        let end = bytes.len().min((index + 1) * size);
        let is_cut = received.truncated && index + 1 == count;
        Datagram {
            bytes: &bytes[index * size..end],
            from,
            truncated: is_cut.then(|| Truncated::of(received)),
        }
    })
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch")
            .field("room", &self.room)
            .field("received", &self.count)
            .finish_non_exhaustive()
    }
}

impl UdpSocket {
    /// Receives as many datagrams as there are and fit into `batch`, at least one, and gives how many that were. On Linux, it
    /// takes one system call (`recvmmsg`); elsewhere there is one datagram at a time.
    ///
    /// ```
    /// use rondel_net::{RecvBatch, UdpSocket};
    ///
    /// # rondel_loop::run(async {
    /// let socket = UdpSocket::bind(([127, 0, 0, 1], 0))?;
    /// let here = socket.local_addr()?;
    /// let mut sent = 0;
    /// let verses = [("one", here), ("two", here), ("three", here)];
    /// while sent < verses.len() {
    ///     sent += socket.send_batch(&verses[sent..]).await?;
    /// }
    /// let mut batch = RecvBatch::new(16, 1500);
    /// let mut received = Vec::new();
    /// while received.len() < 3 {
    ///     socket.recv_batch(&mut batch).await?;
    ///     received.extend(batch.iter().map(|datagram| datagram.bytes().len()));
    /// }
    /// assert_eq!(received, [3, 3, 5]);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// A [`DatagramError`]; nothing was received then. That one did not fit is said by [`Datagram::truncated`].
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has received nothing.
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv_batch(cx, batch)).await
    }

    /// See [`recv_batch`](UdpSocket::recv_batch).
    ///
    /// # Errors
    /// As [`recv_batch`](UdpSocket::recv_batch).
    pub fn poll_recv_batch(
        &self,
        cx: &mut Context<'_>,
        batch: &mut RecvBatch,
    ) -> Poll<io::Result<usize>> {
        self.poll_recv_with(cx, |fd| batch.fill(fd, self.gro.get()))
            .map(|filled| self.filled(batch, filled))
    }

    /// Receives as [`recv_batch`](UdpSocket::recv_batch) does, if something has arrived.
    ///
    /// # Errors
    /// As [`recv_batch`](UdpSocket::recv_batch); `WouldBlock` if there is nothing.
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        let filled = self
            .registration()
            .try_read(|fd| batch.fill(fd, self.gro.get()));
        self.filled(batch, filled)
    }

    fn filled(&self, batch: &mut RecvBatch, filled: io::Result<()>) -> io::Result<usize> {
        if let Err(error) = filled {
            batch.count = 0;
            return Err(DatagramError::wrap(
                Attempt::Receive,
                self.peer_addr(),
                error,
            ));
        }
        for received in &mut batch.received[..batch.count] {
            match self.sender(received) {
                Ok(from) => received.from = Some(from),
                Err(error) => {
                    batch.count = 0;
                    return Err(error);
                }
            }
        }
        Ok(batch.len())
    }

    /// Sends some of `datagrams`, in order, and gives how many: at least one, unless there are none. Waits for room when there
    /// is none. Where the system can (Linux, `sendmmsg`) it takes one system call for up to 32; elsewhere one for each.
    ///
    /// # Errors
    /// A [`DatagramError`], which belongs to the first: the others were not sent either. On a connected socket it may be that of
    /// an earlier one.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has sent nothing.
    pub async fn send_batch<B: AsRef<[u8]>>(
        &self,
        datagrams: &[(B, SocketAddr)],
    ) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_batch(cx, datagrams)).await
    }

    /// See [`send_batch`](UdpSocket::send_batch).
    ///
    /// # Errors
    /// As [`send_batch`](UdpSocket::send_batch).
    pub fn poll_send_batch<B: AsRef<[u8]>>(
        &self,
        cx: &mut Context<'_>,
        datagrams: &[(B, SocketAddr)],
    ) -> Poll<io::Result<usize>> {
        if datagrams.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_send_with(cx, |fd| send_some(fd, datagrams))
            .map_err(|error| self.failed_to_send(Some(datagrams[0].1), error))
    }

    /// Sends as [`send_batch`](UdpSocket::send_batch) does, if there is room.
    ///
    /// # Errors
    /// As [`send_batch`](UdpSocket::send_batch); `WouldBlock` if there is no room.
    pub fn try_send_batch<B: AsRef<[u8]>>(
        &self,
        datagrams: &[(B, SocketAddr)],
    ) -> io::Result<usize> {
        if datagrams.is_empty() {
            return Ok(0);
        }
        self.registration()
            .try_write(|fd| send_some(fd, datagrams))
            .map_err(|error| self.failed_to_send(Some(datagrams[0].1), error))
    }

    /// Has the system put datagrams of one size from one sender together, where it can (Linux, `UDP_GRO`): one of the places of
    /// a [`RecvBatch`] then holds several, and a `RecvBatch` takes them apart again. Use no other way to receive with it, which
    /// would show them as one.
    ///
    /// # Errors
    /// What the system says; `Unsupported` where there is no such thing.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        sys::set_gro(self.as_fd(), on)?;
        self.gro.set(on);
        Ok(())
    }
}

fn send_some<B: AsRef<[u8]>>(
    fd: BorrowedFd<'_>,
    datagrams: &[(B, SocketAddr)],
) -> io::Result<usize> {
    let each = datagrams
        .iter()
        .map(|(bytes, to)| (bytes.as_ref(), Some(*to)));
    sys::send_many(fd, each)
}
