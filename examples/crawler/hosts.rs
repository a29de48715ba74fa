//! The hosts that are crawled: how many requests each may have under way, how soon after one another, and what it allows.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use robotxt::Robots;
use rondel::sleep_until;
use rondel::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use url::{Origin, Url};

use crate::cli::Options;
use crate::failure::Failure;

/// However long a host asks to be left alone: a crawl has to end some day.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The hosts of the URLs where the crawl starts. It goes to no others.
pub struct Hosts(BTreeMap<String, Rc<Host>>);

/// One host, which is scheme, name and port.
pub struct Host {
    /// Where it begins: `https://example.com`.
    pub origin: String,
    slots: Rc<Semaphore>,
    /// Between two requests.
    delay: Cell<Duration>,
    /// No request before.
    next: Cell<Instant>,
    /// What it allows, once that is known.
    pub rules: OnceCell<Robots>,
    /// Pages known, and pages done with.
    pub known: Cell<u64>,
    pub done: Cell<u64>,
}

impl Hosts {
    pub fn of(urls: &[Url], options: &Options) -> Rc<Self> {
        let hosts = urls.iter().filter_map(|url| {
            let origin = origin_of(url)?;
            let host = Host::new(&origin, options);
            Some((origin, Rc::new(host)))
        });
        Rc::new(Self(hosts.collect()))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rc<Host>> {
        self.0.values()
    }

    /// The host of `url`.
    pub fn of_url(&self, url: &Url) -> Result<Rc<Host>, Failure> {
        origin_of(url)
            .and_then(|origin| self.0.get(&origin))
            .cloned()
            .ok_or(Failure::RedirectedAway)
    }
}

impl Host {
    fn new(origin: &str, options: &Options) -> Self {
        let rules = OnceCell::new();
        if options.ignore_robots {
            // Nothing else can have set it.
            let _ = rules.set(Robots::allow_all());
        }
        Self {
            origin: origin.to_owned(),
            slots: Rc::new(Semaphore::new(options.per_host.get())),
            delay: Cell::new(options.delay),
            next: Cell::new(Instant::now()),
            rules,
            known: Cell::new(0),
            done: Cell::new(0),
        }
    }

    /// What is at `path` there.
    pub fn at(&self, path: &str) -> Result<Url, Failure> {
        Url::parse(&format!("{}{path}", self.origin)).map_err(|_| Failure::Internal)
    }

    /// The right to one request, if there is one to spare now.
    pub fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        if self.rests_until().is_some() {
            return None;
        }
        let slot = Rc::clone(&self.slots).try_acquire_owned().ok()?;
        self.next.set(Instant::now() + self.delay.get());
        Some(slot)
    }

    /// Waits for the right to one request.
    pub async fn slot(&self) -> OwnedSemaphorePermit {
        let slot = Rc::clone(&self.slots).acquire_owned().await;
        while let Some(until) = self.rests_until() {
            sleep_until(until).await;
        }
        self.next.set(Instant::now() + self.delay.get());
        slot
    }

    /// Until when it is to be left alone, if it is.
    pub fn rests_until(&self) -> Option<Instant> {
        Some(self.next.get()).filter(|next| *next > Instant::now())
    }

    /// Leaves it alone for a while, as it has asked.
    pub fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause.min(LONGEST_REST);
        self.next.set(self.next.get().max(until));
    }

    /// Leaves at least this much time between two requests, from the last one on.
    pub fn slow_down(&self, delay: Duration) {
        let delay = self.delay.get().max(delay.min(LONGEST_REST));
        self.delay.set(delay);
        self.rest(delay);
    }
}

/// Where a URL's server is; `None` for URLs without one.
fn origin_of(url: &Url) -> Option<String> {
    match url.origin() {
        origin @ Origin::Tuple(..) => Some(origin.ascii_serialization()),
        Origin::Opaque(_) => None,
    }
}
