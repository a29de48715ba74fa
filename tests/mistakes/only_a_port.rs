//! A port alone is no place.
use rondel::prelude::*;

#[rondel::main]
async fn main() {
    let _ = open_connection(8080).await;
}
