//! Model checks of what threads do to one another: `RUSTFLAGS="--cfg rondel_loom" cargo test -p rondel-executor --test loom --release`.
#![cfg(rondel_loom)]

#[path = "loom/afar.rs"]
mod afar;
#[path = "loom/bridge.rs"]
mod bridge;
#[path = "loom/cancel_token.rs"]
mod cancel_token;
#[path = "loom/inbox.rs"]
mod inbox;
#[path = "loom/thread_pool.rs"]
mod thread_pool;
