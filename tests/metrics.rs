//! A loop's figures reach the recorder of the crate `metrics`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use rondel::LocalLoop;
use rondel::prelude::*;

/// The latest value of everything, by name and labels.
#[derive(Clone, Default)]
struct Latest(Arc<Mutex<HashMap<String, f64>>>);

struct Cell(Latest, String);

impl Cell {
    fn set(&self, value: f64) {
        self.0.0.lock().unwrap().insert(self.1.clone(), value);
    }
}

impl CounterFn for Cell {
    fn increment(&self, _: u64) {
        unreachable!("counts are absolute");
    }

    #[allow(clippy::cast_precision_loss)]
    fn absolute(&self, value: u64) {
        self.set(value as f64);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, _: f64) {
        unreachable!("gauges are set");
    }

    fn decrement(&self, _: f64) {
        unreachable!("gauges are set");
    }

    fn set(&self, value: f64) {
        Self::set(self, value);
    }
}

impl Latest {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::new(Cell(self.clone(), name))
    }
}

impl Recorder for Latest {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn figures_reach_the_recorder_with_the_name_of_the_loop() {
    let latest = Latest::default();
    run(async {
        let local = LocalLoop::current().unwrap();
        local.set_accounts(true);
        let task = spawn(sleep(Duration::from_millis(2)));
        task.done().await;
        let idle = spawn(sleep(Duration::from_secs(3600)));
        yield_now().await;
        let metrics = local.metrics();
        metrics::with_local_recorder(&latest, || metrics.record("main"));
        idle.cancel();
    })
    .unwrap();
    let values = latest.0.lock().unwrap();
    let value = |name: &str| {
        *values
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {values:?}"))
    };
    assert!((value("rondel_tasks_spawned{loop=main}") - 3.0).abs() < 0.1);
    assert!((value("rondel_tasks_alive{loop=main}") - 2.0).abs() < 0.1);
    assert!((value("rondel_timers{loop=main}") - 1.0).abs() < 0.1);
    assert!(value("rondel_entry_time{loop=main,quantile=1}") > 0.0);
    assert!(value("rondel_turns{loop=main}") > 0.0);
}
