//! The program itself.

use rondel::prelude::*;
use rondel::sync::Lock;
use std::error::Error;
use std::io::Read;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    // ANCHOR: subscriber
    let mut console = console_subscriber::ConsoleLayer::builder()
        .with_default_env()
        .publish_interval(Duration::from_millis(100));
    if let Some(path) = std::env::args_os().nth(1) {
        console = console.server_addr(PathBuf::from(path));
    }
    // Before the loop: what was spawned earlier has no spans.
    tracing_subscriber::registry().with(console.spawn()).init();
    // ANCHOR_END: subscriber

    run(async {
        let table = Rc::new(Lock::new());

        // Wakes itself three times, and ends.
        let polite = spawn(async {
            for _ in 0..3 {
                yield_now().await;
            }
        });
        polite.named("polite").await?;

        // Has the lock, and will not let go of it.
        let held = Rc::clone(&table);
        let owner = spawn(async move {
            let _table = held.acquire().await;
            std::future::pending::<()>().await;
        });
        let owner = owner.named("owner");

        // Waits for the one above.
        let guest = spawn(async move {
            let _table = table.acquire().await;
        });
        let guest = guest.named("guest");

        // Sleeps again and again.
        let clock = spawn(async {
            let mut ticks = interval(Duration::from_millis(200));
            loop {
                ticks.tick().await;
                sleep(Duration::from_millis(20)).await;
            }
        });
        let clock = clock.named("clock");

        // Woken by another thread, one of a pool: when a line has been typed.
        let line = spawn(async {
            let read = to_thread(|| std::io::stdin().read_line(&mut String::new()));
            read.await
        });
        line.named("until a line is typed").await???;
        println!("and now Ctrl-D, or Ctrl-C");
        to_thread(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;

        for task in [owner, guest, clock] {
            task.cancel();
        }
        Ok(())
    })?
}
