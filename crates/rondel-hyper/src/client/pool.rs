//! The hosts a client has to do with.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1;
use rondel_loop::LocalLoop;

use super::body::Body;
use super::builder::Options;
use super::connect::Connector;
use super::host::Host;
use super::origin::Origin;

pub(super) struct Pool {
    hosts: RefCell<HashMap<Origin, Rc<Host>>>,
    pub(super) connector: Connector,
    per_host: usize,
    idle_per_host: usize,
    idle_timeout: Duration,
    /// Whether there will be a look at what is kept.
    watched: Cell<bool>,
}

/// How many hosts may be known before those are forgotten that nothing is kept of.
const MANY_HOSTS: usize = 256;

impl Pool {
    pub(super) fn new(options: &Options) -> Rc<Self> {
        Rc::new(Self {
            hosts: RefCell::default(),
            connector: Connector::new(options),
            per_host: options.per_host,
            idle_per_host: options.idle_per_host,
            idle_timeout: options.idle_timeout,
            watched: Cell::new(false),
        })
    }

    pub(super) fn host(&self, origin: Origin) -> Rc<Host> {
        let mut hosts = self.hosts.borrow_mut();
        if let Some(host) = hosts.get(&origin) {
            return Rc::clone(host);
        }
        if hosts.len() >= MANY_HOSTS && hosts.len().is_power_of_two() {
            hosts.retain(|_, host| !host.is_unused());
        }
        let host = Host::new(origin.clone(), self.per_host);
        hosts.insert(origin, Rc::clone(&host));
        host
    }

    /// A connection has served its request, and can serve another.
    pub(super) fn give_back(self: &Rc<Self>, host: &Host, sender: http1::SendRequest<Body>) {
        if host.keep(sender, self.idle_per_host) && !self.watched.replace(true) {
            self.look_in(self.idle_timeout);
        }
    }

    /// Looks at what is kept after `delay`, and again as long as something is.
    fn look_in(self: &Rc<Self>, delay: Duration) {
        let Ok(local) = LocalLoop::current() else {
            return;
        };
        let pool = Rc::downgrade(self);
        // Whoever drops the pool need not cancel it: it finds nothing then.
        let _timer = local.call_later(delay, move || {
            if let Some(pool) = pool.upgrade() {
                pool.let_go();
            }
        });
    }

    fn let_go(self: &Rc<Self>) {
        self.watched.set(false);
        let Ok(local) = LocalLoop::current() else {
            return;
        };
        let now = local.time();
        let Some(since) = now.checked_sub(self.idle_timeout) else {
            return;
        };
        let hosts: Vec<_> = self.hosts.borrow().values().map(Rc::clone).collect();
        let oldest = hosts.iter().filter_map(|host| host.let_go(since)).min();
        drop(hosts);
        self.hosts.borrow_mut().retain(|_, host| !host.is_unused());
        if let Some(oldest) = oldest {
            self.watched.set(true);
            self.look_in((oldest + self.idle_timeout).saturating_duration_since(now));
        }
    }

    pub(super) fn idle(&self) -> usize {
        self.hosts.borrow().values().map(|host| host.idle()).sum()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("hosts", &self.hosts.borrow().len())
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}
