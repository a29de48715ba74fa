//! [`Room`]: waiting until a receiver takes datagrams again.
//!
//! A datagram socket of Linux counts as writable while its own buffer has room. What its receiver has room for is looked at only
//! if the two are connected; a socket that sends to many is writable, and sending fails with `EAGAIN` all the same. (asyncio
//! tries again without pause until it works.) So a second socket is connected to that receiver, for as long as it takes: that
//! one is writable when there is room.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::SocketAddr;
use std::rc::Rc;

use rondel_executor::Callback;
use rondel_loop::{LocalLoop, Registration, SourceKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};

use crate::datagram::addr;
use crate::unix::listener::to_sock_addr;

/// Watches for room at a receiver. Dropped, it watches no longer.
#[allow(unnameable_types, reason = "belongs to a sealed trait")]
#[derive(Debug)]
pub struct Room(Registration);

impl Room {
    /// Watches the receiver at `addr`.
    pub(super) fn at(local: &LocalLoop, addr: &SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&to_sock_addr(addr)?)?;
        let registration = local.register(socket.into(), SourceKind::Other)?;
        Ok(Self(registration))
    }

    /// Waits until there is room.
    pub(super) async fn wait(&self) -> io::Result<()> {
        self.0.write_with(room).await
    }
}

impl addr::Room for Room {
    fn is_there(&self) -> bool {
        self.0.try_write(room).is_ok()
    }

    fn set_callback(&self, callback: Rc<dyn Callback>) {
        self.0.set_callback(Some(callback));
    }
}

fn room(fd: BorrowedFd<'_>) -> io::Result<()> {
    if is_writable(fd) {
        Ok(())
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Whether the system calls the socket writable. It is asked after sending has failed with `WouldBlock`: then it is the
/// receiver who has no room.
pub(super) fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // It fails for want of memory only; to send again tells more then.
    poll(&mut asked, Some(&at_once)).is_ok_and(|count| count > 0)
}
