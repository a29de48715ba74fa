//! However busy the queue is, I/O, timers, signals and other threads get their turn.

mod counting;

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use counting::Counting;
use rondel_loop::signal::{Signal, signal};
use rondel_loop::{EventLoop, LocalLoop, SourceKind, sleep, to_thread, yield_now};
use rondel_poll::default_selector;

/// Tasks that wake themselves for ever.
fn busy_tasks(lp: &LocalLoop, count: usize) {
    for _ in 0..count {
        lp.create_task(async {
            loop {
                yield_now().await;
            }
        })
        .detach();
    }
}

/// tokio: `rt_common::io_driver_called_when_under_load`, `time_rt::starving`.
#[test]
fn everything_else_goes_on_beside_a_hundred_busy_tasks() {
    let mut lp = EventLoop::new().unwrap();
    busy_tasks(&lp.local(), 100);
    let local = lp.local();
    lp.run_until_complete(async {
        // A timer.
        sleep(Duration::from_micros(200)).await;
        // A descriptor of our own, and a foreign one.
        let (here, mut there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let source = local
            .register(here.try_clone().unwrap().into(), SourceKind::UnixStream)
            .unwrap();
        let mut writer = there.try_clone().unwrap();
        local.call_later(Duration::from_micros(100), move || {
            writer.write_all(b"x").unwrap()
        });
        let count = source
            .read_with(|_| (&here).read(&mut [0; 8]))
            .await
            .unwrap();
        assert_eq!(count, 1);
        let called = Rc::new(Cell::new(false));
        let noted = Rc::clone(&called);
        local.add_reader(&here, move || noted.set(true)).unwrap();
        there.write_all(b"x").unwrap();
        while !called.get() {
            yield_now().await;
        }
        local.remove_reader(&here);
        // A signal.
        let mut arrivals = signal(Signal::USER1).unwrap();
        // SAFETY: no preconditions.
        unsafe { libc::raise(Signal::USER1.as_raw()) };
        arrivals.recv().await;
        // Another thread.
        assert_eq!(to_thread(|| 3).await.unwrap(), 3);
        let handle = local.handle();
        let other = std::thread::spawn(move || handle.spawn(async { 4 }).unwrap().result(None));
        assert_eq!(
            to_thread(move || other.join().unwrap().unwrap())
                .await
                .unwrap(),
            4
        );
    })
    .unwrap();
}

/// Entries that run between two looks, with something registered so that each look asks the selector.
fn entries_a_look(entries: u32) -> u32 {
    let (selector, waits) = Counting::over(default_selector().unwrap());
    let mut lp = EventLoop::builder()
        .selector(selector)
        .batch_entries(entries)
        .batch_time(Duration::MAX)
        .build()
        .unwrap();
    let (here, _there) = UnixStream::pair().unwrap();
    lp.add_reader(&here, || {}).unwrap();
    lp.run_until_complete(yield_now()).unwrap();
    waits.take();
    let rounds = 100 * entries;
    lp.run_until_complete(async {
        for _ in 0..rounds {
            yield_now().await;
        }
    })
    .unwrap();
    rounds / u32::try_from(waits.take().len()).unwrap()
}

#[test]
fn the_loop_looks_around_after_as_many_entries_as_set() {
    for entries in [1, 2, 64, 100] {
        assert_eq!(entries_a_look(entries), entries);
    }
}

#[test]
fn the_loop_looks_around_after_some_time_whatever_the_entries() {
    // Without the limit in time, a timer would wait for a million entries: for ever.
    let mut lp = EventLoop::builder()
        .batch_entries(1_000_000)
        .batch_time(Duration::from_micros(100))
        .build()
        .unwrap();
    let ran = Rc::new(Cell::new(0));
    fn slow(lp: &LocalLoop, ran: &Rc<Cell<u32>>) {
        let until = Instant::now() + Duration::from_micros(300);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        ran.set(ran.get() + 1);
        let (again, ran) = (lp.clone(), Rc::clone(ran));
        lp.call_soon(move || slow(&again, &ran));
    }
    let local = lp.local();
    let count = Rc::clone(&ran);
    lp.run_until_complete(async {
        slow(&local, &count);
        let mut late = Vec::new();
        for _ in 0..5 {
            let before = ran.get();
            sleep(Duration::from_micros(1)).await;
            late.push(ran.get() - before);
        }
        // The clock is not read after every entry, but after some.
        assert!(late.iter().all(|entries| *entries <= 64), "{late:?}");
    })
    .unwrap();
}

#[test]
fn a_flood_from_other_threads_does_not_hold_up_the_loops_own() {
    let mut lp = EventLoop::new().unwrap();
    let handle = lp.handle();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let flood = std::thread::spawn(move || {
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            for _ in 0..100 {
                handle.call_soon_threadsafe(|| {}).unwrap();
            }
            // What has been sent is run before more is: the queue has no bound.
            let _ = handle.spawn(async {}).unwrap().result(None);
        }
    });
    lp.run_until_complete(async {
        for _ in 0..20 {
            sleep(Duration::from_micros(50)).await;
            yield_now().await;
        }
    })
    .unwrap();
    drop(stop);
    while !flood.is_finished() {
        lp.run_until_complete(sleep(Duration::from_micros(1)))
            .unwrap();
    }
    flood.join().unwrap();
}

#[test]
fn a_descriptor_that_is_always_ready_holds_nobody_up() {
    let mut lp = EventLoop::new().unwrap();
    let (here, _there) = UnixStream::pair().unwrap();
    let calls = Rc::new(Cell::new(0_u32));
    let count = Rc::clone(&calls);
    // Always writable.
    lp.add_writer(&here, move || count.set(count.get() + 1))
        .unwrap();
    let yields = Rc::new(Cell::new(0_u32));
    let counted = Rc::clone(&yields);
    lp.run_until_complete(async {
        let local = LocalLoop::current().unwrap();
        local
            .create_task(async move {
                loop {
                    yield_now().await;
                    counted.set(counted.get() + 1);
                }
            })
            .detach();
        for _ in 0..10 {
            sleep(Duration::from_micros(100)).await;
        }
    })
    .unwrap();
    assert!(calls.get() > 0 && yields.get() > 0);
}

#[test]
fn tasks_that_yield_take_turns() {
    let mut lp = EventLoop::new().unwrap();
    let rounds = Rc::new(std::cell::RefCell::new([0_u32; 7]));
    for number in 0..7 {
        let rounds = Rc::clone(&rounds);
        lp.create_task(async move {
            loop {
                rounds.borrow_mut()[number] += 1;
                let all = *rounds.borrow();
                let most = all.iter().max().unwrap();
                let least = all.iter().min().unwrap();
                assert!(most - least <= 1, "{all:?}");
                yield_now().await;
            }
        })
        .detach();
    }
    lp.run_until_complete(async {
        for _ in 0..1000 {
            yield_now().await;
        }
    })
    .unwrap();
    assert_eq!(lp.tasks().len(), 7, "nobody has panicked");
}

#[test]
fn many_short_runs_do_not_keep_the_loop_from_looking_around() {
    let mut lp = EventLoop::new().unwrap();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let (read, fired) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let note = Rc::clone(&read);
    lp.add_reader(&ours, move || note.set(true)).unwrap();
    let note = Rc::clone(&fired);
    lp.call_later(Duration::ZERO, move || note.set(true));
    peer.write_all(b"x").unwrap();
    // Each of them ends at once; asyncio looks around in each.
    for _ in 0..200 {
        lp.run_until_complete(async {}).unwrap();
    }
    assert!(read.get(), "what is readable");
    assert!(fired.get(), "what is due");
}
