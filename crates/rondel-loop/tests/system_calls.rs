//! What the loop asks of the system, counted by strace: the budgets that the design states.
#![cfg(all(
    target_os = "linux",
    not(any(rondel_selector = "portable", rondel_selector = "poll"))
))]

mod child;

use std::env;
use std::future::{Future, poll_fn};
use std::hint::spin_loop;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use child::{child, is_child};
use rondel_loop::{EventLoop, LocalLoop, sleep, spawn, timeout, yield_now};

/// A call that nothing else makes: it marks the beginning and the end of a section.
const MARK: &str = "getppid";

fn mark() {
    let _ = rustix::process::getppid();
}

/// A section that waits in the middle.
async fn section<T>(f: impl Future<Output = T>) -> T {
    mark();
    let value = f.await;
    mark();
    value
}

/// The calls of a section, those of the marking thread apart from those of others. Memory is nobody's business here.
#[derive(Debug, Default)]
struct Section {
    own: Vec<String>,
    others: Vec<String>,
}

impl Section {
    /// Own calls that are not of this name.
    fn own_but(&self, name: &str) -> Vec<&String> {
        self.own.iter().filter(|call| *call != name).collect()
    }
}

fn count(calls: &[String], name: &str) -> usize {
    calls.iter().filter(|call| *call == name).count()
}

/// Runs the test as a child under strace; gives its sections. `None`, and a note, without strace.
#[expect(clippy::print_stdout, reason = "says why the test is skipped")]
fn traced(test: &str) -> Option<Vec<Section>> {
    let output = env::temp_dir().join(format!("rondel-{}-{test}", std::process::id()));
    let traced = child(test);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&output);
    strace.arg(traced.get_program()).args(traced.get_args());
    for (key, value) in traced.get_envs() {
        strace.env(key, value.unwrap());
    }
    let ran = match strace.output() {
        Ok(ran) => ran,
        Err(error) => {
            let required = env::var_os("RONDEL_PEERS").is_some_and(|peers| peers == "required");
            assert!(!required, "strace: {error}");
            println!("skipped: strace: {error}");
            return None;
        }
    };
    let words = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{words}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let lines = std::fs::read_to_string(&output).unwrap();
    std::fs::remove_file(&output).unwrap();
    Some(sections(&lines))
}

fn sections(lines: &str) -> Vec<Section> {
    const MEMORY: [&str; 6] = ["brk", "mmap", "munmap", "madvise", "mremap", "mprotect"];
    let mut sections = Vec::new();
    let mut open: Option<(&str, Section)> = None;
    for line in lines.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        // Also of calls that are resumed later; not the resumptions, nor signals and exits.
        let Some((name, _)) = rest.trim_start().split_once('(') else {
            continue;
        };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        match &mut open {
            None if name == MARK => open = Some((thread, Section::default())),
            None => {}
            Some((own, section)) => {
                if name == MARK {
                    sections.push(std::mem::take(section));
                    open = None;
                } else if !MEMORY.contains(&name) {
                    let calls = if thread == *own {
                        &mut section.own
                    } else {
                        &mut section.others
                    };
                    calls.push(name.to_owned());
                }
            }
        }
    }
    sections
}

/// Runs `main` on a loop that has settled down.
fn on_a_warm_loop<T>(main: impl AsyncFnOnce(LocalLoop) -> T) -> T {
    let mut lp = EventLoop::new().unwrap();
    let local = lp.local();
    lp.run_until_complete(async {
        for _ in 0..2000 {
            local.call_soon(|| {});
        }
        yield_now().await;
        sleep(Duration::from_micros(1)).await;
        main(local).await
    })
    .unwrap()
}

#[test]
fn what_stays_on_the_thread_costs_no_system_call() {
    const TEST: &str = "what_stays_on_the_thread_costs_no_system_call";
    if is_child(TEST) {
        return on_a_warm_loop(async |lp| {
            section(async {
                for _ in 0..1000 {
                    yield_now().await;
                }
            })
            .await;
            section(async {
                for _ in 0..1000 {
                    lp.call_soon(|| {});
                }
                yield_now().await;
            })
            .await;
            section(async {
                for _ in 0..500 {
                    spawn(yield_now()).await.unwrap();
                }
            })
            .await;
            section(async {
                for _ in 0..1000 {
                    lp.call_later(Duration::from_secs(1), || {}).cancel();
                }
            })
            .await;
            section(async {
                for _ in 0..1000 {
                    timeout(Duration::from_secs(3600), yield_now())
                        .await
                        .unwrap();
                }
            })
            .await;
            section(async {
                let handle = lp.handle();
                for _ in 0..1000 {
                    handle.call_soon_threadsafe(|| {}).unwrap();
                    drop(handle.spawn(async {}).unwrap());
                }
                yield_now().await;
            })
            .await;
        });
    }
    let Some(sections) = traced(TEST) else { return };
    assert_eq!(sections.len(), 6);
    for (name, section) in [
        "yield",
        "call_soon",
        "spawn and join",
        "arm and cancel",
        "timeout",
        "by LoopHandle",
    ]
    .iter()
    .zip(&sections)
    {
        assert_eq!(section.own, [""; 0], "{name}");
    }
}

#[test]
fn a_sleep_is_one_wait() {
    const TEST: &str = "a_sleep_is_one_wait";
    if is_child(TEST) {
        return on_a_warm_loop(async |_| {
            section(async {
                for _ in 0..50 {
                    sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            // An idle stretch, with timers far away.
            spawn(sleep(Duration::from_secs(3600))).detach();
            section(sleep(Duration::from_millis(300))).await;
        });
    }
    let Some(sections) = traced(TEST) else { return };
    let [sleeps, idle] = &sections[..] else {
        panic!("{sections:?}")
    };
    assert_eq!(sleeps.own_but("epoll_pwait2"), [""; 0]);
    let waits = count(&sleeps.own, "epoll_pwait2");
    assert!((50..=52).contains(&waits), "{waits} waits");
    assert_eq!(idle.own, ["epoll_pwait2"]);
}

/// Where one thread waits for another to have come to a number.
#[derive(Default)]
struct Gate {
    number: AtomicUsize,
    waiting: Mutex<Option<Waker>>,
}

impl Gate {
    fn open(&self, number: usize) {
        self.number.store(number, Ordering::SeqCst);
        if let Some(waker) = self.waiting.lock().unwrap().take() {
            waker.wake();
        }
    }

    fn is_open(&self, number: usize) -> bool {
        self.number.load(Ordering::SeqCst) >= number
    }

    fn spin(&self, number: usize) {
        while !self.is_open(number) {
            spin_loop();
        }
    }

    async fn wait(&self, number: usize) {
        poll_fn(|cx| {
            *self.waiting.lock().unwrap() = Some(cx.waker().clone());
            if self.is_open(number) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

#[test]
fn a_wake_from_another_thread_costs_a_write_if_the_loop_sleeps_and_nothing_if_not() {
    const TEST: &str =
        "a_wake_from_another_thread_costs_a_write_if_the_loop_sleeps_and_nothing_if_not";
    const WAKES: usize = 30;
    if is_child(TEST) {
        return on_a_warm_loop(async |_| {
            let (asked, answered) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
            let (ask, answer) = (Arc::clone(&asked), Arc::clone(&answered));
            // It spins, so that no call of its own gets between.
            let other = std::thread::spawn(move || {
                for number in 1..=2 * WAKES {
                    ask.spin(number);
                    if number > WAKES {
                        // For the loop to fall asleep. If it has not, the wake costs less.
                        for _ in 0..300_000 {
                            spin_loop();
                        }
                    }
                    answer.open(number);
                }
            });
            // Awake: another task keeps the loop busy.
            let busy = spawn(async {
                loop {
                    yield_now().await;
                }
            });
            section(async {
                for number in 1..=WAKES {
                    asked.open(number);
                    answered.wait(number).await;
                }
            })
            .await;
            busy.cancel();
            yield_now().await;
            section(async {
                for number in WAKES + 1..=2 * WAKES {
                    asked.open(number);
                    answered.wait(number).await;
                }
            })
            .await;
            other.join().unwrap();
        });
    }
    let Some(sections) = traced(TEST) else { return };
    let [awake, asleep] = &sections[..] else {
        panic!("{sections:?}")
    };
    // The lock between the two may be met taken, which is the test's own affair.
    assert_eq!(awake.own_but("futex"), [""; 0]);
    assert_eq!(count(&awake.others, "write"), 0);
    assert!(
        asleep
            .own
            .iter()
            .all(|call| call == "futex" || call == "epoll_pwait2")
    );
    let (writes, waits) = (
        count(&asleep.others, "write"),
        count(&asleep.own, "epoll_pwait2"),
    );
    assert!((1..=WAKES).contains(&writes), "{writes} writes");
    // At most one more each: that of a loop which was rung before it slept.
    assert!(waits <= 2 * WAKES, "{waits} waits");
    println!("{WAKES} wakes of a sleeping loop: {writes} writes, {waits} waits");
}
