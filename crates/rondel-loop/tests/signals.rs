//! Signals as callbacks and as streams, and what the process does with a signal before and after.

mod trace;

use std::cell::Cell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use futures_util::StreamExt;
use rondel_loop::signal::{Signal, ctrl_c, signal};
use rondel_loop::{EventLoop, LocalLoop, sleep, spawn, yield_now};
use rondel_poll::{Clocked, ManualClock, Virtual, default_selector};
use trace::Trace;

/// Signals are the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends it to the calling thread: it has been handled when this returns, which is not so for one sent to the process.
fn raise(signal: Signal) {
    // SAFETY: no preconditions.
    assert_eq!(unsafe { libc::raise(signal.as_raw()) }, 0);
}

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

/// Whether the process catches the signal, as the system sees it.
#[cfg(target_os = "linux")]
fn is_caught(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .unwrap();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    caught & (1 << (signal.as_raw() - 1)) != 0
}

#[test]
fn a_callback_is_called_in_the_loop() {
    let _alone = alone();
    let mut lp = new_loop();
    let trace = Trace::new();
    let (noted, local) = (trace.clone(), lp.local());
    let here = std::thread::current().id();
    lp.add_signal_handler(Signal::USER1, move || {
        assert_eq!(std::thread::current().id(), here);
        assert!(LocalLoop::current().is_ok());
        noted.note("called");
        local.stop();
    })
    .unwrap();
    for _ in 0..3 {
        raise(Signal::USER1);
        lp.run_forever().unwrap();
        assert_eq!(trace.take(), ["called"]);
    }
}

#[test]
fn a_signal_wakes_a_loop_that_sleeps() {
    let _alone = alone();
    let mut lp = new_loop();
    for _ in 0..50 {
        let local = lp.local();
        lp.add_signal_handler(Signal::USER1, move || local.stop())
            .unwrap();
        let handle = lp.handle();
        let other = std::thread::spawn(move || {
            // Behind this the loop has nothing to do but sleep.
            let _ = handle.call_soon_threadsafe(|| {});
            raise(Signal::USER1);
        });
        lp.run_forever().unwrap();
        other.join().unwrap();
    }
}

#[test]
fn a_second_callback_takes_the_firsts_place_and_removing_says_whether_there_was_one() {
    let _alone = alone();
    let mut lp = new_loop();
    let trace = Trace::new();
    assert!(!lp.remove_signal_handler(Signal::USER1));
    let held = Rc::new(());
    let (inside, noted) = (Rc::clone(&held), trace.clone());
    lp.add_signal_handler(Signal::USER1, move || {
        let _ = &inside;
        noted.note("first");
    })
    .unwrap();
    let (noted, local) = (trace.clone(), lp.local());
    lp.add_signal_handler(Signal::USER1, move || {
        noted.note("second");
        local.stop();
    })
    .unwrap();
    assert_eq!(Rc::strong_count(&held), 1);
    raise(Signal::USER1);
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["second"]);
    assert!(!lp.remove_signal_handler(Signal::USER2));
    assert!(lp.remove_signal_handler(Signal::USER1));
    assert!(!lp.remove_signal_handler(Signal::USER1));
}

#[test]
fn a_stream_gives_arrivals_one_after_the_other() {
    let _alone = alone();
    let mut lp = new_loop();
    lp.run_until_complete(async {
        let mut arrivals = signal(Signal::USER2).unwrap();
        assert_eq!(arrivals.signal(), Signal::USER2);
        for _ in 0..3 {
            raise(Signal::USER2);
            assert_eq!(arrivals.recv().await, Some(()));
        }
        // As a `Stream`, too; and by a task that waits for it already.
        let waiting = spawn(async move { arrivals.next().await });
        yield_now().await;
        assert!(!waiting.is_finished());
        raise(Signal::USER2);
        assert_eq!(waiting.await.unwrap(), Some(()));
    })
    .unwrap();
}

#[test]
fn arrivals_faster_than_they_are_asked_for_are_one() {
    let _alone = alone();
    let mut lp = new_loop();
    lp.run_until_complete(async {
        let mut arrivals = signal(Signal::USER2).unwrap();
        for _ in 0..10 {
            raise(Signal::USER2);
        }
        assert_eq!(arrivals.recv().await, Some(()));
        let more = rondel_loop::timeout(Duration::from_millis(1), arrivals.recv()).await;
        assert!(more.is_err());
    })
    .unwrap();
}

/// tokio: `signal_notify_both`, `signal_drop_signal`.
#[test]
fn every_listener_learns_of_it_and_one_that_leaves_takes_nothing_along() {
    let _alone = alone();
    let mut lp = new_loop();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.add_signal_handler(Signal::USER1, move || noted.note("callback"))
        .unwrap();
    lp.run_until_complete(async {
        let mut one = signal(Signal::USER1).unwrap();
        let mut two = signal(Signal::USER1).unwrap();
        let gone = signal(Signal::USER1).unwrap();
        raise(Signal::USER1);
        one.recv().await;
        two.recv().await;
        drop(gone);
        drop(one);
        yield_now().await;
        assert_eq!(trace.take(), ["callback"]);
        raise(Signal::USER1);
        two.recv().await;
        yield_now().await;
        assert_eq!(trace.take(), ["callback"]);
    })
    .unwrap();
    assert!(lp.remove_signal_handler(Signal::USER1));
}

#[test]
fn loops_on_several_threads_all_learn_of_it() {
    let _alone = alone();
    let (tell, told) = mpsc::channel();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut lp = new_loop();
                lp.run_until_complete(async {
                    let mut arrivals = signal(Signal::USER1).unwrap();
                    tell.send(()).unwrap();
                    arrivals.recv().await
                })
                .unwrap()
            })
        })
        .collect();
    for _ in &threads {
        told.recv().unwrap();
    }
    raise(Signal::USER1);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Some(()));
    }
}

#[test]
fn a_place_is_free_again_when_its_loop_is_gone_and_too_many_are_refused() {
    let _alone = alone();
    // More loops than can listen at a time, one after the other.
    for _ in 0..100 {
        new_loop().add_signal_handler(Signal::USER2, || {}).unwrap();
    }
    let mut loops = Vec::new();
    let error = loop {
        let lp = new_loop();
        match lp.add_signal_handler(Signal::USER2, || {}) {
            Ok(()) => loops.push(lp),
            Err(error) => break error,
        }
        assert!(loops.len() <= 64);
    };
    assert!(error.to_string().contains("64 event loops"), "{error}");
    loops.pop();
    new_loop().add_signal_handler(Signal::USER2, || {}).unwrap();
}

#[test]
fn signals_of_different_kinds_keep_apart() {
    let _alone = alone();
    let mut lp = new_loop();
    let trace = Trace::new();
    for (name, signal) in [
        ("hangup", Signal::HANGUP),
        ("user1", Signal::USER1),
        ("user2", Signal::USER2),
        ("real-time", Signal::from_raw(40).unwrap()),
    ] {
        let trace = trace.clone();
        lp.add_signal_handler(signal, move || trace.note(name))
            .unwrap();
    }
    raise(Signal::USER2);
    for _ in 0..3 {
        lp.stop();
        lp.run_forever().unwrap();
    }
    assert_eq!(trace.take(), ["user2"]);
    raise(Signal::HANGUP);
    raise(Signal::USER1);
    for _ in 0..3 {
        lp.stop();
        lp.run_forever().unwrap();
    }
    let mut both = trace.take();
    both.sort_unstable();
    assert_eq!(both, ["hangup", "user1"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_does_again_what_it_did_when_the_last_listener_goes() {
    let _alone = alone();
    let mut lp = new_loop();
    assert!(!is_caught(Signal::USER1));
    lp.add_signal_handler(Signal::USER1, || {}).unwrap();
    assert!(is_caught(Signal::USER1));
    lp.run_until_complete(async {
        let one = signal(Signal::USER1).unwrap();
        let two = signal(Signal::USER1).unwrap();
        LocalLoop::current()
            .unwrap()
            .remove_signal_handler(Signal::USER1);
        drop(one);
        assert!(is_caught(Signal::USER1), "one is left");
        drop(two);
        assert!(!is_caught(Signal::USER1));
    })
    .unwrap();

    // Two loops share a signal; the second one to go gives it back.
    let other = new_loop();
    lp.add_signal_handler(Signal::USER1, || {}).unwrap();
    other.add_signal_handler(Signal::USER1, || {}).unwrap();
    other.add_signal_handler(Signal::USER2, || {}).unwrap();
    lp.close();
    assert!(is_caught(Signal::USER1));
    drop(other);
    assert!(!is_caught(Signal::USER1) && !is_caught(Signal::USER2));

    // A stream that outlives its loop has ended, and holds nothing.
    let mut lp = new_loop();
    let mut arrivals = lp
        .run_until_complete(async { signal(Signal::USER1).unwrap() })
        .unwrap();
    lp.close();
    assert!(!is_caught(Signal::USER1));
    let mut host = new_loop();
    assert_eq!(host.run_until_complete(arrivals.recv()).unwrap(), None);
    drop(arrivals);
    assert!(!is_caught(Signal::USER1));
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_listens_while_it_is_awaited() {
    let _alone = alone();
    let mut lp = new_loop();
    lp.run_until_complete(async {
        let waiting = spawn(ctrl_c());
        yield_now().await;
        assert!(is_caught(Signal::INTERRUPT));
        raise(Signal::INTERRUPT);
        waiting.await.unwrap().unwrap();
        assert!(!is_caught(Signal::INTERRUPT));
        let waiting = spawn(ctrl_c());
        yield_now().await;
        waiting.cancel();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert!(!is_caught(Signal::INTERRUPT));
    })
    .unwrap();
}

#[test]
fn what_cannot_be_caught_is_refused_by_name() {
    for (number, word) in [
        (9, "cannot be caught"),
        (19, "cannot be caught"),
        (11, "fault of the program"),
        (0, "not the number"),
        (-1, "not the number"),
        (65, "not the number"),
        (i32::MAX, "not the number"),
    ] {
        let error = Signal::from_raw(number).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let words = error.to_string();
        assert!(
            words.contains(word) && words.contains(&number.to_string()),
            "{words}"
        );
    }
    assert_eq!(Signal::from_raw(15).unwrap(), Signal::TERMINATE);
    // The C library keeps some for itself: the system says so.
    let _alone = alone();
    let lp = new_loop();
    let reserved = Signal::from_raw(32).unwrap();
    let error = lp.add_signal_handler(reserved, || {}).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    assert!(!lp.remove_signal_handler(reserved));
}

#[test]
fn a_simulated_world_has_no_signals_a_real_selector_under_a_manual_clock_has() {
    let _alone = alone();
    let mut lp = EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap();
    let error = lp.add_signal_handler(Signal::USER1, || {}).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("virtual"), "{error}");
    let stream = lp.run_until_complete(async { signal(Signal::USER1).map(drop) });
    assert_eq!(
        stream.unwrap().unwrap_err().kind(),
        io::ErrorKind::Unsupported
    );

    if default_selector().unwrap().as_fd().is_some() {
        let selector = Clocked::new(default_selector().unwrap(), ManualClock::new());
        let mut lp = EventLoop::builder().selector(selector).build().unwrap();
        let local = lp.local();
        lp.add_signal_handler(Signal::USER1, move || local.stop())
            .unwrap();
        raise(Signal::USER1);
        lp.run_forever().unwrap();
    }
}

#[test]
fn a_signal_makes_a_guest_call_its_host() {
    let _alone = alone();
    let mut lp = new_loop();
    if lp.as_fd().is_none() {
        return;
    }
    let called = Rc::new(Cell::new(false));
    let noted = Rc::clone(&called);
    lp.add_signal_handler(Signal::USER1, move || noted.set(true))
        .unwrap();
    while lp.run_once(rondel_poll::Wait::Poll).unwrap() {}
    raise(Signal::USER1);
    let fd = lp.as_fd().unwrap();
    let mut fds = [rustix::event::PollFd::new(
        &fd,
        rustix::event::PollFlags::IN,
    )];
    assert_eq!(rustix::event::poll(&mut fds, None).or_else(again), Ok(1));
    while lp.run_once(rondel_poll::Wait::Poll).unwrap() {}
    assert!(called.get());
}

/// The signal itself may interrupt the host's wait.
fn again(error: rustix::io::Errno) -> Result<usize, rustix::io::Errno> {
    if error == rustix::io::Errno::INTR {
        Ok(1)
    } else {
        Err(error)
    }
}

#[test]
fn a_storm_of_signals_breaks_neither_timers_nor_io() {
    let _alone = alone();
    let mut lp = new_loop();
    lp.add_signal_handler(Signal::USER1, || {}).unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let storm = std::thread::spawn(move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            raise(Signal::USER1);
        }
    });
    lp.run_until_complete(async {
        for _ in 0..50 {
            let before = std::time::Instant::now();
            sleep(Duration::from_micros(500)).await;
            assert!(before.elapsed() >= Duration::from_micros(500));
        }
        assert_eq!(rondel_loop::to_thread(|| 5).await.unwrap(), 5);
    })
    .unwrap();
    drop(stop);
    storm.join().unwrap();
}

#[test]
fn children_inherit_nothing_of_it() {
    let _alone = alone();
    let lp = new_loop();
    lp.add_signal_handler(Signal::USER1, || {}).unwrap();
    // A child that sends it to itself dies of it, which is what the signal does by default.
    let status = Command::new("sh")
        .args(["-c", "kill -USR1 $$"])
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(Signal::USER1.as_raw()));
}
