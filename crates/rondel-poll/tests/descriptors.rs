//! Descriptors are closed, once, and not inherited. A program of its own, because
//! it counts those of the process.
#![cfg(all(target_os = "linux", not(rondel_loom)))]

mod backends;

use backends::{events_now, pair, with_descriptors};
use rondel_poll::*;
use std::io::Write;
use std::rc::Rc;

fn open() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn none_is_leaked_and_none_inherited() {
    // Whatever is opened once and kept.
    drop(with_descriptors());
    let before = open();

    let selectors = with_descriptors();
    for name in open() {
        if before.contains(&name) {
            continue;
        }
        let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{name}")) else {
            continue; // The directory that `open` read.
        };
        let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert_ne!(flags & libc::O_CLOEXEC, 0, "{name}: {info}");
    }
    let kinds = selectors.len();
    drop(selectors);
    assert_eq!(open(), before);

    for n in 0..kinds {
        let (name, selector) = with_descriptors().swap_remove(n);
        let mut keys = Vec::new();
        let mut peers = Vec::new();
        for n in 0..60 {
            let mode = if n % 2 == 0 { Mode::Edge } else { Mode::Level };
            let (source, mut peer) = pair();
            keys.push(
                selector
                    .register(Rc::clone(&source), Interest::BOTH, mode)
                    .unwrap(),
            );
            peer.write_all(b"x").unwrap();
            if n % 3 == 0 {
                // Somebody else holds a share, for a while.
                selector.deregister(keys.pop().unwrap()).unwrap();
            }
            peers.push(peer);
        }
        events_now(&*selector);
        for key in keys.drain(..20) {
            selector.deregister(key).unwrap();
        }
        events_now(&*selector);
        // The notifier outlives the selector; what it holds goes with it.
        let notifier = selector.notifier();
        drop(selector);
        notifier.notify();
        drop(notifier);
        drop(peers);
        assert_eq!(open(), before, "{name}");
    }
}
