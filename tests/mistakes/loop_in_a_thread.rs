//! From other threads, a `LoopHandle` is the way.
use rondel::prelude::*;

#[rondel::main]
async fn main() {
    let local = LocalLoop::current().unwrap();
    std::thread::spawn(move || {
        local.call_soon(|| {});
    });
}
