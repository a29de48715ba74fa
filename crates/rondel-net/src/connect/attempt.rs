//! One attempt: a socket of its own, on its way to one address.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rondel_loop::{LocalLoop, Registration, SourceKind};
use rustix::io::Errno;
use socket2::{SockAddr, SockRef, Socket};

use super::error::AttemptStep;
use crate::tcp::options::{self, SocketOptions};

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: AttemptStep,
    pub(super) error: io::Error,
}

/// A connection being made; ready with the registered, connected socket and its peer. Dropped before, it closes the socket.
pub(super) struct Connecting {
    /// Until it is handed over.
    registration: Option<Registration>,
    target: SocketAddr,
    /// Whether the system has chosen our own address.
    unbound: bool,
    /// Whether there was something to wait for yet.
    waited: bool,
}

impl Connecting {
    /// Binds a socket to `own` and has it begin to connect.
    pub(super) fn start(
        local: &LocalLoop,
        socket: Socket,
        target: SocketAddr,
        own: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let at = |step| move |error| Failure { step, error };
        if let Some(own) = own {
            let bound = socket.bind(&SockAddr::from(own));
            bound.map_err(at(AttemptStep::Bind(own)))?;
        }
        match socket.connect(&SockAddr::from(target)) {
            Ok(()) => {}
            // Interrupted, it goes on all the same (POSIX, connect).
            Err(error) if is_under_way(&error) => {}
            Err(error) => return Err(at(AttemptStep::Connect)(error)),
        }
        // Not before: an unconnected socket reports a hang-up, and that sticks.
        let registration = local
            .register(socket.into(), SourceKind::Tcp)
            .map_err(at(AttemptStep::Open))?;
        Ok(Self {
            registration: Some(registration),
            target,
            unbound: own.is_none(),
            waited: false,
        })
    }
}

impl Future for Connecting {
    type Output = Result<(Registration, SocketAddr), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let registration = this.registration.take();
        let registration = registration.expect("an attempt is not polled after it has ended");
        let waited = &mut this.waited;
        let (target, unbound) = (this.target, this.unbound);
        let polled = registration.poll_write_with(cx, |fd| {
            // The selector tells when it is over; it hardly can be yet, so do not ask the socket now.
            if !std::mem::replace(waited, true) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            match outcome(&SockRef::from(&fd), target, unbound) {
                Some(outcome) => Ok(outcome),
                None => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        match polled {
            Poll::Pending => {
                this.registration = Some(registration);
                Poll::Pending
            }
            Poll::Ready(Ok(Ok(peer))) => Poll::Ready(Ok((registration, peer))),
            Poll::Ready(Ok(Err(error)) | Err(error)) => Poll::Ready(Err(Failure {
                step: AttemptStep::Connect,
                error,
            })),
        }
    }
}

/// A socket that is ready to connect.
pub(super) fn open(
    target: SocketAddr,
    nodelay: bool,
    options: &SocketOptions,
) -> Result<Socket, Failure> {
    let set_up = || {
        let socket = options::new_socket(target)?;
        options::prepare(&socket)?;
        if !nodelay {
            socket.set_tcp_nodelay(false)?;
        }
        options.apply(&socket)?;
        Ok(socket)
    };
    set_up().map_err(|error| Failure {
        step: AttemptStep::Open,
        error,
    })
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted
        || error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error())
}

/// What has become of connecting, and with whom; `None`: nothing yet.
fn outcome(
    socket: &SockRef<'_>,
    target: SocketAddr,
    unbound: bool,
) -> Option<io::Result<SocketAddr>> {
    match socket.take_error() {
        Ok(None) => {}
        Ok(Some(error)) | Err(error) => return Some(Err(error)),
    }
    // No error is not yet a connection: the wake-up may have been for nothing.
    let peer = match socket.peer_addr() {
        // Another one than the target if that was "any" (0.0.0.0).
        Ok(peer) => peer.as_socket().unwrap_or(target),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => return None,
        Err(error) => return Some(Err(error)),
    };
    if unbound && peer.ip().is_loopback() && is_self_connected(socket, peer) {
        return Some(Err(Errno::CONNREFUSED.into()));
    }
    Some(Ok(peer))
}

/// Whether the system has chosen, out of all ports, the one that nobody listens on and that we want to connect to. TCP then has
/// the socket connect to itself ("simultaneous open"), and one would talk to oneself instead of being refused.
fn is_self_connected(socket: &SockRef<'_>, peer: SocketAddr) -> bool {
    let own = socket.local_addr().ok().and_then(|own| own.as_socket());
    own.is_some_and(|own| own.port() == peer.port() && own.ip() == peer.ip())
}

#[cfg(test)]
mod tests {
    use super::{SocketOptions, open, outcome};
    use socket2::{SockAddr, SockRef};
    use std::net::SocketAddr;

    /// A socket made to connect to itself, as chance does once in some 28000 attempts.
    #[test]
    fn connected_to_itself_is_refused() {
        let options = SocketOptions::default();
        let socket = open(SocketAddr::from(([127, 0, 0, 1], 0)), true, &options).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let own: SockAddr = socket.local_addr().unwrap();
        let _in_progress = socket.connect(&own);
        let own = own.as_socket().unwrap();
        let socket = SockRef::from(&socket);
        let refused = outcome(&socket, own, true).unwrap().unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(
            outcome(&socket, own, false).unwrap().is_ok(),
            "bound, it was meant"
        );
    }
}
