//! Calling a protocol: the one place from which its methods are called.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};

use rondel_executor::{Callback, PanicPayload};
use rondel_loop::{ExceptionContext, LoopClosed, Registration};

use crate::datagram::addr::{Arrived, DatagramAddr};
use crate::datagram::error::{Attempt, DatagramError};
use crate::datagram::protocol::DatagramProtocol;
use crate::datagram::transport::{Core, DatagramTransport, Phase};

/// How many times in a row an endpoint receives before others have their turn.
const ROUNDS: usize = 16;

/// What the loop calls when the socket is ready, or when there is something to tell. The loop owns it, by the registration: a
/// loop that is closed drops it.
struct Attendant<P, A: DatagramAddr>
where
    P: DatagramProtocol<A>,
{
    core: Rc<Core<A>>,
    /// Borrowed only while the protocol runs, and never waited for.
    protocol: Rc<RefCell<P>>,
    made: Cell<bool>,
    site: &'static Location<'static>,
}

/// Puts `protocol` in charge. It is called for the first time at the loop's next turn.
#[track_caller]
pub(super) fn attach<P: DatagramProtocol<A>, A: DatagramAddr>(
    core: &Rc<Core<A>>,
    protocol: P,
) -> DatagramProtocolRef<P, A> {
    let protocol = Rc::new(RefCell::new(protocol));
    let attendant = Rc::new(Attendant {
        core: Rc::clone(core),
        protocol: Rc::clone(&protocol),
        made: Cell::new(false),
        site: Location::caller(),
    });
    let weak: Weak<Attendant<P, A>> = Rc::downgrade(&attendant);
    core.attendant.replace(Some(weak));
    if let Some(registration) = core.registration() {
        registration.set_callback(Some(attendant));
    }
    core.schedule();
    DatagramProtocolRef {
        protocol,
        transport: DatagramTransport {
            core: Rc::clone(core),
        },
    }
}

/// Makes an endpoint of a socket. Returns when the protocol was told.
///
/// # Cancel safety
/// Dropped, the endpoint is aborted.
pub(crate) async fn open<P: DatagramProtocol<A>, A: DatagramAddr>(
    core: Rc<Core<A>>,
    protocol: P,
) -> (DatagramTransport<A>, DatagramProtocolRef<P, A>) {
    /// Aborts what was not handed out.
    struct Unless<'t, A: DatagramAddr>(Option<&'t DatagramTransport<A>>);

    impl<A: DatagramAddr> Drop for Unless<'_, A> {
        fn drop(&mut self) {
            if let Some(transport) = self.0 {
                transport.abort();
            }
        }
    }

    let protocol = attach(&core, protocol);
    let mut cancelled = Unless(Some(protocol.transport()));
    // The protocol stands before this task in the queue.
    rondel_loop::yield_now().await;
    cancelled.0 = None;
    drop(cancelled);
    (protocol.transport().clone(), protocol)
}

enum Pass {
    /// There is nothing to tell.
    Done,
    /// There is more, when others had their turn.
    More,
    Over,
}

impl<P: DatagramProtocol<A>, A: DatagramAddr> Attendant<P, A> {
    fn attend(&self) {
        let core = &self.core;
        core.scheduled.set(false);
        if core.phase() == Phase::Lost {
            return;
        }
        let Ok(mut protocol) = self.protocol.try_borrow_mut() else {
            // It is told when whoever has it is done.
            core.set_again();
            return;
        };
        let transport = self.transport();
        match catch_unwind(AssertUnwindSafe(|| self.pass(&mut protocol, &transport))) {
            Ok(Pass::Done) => {}
            Ok(Pass::More) => core.schedule(),
            Ok(Pass::Over) => self.lose(&mut protocol, None),
            Err(payload) => {
                self.report(payload);
                self.lose(&mut protocol, Some(io::Error::other(Panicked)));
            }
        }
    }

    fn transport(&self) -> DatagramTransport<A> {
        DatagramTransport {
            core: Rc::clone(&self.core),
        }
    }

    fn pass(&self, protocol: &mut P, transport: &DatagramTransport<A>) -> Pass {
        let core = &*self.core;
        if !self.made.replace(true) {
            protocol.connection_made(transport);
        }
        core.send_queued();
        settle(core, protocol, transport);
        let mut rounds = 0;
        while core.phase() == Phase::Open
            && let Some(registration) = core.registration()
            && registration.ready().is_readable()
        {
            if rounds == ROUNDS {
                return Pass::More;
            }
            rounds += 1;
            receive(core, &registration, protocol, transport);
        }
        if core.phase() == Phase::Over {
            return Pass::Over;
        }
        Pass::Done
    }

    /// The last call.
    #[cold]
    fn lose(&self, protocol: &mut P, error: Option<io::Error>) {
        self.core.set_lost();
        // One that never knew of it need not know that it is gone.
        if self.made.get() {
            let transport = self.transport();
            let called = catch_unwind(AssertUnwindSafe(|| {
                protocol.connection_lost(&transport, error);
            }));
            if let Err(payload) = called {
                self.report(payload);
            }
        }
        self.core.wake_closed();
    }

    fn lose_with_the_loop(&self) {
        if self.core.phase() == Phase::Lost {
            return;
        }
        let Ok(mut protocol) = self.protocol.try_borrow_mut() else {
            // The loop is closed from inside: whoever has the protocol sees it from the transport.
            self.core.set_lost();
            return;
        };
        self.lose(&mut protocol, Some(LoopClosed.into()));
    }

    #[cold]
    fn report(&self, payload: Box<dyn Any + Send>) {
        let mut context = ExceptionContext::new("the protocol of a datagram endpoint panicked");
        context.panic = Some(PanicPayload::new(payload));
        self.core.local.call_exception_handler(&context);
    }
}

/// Tells the protocol what has changed.
fn settle<P: DatagramProtocol<A>, A: DatagramAddr>(
    core: &Core<A>,
    protocol: &mut P,
    transport: &DatagramTransport<A>,
) {
    if core.phase() == Phase::Open && !core.has_untold() {
        return;
    }
    for failure in core.untold_failures() {
        protocol.error_received(transport, failure);
    }
    // One pause and one resume.
    for _ in 0..2 {
        match core.untold_flow() {
            Some(true) => protocol.pause_writing(transport),
            Some(false) => protocol.resume_writing(transport),
            None => break,
        }
    }
    if core.has_untold() {
        core.schedule();
    }
}

/// Receives what one system call brings, and tells the protocol.
fn receive<P: DatagramProtocol<A>, A: DatagramAddr>(
    core: &Core<A>,
    registration: &Registration,
    protocol: &mut P,
    transport: &DatagramTransport<A>,
) {
    let mut lent = core.local.receive_buffer();
    let mut own;
    let buffer = if lent.len() >= A::ROOM {
        &mut lent[..]
    } else {
        own = vec![0; A::ROOM];
        &mut own[..]
    };
    let mut arrived = std::array::from_fn(|_| Arrived::default());
    let count = registration.try_read(|fd| A::receive(fd, buffer, &mut arrived));
    let count = match count {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
        Err(error) => {
            core.fail(DatagramError::wrap(Attempt::Receive, core.remote(), error));
            settle(core, protocol, transport);
            return;
        }
    };
    for arrived in arrived.into_iter().take(count) {
        // Closed or aborted meanwhile.
        if core.phase() != Phase::Open {
            return;
        }
        // Some systems do not repeat who a socket is connected to.
        let Some(from) = arrived.from.or_else(|| core.remote()) else {
            continue;
        };
        if arrived.truncated {
            core.fail(too_large(&from));
        } else {
            protocol.datagram_received(transport, &buffer[arrived.place], from);
        }
        settle(core, protocol, transport);
    }
}

#[cold]
fn too_large<A: DatagramAddr>(from: &A) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "a datagram of more than {} bytes from {} is lost",
            A::ROOM,
            from.name()
        ),
    )
}

impl<P: DatagramProtocol<A>, A: DatagramAddr> Callback for Attendant<P, A> {
    fn call(self: Rc<Self>) {
        self.attend();
    }

    fn discard(&self) {
        self.lose_with_the_loop();
    }

    fn site(&self) -> &'static Location<'static> {
        self.site
    }
}

impl<P: DatagramProtocol<A>, A: DatagramAddr> Drop for Attendant<P, A> {
    fn drop(&mut self) {
        self.lose_with_the_loop();
    }
}

/// A protocol, to be looked at and asked from outside: also when its endpoint is closed. asyncio: what
/// `create_datagram_endpoint` returns beside the transport.
pub struct DatagramProtocolRef<P, A: DatagramAddr = SocketAddr> {
    protocol: Rc<RefCell<P>>,
    transport: DatagramTransport<A>,
}

impl<P, A: DatagramAddr> DatagramProtocolRef<P, A> {
    /// Calls `look` with the protocol and its transport, on which it may do as it likes: the protocol is told what has changed
    /// at the next turn.
    ///
    /// # Errors
    /// `ResourceBusy` if the protocol is running: this was called from one of its methods, or from inside another `with`.
    pub fn with<R>(&self, look: impl FnOnce(&mut P, &DatagramTransport<A>) -> R) -> io::Result<R> {
        /// Even if `look` panics.
        struct GoOn<'c, A: DatagramAddr>(&'c Core<A>);

        impl<A: DatagramAddr> Drop for GoOn<'_, A> {
            fn drop(&mut self) {
                self.0.go_on_if_again();
            }
        }

        // Dropped after the borrow.
        let _go_on = GoOn(&self.transport.core);
        let Ok(mut protocol) = self.protocol.try_borrow_mut() else {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "the protocol is running",
            ));
        };
        Ok(look(&mut protocol, &self.transport))
    }

    /// The transport that the protocol was given.
    pub const fn transport(&self) -> &DatagramTransport<A> {
        &self.transport
    }
}

impl<P, A: DatagramAddr> Clone for DatagramProtocolRef<P, A> {
    fn clone(&self) -> Self {
        Self {
            protocol: Rc::clone(&self.protocol),
            transport: self.transport.clone(),
        }
    }
}

impl<P, A: DatagramAddr> fmt::Debug for DatagramProtocolRef<P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramProtocolRef")
            .field("protocol", &std::any::type_name::<P>())
            .field("transport", &self.transport)
            .finish()
    }
}

/// What an endpoint is lost with when a method of its protocol has panicked.
#[derive(Debug)]
struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the endpoint's protocol panicked")
    }
}

impl std::error::Error for Panicked {}
