//! What can be said on the command line.

use std::error::Error;
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use rondel::net::tls::ClientTls;
use url::Url;

/// How long a request may take by default. The pages of the embedded site that never answer should not hold it up for long.
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_ON_LOOPBACK: Duration = Duration::from_secs(1);

/// Crawls web sites, many pages at a time, on one thread.
#[derive(Parser, Debug)]
#[command(name = "crawler")]
pub struct Options {
    /// Where to start; the crawl stays on the hosts of these URLs. None: crawls a site of its own.
    #[arg(value_name = "URL", value_parser = http_url)]
    pub urls: Vec<Url>,

    /// How many pages to fetch at most, those that fail included.
    #[arg(long, value_name = "N", default_value = "10000")]
    pub max_pages: NonZeroUsize,

    /// How many pages to fetch at a time.
    #[arg(long, value_name = "N", default_value = "64")]
    pub concurrency: NonZeroUsize,

    /// How many requests to have under way at a time to one host.
    #[arg(long, value_name = "N", default_value = "8")]
    pub per_host: NonZeroUsize,

    /// How long to wait between two requests to one host, in seconds; longer where its robots.txt asks for more.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub delay: Duration,

    /// How long one request may take, from connecting to the last byte, in seconds [default: 10; 1 for its own site].
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    timeout: Option<Duration>,

    /// How often to ask again for a page when the failure may pass: waiting half a second, then twice as long each time.
    #[arg(long, value_name = "N", default_value = "2")]
    pub retries: u32,

    /// Do not read robots.txt: for sites of your own.
    #[arg(long)]
    pub ignore_robots: bool,

    /// Speak HTTP/1.1 alone.
    #[arg(long)]
    pub http1: bool,

    /// Trust the certificates in this file (PEM) instead of those that the system trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    pub fn timeout(&self) -> Duration {
        let default = if self.urls.is_empty() {
            TIMEOUT_ON_LOOPBACK
        } else {
            TIMEOUT
        };
        self.timeout.unwrap_or(default)
    }

    /// Whom to trust, if not whom the system does.
    pub fn trusted(&self) -> Result<Option<ClientTls>, Box<dyn Error>> {
        let Some(path) = &self.ca else {
            return Ok(None);
        };
        let pem = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Some(ClientTls::builder().root_pem(&pem)?.build()?))
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("expected an http URL, this one is {other}")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("expected more than no time at all".to_owned()),
        duration => Ok(duration),
    }
}
