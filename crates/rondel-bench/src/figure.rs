//! What is measured: metrics, their units, and one measured figure.

use serde::{Deserialize, Serialize};

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// A named quantity in a fixed unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

impl Metric {
    const fn less(name: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            unit,
            better: Better::Less,
        }
    }
}

/// Operations a second of wall-clock time, on the one core that the contender has.
pub(crate) const RATE: Metric = Metric {
    name: "rate",
    unit: "1/s",
    better: Better::More,
};
/// Median latency of one operation, request or connection.
pub(crate) const P50: Metric = Metric::less("p50", "us");
/// 99th percentile of the same.
pub(crate) const P99: Metric = Metric::less("p99", "us");
/// CPU time of the server, user and system, per request.
pub(crate) const CPU: Metric = Metric::less("cpu", "us");
/// CPU time of the whole run.
pub(crate) const CPU_TOTAL: Metric = Metric::less("cpu", "s");
/// How much later than asked a sleep ended.
pub(crate) const LATE_P50: Metric = Metric::less("late_p50", "ms");
pub(crate) const LATE_P99: Metric = Metric::less("late_p99", "ms");
pub(crate) const LATE_MAX: Metric = Metric::less("late_max", "ms");
/// Resident memory per idle task.
pub(crate) const MEM: Metric = Metric::less("mem", "B");
/// System calls per request, as strace counts them.
pub(crate) const SYSCALLS: Metric = Metric::less("syscalls", "1/request");
/// User-mode instructions per request, as callgrind counts them.
pub(crate) const INSTRUCTIONS: Metric = Metric::less("instructions", "1/request");

/// One value of one metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) metric: Metric,
    pub(crate) value: f64,
}

impl Metric {
    pub(crate) const fn of(self, value: f64) -> Figure {
        Figure {
            metric: self,
            value,
        }
    }
}

/// A figure as it is written to standard output, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) runtime: String,
    pub(crate) workload: String,
    pub(crate) metric: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
}

impl Record {
    pub(crate) fn new(runtime: &str, workload: &str, figure: Figure) -> Self {
        Self {
            runtime: runtime.to_owned(),
            workload: workload.to_owned(),
            metric: figure.metric.name.to_owned(),
            value: figure.value,
            unit: figure.metric.unit.to_owned(),
        }
    }

    /// The record as one line of JSON, without the line's end.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).expect("strings and a finite number are always JSON")
    }
}
