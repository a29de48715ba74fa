//! Five philosophers at a round table, with a fork between each two: to eat, one needs both.
//!
//! If each takes the left fork first, all may sit there with one fork for ever. Here everybody takes the one with the lower
//! number first, so that there is no circle; and `timeout` would say so if there were.
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel::sync::Lock;
use std::cell::Cell;

const NAMES: [&str; 5] = ["Plato", "Hypatia", "Laozi", "Avicenna", "Arendt"];
const MEALS: u32 = 3;

/// On a table: free, or in somebody's hand.
struct Fork(Lock);

async fn dine(name: &str, first: &Fork, second: &Fork, eating: &Cell<usize>) {
    for meal in 1..=MEALS {
        let _first = first.0.acquire().await;
        // Looks up for a moment, with one fork in hand: the others get theirs.
        sleep(Duration::from_millis(10)).await;
        let _second = second.0.acquire().await;
        eating.set(eating.get() + 1);
        assert!(
            eating.get() <= NAMES.len() / 2,
            "there are not that many forks"
        );
        println!("{name} eats meal {meal}");
        sleep(Duration::from_millis(100)).await;
        eating.set(eating.get() - 1);
    }
}

/// Whether all have eaten before their patience ends.
async fn dinner(lower_fork_first: bool) -> bool {
    let forks = NAMES.map(|_| Fork(Lock::new()));
    let eating = Cell::new(0);
    let table = task_scope(async |scope| {
        let (forks, eating) = (&forks, &eating);
        for (seat, name) in NAMES.iter().enumerate() {
            let (left, right) = (seat, (seat + 1) % NAMES.len());
            let (first, second) = match lower_fork_first {
                true => (left.min(right), left.max(right)),
                false => (left, right),
            };
            scope.spawn(dine(name, &forks[first], &forks[second], eating));
        }
    });
    timeout(Duration::from_secs(3), table).await.is_ok()
}

fn main() -> Result<(), RunError> {
    run(async {
        println!("the left fork first:");
        if !dinner(false).await {
            println!("all have starved, each with one fork in hand");
        }
        println!("the lower fork first:");
        if dinner(true).await {
            println!("all have eaten");
        }
    })
}
