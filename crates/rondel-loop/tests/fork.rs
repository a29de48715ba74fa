//! fork(2) in the thread of a loop: what the child sees of it, and that it does no harm to the parent.
//!
//! Each test runs in a process of its own that has no other thread than the pool's, and its children leave by `_exit`.

mod child;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use child::in_child;
use rondel_loop::{EventLoop, LocalLoop, RunError, current_task, sleep, spawn, yield_now};
use rondel_poll::{Epoll, Portable, Selector, Wait};

/// Forks. The child runs `inside`, says which line did not hold, if one did not, and ends with 0 if all did.
fn forked(inside: impl FnOnce() -> Result<(), u32>) -> libc::pid_t {
    // SAFETY: the child has no thread but this one; it allocates, which the C library's fork provides for, takes no lock that
    // another thread may hold, and never returns from here.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => leave(catch_unwind(AssertUnwindSafe(inside)).unwrap_or(Err(255))),
        child => child,
    }
}

/// Ends the child.
fn leave(outcome: Result<(), u32>) -> ! {
    let code = match outcome {
        Ok(()) => 0,
        Err(line) => {
            let _ = writeln!(std::io::stderr(), "the child: line {line} did not hold");
            1
        }
    };
    // SAFETY: ends the process, without running what the parent has registered to be run at its end.
    unsafe { libc::_exit(code) }
}

fn code_of(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is writable for the call.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(ended, child, "{}", std::io::Error::last_os_error());
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    libc::WEXITSTATUS(status)
}

macro_rules! hold {
    ($condition:expr) => {
        if !$condition {
            return Err(line!());
        }
    };
}

fn over(selector: impl Selector + 'static) -> EventLoop {
    // Without its thread.
    let builder = EventLoop::builder().watchdog(None);
    builder.selector(selector).build().unwrap()
}

/// A loop over every selector that this system has.
fn loops() -> impl Iterator<Item = EventLoop> {
    let makers: [fn() -> EventLoop; 2] = [
        || over(Epoll::coarse().unwrap()),
        || over(Portable::new().unwrap()),
    ];
    makers.into_iter().map(|make| make())
}

#[test]
fn the_child_sees_no_running_loop() {
    if !in_child("the_child_sees_no_running_loop") {
        return;
    }
    let mut lp = over(Epoll::coarse().unwrap());
    lp.run_until_complete(async {
        let task = spawn(async {
            let child = forked(|| {
                hold!(LocalLoop::current().is_err());
                hold!(current_task().is_none());
                hold!(rondel_loop::capture_call_graph(None).is_err());
                hold!(rondel_executor::Spawner::current().is_none());
                Ok(())
            });
            assert_eq!(code_of(child), 0);
            assert!(LocalLoop::current().is_ok() && current_task().is_some());
            spawn(async { 6 * 7 }).await.unwrap()
        });
        assert_eq!(task.await.unwrap(), 42);
    })
    .unwrap();
    assert_eq!(lp.run_until_complete(async { 1 }).unwrap(), 1);
}

#[test]
fn the_child_runs_a_loop_of_its_own() {
    if !in_child("the_child_runs_a_loop_of_its_own") {
        return;
    }
    for mut lp in loops() {
        lp.run_until_complete(async {
            let child = forked(|| {
                let outcome = rondel_loop::run(async {
                    sleep(Duration::from_millis(1)).await;
                    (LocalLoop::current().is_ok(), spawn(async { 5 }).await.ok())
                });
                hold!(matches!(outcome, Ok((true, Some(5)))));
                hold!(LocalLoop::current().is_err());
                // And one of the child's own is seen by it, and not by a child of the child.
                let outcome = rondel_loop::run(async {
                    let grandchild = forked(|| {
                        hold!(LocalLoop::current().is_err());
                        Ok(())
                    });
                    (code_of(grandchild), LocalLoop::current().is_ok())
                });
                hold!(matches!(outcome, Ok((0, true))));
                Ok(())
            });
            assert_eq!(code_of(child), 0);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(spawn(async { 6 * 7 }).await.unwrap(), 42);
        })
        .unwrap();
    }
}

#[test]
fn what_the_child_lets_go_of_stays_with_the_parent() {
    if !in_child("what_the_child_lets_go_of_stays_with_the_parent") {
        return;
    }
    for mut lp in loops() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let (idle, _other) = UnixStream::pair().unwrap();
        let local = lp.local();
        let (seen, code) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
        let stop = local.clone();
        let counter = Rc::clone(&seen);
        lp.add_reader(&here, move || {
            counter.set(counter.get() + 1);
            stop.stop();
        })
        .unwrap();
        lp.call_soon({
            let (local, code) = (local.clone(), Rc::clone(&code));
            move || {
                let child = forked(|| {
                    hold!(local.add_reader(&idle, || {}).is_err());
                    hold!(local.remove_reader(&here));
                    Ok(())
                });
                code.set(Some(code_of(child)));
                there.write_all(b"x").unwrap();
                // Read by nobody, and kept open.
                std::mem::forget((here, there));
            }
        });
        // A reader that has been lost fails the test, and does not hang it.
        let stop = lp.local();
        let alarm = lp.call_later(Duration::from_secs(60), move || stop.stop());
        lp.run_forever().unwrap();
        alarm.cancel();
        assert_eq!((seen.get(), code.get()), (1, Some(0)));
    }
}

#[test]
fn a_child_that_returns_into_the_loop_ends_its_run() {
    if !in_child("a_child_that_returns_into_the_loop_ends_its_run") {
        return;
    }
    for mut lp in loops() {
        let parent = std::process::id();
        let child = Rc::new(Cell::new(None));
        let ran_in = Rc::new(RefCell::new(Vec::new()));
        let (forks, runs) = (Rc::clone(&child), Rc::clone(&ran_in));
        let outcome = lp.run_until_complete(async move {
            let also = Rc::clone(&runs);
            rondel_loop::call_soon(move || {
                // SAFETY: as in `forked`; this child goes on with the loop, and leaves below.
                forks.set(Some(unsafe { libc::fork() }));
            });
            rondel_loop::call_soon(move || also.borrow_mut().push(std::process::id()));
            yield_now().await;
            yield_now().await;
            runs.borrow_mut().push(std::process::id());
        });
        if std::process::id() != parent {
            leave((|| {
                hold!(matches!(&outcome, Err(RunError::Selector(_))));
                hold!(ran_in.borrow().is_empty());
                hold!(matches!(lp.run_forever(), Err(RunError::Selector(_))));
                hold!(matches!(
                    lp.run_once(Wait::Poll),
                    Err(RunError::Selector(_))
                ));
                drop(lp);
                Ok(())
            })());
        }
        assert_eq!(code_of(child.get().unwrap()), 0);
        outcome.unwrap();
        assert_eq!(*ran_in.borrow(), [parent, parent]);
        // Neither did closing it in the child take anything from it.
        assert_eq!(lp.run_until_complete(async { 1 }).unwrap(), 1);
    }
}

struct TellsWhenDropped(Rc<RefCell<UnixStream>>);

impl Drop for TellsWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.borrow_mut().write_all(b"d");
    }
}

#[test]
fn a_child_that_returns_from_run_waits_for_nothing_and_drops_no_task() {
    if !in_child("a_child_that_returns_from_run_waits_for_nothing_and_drops_no_task") {
        return;
    }
    let parent = std::process::id();
    let child = Rc::new(Cell::new(None));
    let forks = Rc::clone(&child);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let ours = Rc::new(RefCell::new(ours));
    let kept = Rc::clone(&ours);
    let outcome = rondel_loop::run(async move {
        // So that there is a pool, whose thread the child does not have.
        rondel_loop::to_thread(|| {}).await.unwrap();
        spawn(async move {
            let _tells = TellsWhenDropped(kept);
            pending::<()>().await;
        });
        yield_now().await;
        let mut forked = false;
        poll_fn(|cx| {
            if !std::mem::replace(&mut forked, true) {
                // SAFETY: as in `forked`; this child goes on with the loop, and leaves below.
                forks.set(Some(unsafe { libc::fork() }));
                cx.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        })
        .await;
        if let Some(child) = forks.get() {
            assert_eq!(code_of(child), 0);
        }
        std::io::Read::read(&mut theirs, &mut [0])
            .err()
            .map(|e| e.kind())
    });
    if std::process::id() != parent {
        leave((|| {
            hold!(matches!(outcome, Err(RunError::Selector(_))));
            Ok(())
        })());
    }
    // The child has written nothing by then.
    assert_eq!(outcome.unwrap(), Some(std::io::ErrorKind::WouldBlock));
    assert!(child.get().is_some());
}
