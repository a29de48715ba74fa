//! The loop as a guest of another one, which is poll(2) in a few lines here.

#![cfg(not(polling_test_poll_backend))]

mod trace;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rondel_loop::{EventLoop, SourceKind, sleep, spawn, yield_now};
use rondel_poll::{Clocked, ManualClock, Virtual, Wait, default_selector};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trace::Trace;

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

/// Whether the host would see the guest's descriptor readable now.
fn calls(lp: &EventLoop) -> bool {
    ready_within(lp, Some(Duration::ZERO))
}

/// Waits as a host does, for the descriptor alone.
fn ready_within(lp: &EventLoop, timeout: Option<Duration>) -> bool {
    let fd = lp.as_fd().unwrap();
    let timeout = timeout.map(|timeout| Timespec::try_from(timeout).unwrap());
    loop {
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// One visit of the host: turns until the guest has nothing more to do at once.
fn visit(lp: &mut EventLoop) -> usize {
    let mut turns = 1;
    while lp.run_once(Wait::Poll).unwrap() {
        turns += 1;
        assert!(
            turns < 1000,
            "a guest with nothing to do keeps asking for turns"
        );
    }
    turns
}

/// A host that does nothing else: it comes when it is called, or when the deadline has come.
fn host(lp: &mut EventLoop, until: impl Fn() -> bool) {
    visit(lp);
    while !until() {
        let timeout = lp
            .next_deadline()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        ready_within(lp, timeout);
        visit(lp);
    }
}

#[test]
fn an_idle_guest_does_not_call() {
    let mut lp = new_loop();
    visit(&mut lp);
    assert!(!calls(&lp));
    assert_eq!(lp.next_deadline(), None);
    assert!(!lp.run_once(Wait::Poll).unwrap());
    assert!(!calls(&lp));
}

#[test]
fn a_wake_from_another_thread_makes_it_call_until_it_is_visited() {
    let mut lp = new_loop();
    let trace = Trace::new();
    visit(&mut lp);
    for round in 0..10 {
        let handle = lp.handle();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            handle
                .call_soon_threadsafe(move || tell.send(round).unwrap())
                .unwrap();
        })
        .join()
        .unwrap();
        assert!(calls(&lp));
        assert!(calls(&lp), "until it is visited");
        let turns = visit(&mut lp);
        trace.note(told.recv().unwrap());
        assert!(turns <= 2, "{turns} turns for one callback");
        assert!(!calls(&lp), "and no longer");
    }
    assert_eq!(trace.take(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_push_between_turns_makes_it_call_as_well() {
    let mut lp = new_loop();
    visit(&mut lp);
    let trace = Trace::new();
    let noted = trace.clone();
    lp.call_soon(move || noted.note("callback"));
    assert!(calls(&lp));
    assert!(lp.next_deadline().unwrap() <= Instant::now());
    visit(&mut lp);
    assert!(!calls(&lp));
    assert_eq!(lp.next_deadline(), None);

    let noted = trace.clone();
    let task = lp.create_task(async move {
        yield_now().await;
        noted.note("task");
    });
    assert!(calls(&lp));
    visit(&mut lp);
    assert!(!calls(&lp));
    drop(task);

    // Waking and cancelling do it, too.
    let task = lp.create_task(std::future::pending::<()>());
    visit(&mut lp);
    assert!(!calls(&lp));
    task.cancel();
    assert!(calls(&lp));
    visit(&mut lp);
    assert!(task.is_finished());
    assert_eq!(trace.take(), ["callback", "task"]);
}

#[test]
fn the_guest_hook_is_called_for_pushes_between_turns_and_for_nothing_else() {
    let hooked = Rc::new(Cell::new(0));
    let count = Rc::clone(&hooked);
    let mut lp = EventLoop::builder()
        .guest_hook(move || count.set(count.get() + 1))
        .build()
        .unwrap();
    visit(&mut lp);
    assert_eq!(hooked.take(), 0);

    let local = lp.local();
    lp.call_soon(move || {
        // In the middle of a turn nobody needs to be told.
        local.call_soon(|| {});
        local.create_task(yield_now()).detach();
    });
    assert_eq!(hooked.take(), 1);
    assert!(!calls(&lp), "the hook takes the place of the descriptor");
    visit(&mut lp);
    assert_eq!(hooked.take(), 0);

    lp.create_task(async {}).detach();
    assert_eq!(hooked.take(), 1);
    visit(&mut lp);

    // Other threads cannot call it: they ring.
    let handle = lp.handle();
    std::thread::spawn(move || handle.call_soon_threadsafe(|| {}).unwrap())
        .join()
        .unwrap();
    assert_eq!(hooked.take(), 0);
    assert!(calls(&lp));
    visit(&mut lp);
    assert_eq!(hooked.take(), 0);
}

#[test]
fn a_turn_runs_what_was_ready_and_tells_that_there_is_more() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let (noted, local) = (trace.clone(), lp.local());
    lp.call_soon(move || {
        noted.note("first");
        local.call_soon(move || noted.note("second"));
    });
    assert!(lp.run_once(Wait::Poll).unwrap());
    assert_eq!(trace.take(), ["first"]);
    assert!(calls(&lp) || lp.next_deadline().unwrap() <= Instant::now());
    visit(&mut lp);
    assert_eq!(trace.take(), ["second"]);
}

#[test]
fn its_timers_are_the_hosts_deadline() {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    visit(&mut lp);
    let trace = Trace::new();
    let start = clock.now();
    let second = Duration::from_secs(1);
    for number in [3, 1, 2] {
        let trace = trace.clone();
        lp.call_later(number * second, move || trace.note(number));
    }
    for number in 1..=3 {
        assert_eq!(lp.next_deadline(), Some(start + number * second));
        visit(&mut lp);
        assert_eq!(trace.take(), [], "not before its time");
        clock.advance(second);
        visit(&mut lp);
        assert_eq!(trace.take(), [number]);
    }
    assert_eq!(lp.next_deadline(), None);
}

#[test]
fn its_descriptors_make_it_call() {
    let mut lp = new_loop();
    let (here, mut there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let source = lp
        .register(here.try_clone().unwrap().into(), SourceKind::UnixStream)
        .unwrap();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.create_task(async move {
        let mut buffer = [0; 16];
        loop {
            let count = source
                .read_with(|_| (&here).read(&mut buffer))
                .await
                .unwrap();
            noted.note(count);
            if count == 0 {
                return;
            }
        }
    })
    .detach();
    visit(&mut lp);
    assert!(!calls(&lp));
    for length in 1..4 {
        there.write_all(&b"hello"[..length]).unwrap();
        assert!(calls(&lp));
        visit(&mut lp);
        assert_eq!(trace.take(), [length]);
        assert!(!calls(&lp));
    }
    drop(there);
    assert!(calls(&lp));
    visit(&mut lp);
    assert_eq!(trace.take(), [0]);
    assert_eq!(lp.tasks().len(), 0);
}

#[test]
fn stop_ends_a_turn_and_leaves_nothing_behind() {
    let mut lp = new_loop();
    lp.stop();
    visit(&mut lp);
    assert_eq!(lp.next_deadline(), None);
    lp.handle().stop();
    visit(&mut lp);
    assert!(!calls(&lp));
    let local = lp.local();
    lp.call_soon(move || local.stop());
    visit(&mut lp);
    assert_eq!(lp.next_deadline(), None);
    assert!(!calls(&lp));
}

/// A wake that is lost shows as a host that waits for ever.
#[test]
fn wakes_that_race_the_end_of_a_turn_are_not_lost() {
    const ROUNDS: usize = 20_000;
    let mut lp = new_loop();
    visit(&mut lp);
    let handle = lp.handle();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let (back, pong) = mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            let (back, count) = (back.clone(), Arc::clone(&count));
            let callback = move || {
                count.fetch_add(1, Ordering::Relaxed);
                back.send(()).unwrap();
            };
            handle.call_soon_threadsafe(callback).unwrap();
            pong.recv().unwrap();
        }
    });
    while seen.load(Ordering::Relaxed) < ROUNDS {
        // No deadline at all: nothing but the descriptor brings the host back.
        ready_within(&lp, None);
        visit(&mut lp);
    }
    other.join().unwrap();
    visit(&mut lp);
    assert!(!calls(&lp));
}

#[test]
fn a_whole_program_runs_inside_a_foreign_loop() {
    let mut lp = new_loop();
    let done = Rc::new(RefCell::new(None));
    let finished = Rc::clone(&done);
    let handle = lp.handle();
    lp.create_task(async move {
        let start = Instant::now();
        let (here, mut there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let local = rondel_loop::LocalLoop::current().unwrap();
        let source = local
            .register(here.try_clone().unwrap().into(), SourceKind::UnixStream)
            .unwrap();
        let ticker = spawn(async {
            for _ in 0..20 {
                sleep(Duration::from_micros(300)).await;
            }
        });
        let reader = spawn(async move {
            let mut total = 0;
            let mut buffer = [0; 1000];
            loop {
                match source
                    .read_with(|_| (&here).read(&mut buffer))
                    .await
                    .unwrap()
                {
                    0 => return total,
                    count => total += count,
                }
            }
        });
        let remote = std::thread::spawn(move || {
            for _ in 0..100 {
                there.write_all(&[7; 123]).unwrap();
                handle.call_soon_threadsafe(|| {}).unwrap();
            }
            handle.spawn(async { 3 }).unwrap().result(None).unwrap()
        });
        ticker.await.unwrap();
        let total = reader.await.unwrap();
        let blocking = rondel_loop::to_thread(move || remote.join().unwrap())
            .await
            .unwrap();
        assert!(start.elapsed() >= Duration::from_millis(6));
        *finished.borrow_mut() = Some((total, blocking));
    })
    .detach();
    host(&mut lp, || done.borrow().is_some());
    assert_eq!(done.take(), Some((12_300, 3)));
    assert!(!calls(&lp));
}

#[test]
fn outside_its_turns_nothing_of_it_is_current() {
    let mut lp = new_loop();
    lp.call_soon(|| assert!(rondel_loop::LocalLoop::current().is_ok()));
    visit(&mut lp);
    assert!(rondel_loop::LocalLoop::current().is_err());
    assert!(!lp.is_running());
}

#[test]
fn a_guest_can_wait_by_itself() {
    let mut lp = new_loop();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.call_later(Duration::from_micros(100), move || noted.note("timer"));
    while lp.next_deadline().is_some() {
        lp.run_once(Wait::Forever).unwrap();
    }
    assert_eq!(trace.take(), ["timer"]);

    // At most so long, though there is a later timer.
    lp.call_later(Duration::from_secs(3600), || unreachable!("far away"));
    let limit = Instant::now() + Duration::from_micros(200);
    while Instant::now() < limit {
        lp.run_once(Wait::Until(limit)).unwrap();
    }
}

#[test]
fn a_virtual_clock_stands_still_for_a_host_that_only_peeks() {
    let mut lp = EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap();
    let start = lp.time();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.call_later(Duration::from_secs(5), move || noted.note("timer"));
    assert!(lp.as_fd().is_none());
    visit(&mut lp);
    assert_eq!((lp.time(), trace.take().len()), (start, 0));
    while trace.take() != ["timer"] {
        lp.run_once(Wait::Forever).unwrap();
    }
    assert_eq!(lp.time() - start, Duration::from_secs(5));
}

#[test]
fn after_being_a_guest_it_runs_by_itself() {
    let mut lp = new_loop();
    visit(&mut lp);
    let handle = lp.handle();
    std::thread::spawn(move || handle.call_soon_threadsafe(|| {}).unwrap())
        .join()
        .unwrap();
    lp.run_until_complete(sleep(Duration::from_micros(200)))
        .unwrap();
    visit(&mut lp);
    assert!(!calls(&lp));
    // And its descriptor stays what it was.
    let _same = lp.as_fd().unwrap().as_fd();
}
