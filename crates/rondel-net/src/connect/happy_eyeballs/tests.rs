//! Order and timing against a model, on a virtual clock.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rondel_loop::EventLoop;
use rondel_loop::time::Sleep;
use rondel_poll::Virtual;

use super::{Race, interleave};
use crate::connect::attempt::Failure;
use crate::connect::error::AttemptStep;

/// Told apart by their ports.
fn address(port: u16, v6: bool) -> SocketAddr {
    if v6 {
        ([0, 0, 0, 0, 0, 0, 0, 1], port).into()
    } else {
        ([127, 0, 0, 1], port).into()
    }
}

fn of_family(addresses: &[SocketAddr], v6: bool) -> Vec<SocketAddr> {
    let of_family = addresses.iter().filter(|a| a.is_ipv6() == v6);
    of_family.copied().collect()
}

#[test]
fn the_family_of_the_first_address_begins() {
    let ports = |families: &[bool]| {
        let addresses = (1..).zip(families).map(|(port, v6)| address(port, *v6));
        let addresses = interleave(addresses.collect());
        addresses.iter().map(SocketAddr::port).collect::<Vec<_>>()
    };
    let (four, six) = (false, true);
    assert_eq!(ports(&[]), []);
    assert_eq!(ports(&[six, six, six, four, four]), [1, 4, 2, 5, 3]);
    assert_eq!(ports(&[four, six, six]), [1, 2, 3]);
    assert_eq!(ports(&[four, four, four, six]), [1, 4, 2, 3]);
    assert_eq!(ports(&[six, six]), [1, 2]);
}

proptest! {
    #[test]
    fn families_take_turns_and_keep_their_order(families in prop::collection::vec(any::<bool>(), 0..12)) {
        let before: Vec<_> = (1..).zip(families).map(|(port, v6)| address(port, v6)).collect();
        let after = interleave(before.clone());
        prop_assert_eq!(after.first(), before.first());
        prop_assert_eq!(of_family(&after, true), of_family(&before, true));
        prop_assert_eq!(of_family(&after, false), of_family(&before, false));
        let shorter = of_family(&before, true).len().min(of_family(&before, false).len());
        for pair in after.windows(2).take((2 * shorter).saturating_sub(1)) {
            prop_assert_ne!(pair[0].is_ipv6(), pair[1].is_ipv6(), "in {:?}", after);
        }
    }
}

/// How an attempt goes; times in milliseconds from its beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    FailsAtOnce,
    Fails(u64),
    Succeeds(u64),
    NeverEnds,
}

/// An attempt with a fate.
struct Fated {
    index: usize,
    fate: Fate,
    sleep: Option<Sleep>,
}

impl Future for Fated {
    type Output = Result<usize, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(sleep) = &mut self.sleep else {
            return Poll::Pending;
        };
        ready!(Pin::new(sleep).poll(cx));
        Poll::Ready(match self.fate {
            Fate::Succeeds(_) => Ok(self.index),
            _ => Err(refused()),
        })
    }
}

fn refused() -> Failure {
    Failure {
        step: AttemptStep::Connect,
        error: std::io::ErrorKind::ConnectionRefused.into(),
    }
}

/// What happened, and when: milliseconds from the start.
#[derive(Debug, PartialEq)]
struct Course {
    begun: Vec<u64>,
    /// Who won, if anybody did, and when it was over.
    winner: Option<usize>,
    ended: u64,
    /// Which attempts had failed by then.
    failed: Vec<bool>,
}

/// Longer than any sequence of fates takes.
const GIVEN_UP: u64 = 1_000_000;

/// What RFC 8305 asks for, event by event.
fn expected(fates: &[Fate], head_start: Option<u64>) -> Course {
    let mut course = Course {
        begun: Vec::new(),
        winner: None,
        ended: GIVEN_UP,
        failed: Vec::new(),
    };
    let mut now = 0;
    let mut next_begins = Some(0);
    loop {
        // What is over by now? In the order of their beginning, as one looks at them.
        let mut some_failed = false;
        for (index, fate) in fates.iter().enumerate().take(course.begun.len()) {
            let since = now - course.begun[index];
            match *fate {
                Fate::Succeeds(after) if after <= since => {
                    course.winner = Some(index);
                    course.ended = now;
                    return course;
                }
                Fate::Fails(after) if after <= since && !course.failed[index] => {
                    course.failed[index] = true;
                    some_failed = true;
                }
                _ => {}
            }
        }
        let nobody_is_left = course.failed.iter().all(|failed| *failed);
        if some_failed || nobody_is_left || next_begins == Some(now) {
            next_begins = None;
            if let Some(fate) = fates.get(course.begun.len()) {
                course.begun.push(now);
                course.failed.push(*fate == Fate::FailsAtOnce);
                if course.begun.len() < fates.len() {
                    next_begins = head_start.map(|head_start| now + head_start);
                }
                continue;
            }
            if nobody_is_left {
                course.ended = now;
                return course;
            }
        }
        // When does something happen next?
        let ends = (0..course.begun.len()).filter_map(|index| match fates[index] {
            Fate::Succeeds(after) | Fate::Fails(after) if !course.failed[index] => {
                Some(course.begun[index] + after)
            }
            _ => None,
        });
        match ends.chain(next_begins).min() {
            Some(then) => now = then,
            None => return course,
        }
    }
}

/// The same with the real thing.
fn observed(fates: &[Fate], head_start: Option<u64>) -> Course {
    let mut lp = EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap();
    let start = lp.time();
    let since = |instant: Instant| u64::try_from((instant - start).as_millis()).unwrap();
    let now = {
        let lp = lp.local();
        move || since(lp.time())
    };
    let addresses = (0..).take(fates.len()).map(|port| address(port, true));
    let begun = RefCell::new(Vec::new());
    let tried = RefCell::new(Vec::new());
    let begin = |address: SocketAddr| {
        let index = usize::from(address.port());
        begun.borrow_mut().push(now());
        let ends = |after| Some(rondel_loop::sleep(Duration::from_millis(after)));
        let sleep = match fates[index] {
            Fate::FailsAtOnce => return Err(refused()),
            Fate::Fails(after) | Fate::Succeeds(after) => ends(after),
            Fate::NeverEnds => None,
        };
        let fate = fates[index];
        Ok(Fated { index, fate, sleep })
    };
    let head_start = head_start.map(Duration::from_millis);
    let race = Race::new(addresses.collect(), head_start, begin, &tried);
    let limit = Duration::from_millis(GIVEN_UP);
    let winner = lp
        .run_until_complete(rondel_loop::timeout(limit, race))
        .unwrap();
    let tried = tried.take();
    let order = tried.iter().map(|tried| usize::from(tried.address.port()));
    assert!(order.eq(0..tried.len()));
    Course {
        begun: begun.take(),
        winner: winner.unwrap_or(None),
        ended: now(),
        failed: tried.iter().map(|tried| tried.failure.is_some()).collect(),
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::FailsAtOnce),
        (1..600_u64).prop_map(Fate::Fails),
        // Ends together with a head start, or with one that began later.
        (1..4_u64).prop_map(|n| Fate::Fails(n * 50)),
        (1..4_u64).prop_map(|n| Fate::Succeeds(n * 50)),
        (1..2000_u64).prop_map(Fate::Succeeds),
        Just(Fate::NeverEnds),
    ]
}

proptest! {
    #[test]
    fn attempts_follow_the_model(
        fates in prop::collection::vec(fate(), 0..8),
        head_start in prop_oneof![Just(None), Just(Some(250)), Just(Some(50)), (1..700_u64).prop_map(Some)],
    ) {
        prop_assert_eq!(observed(&fates, head_start), expected(&fates, head_start));
    }
}

#[test]
fn the_example_of_the_documentation() {
    // The first hangs, the second is refused at 300 ms, which begins the third; that one takes 20 ms.
    let fates = [Fate::NeverEnds, Fate::Fails(50), Fate::Succeeds(20)];
    let course = observed(&fates, Some(250));
    assert_eq!(course.begun, [0, 250, 300]);
    assert_eq!((course.winner, course.ended), (Some(2), 320));
    assert_eq!(course.failed, [false, true, false]);
}
