//! Random wakes of a group's children, from here and from elsewhere, before and after their end, agree with a plain queue: who
//! is polled in which poll of the group, and in which order.
#![cfg(not(rondel_loom))]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use proptest::prelude::*;
use proptest::sample::Index;
use rondel_executor::{Child, TaskGroup, task_group};

#[derive(Clone, Debug)]
enum Op {
    Spawn,
    /// By the waker it was polled with last, if that is kept; also one that has ended.
    Wake(Index),
    WakeFromElsewhere(Index),
    /// Lets go of that waker: when the child has ended, its place may be used again with everything that belongs to it.
    ForgetWaker(Index),
    /// What it does when it is polled next.
    Then(Index, Deed),
    Cancel(Index),
    PollGroup {
        new_waker: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    WakeItself,
    /// Wakes itself, and ends.
    WakeItselfAndEnd,
    End,
    Spawn,
    WakeAnother(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let deed = prop_oneof![
        2 => Just(Deed::WakeItself),
        2 => Just(Deed::WakeItselfAndEnd),
        2 => Just(Deed::End),
        1 => Just(Deed::Spawn),
        2 => (0..8usize).prop_map(Deed::WakeAnother),
    ];
    prop_oneof![
        4 => Just(Op::Spawn),
        8 => any::<Index>().prop_map(Op::Wake),
        2 => any::<Index>().prop_map(Op::WakeFromElsewhere),
        2 => any::<Index>().prop_map(Op::ForgetWaker),
        8 => (any::<Index>(), deed).prop_map(|(child, deed)| Op::Then(child, deed)),
        2 => any::<Index>().prop_map(Op::Cancel),
        8 => prop::bool::weighted(0.2).prop_map(|new_waker| Op::PollGroup { new_waker }),
    ]
}

/// One child, seen from both sides.
struct Pupil {
    waker: RefCell<Option<Waker>>,
    then: Cell<Option<Deed>>,
    handle: RefCell<Option<Child<()>>>,
    // The model.
    queued: Cell<bool>,
    on_its_way: Cell<bool>,
    cancelled: Cell<bool>,
    ended: Cell<bool>,
}

#[derive(Default)]
struct School<'env> {
    group: RefCell<Option<TaskGroup<'env, Infallible>>>,
    pupils: RefCell<Vec<Rc<Pupil>>>,
    polled: RefCell<Vec<usize>>,
    // The model.
    queue: RefCell<VecDeque<usize>>,
    from_elsewhere: RefCell<Vec<usize>>,
}

impl<'env> School<'env> {
    fn pupil(&self, number: usize) -> Option<Rc<Pupil>> {
        self.pupils.borrow().get(number).cloned()
    }

    fn choose(&self, index: Index) -> Option<(usize, Rc<Pupil>)> {
        let pupils = self.pupils.borrow();
        if pupils.is_empty() {
            return None;
        }
        let number = index.index(pupils.len());
        Some((number, Rc::clone(&pupils[number])))
    }

    fn spawn(this: &Rc<Self>) {
        let pupil = Rc::new(Pupil {
            waker: RefCell::default(),
            then: Cell::default(),
            handle: RefCell::default(),
            queued: Cell::new(false),
            on_its_way: Cell::new(false),
            cancelled: Cell::new(false),
            ended: Cell::new(false),
        });
        let number = this.pupils.borrow().len();
        this.pupils.borrow_mut().push(Rc::clone(&pupil));
        let Some(group) = this.group.borrow().clone() else {
            unreachable!("the body has run");
        };
        let school = Rc::downgrade(this);
        let me = Rc::clone(&pupil);
        let child = poll_fn(move |cx| {
            let Some(school) = school.upgrade() else {
                unreachable!("it outlives the group");
            };
            school.polled.borrow_mut().push(number);
            let before = me.waker.replace(Some(cx.waker().clone()));
            drop(before);
            match me.then.take() {
                None => {}
                Some(Deed::WakeItself) => cx.waker().wake_by_ref(),
                Some(Deed::WakeItselfAndEnd) => {
                    cx.waker().wake_by_ref();
                    return Poll::Ready(Ok(()));
                }
                Some(Deed::End) => return Poll::Ready(Ok(())),
                Some(Deed::Spawn) => Self::spawn(&school),
                Some(Deed::WakeAnother(other)) => {
                    let waker = school.pupil(other).and_then(|other| {
                        let waker = other.waker.borrow();
                        waker.clone()
                    });
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
            }
            Poll::Pending
        });
        *pupil.handle.borrow_mut() = Some(group.spawn(child));
    }

    // From here on the model.

    fn enter(&self, number: usize) {
        if let Some(pupil) = self.pupil(number)
            && !pupil.ended.get()
            && !pupil.queued.replace(true)
        {
            self.queue.borrow_mut().push_back(number);
        }
    }

    /// Who is to be polled next, and in what order. `deeds` are those that were planned before it happened.
    fn expect(&self, deeds: &[Option<Deed>], kept: &[bool]) -> Vec<usize> {
        for number in self.from_elsewhere.take() {
            if let Some(pupil) = self.pupil(number) {
                pupil.on_its_way.set(false);
            }
            self.enter(number);
        }
        let mut kept = kept.to_vec();
        let mut spawned = deeds.len();
        let mut polled = Vec::new();
        for number in self.queue.take() {
            let Some(pupil) = self.pupil(number) else {
                continue;
            };
            pupil.queued.set(false);
            if pupil.cancelled.get() {
                pupil.ended.set(true);
                continue;
            }
            polled.push(number);
            kept[number] = true;
            match deeds[number] {
                Some(Deed::WakeItself) => self.enter(number),
                Some(Deed::WakeItselfAndEnd | Deed::End) => pupil.ended.set(true),
                Some(Deed::Spawn) => {
                    self.enter(spawned);
                    spawned += 1;
                }
                Some(Deed::WakeAnother(other)) if kept.get(other) == Some(&true) => {
                    self.enter(other);
                }
                None | Some(Deed::WakeAnother(_)) => {}
            }
        }
        polled
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn run(program: Vec<Op>) -> Result<(), TestCaseError> {
    let school = Rc::new(School::default());
    let guest = Rc::clone(&school);
    let mut group = pin!(task_group(async move |g| {
        *guest.group.borrow_mut() = Some(g);
        pending::<Result<(), Infallible>>().await
    }));
    let mut owner = Arc::new(Woken::default());
    let first = Waker::from(Arc::clone(&owner));
    prop_assert!(
        group
            .as_mut()
            .poll(&mut Context::from_waker(&first))
            .is_pending()
    );
    for op in program {
        match op {
            Op::Spawn => {
                School::spawn(&school);
                school.enter(school.pupils.borrow().len() - 1);
            }
            Op::Wake(index) => {
                if let Some((number, pupil)) = school.choose(index)
                    && let Some(waker) = pupil.waker.borrow().clone()
                {
                    waker.wake();
                    school.enter(number);
                }
            }
            Op::WakeFromElsewhere(index) => {
                if let Some((number, pupil)) = school.choose(index)
                    && let Some(waker) = pupil.waker.borrow().clone()
                {
                    thread::spawn(move || waker.wake()).join().unwrap();
                    if !pupil.on_its_way.replace(true) {
                        school.from_elsewhere.borrow_mut().push(number);
                    }
                }
            }
            Op::ForgetWaker(index) => {
                if let Some((_, pupil)) = school.choose(index) {
                    let waker = pupil.waker.take();
                    drop(waker);
                }
            }
            Op::Then(index, deed) => {
                if let Some((_, pupil)) = school.choose(index) {
                    pupil.then.set(Some(deed));
                }
            }
            Op::Cancel(index) => {
                if let Some((number, pupil)) = school.choose(index)
                    && let Some(handle) = &*pupil.handle.borrow()
                {
                    prop_assert_eq!(handle.cancel(), !pupil.ended.get());
                    pupil.cancelled.set(true);
                    school.enter(number);
                }
            }
            Op::PollGroup { new_waker } => {
                if new_waker {
                    owner = Arc::new(Woken::default());
                }
                let before = school.pupils.borrow().clone();
                let deeds: Vec<_> = before.iter().map(|pupil| pupil.then.get()).collect();
                let kept: Vec<_> = before
                    .iter()
                    .map(|pupil| pupil.waker.borrow().is_some())
                    .collect();
                owner.0.store(0, Ordering::Relaxed);
                let waker = Waker::from(Arc::clone(&owner));
                let polled = group.as_mut().poll(&mut Context::from_waker(&waker));
                prop_assert!(polled.is_pending());
                let expected = school.expect(&deeds, &kept);
                prop_assert_eq!(school.polled.take(), expected);
            }
        }
        let is_there = |number: &usize| school.pupil(*number).is_some_and(|p| !p.ended.get());
        let some_ready = school.queue.borrow().iter().any(is_there)
            || school.from_elsewhere.borrow().iter().any(is_there);
        prop_assert!(
            !some_ready || owner.0.load(Ordering::Relaxed) > 0,
            "the owner was not told"
        );
        for pupil in &*school.pupils.borrow() {
            if let Some(handle) = &*pupil.handle.borrow() {
                prop_assert_eq!(handle.is_finished(), pupil.ended.get());
            }
        }
    }
    let alive = school
        .pupils
        .borrow()
        .iter()
        .filter(|p| !p.ended.get())
        .count();
    let group = school.group.take().unwrap();
    prop_assert_eq!(group.len(), alive);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    #[test]
    fn children_are_polled_in_the_order_of_their_wakes(program in prop::collection::vec(op(), 1..100)) {
        run(program)?;
    }
}
