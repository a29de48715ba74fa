//! The hosts that are crawled, and how many requests each may have under way.

use std::collections::BTreeMap;
use std::rc::Rc;

use rondel::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::failure::Failure;

/// Name and port.
pub type Authority = (String, u16);

/// The hosts of the URLs where the crawl starts. It goes to no others.
pub struct Hosts(BTreeMap<Authority, Rc<Host>>);

/// One host.
pub struct Host {
    slots: Rc<Semaphore>,
}

impl Hosts {
    pub fn of(urls: &[Url], per_host: usize) -> Self {
        let hosts = urls.iter().filter_map(authority).map(|authority| {
            let slots = Rc::new(Semaphore::new(per_host));
            (authority, Rc::new(Host { slots }))
        });
        Self(hosts.collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rc<Host>> {
        self.0.values()
    }

    /// The host of `url`.
    pub fn of_url(&self, url: &Url) -> Result<Rc<Host>, Failure> {
        authority(url)
            .and_then(|authority| self.0.get(&authority))
            .cloned()
            .ok_or(Failure::RedirectedAway)
    }
}

impl Host {
    /// The right to one request, if there is one to spare now.
    pub fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        Rc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Waits for the right to one request.
    pub async fn slot(&self) -> OwnedSemaphorePermit {
        Rc::clone(&self.slots).acquire_owned().await
    }
}

/// Where a URL's server is; `None` for URLs without one.
pub fn authority(url: &Url) -> Option<Authority> {
    let name = match url.host()? {
        url::Host::Domain(name) => name.to_owned(),
        url::Host::Ipv4(address) => address.to_string(),
        url::Host::Ipv6(address) => address.to_string(),
    };
    Some((name, url.port_or_known_default()?))
}
