//! A task, its result, and a callback for when it is done.
//!
//! `RONDEL_CLOCK=virtual` runs it without waiting.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;

async fn get_html(url: &'static str) -> &'static str {
    println!("start get {url}");
    sleep(Duration::from_secs(2)).await;
    "lewen"
}

fn main() -> Result<(), RunError> {
    let mut lp = EventLoop::new()?;
    let url = "http://www.example.com/";
    let mut task = lp.create_task(get_html(url));
    task.on_done(move |info| {
        println!("{url}");
        println!(
            "{} is {:?}: send callback email",
            info.name(),
            info.outcome()
        );
    });
    lp.run_until_complete(task.done())?;
    // The callback has its own turn in the queue, behind what ended the run.
    lp.run_until_complete(yield_now())?;

    let result = task.result().expect("it is done");
    println!("{}", result.as_ref().expect("it returned"));
    Ok(())
}
