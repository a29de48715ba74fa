//! Accepting: what a server does when a listener has connections waiting.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

use rondel_executor::Callback;
use rondel_loop::{ExceptionContext, LocalLoop, TimerHandle};

use crate::server::sessions::Sessions;
use crate::tcp::listener::TcpListener;

/// How long accepting pauses after the system refused it. asyncio's value.
const PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections in batches. A callback: no task waits.
pub(super) struct Acceptor {
    /// `None` once closed.
    listener: RefCell<Option<Rc<TcpListener>>>,
    local: LocalLoop,
    local_addr: SocketAddr,
    batch: u32,
    sessions: Weak<Sessions>,
    /// Armed while accepting pauses.
    pause: RefCell<Option<TimerHandle>>,
}

impl Acceptor {
    pub(super) fn start(listener: TcpListener, batch: u32, sessions: &Rc<Sessions>) -> Rc<Self> {
        let listener = Rc::new(listener);
        let acceptor = Rc::new(Self {
            local: listener.registration().local_loop().clone(),
            local_addr: listener.local_addr(),
            listener: RefCell::new(Some(Rc::clone(&listener))),
            batch: batch.max(1),
            sessions: Rc::downgrade(sessions),
            pause: RefCell::default(),
        });
        listener
            .registration()
            .set_callback(Some(Rc::clone(&acceptor) as Rc<dyn Callback>));
        // Some may have been announced before.
        acceptor.go_on();
        acceptor
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub(super) fn close(&self) {
        let listener = self.listener.borrow_mut().take();
        if let Some(listener) = listener {
            // It holds this one.
            listener.registration().set_callback(None);
        }
        let pause = self.pause.borrow_mut().take();
        if let Some(pause) = pause {
            pause.cancel();
        }
    }

    fn listener(&self) -> Option<Rc<TcpListener>> {
        self.listener.borrow().clone()
    }

    /// Goes to the back of the ready queue.
    fn go_on(self: &Rc<Self>) {
        self.local
            .spawner()
            .push(Rc::clone(self) as Rc<dyn Callback>);
    }

    fn accept_batch(self: &Rc<Self>) {
        for _ in 0..self.batch {
            let (Some(listener), Some(sessions)) = (self.listener(), self.sessions.upgrade())
            else {
                return;
            };
            match listener.try_accept() {
                Ok((stream, peer)) => sessions.begin(&self.local, stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.pause(error),
            }
        }
        self.go_on();
    }

    /// Leaves connections waiting for a while.
    fn pause(self: &Rc<Self>, error: io::Error) {
        if self.local.is_closed() {
            return;
        }
        let this = Rc::clone(self);
        let timer = self.local.call_later(PAUSE, move || {
            this.pause.take();
            this.accept_batch();
        });
        self.pause.replace(Some(timer));
        let context = ExceptionContext::new(format!(
            "the server on {} cannot accept connections, and tries again in {PAUSE:?}",
            self.local_addr
        ));
        self.local
            .call_exception_handler(&context.with_error(error));
    }
}

/// The listener has become readable, or it is this one's turn again.
impl Callback for Acceptor {
    fn call(self: Rc<Self>) {
        if self.pause.borrow().is_none() {
            self.accept_batch();
        }
    }

    fn site(&self) -> &'static Location<'static> {
        Location::caller()
    }
}
