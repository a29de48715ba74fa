//! [`LoopSocket`]: a UDP socket whose readiness the loop knows.

use std::future::pending;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use rondel_executor::{LoopBound, Task};
use rondel_loop::{LocalLoop, LoopClosed, Registration, SourceKind};

/// The loop has a duplicate of the descriptor: quinn may use and drop the socket on any thread, the readiness is known at home.
#[derive(Debug)]
pub(crate) struct LoopSocket {
    udp: UdpSocket,
    /// What quinn-udp knows of it: segments in one call, options that the system lacks.
    state: UdpSocketState,
    readiness: LoopBound<Readiness>,
}

/// The registration belongs to a task, so that it ends with the loop even if the socket is forgotten on another thread, from where
/// nothing gets home any more.
#[derive(Debug)]
struct Readiness {
    registration: Weak<Registration>,
    keeper: Task<()>,
}

impl Readiness {
    fn new(local: &LocalLoop, udp: &UdpSocket) -> io::Result<Self> {
        let registration = Rc::new(local.register(udp.try_clone()?.into(), SourceKind::Other)?);
        let weak = Rc::downgrade(&registration);
        let keeper = local.create_task(async move {
            let _kept = registration;
            pending().await
        });
        keeper.set_name(match udp.local_addr() {
            Ok(addr) => format!("QUIC on {addr}"),
            Err(_) => "QUIC".to_owned(),
        });
        Ok(Self {
            registration: weak,
            keeper,
        })
    }

    fn registration(&self) -> io::Result<Rc<Registration>> {
        self.registration.upgrade().ok_or_else(|| LoopClosed.into())
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.keeper.cancel();
    }
}

impl LoopSocket {
    pub(crate) fn new(local: &LocalLoop, udp: UdpSocket) -> io::Result<Self> {
        // It makes the socket non-blocking, too.
        let state = UdpSocketState::new((&udp).into())?;
        let readiness = Readiness::new(local, &udp)?;
        Ok(Self {
            udp,
            state,
            readiness: LoopBound::new(&local.spawner(), readiness),
        })
    }

    fn registration(&self) -> io::Result<Rc<Registration>> {
        self.readiness
            .try_get()
            .map_err(io::Error::other)?
            .registration()
    }
}

impl AsyncUdpSocket for LoopSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.readiness.try_get() {
            Ok(home) => home
                .registration()?
                .try_write(|fd| self.state.send((&fd).into(), transmit)),
            // Connections send at home only. This is an answer to whoever is refused, or asked for a token, on another thread, and
            // quinn does without if there is no room.
            Err(_) => self.state.send((&self.udp).into(), transmit),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.registration()?
            .poll_read_with(cx, |fd| self.state.recv((&fd).into(), bufs, meta))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Waits for room on a socket. Several may.
#[derive(Debug)]
struct Writable(Arc<LoopSocket>);

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.registration()?.poll_write_with(cx, |_| Ok(()))
    }
}
