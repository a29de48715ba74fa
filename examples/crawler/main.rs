//! A concurrent web crawler, on one thread.
//!
//! ```text
//! cargo run --release --example crawler                         a site of its own, on loopback
//! cargo run --release --example crawler -- https://example.com/ that one
//! cargo run --release --example crawler -- --help
//! ```
//!
//! It starts at the URLs given, follows links as long as they stay on the hosts of these URLs, and prints what it met: over
//! HTTP/1.1 and HTTP/2, with and without TLS, compressed or not. It keeps to `robots.txt`, reads the sitemaps named there, asks
//! again when a failure may pass, and leaves a host alone for as long as the host asks. Nothing that a server does is fatal: each
//! failure is counted under its kind. Ctrl-C ends it with the summary so far and exit code 130; a second Ctrl-C ends it at once.
//!
//! Its memory is bounded: `--max-pages` URLs of at most 2 KiB, and for each of `--concurrency` requests a head of at most
//! 64 KiB and a body of at most 4 MiB.
//!
//! It needs sockets, which live in real time; so it runs on the system's clock, whatever `RONDEL_CLOCK` says.

#![expect(
    unreachable_pub,
    reason = "a program has no outside: `pub` is for its other files"
)]

mod cli;
mod crawl;
mod failure;
mod fetch;
mod frontier;
mod histogram;
mod hosts;
mod links;
mod progress;
mod report;
mod robots;
mod site;
mod sitemap;

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use rondel::poll::default_selector;
use rondel::{EventLoop, RunError, RunOptions, Runner};

use crate::cli::Options;
use crate::crawl::crawl;
use crate::fetch::Fetcher;
use crate::hosts::Hosts;
use crate::report::Report;
use crate::site::Site;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let report = Rc::new(RefCell::new(Report::new()));

    let event_loop = EventLoop::builder().selector(default_selector()?).build()?;
    let mut runner = Runner::with(event_loop, RunOptions::default());
    let outcome = runner.run(crawl_site_or_urls(&options, &report));
    runner.close(); // cancels the requests that Ctrl-C found under way

    let interrupted = match outcome {
        Ok(result) => result.map(|()| false)?,
        Err(RunError::Interrupted) => true,
        Err(error) => return Err(error.into()),
    };
    let report = report.borrow();
    match options.json {
        true => report.write_json(io::stdout().lock(), interrupted)?,
        false => report.write_text(io::stdout().lock(), interrupted)?,
    }
    Ok(ExitCode::from(if interrupted { 130 } else { 0 }))
}

/// Crawls the URLs given; without any, the embedded site.
async fn crawl_site_or_urls(
    options: &Options,
    report: &Rc<RefCell<Report>>,
) -> Result<(), Box<dyn Error>> {
    if !options.urls.is_empty() {
        let hosts = Hosts::of(&options.urls, options);
        let fetcher = Fetcher::new(hosts, options, options.trusted()?);
        crawl(&options.urls, fetcher, options, report).await;
        return Ok(());
    }
    let site = Site::start().await?;
    let urls = site.urls()?;
    let fetcher = Fetcher::new(Hosts::of(&urls, options), options, Some(site.trusted()?));
    crawl(&urls, fetcher, options, report).await;
    report.borrow_mut().busiest = Some(site.busiest());
    site.close().await;
    Ok(())
}
