//! `examples/hanging.rs`: hangs in each typical way; seen from outside, the culprit is named.

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

use rondel_tests::inspected::Program;
use serde_json::Value;

/// Nothing here takes so long, unless it never comes.
const LONG: Duration = Duration::from_secs(60);

/// A way to hang: its name, who waits for what, and what is said of it.
type Way = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const WAYS: [Way; 7] = [
    (
        "embrace",
        &[
            ("transfer there", "a lock (#N) held by transfer back"),
            ("transfer back", "a lock (#N) held by transfer there"),
        ],
        "deadlock: transfer there -> transfer back -> transfer there",
    ),
    (
        "siblings",
        &[("transfers", "the children of a group")],
        "deadlock: \"there\" in transfers -> \"back\" in transfers -> \"there\" in transfers",
    ),
    ("forgotten", &[("consumer", "an item (#N)")], ""),
    (
        "undone",
        &[
            (
                "boss",
                "a queue to be done (#N) with 1 item left, last taken from by worker",
            ),
            ("worker", "an item (#N), last put in by boss"),
        ],
        "perhaps a deadlock, for ",
    ),
    (
        "full",
        &[
            ("left", "room in a queue (#N), last made by right"),
            ("right", "room in a queue (#N), last made by left"),
        ],
        ": left -> right -> left",
    ),
    (
        "joined",
        &[("parent", "child"), ("child", "parent")],
        "deadlock: parent -> child -> parent",
    ),
    (
        "silent",
        &[(
            "client",
            "descriptor N, connected to 127.0.0.1:N, to become readable",
        )],
        "",
    ),
];

/// Words without what differs from run to run: numbers of things, descriptors, ports.
fn plain(words: &str) -> String {
    let mut plain = String::new();
    let mut rest = words;
    while let Some(start) = [" (#", "descriptor ", "127.0.0.1:"]
        .iter()
        .filter_map(|mark| rest.find(mark).map(|at| at + mark.len()))
        .min()
    {
        let number = rest[start..].find(|c: char| !c.is_ascii_hexdigit());
        let end = number.map_or(rest.len(), |length| start + length);
        plain.push_str(&rest[..start]);
        plain.push('N');
        rest = &rest[end..];
    }
    plain + rest
}

/// What the task with this name waits for.
fn waits_for(snapshot: &Value, name: &str) -> Option<String> {
    let tasks = Program::tasks(snapshot);
    let task = tasks.iter().find(|task| task["name"] == name)?;
    task["waits_for"].as_str().map(plain)
}

/// Starts a program and waits until it hangs.
fn hung(way: &str, waiting: &[(&str, &str)]) -> Program {
    let program = Program::start("hanging", &[way]);
    let deadline = Instant::now() + LONG;
    loop {
        assert!(
            Instant::now() < deadline,
            "{way} does not hang as it should"
        );
        if program.is_open() {
            let snapshot = program.snapshot();
            let mut all = waiting.iter();
            if all.all(|(name, what)| waits_for(&snapshot, name).as_deref() == Some(*what)) {
                return program;
            }
        }
        std::thread::yield_now();
    }
}

#[test]
fn from_outside_the_culprit_is_named() {
    for (way, waiting, printed) in WAYS {
        let program = hung(way, waiting);
        for command in ["ps", "pstree"] {
            let said = program.ask(&[command]);
            assert!(said.contains(printed), "{way}, {command}: {said}");
            for (name, what) in waiting {
                let mut lines = said.lines();
                let told = |line: &str| line.contains(name) && plain(line).contains(what);
                assert!(lines.any(told), "{way}, {command}: no {name} in {said}");
            }
        }
    }
}

#[test]
fn a_signal_has_it_say_the_same() {
    for (way, waiting, printed) in WAYS {
        let mut program = Program::start_closed("hanging", &[way]);
        // From this line on it takes the signal.
        let mut stdout = BufReader::new(program.child.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        let stderr = BufReader::new(program.child.stderr.take().unwrap());
        let mut lines = stderr.lines().map(Result::unwrap);
        let deadline = Instant::now() + LONG;
        loop {
            let killed = Command::new("kill")
                .args(["-USR1", &program.child.id().to_string()])
                .status();
            assert!(killed.unwrap().success());
            let mut said = String::new();
            for line in &mut lines {
                said += &plain(&line);
                said.push('\n');
                // The figures come last.
                if line.starts_with("turns: ") {
                    break;
                }
            }
            let mut all = waiting.iter();
            if said.contains(printed) && all.all(|(_, what)| said.contains(what)) {
                break;
            }
            assert!(Instant::now() < deadline, "{way}: {said}");
        }
    }
}

#[test]
fn one_that_does_not_go_on_is_named_by_its_watchdog() {
    let mut program = hung("hog", &[]);
    let mut lines = BufReader::new(program.child.stderr.take().unwrap()).lines();
    let told = lines.find_map(|line| {
        let line = line.unwrap();
        line.contains("has been blocked for").then_some(line)
    });
    assert!(told.unwrap().contains(" by \"hog\" spawned at "));
    let said = program.ask(&["ps"]);
    assert!(said.contains("blocked by \"hog\" spawned at "), "{said}");
}
