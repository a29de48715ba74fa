//! Fetching one page: a request, an answer within the time, and where that leads elsewhere, the next.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rondel::net::tls::ClientTls;
use rondel::sync::OwnedSemaphorePermit;
use rondel::timeout;
use rondel_hyper::Client;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::client::ResponseBody;
use rondel_hyper::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use rondel_hyper::http::{HeaderName, HeaderValue, Request, StatusCode, Version};
use rondel_hyper::http_body::Body as _;
use rondel_hyper::http_body_util::{BodyExt, LengthLimitError, Limited};
use url::Url;

use crate::cli::Options;
use crate::failure::Failure;
use crate::hosts::Hosts;
use crate::{links, robots};

/// A longer chain leads nowhere.
const MOST_REDIRECTS: usize = 10;

/// What is larger is no page.
pub const LARGEST_BODY: usize = 4 * 1024 * 1024;
/// Twice as much may be read before it is found to be too large.
const LARGEST_HEAD: usize = 32 * 1024;

/// How it calls itself to servers; the part before `/` is what `robots.txt` may name.
const USER_AGENT: &str = concat!("rondel-crawler/", env!("CARGO_PKG_VERSION"));

/// Fetches pages, by connections that are kept, and shared where the server speaks HTTP/2.
pub struct Fetcher {
    pub hosts: Rc<Hosts>,
    client: Client,
    timeout: Duration,
}

/// A page, fetched.
#[derive(Debug)]
pub struct Page {
    /// Where it was in the end.
    pub url: Url,
    pub redirects: usize,
    pub version: Version,
    pub is_html: bool,
    pub body: Bytes,
    /// How long the last request took.
    pub latency: Duration,
}

/// One answer.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    version: Version,
    headers: HeaderMap,
    latency: Duration,
}

impl Fetcher {
    /// `trusted`: whom to trust, if not whom the system does.
    pub fn new(hosts: Rc<Hosts>, options: &Options, trusted: Option<ClientTls>) -> Self {
        // Time and places are counted here, over all that a request takes; and redirects are looked at one by one.
        let mut client = Client::builder()
            .user_agent(HeaderValue::from_static(USER_AGENT))
            .max_per_host(options.per_host.get())
            .max_idle_per_host(options.per_host.get())
            .header_limit(LARGEST_HEAD)
            .redirects(0)
            .place_timeout(None)
            .head_timeout(None)
            .body_timeout(None);
        if let Some(tls) = trusted {
            client = client.tls(tls);
        }
        if options.http1 {
            client = client.http1_only();
        }
        Self {
            hosts,
            client: client.build(),
            timeout: options.timeout(),
        }
    }

    /// Fetches the page at `url`, or where that redirects to. `slot` is the right to a request to the host of `url`; for other
    /// hosts on the way theirs is waited for.
    pub async fn fetch(&self, url: &Url, slot: OwnedSemaphorePermit) -> Result<Page, Failure> {
        let mut slot = slot;
        let mut trail = vec![url.clone()];
        loop {
            let url = &trail[trail.len() - 1];
            let host = self.hosts.of_url(url)?;
            if !robots::rules_of(self, &host).await?.is_url_allowed(url) {
                return Err(Failure::Disallowed);
            }
            let answer = self.get(url).await?;
            drop(slot);
            if let Some(pause) = answer.asks_for_pause() {
                host.rest(pause);
            }
            let Some(location) = answer.redirect() else {
                return answer.into_page(url, trail.len() - 1);
            };
            let next = location.and_then(|location| url.join(location).ok());
            let next = links::canonical(next.ok_or(Failure::Malformed)?);
            if trail.contains(&next) {
                return Err(Failure::RedirectLoop);
            }
            if trail.len() > MOST_REDIRECTS {
                return Err(Failure::TooManyRedirects);
            }
            slot = self.hosts.of_url(&next)?.slot().await;
            trail.push(next);
        }
    }

    /// Asks once.
    pub async fn get(&self, url: &Url) -> Result<Answer, Failure> {
        let start = Instant::now();
        let asking = async {
            let request = Request::get(url.as_str())
                .header(ACCEPT, "text/html, */*;q=0.5")
                .body(Bytes::new())
                .map_err(|_| Failure::Malformed)?;
            let (head, body) = self.client.request(request).await?.into_parts();
            Ok(Answer {
                status: head.status,
                version: head.version,
                headers: head.headers,
                body: read(body).await?,
                latency: start.elapsed(),
            })
        };
        timeout(self.timeout, asking)
            .await
            .unwrap_or(Err(Failure::Timeout))
    }
}

async fn read(body: ResponseBody) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > LARGEST_BODY as u64 {
        return Err(Failure::OversizeBody);
    }
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::OversizeBody),
        Err(error) => Err(Failure::of_body(&*error)),
    }
}

impl Answer {
    /// Where to look instead; `Some(None)` where that cannot be read.
    pub fn redirect(&self) -> Option<Option<&str>> {
        match self.status.as_u16() {
            301 | 302 | 303 | 307 | 308 => self.headers.get(LOCATION).map(|to| to.to_str().ok()),
            _ => None,
        }
    }

    /// How long the host asks to be left alone. It may also name a date, which is not understood here.
    fn asks_for_pause(&self) -> Option<Duration> {
        match self.status.as_u16() {
            429 | 503 => self
                .text(&RETRY_AFTER)?
                .parse()
                .ok()
                .map(Duration::from_secs),
            _ => None,
        }
    }

    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn into_page(self, url: &Url, redirects: usize) -> Result<Page, Failure> {
        if !self.status.is_success() {
            return Err(Failure::Status(self.status.as_u16()));
        }
        Ok(Page {
            url: url.clone(),
            redirects,
            version: self.version,
            is_html: self
                .text(&CONTENT_TYPE)
                .is_some_and(|kind| kind.to_ascii_lowercase().contains("html")),
            latency: self.latency,
            body: self.body,
        })
    }
}
