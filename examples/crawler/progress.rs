//! How far the crawl is, on standard error: a bar on a terminal, else a line now and then.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rondel::interval;

use crate::frontier::Frontier;
use crate::report::Report;

const BAR_PERIOD: Duration = Duration::from_millis(50);
const LINE_PERIOD: Duration = Duration::from_secs(1);

/// Shows it until it is cancelled.
pub async fn show(frontier: Rc<Frontier>, report: Rc<RefCell<Report>>) {
    if io::stderr().is_terminal() {
        show_bar(&frontier, &report).await;
    } else {
        print_lines(&frontier, &report).await;
    }
}

async fn show_bar(frontier: &Frontier, report: &RefCell<Report>) {
    let bar = Bar::new();
    let mut ticks = interval(BAR_PERIOD);
    loop {
        ticks.tick().await;
        bar.show(frontier.known(), &report.borrow());
    }
}

async fn print_lines(frontier: &Frontier, report: &RefCell<Report>) {
    let mut ticks = interval(LINE_PERIOD);
    loop {
        ticks.tick().await;
        let known = frontier.known();
        let report = report.borrow();
        // Nowhere to report a failing standard error to.
        let _ = writeln!(
            io::stderr(),
            "{} of {known} pages, {} errors, {:.0} pages/s",
            report.pages(),
            report.errors(),
            report.pages_per_second(),
        );
    }
}

/// The bar, taken off the screen when it goes.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} pages, {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, known: usize, report: &Report) {
        self.0.set_length(known as u64);
        self.0.set_message(format!(
            "{} errors, {:.0} pages/s",
            report.errors(),
            report.pages_per_second(),
        ));
        self.0.set_position(report.pages() + report.errors());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
