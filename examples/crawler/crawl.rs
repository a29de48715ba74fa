//! The crawl: takes page after page from the frontier, and gives the links it finds back to it.

use std::cell::RefCell;
use std::rc::Rc;

use rondel::sync::Semaphore;
use rondel::{spawn, to_thread};
use url::Url;

use crate::cli::Options;
use crate::failure::Failure;
use crate::fetch::{Fetcher, Page};
use crate::frontier::{Frontier, Turn};
use crate::hosts::Hosts;
use crate::links;
use crate::progress;
use crate::report::Report;

/// From this size on a page is searched for links in the thread pool, so that the others need not wait for it.
const LARGE: usize = 64 * 1024;

/// What the visits share.
struct Crawler {
    frontier: Rc<Frontier>,
    fetcher: Fetcher,
    report: Rc<RefCell<Report>>,
}

/// Crawls from `urls` on, until there is nothing left to visit.
pub async fn crawl(urls: &[Url], options: &Options, report: &Rc<RefCell<Report>>) {
    let hosts = Rc::new(Hosts::of(urls, options.per_host.get()));
    let frontier = Rc::new(Frontier::new(&hosts, options.max_pages.get()));
    for url in urls {
        frontier.offer(links::canonical(url.clone()));
    }
    let crawler = Rc::new(Crawler {
        frontier: Rc::clone(&frontier),
        fetcher: Fetcher::new(hosts, options.timeout(), options.concurrency.get()),
        report: Rc::clone(report),
    });
    let progress = spawn(progress::show(Rc::clone(&frontier), Rc::clone(report)));

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
    async fn visit(&self, turn: Turn) {
        let Turn {
            url,
            slot,
            under_way,
        } = turn;
        match self.fetcher.fetch(&url, slot).await {
            Ok(page) => {
                self.report.borrow_mut().page(&page);
                match links_of(page).await {
                    Ok(links) => links.into_iter().for_each(|link| self.frontier.offer(link)),
                    Err(failure) => self.report.borrow_mut().failure(&url, failure),
                }
            }
            Err(failure) => self.report.borrow_mut().failure(&url, failure),
        }
        // Only now: the frontier must not take the crawl for finished before the links are there.
        drop(under_way);
    }
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
