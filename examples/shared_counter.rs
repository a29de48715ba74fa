//! A counter that two tasks change and no lock protects: on one thread, nobody can come in between.
//!
//! A task is only ever suspended at an `await`. Between two of them it has the data to itself.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use std::cell::Cell;
use std::rc::Rc;

async fn add(total: Rc<Cell<i64>>) {
    for step in 1..=100_000 {
        total.set(total.get() + 1);
        if step % 1000 == 0 {
            yield_now().await; // let the other one in now and then
        }
    }
}

async fn subtract(total: Rc<Cell<i64>>) {
    for step in 1..=100_000 {
        total.set(total.get() - 1);
        if step % 1000 == 0 {
            yield_now().await;
        }
    }
}

fn main() -> Result<(), RunError> {
    run(async {
        let total = Rc::new(Cell::new(0));
        let up = spawn(add(Rc::clone(&total)));
        let down = spawn(subtract(Rc::clone(&total)));
        up.await.expect("nothing panics here");
        down.await.expect("nothing panics here");
        println!("{}", total.get());
    })
}
