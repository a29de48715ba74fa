//! Timeouts, shields, cleanups and groups nested at random, and cancelled at random, against a model of who must see what, when.
//!
//! The model knows nothing of polls and wakers: it computes with points in time. No two of them are equal by accident, since
//! every duration of a program has a bit of its own; so the order of events is never open.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rondel_executor::{finally, shielded, task_scope};
use rondel_loop::{
    CancelScope, EventLoop, LocalLoop, move_on_after, sleep, spawn, timeout, timeout_at,
};
use rondel_poll::Virtual;

/// A point in time, or a span of it, in nanoseconds from the beginning.
type Time = u64;

const NEVER: Time = Time::MAX;

/// A program. Each number is its own in all of it, see `number`.
#[derive(Clone, Debug)]
enum Node {
    Work(Time),
    Both(Box<Self>, Box<Self>),
    Then(Box<Self>, Box<Self>),
    Shield(Box<Self>),
    /// Limited in one of three ways, which must come to the same.
    Limit(Way, Time, Box<Self>),
    Finally(Box<Self>, Time),
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Timeout,
    MoveOn,
    Scope,
}

/// What can be seen of a program: what happened, in which of its durations, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Time,
    what: What,
    /// The duration, which tells the node.
    whose: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    InTime,
    Expired,
    CleanupBegun,
    CleanupEnded,
}

// The model.

/// How a node ended.
enum End {
    Finished(Time),
    /// It was dropped then, and left these to clean up, in this order.
    Dropped(Time, Vec<Left>),
}

/// A cleanup in the hands of a scope.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// It has not begun.
    Fresh(Time),
    /// It has begun, and will have ended then (`whose` is `None` for the wait of a scope for another one).
    Begun { whose: Option<Time>, until: Time },
}

#[derive(Default)]
struct Model {
    events: Vec<Event>,
}

impl Model {
    fn note(&mut self, at: Time, what: What, whose: Time) {
        self.events.push(Event { at, what, whose });
    }

    /// Runs what was left to a scope, from `now` on, one after the other; gives the end.
    fn clean_up(&mut self, mut now: Time, left: &[Left]) -> Time {
        for left in left {
            match *left {
                Left::Fresh(takes) => {
                    self.note(now, What::CleanupBegun, takes);
                    now += takes;
                    self.note(now, What::CleanupEnded, takes);
                }
                Left::Begun { whose, until } => {
                    now = now.max(until);
                    if let Some(whose) = whose {
                        self.note(now, What::CleanupEnded, whose);
                    }
                }
            }
        }
        now
    }

    /// Runs `node` from `start`; somebody around it asks for its end at `cancel`, which may have been before it began: then it
    /// still comes to its first point of suspension.
    fn run(&mut self, node: &Node, start: Time, cancel: Time) -> End {
        match node {
            Node::Work(takes) => {
                let end = start + takes;
                if end < cancel {
                    End::Finished(end)
                } else {
                    End::Dropped(cancel.max(start), Vec::new())
                }
            }
            Node::Then(first, second) => match self.run(first, start, cancel) {
                End::Finished(at) => self.run(second, at, cancel),
                dropped => dropped,
            },
            Node::Shield(inner) => self.run(inner, start, NEVER),
            Node::Finally(body, takes) => match self.run(body, start, cancel) {
                End::Finished(at) => {
                    self.note(at, What::CleanupBegun, *takes);
                    let end = at + takes;
                    if end < cancel {
                        self.note(end, What::CleanupEnded, *takes);
                        return End::Finished(end);
                    }
                    let begun = Left::Begun {
                        whose: Some(*takes),
                        until: end,
                    };
                    End::Dropped(cancel.max(at), vec![begun])
                }
                End::Dropped(at, mut left) => {
                    left.push(Left::Fresh(*takes));
                    End::Dropped(at, left)
                }
            },
            Node::Limit(_, limit, inner) => self.limit(*limit, inner, start, cancel),
            Node::Both(one, other) => self.both(one, other, start, cancel),
        }
    }

    fn limit(&mut self, limit: Time, inner: &Node, start: Time, cancel: Time) -> End {
        let deadline = start + limit;
        match self.run(inner, start, cancel.min(deadline)) {
            End::Finished(at) => {
                self.note(at, What::InTime, limit);
                End::Finished(at)
            }
            // Both are asked, when a shield holds both off: then the one within comes first.
            End::Dropped(at, left) if deadline <= at => {
                let end = self.clean_up(at, &left);
                if end < cancel || left.is_empty() {
                    self.note(end, What::Expired, limit);
                    return End::Finished(end);
                }
                let wait = Left::Begun {
                    whose: None,
                    until: end,
                };
                End::Dropped(cancel.max(at), vec![wait])
            }
            dropped => dropped,
        }
    }

    /// While a shield is open in one of the two, neither is dropped.
    fn both(&mut self, one: &Node, other: &Node, start: Time, cancel: Time) -> End {
        if cancel <= start {
            // Children begin at their own turn, which does not come any more.
            return End::Dropped(start, Vec::new());
        }
        let mut cancel = cancel;
        loop {
            let mut try_both = Self::default();
            let ends = [one, other].map(|node| try_both.run(node, start, cancel));
            let latest = ends
                .iter()
                .map(|end| match end {
                    End::Finished(at) | End::Dropped(at, _) => *at,
                })
                .max()
                .unwrap_or(cancel);
            let all_finished = ends.iter().all(|end| matches!(end, End::Finished(_)));
            if !all_finished && latest > cancel {
                cancel = latest;
                continue;
            }
            self.events.append(&mut try_both.events);
            if all_finished {
                return End::Finished(latest);
            }
            // Siblings clean up side by side, at once; whoever drops the two waits for both.
            let left = ends
                .into_iter()
                .filter_map(|end| match end {
                    End::Dropped(_, left) if !left.is_empty() => Some(Left::Begun {
                        whose: None,
                        until: self.clean_up(cancel, &left),
                    }),
                    _ => None,
                })
                .collect();
            return End::Dropped(cancel, left);
        }
    }
}

/// What is to be seen of a program that is cancelled at `cancel`: the events, whether it finished, and when all was over.
fn expected(program: &Node, cancel: Time) -> (Vec<Event>, bool, Time) {
    let mut model = Model::default();
    let (finished, over) = match model.run(program, 0, cancel) {
        End::Finished(at) => (true, at),
        End::Dropped(at, left) => (false, model.clean_up(at, &left)),
    };
    model.events.sort_unstable();
    (model.events, finished, over)
}

// The real thing.

#[derive(Clone)]
struct Watch {
    begun: Instant,
    events: Rc<RefCell<Vec<Event>>>,
}

impl Watch {
    fn now(&self) -> Time {
        let now = LocalLoop::current().unwrap().time();
        u64::try_from((now - self.begun).as_nanos()).unwrap()
    }

    fn note(&self, what: What, whose: Time) {
        let at = self.now();
        self.events.borrow_mut().push(Event { at, what, whose });
    }
}

fn program<'n>(node: &'n Node, watch: &'n Watch) -> Pin<Box<dyn Future<Output = ()> + 'n>> {
    match node {
        Node::Work(takes) => Box::pin(async { sleep(Duration::from_nanos(*takes)).await }),
        Node::Then(first, second) => Box::pin(async {
            program(first, watch).await;
            program(second, watch).await;
        }),
        Node::Both(one, other) => Box::pin(async {
            task_scope(async |scope| {
                scope.spawn(program(one, watch));
                scope.spawn(program(other, watch));
            })
            .await;
        }),
        Node::Shield(inner) => Box::pin(shielded(program(inner, watch))),
        Node::Finally(body, takes) => {
            let (watch_it, takes) = (watch.clone(), *takes);
            Box::pin(finally(program(body, watch), async move {
                watch_it.note(What::CleanupBegun, takes);
                sleep(Duration::from_nanos(takes)).await;
                watch_it.note(What::CleanupEnded, takes);
            }))
        }
        Node::Limit(way, limit, inner) => Box::pin(async {
            let span = Duration::from_nanos(*limit);
            let inner = program(inner, watch);
            let in_time = match way {
                Way::Timeout => timeout(span, inner).await.is_ok(),
                Way::MoveOn => move_on_after(span, inner).await.is_some(),
                Way::Scope => CancelScope::after(span).run(inner).await.is_ok(),
            };
            let what = if in_time { What::InTime } else { What::Expired };
            watch.note(what, *limit);
        }),
    }
}

fn observed(root: &Node, cancel: Time) -> (Vec<Event>, bool, Time) {
    let mut lp = EventLoop::builder()
        .selector(Virtual::new())
        // A cleanup may wait in line for long.
        .cleanup_limit(Duration::MAX)
        .build()
        .unwrap();
    let watch = Watch {
        begun: lp.time(),
        events: Rc::default(),
    };
    let seen = watch.clone();
    let (root, watch_it) = (root.clone(), watch.clone());
    let (finished, over) = lp
        .run_until_complete(async move {
            let task = spawn(async move { program(&root, &watch_it).await });
            if cancel != NEVER {
                let until = watch.begun + Duration::from_nanos(cancel);
                if timeout_at(until, task.done()).await.is_err() {
                    task.cancel();
                }
            }
            let outcome = task.await;
            (outcome.is_ok(), watch.now())
        })
        .unwrap();
    assert_eq!(lp.cancel_all_tasks(), 0, "nothing is left behind");
    let mut events = seen.events.take();
    events.sort_unstable();
    (events, finished, over)
}

// Programs.

/// A duration of `units`, long beside all the bits that tell one from another.
fn duration(units: u64, bit: &mut u32) -> Time {
    *bit += 1;
    (units << 24 | 1 << *bit) * 1_000_000
}

/// Gives every duration a bit of its own.
fn number(node: &mut Node, bit: &mut u32) {
    match node {
        Node::Work(takes) => *takes = duration(*takes, bit),
        Node::Both(one, other) | Node::Then(one, other) => {
            number(one, bit);
            number(other, bit);
        }
        Node::Shield(inner) => number(inner, bit),
        Node::Limit(_, time, inner) | Node::Finally(inner, time) => {
            *time = duration(*time, bit);
            number(inner, bit);
        }
    }
}

fn any_node() -> impl Strategy<Value = Node> {
    let way = prop_oneof![Just(Way::Timeout), Just(Way::MoveOn), Just(Way::Scope)];
    (1_u64..6).prop_map(Node::Work).prop_recursive(5, 12, 2, move |inner| {
        let boxed = inner.prop_map(Box::new);
        prop_oneof![
            3 => (way.clone(), 1_u64..8, boxed.clone()).prop_map(|(way, limit, inner)| Node::Limit(way, limit, inner)),
            3 => (boxed.clone(), 1_u64..4).prop_map(|(body, takes)| Node::Finally(body, takes)),
            2 => boxed.clone().prop_map(Node::Shield),
            2 => (boxed.clone(), boxed.clone()).prop_map(|(one, other)| Node::Then(one, other)),
            2 => (boxed.clone(), boxed).prop_map(|(one, other)| Node::Both(one, other)),
        ]
    })
}

fn any_program() -> impl Strategy<Value = (Node, Time)> {
    (any_node(), prop::option::of(0_u64..12)).prop_map(|(mut node, cancel)| {
        let mut bit = 0;
        let cancel = cancel.map_or(NEVER, |units| duration(units, &mut bit));
        number(&mut node, &mut bit);
        assert!(bit < 24, "there are bits enough");
        (node, cancel)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(3000)))]

    #[test]
    fn everybody_sees_what_the_model_says((root, cancel) in any_program()) {
        prop_assert_eq!(observed(&root, cancel), expected(&root, cancel));
    }
}
