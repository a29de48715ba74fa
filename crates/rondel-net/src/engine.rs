//! The engine: a connection's two halves over a registered descriptor. It names none of its users.
//!
//! ```text
//!   receive:  descriptor ──> the loop's buffer, lent to whoever asks  (or straight into the caller's)
//!   send:     write ──> queue ──> descriptor      whole, in order; at once, at the end of the turn, or as there is room
//! ```
//!
//! Nothing above calls `recv` or `send`; they are in `calls.rs`, with what pipes have instead. A pipe's connection goes one way
//! only: to whoever writes it is as if the peer had ended, to whoever reads it as if this end had.
//!
//! The descriptor is closed when nobody needs it any more: after [`close`](Connection::close) as soon as the queue is sent, which
//! needs no handle; after [`abort`](Connection::abort) at once; else with the last handle.
//!
//! Whoever waits for a descriptor is known to its [`Registration`]; while there is something queued that the system would not
//! take, the registration also knows the connection, which is what keeps it alive without any handle.

mod attend;
mod calls;
mod early;
mod inbound;
#[cfg(feature = "tls-core")]
mod layer;
#[cfg(not(feature = "tls-core"))]
#[path = "engine/no_layer.rs"]
mod layer;
mod outbound;
mod send;
#[cfg(feature = "fs")]
mod send_file;
mod side;
#[cfg(feature = "tracing")]
mod span;
#[cfg(not(feature = "tracing"))]
#[path = "engine/no_span.rs"]
mod span;
mod spare;

pub(crate) use attend::{Attendant, Received};
pub(crate) use calls::Calls;
#[cfg(feature = "tls-core")]
pub(crate) use layer::{Clear, Layer};
pub(crate) use send::{Goal, Urgency};
#[cfg(feature = "fs")]
pub(crate) use send_file::{Piece, SendingFile};
pub(crate) use side::Side;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroI32;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};

use rondel_loop::{LocalLoop, ReceiveBuffer, Registration};
use rondel_sync::Event;

use crate::engine::attend::Attendance;
use crate::engine::early::Early;
use crate::engine::inbound::Allowance;
use crate::engine::layer::LayerSlot;
use crate::engine::outbound::Outbound;
use crate::engine::span::ConnectionSpan;
use crate::error::{Attempt, ConnectionLost};
use crate::peer::Peer;

/// One connection.
pub(crate) struct Connection {
    /// `None` once the descriptor is closed.
    registration: RefCell<Option<Registration>>,
    local: LocalLoop,
    this: Weak<Self>,
    peer: Peer,
    calls: Calls,
    ways: Ways,
    /// Whether it is a socket of its own with no layer: nearly always, and then no more has to be asked.
    direct: Cell<bool>,
    phase: Cell<Phase>,
    /// The first failure; it is what everything fails with from then on.
    fault: Cell<Option<Fault>>,
    // The receive half.
    allowance: Cell<Allowance>,
    received_end: Cell<bool>,
    // The send half. The queue is borrowed for the length of a system call at most.
    outbound: RefCell<Outbound>,
    finish: Cell<Finish>,
    /// In the loop's list of those to be flushed.
    flush_due: Cell<bool>,
    /// In the ready queue, to go on sending.
    send_due: Cell<bool>,
    /// Called when the descriptor becomes ready.
    watching: Cell<bool>,
    held: Cell<Held>,
    /// What hardly any connection has.
    rare: OnceCell<Box<Rare>>,
    /// Told when the descriptor is closed, or this is gone.
    owner: Cell<Option<Weak<dyn Owner>>>,
    /// What the owner knows it by.
    number: Cell<u32>,
    /// Who is called when there is something to do, if somebody is.
    attendant: Cell<Option<Rc<dyn Attendant>>>,
    attendance: Attendance,
    /// What stands between the descriptor and the users, if something does.
    layer: LayerSlot,
    span: ConnectionSpan,
}

#[derive(Default)]
struct Rare {
    /// Set when the descriptor is closed.
    closed: Event,
    /// What was received before there was an attendant.
    early: Cell<Option<Early>>,
}

/// Who keeps account of connections, without keeping them.
pub(crate) trait Owner {
    /// The connection of this number is closed. Called once.
    fn on_closed(&self, number: u32);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Everything queued is still to be sent, then it is closed.
    Closing,
    /// Everything is sent; the peer's farewell is waited for.
    #[cfg_attr(
        not(feature = "tls-core"),
        allow(dead_code, reason = "only layers have farewells")
    )]
    Lingering,
    Closed,
    Aborted,
    /// Closed since the loop was.
    Abandoned,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Lingering => "lingering",
            Self::Closed => "closed",
            Self::Aborted => "aborted",
            Self::Abandoned => "abandoned: the loop is closed",
        }
    }
}

/// Which ways bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ways {
    Both,
    /// To this end.
    #[cfg_attr(not(feature = "pipe"), allow(dead_code, reason = "pipes go one way"))]
    In,
    /// From this end.
    #[cfg_attr(not(feature = "pipe"), allow(dead_code, reason = "pipes go one way"))]
    Out,
}

/// How far the end of what is sent has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    Open,
    /// Not come, but nothing else can be written while a file is being sent.
    #[cfg_attr(not(feature = "fs"), allow(dead_code, reason = "no files are sent"))]
    AfterFile,
    /// To be sent behind what is queued.
    Wanted,
    Sent,
}

/// A failure, in a form that can be told again and again.
#[derive(Clone, Copy, Debug)]
struct Fault {
    attempt: Attempt,
    kind: io::ErrorKind,
    /// Small, as all of it: every connection has room for one.
    code: Option<NonZeroI32>,
}

/// Which halves have a handle.
#[derive(Clone, Copy, Debug)]
struct Held {
    reader: bool,
    writer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Reader,
    Writer,
}

/// What keeps one half of a connection open. The descriptor is closed with the last of the two.
pub(crate) struct Handle {
    connection: Rc<Connection>,
    half: Half,
}

/// Both halves of one connection. Dropped, it closes both ways at once, since the reader goes first.
#[derive(Debug)]
pub(crate) struct Handles {
    pub(crate) reader: Handle,
    pub(crate) writer: Handle,
}

impl Handle {
    /// The connection, to be shared: it says nothing about the halves.
    #[inline]
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connection.release(self.half);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.connection, f)
    }
}

impl Connection {
    /// Takes over a socket that is connected, non-blocking and registered.
    pub(crate) fn open(registration: Registration, peer: impl Into<Peer>, side: Side) -> Handles {
        let connection = Self::new(registration, Calls::Socket, Ways::Both, peer.into(), side);
        Handles {
            reader: Handle {
                connection: Rc::clone(&connection),
                half: Half::Reader,
            },
            writer: Handle {
                connection,
                half: Half::Writer,
            },
        }
    }

    /// Takes over a descriptor to receive from, which is registered and does not wait.
    #[cfg(feature = "pipe")]
    pub(crate) fn open_in(registration: Registration, calls: Calls, peer: Peer) -> Handle {
        Handle {
            connection: Self::new(registration, calls, Ways::In, peer, Side::Given),
            half: Half::Reader,
        }
    }

    /// The same to send to.
    #[cfg(feature = "pipe")]
    pub(crate) fn open_out(registration: Registration, calls: Calls, peer: Peer) -> Handle {
        Handle {
            connection: Self::new(registration, calls, Ways::Out, peer, Side::Given),
            half: Half::Writer,
        }
    }

    fn new(
        registration: Registration,
        calls: Calls,
        ways: Ways,
        peer: Peer,
        side: Side,
    ) -> Rc<Self> {
        let local = registration.local_loop().clone();
        let span = ConnectionSpan::new(&registration, &peer, side);
        Rc::new_cyclic(|this| Self {
            registration: RefCell::new(Some(registration)),
            local,
            this: Weak::clone(this),
            peer,
            calls,
            ways,
            direct: Cell::new(calls.is_own_socket()),
            phase: Cell::new(Phase::Open),
            fault: Cell::new(None),
            allowance: Cell::new(Allowance::FULL),
            received_end: Cell::new(ways == Ways::Out),
            outbound: RefCell::default(),
            finish: Cell::new(match ways {
                Ways::Both | Ways::Out => Finish::Open,
                Ways::In => Finish::Sent,
            }),
            flush_due: Cell::new(false),
            send_due: Cell::new(false),
            watching: Cell::new(false),
            held: Cell::new(Held {
                reader: ways != Ways::Out,
                writer: ways != Ways::In,
            }),
            rare: OnceCell::new(),
            owner: Cell::new(None),
            number: Cell::new(0),
            attendant: Cell::default(),
            attendance: Attendance::default(),
            layer: LayerSlot::default(),
            span,
        })
    }

    /// Whether this end can ever send.
    #[inline]
    pub(crate) fn is_for_sending(&self) -> bool {
        self.ways != Ways::In
    }

    /// Whether bytes go both ways over a socket that is this process's own.
    #[cfg(feature = "tls-core")]
    pub(crate) fn is_whole(&self) -> bool {
        self.ways == Ways::Both && self.calls.is_own_socket()
    }

    /// This end's address.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let addr = rustix::net::getsockname(&self.open_registration()?)?;
        Ok(SocketAddr::try_from(addr)?)
    }

    /// The other end's address, if it is one of the Internet's.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer.inet()
    }

    /// The other end, to be named.
    pub(crate) fn peer_name(&self) -> Peer {
        self.peer.clone()
    }

    /// What is done for it, to those who watch.
    #[inline]
    pub(crate) const fn span(&self) -> &ConnectionSpan {
        &self.span
    }

    /// The loop it belongs to.
    pub(crate) const fn local_loop(&self) -> &LocalLoop {
        &self.local
    }

    /// The loop's buffer, to receive into.
    #[inline]
    pub(crate) fn receive_buffer(&self) -> ReceiveBuffer {
        self.local.receive_buffer()
    }

    /// The descriptor, as long as there is one. A share, since what is done with it may run foreign code that closes it.
    #[inline]
    pub(crate) fn registration(&self) -> Option<Registration> {
        self.registration.borrow().clone()
    }

    /// The descriptor, for what needs an open one.
    pub(crate) fn open_registration(&self) -> io::Result<Registration> {
        self.registration().ok_or_else(closed_here)
    }

    /// Has `owner` told when the descriptor is closed, in whatever way.
    pub(crate) fn set_owner(&self, owner: Weak<dyn Owner>, number: u32) {
        self.number.set(number);
        let before = self.owner.replace(Some(owner));
        drop(before);
    }

    fn tell_owner(&self) {
        if let Some(owner) = self.owner.take()
            && let Some(owner) = owner.upgrade()
        {
            owner.on_closed(self.number.get());
        }
    }

    /// Whether [`close`](Connection::close) or [`abort`](Connection::abort) was called, or all handles are gone.
    pub(crate) fn is_closing(&self) -> bool {
        self.phase.get() != Phase::Open
    }

    /// Whether the descriptor is closed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(
            self.phase.get(),
            Phase::Closed | Phase::Aborted | Phase::Abandoned
        )
    }

    /// Sends what is queued, then closes. What cannot be sent now is sent without any handle.
    pub(crate) fn close(self: &Rc<Self>) {
        if self.is_closing() {
            return;
        }
        if self.finish.get() == Finish::AfterFile {
            // A cut file must not look whole.
            return self.abort();
        }
        self.say_farewell();
        self.phase.set(Phase::Closing);
        self.send_queued();
        if self.phase.get() != Phase::Closing {
            // That was all, or it failed.
        } else if self.is_sent() {
            self.close_sent();
        } else if self.local.is_closed() {
            self.abort();
        }
    }

    /// Everything is sent.
    fn close_sent(&self) {
        if !self.linger() {
            self.close_descriptor(Phase::Closed);
        }
    }

    /// Closes at once, and drops what is queued. The peer sees a reset, not an end.
    pub(crate) fn abort(&self) {
        if self.is_closed() {
            return;
        }
        self.discard_queue();
        if let Some(registration) = self.registration() {
            self.calls.set_reset(&registration);
        }
        self.close_descriptor(Phase::Aborted);
    }

    /// The same, of what was dropped with something still to be sent. asyncio: `ResourceWarning`.
    #[cold]
    fn abort_dropped(&self) {
        if self.fault.get().is_none() {
            self.local.notice_dropped(|| {
                let peer = &self.peer;
                let unsent = match self.queued() {
                    0 => "in the middle of a file".into(),
                    1 => "with 1 byte unsent".into(),
                    bytes => format!("with {bytes} bytes unsent"),
                };
                format!("a connection to {peer} was dropped {unsent}, and aborted: close it, or drain it first")
            });
        }
        self.abort();
    }

    /// A handle is gone.
    fn release(self: &Rc<Self>, half: Half) {
        let mut held = self.held.get();
        match half {
            Half::Reader => held.reader = false,
            Half::Writer => held.writer = false,
        }
        self.held.set(held);
        if self.is_closing() || self.is_attended() {
            return;
        }
        if half == Half::Writer {
            self.send_all_possible();
            if !self.is_sent() {
                return self.abort_dropped();
            }
        }
        match (held.reader, held.writer) {
            (false, false) if self.finish.get() == Finish::AfterFile => self.abort_dropped(),
            (false, false) if self.is_layered() => self.close(),
            (false, false) => self.close_descriptor(Phase::Closed),
            // In nearly all cases the reader goes in the same turn; then closing is all there is to do.
            (true, false) => self.finish_soon(),
            (_, true) => {}
        }
    }

    /// Waits until the descriptor is closed, and everything accepted before has been taken by the system.
    pub(crate) async fn wait_closed(&self) -> io::Result<()> {
        if !self.is_closed() && !self.is_useless() {
            self.rare.get_or_init(Box::default).closed.wait().await;
        }
        match self.fault.get() {
            Some(fault) => Err(self.lost(fault)),
            None => Ok(()),
        }
    }

    /// Takes the descriptor out, for somebody else.
    pub(crate) fn into_fd(self: &Rc<Self>) -> io::Result<OwnedFd> {
        use std::os::fd::AsFd;

        if self.is_layered() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the descriptor of a TLS connection is of no use without its keys",
            ));
        }
        self.send_all_possible();
        if let Some(fault) = self.fault.get() {
            return Err(self.lost(fault));
        }
        if !self.is_sent() {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "there are bytes queued; flush first",
            ));
        }
        let registration = self.open_registration()?;
        let fd = registration.as_fd().try_clone_to_owned()?;
        // No words to the peer: the connection lives on.
        self.received_end.set(true);
        self.close_descriptor(Phase::Closed);
        Ok(fd)
    }

    /// Lets go of the descriptor, which closes it unless a system call is under way further up; wakes all who wait.
    fn close_descriptor(&self, phase: Phase) {
        self.phase.set(phase);
        let registration = self.registration.borrow_mut().take();
        if let Some(registration) = registration {
            if phase == Phase::Closed {
                self.discard_received(&registration);
            }
            self.unwatch(&registration);
            drop(registration);
        }
        // An attendant is told before those who wait.
        self.changed();
        // Wakers are foreign code; everything is in order by now.
        if let Some(rare) = self.rare.get() {
            rare.closed.set();
        }
        self.tell_owner();
        self.span.closed(phase.name(), || {
            let fault = self.fault.get()?;
            Some(self.lost(fault))
        });
    }

    /// Notes a failure, unless one is known, and gives it as an error.
    fn fail(&self, attempt: Attempt, error: io::Error) -> io::Error {
        if error.raw_os_error().is_none() {
            // The loop is closed. That is nothing between us and the peer.
            return error;
        }
        let fault = self.fault.get().unwrap_or_else(|| Fault {
            attempt,
            kind: error.kind(),
            code: error.raw_os_error().and_then(NonZeroI32::new),
        });
        self.fault.set(Some(fault));
        self.discard_queue();
        if self.phase.get() == Phase::Closing {
            self.close_descriptor(Phase::Closed);
        }
        self.changed();
        if self.is_useless()
            && let Some(rare) = self.rare.get()
        {
            // Wakers are foreign code; everything is in order by now.
            rare.closed.set();
        }
        self.lost(fault)
    }

    /// Whether it can neither send any more nor ever receive: that is as good as closed.
    fn is_useless(&self) -> bool {
        self.ways == Ways::Out && self.fault.get().is_some()
    }

    fn lost(&self, fault: Fault) -> io::Error {
        if fault.attempt == Attempt::Layer
            && let Some(failure) = self.layer_failure()
        {
            return failure;
        }
        let source = match fault.code {
            Some(code) => io::Error::from_raw_os_error(code.get()),
            None => fault.kind.into(),
        };
        ConnectionLost::new(fault.attempt, self.peer.clone(), source).into()
    }
}

fn closed_here() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "the connection was closed at this end",
    )
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without handles, something is queued only when the loop was closed before it could be sent.
        if let Some(registration) = self.registration.get_mut()
            && !self.outbound.get_mut().is_empty()
        {
            self.calls.set_reset(registration);
        }
        self.tell_owner();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("phase", &self.phase.get())
            .field("fault", &self.fault.get())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}
