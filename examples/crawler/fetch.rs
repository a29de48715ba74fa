//! Fetching one page: a connection, a request, an answer within the time, and where that leads elsewhere, the next.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rondel::sync::OwnedSemaphorePermit;
use rondel::timeout;
use url::Url;

use crate::connection::{Answer, Connection, IdleConnections};
use crate::failure::Failure;
use crate::hosts::{Hosts, authority};
use crate::links;

/// A longer chain leads nowhere.
const MOST_REDIRECTS: usize = 10;

/// Fetches pages. Connections that a server keeps open are used again.
pub struct Fetcher {
    hosts: Rc<Hosts>,
    idle: IdleConnections,
    timeout: Duration,
}

/// A page, fetched.
#[derive(Debug)]
pub struct Page {
    /// Where it was in the end.
    pub url: Url,
    pub redirects: usize,
    pub is_html: bool,
    pub body: Vec<u8>,
    /// How long the last request took.
    pub latency: Duration,
}

impl Fetcher {
    pub fn new(hosts: Rc<Hosts>, timeout: Duration, most_idle: usize) -> Self {
        Self {
            hosts,
            idle: IdleConnections::new(most_idle),
            timeout,
        }
    }

    /// Fetches the page at `url`, or where that redirects to. `slot` is the right to a request to the host of `url`; for other
    /// hosts on the way theirs is waited for.
    pub async fn fetch(&self, url: &Url, slot: OwnedSemaphorePermit) -> Result<Page, Failure> {
        let mut slot = slot;
        let mut trail = vec![url.clone()];
        loop {
            let url = &trail[trail.len() - 1];
            let start = Instant::now();
            let Answer { head, body } = timeout(self.timeout, self.request(url))
                .await
                .map_err(|_| Failure::Timeout)??;
            drop(slot);

            let Some(location) = head.redirect() else {
                return match head.status {
                    200..300 => Ok(Page {
                        latency: start.elapsed(),
                        url: url.clone(),
                        redirects: trail.len() - 1,
                        is_html: head.is_html,
                        body,
                    }),
                    status => Err(Failure::Status(status)),
                };
            };
            let next = url.join(location).map_err(|_| Failure::Malformed)?;
            let next = links::canonical(next);
            if trail.contains(&next) {
                return Err(Failure::RedirectLoop);
            }
            if trail.len() > MOST_REDIRECTS {
                return Err(Failure::TooManyRedirects);
            }
            only_http(&next)?;
            slot = self.hosts.of_url(&next)?.slot().await;
            trail.push(next);
        }
    }

    /// Asks once, by a connection that lies idle if there is one.
    async fn request(&self, url: &Url) -> Result<Answer, Failure> {
        only_http(url)?;
        let to = authority(url).ok_or(Failure::Malformed)?;
        if let Some(connection) = self.idle.take(&to) {
            match self.request_by(connection, url).await {
                // The server had grown tired of it: no fault of the page.
                Err(Failure::NoAnswer) => {}
                answered => return answered,
            }
        }
        let connection = Connection::open(&to).await?;
        self.request_by(connection, url).await
    }

    async fn request_by(&self, mut connection: Connection, url: &Url) -> Result<Answer, Failure> {
        let answer = connection.request(url).await?;
        if answer.head.keep_alive
            && let Some(to) = authority(url)
        {
            self.idle.put(to, connection);
        }
        Ok(answer)
    }
}

fn only_http(url: &Url) -> Result<(), Failure> {
    match url.scheme() {
        "http" => Ok(()),
        _ => Err(Failure::HttpsUnsupported),
    }
}
