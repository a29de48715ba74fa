//! The crawl: takes page after page from the frontier, and gives the links it finds back to it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rondel::sync::{OwnedSemaphorePermit, Semaphore};
use rondel::{spawn, to_thread};
use url::Url;

use crate::cli::Options;
use crate::failure::Failure;
use crate::fetch::{Fetcher, Page};
use crate::frontier::{Frontier, Turn, UnderWay, Wanted};
use crate::hosts::Host;
use crate::progress;
use crate::report::Report;
use crate::{links, sitemap};

/// From this size on a page is searched for links in the thread pool, so that the others need not wait for it.
const LARGE: usize = 64 * 1024;

/// Before a page is asked for once more. Each further time it is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the visits share.
struct Crawler {
    frontier: Rc<Frontier>,
    fetcher: Fetcher,
    retries: u32,
    report: Rc<RefCell<Report>>,
}

/// Crawls from `urls` on, until there is nothing left to visit.
pub async fn crawl(
    urls: &[Url],
    fetcher: Fetcher,
    options: &Options,
    report: &Rc<RefCell<Report>>,
) {
    let frontier = Rc::new(Frontier::new(&fetcher.hosts, options.max_pages.get()));
    for url in urls {
        frontier.offer(links::canonical(url.clone()));
    }
    let hosts = Rc::clone(&fetcher.hosts);
    let crawler = Rc::new(Crawler {
        frontier: Rc::clone(&frontier),
        fetcher,
        retries: options.retries,
        report: Rc::clone(report),
    });
    let progress = spawn(progress::show(
        Rc::clone(&frontier),
        Rc::clone(&hosts),
        Rc::clone(report),
    ));
    if !options.ignore_robots {
        for host in hosts.iter() {
            let (crawler, host) = (Rc::clone(&crawler), Rc::clone(host));
            spawn(async move { crawler.survey(&host).await }).detach();
        }
    }

    let slots = Rc::new(Semaphore::new(options.concurrency.get()));
    loop {
        let slot = Rc::clone(&slots).acquire_owned().await;
        let Some(turn) = frontier.next().await else {
            break;
        };
        let crawler = Rc::clone(&crawler);
        spawn(async move {
            crawler.visit(turn).await;
            drop(slot);
        })
        .detach();
    }
    progress.cancel();
}

impl Crawler {
    /// Looks for pages that the host names itself.
    async fn survey(&self, host: &Host) {
        let _under_way = UnderWay::begin(&self.frontier);
        // A host that does not answer is reported with its pages.
        let _ = sitemap::read(&self.fetcher, host, &self.frontier).await;
    }

    async fn visit(&self, turn: Turn) {
        let Turn {
            page,
            host,
            slot,
            under_way,
        } = turn;
        match self.read(&page, slot).await {
            Ok(links) => links.into_iter().for_each(|link| self.frontier.offer(link)),
            Err(failure) if failure.may_pass() && page.attempts < self.retries => {
                let pause = pause_before(page.attempts);
                let page = Wanted {
                    attempts: page.attempts + 1,
                    ..page
                };
                self.report.borrow_mut().retries += 1;
                return self.frontier.put_back(page, host, pause);
            }
            Err(failure) => self.report.borrow_mut().failure(&page.url, failure),
        }
        host.done.update(|pages| pages + 1);
        // Only now: the frontier must not take the crawl for finished before the links are there.
        drop(under_way);
    }

    /// Fetches a page and finds its links.
    async fn read(&self, page: &Wanted, slot: OwnedSemaphorePermit) -> Result<Vec<Url>, Failure> {
        let page = self.fetcher.fetch(&page.url, slot).await?;
        self.report.borrow_mut().page(&page);
        links_of(page).await
    }
}

fn pause_before(attempts: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(2_u32.saturating_pow(attempts))
        .min(LONGEST_PAUSE)
}

async fn links_of(page: Page) -> Result<Vec<Url>, Failure> {
    if !page.is_html {
        return Ok(Vec::new());
    }
    let is_large = page.body.len() >= LARGE;
    let search = move || links::extract(&page.url, &page.body);
    if is_large {
        to_thread(search).await.map_err(|_| Failure::Internal)
    } else {
        Ok(search())
    }
}
