//! What can be said on the command line.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Parser;
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

    /// How long one request may take, from connecting to the last byte, in seconds [default: 10; 1 for its own site].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,

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
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("expected more than no time at all".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
