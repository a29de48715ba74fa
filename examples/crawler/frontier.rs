//! The frontier: what has been seen, and what is to be visited next.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rondel::sync::{Event, OwnedSemaphorePermit};
use rondel::{sleep, spawn, timeout_at};
use url::Url;

use crate::hosts::{Host, Hosts};

/// Longer ones are traps more often than pages.
const LONGEST_URL: usize = 2048;

/// The pages still to visit, each URL once; hosts take turns, and one that is busy or rests is passed over.
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
    pages: VecDeque<Wanted>,
}

/// A page that somebody wants to see.
#[derive(Clone)]
pub struct Wanted {
    pub url: Rc<Url>,
    /// How often it was tried in vain.
    pub attempts: u32,
}

/// One page to visit, with all that it takes.
pub struct Turn {
    pub page: Wanted,
    /// Where the page is.
    pub host: Rc<Host>,
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
        // Most links lead to what is known: they are passed over first.
        if self.seen.borrow().contains(&url)
            || self.known() >= self.limit
            || url.as_str().len() > LONGEST_URL
        {
            return;
        }
        let Ok(host) = self.hosts.of_url(&url) else {
            return;
        };
        let url = Rc::new(url);
        self.seen.borrow_mut().insert(Rc::clone(&url));
        host.known.update(|pages| pages + 1);
        self.queue(&host, Wanted { url, attempts: 0 });
    }

    /// Has a page visited once more, after a pause.
    pub fn put_back(self: &Rc<Self>, page: Wanted, host: Rc<Host>, pause: Duration) {
        let frontier = Rc::clone(self);
        let under_way = UnderWay::begin(self);
        spawn(async move {
            sleep(pause).await;
            frontier.queue(&host, page);
            drop(under_way);
        })
        .detach();
    }

    fn queue(&self, host: &Rc<Host>, page: Wanted) {
        let mut queues = self.queues.borrow_mut();
        if let Some(queue) = queues
            .iter_mut()
            .find(|queue| Rc::ptr_eq(&queue.host, host))
        {
            queue.pages.push_back(page);
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
            match self.rests_until() {
                Some(until) => {
                    // Whichever comes first.
                    let _ = timeout_at(until, self.changed.wait()).await;
                }
                None if self.under_way.get() == 0 => return None,
                None => self.changed.wait().await,
            }
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
                    page: queue.pages.pop_front()?,
                    host: Rc::clone(&queue.host),
                    slot,
                    under_way: UnderWay::begin(self),
                });
            }
        }
        None
    }

    /// When the first of the hosts that rest can be asked again, if pages wait for one.
    fn rests_until(&self) -> Option<Instant> {
        let queues = self.queues.borrow();
        let waiting = queues.iter().filter(|queue| !queue.pages.is_empty());
        waiting.filter_map(|queue| queue.host.rests_until()).min()
    }
}

/// Something that may lead to more pages and has not ended, however it may end.
pub struct UnderWay(Rc<Frontier>);

impl UnderWay {
    pub fn begin(frontier: &Rc<Frontier>) -> Self {
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
