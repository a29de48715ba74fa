//! Connected pairs: one of ours, and a blocking socket of the standard library's as the peer.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use rondel_net::{StreamReader, StreamWriter, TcpStream, WriteError};
use socket2::{Domain, SockRef, Socket, Type};

pub(crate) type Peer = std::net::TcpStream;

fn sockets(receive: Option<usize>) -> (Peer, Peer) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let peer = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(size) = receive {
        peer.set_recv_buffer_size(size).unwrap();
    }
    peer.connect(&addr.into()).unwrap();
    let peer = Peer::from(peer);
    peer.set_nodelay(true).unwrap();
    loop {
        let (ours, from) = listener.accept().unwrap();
        if from == peer.local_addr().unwrap() {
            return (ours, peer);
        }
    }
}

/// A connection as the system makes them.
pub(crate) fn pair() -> (TcpStream, Peer) {
    let (ours, peer) = sockets(None);
    (TcpStream::from_std(ours).unwrap(), peer)
}

/// One whose buffers are as small as the system lets them be: some ten KiB fill it.
pub(crate) fn narrow_pair() -> (TcpStream, Peer) {
    let (ours, peer) = sockets(Some(2048));
    SockRef::from(&ours).set_send_buffer_size(2048).unwrap();
    (TcpStream::from_std(ours).unwrap(), peer)
}

pub(crate) fn split_pair() -> (StreamReader, StreamWriter, Peer) {
    let (ours, peer) = pair();
    let (reader, writer) = ours.into_split();
    (reader, writer, peer)
}

pub(crate) fn narrow_split_pair() -> (StreamReader, StreamWriter, Peer) {
    let (ours, peer) = narrow_pair();
    let (reader, writer) = ours.into_split();
    (reader, writer, peer)
}

/// Two of ours.
pub(crate) fn both_ours() -> (TcpStream, TcpStream) {
    let (ours, peer) = sockets(None);
    (
        TcpStream::from_std(ours).unwrap(),
        TcpStream::from_std(peer).unwrap(),
    )
}

/// Bytes in which every place can be told from its neighbours.
pub(crate) fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len)
        .map(|place| (place ^ (place >> 8) ^ (place >> 16)) as u8)
        .collect()
}

/// Writes until the system takes no more: what is queued then stays queued while the peer does not read. Gives how much was
/// written.
pub(crate) fn fill(writer: &StreamWriter) -> usize {
    let mut written = 0;
    while writer.buffered() == 0 {
        writer.write(&pattern(written, 16 * 1024)).unwrap();
        written += 16 * 1024;
    }
    written
}

/// Closes the peer's end so that we are told by a reset.
pub(crate) fn reset(peer: Peer) {
    SockRef::from(&peer)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
}

/// Reads everything up to the end, in a thread.
pub(crate) async fn drain_peer(mut peer: Peer) -> io::Result<Vec<u8>> {
    rondel_loop::to_thread(move || {
        peer.set_nonblocking(false)?;
        let mut received = Vec::new();
        peer.read_to_end(&mut received)?;
        Ok(received)
    })
    .await
    .unwrap()
}

/// Writes in a thread, and gives the peer back.
pub(crate) async fn feed(mut peer: Peer, bytes: Vec<u8>) -> Peer {
    rondel_loop::to_thread(move || {
        peer.write_all(&bytes).unwrap();
        peer
    })
    .await
    .unwrap()
}

/// What the peer has to read at this moment.
pub(crate) fn readable(peer: &mut Peer) -> Vec<u8> {
    peer.set_nonblocking(true).unwrap();
    let mut received = Vec::new();
    match peer.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
    }
    peer.set_nonblocking(false).unwrap();
    received
}

/// How much, up to 100 bytes, the peer could read at this moment.
pub(crate) fn available(peer: &Peer) -> usize {
    peer.set_nonblocking(true).unwrap();
    let available = peer.peek(&mut [0; 100]);
    peer.set_nonblocking(false).unwrap();
    match available {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    }
}

/// The kind of error that a write failed with.
pub(crate) fn kind(error: WriteError) -> io::ErrorKind {
    io::Error::from(error).kind()
}

pub(crate) fn addr_of(peer: &Peer) -> SocketAddr {
    peer.local_addr().unwrap()
}

/// A loop with a real selector, and a clock that moves when told.
pub(crate) fn clocked_loop() -> (rondel_loop::EventLoop, rondel_poll::ManualClock) {
    let clock = rondel_poll::ManualClock::new();
    let selector =
        rondel_poll::Clocked::new(rondel_poll::default_selector().unwrap(), clock.clone());
    let lp = rondel_loop::EventLoop::builder()
        .selector(selector)
        .build()
        .unwrap();
    (lp, clock)
}
