//! A connection is its loop's.
use rondel::prelude::*;

#[rondel::main]
async fn main() {
    let (_, writer) = open_connection("localhost:7").await.unwrap();
    std::thread::spawn(move || writer.write(b"x"));
}
