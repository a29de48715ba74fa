//! The programs about servers and many connections end by themselves and print what they should.

use rondel_tests::{example, run_to_end};

fn lines_of(name: &str) -> Vec<String> {
    let printed = run_to_end(&mut example(name));
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn workers_serve_all_clients_together() {
    let lines = lines_of("loop_per_core");
    let served: usize = lines[..2]
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(served, 200);
    assert_eq!(lines[2..], ["together: 200", "clients answered: 200"]);
}

#[test]
fn a_server_under_load_shuts_down_without_cutting_an_answer() {
    assert_eq!(
        lines_of("graceful_shutdown"),
        [
            "under load: true",
            "answers: at least 100: true",
            "answers that were cut: 0",
            "clients turned away: 20",
            "handlers cancelled: 1",
            "the silent one is cut off: true",
        ]
    );
}

#[test]
fn a_proxy_holds_up_the_sender_and_one_piece_at_most() {
    let lines = lines_of("tcp_proxy");
    assert_eq!(lines[0], "the receiver sleeps, the sender is held up: true");
    assert_eq!(lines[1], "received so far: 0");
    assert_eq!(lines[2], "received in the end: 128 MiB");
    let most = lines[3].strip_prefix("in the proxy at most: ").unwrap();
    let most: usize = most.strip_suffix(" KiB").unwrap().parse().unwrap();
    assert!((1..=64).contains(&most), "{most}");
    assert_eq!(lines[4], "ended by themselves: true");
}

#[test]
fn all_guests_but_the_speaker_hear_what_is_said() {
    assert_eq!(
        lines_of("chat"),
        [
            "Anna hears «* Bert comes in»",
            "Anna hears «* Cleo comes in»",
            "Bert hears «* Cleo comes in»",
            "Bert hears «Anna: who brings the cake?»",
            "Cleo hears «Anna: who brings the cake?»",
            "Anna hears «Cleo: I do»",
            "Bert hears «Cleo: I do»",
            "Anna hears «* Cleo leaves»",
            "Bert hears «* Cleo leaves»",
            "all left by themselves: true",
        ]
    );
}

#[test]
fn a_scanner_finds_what_is_open_and_keeps_to_its_limit() {
    assert_eq!(
        lines_of("port_scanner"),
        [
            "scanned at least 401 ports: true",
            "never more than 100 at a time: true",
            "found all of ours: true",
        ]
    );
}
