//! The report: a table for people, JSON lines for programs.

use std::fmt::Write;

use crate::contenders::{BASELINE, CONTENDERS};
use crate::figure::{Better, Metric, Record};
use crate::stats::Quartiles;
use crate::workloads::WORKLOADS;

/// Ratios nearer to 1 than this count as equal.
const EQUAL_WITHIN: f64 = 0.03;

/// All rounds of all contenders at one workload.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) workload: &'static str,
    pub(crate) metrics: &'static [Metric],
    pub(crate) rows: Vec<Row>,
}

/// What one contender's runs have brought, by round.
#[derive(Debug)]
pub(crate) struct Row {
    runtime: &'static str,
    rounds: Vec<Vec<Record>>,
}

impl Row {
    pub(crate) fn new(runtime: &'static str, rounds: u32) -> Self {
        Self {
            runtime,
            rounds: vec![Vec::new(); rounds as usize],
        }
    }

    pub(crate) fn note(&mut self, round: usize, records: &[Record]) {
        self.rounds[round].extend_from_slice(records);
    }

    /// A round that failed has no value.
    fn values(&self, metric: Metric) -> Vec<Option<f64>> {
        let of_round = |records: &Vec<Record>| {
            records
                .iter()
                .find(|record| record.metric == metric.name)
                .map(|record| record.value)
        };
        self.rounds.iter().map(of_round).collect()
    }

    fn median(&self, metric: Metric) -> Option<f64> {
        Quartiles::of(self.values(metric).into_iter().flatten()).map(|found| found.median)
    }
}

impl Results {
    /// The table to standard output; or, for programs, JSON there and the table to standard error.
    pub(crate) fn print(&self, json: bool) {
        if json {
            eprintln!("{}", self.table());
            print!("{}", self.json_lines());
        } else {
            println!("{}", self.table());
        }
    }

    /// The median of each metric of each contender.
    fn json_lines(&self) -> String {
        let mut lines = String::new();
        for row in &self.rows {
            for metric in self.metrics {
                if let Some(median) = row.median(*metric) {
                    let record = Record::new(row.runtime, self.workload, metric.of(median));
                    lines.push_str(&record.line());
                    lines.push('\n');
                }
            }
        }
        lines
    }

    /// A line a contender: the median of each metric, and the median and the quartiles of its ratios
    /// to the baseline in the same round.
    fn table(&self) -> String {
        let mut lines = vec![vec![self.workload.to_owned()]];
        lines[0].extend(self.metrics.iter().map(|metric| heading(*metric)));
        for row in &self.rows {
            let mut cells = vec![format!("  {}", row.runtime)];
            cells.extend(self.metrics.iter().map(|metric| self.cell(row, *metric)));
            lines.push(cells);
        }
        aligned(&lines)
    }

    fn cell(&self, row: &Row, metric: Metric) -> String {
        let Some(median) = row.median(metric) else {
            return "failed".to_owned();
        };
        let mut cell = format!("{:>6}", short(median));
        let baseline = self.rows.iter().find(|row| row.runtime == BASELINE);
        let ours = row.values(metric);
        let ratios = match baseline {
            // How far the baseline's rounds lie apart, in the same terms.
            Some(_) if row.runtime == BASELINE => {
                Quartiles::of_ratios(&ours, &vec![Some(median); ours.len()])
            }
            Some(baseline) => Quartiles::of_ratios(&ours, &baseline.values(metric)),
            None => None,
        };
        if let Some(ratios) = ratios {
            let Quartiles { low, median, high } = ratios;
            let shown = match median {
                _ if row.runtime == BASELINE => "1".to_owned(),
                ratio if (ratio - 1.0).abs() <= EQUAL_WITHIN => "=".to_owned(),
                ratio => times(ratio),
            };
            let _ = write!(cell, "  {shown:>5} [{}-{}]", times(low), times(high));
        }
        cell
    }
}

fn heading(metric: Metric) -> String {
    let better = match metric.better {
        Better::More => "more is better",
        Better::Less => "less is better",
    };
    format!("{} {} ({better})", metric.name, metric.unit)
}

/// Columns as wide as their widest cell, two spaces apart.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|cells| cells.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<_> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for cells in lines {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Three or four significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e8 => format!("{:.0}M", value / 1e6),
        size if size >= 1e6 => format!("{:.2}M", value / 1e6),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn times(ratio: f64) -> String {
    if ratio < 10.0 {
        format!("{ratio:.2}")
    } else {
        format!("{ratio:.1}")
    }
}

/// What `--list` prints.
pub(crate) fn listing() -> String {
    let mut text = String::from("contenders\n");
    for contender in CONTENDERS {
        let _ = writeln!(text, "  {:<14} {}", contender.name, contender.what);
    }
    text.push_str("\nworkloads\n");
    for workload in WORKLOADS {
        let metrics = workload
            .metrics
            .iter()
            .map(|m| format!("{} {}", m.name, m.unit));
        let metrics = metrics.collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "  {:<14} {}: {metrics}", workload.name, workload.what);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{P50, RATE};

    fn results(rounds: &[(&'static str, &[f64])]) -> Results {
        let row = |&(runtime, values): &(&'static str, &[f64])| {
            let mut row = Row::new(runtime, values.len() as u32);
            for (round, value) in values.iter().enumerate() {
                if value.is_finite() {
                    row.note(round, &[Record::new(runtime, "spawn", RATE.of(*value))]);
                }
            }
            row
        };
        Results {
            workload: "spawn",
            metrics: &[RATE],
            rows: rounds.iter().map(row).collect(),
        }
    }

    #[test]
    fn the_table_pairs_each_round_with_the_baseline() {
        let results = results(&[("tokio", &[1e6, 2e6, 4e6]), ("smol", &[2e6, 4e6, 8e6])]);
        let table = results.table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "spawn    rate 1/s (more is better)");
        assert_eq!(lines[1], "  tokio   2.00M      1 [0.75-1.50]");
        assert_eq!(lines[2], "  smol    4.00M   2.00 [2.00-2.00]");
    }

    #[test]
    fn within_three_per_cent_is_equal() {
        let results = results(&[("tokio", &[100.0]), ("a", &[102.9]), ("b", &[96.9])]);
        let table = results.table();
        assert!(
            table.contains("  a         103      = [1.03-1.03]"),
            "{table}"
        );
        assert!(
            table.contains("  b        96.9   0.97 [0.97-0.97]"),
            "{table}"
        );
    }

    #[test]
    fn a_failed_round_is_left_out_and_a_failed_contender_shown() {
        let results = results(&[
            ("tokio", &[1.0, 1.0, 1.0]),
            ("smol", &[f64::NAN, 5.0, 5.0]),
            ("monoio", &[f64::NAN; 3]),
        ]);
        assert!(results.table().contains("5.00   5.00 [5.00-5.00]"));
        assert!(results.table().contains("  monoio  failed"));
        assert!(!results.json_lines().contains("monoio"));
    }

    #[test]
    fn without_the_baseline_there_are_no_ratios() {
        let results = results(&[("smol", &[5.0])]);
        assert!(!results.table().contains('['));
    }

    #[test]
    fn a_figure_is_one_json_object_a_line() {
        let results = results(&[("tokio", &[1.5]), ("smol", &[2.5])]);
        assert_eq!(
            results.json_lines(),
            concat!(
                r#"{"runtime":"tokio","workload":"spawn","metric":"rate","value":1.5,"unit":"1/s"}"#,
                "\n",
                r#"{"runtime":"smol","workload":"spawn","metric":"rate","value":2.5,"unit":"1/s"}"#,
                "\n",
            )
        );
    }

    #[test]
    fn values_have_three_or_four_digits() {
        let shown = [0.0123, 0.5, 12.34, 328.2, 9999.0, 143_600.0, 5.72e6, 2.72e8].map(short);
        assert_eq!(
            shown,
            [
                "0.012", "0.50", "12.3", "328", "9999", "143.6k", "5.72M", "272M"
            ]
        );
        assert!(heading(P50).contains("less"));
    }
}
