//! A task may outlive whoever spawned it; children of a group may not, and may borrow.
use rondel::prelude::*;

#[rondel::main]
async fn main() {
    let words = vec!["round"];
    spawn(async { println!("{}", words.len()) });
}
