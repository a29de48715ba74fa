//! Ten pages that take two seconds each by `gather`: fetched together, with all results in the order of the URLs.
//!
//! `gather` runs futures inside the task that awaits it, so they may borrow. `wait`, in `waited_pages`, is for tasks.
//! `RONDEL_CLOCK=virtual` runs it on a clock that jumps to the next deadline: same output, no waiting.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;

async fn get_html(url: &str) -> usize {
    println!("start get {url}");
    sleep(Duration::from_secs(2)).await;
    println!("end get {url}");
    url.len()
}

fn main() -> Result<(), RunError> {
    run(async {
        let clock = LocalLoop::current().expect("inside run");
        let start = clock.time();
        let urls: Vec<_> = (1..=10)
            .map(|n| format!("http://www.example.com/{n}"))
            .collect();
        let lengths = gather(urls.iter().map(|url| get_html(url))).await;
        println!("{lengths:?}");
        println!("{:.1} s", (clock.time() - start).as_secs_f64());

        // A few of different types go into a tuple.
        let (page, title) =
            gather((get_html("http://www.example.com/"), async { "Example" })).await;
        println!("{title}: {page}");
        println!("{:.1} s", (clock.time() - start).as_secs_f64());
    })
}
