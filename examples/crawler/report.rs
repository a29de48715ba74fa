//! What a crawl has met: counted while it goes on, printed at its end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use rondel_hyper::http::Version;
use serde::Serialize;
use url::Url;

use crate::failure::Failure;
use crate::fetch::Page;
use crate::histogram::Histogram;

#[derive(Debug)]
pub struct Report {
    start: Instant,
    pages: u64,
    bytes: u64,
    redirects: u64,
    /// Pages by the HTTP they came over.
    protocols: BTreeMap<&'static str, u64>,
    /// How often a page was asked for once more.
    pub retries: u64,
    /// Pages that `robots.txt` asks to leave alone: no error of anybody's.
    disallowed: u64,
    failures: BTreeMap<Failure, Failed>,
    latency: Histogram,
    /// The most requests that a host of the embedded site had in hand at a time.
    pub busiest: Option<usize>,
}

/// The pages that failed in one way.
#[derive(Debug)]
struct Failed {
    count: u64,
    first: Url,
}

impl Report {
    /// An empty one; the time runs from here.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            pages: 0,
            bytes: 0,
            redirects: 0,
            protocols: BTreeMap::new(),
            retries: 0,
            disallowed: 0,
            failures: BTreeMap::new(),
            latency: Histogram::new(),
            busiest: None,
        }
    }

    /// Counts a page that was fetched.
    pub fn page(&mut self, page: &Page) {
        self.pages += 1;
        self.bytes += page.body.len() as u64;
        self.redirects += page.redirects as u64;
        self.latency.record(page.latency);
        *self.protocols.entry(name(page.version)).or_default() += 1;
    }

    /// Counts a page that could not be had.
    pub fn failure(&mut self, url: &Url, failure: Failure) {
        if failure == Failure::Disallowed {
            self.disallowed += 1;
            return;
        }
        self.failures
            .entry(failure)
            .and_modify(|failed| failed.count += 1)
            .or_insert_with(|| Failed {
                count: 1,
                first: url.clone(),
            });
    }

    /// Pages that are done with, in whatever way.
    pub fn done(&self) -> u64 {
        self.pages + self.errors() + self.disallowed
    }

    /// Bytes of pages, after decoding.
    pub fn bytes_per_second(&self) -> f64 {
        self.per_second(self.bytes)
    }

    pub fn pages(&self) -> u64 {
        self.pages
    }

    pub fn errors(&self) -> u64 {
        self.failures.values().map(|failed| failed.count).sum()
    }

    pub fn pages_per_second(&self) -> f64 {
        self.per_second(self.pages)
    }

    fn per_second(&self, count: u64) -> f64 {
        let seconds = self.start.elapsed().as_secs_f64();
        if seconds > 0.0 {
            count as f64 / seconds
        } else {
            0.0
        }
    }

    /// The summary for people.
    pub fn write_text(&self, mut out: impl Write, interrupted: bool) -> io::Result<()> {
        if interrupted {
            writeln!(out, "interrupted; so far:")?;
        }
        writeln!(
            out,
            "{} pages, {:.1} MB in {:.2} s: {:.0} pages/s",
            self.pages,
            self.bytes as f64 / 1e6,
            self.start.elapsed().as_secs_f64(),
            self.pages_per_second(),
        )?;
        for (protocol, pages) in &self.protocols {
            writeln!(out, "  {pages:>6} over {protocol}")?;
        }
        writeln!(
            out,
            "{} redirects followed, {} retries, {} disallowed by robots.txt",
            self.redirects, self.retries, self.disallowed,
        )?;
        let [p50, p90, p99, max] = self.latencies().map(milliseconds);
        writeln!(
            out,
            "latency: p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"
        )?;
        if let Some(busiest) = self.busiest {
            writeln!(out, "busiest host: {busiest} requests in hand at a time")?;
        }
        writeln!(out, "errors: {}", self.errors())?;
        for (failure, Failed { count, first }) in &self.failures {
            writeln!(
                out,
                "  {count:>6} {:<20} first: {first}",
                failure.to_string()
            )?;
        }
        Ok(())
    }

    /// The same for programs.
    pub fn write_json(&self, mut out: impl Write, interrupted: bool) -> io::Result<()> {
        let [p50, p90, p99, max] = self.latencies().map(milliseconds);
        let errors = self
            .failures
            .iter()
            .map(|(failure, failed)| (failure.to_string(), failed.count));
        let json = Json {
            interrupted,
            pages: self.pages,
            bytes: self.bytes,
            redirects: self.redirects,
            retries: self.retries,
            disallowed: self.disallowed,
            protocols: &self.protocols,
            seconds: self.start.elapsed().as_secs_f64(),
            pages_per_second: self.pages_per_second(),
            latency_ms: LatencyJson { p50, p90, p99, max },
            errors: errors.collect(),
            busiest_host: self.busiest,
        };
        serde_json::to_writer_pretty(&mut out, &json)?;
        writeln!(out)
    }

    fn latencies(&self) -> [Duration; 4] {
        let at = |percent| self.latency.percentile(percent);
        [at(50.0), at(90.0), at(99.0), self.latency.max()]
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What people call it.
fn name(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "another HTTP",
    }
}

#[derive(Serialize)]
struct Json<'a> {
    interrupted: bool,
    pages: u64,
    bytes: u64,
    redirects: u64,
    retries: u64,
    disallowed: u64,
    protocols: &'a BTreeMap<&'static str, u64>,
    seconds: f64,
    pages_per_second: f64,
    latency_ms: LatencyJson,
    errors: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    busiest_host: Option<usize>,
}

#[derive(Serialize)]
struct LatencyJson {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}
