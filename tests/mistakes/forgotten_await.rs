//! A future that nobody awaits does nothing.
#![deny(unused_must_use)]
use rondel::prelude::*;

#[rondel::main]
async fn main() {
    sleep(Duration::from_secs(1));
}
