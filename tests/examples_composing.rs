//! The programs that compose tasks and let them talk to each other end by themselves and print what they should; on the
//! virtual clock, to the tenth of a second.

use rondel_tests::{example, run_to_end};

/// The lines that it prints.
fn on_virtual_clock(name: &str) -> Vec<String> {
    lines(&run_to_end(example(name).env("RONDEL_CLOCK", "virtual")))
}

fn lines(printed: &str) -> Vec<String> {
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn ten_pages_are_gathered_in_two_seconds_in_their_order() {
    let printed = on_virtual_clock("gathered_pages");
    let (ten, rest) = printed.split_at(20);
    let url = |n: usize| format!("http://www.example.com/{}", n % 10 + 1);
    for (n, line) in ten.iter().enumerate() {
        let what = if n < 10 { "start" } else { "end" };
        assert_eq!(*line, format!("{what} get {}", url(n)));
    }
    assert_eq!(
        rest,
        [
            "[24, 24, 24, 24, 24, 24, 24, 24, 24, 25]",
            "2.0 s",
            "start get http://www.example.com/",
            "end get http://www.example.com/",
            "Example: 23",
            "4.0 s",
        ]
    );
}

#[test]
fn waiting_gives_what_is_done_and_hands_back_the_rest() {
    assert_eq!(
        on_virtual_clock("waited_pages"),
        [
            "1.0 s: the first: 1 done, 9 pending",
            "5.0 s: the first error: 4 done, 5 pending",
            "       404 Not Found",
            "7.5 s: two and a half seconds later: 2 done, 3 pending",
            "10.0 s: all: 3 done, 0 pending",
        ]
    );
}

#[test]
fn a_cancelled_group_ends_with_its_cleanup_and_the_other_one_goes_on() {
    assert_eq!(
        on_virtual_clock("cancelled_group"),
        [
            "start get http://one.example.com/0",
            "start get http://one.example.com/1",
            "start get http://two.example.com/0",
            "start get http://two.example.com/1",
            "cancel group 2",
            "closed http://two.example.com/0",
            "closed http://two.example.com/1",
            "closed http://one.example.com/0",
            "end get http://one.example.com/0",
            "closed http://one.example.com/1",
            "end get http://one.example.com/1",
            "group 1: \"all of group 1\"",
            "group 2: cancelled",
            "cancelled after 1.0 s",
            "2.1 s",
        ]
    );
}

#[test]
fn twenty_pages_come_as_they_are_completed_each_with_its_place() {
    let mut printed = lines(&run_to_end(&mut example("pages_as_completed")));
    let last = printed.pop().expect("it says how long it took");
    assert!(last.starts_with("last time: "), "{last}");
    let mut places = Vec::new();
    for line in &printed {
        let (place, page) = line.split_once(": ").expect("place and page");
        assert_eq!(
            page,
            format!("<html>you asked for /s?wd={place}/</html>"),
            "its own page"
        );
        places.push(place.parse::<u32>().expect("a number"));
    }
    // Requested 100 ms apart: on the busiest machine the last URL is not behind the first.
    let order = |place| places.iter().position(|&p| p == place);
    assert!(order(19) < order(0), "{places:?}");
    places.sort_unstable();
    assert_eq!(places, (0..20).collect::<Vec<_>>());
}

#[test]
fn a_promise_is_awaited_like_a_task() {
    assert_eq!(
        on_virtual_clock("promise_and_task"),
        [
            "1 s: printed",
            "1 s: settled: Finished",
            "2 s: printed by a task",
            "3 s: waiter 1 has Ok(42)",
            "3 s: waiter 2 has Ok(42)",
            "3 s: out of paper",
            "3 s: the promise was dropped before it was kept",
        ]
    );
}

#[test]
fn a_producer_waits_for_room_in_the_queue() {
    let printed = on_virtual_clock("producer_consumer");
    let of = |what: &str| -> Vec<String> {
        let found = printed.iter().filter(|line| line.contains(what));
        found.cloned().collect()
    };
    // The first three fit in, as one of them is taken out at once; each of the others waits for a second.
    let put: Vec<_> = (1..=6)
        .map(|n| format!("{}.0 s: put {n}, {} waiting", i32::max(n - 3, 0), n.min(2)))
        .collect();
    assert_eq!(of("put"), put);
    let done: Vec<_> = (1..=6).map(|n| format!("{n}.0 s: {n} is done")).collect();
    assert_eq!(of("done"), done);
    assert_eq!(printed[12..], ["6.0 s: the queue is shut down and empty"]);
}

#[test]
fn a_stopped_pool_finishes_what_has_begun_and_nothing_else() {
    let printed = on_virtual_clock("worker_pool");
    let stop = printed.iter().position(|line| line == "stop");
    let (before, after) = printed.split_at(stop.expect("it is stopped"));
    let done = |lines: &[String]| {
        let mut jobs: Vec<u32> = lines
            .iter()
            .filter_map(|line| line.rsplit_once(" has done job ")?.1.parse().ok())
            .collect();
        jobs.sort_unstable();
        jobs
    };
    assert_eq!(before[6], "the first six took 0.9 s");
    assert_eq!(done(&before[..6]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(done(&before[7..]), [7, 9]);
    assert_eq!(done(after), [8, 10, 11], "each worker had one in hand");
    let end = &after[4..];
    assert_eq!(end, ["11 jobs done, 5 not begun", "1.8 s"]);
}

#[test]
fn each_attempt_has_its_time_and_leaves_nothing_behind() {
    assert_eq!(
        on_virtual_clock("retry_with_timeout"),
        [
            "connection 1 closed",
            "attempt 1: no answer in time",
            "connection 2 closed",
            "attempt 2: the server is busy",
            "connection 3 closed",
            "an answer over connection 3",
            "2.15 s",
            "connection 2 closed",
            "attempt 1: the server is busy",
            "connection 2 closed",
            "given up: the server is busy",
            "2.45 s",
        ]
    );
}

#[test]
fn requests_pass_in_a_burst_and_then_at_the_rate() {
    assert_eq!(
        on_virtual_clock("rate_limiter"),
        [
            "0.0 s: request 1",
            "0.0 s: request 2",
            "0.0 s: request 3",
            "0.5 s: request 4",
            "1.0 s: request 5",
            "1.5 s: request 6",
            "2.0 s: request 7",
            "2.5 s: request 8",
        ]
    );
}

#[test]
fn a_change_with_an_await_in_it_needs_a_lock() {
    // The later of each two writes wins, and it is always the same task's.
    assert_eq!(
        on_virtual_clock("locked_counter"),
        ["without a lock: -100", "with a lock: 0"]
    );
}

#[test]
fn philosophers_starve_in_a_circle_and_eat_in_an_order() {
    let printed = on_virtual_clock("dining_philosophers");
    assert_eq!(
        printed[..3],
        [
            "the left fork first:",
            "all have starved, each with one fork in hand",
            "the lower fork first:",
        ]
    );
    let (last, meals) = printed[3..].split_last().expect("there is a dinner");
    assert_eq!(last, "all have eaten");
    let mut meals = meals.to_vec();
    meals.sort_unstable();
    let mut expected = Vec::new();
    for name in ["Arendt", "Avicenna", "Hypatia", "Laozi", "Plato"] {
        expected.extend((1..=3).map(|meal| format!("{name} eats meal {meal}")));
    }
    assert_eq!(meals, expected);
}

#[test]
fn programs_that_hang_say_why() {
    let printed = run_to_end(example("hanging").env("RONDEL_CLOCK", "real"));
    let lines = lines(&printed);
    let has = |words: &str| lines.iter().any(|line| line.contains(words));
    assert!(
        has("deadlock: transfer there -> transfer back -> transfer there"),
        "{printed}"
    );
    assert!(has(
        "deadlock: \"there\" in transfers -> \"back\" in transfers"
    ));
    assert!(has("\"consumer\" spawned at"), "{printed}");
    for words in [
        "waits for a queue to be done (#",
        "perhaps a deadlock, for 0.0 s: left -> right -> left",
        "deadlock: parent -> child -> parent",
        ", connected to 127.0.0.1:",
    ] {
        assert!(has(words), "{words}: {printed}");
    }
    assert!(
        has("has been blocked for 0.") && has("by \"hog\" spawned at"),
        "{printed}"
    );
    assert_eq!(lines.last().unwrap(), "it goes on");
}
