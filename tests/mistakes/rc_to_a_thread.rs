//! What goes to another thread has to be fit for it.
use rondel::prelude::*;
use std::rc::Rc;

#[rondel::main]
async fn main() {
    let shared = Rc::new(1);
    to_thread(move || *shared + 1).await.unwrap();
}
