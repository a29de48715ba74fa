//! The closure comes from another thread, and all it holds.
use rondel::prelude::*;
use std::rc::Rc;

fn from_elsewhere(handle: &LoopHandle) {
    let shared = Rc::new(1);
    handle.call_soon_threadsafe(move || drop(shared)).unwrap();
}

fn main() {}
