//! Accepting: what a server does when a listener has connections waiting.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

use rondel_executor::Callback;
use rondel_loop::{ExceptionContext, LocalLoop, TimerHandle};

use crate::server::listening::Listening;
use crate::server::sessions::{Accepts, Sessions};

/// How long accepting pauses after the system refused it. asyncio's value.
const PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections in batches. A callback: no task waits.
pub(super) struct Acceptor {
    /// `None` once closed.
    listener: RefCell<Option<Rc<dyn Listening>>>,
    local: LocalLoop,
    local_addr: Option<SocketAddr>,
    name: String,
    batch: u32,
    sessions: Weak<Sessions>,
    /// Armed while accepting pauses.
    pause: RefCell<Option<TimerHandle>>,
}

impl Acceptor {
    pub(super) fn start(
        listener: Rc<dyn Listening>,
        batch: u32,
        sessions: &Rc<Sessions>,
    ) -> Rc<Self> {
        let acceptor = Rc::new(Self {
            local: listener.registration().local_loop().clone(),
            local_addr: listener.local_addr(),
            name: listener.name(),
            listener: RefCell::new(Some(Rc::clone(&listener))),
            batch: batch.max(1),
            sessions: Rc::downgrade(sessions),
            pause: RefCell::default(),
        });
        listener
            .registration()
            .set_callback(Some(Rc::clone(&acceptor) as Rc<dyn Callback>));
        let accepts = Rc::downgrade(&acceptor);
        sessions.add_acceptor(accepts);
        acceptor
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    pub(super) fn name(&self) -> &str {
        &self.name
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

    pub(super) fn listener(&self) -> Option<Rc<dyn Listening>> {
        self.listener.borrow().clone()
    }

    fn accept_batch(self: &Rc<Self>) {
        for _ in 0..self.batch {
            let (Some(listener), Some(sessions)) = (self.listener(), self.sessions.upgrade())
            else {
                return;
            };
            if !sessions.is_accepting() {
                // Called again when that changes.
                return;
            }
            match listener.try_accept() {
                Ok(handles) => sessions.begin(&self.local, handles),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.pause(error),
            }
        }
        Rc::clone(self).go_on();
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
            self.name
        ));
        self.local
            .call_exception_handler(&context.with_error(error));
    }
}

impl Accepts for Acceptor {
    /// Goes to the back of the ready queue.
    fn go_on(self: Rc<Self>) {
        let spawner = self.local.spawner();
        spawner.push(self);
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
