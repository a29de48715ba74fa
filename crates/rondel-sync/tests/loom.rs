//! Model checks of what crosses threads: `RUSTFLAGS="--cfg rondel_loom" cargo test -p rondel-sync --test loom --release`.
#![cfg(all(feature = "shared", rondel_loom))]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::thread;
use rondel_sync::shared::{self, Event, Semaphore};

fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(body);
}

#[test]
fn items_cross_and_the_end_is_seen() {
    model(|| {
        let (sender, receiver) = shared::channel(1);
        let thread = thread::spawn(move || {
            for n in 0..3 {
                sender.send_blocking(n).unwrap();
            }
        });
        for n in 0..3 {
            assert_eq!(receiver.recv_blocking(), Some(n));
        }
        assert_eq!(receiver.recv_blocking(), None);
        thread.join().unwrap();
    });
}

#[test]
fn an_item_handed_to_one_who_gives_up_reaches_the_other() {
    model(|| {
        let (sender, receiver) = shared::channel(1);
        let quits = receiver.clone();
        let thread = thread::spawn(move || {
            let mut recv = quits.recv();
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut recv).poll(&mut cx) {
                Poll::Ready(item) => item,
                Poll::Pending => None,
            }
        });
        sender.send_blocking(1).unwrap();
        let there = thread.join().unwrap();
        let here = receiver.try_recv().ok();
        assert_eq!(here.or(there), Some(1));
        assert!(here.is_none() || there.is_none());
    });
}

#[test]
fn a_close_wakes_a_blocked_sender() {
    model(|| {
        let (sender, receiver) = shared::channel(1);
        sender.try_send(1).unwrap();
        let thread = thread::spawn(move || sender.send_blocking(2).is_err());
        drop(receiver);
        assert!(thread.join().unwrap());
    });
}

#[test]
fn an_event_set_is_never_missed() {
    model(|| {
        let event = Arc::new(Event::new());
        let waits = Arc::clone(&event);
        let thread = thread::spawn(move || waits.wait_blocking());
        event.set();
        thread.join().unwrap();
    });
}

#[test]
fn a_permit_is_held_by_one_at_a_time() {
    model(|| {
        let semaphore = Arc::new(Semaphore::new(1));
        let other = Arc::clone(&semaphore);
        let thread = thread::spawn(move || drop(other.acquire_blocking(1)));
        drop(semaphore.acquire_blocking(1));
        thread.join().unwrap();
        assert_eq!(semaphore.available_permits(), 1);
    });
}
