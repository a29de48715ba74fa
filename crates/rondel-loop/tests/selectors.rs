//! The same program on every selector, those of users among them; and selectors that fail.

mod child;
mod counting;
mod trace;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use counting::Counting;
use futures_util::future::join_all;
use rondel_loop::{
    EventLoop, LocalLoop, RunError, Selector, SourceKind, interval, sleep, spawn, timeout,
    to_thread, yield_now,
};
use rondel_poll::{
    Bell, Clocked, Events, Interest, Key, ManualClock, Mode, Notifier, Portable, Virtual, Wait,
    default_selector,
};
use trace::Trace;

const MILLI: Duration = Duration::from_millis(1);

/// A selector that a user wrote from the ground up: it parks its thread, and has no descriptors.
#[derive(Debug)]
struct Parking(Notifier);

struct Unpark(Thread);

impl Bell for Unpark {
    fn ring(&self) {
        self.0.unpark();
    }
}

impl Parking {
    fn new() -> Self {
        Self(Notifier::new(Arc::new(Unpark(thread::current()))))
    }
}

impl Selector for Parking {
    fn register(&self, _: Rc<OwnedFd>, _: Interest, _: Mode) -> io::Result<Key> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "no descriptors here",
        ))
    }

    fn modify(&self, _: Key, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn deregister(&self, _: Key) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn needs_rearm(&self) -> bool {
        false
    }

    fn reports_read_closed(&self) -> bool {
        false
    }

    fn wait(&self, events: &mut Events, wait: Wait, _: bool) -> io::Result<()> {
        events.clear();
        match wait {
            Wait::Poll => {}
            Wait::Until(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if self.0.fall_asleep() {
                    thread::park_timeout(left);
                }
            }
            Wait::Forever => {
                if self.0.fall_asleep() {
                    thread::park();
                }
            }
        }
        self.0.wake_up();
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn notifier(&self) -> Notifier {
        self.0.clone()
    }
}

/// A program with everything but descriptors; gives what happened.
async fn program() -> Vec<&'static str> {
    let trace = Trace::new();
    let lp = LocalLoop::current().unwrap();
    let start = lp.time();

    let noted = trace.clone();
    lp.call_later(20 * MILLI, move || noted.note("at 20"));
    let noted = trace.clone();
    lp.call_later(10 * MILLI, move || noted.note("at 10"));
    lp.call_later(15 * MILLI, || unreachable!("cancelled"))
        .cancel();
    let noted = trace.clone();
    lp.call_soon(move || noted.note("soon"));
    let noted = trace.clone();
    let task = spawn(async move {
        noted.note("begun");
        sleep(5 * MILLI).await;
        noted.note("slept 5");
        21
    });
    assert_eq!(2 * task.await.unwrap(), 42);
    sleep(20 * MILLI).await;
    assert!(timeout(MILLI, std::future::pending::<()>()).await.is_err());
    let mut ticks = interval(MILLI);
    for _ in 0..3 {
        ticks.tick().await;
    }
    trace.note("ticked");
    assert!(lp.time() - start >= 28 * MILLI);

    // Other threads: a job, a callback, a task.
    assert_eq!(to_thread(|| "job").await.unwrap(), "job");
    let handle = lp.handle();
    let outstanding = lp.outstanding();
    let (send, received) = std::sync::mpsc::channel();
    let other = thread::spawn(move || {
        let sum = handle.spawn(async { 1 + 1 }).unwrap().result(None).unwrap();
        handle
            .call_soon_threadsafe(move || send.send(sum).unwrap())
            .unwrap();
        drop(outstanding);
    });
    let sum = loop {
        match received.try_recv() {
            Ok(sum) => break sum,
            Err(_) => sleep(MILLI).await,
        }
    };
    other.join().unwrap();
    assert_eq!(sum, 2);
    let all = join_all((0..20).map(|number| {
        spawn(async move {
            sleep(number % 3 * MILLI / 10).await;
            yield_now().await;
            number
        })
    }))
    .await;
    assert_eq!(
        all.into_iter().map(Result::unwrap).sum::<u32>(),
        (0..20).sum()
    );
    trace.take()
}

const EXPECTED: [&str; 6] = ["soon", "begun", "slept 5", "at 10", "at 20", "ticked"];

/// The part that needs descriptors.
async fn sockets() {
    let lp = LocalLoop::current().unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    there.set_nonblocking(true).unwrap();
    let register = |socket: &UnixStream| {
        let fd = OwnedFd::from(socket.try_clone().unwrap());
        lp.register(fd, SourceKind::UnixStream).unwrap()
    };
    let (ours, theirs) = (register(&here), register(&there));
    let echo = spawn(async move {
        let mut buffer = [0; 5000];
        loop {
            let count = theirs
                .read_with(|_| (&there).read(&mut buffer))
                .await
                .unwrap();
            if count == 0 {
                return;
            }
            let mut sent = 0;
            while sent < count {
                sent += theirs
                    .write_with(|_| (&there).write(&buffer[sent..count]))
                    .await
                    .unwrap();
            }
        }
    });
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut received = Vec::new();
    let mut buffer = [0; 7000];
    let mut written = 0;
    while received.len() < sent.len() {
        if written < sent.len() {
            let until = sent.len().min(written + 9000);
            written += ours
                .write_with(|_| (&here).write(&sent[written..until]))
                .await
                .unwrap();
        }
        let count = ours.read_with(|_| (&here).read(&mut buffer)).await.unwrap();
        received.extend_from_slice(&buffer[..count]);
    }
    assert!(received == sent);
    here.shutdown(std::net::Shutdown::Write).unwrap();
    echo.await.unwrap();

    // Level-triggered, beside it.
    let (reader, mut writer) = UnixStream::pair().unwrap();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    lp.add_reader(&reader, move || count.set(count.get() + 1))
        .unwrap();
    writer.write_all(b"x").unwrap();
    while calls.get() < 3 {
        yield_now().await;
    }
    assert!(lp.remove_reader(&reader));
}

fn on(selector: impl Selector + 'static) -> EventLoop {
    EventLoop::builder().selector(selector).build().unwrap()
}

#[test]
fn the_systems_own() {
    let mut lp = on(default_selector().unwrap());
    assert_eq!(lp.run_until_complete(program()).unwrap(), EXPECTED);
    lp.run_until_complete(sockets()).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn epoll() {
    let mut lp = on(rondel_poll::Epoll::new().unwrap());
    assert_eq!(lp.run_until_complete(program()).unwrap(), EXPECTED);
    lp.run_until_complete(sockets()).unwrap();
}

#[test]
fn the_portable_one() {
    let mut lp = on(Portable::new().unwrap());
    assert_eq!(lp.run_until_complete(program()).unwrap(), EXPECTED);
    lp.run_until_complete(sockets()).unwrap();
}

#[test]
fn one_that_wraps_another() {
    let (selector, waits) = Counting::over(default_selector().unwrap());
    let mut lp = on(selector);
    assert_eq!(lp.run_until_complete(program()).unwrap(), EXPECTED);
    lp.run_until_complete(sockets()).unwrap();
    assert!(!waits.take().is_empty());
}

#[test]
fn one_written_from_the_ground_up() {
    let mut lp = on(Parking::new());
    assert_eq!(lp.run_until_complete(program()).unwrap(), EXPECTED);
    let (here, _there) = UnixStream::pair().unwrap();
    let error = lp.add_reader(&here, || {}).unwrap_err();
    assert_eq!(error.to_string(), "no descriptors here");
}

#[test]
fn the_virtual_one() {
    let mut lp = on(Virtual::new());
    let start = lp.time();
    assert_eq!(lp.run_until_complete(program()).unwrap(), EXPECTED);
    assert!(lp.time() - start >= 28 * MILLI);
}

#[test]
fn a_real_one_under_a_manual_clock() {
    let clock = ManualClock::new();
    let mut lp = on(Clocked::new(default_selector().unwrap(), clock.clone()));
    let done = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&done);
    // In steps smaller than anything the program waits for.
    let hand = thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            clock.advance(MILLI / 20);
            thread::yield_now();
        }
    });
    assert_eq!(lp.run_until_complete(program()).unwrap(), EXPECTED);
    lp.run_until_complete(sockets()).unwrap();
    done.store(true, Ordering::Relaxed);
    hand.join().unwrap();
}

/// Fails whenever it is told to.
#[derive(Debug)]
struct Failing {
    inner: Parking,
    fails: Rc<Cell<bool>>,
}

impl Selector for Failing {
    fn register(&self, source: Rc<OwnedFd>, interest: Interest, mode: Mode) -> io::Result<Key> {
        self.inner.register(source, interest, mode)
    }

    fn modify(&self, key: Key, interest: Interest) -> io::Result<()> {
        self.inner.modify(key, interest)
    }

    fn deregister(&self, key: Key) -> io::Result<()> {
        self.inner.deregister(key)
    }

    fn needs_rearm(&self) -> bool {
        false
    }

    fn reports_read_closed(&self) -> bool {
        false
    }

    fn wait(&self, events: &mut Events, wait: Wait, outstanding: bool) -> io::Result<()> {
        if self.fails.get() {
            events.clear();
            return Err(io::Error::other("the wire is cut"));
        }
        self.inner.wait(events, wait, outstanding)
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn notifier(&self) -> Notifier {
        self.inner.notifier()
    }
}

#[test]
fn a_wait_that_fails_ends_the_run_and_the_loop_can_be_run_again() {
    let fails = Rc::new(Cell::new(true));
    let mut lp = on(Failing {
        inner: Parking::new(),
        fails: Rc::clone(&fails),
    });
    let mut task = lp.create_task(async {
        sleep(MILLI / 10).await;
        "survived"
    });
    let error = lp.run_until_complete(&mut task).unwrap_err();
    assert!(matches!(error, RunError::Selector(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the event loop's selector failed: the wire is cut"
    );
    assert!(std::error::Error::source(&error).is_some());
    assert!(!lp.is_running());
    assert!(matches!(lp.run_forever(), Err(RunError::Selector(_))));
    assert!(matches!(
        lp.run_once(Wait::Poll),
        Err(RunError::Selector(_))
    ));
    assert!(matches!(
        lp.run_until_idle(MILLI),
        Err(RunError::Selector(_))
    ));
    fails.set(false);
    assert_eq!(lp.run_until_complete(task).unwrap().unwrap(), "survived");
}

#[test]
fn without_descriptors_a_loop_cannot_be_made_and_one_that_is_there_goes_on() {
    const TEST: &str = "without_descriptors_a_loop_cannot_be_made_and_one_that_is_there_goes_on";
    // The limit is the process's.
    if !child::in_child(TEST) {
        return;
    }
    let mut lp = EventLoop::new().unwrap();
    let (here, _there) = UnixStream::pair().unwrap();
    let held = Rc::new(());
    let mut taken = Vec::new();
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: Some(64),
            maximum: Some(64),
        },
    )
    .unwrap();
    while let Ok(another) = here.try_clone() {
        taken.push(another);
    }
    let exhausted = rustix::io::Errno::MFILE.raw_os_error();
    let error = EventLoop::new().unwrap_err();
    let RunError::Selector(error) = error else {
        panic!("{error:?}")
    };
    // What was attempted, and behind it why that failed.
    let why = error.get_ref().and_then(|error| error.source()).unwrap();
    let why = why.downcast_ref::<io::Error>().unwrap();
    assert_eq!(why.raw_os_error(), Some(exhausted), "{error}: {why}");
    assert!(matches!(
        rondel_loop::run(async {}),
        Err(RunError::Selector(_))
    ));
    let inside = Rc::clone(&held);
    let error = lp.add_reader(&here, move || _ = &inside).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(exhausted));
    assert_eq!(Rc::strong_count(&held), 1, "the callback is dropped");
    assert!(!lp.remove_reader(&here));
    // What needs none, works; and one that is free again is enough.
    lp.run_until_complete(async {
        sleep(MILLI / 10).await;
        spawn(async {}).await.unwrap();
    })
    .unwrap();
    taken.pop();
    lp.add_reader(&here, || {}).unwrap();
    assert!(lp.remove_reader(&here));
}
