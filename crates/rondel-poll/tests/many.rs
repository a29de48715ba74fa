//! Many sources at once.
#![cfg(not(rondel_loom))]

mod backends;

use backends::{pair, real};
use rondel_poll::*;
use std::collections::HashMap;
use std::io::Write;

#[test]
fn more_ready_than_the_buffer_holds_come_with_the_next_waits() {
    const SOURCES: usize = 150;
    for capacity in [1, 8, 1024] {
        for mode in [Mode::Edge, Mode::Level] {
            for (name, selector) in real() {
                let mut peers = Vec::new();
                let mut reports = HashMap::new();
                for _ in 0..SOURCES {
                    let (source, mut peer) = pair();
                    peer.write_all(b"x").unwrap();
                    peers.push(peer);
                    let key = selector.register(source, Interest::READABLE, mode).unwrap();
                    reports.insert(key, 0);
                }
                let mut events = Events::with_capacity(capacity);
                // What is reported is silenced, so each wait brings others.
                for _ in 0..=2 * SOURCES {
                    selector.wait(&mut events, Wait::Poll, false).unwrap();
                    for event in &events {
                        *reports.get_mut(&event.key).unwrap() += 1;
                        if mode == Mode::Level {
                            selector.modify(event.key, Interest::NONE).unwrap();
                        }
                    }
                }
                assert!(
                    reports.values().all(|count| *count == 1),
                    "{name} {mode:?} {capacity}: {reports:?}"
                );
            }
        }
    }
}
