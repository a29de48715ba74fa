//! Every program of the tutorial chapter ends by itself and prints what it should; on the virtual clock, to the second.

use rondel_tests::{example, run_to_end};
use std::time::{Duration, Instant};

fn on_virtual_clock(name: &str) -> String {
    run_to_end(example(name).env("RONDEL_CLOCK", "virtual"))
}

#[test]
fn ten_sleeping_pages_take_two_seconds_together() {
    let printed = on_virtual_clock("sleeping_pages");
    let mut lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.pop(), Some("2.0 s"));
    assert_eq!(lines.len(), 20);
    assert!(
        lines[..10]
            .iter()
            .all(|line| line.starts_with("start get "))
    );
    assert!(lines[10..].iter().all(|line| line.starts_with("end get ")));
}

#[test]
fn on_the_real_clock_they_really_take_them() {
    let start = Instant::now();
    run_to_end(&mut example("sleeping_pages"));
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_task_gives_its_result_after_its_callback() {
    let printed = on_virtual_clock("task_result");
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "start get http://www.example.com/",
            "http://www.example.com/",
            "Task-1 is Finished: send callback email",
            "lewen",
        ]
    );
}

#[test]
fn nested_coroutines_hand_results_and_errors_up() {
    let printed = on_virtual_clock("nested_coroutines");
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "compute 1 + 2 …",
            "1 + 2 = 3",
            "compute 3 + 4 …",
            "3 + 4 = 7",
            "nested result: 7",
            "compute 2147483647 + 7 …",
            "nested error: 2147483647 + 7 is too large",
        ]
    );
}

#[test]
fn callbacks_are_called_in_their_order() {
    for printed in [
        on_virtual_clock("call_soon_family"),
        run_to_end(&mut example("call_soon_family")),
    ] {
        let mut lines: Vec<_> = printed.lines().collect();
        // The thread's call may come before, between or after the first two.
        let from_thread = lines
            .iter()
            .position(|line| line.ends_with("call_soon_threadsafe, from a thread"))
            .expect("the thread calls");
        lines.remove(from_thread);
        assert_eq!(
            lines,
            [
                "0 s: call_soon, the first",
                "0 s: call_soon, the second",
                "1 s: call_later, one second",
                "2 s: call_at, two seconds after the start",
                "3 s: call_later, three seconds",
            ]
        );
    }
}

#[test]
fn a_counter_needs_no_lock() {
    assert_eq!(run_to_end(&mut example("shared_counter")), "0\n");
}

#[test]
fn twenty_pages_by_three_threads() {
    let printed = run_to_end(&mut example("pages_by_threads"));
    let pages = printed
        .lines()
        .filter(|line| line.starts_with("<html>you asked for /s?wd="))
        .count();
    assert_eq!(pages, 20);
    assert!(printed.contains("3 threads were enough"));
}

#[test]
fn twenty_pages_by_streams() {
    let printed = run_to_end(&mut example("pages_by_streams"));
    for n in 0..20 {
        assert!(printed.contains(&format!("<html>you asked for /s?wd={n}/</html>")));
    }
}

#[test]
fn echo_servers_of_both_kinds_say_the_same() {
    for name in ["echo_protocol", "echo_streams"] {
        assert_eq!(
            run_to_end(&mut example(name)).lines().collect::<Vec<_>>(),
            [
                "heard: round 1",
                "heard: round 2",
                "heard: round 3",
                "all connections ended by themselves: true",
            ],
            "{name}"
        );
    }
}
