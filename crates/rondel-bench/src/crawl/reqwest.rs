//! The crawler on tokio: its current thread, reqwest's pooled client, a semaphore, a task for each page.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::reqwest::{Client, header};
use tokio::runtime::LocalRuntime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_local;
use url::Url;

use super::{CONCURRENCY, begin};
use crate::process::{Core, Error};

// The same parser, and not only another that is as good.
#[path = "../../../../examples/crawler/links.rs"]
#[expect(unreachable_pub, reason = "it is a file of another program's")]
mod links;

struct Crawler {
    client: Client,
    host: Option<String>,
    seen: RefCell<HashSet<Url>>,
    /// Found and not done with.
    open: Cell<usize>,
    pages: Cell<u64>,
    found: mpsc::UnboundedSender<Option<Url>>,
}

/// Crawls from `start` on and prints how many pages there were.
pub(crate) fn crawl(start: &Url) -> Result<(), Error> {
    begin(Core::Contender)?;
    let runtime = LocalRuntime::new().map_err(Error::during("make a runtime"))?;
    let pages = runtime.block_on(visit_all(start))?;
    println!("{{\"pages\":{pages}}}");
    Ok(())
}

async fn visit_all(start: &Url) -> Result<u64, Error> {
    let client = Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .map_err(|error| Error::new(error.to_string()))?;
    let (found, mut urls) = mpsc::unbounded_channel();
    let crawler = Rc::new(Crawler {
        client,
        host: start.host_str().map(str::to_owned),
        seen: RefCell::default(),
        open: Cell::new(0),
        pages: Cell::new(0),
        found,
    });
    crawler.offer(start.clone());
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    while let Some(Some(url)) = urls.recv().await {
        let slot = Arc::clone(&slots).acquire_owned().await;
        let crawler = Rc::clone(&crawler);
        spawn_local(async move {
            // A page that fails is missing in the count.
            let _ = crawler.visit(url).await;
            crawler.done();
            drop(slot);
        });
    }
    Ok(crawler.pages.get())
}

impl Crawler {
    fn offer(&self, url: Url) {
        if url.host_str() != self.host.as_deref() || !self.seen.borrow_mut().insert(url.clone()) {
            return;
        }
        self.open.set(self.open.get() + 1);
        // The receiver outlives the crawl.
        let _ = self.found.send(Some(url));
    }

    async fn visit(&self, url: Url) -> ::reqwest::Result<()> {
        let request = self.client.get(url.clone());
        let answer = request.send().await?.error_for_status()?;
        let is_html = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        let body = answer.bytes().await?;
        self.pages.set(self.pages.get() + 1);
        if is_html {
            links::extract(&url, &body)
                .into_iter()
                .for_each(|link| self.offer(link));
        }
        Ok(())
    }

    fn done(&self) {
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0 {
            // That was the last one.
            let _ = self.found.send(None);
        }
    }
}
