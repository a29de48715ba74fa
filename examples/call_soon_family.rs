//! `call_soon`, `call_later`, `call_at`, and `call_soon_threadsafe` from a real thread: what is called when.
//!
//! `RONDEL_CLOCK=virtual` runs it without waiting.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use std::rc::Rc;
use std::thread;

fn main() -> Result<(), RunError> {
    let mut lp = EventLoop::new()?;
    let start = lp.time();
    let clock = lp.local();
    // Callbacks need not be Send: they may share whatever they like.
    let callback = Rc::new(move |what: &str| {
        let elapsed = clock.time() - start;
        println!("{:.0} s: {what}", elapsed.as_secs_f64());
    });
    let with = |what: &'static str| {
        let callback = Rc::clone(&callback);
        move || callback(what)
    };

    lp.call_at(
        start + Duration::from_secs(2),
        with("call_at, two seconds after the start"),
    );
    lp.call_later(Duration::from_secs(1), with("call_later, one second"));
    lp.call_later(Duration::from_secs(3), with("call_later, three seconds"));
    lp.call_soon(with("call_soon, the first"));
    lp.call_soon(with("call_soon, the second"));
    let cancelled = lp.call_soon(with("never called"));
    cancelled.cancel();

    // From another thread, only through a handle. The guard tells a virtual clock not to jump ahead of the thread.
    let handle = lp.handle();
    let under_way = handle.outstanding();
    let thread = thread::spawn(move || {
        let said =
            handle.call_soon_threadsafe(|| println!("0 s: call_soon_threadsafe, from a thread"));
        drop(under_way);
        said
    });

    let stop = lp.local();
    lp.call_later(Duration::from_secs(4), move || stop.stop());
    lp.run_forever()?;
    thread
        .join()
        .expect("the thread does not panic")
        .expect("the loop is open");
    Ok(())
}
