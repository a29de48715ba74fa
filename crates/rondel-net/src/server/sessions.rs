//! A server's sessions: a connection and the task that handles it, until both are done.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use rondel_loop::{LocalLoop, Task};
use rondel_sync::Event;

use crate::engine::{Connection, Handles, Owner};
use crate::server::handler::Start;

pub(super) struct Sessions {
    start: Start,
    alive: RefCell<Table>,
    /// How many there may be.
    most: usize,
    /// Those that accept, to be called when there is a place again.
    acceptors: RefCell<Vec<Weak<dyn Accepts>>>,
    /// Sessions whose handler has not ended.
    handlers: Cell<usize>,
    serving: Cell<bool>,
    closed: Cell<bool>,
    /// Whether somebody serves for ever.
    for_ever: Cell<bool>,
    /// Set for a moment whenever something has ended.
    changed: Event,
}

/// Who begins sessions, as long as there is a place.
pub(super) trait Accepts {
    /// There is a place again.
    fn go_on(self: Rc<Self>);
}

/// Removed when both are `None`.
struct Session {
    /// Until it has ended; a protocol's has none.
    handler: Option<Rc<Task<()>>>,
    connection: Option<Weak<Connection>>,
}

/// Sessions by number; numbers are used again.
#[derive(Default)]
struct Table {
    places: Vec<Session>,
    /// The numbers of sessions that were removed.
    vacant: Vec<u32>,
}

impl Table {
    fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    fn insert(&mut self, session: Session) -> u32 {
        if let Some(number) = self.vacant.pop() {
            self.places[number as usize] = session;
            return number;
        }
        self.places.push(session);
        u32::try_from(self.places.len() - 1).expect("no process has so many descriptors")
    }
}

impl Sessions {
    pub(super) fn new(start: Start, most: usize) -> Rc<Self> {
        Rc::new(Self {
            start,
            alive: RefCell::default(),
            most,
            acceptors: RefCell::default(),
            handlers: Cell::new(0),
            serving: Cell::new(false),
            closed: Cell::new(false),
            for_ever: Cell::new(false),
            changed: Event::new(),
        })
    }

    pub(super) fn add_acceptor(&self, acceptor: Weak<dyn Accepts>) {
        self.acceptors.borrow_mut().push(acceptor);
    }

    /// Whether connections are accepted at the moment.
    pub(super) fn is_accepting(&self) -> bool {
        self.serving.get() && self.len() < self.most
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving.get() && !self.closed.get()
    }

    pub(super) fn start_serving(&self) {
        if !self.closed.get() && !self.serving.replace(true) {
            self.accept_soon();
        }
    }

    fn accept_soon(&self) {
        for acceptor in &*self.acceptors.borrow() {
            if let Some(acceptor) = acceptor.upgrade() {
                acceptor.go_on();
            }
        }
    }

    /// A connection was accepted.
    pub(super) fn begin(self: &Rc<Self>, local: &LocalLoop, handles: Handles) {
        let connection = Rc::clone(handles.writer.connection());
        let number = self.alive.borrow_mut().insert(Session {
            handler: None,
            connection: Some(Rc::downgrade(&connection)),
        });
        if let Some(handler) = (self.start)(local, handles) {
            let sessions = Rc::downgrade(self);
            handler.on_done(move |_| {
                if let Some(sessions) = sessions.upgrade() {
                    sessions.on_handler_done(number);
                }
            });
            self.handlers.set(self.handlers.get() + 1);
            let handler = Some(Rc::new(handler));
            self.change(number, |session| session.handler = handler);
        }
        // Only now, so that the session stays though what was started may have closed the connection.
        if connection.is_closed() {
            self.on_closed(number);
        } else {
            let this = Rc::downgrade(self);
            connection.set_owner(this, number);
        }
    }

    fn on_handler_done(&self, number: u32) {
        let handler = self.change(number, |session| session.handler.take());
        self.handlers.set(self.handlers.get() - 1);
        // The end of a handler that panicked is reported by this.
        drop(handler);
        self.notify();
    }

    /// Changes a session, which is there: it has a connection or a handler still.
    fn change<R>(&self, number: u32, change: impl FnOnce(&mut Session) -> R) -> R {
        let mut alive = self.alive.borrow_mut();
        let session = &mut alive.places[number as usize];
        let changed = change(session);
        if session.handler.is_none() && session.connection.is_none() {
            alive.vacant.push(number);
            let accepts_again = alive.len() + 1 == self.most;
            drop(alive);
            if accepts_again {
                self.accept_soon();
            }
        }
        changed
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
            .places
            .iter()
            .filter_map(|session| session.handler.clone())
            .collect();
        handlers.iter().filter(|handler| handler.cancel()).count()
    }

    /// The connections that are open.
    pub(super) fn open(&self) -> Vec<Rc<Connection>> {
        self.alive
            .borrow()
            .places
            .iter()
            .filter_map(|session| session.connection.as_ref()?.upgrade())
            .collect()
    }

    /// Whoever serves for ever is the only one: `None` if there is another.
    pub(super) fn serve_for_ever(&self) -> Option<ForEver<'_>> {
        (!self.for_ever.replace(true)).then_some(ForEver(self))
    }
}

/// Somebody serves for ever, as long as this lives.
pub(super) struct ForEver<'s>(&'s Sessions);

impl Drop for ForEver<'_> {
    fn drop(&mut self) {
        self.0.for_ever.set(false);
    }
}

impl Owner for Sessions {
    fn on_closed(&self, number: u32) {
        // Dropped outside: it may be the last thing that knows of the connection.
        let connection = self.change(number, |session| session.connection.take());
        drop(connection);
        self.notify();
    }
}
