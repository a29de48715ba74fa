//! What a program says of itself.

use serde::{Deserialize, Deserializer};

/// A text of the program's, which may have been made to play with the terminal: without control characters.
fn printable<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    let text = String::deserialize(text)?;
    if !text.contains(char::is_control) {
        return Ok(text);
    }
    let shown = text.chars().map(|c| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    });
    Ok(shown.collect())
}

fn printable_if_any<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    printable(text).map(Some)
}

/// The answer to `snapshot`.
#[derive(Debug, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) loops: Vec<Loop>,
}

/// One loop of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Loop {
    #[serde(deserialize_with = "printable")]
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
    #[serde(default, deserialize_with = "printable_if_any")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "printable")]
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
    #[serde(deserialize_with = "printable")]
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
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    /// How long at most, and how often.
    #[serde(default)]
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Times {
    /// What has come since `before`: to an eighth, the longest, too.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let known = |longest: f64| {
            let mut all = before.buckets.iter();
            all.find(|(end, _)| *end == longest)
                .map_or(0, |(_, count)| *count)
        };
        let came = self.buckets.iter();
        let buckets: Vec<_> = came
            .map(|(longest, count)| (*longest, count.saturating_sub(known(*longest))))
            .filter(|(_, count)| *count > 0)
            .collect();
        let all: u64 = buckets.iter().map(|(_, count)| count).sum();
        let within = |percent: u64| {
            let mut left = (all * percent).div_ceil(100);
            let mut longest = 0.0;
            for (end, count) in &buckets {
                longest = *end;
                left = left.saturating_sub(*count);
                if left == 0 {
                    break;
                }
            }
            longest
        };
        Self {
            p50: within(50),
            p99: within(99),
            max: within(100),
            buckets,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: u64,
    #[serde(deserialize_with = "printable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "printable")]
    pub(crate) site: String,
    pub(crate) state: String,
    #[serde(deserialize_with = "printable")]
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
    #[serde(deserialize_with = "printable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "printable")]
    pub(crate) site: String,
    #[serde(deserialize_with = "printable")]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_play_with_the_terminal() {
        let child = r#"{"name": "a\u001b[2Jb\nc", "site": "x.rs:1:1", "waits_for": "time"}"#;
        let child: Child = serde_json::from_str(child).unwrap();
        assert_eq!(child.name, "a\\u{1b}[2Jb\\nc");
    }

    #[test]
    fn what_has_come_since() {
        let times = |buckets: &[(f64, u64)]| Times {
            buckets: buckets.to_vec(),
            ..Times::default()
        };
        let before = times(&[(0.001, 100), (0.5, 1)]);
        let now = times(&[(0.001, 150), (0.002, 49), (0.01, 1), (0.5, 1)]);
        let since = now.since(&before);
        assert_eq!((since.p50, since.p99, since.max), (0.001, 0.002, 0.01));
        assert_eq!(now.since(&now).max, 0.0, "nothing");
    }
}
