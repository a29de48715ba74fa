//! What a client has at one host: places, connections kept, one that is shared.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use hyper::client::conn::{http1, http2};
use rondel_loop::LocalLoop;
use rondel_sync::{Lock, Semaphore};

use super::body::Body;
use super::connect::{Connected, Connector};
use super::error::ClientErrorKind;
use super::origin::Origin;

#[derive(Debug)]
pub(super) struct Host {
    pub(super) origin: Origin,
    /// One for each request that may be under way.
    pub(super) places: Rc<Semaphore>,
    /// The one used last is at the end, and is taken first.
    kept: RefCell<Vec<Kept>>,
    /// The connection that all share.
    shared: RefCell<Option<Shared>>,
    /// How many connections were made.
    made: Cell<u64>,
    /// Held while the first connection comes about, of which it is not known yet whether it can be shared.
    first: Lock,
    /// It could not.
    alone: Cell<bool>,
}

#[derive(Debug)]
struct Kept {
    sender: http1::SendRequest<Body>,
    since: Instant,
}

#[derive(Clone, Debug)]
struct Shared {
    sender: http2::SendRequest<Body>,
    number: u64,
}

/// A connection for one request.
#[derive(Debug)]
pub(super) enum Lent {
    /// `fresh`: it has served no request before.
    Http1 {
        sender: http1::SendRequest<Body>,
        fresh: bool,
    },
    Http2 {
        sender: http2::SendRequest<Body>,
        fresh: bool,
        number: u64,
    },
}

impl Lent {
    pub(super) const fn is_fresh(&self) -> bool {
        match self {
            Self::Http1 { fresh, .. } | Self::Http2 { fresh, .. } => *fresh,
        }
    }
}

impl Host {
    pub(super) fn new(origin: Origin, places: usize) -> Rc<Self> {
        Rc::new(Self {
            origin,
            places: Rc::new(Semaphore::new(places)),
            kept: RefCell::default(),
            shared: RefCell::default(),
            made: Cell::new(0),
            first: Lock::new(),
            alone: Cell::new(false),
        })
    }

    /// A connection: the shared one, one that was kept, or a new one. Whoever has found one dead wants one that was made `after` that.
    pub(super) async fn lend(
        &self,
        connector: &Connector,
        after: Option<u64>,
    ) -> Result<Lent, ClientErrorKind> {
        if let Some(lent) = self.at_hand(after).await {
            return Ok(lent);
        }
        if !connector.may_be_shared(&self.origin) || self.alone.get() {
            return self.connect(connector).await;
        }
        // Only one finds out; to the others it is at hand then.
        let _first = self.first.acquire().await;
        if let Some(lent) = self.at_hand(after).await {
            return Ok(lent);
        }
        self.connect(connector).await
    }

    /// The number of a connection, to tell those that were made later.
    pub(super) fn number_of(&self, lent: &Lent) -> u64 {
        match lent {
            Lent::Http1 { .. } => self.made.get(),
            Lent::Http2 { number, .. } => *number,
        }
    }

    async fn at_hand(&self, after: Option<u64>) -> Option<Lent> {
        if let Some(Shared { sender, number }) = self.share().await
            && after.is_none_or(|after| number > after)
        {
            return Some(Lent::Http2 {
                sender,
                fresh: false,
                number,
            });
        }
        if after.is_some() {
            return None;
        }
        loop {
            let mut sender = self.kept.borrow_mut().pop()?.sender;
            // The server may have closed it, which its own task finds out; that it was found out is known here.
            if sender.ready().await.is_ok() {
                return Some(Lent::Http1 {
                    sender,
                    fresh: false,
                });
            }
        }
    }

    async fn share(&self) -> Option<Shared> {
        let mut shared = self.shared.borrow().clone()?;
        if !shared.sender.is_closed() && shared.sender.ready().await.is_ok() {
            return Some(shared);
        }
        self.shared
            .borrow_mut()
            .take_if(|shared| shared.sender.is_closed());
        None
    }

    async fn connect(&self, connector: &Connector) -> Result<Lent, ClientErrorKind> {
        let connected = connector.connect(&self.origin).await?;
        let number = self.made.get() + 1;
        self.made.set(number);
        Ok(match connected {
            Connected::Http1(sender) => {
                self.alone.set(true);
                Lent::Http1 {
                    sender,
                    fresh: true,
                }
            }
            Connected::Http2(sender) => {
                let shared = Shared { sender, number };
                let before = self.shared.replace(Some(shared.clone()));
                drop(before);
                Lent::Http2 {
                    sender: shared.sender,
                    fresh: true,
                    number,
                }
            }
        })
    }

    /// Keeps a connection for the next request; the one that was used longest ago makes room for it. Whether there was none.
    pub(super) fn keep(&self, sender: http1::SendRequest<Body>, most: usize) -> bool {
        let Ok(local) = LocalLoop::current() else {
            return false;
        };
        if sender.is_closed() || most == 0 {
            return false;
        }
        let mut kept = self.kept.borrow_mut();
        let was_empty = kept.is_empty();
        let oldest = (kept.len() >= most).then(|| kept.remove(0));
        kept.push(Kept {
            sender,
            since: local.time(),
        });
        drop(kept);
        drop(oldest);
        was_empty
    }

    /// Lets go of connections that were kept since before `since`, or are closed. Since when the oldest of the others is kept.
    pub(super) fn let_go(&self, since: Instant) -> Option<Instant> {
        let mut kept = std::mem::take(&mut *self.kept.borrow_mut());
        kept.retain(|kept| kept.since > since && !kept.sender.is_closed());
        self.shared
            .borrow_mut()
            .take_if(|shared| shared.sender.is_closed());
        let oldest = kept.first().map(|kept| kept.since);
        // Nothing can have been kept meanwhile: no code but hyper's has run.
        self.kept.borrow_mut().splice(0..0, kept);
        oldest
    }

    pub(super) fn idle(&self) -> usize {
        let open = |kept: &&Kept| !kept.sender.is_closed();
        let shared = self.shared.borrow();
        let shared = shared
            .as_ref()
            .is_some_and(|shared| !shared.sender.is_closed());
        self.kept.borrow().iter().filter(open).count() + usize::from(shared)
    }

    /// Whether it can be forgotten: nobody asks it, and nothing is kept.
    pub(super) fn is_unused(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) == 1 && self.idle() == 0
    }
}
