//! Foreign code inside queues and channels: wakers and destructors that come back or panic,
//! comparisons that panic.

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use harness::{Task, Wakes, poll_once};
use hooked_waker::{On, hooked_waker};
use rondel_sync::queue::GetNowaitError;
use rondel_sync::{PriorityQueue, Queue, mpsc};

/// Without the panic hook, which would print it.
fn panic_on_purpose() {
    resume_unwind(Box::new("on purpose"));
}

fn panics<T>(run: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(run)).is_err()
}

/// Runs something when dropped.
struct OnDrop(Box<dyn Fn()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn an_item_put_while_the_getters_waker_is_cloned_is_not_missed() {
    let queue = Rc::new(Queue::new(0));
    let waker = hooked_waker({
        let queue = Rc::clone(&queue);
        move |on| {
            if on == On::Clone {
                queue.put_nowait(1).unwrap();
            }
        }
    });
    let mut get = pin!(queue.get());
    let polled = get.as_mut().poll(&mut Context::from_waker(&waker));
    assert_eq!(polled, Poll::Ready(Ok(1)));
}

#[test]
fn an_item_sent_while_the_receivers_waker_is_cloned_is_not_missed() {
    let (sender, mut receiver) = mpsc::channel(1);
    let sender = Rc::new(RefCell::new(Some(sender)));
    let waker = hooked_waker({
        let sender = Rc::clone(&sender);
        move |on| {
            if on == On::Clone
                && let Some(sender) = sender.borrow_mut().take()
            {
                sender.try_send(1).unwrap();
            }
        }
    });
    let mut cx = Context::from_waker(&waker);
    assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(Some(1)));
    assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(None));
}

#[test]
fn a_waker_that_receives_finds_the_channel_in_order() {
    let (sender, receiver) = mpsc::channel(1);
    let receiver = Rc::new(RefCell::new(receiver));
    let got = Rc::new(RefCell::new(Vec::new()));
    let waker = hooked_waker({
        let (receiver, got) = (Rc::clone(&receiver), Rc::clone(&got));
        move |on| {
            if on == On::Wake {
                got.borrow_mut().extend(receiver.borrow_mut().try_recv());
            }
        }
    });
    for n in 0..3 {
        let mut cx = Context::from_waker(&waker);
        assert!(receiver.borrow_mut().poll_recv(&mut cx).is_pending());
        sender.try_send(n).unwrap();
    }
    assert_eq!(*got.borrow(), [0, 1, 2]);
}

#[test]
fn a_task_that_receives_again_and_again_has_its_waker_cloned_once() {
    let clones = Rc::new(Cell::new(0));
    let waker = hooked_waker({
        let clones = Rc::clone(&clones);
        move |on| clones.set(clones.get() + u32::from(on == On::Clone))
    });
    let (sender, mut receiver) = mpsc::channel(1);
    let mut cx = Context::from_waker(&waker);
    for n in 0..10 {
        let mut recv = receiver.recv();
        assert!(Pin::new(&mut recv).poll(&mut cx).is_pending());
        sender.try_send(n).unwrap();
        assert_eq!(Pin::new(&mut recv).poll(&mut cx), Poll::Ready(Some(n)));
    }
    assert_eq!(clones.get(), 1);
}

#[test]
fn a_receiver_dropped_by_its_own_wake_keeps_no_waker() {
    let (sender, mut receiver) = mpsc::channel(1);
    let alive = Rc::new(());
    let slot: Rc<RefCell<Option<mpsc::Receiver<u32>>>> = Rc::default();
    let waker = hooked_waker({
        let (slot, _alive) = (Rc::clone(&slot), Rc::clone(&alive));
        move |on| {
            let _ = &_alive;
            if on == On::Wake {
                let receiver = slot.borrow_mut().take();
                drop(receiver);
            }
        }
    });
    assert!(
        receiver
            .poll_recv(&mut Context::from_waker(&waker))
            .is_pending()
    );
    *slot.borrow_mut() = Some(receiver);
    drop(waker);
    sender.try_send(1).unwrap();
    assert_eq!(Rc::strong_count(&alive), 1);
    assert!(sender.is_closed());
}

#[test]
fn an_item_got_while_a_putters_waker_panics_is_not_lost() {
    let panicking = || {
        hooked_waker(|on| {
            if on == On::Wake {
                panic_on_purpose()
            }
        })
    };
    let queue = Queue::new(1);
    queue.put_nowait(1).unwrap();
    let waker = panicking();
    let mut put = Box::pin(queue.put(2));
    assert!(
        put.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert!(panics(|| queue.get_nowait()));
    assert_eq!(queue.len(), 1);
    assert!(poll_once(put.as_mut()).is_ready(), "it had its place");
    assert_eq!(queue.get_nowait(), Ok(1));
    assert!(queue.is_full(), "there was one too many, for once");
    assert_eq!(queue.get_nowait(), Ok(2));
    assert!(!queue.is_full());

    let (sender, mut receiver) = mpsc::channel(1);
    sender.try_send(1).unwrap();
    let waker = panicking();
    let mut send = Box::pin(sender.send(2));
    assert!(
        send.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert!(panics(|| receiver.try_recv()));
    assert!(poll_once(send.as_mut()).is_ready());
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    sender.try_send(3).unwrap();
    assert!(sender.try_send(4).is_err());
}

#[test]
fn an_item_put_while_a_getters_waker_panics_stays_put() {
    let queue = Queue::new(0);
    let waker = hooked_waker(|on| {
        if on == On::Wake {
            panic_on_purpose()
        }
    });
    let mut get = Box::pin(queue.get());
    assert!(
        get.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert!(panics(|| queue.put_nowait(1)));
    drop(get);
    assert_eq!(queue.get_nowait(), Ok(1));
}

#[test]
fn destructors_may_use_the_queue_that_is_shut_down() {
    let queue: Rc<Queue<OnDrop>> = Rc::new(Queue::new(0));
    let calls = Rc::new(Cell::new(0));
    for _ in 0..2 {
        let (weak, calls) = (Rc::downgrade(&queue), Rc::clone(&calls));
        let item = OnDrop(Box::new(move || {
            let queue = weak.upgrade().unwrap();
            assert!(matches!(queue.get_nowait(), Err(GetNowaitError::ShutDown)));
            queue.shutdown(true);
            calls.set(calls.get() + 1);
        }));
        queue.put_nowait(item).unwrap();
    }
    queue.shutdown(true);
    assert_eq!(calls.get(), 2);
}

#[test]
fn a_destructor_that_panics_keeps_nobody_waiting() {
    let wakes = Wakes::new();
    let queue = Queue::new(1);
    queue
        .put_nowait(OnDrop(Box::new(panic_on_purpose)))
        .unwrap();
    let mut put = Task::waiting(1, &wakes, queue.put(OnDrop(Box::new(|| {}))));
    let mut join = Task::waiting(2, &wakes, queue.join());
    assert!(panics(|| queue.shutdown(true)));
    let mut woken = wakes.take();
    woken.sort_unstable();
    assert_eq!(woken, [1, 2]);
    assert!(put.ready().is_err());
    join.ready();

    let (sender, receiver) = mpsc::channel(1);
    sender.try_send(OnDrop(Box::new(panic_on_purpose))).unwrap();
    let mut send = Task::waiting(3, &wakes, sender.send(OnDrop(Box::new(|| {}))));
    assert!(panics(|| drop(receiver)));
    assert_eq!(wakes.take(), [3]);
    assert!(send.ready().is_err());
}

thread_local! {
    static COMPARISONS_PANIC: Cell<bool> = const { Cell::new(false) };
}

#[derive(Debug, PartialEq, Eq)]
struct Touchy(u32);

impl PartialOrd for Touchy {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Touchy {
    fn cmp(&self, other: &Self) -> Ordering {
        if COMPARISONS_PANIC.get() {
            panic_on_purpose();
        }
        self.0.cmp(&other.0)
    }
}

#[test]
fn a_comparison_that_panics_leaves_the_queue_as_it_was() {
    let (wakes, queue) = (Wakes::new(), PriorityQueue::new(4));
    let mut waiting = Task::waiting(1, &wakes, queue.get());
    for n in [3, 1, 4, 2] {
        queue.put_nowait(Touchy(n)).unwrap();
    }
    COMPARISONS_PANIC.set(true);
    assert!(panics(|| queue.get_nowait()));
    assert!(panics(|| waiting.poll()));
    COMPARISONS_PANIC.set(false);
    drop(waiting);
    assert_eq!(queue.len(), 4, "the promise that was not kept is void");
    assert_eq!(queue.get_nowait(), Ok(Touchy(1)));
    COMPARISONS_PANIC.set(true);
    assert!(panics(|| queue.put_nowait(Touchy(0))));
    COMPARISONS_PANIC.set(false);
    assert_eq!((queue.len(), queue.is_full()), (3, false));
    queue.put_nowait(Touchy(5)).unwrap();
    assert!(queue.is_full());
    let rest: Vec<_> = std::iter::from_fn(|| queue.get_nowait().ok()).collect();
    assert_eq!(rest, [2, 3, 4, 5].map(Touchy));
}
