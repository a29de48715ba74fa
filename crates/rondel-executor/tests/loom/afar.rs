//! Wakes of a crowd's members from other threads: none is lost, whatever they race. It is the source file itself that is
//! explored, since nothing outside the crate can reach it.

#[path = "../../src/crowd/afar.rs"]
mod source;

use std::task::{Wake, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use source::{Afar, Mark};

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    if builder.preemption_bound.is_none() {
        builder.preemption_bound = Some(3);
    }
    builder.check(model);
}

/// The owner of the crowd: sleeps until it is woken.
#[derive(Default)]
struct Owner {
    woken: Mutex<bool>,
    wakes: Condvar,
}

struct WakeOwner(Arc<Owner>);

impl Wake for WakeOwner {
    fn wake(self: std::sync::Arc<Self>) {
        *self.0.woken.lock().unwrap() = true;
        self.0.wakes.notify_one();
    }
}

impl Owner {
    fn waker(this: &Arc<Self>) -> Waker {
        Waker::from(std::sync::Arc::new(WakeOwner(Arc::clone(this))))
    }

    fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.wakes.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// A member: something is written for it, then it is woken.
#[derive(Default)]
struct Member {
    mark: Mark,
    written: AtomicUsize,
}

impl Member {
    fn write_and_wake(&self, afar: &Afar<usize>, place: usize) {
        // Relaxed: the wake has to carry it.
        self.written.fetch_add(1, Ordering::Relaxed);
        if self.mark.set()
            && let Some(owner) = afar.push(place)
        {
            owner.wake();
        }
    }
}

/// Polls as a crowd's owner does, until every member has been polled with all that was written for it.
fn poll_until(afar: &Afar<usize>, owner: &Arc<Owner>, members: &[Member], expected: usize) {
    let mut seen = vec![0; members.len()];
    let mut first = true;
    loop {
        if first || afar.has_woken() {
            first = false;
            let (woken, before) = afar.drain(Owner::waker(owner));
            drop(before);
            for place in woken {
                members[place].mark.clear();
                seen[place] = members[place].written.load(Ordering::Relaxed);
            }
        }
        if seen.iter().all(|seen| *seen == expected) {
            return;
        }
        owner.sleep();
    }
}

#[test]
fn no_wake_of_two_threads_is_lost_to_an_owner_that_sleeps() {
    check(|| {
        let afar = Arc::new(Afar::default());
        let members = Arc::new([Member::default(), Member::default()]);
        let threads: Vec<_> = (0..2)
            .map(|place| {
                let (afar, members) = (Arc::clone(&afar), Arc::clone(&members));
                thread::spawn(move || members[place].write_and_wake(&afar, place))
            })
            .collect();
        poll_until(&afar, &Arc::new(Owner::default()), &*members, 1);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn one_member_woken_by_two_threads_sees_what_both_wrote() {
    check(|| {
        let afar = Arc::new(Afar::default());
        let members = Arc::new([Member::default()]);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (afar, members) = (Arc::clone(&afar), Arc::clone(&members));
                thread::spawn(move || members[0].write_and_wake(&afar, 0))
            })
            .collect();
        poll_until(&afar, &Arc::new(Owner::default()), &*members, 2);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn one_member_woken_twice_in_a_row_is_polled_with_the_last() {
    check(|| {
        let afar = Arc::new(Afar::default());
        let members = Arc::new([Member::default()]);
        let waking = {
            let (afar, members) = (Arc::clone(&afar), Arc::clone(&members));
            thread::spawn(move || {
                members[0].write_and_wake(&afar, 0);
                members[0].write_and_wake(&afar, 0);
            })
        };
        poll_until(&afar, &Arc::new(Owner::default()), &*members, 2);
        waking.join().unwrap();
    });
}

#[test]
fn a_wake_that_races_the_end_leaves_no_waker_behind() {
    check(|| {
        let afar = Arc::new(Afar::default());
        let member = Arc::new(Member::default());
        let owner = Arc::new(Owner::default());
        let waker = std::sync::Arc::new(WakeOwner(owner));
        let (woken, before) = afar.drain(Waker::from(std::sync::Arc::clone(&waker)));
        assert!(woken.is_empty() && before.is_none());
        let waking = {
            let (afar, member) = (Arc::clone(&afar), Arc::clone(&member));
            thread::spawn(move || member.write_and_wake(&afar, 0))
        };
        let left = afar.retire();
        waking.join().unwrap();
        drop(left);
        assert_eq!(std::sync::Arc::strong_count(&waker), 1);
        assert!(afar.push(1).is_none());
        assert!(afar.retire().0.is_empty());
    });
}
