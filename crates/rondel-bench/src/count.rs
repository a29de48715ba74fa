//! Counting where noise hides the answer: system calls and user-mode instructions per request.
//!
//! Each is the difference of two runs, so that start and end of the server drop out.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use crate::contenders::{self, Contender};
use crate::figure::{INSTRUCTIONS, Metric, Record, SYSCALLS};
use crate::process::{Error, output_of};
use crate::report::{Results, Row};
use crate::workloads::{Kind, Workload, find};

const LIMIT: Duration = Duration::from_secs(120);
const METRICS: &[Metric] = &[SYSCALLS, INSTRUCTIONS];
/// Without a choice: alone, where each round trip has a turn to itself, and among many.
const DEFAULT_WORKLOADS: [&str; 3] = ["echo_1K_c1", "echo_16B_c50", "echo_1K_c50"];

/// Counts for the given contenders and network workloads, all contenders if none is given.
pub(crate) fn run(
    named: &[&'static Contender],
    workloads: &[&'static Workload],
    requests: u64,
    json: bool,
) -> Result<(), Error> {
    let contenders = contenders::selected(named);
    let default: Vec<_> = DEFAULT_WORKLOADS
        .iter()
        .filter_map(|name| find(name).ok())
        .collect();
    let mut failures = 0;
    for workload in if workloads.is_empty() {
        &default
    } else {
        workloads
    } {
        if let Kind::Micro(_) = workload.kind {
            return Err(Error::new(format!(
                "{} has no requests to count",
                workload.name
            )));
        }
        let mut rows = Vec::new();
        for contender in contenders
            .iter()
            .filter(|contender| contender.does(workload))
        {
            let mut row = Row::new(contender.name, 1);
            for (metric, tool) in METRICS.iter().zip([Tool::Strace, Tool::Callgrind]) {
                match tool.count_each(contender, workload, requests) {
                    Ok(each) => {
                        let figure = metric.of(each);
                        row.note(0, &[Record::new(contender.name, workload.name, figure)]);
                    }
                    Err(error) => {
                        failures += 1;
                        eprintln!("{} {}: {error}", contender.name, workload.name);
                    }
                }
            }
            rows.push(row);
        }
        Results {
            workload: workload.name,
            metrics: METRICS,
            rows,
        }
        .print(json);
    }
    match failures {
        0 => Ok(()),
        _ => Err(Error::new(format!("{failures} counts failed"))),
    }
}

#[derive(Clone, Copy, Debug)]
enum Tool {
    Strace,
    Callgrind,
}

impl Tool {
    /// Per request, as the difference between so many requests and twice as many.
    fn count_each(
        self,
        contender: &Contender,
        workload: &Workload,
        requests: u64,
    ) -> Result<f64, Error> {
        let shorter = self.count(contender, workload, requests)?;
        let longer = self.count(contender, workload, 2 * requests)?;
        Ok((longer - shorter) / requests as f64)
    }

    /// The tool's total over a server's life of that many requests.
    fn count(
        self,
        contender: &Contender,
        workload: &Workload,
        requests: u64,
    ) -> Result<f64, Error> {
        let counted = Counted::new();
        let file = counted.0.display();
        let tool = match self {
            Self::Strace => format!("strace -f -c -o {file}"),
            Self::Callgrind => format!("valgrind -q --tool=callgrind --callgrind-out-file={file}"),
        };
        let program = env::current_exe().map_err(Error::during("find this program"))?;
        let mut command = Command::new(&program);
        command.args([
            "load",
            workload.name,
            "--requests",
            &requests.to_string(),
            "--",
        ]);
        command
            .args(tool.split(' '))
            .arg(&program)
            .args(["child", contender.name, workload.name]);
        output_of(&mut command, LIMIT)?;
        let text = fs::read_to_string(&counted.0)
            .map_err(Error::during(format_args!("read what {tool} has written")))?;
        let total = match self {
            Self::Strace => strace_total(&text),
            Self::Callgrind => callgrind_total(&text),
        };
        total.ok_or_else(|| Error::new(format!("{tool} has written no total: {text}")))
    }
}

/// The calls of the last line of `strace -c`: "100.00 0.012345 3 4012 12 total".
fn strace_total(text: &str) -> Option<f64> {
    let total = text.lines().find(|line| line.ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

/// The instructions of callgrind's line "totals: 123456".
fn callgrind_total(text: &str) -> Option<f64> {
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok()
}

/// Where a tool writes; gone afterwards.
struct Counted(PathBuf);

impl Counted {
    fn new() -> Self {
        Self(env::temp_dir().join(format!("rondel-bench-count-{}", process::id())))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        // Absent if the tool has failed, which is reported already.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read() {
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      50.00    0.000001           1      2000           sendto\n\
                      100.00    0.012345           3      4012        12 total\n";
        assert_eq!(strace_total(strace), Some(4012.0));
        assert_eq!(
            callgrind_total("events: Ir\ntotals: 123456\n"),
            Some(123_456.0)
        );
        assert_eq!((strace_total(""), callgrind_total("")), (None, None));
    }
}
