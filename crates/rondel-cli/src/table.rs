//! `ps`: a line for each task.

use std::fmt::Write;

use crate::snapshot::{Loop, Process, Snapshot, Task, Times, span};
use crate::tree;

/// The tasks of all loops, each loop under its headline.
pub(crate) fn table(process: &Process) -> String {
    let mut text = String::new();
    for (place, one) in process.loops.iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        of_loop(&mut text, one);
    }
    text
}

fn of_loop(text: &mut String, one: &Loop) {
    // Writing to a string does not fail, here and below.
    let _ = writeln!(text, "{}", one.headline());
    let Some(snapshot) = &one.snapshot else {
        return;
    };
    let _ = writeln!(text, "{}", summary(snapshot, &snapshot.metrics.lag));
    let rows: Vec<_> = snapshot.tasks.iter().map(row).collect();
    let head = [
        "ID",
        "NAME",
        "AGE",
        "IDLE",
        "POLLS",
        "TIME",
        "WAITS FOR",
        "AWAITED BY",
        "SPAWNED AT",
    ];
    write_columns(text, &head.map(str::to_owned), &rows);
    if snapshot.more_tasks > 0 {
        let _ = writeln!(text, "and {} more", snapshot.more_tasks);
    }
    for deadlock in &snapshot.deadlocks {
        let _ = writeln!(text, "{}", tree::line(deadlock));
    }
}

pub(crate) fn summary(snapshot: &Snapshot, lag: &Times) -> String {
    let metrics = &snapshot.metrics;
    format!(
        "{} tasks alive, {} spawned, {} cancelled; {} ready, {} timers, {} descriptors; lag {} (99 %: {}, at most {})",
        metrics.tasks_alive,
        metrics.tasks_spawned,
        metrics.tasks_cancelled,
        metrics.ready,
        metrics.timers,
        metrics.descriptors,
        span(lag.p50),
        span(lag.p99),
        span(lag.max),
    )
}

fn row(task: &Task) -> [String; 9] {
    let ids: Vec<_> = task.awaited_by.iter().map(ToString::to_string).collect();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    [
        task.id.to_string(),
        task.name.clone(),
        or_dash(task.age.map(span)),
        or_dash(task.idle.map(span)),
        or_dash(task.polls.map(|polls| polls.to_string())),
        or_dash(task.spent.map(span)),
        task.state(),
        or_dash((!ids.is_empty()).then(|| ids.join(","))),
        task.site.clone(),
    ]
}

/// Columns as wide as their widest cell, the last one as long as it is.
pub(crate) fn write_columns<const N: usize>(
    text: &mut String,
    head: &[String; N],
    rows: &[[String; N]],
) {
    let mut widths = [0; N];
    for row in rows.iter().chain([head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in [head].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}
