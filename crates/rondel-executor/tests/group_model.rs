//! Random nestings of groups, failures, panics, cleanups, shields and cancellations. A ledger is kept beside them by what the
//! children do themselves; from it a simple model says what each group has to return, and when it may.
#![cfg(not(rondel_loom))]

mod harness;

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;

use harness::{Losses, yield_times};
use proptest::collection::vec;
use proptest::prelude::*;
use rondel_executor::{
    Child, GroupError, JoinError, LostKind, TaskGroup, leave, shielded, task_group,
};

#[derive(Clone, Debug)]
enum Op {
    Yield(usize),
    Fail,
    Panic,
    /// When the program ends, in whatever way, something is left to clean up, which takes so many turns.
    Cleanup(usize),
    Shielded(usize),
    Spawn(Rc<[Self]>),
    /// A group inside; its failure is handled, or passed on.
    Group(Rc<[Self]>, bool),
    CancelGroup,
    CancelChild(usize),
    AwaitChild(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0usize..4).prop_map(Op::Yield),
        1 => Just(Op::Fail),
        1 => Just(Op::Panic),
        3 => (0usize..3).prop_map(Op::Cleanup),
        2 => (1usize..4).prop_map(Op::Shielded),
        1 => Just(Op::CancelGroup),
        2 => (0usize..3).prop_map(Op::CancelChild),
        2 => (0usize..3).prop_map(Op::AwaitChild),
    ];
    let leaf = vec(op.clone(), 0..5);
    leaf.prop_recursive(4, 60, 6, move |inner| {
        vec(
            prop_oneof![
                3 => op.clone(),
                3 => inner.clone().prop_map(|ops| Op::Spawn(ops.into())),
                2 => (inner, any::<bool>()).prop_map(|(ops, pass)| Op::Group(ops.into(), pass)),
            ],
            1..6,
        )
    })
}

/// What is known of one group.
#[derive(Default)]
struct Entry {
    parent: Option<usize>,
    /// Programs that have begun, or were spawned, and are not gone.
    alive: Cell<usize>,
    /// Cleanups left by them or by those in groups inside, that have not ended.
    open: Cell<usize>,
    errors: RefCell<Vec<u32>>,
    cancelled: Cell<bool>,
    /// A program was dropped before its end, and not because of its own handle.
    cut: Cell<bool>,
}

#[derive(Default)]
struct Ledger {
    groups: RefCell<Vec<Rc<Entry>>>,
    numbers: Cell<u32>,
    panics: Cell<usize>,
    violations: RefCell<Vec<String>>,
}

impl Ledger {
    fn group(&self, parent: Option<usize>) -> usize {
        let mut groups = self.groups.borrow_mut();
        groups.push(Rc::new(Entry {
            parent,
            ..Entry::default()
        }));
        groups.len() - 1
    }

    fn entry(&self, id: usize) -> Rc<Entry> {
        Rc::clone(&self.groups.borrow()[id])
    }

    fn number(&self) -> u32 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    fn count_open(&self, group: usize, change: impl Fn(usize) -> usize) {
        let mut next = Some(group);
        while let Some(id) = next {
            let entry = self.entry(id);
            entry.open.set(change(entry.open.get()));
            next = entry.parent;
        }
    }

    fn expect(&self, what: &str, is: bool) {
        if !is {
            self.violations.borrow_mut().push(what.to_owned());
        }
    }

    /// The group has returned, or its panic goes on.
    fn all_gone(&self, group: usize) {
        let entry = self.entry(group);
        self.expect("no child outlives the group", entry.alive.get() == 0);
        self.expect("no cleanup outlives the group", entry.open.get() == 0);
    }

    /// The group has returned this.
    fn returned(&self, group: usize, ended: &Result<(), GroupError<u32>>) {
        self.all_gone(group);
        let entry = self.entry(group);
        let errors = entry.errors.borrow();
        match ended {
            Ok(()) => {
                self.expect("no error is lost", errors.is_empty());
                self.expect("nobody was cut short", !entry.cut.get());
            }
            Err(GroupError::Failed(group)) => {
                self.expect("all errors, in order", group.iter().eq(errors.iter()));
            }
            Err(GroupError::Cancelled) => {
                self.expect("no error is lost to a cancellation", errors.is_empty());
                self.expect("somebody cancelled", entry.cancelled.get());
                self.expect("somebody was cut short", entry.cut.get());
            }
        }
    }
}

/// A program's life in the ledger; begins with its spawning.
struct Life {
    ledger: Rc<Ledger>,
    group: usize,
    finished: Cell<bool>,
    /// Its handle was used to cancel it.
    asked: Rc<Cell<bool>>,
}

impl Life {
    fn begin(ledger: &Rc<Ledger>, group: usize) -> Self {
        let entry = ledger.entry(group);
        entry.alive.set(entry.alive.get() + 1);
        Self {
            ledger: Rc::clone(ledger),
            group,
            finished: Cell::new(false),
            asked: Rc::default(),
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let entry = self.ledger.entry(self.group);
        entry.alive.set(entry.alive.get() - 1);
        if !self.finished.get() && !self.asked.get() {
            entry.cut.set(true);
        }
    }
}

struct Leaves {
    ledger: Rc<Ledger>,
    group: usize,
    turns: usize,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        let (ledger, group, turns) = (Rc::clone(&self.ledger), self.group, self.turns);
        ledger.count_open(group, |open| open + 1);
        leave(Box::pin(async move {
            yield_times(turns).await;
            ledger.count_open(group, |open| open - 1);
        }));
    }
}

/// Looks at a group whose panic goes on.
struct WhenPanicking<'a>(&'a Ledger, usize);

impl Drop for WhenPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.all_gone(self.1);
        }
    }
}

type Program = Pin<Box<dyn Future<Output = Result<(), u32>>>>;

fn program(ops: Rc<[Op]>, g: TaskGroup<'static, u32>, life: Life) -> Program {
    Box::pin(async move {
        // Before what it leaves: it is there until that has been left.
        let life = life;
        let (ledger, group) = (Rc::clone(&life.ledger), life.group);
        let mut leaves = Vec::new();
        let mut children: Vec<(Child<()>, Rc<Cell<bool>>)> = Vec::new();
        for op in ops.iter() {
            match op {
                Op::Yield(turns) => yield_times(*turns).await,
                Op::Fail => {
                    let number = ledger.number();
                    ledger.entry(group).errors.borrow_mut().push(number);
                    life.finished.set(true);
                    return Err(number);
                }
                Op::Panic => {
                    ledger.panics.set(ledger.panics.get() + 1);
                    // Without the panic hook, which would print it.
                    resume_unwind(Box::new("on purpose"));
                }
                Op::Cleanup(turns) => leaves.push(Leaves {
                    ledger: Rc::clone(&ledger),
                    group,
                    turns: *turns,
                }),
                Op::Shielded(turns) => shielded(yield_times(*turns)).await,
                Op::Spawn(ops) => {
                    let life = Life::begin(&ledger, group);
                    let asked = Rc::clone(&life.asked);
                    // Refused is not cut short.
                    asked.set(g.is_closed());
                    let child = program(Rc::clone(ops), g.clone(), life);
                    children.push((g.spawn(child), asked));
                }
                Op::Group(ops, pass_on) => {
                    let inner = ledger.group(Some(group));
                    let ended = {
                        let _panicking = WhenPanicking(&ledger, inner);
                        task_group(async |g| {
                            program(Rc::clone(ops), g, Life::begin(&ledger, inner)).await
                        })
                        .await
                    };
                    ledger.returned(inner, &ended);
                    if let (Err(GroupError::Failed(errors)), true) = (ended, pass_on) {
                        ledger.entry(group).errors.borrow_mut().push(errors.first);
                        life.finished.set(true);
                        return Err(errors.first);
                    }
                }
                Op::CancelGroup => {
                    if !g.is_closed() {
                        ledger.entry(group).cancelled.set(true);
                    }
                    g.cancel();
                }
                Op::CancelChild(place) => {
                    if let Some((child, asked)) = children.get(*place)
                        && child.cancel()
                    {
                        asked.set(true);
                    }
                }
                Op::AwaitChild(place) => {
                    if *place < children.len() {
                        let _ = children.swap_remove(*place).0.await;
                    }
                }
            }
        }
        life.finished.set(true);
        Ok(())
    })
}

fn check(ops: Vec<Op>, cancel_after: Option<usize>) -> Result<(), TestCaseError> {
    let losses = Losses::default();
    let executor = losses.builder().build();
    let ledger = Rc::new(Ledger::default());
    let inside = Rc::clone(&ledger);
    let task = executor.spawn(async move {
        let group = inside.group(None);
        let ended = {
            let _panicking = WhenPanicking(&inside, group);
            task_group(async |g| program(ops.into(), g, Life::begin(&inside, group)).await).await
        };
        inside.returned(group, &ended);
    });
    if let Some(entries) = cancel_after {
        let turn = executor.enter().expect("not under way");
        let mut ran = 0;
        turn.run_batch(|| {
            ran += 1;
            ran < entries
        });
        drop(turn);
        task.cancel();
    }
    executor.run_until_idle();
    prop_assert!(task.is_finished(), "it hangs");
    let outcome = task.into_result().expect("finished");
    prop_assert_eq!((executor.alive(), executor.cleanups()), (0, 0));
    prop_assert_eq!(&*ledger.violations.borrow(), &Vec::<String>::new());
    for entry in ledger.groups.borrow().iter() {
        prop_assert_eq!((entry.alive.get(), entry.open.get()), (0, 0));
    }
    let lost = losses.take();
    prop_assert!(
        lost.iter()
            .all(|lost| matches!(lost.kind, LostKind::TaskPanicked(_))),
        "{:?}",
        lost
    );
    let told = usize::from(matches!(outcome, Err(JoinError::Panicked(_))));
    prop_assert_eq!(
        lost.len() + told,
        ledger.panics.get(),
        "each panic goes one way out"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(3000)))]

    #[test]
    fn groups_return_what_the_ledger_says_and_not_before_all_is_over(ops in ops()) {
        check(ops, None)?;
    }

    #[test]
    fn cancelled_at_any_moment_nothing_is_left_behind(ops in ops(), after in 1usize..12) {
        check(ops, Some(after))?;
    }
}
