//! The command `rondel` at programs that have a lot to do: the crawler, and the HTTP server under wrk.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rondel_tests::has_peer;
use rondel_tests::inspected::Program;
use serde_json::Value;

#[test]
fn the_crawler_is_looked_into_while_it_crawls() {
    // Its site has pages that never answer: within this time it does not end.
    let mut program = Program::start("crawler", &["--timeout", "600"]);
    let mut lines = BufReader::new(program.child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("pages/s")));
    for _ in 0..20 {
        let snapshot = program.snapshot();
        let all = Program::tasks(&snapshot);
        let at_work = |task: &&Value| task["site"].as_str().unwrap().contains("crawl.rs");
        assert!(all.iter().filter(at_work).count() > 1, "{snapshot}");
    }
    for (command, part) in [
        ("ps", "WAITS FOR"),
        ("pstree", "crawl.rs"),
        ("top", "sockets: "),
    ] {
        let said = program.ask(&[command]);
        assert!(said.contains(part), "{command}: {said}");
    }
}

#[test]
fn the_server_is_looked_into_under_load() {
    if !has_peer("wrk") {
        return;
    }
    let mut program = Program::start("http_server", &["127.0.0.1:0"]);
    let mut line = String::new();
    let mut said = BufReader::new(program.child.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let url = line
        .strip_prefix("serving ")
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    let mut load = Command::new("wrk")
        .args(["--threads", "1", "--connections", "50", "--duration", "2s"])
        .arg(format!("{url}/status"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut most = 0;
    while load.try_wait().unwrap().is_none() {
        let snapshot = program.snapshot();
        assert_eq!(
            snapshot["loops"][0]["snapshot"]["deadlocks"],
            Value::Array(Vec::new())
        );
        most = most.max(Program::tasks(&snapshot).len());
    }
    // A task for each connection, and the server's own.
    assert!(most > 50, "{most}");
    let mut report = String::new();
    std::io::Read::read_to_string(&mut load.stdout.take().unwrap(), &mut report).unwrap();
    assert!(!report.contains("Socket errors"), "{report}");
}
