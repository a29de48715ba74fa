//! Wakers that come back: from clone, wake and drop they poll, cancel, release, set and let go of
//! the primitive.

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use harness::{Task, Wakes, poll_once};
use hooked_waker::{On, hooked_waker};
use proptest::prelude::*;
use rondel_sync::semaphore::AcquireOwned;
use rondel_sync::{Event, OwnedSemaphorePermit, Semaphore, oneshot};

#[test]
fn a_permit_released_while_the_waker_is_cloned_is_not_missed() {
    let semaphore = Rc::new(Semaphore::new(1));
    let held = Rc::new(RefCell::new(Some(
        semaphore.clone().try_acquire_owned().unwrap(),
    )));
    let waker = hooked_waker({
        let held = Rc::clone(&held);
        move |on| {
            if on == On::Clone {
                drop(held.borrow_mut().take());
            }
        }
    });
    let mut acquire = pin!(semaphore.acquire());
    let polled = acquire.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_ready());
}

#[test]
fn an_event_set_while_an_old_waker_is_dropped_is_not_missed() {
    let event = Rc::new(Event::new());
    let waker = hooked_waker({
        let event = Rc::clone(&event);
        move |on| {
            if on == On::Drop {
                event.set();
            }
        }
    });
    let mut wait = pin!(event.wait());
    assert!(
        wait.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert!(
        poll_once(wait).is_ready(),
        "replacing the waker has set the event"
    );
}

#[test]
fn a_waker_that_cancels_the_others_of_the_same_round() {
    let event = Rc::new(Event::new());
    let others = Rc::new(RefCell::new(Vec::<EventWait>::new()));
    let waker = hooked_waker({
        let others = Rc::clone(&others);
        move |on| {
            if on == On::Wake {
                let all = std::mem::take(&mut *others.borrow_mut());
                drop(all);
            }
        }
    });
    let mut first = pin!(event.wait());
    assert!(
        first
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let wakes = Wakes::new();
    for id in 0..3 {
        let event = Rc::clone(&event);
        let mut wait: EventWait = Box::pin(async move { event.wait().await });
        let waker = wakes.waker(id);
        assert!(
            wait.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        others.borrow_mut().push(wait);
    }
    event.set();
    assert!(wakes.take().is_empty());
    assert!(poll_once(first).is_ready());
    assert_eq!(Rc::strong_count(&event), 1);
}

#[test]
fn a_waker_that_sets_clears_and_waits_again_inside_set() {
    let event = Rc::new(Event::new());
    let wakes = Wakes::new();
    let late = Rc::new(RefCell::new(Vec::new()));
    let waker = hooked_waker({
        let (event, late, wakes) = (Rc::clone(&event), Rc::clone(&late), wakes.clone());
        move |on| {
            if on == On::Wake {
                event.clear();
                let owner = Rc::clone(&event);
                late.borrow_mut()
                    .push(Task::waiting(9, &wakes, async move { owner.wait().await }));
                event.set();
                event.clear();
            }
        }
    });
    let mut first = pin!(event.wait());
    assert!(
        first
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let mut second = Task::waiting(2, &wakes, event.wait());
    event.set();
    assert_eq!(wakes.take(), [2, 9]);
    second.ready();
    late.borrow_mut()[0].ready();
    assert!(poll_once(first).is_ready());
    assert!(!event.is_set());
}

#[test]
fn the_last_handle_may_go_while_its_waiters_are_woken() {
    let semaphore = Rc::new(Semaphore::new(0));
    let weak = Rc::downgrade(&semaphore);
    let shared = Rc::new(Cell::new(Some(Rc::clone(&semaphore))));
    let waiting: Rc<RefCell<Option<Pin<Box<AcquireOwned>>>>> = Rc::default();
    let waker = hooked_waker({
        let (shared, waiting) = (Rc::clone(&shared), Rc::clone(&waiting));
        move |on| {
            if on == On::Wake {
                drop(shared.take());
                let taken = waiting.borrow_mut().take();
                drop(taken);
            }
        }
    });
    let mut acquire = Box::pin(Rc::clone(&semaphore).acquire_owned());
    assert!(
        acquire
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    *waiting.borrow_mut() = Some(acquire);
    semaphore.add_permits(1).unwrap();
    assert_eq!(Rc::strong_count(&semaphore), 1);

    // And with a permit as the last one to hold it.
    let permit = semaphore.try_acquire_owned().unwrap();
    assert_eq!(weak.strong_count(), 1);
    drop(permit);
    assert_eq!(weak.strong_count(), 0);
}

#[test]
fn a_waker_whose_clone_panics_leaves_the_waiter_usable() {
    let (wakes, semaphore) = (Wakes::new(), Semaphore::new(0));
    let armed = Rc::new(Cell::new(true));
    let waker = hooked_waker({
        let armed = Rc::clone(&armed);
        move |on| assert!(!(on == On::Clone && armed.get()), "a clone that panics")
    });
    let mut first = pin!(semaphore.acquire());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        first
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    }));
    assert!(panicked.is_err());
    let mut second = Task::waiting(2, &wakes, semaphore.acquire());
    armed.set(false);
    assert!(
        first
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    semaphore.add_permits(1).unwrap();
    assert!(second.is_pending(), "the first one kept its place");
    assert!(poll_once(first).is_ready());
    drop(second.ready());
}

#[test]
fn a_waker_is_cloned_only_when_it_would_wake_another_task() {
    let clones = Rc::new(Cell::new(0));
    let counting = || {
        let clones = Rc::clone(&clones);
        hooked_waker(move |on| clones.set(clones.get() + u32::from(on == On::Clone)))
    };
    let (task, other_task) = (counting(), counting());
    let event = Event::new();
    let (_sender, mut receiver) = oneshot::channel::<()>();
    let mut wait = pin!(event.wait());
    for (waker, expected) in [(&task, 2), (&task, 2), (&other_task, 4), (&other_task, 4)] {
        let mut cx = Context::from_waker(waker);
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        assert!(Pin::new(&mut receiver).poll(&mut cx).is_pending());
        assert_eq!(clones.get(), expected);
    }
    event.set();
    assert_eq!(clones.get(), 4, "waking clones nothing");
}

#[test]
fn a_value_sent_or_a_sender_lost_while_the_waker_is_cloned_is_not_missed() {
    for send in [true, false] {
        let (sender, mut receiver) = oneshot::channel();
        let sender = Cell::new(Some(sender));
        let waker = hooked_waker(move |on| {
            if on == On::Clone
                && let Some(sender) = sender.take()
                && send
            {
                sender.send(7).unwrap();
            }
        });
        let polled = Pin::new(&mut receiver).poll(&mut Context::from_waker(&waker));
        assert_eq!(
            polled,
            Poll::Ready(if send { Ok(7) } else { Err(oneshot::Closed) })
        );
    }
}

#[test]
fn a_receiver_dropped_while_the_senders_waker_is_cloned_is_not_missed() {
    let (mut sender, receiver) = oneshot::channel::<u32>();
    let receiver = Cell::new(Some(receiver));
    let waker = hooked_waker(move |on| {
        if on == On::Clone {
            drop(receiver.take());
        }
    });
    assert!(
        sender
            .poll_closed(&mut Context::from_waker(&waker))
            .is_ready()
    );
}

#[test]
fn a_receiver_dropped_by_the_wake_of_the_sending_takes_the_value_along() {
    let (sender, receiver) = oneshot::channel();
    let receiver = Rc::new(Cell::new(Some(receiver)));
    let value = Rc::new(());
    let waker = hooked_waker({
        let (receiver, value) = (Rc::clone(&receiver), Rc::clone(&value));
        move |on| {
            if on == On::Wake {
                assert_eq!(Rc::strong_count(&value), 3);
                drop(receiver.take());
                assert_eq!(Rc::strong_count(&value), 2);
            }
        }
    });
    let mut polled = receiver.take().unwrap();
    assert!(
        Pin::new(&mut polled)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    receiver.set(Some(polled));
    drop(waker);
    sender.send(Rc::clone(&value)).unwrap();
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn sending_from_the_wake_of_the_close_fails() {
    let (mut sender, mut receiver) = oneshot::channel::<&str>();
    let slot: Rc<Cell<Option<oneshot::Sender<&str>>>> = Rc::default();
    let outcome = Rc::new(Cell::new(None));
    let waker = hooked_waker({
        let (slot, outcome) = (Rc::clone(&slot), Rc::clone(&outcome));
        move |on| {
            if on == On::Wake {
                outcome.set(slot.take().map(|sender| sender.send("too late")));
            }
        }
    });
    assert!(
        sender
            .poll_closed(&mut Context::from_waker(&waker))
            .is_pending()
    );
    slot.set(Some(sender));
    receiver.close();
    assert_eq!(outcome.take(), Some(Err("too late")));
    assert_eq!(poll_once(pin!(receiver)), Poll::Ready(Err(oneshot::Closed)));
}

// Random programs in which each call of a waker's code runs the program's next step.

#[derive(Clone, Copy, Debug)]
enum Op {
    Poll { slot: usize, wanted: usize },
    Cancel { slot: usize },
    Release,
    Add,
    Set,
    Clear,
    PollEvent { slot: usize },
    CancelEvent { slot: usize },
    Panic,
}

const SLOTS: usize = 4;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..SLOTS, 0..4usize).prop_map(|(slot, wanted)| Op::Poll { slot, wanted }),
        3 => (0..SLOTS).prop_map(|slot| Op::Cancel { slot }),
        5 => Just(Op::Release),
        2 => Just(Op::Add),
        2 => Just(Op::Set),
        2 => Just(Op::Clear),
        5 => (0..SLOTS).prop_map(|slot| Op::PollEvent { slot }),
        2 => (0..SLOTS).prop_map(|slot| Op::CancelEvent { slot }),
        1 => Just(Op::Panic),
    ]
}

/// With how many permits it wants.
type Acquiring = (usize, Pin<Box<AcquireOwned>>);
type EventWait = Pin<Box<dyn Future<Output = ()>>>;

struct World {
    semaphore: Rc<Semaphore>,
    event: Rc<Event>,
    total: Cell<usize>,
    script: RefCell<VecDeque<Op>>,
    // Taken out while polled, so that a nested step finds the slot empty.
    acquiring: [Cell<Option<Acquiring>>; SLOTS],
    waiting: [Cell<Option<EventWait>>; SLOTS],
    held: RefCell<Vec<OwnedSemaphorePermit>>,
}

impl World {
    fn new(script: Vec<Op>, permits: usize) -> Rc<Self> {
        Rc::new(Self {
            semaphore: Rc::new(Semaphore::new(permits)),
            event: Rc::new(Event::new()),
            total: Cell::new(permits),
            script: RefCell::new(script.into()),
            acquiring: Default::default(),
            waiting: Default::default(),
            held: RefCell::default(),
        })
    }

    fn waker(self: &Rc<Self>) -> std::task::Waker {
        let world = Rc::downgrade(self);
        hooked_waker(move |on| {
            if let Some(world) = world.upgrade() {
                // A drop that panics while something unwinds would abort; that is the waker's
                // fault.
                world.step(on != On::Drop && !std::thread::panicking());
            }
        })
    }

    fn step(self: &Rc<Self>, may_panic: bool) -> bool {
        let Some(op) = self.script.borrow_mut().pop_front() else {
            return false;
        };
        match op {
            Op::Poll { slot, wanted } => {
                let start = || {
                    (
                        wanted,
                        Box::pin(self.semaphore.clone().acquire_many_owned(wanted)),
                    )
                };
                let (wanted, mut acquire) = self.acquiring[slot].take().unwrap_or_else(start);
                match acquire
                    .as_mut()
                    .poll(&mut Context::from_waker(&self.waker()))
                {
                    Poll::Ready(permit) => self.held.borrow_mut().push(permit),
                    Poll::Pending => drop(self.acquiring[slot].replace(Some((wanted, acquire)))),
                }
            }
            Op::Cancel { slot } => drop(self.acquiring[slot].take()),
            Op::Release => {
                let permit = self.held.borrow_mut().pop();
                drop(permit);
            }
            Op::Add => {
                self.total.set(self.total.get() + 1);
                self.semaphore.add_permits(1).unwrap();
            }
            Op::Set => self.event.set(),
            Op::Clear => self.event.clear(),
            Op::PollEvent { slot } => {
                let mut wait = self.waiting[slot].take().unwrap_or_else(|| {
                    let event = Rc::clone(&self.event);
                    Box::pin(async move { event.wait().await })
                });
                if wait
                    .as_mut()
                    .poll(&mut Context::from_waker(&self.waker()))
                    .is_pending()
                {
                    drop(self.waiting[slot].replace(Some(wait)));
                }
            }
            Op::CancelEvent { slot } => drop(self.waiting[slot].take()),
            // Without the panic hook, which would print it.
            Op::Panic if may_panic => resume_unwind(Box::new("a panic on purpose")),
            Op::Panic => {}
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn nothing_is_lost_when_wakers_run_the_program(
        permits in 0..4usize,
        script in prop::collection::vec(op(), 1..80),
    ) {
        let world = World::new(script, permits);
        while let Ok(true) | Err(_) = catch_unwind(AssertUnwindSafe(|| world.step(true))) {}

        // The script is over, wakers do nothing any more. Whoever can go on does; the rest waits
        // for a reason.
        world.event.clear();
        for slot in &world.waiting {
            drop(slot.take());
        }
        prop_assert_eq!(world.event.waiting(), 0);
        let (semaphore, total) = (&world.semaphore, world.total.get());
        let mut waiting: Vec<Acquiring> = world.acquiring.iter().filter_map(Cell::take).collect();
        let mut go_on = || {
            let mut held = world.held.borrow_mut();
            waiting.retain_mut(|(_, acquire)| match poll_once(acquire.as_mut()) {
                Poll::Ready(permit) => {
                    held.push(permit);
                    false
                }
                Poll::Pending => true,
            });
            let available = semaphore.available_permits();
            let in_hand = held.iter().map(OwnedSemaphorePermit::permits).sum::<usize>();
            prop_assert_eq!(available + in_hand, total, "permits lost or doubled");
            prop_assert_eq!(semaphore.waiting(), waiting.len());
            let blocked = waiting.iter().any(|(wanted, _)| *wanted > available);
            prop_assert!(waiting.is_empty() || blocked, "they wait for no reason");
            Ok(std::mem::take(&mut *held))
        };
        // Whatever is held goes back, until nobody gets anything any more.
        while !go_on()?.is_empty() {}
        drop(waiting);
        prop_assert_eq!(world.semaphore.waiting(), 0);
        prop_assert_eq!(world.semaphore.available_permits(), world.total.get());
        prop_assert_eq!(Rc::strong_count(&world.semaphore), 1);
    }
}
