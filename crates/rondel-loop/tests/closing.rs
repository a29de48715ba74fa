//! Closing a loop: what goes, in which order, and what is left.

mod trace;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::time::Duration;

use rondel_loop::signal::Signal;
use rondel_loop::{
    EventLoop, LocalLoop, LoopClosed, RunError, SourceKind, sleep, spawn, yield_now,
};
use rondel_poll::Wait;
use trace::Trace;

const SECOND: Duration = Duration::from_secs(1);

fn new_loop() -> EventLoop {
    EventLoop::new().unwrap()
}

#[test]
fn after_close_every_call_is_a_typed_error() {
    fn says_closed<T>(result: std::io::Result<T>) {
        let error = result.err().unwrap();
        assert!(error.get_ref().unwrap().is::<LoopClosed>(), "{error}");
    }

    let mut lp = new_loop();
    let (local, handle) = (lp.local(), lp.handle());
    let (here, _there) = UnixStream::pair().unwrap();
    lp.add_reader(&here, || {}).unwrap();
    lp.close();
    lp.close();
    assert!(lp.is_closed() && local.is_closed() && handle.is_closed());

    assert!(matches!(
        lp.run_until_complete(async {}),
        Err(RunError::Closed)
    ));
    assert!(matches!(lp.run_forever(), Err(RunError::Closed)));
    assert!(matches!(lp.run_once(Wait::Poll), Err(RunError::Closed)));
    assert!(matches!(lp.run_until_idle(SECOND), Err(RunError::Closed)));
    assert_eq!(RunError::Closed.to_string(), "the event loop is closed");

    let held = Rc::new(());
    let inside = Rc::clone(&held);
    assert!(local.call_soon(move || drop(inside)).cancelled());
    let inside = Rc::clone(&held);
    assert!(local.call_later(SECOND, move || drop(inside)).cancelled());
    let inside = Rc::clone(&held);
    assert!(
        local
            .call_at(local.time(), move || drop(inside))
            .cancelled()
    );
    let inside = Rc::clone(&held);
    let task = local.create_task(async move { drop(inside) });
    assert!(task.into_result().unwrap().unwrap_err().is_cancelled());
    assert_eq!(Rc::strong_count(&held), 1, "all of it is dropped, uncalled");

    assert_eq!(handle.call_soon_threadsafe(|| {}), Err(LoopClosed));
    assert_eq!(handle.spawn(async {}).unwrap_err(), LoopClosed);
    assert_eq!(handle.spawn_with(|| async {}).unwrap_err(), LoopClosed);
    std::thread::spawn(move || {
        assert_eq!(handle.call_soon_threadsafe(|| {}), Err(LoopClosed));
        assert_eq!(handle.spawn(async {}).unwrap_err(), LoopClosed);
        handle.stop();
        drop(handle.outstanding());
    })
    .join()
    .unwrap();

    says_closed(local.add_reader(&here, || {}));
    says_closed(local.add_writer(&here, || {}));
    assert!(!local.remove_reader(&here));
    assert!(!local.remove_writer(&here));
    says_closed(local.add_signal_handler(Signal::USER1, || {}));
    assert!(!local.remove_signal_handler(Signal::USER1));
    says_closed(local.register(here.into(), SourceKind::UnixStream));
    says_closed(local.default_executor());
    says_closed(local.run_in_executor(None, || {}));
    assert_eq!(lp.next_deadline(), None);
    assert_eq!(lp.tasks().len(), 0);
    assert_eq!(lp.cancel_all_tasks(), 0);
}

#[test]
fn a_loop_that_is_dropped_is_closed() {
    let lp = new_loop();
    let local = lp.local();
    drop(lp);
    assert!(local.is_closed());
}

#[test]
fn what_is_dropped_at_close_may_use_the_loop() {
    struct Busy(LocalLoop, Trace<bool>);
    impl Drop for Busy {
        fn drop(&mut self) {
            let lp = &self.0;
            let (here, _there) = UnixStream::pair().unwrap();
            lp.call_soon(|| unreachable!("closed"));
            lp.call_later(SECOND, || unreachable!("closed"));
            lp.create_task(async { unreachable!("closed") }).detach();
            assert!(lp.add_reader(&here, || {}).is_err());
            assert!(lp.run_in_executor(None, || {}).is_err());
            let _ = lp.handle().call_soon_threadsafe(|| unreachable!("closed"));
            lp.stop();
            lp.set_exception_handler(None);
            // The loop counts as the current one while what belongs to it goes.
            self.1.note(LocalLoop::current().is_ok());
        }
    }
    let trace = Trace::new();
    let mut lp = new_loop();
    let busy = || Busy(lp.local(), trace.clone());
    let (soon, later, begun, task, reader, writer) =
        (busy(), busy(), busy(), busy(), busy(), busy());
    let (here, _there) = UnixStream::pair().unwrap();
    lp.create_task(async move {
        let _begun = begun;
        pending::<()>().await;
    })
    .detach();
    lp.run_until_complete(yield_now()).unwrap();
    lp.call_soon(move || drop(soon));
    lp.call_later(SECOND, move || drop(later));
    lp.create_task(async move { drop(task) }).detach();
    lp.add_reader(&here, move || _ = &reader).unwrap();
    lp.add_writer(&here, move || _ = &writer).unwrap();
    lp.close();
    assert_eq!(trace.take(), [true; 6]);
    assert!(LocalLoop::current().is_err());
}

#[test]
fn waking_after_the_loop_is_gone_does_nothing() {
    let mut lp = new_loop();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let kept = Rc::clone(&waker);
    lp.create_task(poll_fn(move |cx| {
        *kept.borrow_mut() = Some(cx.waker().clone());
        Poll::<()>::Pending
    }))
    .detach();
    lp.run_until_complete(yield_now()).unwrap();
    let main = Cell::new(None::<Waker>);
    let _ = lp.run_until_complete(poll_fn(|cx| {
        main.set(Some(cx.waker().clone()));
        Poll::Ready(())
    }));
    drop(lp);
    let (task, main) = (waker.take().unwrap(), main.take().unwrap());
    task.wake_by_ref();
    main.wake_by_ref();
    std::thread::spawn(move || {
        task.wake_by_ref();
        drop(task.clone());
        main.wake();
        task.wake();
    })
    .join()
    .unwrap();
}

#[test]
fn awaiting_a_task_of_a_loop_that_is_gone_ends() {
    let mut lp = new_loop();
    let mut other = new_loop();
    let task = other.create_task(pending::<()>());
    other.run_until_complete(yield_now()).unwrap();
    let waiting = lp.create_task(task);
    lp.run_until_complete(yield_now()).unwrap();
    drop(other);
    let outcome = lp.run_until_complete(waiting).unwrap().unwrap();
    assert!(outcome.unwrap_err().is_cancelled());
}

#[test]
fn a_loop_in_a_thread_local_goes_with_its_thread() {
    thread_local! {
        static LOOP: RefCell<Option<EventLoop>> = const { RefCell::new(None) };
    }
    let (tell, told) = mpsc::channel();
    struct Tells(mpsc::Sender<&'static str>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    std::thread::spawn(move || {
        LOOP.with_borrow_mut(|lp| {
            let lp = lp.insert(new_loop());
            let tells = Tells(tell);
            lp.create_task(async move {
                let _tells = tells;
                pending::<()>().await;
            })
            .detach();
            lp.run_until_complete(yield_now()).unwrap();
        });
    })
    .join()
    .unwrap();
    assert_eq!(told.recv(), Ok("dropped"));
}

#[test]
fn a_loop_may_be_dropped_inside_another_one() {
    let mut lp = new_loop();
    let mut other = new_loop();
    other.create_task(pending::<()>()).detach();
    other.run_until_complete(yield_now()).unwrap();
    lp.run_until_complete(async {
        drop(other);
        assert!(!LocalLoop::current().unwrap().is_closed());
        sleep(Duration::from_micros(1)).await;
        spawn(async {}).await.unwrap();
    })
    .unwrap();
}
