//! The frontier: what has been seen, and what is to be visited next.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use rondel::sync::{Event, OwnedSemaphorePermit};
use url::Url;

use crate::hosts::{Host, Hosts};

/// Longer ones are traps more often than pages.
const LONGEST_URL: usize = 2048;

/// The pages still to visit, each URL once; hosts take turns, and one that is busy is passed over.
///
/// At most `limit` URLs are ever let in. That bounds the number of pages fetched and, at once, the memory held.
pub struct Frontier {
    hosts: Rc<Hosts>,
    limit: usize,
    seen: RefCell<HashSet<Rc<Url>>>,
    /// The host whose turn it is comes first.
    queues: RefCell<VecDeque<Queue>>,
    under_way: Cell<usize>,
    /// A page has come or a visit has ended, since [`next`](Frontier::next) last looked.
    changed: Event,
}

struct Queue {
    host: Rc<Host>,
    pages: VecDeque<Rc<Url>>,
}

/// One page to visit, with all that it takes.
pub struct Turn {
    pub url: Rc<Url>,
    /// The right to one request to the page's host.
    pub slot: OwnedSemaphorePermit,
    /// To be kept until the page's links have been offered.
    pub under_way: UnderWay,
}

impl Frontier {
    pub fn new(hosts: &Rc<Hosts>, limit: usize) -> Self {
        let queues = hosts.iter().map(|host| Queue {
            host: Rc::clone(host),
            pages: VecDeque::new(),
        });
        Self {
            limit,
            seen: RefCell::default(),
            queues: RefCell::new(queues.collect()),
            under_way: Cell::new(0),
            changed: Event::new(),
            hosts: Rc::clone(hosts),
        }
    }

    /// How many pages are known, visited or not.
    pub fn known(&self) -> usize {
        self.seen.borrow().len()
    }

    /// Lets a URL in, unless it is known already, belongs to another host, is over-long, or one too many.
    pub fn offer(&self, url: Url) {
        if self.known() >= self.limit || url.as_str().len() > LONGEST_URL {
            return;
        }
        let Ok(host) = self.hosts.of_url(&url) else {
            return;
        };
        let url = Rc::new(url);
        if !self.seen.borrow_mut().insert(Rc::clone(&url)) {
            return;
        }
        let mut queues = self.queues.borrow_mut();
        if let Some(queue) = queues
            .iter_mut()
            .find(|queue| Rc::ptr_eq(&queue.host, &host))
        {
            queue.pages.push_back(url);
        }
        self.changed.set();
    }

    /// Waits for the next page whose host has a request to spare; `None` when all has been visited.
    pub async fn next(self: &Rc<Self>) -> Option<Turn> {
        loop {
            self.changed.clear();
            if let Some(turn) = self.try_next() {
                return Some(turn);
            }
            if self.under_way.get() == 0 {
                return None;
            }
            self.changed.wait().await;
        }
    }

    fn try_next(self: &Rc<Self>) -> Option<Turn> {
        let mut queues = self.queues.borrow_mut();
        for _ in 0..queues.len() {
            queues.rotate_left(1);
            let queue = queues.back_mut()?;
            if queue.pages.is_empty() {
                continue;
            }
            if let Some(slot) = queue.host.try_slot() {
                return Some(Turn {
                    url: queue.pages.pop_front()?,
                    slot,
                    under_way: UnderWay::begin(self),
                });
            }
        }
        None
    }
}

/// A visit that has not ended, for whatever reason it may end.
pub struct UnderWay(Rc<Frontier>);

impl UnderWay {
    fn begin(frontier: &Rc<Frontier>) -> Self {
        frontier.under_way.update(|visits| visits + 1);
        Self(Rc::clone(frontier))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.update(|visits| visits - 1);
        self.0.changed.set();
    }
}
