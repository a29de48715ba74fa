//! `Registration`: descriptors of our own, registered once, readiness remembered.

mod child;
mod trace;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use rondel_executor::Callback;
use rondel_loop::{EventLoop, LoopClosed, Registration, SourceKind, spawn, yield_now};
use trace::Trace;

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

/// A registered socket, the same for reading and writing, and its peer.
fn source(lp: &EventLoop) -> (Rc<Registration>, Rc<UnixStream>, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    there.set_nonblocking(true).unwrap();
    let fd = OwnedFd::from(here.try_clone().unwrap());
    let registration = lp.register(fd, SourceKind::UnixStream).unwrap();
    (Rc::new(registration), Rc::new(here), there)
}

async fn read(source: &Registration, socket: &UnixStream) -> io::Result<usize> {
    source
        .read_with(|_| {
            let mut socket = socket;
            socket.read(&mut [0; 64])
        })
        .await
}

#[test]
fn a_read_tries_first_and_waits_only_then() {
    let mut lp = new_loop();
    let (source, socket, mut there) = source(&lp);
    there.write_all(b"abc").unwrap();
    let trace = Trace::new();
    lp.run_until_complete(async {
        assert_eq!(read(&source, &socket).await.unwrap(), 3);
        let (source, socket, noted) = (Rc::clone(&source), Rc::clone(&socket), trace.clone());
        let reader = spawn(async move {
            noted.note(read(&source, &socket).await.unwrap());
        });
        yield_now().await;
        assert_eq!(trace.take(), []);
        there.write_all(b"de").unwrap();
        reader.await.unwrap();
    })
    .unwrap();
    assert_eq!(trace.take(), [2]);
}

#[test]
fn what_is_known_not_to_be_ready_is_not_tried() {
    let mut lp = new_loop();
    let (source, socket, mut there) = source(&lp);
    let mut calls = 0;
    let mut attempt = || {
        source.try_read(|_| {
            calls += 1;
            (&*socket).read(&mut [0; 64])
        })
    };
    assert_eq!(attempt().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(attempt().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    there.write_all(b"x").unwrap();
    assert_eq!(
        attempt().unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "not noticed yet"
    );
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(attempt().unwrap(), 1);
    assert_eq!(calls, 2);
}

#[test]
fn an_event_between_the_attempt_and_the_wait_is_not_lost() {
    let mut lp = new_loop();
    let (source, socket, mut there) = source(&lp);
    for round in 0..200 {
        let sender = there.try_clone().unwrap();
        let other = (round % 2 == 0).then(|| {
            let mut sender = sender.try_clone().unwrap();
            std::thread::spawn(move || sender.write_all(b"x").unwrap())
        });
        if other.is_none() {
            there.write_all(b"x").unwrap();
        }
        // Takes as long as it takes; a lost edge would take for ever.
        let count = lp
            .run_until_complete(read(&source, &socket))
            .unwrap()
            .unwrap();
        assert_eq!(count, 1);
        if let Some(other) = other {
            other.join().unwrap();
        }
    }
}

#[test]
fn a_write_waits_for_room() {
    let mut lp = new_loop();
    let (source, socket, mut there) = source(&lp);
    let total = 4 * 1024 * 1024;
    let (sent, received) = lp
        .run_until_complete(async {
            let writer = {
                let (source, socket) = (Rc::clone(&source), Rc::clone(&socket));
                spawn(async move {
                    let mut sent = 0;
                    let bytes = vec![7; 100_000];
                    while sent < total {
                        let left = bytes.len().min(total - sent);
                        sent += source
                            .write_with(|_| (&*socket).write(&bytes[..left]))
                            .await
                            .unwrap();
                    }
                    sent
                })
            };
            let mut received = 0;
            let mut buffer = vec![0; 64 * 1024];
            while received < total {
                match there.read(&mut buffer) {
                    Ok(count) => received += count,
                    Err(_) => yield_now().await,
                }
            }
            (writer.await.unwrap(), received)
        })
        .unwrap();
    assert_eq!((sent, received), (total, total));
}

/// tokio: `io_async_fd::multiple_waiters`.
#[test]
fn all_who_wait_for_a_direction_are_woken() {
    let mut lp = new_loop();
    let (source, socket, mut there) = source(&lp);
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let (source, socket) = (Rc::clone(&source), Rc::clone(&socket));
            lp.create_task(async move {
                source
                    .read_with(|_| (&*socket).read(&mut [0; 1]))
                    .await
                    .unwrap()
            })
        })
        .collect();
    lp.run_until_complete(yield_now()).unwrap();
    there.write_all(b"12345").unwrap();
    for task in tasks {
        assert_eq!(lp.run_until_complete(task).unwrap().unwrap(), 1);
    }
}

#[test]
fn one_who_went_away_takes_nothing_along() {
    let mut lp = new_loop();
    let (source, socket, mut there) = source(&lp);
    let gone = {
        let (source, socket) = (Rc::clone(&source), Rc::clone(&socket));
        lp.create_task(async move { read(&source, &socket).await })
    };
    let stays = {
        let (source, socket) = (Rc::clone(&source), Rc::clone(&socket));
        lp.create_task(async move { read(&source, &socket).await })
    };
    lp.run_until_complete(yield_now()).unwrap();
    gone.cancel();
    there.write_all(b"x").unwrap();
    assert_eq!(lp.run_until_complete(stays).unwrap().unwrap().unwrap(), 1);
    assert!(gone.is_finished());
}

#[test]
fn a_direction_does_not_wake_the_other() {
    let mut lp = new_loop();
    let (source, socket, mut there) = source(&lp);
    let polls = Rc::new(RefCell::new(0));
    let writer = {
        let (source, socket, polls) = (Rc::clone(&source), Rc::clone(&socket), Rc::clone(&polls));
        let bytes = vec![0; 1 << 20];
        lp.create_task(poll_fn(move |cx| {
            *polls.borrow_mut() += 1;
            // Fills the socket, then waits for room that never comes.
            source.poll_write_with(cx, |_| match (&*socket).write(&bytes) {
                Ok(_) => Err(io::ErrorKind::Interrupted.into()),
                Err(error) => Err::<(), _>(error),
            })
        }))
    };
    lp.run_until_complete(yield_now()).unwrap();
    let before = *polls.borrow();
    for _ in 0..3 {
        there.write_all(b"x").unwrap();
        lp.run_until_complete(read(&source, &socket))
            .unwrap()
            .unwrap();
    }
    assert_eq!(*polls.borrow(), before);
    writer.cancel();
}

#[test]
fn closing_the_loop_ends_the_wait_of_others_with_loop_closed() {
    let mut lp = new_loop();
    let mut host = new_loop();
    let (source, socket, _there) = source(&lp);
    // A task of another loop waits on it, and outlives the loop of the source.
    let waiting = {
        let (source, socket) = (Rc::clone(&source), Rc::clone(&socket));
        host.create_task(async move { read(&source, &socket).await })
    };
    host.run_until_complete(yield_now()).unwrap();
    assert!(!waiting.is_finished());
    lp.close();
    let error = host
        .run_until_complete(waiting)
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(error.get_ref().unwrap().is::<LoopClosed>(), "{error}");

    // Later attempts say the same, in both directions.
    for result in [
        source.try_read(|_| Ok(())),
        source.try_write(|_| Ok(())),
        host.run_until_complete(source.read_with(|_| Ok(())))
            .unwrap(),
        host.run_until_complete(source.write_with(|_| Ok(())))
            .unwrap(),
    ] {
        assert!(result.unwrap_err().get_ref().unwrap().is::<LoopClosed>());
    }
    source.set_callback(None);
    drop(source);
}

#[test]
fn an_interrupted_call_is_repeated() {
    let mut lp = new_loop();
    let (source, ..) = source(&lp);
    let mut attempts = 0;
    let value = lp.run_until_complete(source.read_with(|_| {
        attempts += 1;
        if attempts < 4 {
            Err(io::ErrorKind::Interrupted.into())
        } else {
            Ok("done")
        }
    }));
    assert_eq!(value.unwrap().unwrap(), "done");
    assert_eq!(attempts, 4);
}

#[test]
fn an_error_goes_to_whoever_called() {
    let mut lp = new_loop();
    let (source, ..) = source(&lp);
    let error = lp
        .run_until_complete(source.write_with(|_| Err::<(), _>(io::ErrorKind::BrokenPipe.into())))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn the_same_waker_is_kept_once_and_a_new_one_beside_it() {
    let mut lp = new_loop();
    let (source, socket, mut there) = source(&lp);
    let counts: Vec<_> = (0..2)
        .map(|_| Arc::new(Counts(AtomicUsize::new(0))))
        .collect();
    let local = lp.local();
    lp.run_until_complete(async {
        for counts in &counts {
            for _ in 0..3 {
                let waker = Waker::from(Arc::clone(counts));
                let polled = source.poll_read_with(&Context::from_waker(&waker), |_| {
                    (&*socket).read(&mut [0; 64])
                });
                assert!(polled.is_pending());
            }
        }
        there.write_all(b"x").unwrap();
        while counts
            .iter()
            .any(|counts| counts.0.load(Ordering::SeqCst) == 0)
        {
            local.call_soon(|| {});
            yield_now().await;
        }
    })
    .unwrap();
    let woken: Vec<_> = counts
        .iter()
        .map(|counts| counts.0.load(Ordering::SeqCst))
        .collect();
    // Equal wakers are kept once where they can be told to be equal: `will_wake`.
    assert!(
        woken.iter().all(|count| (1..=3).contains(count)),
        "{woken:?}"
    );
}

struct Counts(AtomicUsize);

impl std::task::Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_callback_is_queued_for_every_event() {
    struct Notes(Trace<bool>, Rc<UnixStream>);
    impl Callback for Notes {
        fn call(self: Rc<Self>) {
            while matches!((&*self.1).read(&mut [0; 64]), Ok(count) if count > 0) {}
            self.0.note(true);
        }

        fn site(&self) -> &'static Location<'static> {
            Location::caller()
        }
    }
    let mut lp = new_loop();
    let (source, socket, mut there) = source(&lp);
    let trace = Trace::new();
    source.set_callback(Some(Rc::new(Notes(trace.clone(), Rc::clone(&socket)))));
    for _ in 0..3 {
        // Marks it as drained, for selectors that are armed by that.
        let _ = source.try_read(|_| (&*socket).read(&mut [0; 64]));
        lp.stop();
        lp.run_forever().unwrap();
        trace.take();
        there.write_all(b"x").unwrap();
        lp.stop();
        lp.run_forever().unwrap();
        assert_eq!(trace.take(), [true]);
    }
    source.set_callback(None);
    let _ = source.try_read(|_| (&*socket).read(&mut [0; 64]));
    there.write_all(b"x").unwrap();
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), []);
}

#[test]
fn dropping_it_deregisters_and_closes_the_descriptor() {
    const TEST: &str = "dropping_it_deregisters_and_closes_the_descriptor";
    // In a process of its own, since other tests open and close descriptors, too.
    if !child::in_child(TEST) {
        return;
    }
    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    let mut lp = new_loop();
    let before = descriptors();
    for _ in 0..3 {
        let all: Vec<_> = (0..50).map(|_| source(&lp)).collect();
        assert_eq!(descriptors(), before + 3 * 50);
        lp.stop();
        lp.run_forever().unwrap();
        drop(all);
        assert_eq!(descriptors(), before);
    }
    // In a task that is cancelled, and in one that goes with the loop.
    let (one, one_socket, _there) = source(&lp);
    let task = lp.create_task(async move { read(&one, &one_socket).await });
    let (two, two_socket, _there) = source(&lp);
    lp.create_task(async move { read(&two, &two_socket).await })
        .detach();
    lp.run_until_complete(yield_now()).unwrap();
    task.cancel();
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(descriptors(), before + 4);
    // One that outlives its loop.
    let (three, ..) = source(&lp);
    lp.close();
    drop(three);
    assert_eq!(descriptors(), before + 2, "the peers");
    drop(lp);
}

#[test]
fn a_late_event_does_not_reach_the_one_that_took_the_place() {
    let mut lp = new_loop();
    for _ in 0..50 {
        let (old, _, mut to_old) = source(&lp);
        lp.stop();
        lp.run_forever().unwrap();
        // Ready, but dropped before the loop has looked; its place in the tables goes to the next one.
        to_old.write_all(b"x").unwrap();
        drop(old);
        let (new, socket, _to_new) = source(&lp);
        let _ = new.try_read(|_| (&*socket).read(&mut [0; 64]));
        assert!(!new.ready().is_readable());
        for _ in 0..2 {
            lp.stop();
            lp.run_forever().unwrap();
        }
        assert!(!new.ready().is_readable());
    }
}

#[test]
fn one_that_goes_while_its_events_are_handed_on_is_not_found() {
    let mut lp = new_loop();
    let sources: Vec<_> = (0..2).map(|_| source(&lp)).collect();
    let slots: Rc<Vec<_>> = Rc::new(
        sources
            .iter()
            .map(|(source, ..)| RefCell::new(Some(Rc::clone(source))))
            .collect(),
    );
    let mut peers = Vec::new();
    for (number, (source, socket, there)) in sources.into_iter().enumerate() {
        let slots = Rc::clone(&slots);
        peers.push(there);
        lp.create_task(poll_fn(move |cx| {
            match source.poll_read_with(cx, |_| (&*socket).read(&mut [0; 64])) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(_) => {
                    // The other one goes, with its task still waiting on it.
                    let other = slots[1 - number].take();
                    drop(other);
                    Poll::Ready(())
                }
            }
        }))
        .detach();
    }
    lp.run_until_complete(yield_now()).unwrap();
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }
    for _ in 0..3 {
        lp.stop();
        lp.run_forever().unwrap();
    }
    assert_eq!(lp.tasks().len(), 0);
}

#[test]
fn it_shows_its_descriptor() {
    let lp = new_loop();
    let (source, ..) = source(&lp);
    let number = std::os::fd::AsRawFd::as_raw_fd(&source.as_fd());
    assert!(format!("{source:?}").contains(&number.to_string()));
    assert!(!source.local_loop().is_closed());
}
