//! Ten pages that take two seconds each, fetched in two seconds: sleeping tasks do not stand in one another's way.
//!
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline: same output, no waiting.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;

async fn get_html(url: &str) {
    println!("start get {url}");
    sleep(Duration::from_secs(2)).await; // not std::thread::sleep, which would stop the whole loop
    println!("end get {url}");
}

fn main() -> Result<(), RunError> {
    run(async {
        let clock = LocalLoop::current().expect("inside run");
        let start = clock.time();
        let tasks: Vec<_> = (0..10)
            .map(|_| spawn(get_html("http://www.example.com/")))
            .collect();
        for task in tasks {
            task.await.expect("nothing panics or is cancelled here");
        }
        println!("{:.1} s", (clock.time() - start).as_secs_f64());
    })
}
