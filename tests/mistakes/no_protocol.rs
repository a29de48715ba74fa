//! A factory makes something that is called.
use rondel::prelude::*;

struct Forgotten;

#[rondel::main]
async fn main() {
    let _ = create_server(|| Forgotten, "127.0.0.1:0").await;
}
