//! The loop's way in from other threads, put together from the real parts and explored by loom:
//! `RUSTFLAGS="--cfg rondel_loom" LOOM_MAX_PREEMPTIONS=3 cargo test --release -p rondel-loop --test loom`.
//!
//! What is put together is `rondel_executor::Inbox`, where things come in, and `rondel_poll::SleepState`, which says whether
//! somebody must ring. The loop's side follows `turn::look` step by step. A wake-up that is lost shows as a deadlock.
#![cfg(rondel_loom)]

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use rondel_executor::Inbox;
use rondel_poll::SleepState;

/// What a loop shares with other threads.
struct World {
    inbox: Inbox<usize>,
    bell: std::sync::Arc<Bell>,
    stop: AtomicBool,
}

/// A notifier: as the selectors' own, with a condition variable in the place of the system.
struct Bell {
    state: SleepState,
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn notify(&self) {
        if self.state.notify() {
            *self.rung.lock().unwrap() = true;
            self.heard.notify_one();
        }
    }

    /// What the system does for one that blocks: returns when the bell has been rung, and silences it.
    fn listen(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }

    /// What the system does for a host that watches the descriptor: it stays readable.
    fn wait_until_rung(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
    }

    /// A wait that blocks, as `Selector::wait` does with `Wait::Forever`.
    fn wait(&self) {
        if self.state.fall_asleep() {
            self.listen();
        }
        self.state.wake_up();
    }

    /// A wait that does not, as with `Wait::Poll`.
    fn poll(&self) {
        *self.rung.lock().unwrap() = false;
        self.state.wake_up();
    }
}

impl World {
    fn new() -> Arc<Self> {
        let bell = std::sync::Arc::new(Bell {
            state: SleepState::new(),
            rung: Mutex::new(false),
            heard: Condvar::new(),
        });
        let rings = std::sync::Arc::clone(&bell);
        Arc::new(Self {
            inbox: Inbox::new(std::sync::Arc::new(move || rings.notify())),
            bell,
            stop: AtomicBool::new(false),
        })
    }

    /// One look of a loop that has nothing registered: with something in the inbox it does not ask the selector at all.
    fn look(&self, received: &mut Vec<usize>) {
        if self.inbox.is_empty() {
            self.bell.wait();
        }
        self.drain(received);
    }

    fn drain(&self, received: &mut Vec<usize>) {
        while let Some(item) = self.inbox.pop() {
            received.push(item);
        }
    }
}

fn bounded() -> loom::model::Builder {
    let mut model = loom::model::Builder::new();
    if model.preemption_bound.is_none() {
        model.preemption_bound = Some(3);
    }
    model
}

/// Threads that each send `each` numbers, in order.
fn senders(world: &Arc<World>, threads: usize, each: usize) -> Vec<thread::JoinHandle<()>> {
    (0..threads)
        .map(|number| {
            let world = Arc::clone(world);
            thread::spawn(move || {
                for turn in 0..each {
                    world.inbox.push(10 * number + turn).unwrap();
                }
            })
        })
        .collect()
}

#[test]
fn nothing_that_is_sent_is_slept_over() {
    bounded().check(|| {
        let world = World::new();
        let senders = senders(&world, 2, 1);
        let mut received = Vec::new();
        while received.len() < 2 {
            world.look(&mut received);
        }
        received.sort_unstable();
        assert_eq!(received, [0, 10]);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn what_one_thread_sends_arrives_in_order() {
    bounded().check(|| {
        let world = World::new();
        let senders = senders(&world, 1, 3);
        let mut received = Vec::new();
        while received.len() < 3 {
            world.look(&mut received);
        }
        assert_eq!(received, [0, 1, 2]);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn looks_that_peek_in_between_lose_nothing() {
    bounded().check(|| {
        let world = World::new();
        let senders = senders(&world, 2, 1);
        let mut received = Vec::new();
        while received.len() < 2 {
            // Busy: looks without waiting, as with descriptors registered.
            world.bell.poll();
            world.drain(&mut received);
            if received.len() < 2 {
                world.look(&mut received);
            }
        }
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn a_stop_is_not_slept_over() {
    loom::model(|| {
        let world = World::new();
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                // `LoopHandle::stop`: first the wish, then the ring.
                world.stop.store(true, Ordering::Release);
                world.inbox.notify();
            })
        };
        let mut received = Vec::new();
        while !world.stop.load(Ordering::Acquire) {
            world.look(&mut received);
        }
        other.join().unwrap();
    });
}

#[test]
fn a_guest_that_dozes_is_rung_or_takes_another_turn() {
    bounded().check(|| {
        let world = World::new();
        let senders = senders(&world, 2, 1);
        let mut received = Vec::new();
        while received.len() < 2 {
            // `run_once`: a wait that does not block, what has come in, then the doze and the last look.
            world.bell.poll();
            world.drain(&mut received);
            let more = !world.bell.state.fall_asleep() || !world.inbox.is_empty();
            if !more && received.len() < 2 {
                world.bell.wait_until_rung();
            }
        }
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn what_is_sent_while_the_inbox_closes_is_received_or_refused() {
    loom::model(|| {
        let world = World::new();
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                (0..2)
                    .filter(|item| world.inbox.push(*item).is_ok())
                    .count()
            })
        };
        let mut received = Vec::new();
        world.drain(&mut received);
        world.inbox.close();
        world.drain(&mut received);
        let sent = other.join().unwrap();
        world.drain(&mut received);
        assert_eq!(received.len(), sent);
    });
}
