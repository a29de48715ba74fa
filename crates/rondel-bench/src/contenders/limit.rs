//! The limit for the network's rows: an epoll loop written by hand, with no runtime at all.
//!
//! Edge-triggered, registered once for both directions, two system calls a message: what a receive
//! into the one shared buffer has brought is sent at once. A receive that does not fill the buffer has
//! drained the socket, unless the peer has closed its side (then the end is still to be read).

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, recvfrom, send, sendto};

use super::contender::{Contender, DATAGRAM_BUFFER, SHARED_BUFFER};
use crate::workloads::jobs::no_job;

pub(super) const CONTENDER: Contender = Contender {
    name: "limit",
    what: "a hand-written epoll loop, one shared 256 KiB buffer; network only",
    needs: None,
    micro: no_job,
    serve: Some(serve),
    serve_datagrams: Some(serve_datagrams),
    serve_tls: None,
    serve_http: None,
    serve_http_by_workers: None,
};

const EVENTS: usize = 1024;
const CLOSED: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR);

fn serve(listener: TcpListener) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let key = |fd: &dyn AsRawFd| EventData::new_u64(fd.as_raw_fd() as u64);
    epoll::add(
        &epoll,
        &listener,
        key(&listener),
        EventFlags::IN | EventFlags::ET,
    )?;
    let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;

    // By descriptor: one has at most one event in a batch, so that none can be stale.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; SHARED_BUFFER];
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        for event in &events {
            let fd = event.data.u64() as usize;
            if fd == listener.as_raw_fd() as usize {
                while let Some(socket) = accept(&listener)? {
                    set_tcp_nodelay(&socket, true)?;
                    epoll::add(&epoll, &socket, key(&socket), interest)?;
                    let slot = socket.as_raw_fd() as usize;
                    connections.resize_with(connections.len().max(slot + 1), || None);
                    connections[slot] = Some(Connection::new(socket));
                }
            } else if let Some(connection) = &mut connections[fd] {
                // A connection that fails ends; its peer sees that.
                if connection.handle(event.flags, &mut buffer) != Ok(Next::Wait) {
                    connections[fd] = None;
                }
            }
        }
    }
}

/// Datagrams: a receive, and a send to where it came from, until there is nothing.
fn serve_datagrams(socket: UdpSocket) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let interest = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
    epoll::add(&epoll, &socket, EventData::new_u64(0), interest)?;
    let mut buffer = vec![0; DATAGRAM_BUFFER];
    let mut events = Vec::with_capacity(1);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        loop {
            let (received, peer) = match recvfrom(&socket, &mut *buffer, RecvFlags::empty()) {
                Ok((received, _, Some(peer))) => (received, peer),
                Ok(_) => continue,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            };
            // On loopback there is always room.
            sendto(&socket, &buffer[..received], SendFlags::empty(), &peer)?;
        }
    }
}

fn accept(listener: &TcpListener) -> rustix::io::Result<Option<OwnedFd>> {
    match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(PartialEq)]
enum Next {
    Wait,
    Close,
}

struct Connection {
    socket: OwnedFd,
    /// What the socket did not take at once. Nothing is received before it is gone.
    unsent: Vec<u8>,
    sent: usize,
    /// There may be something to receive.
    readable: bool,
    /// The peer has closed its side: a short receive says nothing any more.
    closed: bool,
}

impl Connection {
    const fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            unsent: Vec::new(),
            sent: 0,
            readable: false,
            closed: false,
        }
    }

    fn handle(&mut self, flags: EventFlags, buffer: &mut [u8]) -> Result<Next, Errno> {
        self.closed |= flags.intersects(CLOSED);
        self.readable |= flags.contains(EventFlags::IN) || self.closed;
        loop {
            while self.sent < self.unsent.len() {
                match self.send(&self.unsent[self.sent..])? {
                    0 => return Ok(Next::Wait),
                    sent => self.sent += sent,
                }
            }
            self.unsent.clear();
            self.sent = 0;

            if !self.readable {
                return Ok(Next::Wait);
            }
            let received = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Ok(Next::Close),
                Ok((received, _)) => received,
                Err(Errno::AGAIN) => 0,
                Err(error) => return Err(error),
            };
            self.readable = self.closed || received == buffer.len();
            if received == 0 {
                self.readable = false;
                continue;
            }
            let sent = self.send(&buffer[..received])?;
            self.unsent.extend_from_slice(&buffer[sent..received]);
        }
    }

    /// How much the socket takes now, 0 if nothing.
    fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) => Ok(0),
            other => other,
        }
    }
}
