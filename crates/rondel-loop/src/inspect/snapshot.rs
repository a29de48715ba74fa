//! A loop as it is at one moment, in JSON: made on its own thread.

use std::time::Instant;

use super::json::Json;
use crate::metrics::Metrics;
use crate::metrics::histogram::Histogram;
use crate::state::LocalLoop;
use crate::task_graph::{TaskGraph, TaskNode};

/// No further tasks are looked at once so many, with the children of their groups, have been told of one by one. It is what bounds
/// the time for which the loop stands still.
const TASKS: usize = 2_500;

/// What was seen, and when.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) json: String,
    pub(super) taken: Instant,
    /// The loop had not looked around yet: of its tasks, only those are there that had been spawned by then.
    pub(super) first_turn: bool,
}

impl Snapshot {
    pub(super) fn of(local: &LocalLoop) -> Self {
        let graph = graph(local);
        let figures = local.metrics();
        let mut json = Json::new();
        json.object(|json| {
            metrics(json, &figures);
            tasks(json, &graph, figures.tasks_alive);
        });
        Self {
            json: json.finish(),
            taken: graph.taken(),
            first_turn: local.state().turns.get() == 0,
        }
    }
}

/// The tasks that are looked at.
pub(super) fn graph(local: &LocalLoop) -> TaskGraph {
    TaskGraph::of(local.state(), TASKS)
}

fn metrics(json: &mut Json, metrics: &Metrics) {
    json.name("metrics").object(|json| {
        json.field("tasks_spawned", metrics.tasks_spawned);
        json.field("tasks_alive", metrics.tasks_alive);
        json.field("tasks_cancelled", metrics.tasks_cancelled);
        json.field("cleanups", metrics.cleanups);
        json.field("ready", metrics.ready);
        json.field("timers", metrics.timers);
        json.field("descriptors", metrics.descriptors);
        json.field("watched", metrics.watched);
        json.field("received", metrics.received);
        json.field("sent", metrics.sent);
        json.field("pool_queued", metrics.pool_queued);
        json.field("pool_threads", metrics.pool_threads);
        json.field("turns", metrics.turns);
        json.field("busy", metrics.busy());
        histogram(json, "entry_time", &metrics.entry_time);
        histogram(json, "lag", &metrics.lag);
        histogram(json, "turn_time", &metrics.turn_time);
    });
}

fn histogram(json: &mut Json, name: &str, histogram: &Histogram) {
    json.name(name).object(|json| {
        json.field("count", histogram.count());
        json.field("p50", histogram.quantile(0.5));
        json.field("p99", histogram.quantile(0.99));
        json.field("max", histogram.max());
        json.name("buckets")
            .array(histogram.buckets(), |json, (longest, count)| {
                json.array([0, 1], |json, place| match place {
                    0 => json.number(longest),
                    _ => json.number(count),
                });
            });
    });
}

fn tasks(json: &mut Json, graph: &TaskGraph, alive: usize) {
    let told = graph.tasks();
    json.name("tasks").array(told, task);
    json.field("more_tasks", alive.saturating_sub(told.len()));
    json.name("deadlocks")
        .array(graph.deadlocks(), |json, deadlock| {
            json.object(|json| {
                json.field("certain", deadlock.is_certain());
                if let Some(standing) = deadlock.standing() {
                    json.field("standing", standing);
                }
                json.name("parties")
                    .array(deadlock.parties(), |json, party| {
                        json.object(|json| {
                            json.field("task", party.task().get());
                            json.text_field("name", &party.to_string());
                        });
                    });
            });
        });
}

fn task(json: &mut Json, node: &TaskNode) {
    let info = node.info();
    json.object(|json| {
        json.field("id", info.id().get());
        json.text_field("name", &info.name());
        json.text_field("site", &info.spawned_at().to_string());
        json.text_field(
            "state",
            if node.is_running() {
                "running"
            } else {
                "waiting"
            },
        );
        json.text_field("waits_for", node.waits_for());
        json.name("awaits")
            .array(node.awaits(), |json, id| json.number(id.get()));
        json.name("awaited_by")
            .array(node.awaited_by(), |json, id| json.number(id.get()));
        if let Some(account) = info.account() {
            json.field("polls", account.polls());
            json.field("spent", account.spent());
            json.field("longest", account.longest());
            if let Some(by) = account.spawned_by() {
                json.field("spawned_by", by.get());
            }
        }
        if let Some(age) = node.age() {
            json.field("age", age);
        }
        if let Some(idle) = node.idle() {
            json.field("idle", idle);
        }
        if let Some(counterpart) = node.counterpart() {
            json.field("counterpart", counterpart.get());
        }
        json.name("children").array(node.children(), |json, child| {
            json.object(|json| {
                json.text_field("name", child.info().name().unwrap_or(""));
                json.text_field("site", &child.info().spawned_at().to_string());
                json.text_field("waits_for", child.waits_for());
                if let Some(around) = node.child_around(child) {
                    let mut all = node.children().iter();
                    let place = all.position(|child| std::ptr::eq(child, around));
                    json.field("inside", place.unwrap_or_default());
                }
            });
        });
    });
}
