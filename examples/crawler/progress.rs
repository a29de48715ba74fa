//! How far the crawl is, on standard error: bars on a terminal, else a line now and then.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rondel::interval;

use crate::frontier::Frontier;
use crate::hosts::{Host, Hosts};
use crate::report::Report;

const BAR_PERIOD: Duration = Duration::from_millis(50);
const LINE_PERIOD: Duration = Duration::from_secs(1);

/// With more hosts than these, one bar for all is shown, and none for each.
const MOST_BARS: usize = 8;

const ALL: &str = "{bar:30} {pos} of {len} pages, {msg}";
const EACH: &str = "{bar:30.cyan} {pos:>6} of {len:<6} {msg:>9} {prefix}";

/// Shows it until it is cancelled.
pub async fn show(frontier: Rc<Frontier>, hosts: Rc<Hosts>, report: Rc<RefCell<Report>>) {
    if io::stderr().is_terminal() {
        let bars = Bars::new(&hosts);
        let mut ticks = interval(BAR_PERIOD);
        loop {
            ticks.tick().await;
            bars.show(frontier.known(), &report.borrow());
        }
    } else {
        let mut ticks = interval(LINE_PERIOD);
        loop {
            ticks.tick().await;
            let (known, report) = (frontier.known(), report.borrow());
            let pages = report.pages();
            // Nowhere to report a failing standard error to.
            let _ = writeln!(io::stderr(), "{pages} of {known} pages, {}", rates(&report));
        }
    }
}

fn rates(report: &Report) -> String {
    format!(
        "{} errors, {:.0} pages/s, {:.1} MB/s",
        report.errors(),
        report.pages_per_second(),
        report.bytes_per_second() / 1e6,
    )
}

/// The bars, taken off the screen when they go.
struct Bars {
    screen: MultiProgress,
    hosts: Vec<(Rc<Host>, ProgressBar)>,
    all: ProgressBar,
}

impl Bars {
    fn new(hosts: &Hosts) -> Self {
        let screen = MultiProgress::new();
        let few = hosts.iter().len() <= MOST_BARS;
        let each = hosts.iter().filter(|_| few);
        let hosts = each.map(|host| {
            let bar = screen.add(bar(EACH)).with_prefix(host.origin.clone());
            (Rc::clone(host), bar)
        });
        Self {
            hosts: hosts.collect(),
            all: screen.add(bar(ALL)),
            screen,
        }
    }

    fn show(&self, known: usize, report: &Report) {
        for (host, bar) in &self.hosts {
            bar.set_length(host.known.get());
            bar.set_position(host.done.get());
            bar.set_message(format!("{:.0}/s", bar.per_sec()));
        }
        self.all.set_length(known as u64);
        self.all.set_message(rates(report));
        self.all.set_position(report.done());
    }
}

fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

impl Drop for Bars {
    fn drop(&mut self) {
        for (_, bar) in &self.hosts {
            bar.finish_and_clear();
        }
        self.all.finish_and_clear();
        // Nowhere to report a failing standard error to.
        let _ = self.screen.clear();
    }
}
