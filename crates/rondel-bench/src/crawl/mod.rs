//! The same crawl of the same site by three crawlers: the example's, one by reqwest on tokio, one by aiohttp on uvloop.
//!
//! The site is a process of its own on the load's core, a crawler one on the contender's. All have 64 requests under way at most,
//! over HTTP/1.1, and take links from the pages: both in Rust by the same parser, the one in Python by a regular expression,
//! which is the fastest it can do.

mod reqwest;
mod site;

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::figure::{CPU, Metric, RATE, Record};
use crate::process::{Core, Error, Guarded, cpu_time_of_children, die_with_parent, output_of, pin};
use crate::report::{Results, Row};

pub(crate) use self::reqwest::crawl as crawl_by_reqwest;
pub(crate) use self::site::serve as serve_site;

const NAME: &str = "crawl";
const METRICS: &[Metric] = &[RATE, CPU];
const LIMIT: Duration = Duration::from_secs(120);

/// Requests under way at a time.
const CONCURRENCY: usize = 64;

/// The one in Python, run by whatever python3 has aiohttp and uvloop.
const PYTHON: &str = include_str!("aiohttp_crawler.py");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crawler {
    Rondel,
    Tokio,
    Python,
}

impl Crawler {
    const ALL: [Self; 3] = [Self::Rondel, Self::Tokio, Self::Python];

    const fn name(self) -> &'static str {
        match self {
            Self::Rondel => "rondel",
            Self::Tokio => "tokio",
            Self::Python => "aiohttp",
        }
    }

    /// Prints JSON in which `pages` says how many pages there were.
    fn command(self, url: &str) -> Result<Command, Error> {
        let concurrency = CONCURRENCY.to_string();
        let mut command = match self {
            Self::Rondel => {
                let mut command = Command::new(example()?);
                command
                    .args(["--json", "--ignore-robots", "--per-host", &concurrency])
                    .args(["--concurrency", &concurrency]);
                command
            }
            Self::Tokio => {
                let mut command = Command::new("/proc/self/exe");
                command.arg("crawl-by-reqwest");
                command
            }
            Self::Python => {
                let mut command = Command::new("python3");
                command.args(["-c", PYTHON]);
                command
            }
        };
        command.arg(url).stderr(Stdio::null());
        Ok(command)
    }
}

/// The program of `examples/`, built beside this one.
fn example() -> Result<PathBuf, Error> {
    let mut path = env::current_exe().map_err(Error::during("find this program"))?;
    path.pop();
    path.extend(["examples", "crawler"]);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::new(format!(
        "there is no {}: cargo build --release -p rondel-examples --example crawler",
        path.display()
    )))
}

/// Crawls so many times by each, in turn, and prints the table.
pub(crate) fn run(rounds: u32, json: bool) -> Result<(), Error> {
    let mut site = Site::start()?;
    let rows = Crawler::ALL.map(|crawler| Row::new(crawler.name(), rounds));
    let mut results = Results {
        workload: NAME,
        metrics: METRICS,
        rows: rows.into(),
    };
    let mut failures = 0;
    for round in 0..rounds as usize {
        for turn in 0..Crawler::ALL.len() {
            let index = (round + turn) % Crawler::ALL.len();
            match measure(Crawler::ALL[index], &site.url) {
                Ok(records) => results.rows[index].note(round, &records),
                Err(error) => {
                    failures += 1;
                    eprintln!("{} {NAME}: {error}", Crawler::ALL[index].name());
                }
            }
        }
    }
    results.print(json);
    site.stop()?;
    match failures {
        0 => Ok(()),
        _ => Err(Error::new(format!("{failures} runs failed"))),
    }
}

/// One crawl: pages a second, and CPU time of the crawler a page, its start included.
fn measure(crawler: Crawler, url: &str) -> Result<Vec<Record>, Error> {
    let mut command = crawler.command(url)?;
    pin(Core::Contender)?;
    // The site has not ended, and so does not count.
    let (start, before) = (Instant::now(), cpu_time_of_children());
    let output = output_of(&mut command, LIMIT)?;
    let elapsed = start.elapsed();
    let cpu = cpu_time_of_children().saturating_sub(before);
    let report: Value = serde_json::from_str(&output).map_err(Error::during(format_args!(
        "read what {} has printed: {output:?}",
        crawler.name()
    )))?;
    let pages = report["pages"].as_u64().unwrap_or(0);
    if pages != site::PAGES {
        let all = site::PAGES;
        return Err(Error::new(format!("it found {pages} of {all} pages")));
    }
    let figures = [
        RATE.of(pages as f64 / elapsed.as_secs_f64()),
        CPU.of(cpu.as_secs_f64() * 1e6 / pages as f64),
    ];
    Ok(figures
        .map(|figure| Record::new(crawler.name(), NAME, figure))
        .into())
}

struct Site {
    url: String,
    process: Guarded,
}

impl Site {
    fn start() -> Result<Self, Error> {
        let process = Command::new("/proc/self/exe")
            .arg("serve-site")
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Guarded(process.map_err(Error::during("start the site"))?);
        let mut url = String::new();
        if let Some(stdout) = process.0.stdout.take() {
            let read = BufReader::new(stdout).read_line(&mut url);
            read.map_err(Error::during("read where the site is"))?;
        }
        Ok(Self {
            url: url.trim_end().to_owned(),
            process,
        })
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.process.0.kill().map_err(Error::during("end the site"))
    }
}

/// For the processes that the suite starts.
fn begin(core: Core) -> Result<(), Error> {
    die_with_parent()?;
    pin(core)
}
