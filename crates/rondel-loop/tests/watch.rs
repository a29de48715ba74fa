//! `add_reader` and `add_writer`: foreign descriptors, level-triggered.

mod child;
mod trace;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use rondel_loop::{EventLoop, LocalLoop, yield_now};
use rondel_poll::Virtual;
use trace::Trace;

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

fn pair() -> (UnixStream, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    there.set_nonblocking(true).unwrap();
    (here, there)
}

fn pipe() -> (File, File) {
    let (reader, writer) = rustix::pipe::pipe_with(
        rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC,
    )
    .unwrap();
    (reader.into(), writer.into())
}

/// Lets the loop look at I/O a few times without waiting.
fn glance(lp: &mut EventLoop) {
    for _ in 0..4 {
        lp.stop();
        lp.run_forever().unwrap();
    }
}

/// Fills it until it would block.
fn fill(mut writer: impl Write) -> usize {
    let mut total = 0;
    loop {
        match writer.write(&[0; 4096]) {
            Ok(count) => total += count,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return total;
            }
        }
    }
}

#[test]
fn a_reader_is_called_when_there_is_something_to_read_and_waits_without_spinning() {
    let mut lp = new_loop();
    let (here, mut there) = pair();
    let trace = Trace::new();
    let (noted, local, source) = (trace.clone(), lp.local(), here.try_clone().unwrap());
    lp.add_reader(&here, move || {
        let mut buffer = [0; 16];
        let count = (&source).read(&mut buffer).unwrap();
        noted.note(count);
        local.stop();
    })
    .unwrap();
    for length in 1..5 {
        let mut sender = there.try_clone().unwrap();
        let other = std::thread::spawn(move || sender.write_all(&b"hello"[..length]).unwrap());
        lp.run_forever().unwrap();
        other.join().unwrap();
        assert_eq!(trace.take(), [length]);
    }
    there.write_all(b"x").unwrap();
    drop(there);
    lp.run_forever().unwrap();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), [1, 0], "the end is announced as well");
}

#[test]
fn what_is_not_read_is_announced_again() {
    let mut lp = new_loop();
    let (mut reader, mut writer) = pipe();
    let calls = Rc::new(Cell::new(0));
    let (count, local) = (Rc::clone(&calls), lp.local());
    lp.add_reader(&reader, move || {
        count.set(count.get() + 1);
        if count.get() == 3 {
            local.stop();
        }
    })
    .unwrap();
    writer.write_all(b"abc").unwrap();
    lp.run_forever().unwrap();
    assert_eq!(calls.get(), 3);
    let mut all = [0; 8];
    assert_eq!(reader.read(&mut all).unwrap(), 3);
    glance(&mut lp);
    assert!(calls.get() <= 4, "at most one was queued already");
}

#[test]
fn one_that_is_queued_is_not_queued_again() {
    // Looks after every entry, so that the descriptor is found ready many times before the callback's turn.
    let mut lp = EventLoop::builder().batch_entries(1).build().unwrap();
    let (here, mut there) = pair();
    let trace = Trace::new();
    let (noted, source) = (trace.clone(), here.try_clone().unwrap());
    lp.add_reader(&here, move || {
        noted.note((&source).read(&mut [0; 16]).is_ok());
    })
    .unwrap();
    for _ in 0..20 {
        lp.call_soon(|| {});
    }
    there.write_all(b"x").unwrap();
    lp.run_until_complete(async {
        for _ in 0..40 {
            yield_now().await;
        }
    })
    .unwrap();
    assert_eq!(trace.take(), [true]);
}

#[test]
fn a_writer_is_called_while_there_is_room() {
    let mut lp = new_loop();
    let (mut reader, writer) = pipe();
    let calls = Rc::new(Cell::new(0));
    let (count, local) = (Rc::clone(&calls), lp.local());
    lp.add_writer(&writer, move || {
        count.set(count.get() + 1);
        local.stop();
    })
    .unwrap();
    lp.run_forever().unwrap();
    assert_eq!(calls.get(), 1);
    let filled = fill(&writer);
    glance(&mut lp);
    let before = calls.get();
    glance(&mut lp);
    assert_eq!(calls.get(), before, "no room, no call");
    let mut buffer = vec![0; filled];
    let mut left = filled;
    while left > 0 {
        left -= reader.read(&mut buffer).unwrap();
    }
    lp.run_forever().unwrap();
    assert!(calls.get() > before);
}

#[test]
fn both_directions_of_one_descriptor_go_their_own_ways() {
    let mut lp = new_loop();
    let (here, mut there) = pair();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.add_writer(&here, move || noted.note("writable"))
        .unwrap();
    let (noted, source) = (trace.clone(), here.try_clone().unwrap());
    lp.add_reader(&here, move || {
        let _ = (&source).read(&mut [0; 16]);
        noted.note("readable");
    })
    .unwrap();
    glance(&mut lp);
    let calls = trace.take();
    assert!(
        !calls.is_empty() && calls.iter().all(|call| *call == "writable"),
        "{calls:?}"
    );
    assert!(lp.remove_writer(&here));
    there.write_all(b"x").unwrap();
    glance(&mut lp);
    assert_eq!(trace.take(), ["readable"]);
    assert!(lp.remove_reader(&here));
    there.write_all(b"x").unwrap();
    glance(&mut lp);
    assert_eq!(trace.take(), [] as [&str; 0]);
}

/// CPython: `test_selector_events:test_add_reader_existing`.
#[test]
fn a_second_reader_takes_the_firsts_place() {
    let mut lp = new_loop();
    let (here, mut there) = pair();
    let trace = Trace::new();
    let held = Rc::new(());
    let (noted, inside) = (trace.clone(), Rc::clone(&held));
    lp.add_reader(&here, move || {
        let _ = &inside;
        noted.note("first");
    })
    .unwrap();
    let noted = trace.clone();
    lp.add_reader(&here, move || noted.note("second")).unwrap();
    assert_eq!(Rc::strong_count(&held), 1, "the first one is gone");
    there.write_all(b"x").unwrap();
    glance(&mut lp);
    let calls = trace.take();
    assert!(
        !calls.is_empty() && calls.iter().all(|call| *call == "second"),
        "{calls:?}"
    );
}

#[test]
fn removing_says_whether_there_was_one() {
    let lp = new_loop();
    let (here, there) = pair();
    assert!(!lp.remove_reader(&here) && !lp.remove_writer(&here));
    lp.add_reader(&here, || {}).unwrap();
    assert!(!lp.remove_writer(&here), "that is the other direction");
    assert!(!lp.remove_reader(&there), "that is another descriptor");
    assert!(lp.remove_reader(&here));
    assert!(!lp.remove_reader(&here));
    lp.add_writer(&here, || {}).unwrap();
    lp.add_reader(&here, || {}).unwrap();
    assert!(lp.remove_writer(&here) && lp.remove_reader(&here));
}

#[test]
fn a_removed_one_is_not_called_though_it_was_queued() {
    let mut lp = new_loop();
    let (mut writers, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (here, mut there) = pair();
        there.write_all(b"x").unwrap();
        writers.push(there);
        watched.push(here);
    }
    let watched = Rc::new(watched);
    let trace = Trace::new();
    // Both are ready at the same look; whichever is called first removes the other.
    for number in 0..2 {
        let (trace, local, watched_too) = (trace.clone(), lp.local(), Rc::clone(&watched));
        lp.add_reader(&watched[number], move || {
            trace.note(number);
            assert!(local.remove_reader(&watched_too[1 - number]));
            local.remove_reader(&watched_too[number]);
        })
        .unwrap();
    }
    glance(&mut lp);
    assert_eq!(trace.take().len(), 1);
}

#[test]
fn one_that_was_replaced_while_queued_is_not_called() {
    let mut lp = new_loop();
    let (one, mut to_one) = pair();
    let (two, mut to_two) = pair();
    to_one.write_all(b"x").unwrap();
    to_two.write_all(b"x").unwrap();
    let trace = Trace::new();
    let fds = Rc::new([one, two]);
    for number in 0..2 {
        let (trace, local, both) = (trace.clone(), lp.local(), Rc::clone(&fds));
        lp.add_reader(&fds[number], move || {
            trace.note("original");
            let noted = trace.clone();
            local
                .add_reader(&both[1 - number], move || noted.note("replacement"))
                .unwrap();
            local.remove_reader(&both[number]);
        })
        .unwrap();
    }
    glance(&mut lp);
    let calls = trace.take();
    assert_eq!(
        calls.iter().filter(|call| **call == "original").count(),
        1,
        "{calls:?}"
    );
    assert!(calls.len() > 1, "{calls:?}");
}

#[test]
fn a_callback_may_remove_and_replace_itself() {
    let mut lp = new_loop();
    let (here, mut there) = pair();
    let here = Rc::new(here);
    let trace = Trace::new();
    let held = Rc::new(());
    let (noted, local, own, inside) = (
        trace.clone(),
        lp.local(),
        Rc::clone(&here),
        Rc::clone(&held),
    );
    lp.add_reader(&*here, move || {
        noted.note("once");
        assert!(local.remove_reader(&*own));
        // What it owns is still there while it runs.
        assert_eq!(Rc::strong_count(&inside), 2);
    })
    .unwrap();
    there.write_all(b"x").unwrap();
    glance(&mut lp);
    assert_eq!(trace.take(), ["once"]);
    assert_eq!(Rc::strong_count(&held), 1);

    let (noted, local, own) = (trace.clone(), lp.local(), Rc::clone(&here));
    lp.add_reader(&*here, move || {
        noted.note("old");
        let (noted, again, source) = (noted.clone(), local.clone(), Rc::clone(&own));
        local
            .add_reader(&*own, move || {
                noted.note("new");
                again.remove_reader(&*source);
            })
            .unwrap();
    })
    .unwrap();
    glance(&mut lp);
    assert_eq!(trace.take(), ["old", "new"]);
}

#[test]
fn closing_ones_own_descriptor_does_no_harm() {
    let mut lp = new_loop();
    let (here, mut there) = pair();
    let trace = Trace::new();
    let (noted, local) = (trace.clone(), lp.local());
    lp.add_reader(&here, move || {
        noted.note("readable");
        local.stop();
    })
    .unwrap();
    drop(here);
    // What it referred to is still open: the other end can write, and the watch sees it.
    there.write_all(b"x").unwrap();
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), ["readable"]);
}

/// The system gives a closed number out again, for something else.
#[test]
fn a_number_that_has_come_back_is_watched_for_what_it_is_now() {
    let mut lp = new_loop();
    let (old, mut to_old) = pair();
    let (new, mut to_new) = pair();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.add_reader(&old, move || noted.note("old")).unwrap();
    let number = old.as_raw_fd();
    let mut slot = OwnedFd::from(old);
    // The same number, another file.
    rustix::io::dup2(&new, &mut slot).unwrap();
    assert_eq!(slot.as_raw_fd(), number);
    let noted = trace.clone();
    lp.add_reader(&slot, move || noted.note("new")).unwrap();
    // Nobody can name the old one any more, so the loop has let go of it.
    let error = to_old.write_all(b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    glance(&mut lp);
    assert_eq!(trace.take(), [] as [&str; 0]);
    to_new.write_all(b"x").unwrap();
    glance(&mut lp);
    let calls = trace.take();
    assert!(
        !calls.is_empty() && calls.iter().all(|call| *call == "new"),
        "{calls:?}"
    );
    assert!(lp.remove_reader(&slot));
}

#[test]
fn the_watch_lets_go_of_its_duplicate() {
    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    const TEST: &str = "the_watch_lets_go_of_its_duplicate";
    // In a process of its own, since other tests open and close descriptors, too.
    if !child::in_child(TEST) {
        return;
    }
    let mut lp = new_loop();
    let pairs: Vec<_> = (0..20).map(|_| pair()).collect();
    let before = descriptors();
    for _ in 0..3 {
        for (here, _) in &pairs {
            lp.add_reader(here, || {}).unwrap();
            lp.add_reader(here, || {}).unwrap();
            lp.add_writer(here, || {}).unwrap();
        }
        assert_eq!(descriptors(), before + pairs.len(), "one each");
        for (here, _) in &pairs {
            assert!(lp.remove_reader(here) && lp.remove_writer(here));
        }
        assert_eq!(descriptors(), before);
    }
    // Refused ones are not kept either.
    let file = File::open("/proc/self/exe").unwrap();
    for _ in 0..10 {
        let _ = lp.add_reader(&file, || {});
        lp.remove_reader(&file);
    }
    drop(file);
    for (here, _) in &pairs {
        lp.add_reader(here, || {}).unwrap();
    }
    lp.close();
    // The selector itself goes with the loop, not with its closing.
    assert_eq!(descriptors(), before);
}

#[test]
#[cfg(not(polling_test_poll_backend))]
fn a_regular_file_is_an_error_that_says_so() {
    let lp = new_loop();
    let file = File::open("/proc/self/exe").unwrap();
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let error = lp.add_reader(&file, move || _ = &inside).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    assert!(error.get_ref().unwrap().is::<rondel_poll::SelectorError>());
    assert_eq!(Rc::strong_count(&held), 1);
    assert!(!lp.remove_reader(&file));
}

#[test]
fn a_virtual_loop_has_no_descriptors() {
    let lp = EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap();
    let (here, _there) = pair();
    let error = lp.add_reader(&here, || {}).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}

/// What is captured by a refused callback may come back into the loop when it is dropped.
#[test]
#[cfg(not(polling_test_poll_backend))]
fn a_refused_callback_may_use_the_loop_in_its_destructor() {
    struct Busy(LocalLoop, UnixStream);
    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.add_reader(&self.1, || {}).unwrap();
            assert!(self.0.remove_reader(&self.1));
        }
    }
    let lp = new_loop();
    let (here, _there) = pair();
    let busy = Busy(lp.local(), here);
    let file = File::open("/proc/self/exe").unwrap();
    assert!(lp.add_reader(&file, move || _ = &busy).is_err());
}

#[test]
fn replaced_and_removed_callbacks_may_use_the_loop_in_their_destructors() {
    struct Busy(LocalLoop, Rc<UnixStream>, Trace<&'static str>);
    impl Drop for Busy {
        fn drop(&mut self) {
            let (noted, lp) = (self.2.clone(), &self.0);
            lp.add_writer(&*self.1, move || noted.note("from a destructor"))
                .unwrap();
        }
    }
    let mut lp = new_loop();
    let (here, _there) = pair();
    let here = Rc::new(here);
    let trace = Trace::new();
    for replaced in [true, false] {
        let busy = Busy(lp.local(), Rc::clone(&here), trace.clone());
        lp.add_reader(&*here, move || _ = &busy).unwrap();
        if replaced {
            lp.add_reader(&*here, || {}).unwrap();
        } else {
            assert!(lp.remove_reader(&*here));
        }
        lp.run_until_complete(yield_now()).unwrap();
        glance(&mut lp);
        assert!(trace.take().contains(&"from a destructor"));
        assert!(lp.remove_writer(&*here));
    }
}

#[test]
fn many_descriptors_at_once() {
    let mut lp = new_loop();
    let pairs: Vec<_> = (0..300).map(|_| pair()).collect();
    let seen = Rc::new(RefCell::new(vec![0; pairs.len()]));
    for (number, (here, there)) in pairs.iter().enumerate() {
        let (seen, source) = (Rc::clone(&seen), here.try_clone().unwrap());
        lp.add_reader(here, move || {
            (&source).read_exact(&mut [0; 1]).unwrap();
            seen.borrow_mut()[number] += 1;
        })
        .unwrap();
        let mut there = there.as_fd().try_clone_to_owned().map(File::from).unwrap();
        there.write_all(b"x").unwrap();
    }
    glance(&mut lp);
    assert_eq!(*seen.borrow(), vec![1; pairs.len()]);
}
