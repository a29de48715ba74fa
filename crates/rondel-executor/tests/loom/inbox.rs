//! The way in from other threads: nothing is lost, neither by a close nor by falling asleep.

use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use rondel_executor::Inbox;

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    if builder.preemption_bound.is_none() {
        builder.preemption_bound = Some(3);
    }
    builder.check(model);
}

/// Takes all there is.
fn drain(inbox: &Inbox<usize>, taken: &mut Vec<usize>) {
    while let Some(item) = inbox.pop() {
        taken.push(item);
    }
}

#[test]
fn what_races_a_close_is_taken_or_refused() {
    check(|| {
        let notified = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&notified);
        let inbox = Arc::new(Inbox::new(std::sync::Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })));
        let producers: Vec<_> = (0..2)
            .map(|producer| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || {
                    [2 * producer, 2 * producer + 1]
                        .into_iter()
                        .filter_map(|item| inbox.push(item).err())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut taken = Vec::new();
        drain(&inbox, &mut taken);
        inbox.close();
        // The last look: whatever a push has reported as accepted must be in it.
        drain(&inbox, &mut taken);
        assert!(inbox.is_closed());
        let accepted = taken.len();
        for producer in producers {
            let refused = producer.join().unwrap();
            // A thread that was refused once is refused ever after.
            assert!(refused.is_sorted());
            taken.extend(refused);
        }
        assert!(inbox.is_empty());
        assert_eq!(
            notified.load(Ordering::Relaxed),
            accepted,
            "one notification a push"
        );
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3]);
    });
}

#[test]
fn a_thread_finds_its_items_in_order() {
    check(|| {
        let inbox = Arc::new(Inbox::new(std::sync::Arc::new(|| {})));
        let producer = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || (0..3).for_each(|item| inbox.push(item).unwrap()))
        };
        let mut taken = Vec::new();
        drain(&inbox, &mut taken);
        producer.join().unwrap();
        drain(&inbox, &mut taken);
        assert_eq!(taken, [0, 1, 2]);
    });
}

#[test]
fn a_notification_comes_after_its_item_can_be_seen() {
    check(|| {
        let notified = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&notified);
        let inbox = Arc::new(Inbox::new(std::sync::Arc::new(move || {
            count.fetch_add(1, Ordering::Release);
        })));
        let producers: Vec<_> = (0..2)
            .map(|item| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || inbox.push(item).unwrap())
            })
            .collect();
        let notifications = notified.load(Ordering::Acquire);
        let mut taken = Vec::new();
        drain(&inbox, &mut taken);
        assert!(taken.len() >= notifications);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

const AWAKE: u8 = 0;
const SLEEPING: u8 = 1;
const NOTIFIED: u8 = 2;

/// A loop that sleeps, in the terms of `rondel-poll`'s `SleepState`: notified while it is awake, it does not fall asleep;
/// rung while it sleeps.
struct Sleeper {
    state: AtomicU8,
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Sleeper {
    fn inbox() -> (Arc<Self>, Arc<Inbox<usize>>) {
        let sleeper = Arc::new(Self {
            state: AtomicU8::new(AWAKE),
            rung: Mutex::new(false),
            bell: Condvar::new(),
        });
        let notified = Arc::clone(&sleeper);
        let inbox = Inbox::new(std::sync::Arc::new(move || notified.notify()));
        (sleeper, Arc::new(inbox))
    }

    fn notify(&self) {
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == SLEEPING {
            *self.rung.lock().unwrap() = true;
            self.bell.notify_one();
        }
    }

    /// Sleeps unless there is news, until rung.
    fn wait(&self) {
        let asleep = self
            .state
            .compare_exchange(AWAKE, SLEEPING, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if asleep {
            let mut rung = self.rung.lock().unwrap();
            while !*rung {
                rung = self.bell.wait(rung).unwrap();
            }
            *rung = false;
        }
        self.state.swap(AWAKE, Ordering::AcqRel);
    }
}

// A lost wake-up is a deadlock here, which loom reports.

#[test]
fn nothing_is_slept_over() {
    check(|| {
        let (sleeper, inbox) = Sleeper::inbox();
        let producers: Vec<_> = (0..2)
            .map(|item| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || inbox.push(item).unwrap())
            })
            .collect();
        let mut taken = Vec::new();
        loop {
            drain(&inbox, &mut taken);
            if taken.len() == 2 {
                break;
            }
            sleeper.wait();
        }
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn a_drain_that_stops_half_way_looks_again_before_it_sleeps() {
    check(|| {
        let (sleeper, inbox) = Sleeper::inbox();
        let producer = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || (0..3).for_each(|item| inbox.push(item).unwrap()))
        };
        let mut taken = 0;
        while taken < 3 {
            // At most one item a turn, as a bounded drain takes at most so many; what is left forbids sleeping.
            taken += usize::from(inbox.pop().is_some());
            if taken < 3 && inbox.is_empty() {
                sleeper.wait();
            }
        }
        producer.join().unwrap();
    });
}

#[test]
fn a_notification_without_an_item_wakes_as_well() {
    check(|| {
        let (sleeper, inbox) = Sleeper::inbox();
        let stop = Arc::new(AtomicUsize::new(0));
        let stopper = {
            let (inbox, stop) = (Arc::clone(&inbox), Arc::clone(&stop));
            thread::spawn(move || {
                stop.store(1, Ordering::Relaxed);
                inbox.notify();
            })
        };
        while stop.load(Ordering::Relaxed) == 0 {
            sleeper.wait();
        }
        stopper.join().unwrap();
    });
}
