//! Reports that nobody handles go to `tracing`, once the program has a subscriber.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use rondel::prelude::*;
use rondel::{LocalLoop, Watchdog};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down the events of rondel, a line each.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Message<'t>(&'t mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "rondel"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = format!("{}: ", event.metadata().level());
        event.record(&mut Message(&mut line));
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn what_nobody_handles_is_an_event() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let seen = |words: &str| {
        lines
            .0
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(words))
    };
    run(async {
        let local = LocalLoop::current().unwrap();
        local.set_slow_callback_duration(Duration::ZERO);
        local.set_debug(true);
        spawn(async { panic!("on the stairs") }).detach();
        yield_now().await;
        local.set_watchdog(Some(Watchdog::new().limit(Duration::from_millis(5))));
        // Until the watchdog has said so.
        let said = lines.clone();
        spawn(async move {
            while !said
                .0
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.contains("has been blocked"))
            {}
        })
        .await
        .unwrap();
    })
    .unwrap();
    assert!(seen(
        "ERROR: a task panicked, and nobody awaits it: on the stairs"
    ));
    assert!(seen("WARN: executing Task-2 spawned at "));
    assert!(seen(
        "WARN: the loop on thread \"what_nobody_handles_is_an_event\" has been blocked for "
    ));
}
