//! A server's sessions: a connection and the task that handles it, until both are done.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use rondel_loop::{LocalLoop, Task};
use rondel_sync::Event;

use crate::engine::Connection;
use crate::server::handler::Start;
use crate::tcp::stream::TcpStream;

pub(super) struct Sessions {
    start: Start,
    alive: RefCell<HashMap<u64, Session>>,
    /// Sessions whose handler has not ended.
    handlers: Cell<usize>,
    begun: Cell<u64>,
    closed: Cell<bool>,
    /// Set for a moment whenever something has ended.
    changed: Event,
}

/// Removed when both are `None`.
struct Session {
    handler: Option<Rc<Task<()>>>,
    connection: Option<Weak<Connection>>,
}

impl Sessions {
    pub(super) fn new(start: Start) -> Rc<Self> {
        Rc::new(Self {
            start,
            alive: RefCell::default(),
            handlers: Cell::new(0),
            begun: Cell::new(0),
            closed: Cell::new(false),
            changed: Event::new(),
        })
    }

    /// A connection was accepted.
    pub(super) fn begin(self: &Rc<Self>, local: &LocalLoop, stream: TcpStream, peer: SocketAddr) {
        let number = self.begun.get();
        self.begun.set(number + 1);
        stream.connection().set_guard(Box::new(ConnectionOpen {
            sessions: Rc::downgrade(self),
            number,
        }));
        let connection = Rc::downgrade(stream.connection());
        let handler = (self.start)(local, stream, peer);
        let sessions = Rc::downgrade(self);
        handler.on_done(move |_| {
            if let Some(sessions) = sessions.upgrade() {
                sessions.on_handler_done(number);
            }
        });
        self.handlers.set(self.handlers.get() + 1);
        let session = Session {
            handler: Some(Rc::new(handler)),
            connection: Some(connection),
        };
        self.alive.borrow_mut().insert(number, session);
    }

    fn on_handler_done(&self, number: u64) {
        let handler = self.change(number, |session| session.handler.take());
        self.handlers.set(self.handlers.get() - 1);
        // The end of a handler that panicked is reported by this.
        drop(handler);
        self.notify();
    }

    fn on_connection_closed(&self, number: u64) {
        self.change(number, |session| session.connection.take());
        self.notify();
    }

    fn change<R>(&self, number: u64, change: impl FnOnce(&mut Session) -> R) -> Option<R> {
        let mut alive = self.alive.borrow_mut();
        let session = alive.get_mut(&number)?;
        let changed = change(session);
        if session.handler.is_none() && session.connection.is_none() {
            alive.remove(&number);
        }
        Some(changed)
    }

    fn notify(&self) {
        if self.changed.waiting() > 0 {
            self.changed.set();
            self.changed.clear();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.alive.borrow().len()
    }

    pub(super) fn handlers(&self) -> usize {
        self.handlers.get()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
        self.notify();
    }

    pub(super) async fn until(&self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.changed.wait().await;
        }
    }

    /// Cancels the handlers that run; gives their number.
    pub(super) fn cancel(&self) -> usize {
        let handlers: Vec<_> = self
            .alive
            .borrow()
            .values()
            .filter_map(|session| session.handler.clone())
            .collect();
        handlers.iter().filter(|handler| handler.cancel()).count()
    }

    /// Aborts the connections that are open; gives their number.
    pub(super) fn abort(&self) -> usize {
        let open: Vec<Rc<Connection>> = self
            .alive
            .borrow()
            .values()
            .filter_map(|session| session.connection.as_ref()?.upgrade())
            .collect();
        for connection in &open {
            connection.abort();
        }
        open.len()
    }
}

/// Lives as long as a connection's descriptor.
struct ConnectionOpen {
    sessions: Weak<Sessions>,
    number: u64,
}

impl Drop for ConnectionOpen {
    fn drop(&mut self) {
        if let Some(sessions) = self.sessions.upgrade() {
            sessions.on_connection_closed(self.number);
        }
    }
}
