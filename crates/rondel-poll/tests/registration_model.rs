//! Registrations come and go at random; only what is registered is ever reported.
#![cfg(not(rondel_loom))]

mod backends;

use backends::{drain, real};
use proptest::prelude::*;
use rondel_poll::*;
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

#[derive(Debug, Clone)]
enum Step {
    Register(bool),
    Deregister(usize),
    DeregisterAndKeep(usize),
    UseDeadKey(usize),
    Send(usize),
    Read(usize),
    Interest(usize, bool),
    Wait(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let pick = any::<usize>;
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Register),
        2 => pick().prop_map(Step::Deregister),
        1 => pick().prop_map(Step::DeregisterAndKeep),
        1 => pick().prop_map(Step::UseDeadKey),
        4 => pick().prop_map(Step::Send),
        2 => pick().prop_map(Step::Read),
        1 => (pick(), any::<bool>()).prop_map(|(n, on)| Step::Interest(n, on)),
        3 => (1..5usize).prop_map(Step::Wait),
    ]
}

struct Live {
    source: Rc<OwnedFd>,
    peer: UnixStream,
    mode: Mode,
    interested: bool,
    /// Bytes that wait to be read.
    pending: usize,
    /// Whether an edge must still be reported.
    owed: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn only_what_is_registered_and_ready_is_reported(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        for (name, selector) in real() {
            run(name, &*selector, &steps)?;
        }
    }
}

fn run(name: &str, selector: &dyn Selector, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut live: HashMap<Key, Live> = HashMap::new();
    let mut order: Vec<Key> = Vec::new();
    let mut dead: Vec<Key> = Vec::new();
    let mut kept = Vec::new();
    let mut seen = HashSet::new();
    for step in steps {
        let pick = |n: usize| (!order.is_empty()).then(|| order[n % order.len()]);
        match *step {
            Step::Register(edge) => {
                let (source, peer) = backends::pair();
                let mode = if edge { Mode::Edge } else { Mode::Level };
                let key = selector
                    .register(Rc::clone(&source), Interest::READABLE, mode)
                    .unwrap();
                prop_assert!(seen.insert(key), "{}: {:?} was given out twice", name, key);
                order.push(key);
                live.insert(
                    key,
                    Live {
                        source,
                        peer,
                        mode,
                        interested: true,
                        pending: 0,
                        owed: false,
                    },
                );
            }
            Step::Deregister(n) | Step::DeregisterAndKeep(n) => {
                let Some(key) = pick(n) else { continue };
                let gone = live.remove(&key).unwrap();
                if matches!(step, Step::DeregisterAndKeep(_)) {
                    kept.push(gone);
                    selector.deregister(key).unwrap();
                } else {
                    // The selector's share is the last one.
                    drop(gone.source);
                    selector.deregister(key).unwrap();
                }
                order.retain(|k| *k != key);
                dead.push(key);
            }
            Step::UseDeadKey(n) => {
                let Some(key) = (!dead.is_empty()).then(|| dead[n % dead.len()]) else {
                    continue;
                };
                prop_assert!(selector.deregister(key).is_err(), "{}", name);
                prop_assert!(selector.modify(key, Interest::BOTH).is_err(), "{}", name);
            }
            Step::Send(n) => {
                let Some(key) = pick(n) else { continue };
                let source = live.get_mut(&key).unwrap();
                source.peer.write_all(b"x").unwrap();
                source.pending += 1;
                // A one-shot registration has nothing to add until it is armed.
                source.owed |= source.pending == 1 && source.interested;
            }
            Step::Read(n) => {
                let Some(key) = pick(n) else { continue };
                let source = live.get_mut(&key).unwrap();
                prop_assert_eq!(drain(&source.source).unwrap().len(), source.pending);
                source.pending = 0;
                source.owed = false;
                if selector.needs_rearm() && source.mode == Mode::Edge && source.interested {
                    selector.modify(key, Interest::READABLE).unwrap();
                }
            }
            Step::Interest(n, on) => {
                let Some(key) = pick(n) else { continue };
                let source = live.get_mut(&key).unwrap();
                let interest = if on {
                    Interest::READABLE
                } else {
                    Interest::NONE
                };
                selector.modify(key, interest).unwrap();
                source.interested = on;
                source.owed = on && source.pending > 0;
            }
            Step::Wait(capacity) => {
                let mut events = Events::with_capacity(capacity);
                // More ready than slots: the rest comes with the next waits.
                let mut reported = HashSet::new();
                for _ in 0..=2 * live.len() {
                    selector.wait(&mut events, Wait::Poll, false).unwrap();
                    for event in &events {
                        let source = live.get_mut(&event.key);
                        prop_assert!(source.is_some(), "{}: {:?} is dead", name, event);
                        let source = source.unwrap();
                        prop_assert!(source.interested, "{}: {:?}", name, event);
                        prop_assert!(
                            source.pending > 0 || source.mode == Mode::Edge,
                            "{}: {:?} is not ready",
                            name,
                            event
                        );
                        source.owed = false;
                        reported.insert(event.key);
                    }
                }
                for (key, source) in &live {
                    prop_assert!(!source.owed, "{}: {:?} was not reported", name, key);
                    if source.mode == Mode::Level && source.interested && source.pending > 0 {
                        prop_assert!(reported.contains(key), "{}: {:?}", name, key);
                    }
                }
            }
        }
    }
    Ok(())
}
