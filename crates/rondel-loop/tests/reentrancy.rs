//! Nothing of the loop is borrowed while foreign code runs: it may come back into the loop from wherever it is called.

mod child;
mod prying_waker;
mod trace;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use prying_waker::prying_waker;
use rondel_executor::{Callback, leave};
use rondel_loop::signal::{Signal, signal};
use rondel_loop::{
    EventLoop, Flush, LocalLoop, RunError, SourceKind, interval, sleep, spawn, timeout, yield_now,
};
use rondel_poll::Wait;
use trace::Trace;

/// Does everything with a loop that code inside it can do.
fn meddle(lp: &LocalLoop) {
    // Scheduling and taking back.
    lp.call_soon(|| {});
    lp.call_soon(|| {}).cancel();
    lp.call_later(Duration::from_nanos(1), || {});
    lp.call_later(Duration::from_secs(3600), || {}).cancel();
    lp.call_at(lp.time(), || {}).cancel();
    let task = lp.create_task(async {
        sleep(Duration::from_nanos(1)).await;
        yield_now().await;
    });
    task.on_done(|_| {});
    task.set_name("meddler");
    lp.create_task(pending::<()>()).cancel();
    let remote = lp.handle();
    let _ = remote.call_soon_threadsafe(|| {});
    drop(remote.spawn(async {}));
    drop((task, lp.outstanding(), lp.spawner(), lp.tasks()));

    // Descriptors and signals; those of a closed or virtual loop are refused.
    if let Ok((here, _there)) = UnixStream::pair() {
        let _ = lp.add_reader(&here, || {});
        let _ = lp.add_reader(&here, || {});
        let _ = lp.add_writer(&here, || {});
        lp.remove_reader(&here);
        lp.remove_writer(&here);
        let _ = here.set_nonblocking(true);
        if let Ok(source) = lp.register(here.into(), SourceKind::UnixStream) {
            let _ = source.try_write(|_| Ok(()));
            source.set_callback(None);
        }
    }
    if lp.add_signal_handler(Signal::WINDOW_CHANGE, || {}).is_ok() {
        lp.remove_signal_handler(Signal::WINDOW_CHANGE);
    }

    // The rest.
    let handler = lp.exception_handler();
    lp.set_exception_handler(None);
    lp.set_exception_handler(handler);
    lp.set_debug(!lp.is_debug());
    let mut buffer = lp.receive_buffer();
    buffer[0] = 1;
    drop((lp.receive_buffer(), buffer));
    lp.flush_later(Rc::new(Quiet));
    if let Ok(pool) = lp.default_executor() {
        lp.set_default_executor(pool);
    }
    drop(lp.run_in_executor(None, || {}));
    let _ = (format!("{lp:?}"), lp.is_running(), lp.is_closed());

    // Neither this loop nor another one can be run from inside.
    if lp.is_running()
        && let Ok(mut other) = EventLoop::new()
    {
        let nested = other.run_once(Wait::Poll);
        assert!(
            matches!(nested, Err(RunError::OtherLoopRunning)),
            "{nested:?}"
        );
    }
}

struct Quiet;

impl Flush for Quiet {
    fn flush(self: Rc<Self>) {}
}

/// Meddles when it is dropped.
struct Meddler {
    lp: LocalLoop,
    dropped: Rc<Cell<usize>>,
}

impl Drop for Meddler {
    fn drop(&mut self) {
        meddle(&self.lp);
        self.dropped.set(self.dropped.get() + 1);
    }
}

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

/// Runs whatever the meddling has left behind. Nothing of it lasts.
fn settle(lp: &mut EventLoop) {
    for _ in 0..5 {
        lp.run_until_complete(sleep(Duration::from_micros(1)))
            .unwrap();
    }
}

fn source(lp: &LocalLoop) -> (rondel_loop::Registration, UnixStream, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let registration = lp
        .register(here.try_clone().unwrap().into(), SourceKind::UnixStream)
        .unwrap();
    (registration, here, there)
}

#[test]
fn from_polls_and_callbacks_of_every_kind() {
    let mut lp = new_loop();
    let count = Rc::new(Cell::new(0));
    let again = |lp: &EventLoop| {
        let (lp, count) = (lp.local(), Rc::clone(&count));
        move || {
            meddle(&lp);
            count.set(count.get() + 1);
        }
    };
    let local = lp.local();
    lp.run_until_complete(async { meddle(&local) }).unwrap();
    lp.call_soon(again(&lp));
    lp.call_later(Duration::from_nanos(1), again(&lp));
    let in_task = again(&lp);
    let task = lp.create_task(async move { in_task() });
    let when_done = again(&lp);
    task.on_done(move |_| when_done());
    let (here, mut there) = UnixStream::pair().unwrap();
    there.write_all(b"x").unwrap();
    let on_event = again(&lp);
    let (local, fd) = (lp.local(), here.try_clone().unwrap());
    lp.add_reader(&here, move || {
        let mut fd = &fd;
        let _ = fd.read(&mut [0; 8]);
        on_event();
        let _ = &local;
    })
    .unwrap();
    lp.add_signal_handler(Signal::USER2, again(&lp)).unwrap();
    // SAFETY: no preconditions.
    unsafe { libc::raise(Signal::USER2.as_raw()) };
    settle(&mut lp);
    assert_eq!(count.get(), 6);
    assert!(lp.remove_reader(&here));
    meddle(&lp);
    settle(&mut lp);
}

#[test]
fn from_the_destructors_of_callbacks_and_timers() {
    let mut lp = new_loop();
    let dropped = Rc::new(Cell::new(0));
    let meddler = || Meddler {
        lp: lp.local(),
        dropped: Rc::clone(&dropped),
    };
    // Called, and dropped by that; cancelled; replaced; removed.
    let held = meddler();
    lp.call_soon(move || drop(held));
    let held = meddler();
    lp.call_soon(move || _ = &held).cancel();
    let held = meddler();
    lp.call_later(Duration::from_nanos(1), move || _ = &held);
    let held = meddler();
    lp.call_later(Duration::from_nanos(1), move || _ = &held)
        .cancel();
    let (here, _there) = UnixStream::pair().unwrap();
    for _ in 0..2 {
        let (reader, writer) = (meddler(), meddler());
        lp.add_reader(&here, move || _ = &reader).unwrap();
        lp.add_writer(&here, move || _ = &writer).unwrap();
    }
    lp.remove_reader(&here);
    lp.remove_writer(&here);
    for _ in 0..2 {
        let held = meddler();
        lp.add_signal_handler(Signal::USER1, move || _ = &held)
            .unwrap();
    }
    lp.remove_signal_handler(Signal::USER1);
    let held = meddler();
    lp.set_exception_handler(Some(Rc::new(move |_, _| _ = &held)));
    lp.set_exception_handler(None);
    settle(&mut lp);
    assert_eq!(dropped.get(), 11);
}

#[test]
fn from_the_destructors_of_futures_and_outputs() {
    let mut lp = new_loop();
    let dropped = Rc::new(Cell::new(0));
    let meddler = || Meddler {
        lp: lp.local(),
        dropped: Rc::clone(&dropped),
    };
    // At its end; cancelled before and after it began; timed out; an output nobody wants; one that is left in the handle.
    let held = meddler();
    lp.create_task(async move { drop(held) }).detach();
    let held = meddler();
    lp.create_task(async move { drop(held) }).cancel();
    let held = meddler();
    let task = lp.create_task(async move {
        let _held = held;
        pending::<()>().await;
    });
    let held = meddler();
    lp.create_task(timeout(Duration::from_nanos(1), async move {
        let _held = held;
        pending::<()>().await;
    }))
    .detach();
    let held = meddler();
    lp.create_task(async move { held }).detach();
    let held = meddler();
    let kept = lp.create_task(async move { held });
    let held = meddler();
    lp.create_task(async move {
        leave(Box::pin(async move { drop(held) }));
    })
    .detach();
    settle(&mut lp);
    task.cancel();
    settle(&mut lp);
    assert_eq!(dropped.get(), 6);
    drop(kept);
    assert_eq!(dropped.get(), 7);
    settle(&mut lp);
}

#[test]
fn from_what_goes_when_the_loop_closes() {
    let mut lp = new_loop();
    let dropped = Rc::new(Cell::new(0));
    let meddler = || Meddler {
        lp: lp.local(),
        dropped: Rc::clone(&dropped),
    };
    struct Connection(#[allow(dead_code, reason = "held")] Meddler);
    impl Flush for Connection {
        fn flush(self: Rc<Self>) {}
    }
    let (here, _there) = UnixStream::pair().unwrap();
    let (one, two, three, four) = (meddler(), meddler(), meddler(), meddler());
    lp.call_soon(move || _ = &one);
    lp.call_later(Duration::from_secs(1), move || _ = &two);
    lp.add_reader(&here, move || _ = &three).unwrap();
    lp.create_task(async move {
        let _four = four;
        pending::<()>().await;
    })
    .detach();
    let (five, six) = (meddler(), meddler());
    lp.add_signal_handler(Signal::USER1, move || _ = &five)
        .unwrap();
    lp.flush_later(Rc::new(Connection(meddler())));
    lp.set_exception_handler(Some(Rc::new(move |_, _| _ = &six)));
    lp.close();
    assert_eq!(dropped.get(), 7);
}

#[test]
fn from_the_exception_handler() {
    let mut lp = new_loop();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    lp.set_exception_handler(Some(Rc::new(move |lp, _| {
        count.set(count.get() + 1);
        meddle(lp);
    })));
    lp.call_soon(|| panic!("callback"));
    lp.create_task(async { panic!("task") }).detach();
    settle(&mut lp);
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    let bomb = Bomb;
    lp.call_later(Duration::from_secs(1), move || _ = &bomb);
    lp.close();
    assert_eq!(calls.get(), 3);
}

#[test]
fn from_flushes_and_callbacks_of_sources() {
    struct Connection {
        lp: LocalLoop,
        socket: UnixStream,
        trace: Trace<&'static str>,
    }
    impl Flush for Connection {
        fn flush(self: Rc<Self>) {
            self.trace.note("flushed");
            meddle(&self.lp);
        }
    }
    impl Callback for Connection {
        fn call(self: Rc<Self>) {
            while matches!((&self.socket).read(&mut [0; 8]), Ok(count) if count > 0) {}
            self.trace.note("called");
            meddle(&self.lp);
            self.lp.flush_later(self.clone());
        }

        fn site(&self) -> &'static Location<'static> {
            Location::caller()
        }
    }
    let mut lp = new_loop();
    let (registration, socket, mut there) = source(&lp);
    let trace = Trace::new();
    let connection = Rc::new(Connection {
        lp: lp.local(),
        socket,
        trace: trace.clone(),
    });
    registration.set_callback(Some(connection.clone()));
    settle(&mut lp);
    trace.take();
    there.write_all(b"x").unwrap();
    settle(&mut lp);
    assert_eq!(trace.take(), ["called", "flushed"]);
    registration.set_callback(None);
}

#[test]
fn from_the_guest_hook() {
    let inside = Rc::new(Cell::new(false));
    let slot = Rc::new(Cell::new(None::<LocalLoop>));
    let (hooked, lp_there) = (Rc::clone(&inside), Rc::clone(&slot));
    let lp = EventLoop::builder()
        .guest_hook(move || {
            // It is called for what it schedules itself, too.
            if !hooked.replace(true) {
                let lp = lp_there.take();
                if let Some(lp) = &lp {
                    meddle(lp);
                }
                lp_there.set(lp);
                hooked.set(false);
            }
        })
        .build()
        .unwrap();
    slot.set(Some(lp.local()));
    let mut lp = lp;
    lp.call_soon(|| {});
    lp.create_task(async {}).detach();
    settle(&mut lp);
    slot.take();
}

/// Polls `future` with wakers of this thread that come back into the loop at every operation: twice with different ones, so that the second
/// takes the place of the first; then lets it be woken.
async fn pried(lp: &LocalLoop, future: impl Future + 'static) -> [usize; 3] {
    let mut future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
        future.await;
    });
    let counts = Rc::new([const { Cell::new(0) }; 3]);
    for _ in 0..2 {
        let (lp, counts) = (lp.clone(), Rc::clone(&counts));
        let waker = prying_waker(move |what| {
            let which = ["clone", "wake", "drop"]
                .iter()
                .position(|name| *name == what)
                .unwrap();
            counts[which].set(counts[which].get() + 1);
            meddle(&lp);
        });
        for _ in 0..2 {
            let mut cx = Context::from_waker(&waker);
            if future.as_mut().poll(&mut cx).is_ready() {
                return [0; 3];
            }
        }
    }
    while counts[1].get() == 0 {
        sleep(Duration::from_micros(10)).await;
    }
    drop(future);
    [0, 1, 2].map(|which| counts[which].get())
}

#[test]
fn from_the_wakers_of_everything_that_can_be_awaited() {
    const TEST: &str = "from_the_wakers_of_everything_that_can_be_awaited";
    // In a process of its own: signals are the process's.
    if !child::in_child(TEST) {
        return;
    }
    let mut lp = new_loop();
    let local = lp.local();
    lp.run_until_complete(async {
        let check = |name: &str, counts: [usize; 3]| {
            assert!(counts.iter().all(|count| *count > 0), "{name}: {counts:?}");
        };
        check(
            "sleep",
            pried(&local, sleep(Duration::from_micros(300))).await,
        );
        check(
            "timeout",
            pried(&local, timeout(Duration::from_micros(300), pending::<()>())).await,
        );
        let mut ticks = interval(Duration::from_micros(300));
        ticks.tick().await;
        check(
            "interval",
            pried(&local, async move { ticks.tick().await }).await,
        );
        let task = spawn(sleep(Duration::from_micros(300)));
        check("task", pried(&local, task).await);
        let task = spawn(sleep(Duration::from_micros(300)));
        check(
            "done",
            pried(&local, async move { task.done().await }).await,
        );

        let (registration, socket, mut there) = source(&local);
        let later = local.clone();
        spawn(async move {
            later.call_later(Duration::from_micros(300), move || {
                there.write_all(b"x").unwrap()
            });
            sleep(Duration::from_millis(50)).await;
        })
        .detach();
        let read = async move {
            poll_fn(|cx| {
                registration.poll_read_with(cx, |_| {
                    let mut socket = &socket;
                    socket.read(&mut [0; 8])
                })
            })
            .await
        };
        check("read", pried(&local, read).await);

        let mut arrivals = signal(Signal::USER1).unwrap();
        local.call_later(Duration::from_micros(300), || {
            // SAFETY: no preconditions.
            unsafe { libc::raise(Signal::USER1.as_raw()) };
        });
        check(
            "signal",
            pried(&local, async move { arrivals.recv().await }).await,
        );

        // What a source's end wakes.
        let (registration, socket, _there) = source(&local);
        let registration = Rc::new(registration);
        let waiting = Rc::clone(&registration);
        let counts = Rc::new(Cell::new(0));
        let (count, lp) = (Rc::clone(&counts), local.clone());
        let waker = prying_waker(move |_| {
            count.set(count.get() + 1);
            meddle(&lp);
        });
        {
            let mut read = pin!(waiting.read_with(|_| {
                let mut socket = &socket;
                socket.read(&mut [0; 8])
            }));
            assert!(
                read.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        drop(waiting);
        drop(registration);
        assert!(counts.get() >= 2, "cloned and woken");
        poll_fn(|_| Poll::Ready(())).await;
    })
    .unwrap();
    settle(&mut lp);
}
