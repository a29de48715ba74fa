//! Children: started, waited for, reaped.

use std::time::Instant;

use super::Lengths;
use super::runtime::Processes;
use crate::figure::{Figure, RATE};

/// How many are under way.
const AT_A_TIME: usize = 10;

/// The program: it does nothing, by the shortest way.
pub(crate) const PROGRAM: &str = "/bin/true";

/// So many children, by ten tasks that each have one at a time.
pub(crate) fn procs<R: Processes>(lengths: &Lengths) -> Vec<Figure> {
    let each = lengths.children / AT_A_TIME;
    R::run(async move {
        // The first one sets up what is needed for all.
        R::run_program().await;
        let start = Instant::now();
        let tasks: Vec<_> = (0..AT_A_TIME)
            .map(|_| {
                R::spawn(async move {
                    for _ in 0..each {
                        R::run_program().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            R::joined(task.await);
        }
        vec![RATE.of((each * AT_A_TIME) as f64 / start.elapsed().as_secs_f64())]
    })
}
