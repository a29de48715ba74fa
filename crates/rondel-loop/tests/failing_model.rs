//! Groups that fail or panic inside timeouts, and timeouts inside their children, with shields and cleanups in between, nested
//! and cancelled at random: against a model of who must see which error, which panic is lost, and when everything happens.
//!
//! As in `nesting_model.rs` the model knows nothing of polls and wakers, it computes with points in time, and every duration
//! has a bit of its own, so that no two of them are equal by accident.

use std::cell::RefCell;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rondel_executor::{GroupError, JoinError, finally, shielded, task_group};
use rondel_loop::{EventLoop, LocalLoop, move_on_after, sleep, spawn, timeout, timeout_at};
use rondel_poll::Virtual;

/// A point in time, or a span of it, in nanoseconds from the beginning.
type Time = u64;

const NEVER: Time = Time::MAX;

/// A program. Each number is its own in all of it, see `number`.
#[derive(Clone, Debug)]
enum Node {
    Work(Time),
    Fail(Time),
    Panic(Time),
    Then(Box<Self>, Box<Self>),
    Group(Vec<Self>),
    /// Being late is an error.
    Timeout(Time, Box<Self>),
    /// Being late is none.
    MoveOn(Time, Box<Self>),
    Shield(Box<Self>),
    Finally(Box<Self>, Time),
    /// Notes an error, and goes on.
    Catch(Box<Self>),
}

/// What goes from the inside to the outside; the durations tell whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Error {
    Failed(Time),
    Late(Time),
    Group(Vec<Self>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    MovedOn(Time),
    Caught(Error),
    CleanupBegun(Time),
    CleanupEnded(Time),
}

/// How all of it ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Returned(Result<(), Error>),
    Panicked(Time),
    Cancelled,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    events: Vec<(Time, What)>,
    /// The panics that had no way out but to be reported.
    lost: Vec<Time>,
    outcome: Outcome,
    /// When the last cleanup had ended.
    over: Time,
}

// The model.

/// How a node ended.
enum End {
    Finished(Time, Result<(), Error>),
    /// The panic of that duration went through, and left these to the innermost group around.
    Panicked(Time, Time, Vec<Left>),
    /// It was dropped then, and left these to clean up, in this order.
    Dropped(Time, Vec<Left>),
}

impl End {
    fn at(&self) -> Time {
        match self {
            Self::Finished(at, _) | Self::Panicked(at, ..) | Self::Dropped(at, _) => *at,
        }
    }

    fn stops_a_group(&self) -> bool {
        matches!(self, Self::Finished(_, Err(_)) | Self::Panicked(..))
    }
}

/// A cleanup in the hands of a scope.
#[derive(Clone, Copy)]
enum Left {
    /// It has not begun.
    Fresh(Time),
    /// It has begun, and will have ended then (`whose` is `None` for the wait of a scope for another one).
    Begun { whose: Option<Time>, until: Time },
}

/// The wait for what has begun already.
fn wait(until: Time) -> Left {
    Left::Begun { whose: None, until }
}

#[derive(Default)]
struct Model {
    events: Vec<(Time, What)>,
    lost: Vec<Time>,
}

impl Model {
    /// Runs what was left to a scope, from `now` on, one after the other; gives the end.
    fn clean_up(&mut self, mut now: Time, left: &[Left]) -> Time {
        for left in left {
            match *left {
                Left::Fresh(takes) => {
                    self.events.push((now, What::CleanupBegun(takes)));
                    now += takes;
                    self.events.push((now, What::CleanupEnded(takes)));
                }
                Left::Begun { whose, until } => {
                    now = now.max(until);
                    if let Some(whose) = whose {
                        self.events.push((now, What::CleanupEnded(whose)));
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
            Node::Work(takes) | Node::Fail(takes) | Node::Panic(takes) => {
                let end = start + takes;
                if end >= cancel {
                    return End::Dropped(cancel.max(start), Vec::new());
                }
                match node {
                    Node::Fail(_) => End::Finished(end, Err(Error::Failed(*takes))),
                    Node::Panic(_) => End::Panicked(end, *takes, Vec::new()),
                    _ => End::Finished(end, Ok(())),
                }
            }
            Node::Then(first, second) => match self.run(first, start, cancel) {
                End::Finished(at, Ok(())) => self.run(second, at, cancel),
                other => other,
            },
            Node::Shield(inner) => self.run(inner, start, NEVER),
            Node::Catch(inner) => match self.run(inner, start, cancel) {
                End::Finished(at, Err(error)) => {
                    self.events.push((at, What::Caught(error)));
                    End::Finished(at, Ok(()))
                }
                other => other,
            },
            Node::Finally(body, takes) => self.finally(body, *takes, start, cancel),
            Node::Timeout(limit, inner) => match self.limit(*limit, inner, start, cancel) {
                (end, false) => end,
                (End::Finished(at, _), true) => End::Finished(at, Err(Error::Late(*limit))),
                (end, true) => end,
            },
            Node::MoveOn(limit, inner) => {
                let (end, expired) = self.limit(*limit, inner, start, cancel);
                if let (End::Finished(at, _), true) = (&end, expired) {
                    self.events.push((*at, What::MovedOn(*limit)));
                }
                end
            }
            Node::Group(children) => self.group(children, start, cancel),
        }
    }

    fn finally(&mut self, body: &Node, takes: Time, start: Time, cancel: Time) -> End {
        match self.run(body, start, cancel) {
            End::Finished(at, result) => {
                self.events.push((at, What::CleanupBegun(takes)));
                let end = at + takes;
                if end < cancel {
                    self.events.push((end, What::CleanupEnded(takes)));
                    return End::Finished(end, result);
                }
                let begun = Left::Begun {
                    whose: Some(takes),
                    until: end,
                };
                End::Dropped(cancel.max(at), vec![begun])
            }
            End::Panicked(at, whose, mut left) => {
                left.push(Left::Fresh(takes));
                End::Panicked(at, whose, left)
            }
            End::Dropped(at, mut left) => {
                left.push(Left::Fresh(takes));
                End::Dropped(at, left)
            }
        }
    }

    /// Gives, too, whether it is the limit that ended it.
    fn limit(&mut self, limit: Time, inner: &Node, start: Time, cancel: Time) -> (End, bool) {
        let deadline = start + limit;
        match self.run(inner, start, cancel.min(deadline)) {
            // Both are asked, when a shield holds both off: then the one within comes first.
            End::Dropped(at, left) if deadline <= at => {
                let end = self.clean_up(at, &left);
                if end < cancel || left.is_empty() {
                    (End::Finished(end, Ok(())), true)
                } else {
                    (End::Dropped(cancel.max(at), vec![wait(end)]), false)
                }
            }
            // Also a result, or a panic, that came late because of a shield.
            end => (end, false),
        }
    }

    fn group(&mut self, children: &[Node], start: Time, cancel: Time) -> End {
        if cancel <= start {
            // Children begin at their own turn, which does not come any more.
            return End::Dropped(start, Vec::new());
        }
        // While a shield is open in one of them, the group is not dropped.
        let mut cancel = cancel;
        let (mut tried, ends) = loop {
            let mut scratch = Self::default();
            let alone = children
                .iter()
                .map(|child| scratch.run(child, start, cancel));
            let first = alone
                .enumerate()
                .filter(|(_, end)| end.stops_a_group())
                .map(|(index, end)| (end.at(), index))
                .min();
            // The first to fail has the others dropped, each as soon as its own shields allow.
            let mut tried = Self::default();
            let ends: Vec<_> = children
                .iter()
                .enumerate()
                .map(|(index, child)| {
                    let until = match first {
                        Some((at, failed)) if failed != index => cancel.min(at),
                        _ => cancel,
                    };
                    tried.run(child, start, until)
                })
                .collect();
            let latest = ends.iter().map(End::at).max().unwrap_or(start);
            let ended_alone = first.is_none() && !ends.iter().any(is_dropped);
            if latest <= cancel || ended_alone {
                break (tried, ends);
            }
            cancel = latest;
        };
        self.events.append(&mut tried.events);
        self.lost.append(&mut tried.lost);
        self.end_group(ends, cancel)
    }

    fn end_group(&mut self, ends: Vec<End>, cancel: Time) -> End {
        let stopped = ends.iter().any(End::stops_a_group);
        let latest = ends.iter().map(End::at).max().unwrap_or(0);
        if !stopped && !ends.iter().any(is_dropped) {
            return End::Finished(latest, Ok(()));
        }
        let (mut errors, mut panics, mut ready) = (Vec::new(), Vec::new(), Vec::new());
        for end in ends {
            match end {
                End::Finished(at, Err(error)) => errors.push((at, error)),
                End::Finished(_, Ok(())) => {}
                End::Panicked(at, whose, left) => panics.push((at, whose, left)),
                // Those who are dropped clean up side by side, each by itself.
                End::Dropped(at, left) => ready.push(self.clean_up(at, &left)),
            }
        }
        if !stopped {
            let left = ready.into_iter().filter(|until| *until > cancel);
            return End::Dropped(cancel, left.map(wait).collect());
        }
        errors.sort_unstable();
        panics.sort_unstable_by_key(|(at, ..)| *at);
        // What panics leave is cleaned up one after the other.
        let mut scope = 0;
        for (at, _, left) in &panics {
            scope = self.clean_up(scope.max(*at), left);
        }
        ready.push(scope);
        let over = ready.iter().fold(latest, |over, until| over.max(*until));
        if over > cancel {
            // Dropped while it waits for cleanups: of what it holds, panics alone are not lost in silence.
            self.lost.extend(panics.iter().map(|(_, whose, _)| whose));
            let left = ready.into_iter().filter(|until| *until > cancel);
            return End::Dropped(cancel, left.map(wait).collect());
        }
        let mut panics = panics.into_iter().map(|(_, whose, _)| whose);
        match panics.next() {
            Some(first) => {
                self.lost.extend(panics);
                End::Panicked(over, first, Vec::new())
            }
            None => {
                let errors = errors.into_iter().map(|(_, error)| error).collect();
                End::Finished(over, Err(Error::Group(errors)))
            }
        }
    }
}

fn is_dropped(end: &End) -> bool {
    matches!(end, End::Dropped(..))
}

/// What is to be seen of a program that is cancelled at `cancel`.
fn expected(program: &Node, cancel: Time) -> Seen {
    let mut model = Model::default();
    let (outcome, over) = match model.run(program, 0, cancel) {
        End::Finished(at, result) => (Outcome::Returned(result), at),
        End::Panicked(at, whose, left) => (Outcome::Panicked(whose), model.clean_up(at, &left)),
        End::Dropped(at, left) => (Outcome::Cancelled, model.clean_up(at, &left)),
    };
    model.events.sort_unstable();
    model.lost.sort_unstable();
    Seen {
        events: model.events,
        lost: model.lost,
        outcome,
        over,
    }
}

// The real thing.

#[derive(Clone)]
struct Watch {
    begun: Instant,
    events: Rc<RefCell<Vec<(Time, What)>>>,
}

impl Watch {
    fn now(&self) -> Time {
        let now = LocalLoop::current().unwrap().time();
        u64::try_from((now - self.begun).as_nanos()).unwrap()
    }

    fn note(&self, what: What) {
        let at = self.now();
        self.events.borrow_mut().push((at, what));
    }
}

fn span(time: Time) -> Duration {
    Duration::from_nanos(time)
}

type Running<'n> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'n>>;

fn program<'n>(node: &'n Node, watch: &'n Watch) -> Running<'n> {
    match node {
        Node::Work(takes) => Box::pin(async {
            sleep(span(*takes)).await;
            Ok(())
        }),
        Node::Fail(takes) => Box::pin(async {
            sleep(span(*takes)).await;
            Err(Error::Failed(*takes))
        }),
        Node::Panic(takes) => Box::pin(async {
            sleep(span(*takes)).await;
            // Without the panic hook, which would print it.
            resume_unwind(Box::new(takes.to_string()))
        }),
        Node::Then(first, second) => Box::pin(async {
            program(first, watch).await?;
            program(second, watch).await
        }),
        Node::Group(children) => Box::pin(async move {
            let ended = task_group(async |group| {
                for child in children {
                    group.spawn(program(child, watch));
                }
                Ok(())
            })
            .await;
            ended.map_err(|error| match error {
                GroupError::Failed(errors) => Error::Group(errors.into_vec()),
                GroupError::Cancelled => unreachable!("nobody cancels a group by itself"),
            })
        }),
        Node::Timeout(limit, inner) => Box::pin(async {
            let in_time = timeout(span(*limit), program(inner, watch)).await;
            in_time.unwrap_or(Err(Error::Late(*limit)))
        }),
        Node::MoveOn(limit, inner) => Box::pin(async {
            let in_time = move_on_after(span(*limit), program(inner, watch)).await;
            in_time.unwrap_or_else(|| {
                watch.note(What::MovedOn(*limit));
                Ok(())
            })
        }),
        Node::Shield(inner) => Box::pin(shielded(program(inner, watch))),
        Node::Finally(body, takes) => {
            let (watch_it, takes) = (watch.clone(), *takes);
            Box::pin(finally(program(body, watch), async move {
                watch_it.note(What::CleanupBegun(takes));
                sleep(span(takes)).await;
                watch_it.note(What::CleanupEnded(takes));
            }))
        }
        Node::Catch(inner) => Box::pin(async {
            if let Err(error) = program(inner, watch).await {
                watch.note(What::Caught(error));
            }
            Ok(())
        }),
    }
}

fn observed(root: &Node, cancel: Time) -> Seen {
    let mut lp = EventLoop::builder()
        .selector(Virtual::new())
        // A cleanup may wait in line for long.
        .cleanup_limit(Duration::MAX)
        .build()
        .unwrap();
    let lost = Rc::new(RefCell::new(Vec::new()));
    let reported = Rc::clone(&lost);
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        let panic = context.panic.as_ref().expect("panics alone are reported");
        let whose: Time = panic.message().unwrap().parse().unwrap();
        reported.borrow_mut().push(whose);
    })));
    let watch = Watch {
        begun: lp.time(),
        events: Rc::default(),
    };
    let seen = watch.clone();
    let (root, watch_it) = (root.clone(), watch.clone());
    let (outcome, over) = lp
        .run_until_complete(async move {
            let task = spawn(async move { program(&root, &watch_it).await });
            if cancel != NEVER {
                let until = watch.begun + span(cancel);
                if timeout_at(until, task.done()).await.is_err() {
                    task.cancel();
                }
            }
            let outcome = match task.await {
                Ok(returned) => Outcome::Returned(returned),
                Err(JoinError::Panicked(panic)) => {
                    Outcome::Panicked(panic.message().unwrap().parse().unwrap())
                }
                Err(_) => Outcome::Cancelled,
            };
            (outcome, watch.now())
        })
        .unwrap();
    assert_eq!(lp.cancel_all_tasks(), 0, "nothing is left behind");
    drop(lp);
    let mut events = seen.events.take();
    events.sort_unstable();
    let mut lost = lost.take();
    lost.sort_unstable();
    Seen {
        events,
        lost,
        outcome,
        over,
    }
}

// Programs.

/// A duration of `units`, long beside all the bits that tell one from another.
fn duration(units: u64, bit: &mut u32) -> Time {
    *bit += 1;
    (units << 28 | 1 << *bit) * 1_000_000
}

/// Gives every duration a bit of its own.
fn number(node: &mut Node, bit: &mut u32) {
    match node {
        Node::Work(takes) | Node::Fail(takes) | Node::Panic(takes) => {
            *takes = duration(*takes, bit)
        }
        Node::Then(first, second) => {
            number(first, bit);
            number(second, bit);
        }
        Node::Group(children) => {
            for child in children {
                number(child, bit);
            }
        }
        Node::Shield(inner) | Node::Catch(inner) => number(inner, bit),
        Node::Timeout(time, inner) | Node::MoveOn(time, inner) | Node::Finally(inner, time) => {
            *time = duration(*time, bit);
            number(inner, bit);
        }
    }
}

fn any_node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        3 => (1_u64..6).prop_map(Node::Work),
        3 => (1_u64..6).prop_map(Node::Fail),
        2 => (1_u64..6).prop_map(Node::Panic),
    ];
    leaf.prop_recursive(5, 12, 2, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            4 => prop::collection::vec(inner, 1..4).prop_map(Node::Group),
            3 => (boxed.clone(), 1_u64..4).prop_map(|(body, takes)| Node::Finally(body, takes)),
            2 => (1_u64..8, boxed.clone()).prop_map(|(limit, inner)| Node::Timeout(limit, inner)),
            1 => (1_u64..8, boxed.clone()).prop_map(|(limit, inner)| Node::MoveOn(limit, inner)),
            2 => boxed.clone().prop_map(Node::Shield),
            1 => boxed.clone().prop_map(Node::Catch),
            1 => (boxed.clone(), boxed).prop_map(|(first, second)| Node::Then(first, second)),
        ]
    })
}

fn any_program() -> impl Strategy<Value = (Node, Time)> {
    let numbered = (any_node(), prop::option::of(0_u64..12)).prop_map(|(mut node, cancel)| {
        let mut bit = 0;
        let cancel = cancel.map_or(NEVER, |units| duration(units, &mut bit));
        number(&mut node, &mut bit);
        (node, cancel, bit)
    });
    numbered.prop_filter_map("bits enough", |(node, cancel, bit)| {
        (bit < 28).then_some((node, cancel))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2048)))]

    #[test]
    fn everybody_sees_what_the_model_says((root, cancel) in any_program()) {
        prop_assert_eq!(observed(&root, cancel), expected(&root, cancel));
    }
}
