//! Nobody would know what to do with it.
use rondel::prelude::*;

#[rondel::main]
async fn main() {
    let handler = async |_: StreamReader, _: StreamWriter| 42;
    let _ = start_server(handler, "127.0.0.1:0").await;
}
