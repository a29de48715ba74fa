//! What a program says of itself.

use serde::Deserialize;

/// The answer to `snapshot`.
#[derive(Debug, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) loops: Vec<Loop>,
}

/// One loop of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Loop {
    pub(crate) thread: String,
    /// Whether the loop itself has just answered; if not, it is blocked.
    pub(crate) fresh: bool,
    pub(crate) running: Option<Running>,
    /// How old the snapshot is, in seconds.
    #[serde(default)]
    pub(crate) age: f64,
    /// Whether it was made before the loop looked around for the first time.
    #[serde(default)]
    pub(crate) first_turn: bool,
    pub(crate) snapshot: Option<Snapshot>,
}

/// What blocks it.
#[derive(Debug, Deserialize)]
pub(crate) struct Running {
    pub(crate) name: Option<String>,
    pub(crate) site: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Vec<Task>,
    #[serde(default)]
    pub(crate) more_tasks: u64,
    #[serde(default)]
    pub(crate) deadlocks: Vec<Deadlock>,
}

/// Those who wait for each other in a circle.
#[derive(Debug, Deserialize)]
pub(crate) struct Deadlock {
    pub(crate) certain: bool,
    /// For how long nothing has happened, in seconds.
    pub(crate) standing: Option<f64>,
    pub(crate) parties: Vec<Party>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Party {
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Metrics {
    pub(crate) tasks_spawned: u64,
    pub(crate) tasks_alive: u64,
    pub(crate) tasks_cancelled: u64,
    pub(crate) ready: u64,
    pub(crate) timers: u64,
    pub(crate) descriptors: u64,
    pub(crate) turns: u64,
    /// For how long entries have run, in seconds.
    pub(crate) busy: f64,
    pub(crate) entry_time: Times,
    pub(crate) lag: Times,
}

/// How long something took, in seconds.
#[derive(Debug, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) site: String,
    pub(crate) state: String,
    pub(crate) waits_for: String,
    #[serde(default)]
    pub(crate) awaits: Vec<u64>,
    #[serde(default)]
    pub(crate) awaited_by: Vec<u64>,
    pub(crate) polls: Option<u64>,
    /// In seconds, as the next.
    pub(crate) spent: Option<f64>,
    pub(crate) age: Option<f64>,
    pub(crate) idle: Option<f64>,
    #[serde(default)]
    pub(crate) children: Vec<Child>,
}

/// A child of a group.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) site: String,
    pub(crate) waits_for: String,
    /// The place of the child around it.
    pub(crate) inside: Option<usize>,
}

impl Task {
    pub(crate) fn state(&self) -> String {
        if self.state == "running" {
            "running".into()
        } else {
            self.waits_for.clone()
        }
    }
}

impl Loop {
    /// What stands above everything else that is said of the loop.
    pub(crate) fn headline(&self) -> String {
        let thread = if self.thread.is_empty() {
            "a thread without a name".into()
        } else {
            format!("thread {:?}", self.thread)
        };
        if self.fresh {
            return format!("loop on {thread}");
        }
        let by = match &self.running {
            Some(Running {
                name: Some(name),
                site,
            }) => format!("blocked by {name:?} spawned at {site}"),
            Some(Running { name: None, site }) => {
                format!("blocked by a callback scheduled at {site}")
            }
            None => "it does not answer, and runs nothing: not turning, or just about to".into(),
        };
        match &self.snapshot {
            Some(_) if self.first_turn => format!(
                "loop on {thread}: {by}, in its first turn; what follows is {} old, and not all",
                span(self.age)
            ),
            Some(_) => format!(
                "loop on {thread}: {by}; what follows is {} old",
                span(self.age)
            ),
            None => format!("loop on {thread}: {by}; nothing else is known of it"),
        }
    }
}

/// Seconds, as people read them.
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 0.000_001 => format!("{:.0} ns", s * 1e9),
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
