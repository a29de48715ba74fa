//! A loop's figures for exporters, by way of the crate `metrics`.

use std::time::Duration;

use metrics::{counter, gauge};

use super::Metrics;
use super::histogram::Histogram;

impl Metrics {
    /// Hands the figures to the recorder that the program has installed, each labelled with the `loop` it is of: call it every few
    /// seconds, from an [`interval`](crate::interval), say. Without a recorder it does nothing.
    ///
    /// Counts are counters (`rondel_tasks_spawned`, `rondel_tasks_cancelled`, `rondel_bytes_received`, `rondel_bytes_sent`,
    /// `rondel_turns`, `rondel_busy_microseconds`, `rondel_pool_jobs`, `rondel_pool_waited_microseconds`), what goes up and down is a
    /// gauge (`rondel_tasks_alive`, `rondel_cleanups`, `rondel_ready`, `rondel_timers`, `rondel_descriptors`,
    /// `rondel_pool_queued`, `rondel_pool_threads`), and so are the quantiles of times, in seconds: `rondel_lag`, `rondel_entry_time` and
    /// `rondel_turn_time`, each labelled with its `quantile`.
    ///
    /// ```
    /// rondel_loop::run(async {
    ///     rondel_loop::LocalLoop::current().unwrap().metrics().record("main");
    /// }).unwrap();
    /// ```
    pub fn record(&self, of_loop: &str) {
        let label = || of_loop.to_owned();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        for (name, count) in [
            ("rondel_tasks_spawned", self.tasks_spawned),
            ("rondel_tasks_cancelled", self.tasks_cancelled),
            ("rondel_bytes_received", self.received),
            ("rondel_bytes_sent", self.sent),
            ("rondel_turns", self.turns),
            ("rondel_busy_microseconds", micros(self.busy())),
            ("rondel_pool_jobs", self.pool_waited.1),
            (
                "rondel_pool_waited_microseconds",
                micros(self.pool_waited.0),
            ),
        ] {
            counter!(name, "loop" => label()).absolute(count);
        }
        #[allow(clippy::cast_precision_loss, reason = "a gauge has no other type")]
        for (name, value) in [
            ("rondel_tasks_alive", self.tasks_alive),
            ("rondel_cleanups", self.cleanups),
            ("rondel_ready", self.ready),
            ("rondel_timers", self.timers),
            ("rondel_descriptors", self.descriptors),
            ("rondel_pool_queued", self.pool_queued),
            ("rondel_pool_threads", self.pool_threads),
        ] {
            gauge!(name, "loop" => label()).set(value as f64);
        }
        let quantiles = |name: &'static str, times: &Histogram| {
            for (quantile, share) in [("0.5", 0.5), ("0.99", 0.99), ("1", 1.0)] {
                let time = times.quantile(share).as_secs_f64();
                gauge!(name, "loop" => label(), "quantile" => quantile).set(time);
            }
        };
        quantiles("rondel_lag", &self.lag);
        quantiles("rondel_entry_time", &self.entry_time);
        quantiles("rondel_turn_time", &self.turn_time);
    }
}
