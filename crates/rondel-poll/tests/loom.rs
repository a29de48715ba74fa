//! The cross-thread part under loom: `RUSTFLAGS="--cfg rondel_loom" cargo test
//! -p rondel-poll --release --test loom`.
#![cfg(rondel_loom)]

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use rondel_poll::SleepState;

/// A queue that orders nothing by itself, a state, a bell.
struct World {
    state: SleepState,
    pushed: [AtomicUsize; 2],
    rung: Mutex<usize>,
    heard: Condvar,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: SleepState::new(),
            pushed: [AtomicUsize::new(0), AtomicUsize::new(0)],
            rung: Mutex::new(0),
            heard: Condvar::new(),
        })
    }

    fn push(&self, producer: usize, value: usize) {
        self.pushed[producer].store(value, Ordering::Relaxed);
        if self.state.notify() {
            *self.rung.lock().unwrap() += 1;
            self.heard.notify_one();
        }
    }

    fn sum(&self) -> usize {
        self.pushed
            .iter()
            .map(|cell| cell.load(Ordering::Relaxed))
            .sum()
    }

    /// One wait, ended by the bell and by nothing else.
    fn wait(&self) {
        if self.state.fall_asleep() {
            let mut rung = self.rung.lock().unwrap();
            while *rung == 0 {
                rung = self.heard.wait(rung).unwrap();
            }
            *rung -= 1;
        }
        self.state.wake_up();
    }
}

// A lost wake-up is a deadlock here, which loom reports.

#[test]
fn nothing_is_slept_over() {
    let mut model = loom::model::Builder::new();
    // Three threads that never preempt one another more often than this.
    model.preemption_bound = Some(3);
    model.check(|| {
        let world = World::new();
        let producers: Vec<_> = (0..2)
            .map(|producer| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.push(producer, 1))
            })
            .collect();
        while world.sum() < 2 {
            world.wait();
        }
        for producer in producers {
            producer.join().unwrap();
        }
        // Never more rings than sleeps that took them, or one still to come.
        assert!(*world.rung.lock().unwrap() <= 1);
    });
}

#[test]
fn nothing_is_slept_over_with_polls_in_between() {
    loom::model(|| {
        let world = World::new();
        let producer = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.push(0, 1);
                world.push(0, 2);
            })
        };
        // A wait that does not block clears the state only if it is set.
        world.state.wake_up();
        while world.sum() < 2 {
            world.wait();
            if world.sum() < 2 {
                world.state.wake_up();
            }
        }
        producer.join().unwrap();
    });
}

#[test]
fn a_sleep_that_ends_otherwise_loses_nothing() {
    loom::model(|| {
        let world = World::new();
        let producer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.push(0, 1))
        };
        // Falls asleep and is up again at once, as by I/O or a deadline. What
        // comes in between is either seen here or refuses the next sleep, or
        // rings it.
        let _ = world.state.fall_asleep();
        world.state.wake_up();
        while world.sum() < 1 {
            world.wait();
        }
        producer.join().unwrap();
    });
}

#[test]
fn a_dozing_guest_is_rung_or_takes_another_turn() {
    loom::model(|| {
        let world = World::new();
        let producer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.push(0, 1))
        };
        while world.sum() < 1 {
            // The host watches the bell, and runs a turn, which begins with a
            // poll, when it is rung.
            if world.state.fall_asleep() {
                let mut rung = world.rung.lock().unwrap();
                while *rung == 0 {
                    rung = world.heard.wait(rung).unwrap();
                }
                *rung -= 1;
            }
            world.state.wake_up();
        }
        producer.join().unwrap();
    });
}

#[test]
fn nobody_rings_for_the_wakeful() {
    loom::model(|| {
        let state = Arc::new(SleepState::new());
        let producer = {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                assert!(!state.notify());
                assert!(!state.notify());
            })
        };
        state.wake_up();
        state.wake_up();
        producer.join().unwrap();
    });
}

#[test]
fn one_of_many_rings() {
    loom::model(|| {
        let state = Arc::new(SleepState::new());
        assert!(state.fall_asleep());
        let other = {
            let state = Arc::clone(&state);
            thread::spawn(move || usize::from(state.notify()))
        };
        let rings = usize::from(state.notify()) + other.join().unwrap();
        assert_eq!(rings, 1);
        assert!(state.wake_up());
    });
}
