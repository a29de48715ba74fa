//! Only futures can be gathered.
use rondel::prelude::*;

#[rondel::main]
async fn main() {
    gather((1, 2)).await;
}
