//! Every contender does every workload that it claims, in tiny runs: the figures are there and make
//! sense. How large they are is not a test's business.

use std::collections::HashMap;
use std::process::{Command, Output};

use serde_json::Value;

const MICRO: [(&str, &[&str]); 20] = [
    ("spawn", &["rate 1/s"]),
    ("yield", &["rate 1/s"]),
    ("pingpong", &["rate 1/s"]),
    ("call_soon", &["rate 1/s"]),
    ("timers_cancel", &["rate 1/s"]),
    (
        "timers_fire",
        &["cpu s", "late_p50 ms", "late_p99 ms", "late_max ms"],
    ),
    ("xthread", &["p50 us", "p99 us"]),
    ("blocking", &["rate 1/s"]),
    ("mem_pending", &["mem B"]),
    ("mem_sleep", &["mem B"]),
    ("mutex", &["rate 1/s"]),
    ("mutex_plain", &["rate 1/s"]),
    ("semaphore", &["rate 1/s"]),
    ("mpsc", &["rate 1/s"]),
    ("pingpong_chan", &["rate 1/s"]),
    ("gather", &["rate 1/s"]),
    ("gather_futures", &["rate 1/s"]),
    ("taskset", &["rate 1/s"]),
    ("taskgroup", &["rate 1/s"]),
    ("group_futures", &["rate 1/s"]),
];
const NET: [&str; 14] = [
    "echo_16B_c1",
    "echo_16B_c50",
    "echo_16B_c500",
    "echo_1K_c1",
    "echo_1K_c50",
    "echo_1K_c500",
    "echo_100K_c1",
    "echo_100K_c50",
    "echo_100K_c500",
    "churn",
    "udp_512B",
    "tls_1K_c50",
    "tls_16K_c50",
    "tls_handshake",
];
const NET_METRICS: &[&str] = &["rate 1/s", "p50 us", "p99 us", "cpu us"];
const RUNTIMES: [&str; 4] = ["rondel", "tokio", "smol", "monoio"];
const SERVERS: [&str; 5] = ["tokio", "tokio-tuned", "smol", "monoio", "limit"];

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rondel-bench"))
        .args(args)
        .output()
        .unwrap()
}

/// The figures of a run, by runtime, workload, and metric with unit.
fn figures(args: &[&str]) -> HashMap<(String, String, String), f64> {
    let output = bench(&[args, &["--scale", "tiny", "--rounds", "1", "--json"]].concat());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    let figure = |line: &str| {
        let object: HashMap<String, Value> = serde_json::from_str(line).unwrap();
        assert_eq!(object.len(), 5, "{line}");
        let text = |key: &str| object[key].as_str().unwrap().to_owned();
        let metric = format!("{} {}", text("metric"), text("unit"));
        (
            (text("runtime"), text("workload"), metric),
            object["value"].as_f64().unwrap(),
        )
    };
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(figure)
        .collect()
}

#[test]
fn every_runtime_does_every_in_process_workload() {
    let figures = figures(&["micro"]);
    let value = |runtime: &str, workload: &str, metric: &str| {
        let key = (runtime.to_owned(), workload.to_owned(), metric.to_owned());
        *figures.get(&key).unwrap_or_else(|| panic!("no {key:?}"))
    };
    for runtime in RUNTIMES {
        for (workload, metrics) in MICRO {
            for metric in metrics {
                let value = value(runtime, workload, metric);
                assert!(
                    value.is_finite() && value >= 0.0,
                    "{runtime} {workload} {metric} {value}"
                );
            }
        }
        let of = |workload, metric| value(runtime, workload, metric);
        let rates = MICRO.iter().filter(|(_, metrics)| *metrics == ["rate 1/s"]);
        for (rate, _) in rates {
            assert!(of(rate, "rate 1/s") > 0.0, "{runtime} {rate}");
        }
        assert!(
            of("xthread", "p50 us") <= of("xthread", "p99 us"),
            "{runtime}"
        );
        assert!(of("timers_fire", "cpu s") > 0.0, "{runtime}");
        let late = ["late_p50 ms", "late_p99 ms", "late_max ms"].map(|m| of("timers_fire", m));
        assert!(late.is_sorted(), "{runtime} {late:?}");
        // A task has a header at least; that of a sleeping one also holds its timer.
        let (pending, asleep) = (of("mem_pending", "mem B"), of("mem_sleep", "mem B"));
        assert!(
            16.0 < pending && pending < asleep && asleep < 10_000.0,
            "{runtime} {pending} {asleep}"
        );
    }
    // monoio has neither.
    for runtime in ["rondel", "tokio", "smol"] {
        assert!(value(runtime, "procs", "rate 1/s") > 0.0);
        assert!(value(runtime, "broadcast", "rate 1/s") > 0.0);
    }
    assert!(value("limit-task", "spawn", "rate 1/s") > 0.0);
    assert!(
        !figures
            .keys()
            .any(|(runtime, _, _)| runtime == "limit" || runtime == "tokio-tuned")
    );
}

#[test]
fn every_server_does_every_network_workload() {
    let figures = figures(&["net"]);
    for runtime in SERVERS {
        for workload in NET {
            let lacks_tls = !["tokio", "smol"].contains(&runtime) && workload.starts_with("tls_");
            if lacks_tls || (runtime, workload) == ("tokio-tuned", "udp_512B") {
                // At its best it would be the same.
                continue;
            }
            let value = |metric: &str| {
                let key = (
                    (*runtime).to_owned(),
                    workload.to_owned(),
                    metric.to_owned(),
                );
                *figures.get(&key).unwrap_or_else(|| panic!("no {key:?}"))
            };
            let [rate, p50, p99, cpu] = [0, 1, 2, 3].map(|index| value(NET_METRICS[index]));
            assert!(rate > 0.0 && p50 > 0.0, "{runtime} {workload} {rate} {p50}");
            assert!(
                p50 <= p99 && cpu >= 0.0,
                "{runtime} {workload} {p50} {p99} {cpu}"
            );
        }
    }
    assert!(
        !figures
            .keys()
            .any(|(runtime, _, _)| runtime == "limit-task")
    );
}

#[test]
fn lists_choose_and_what_is_skipped_is_said() {
    let args = [
        "--runtime",
        "limit,tokio",
        "--workload",
        "spawn,echo_16B_c1",
    ];
    let output = bench(&[&args[..], &["--scale", "tiny", "--rounds", "2"]].concat());
    let (table, notes) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
    assert!(output.status.success());
    let lines: Vec<_> = table.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert!(
        lines[0].starts_with("spawn") && lines[1].trim_start().starts_with("tokio"),
        "{table}"
    );
    assert!(lines[2].starts_with("echo_16B_c1"), "{table}");
    assert!(
        lines[4].trim_start().starts_with("limit") && lines[4].contains('['),
        "{table}"
    );
    let notes = String::from_utf8(notes).unwrap();
    assert!(
        notes.contains("limit does not do spawn: skipped"),
        "{notes}"
    );
}

#[test]
fn the_listing_names_all() {
    let listing = String::from_utf8(bench(&["--list"]).stdout).unwrap();
    let micro = MICRO.map(|(name, _)| name);
    let all = NET.iter().chain(&micro).chain(&["procs"]);
    for name in all.chain(&RUNTIMES).chain(&SERVERS) {
        assert!(
            listing
                .lines()
                .any(|line| line.split_whitespace().next() == Some(name)),
            "{name}"
        );
    }
}

#[test]
fn unknown_names_are_refused_with_those_that_exist() {
    for args in [["--runtime", "async-std"], ["--workload", "echo_1M_c1"]] {
        let output = bench(&args);
        assert!(!output.status.success());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("there are"), "{errors}");
    }
}

/// What the README shows for counting tools: any command may stand between load and server.
#[test]
fn a_server_runs_under_another_program() {
    let program = env!("CARGO_BIN_EXE_rondel-bench");
    let load = [
        "load",
        "echo_1K_c1",
        "--requests",
        "50",
        "--",
        "env",
        "TOOL=1",
        program,
    ];
    let output = bench(&[&load[..], &["child", "limit", "echo_1K_c1"]].concat());
    let figures = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(figures.lines().count(), 4, "{figures}");
}
