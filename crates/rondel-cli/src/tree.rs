//! `pstree`: the tasks that nobody awaits, and below each the ones it waits for.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use crate::snapshot::{Deadlock, Loop, Process, Snapshot, Task, span};

/// How far down is drawn.
const DEEPEST: usize = 64;

/// The trees of all loops, each loop under its headline.
pub(crate) fn trees(process: &Process) -> String {
    let mut text = String::new();
    for one in &process.loops {
        of_loop(&mut text, one);
    }
    text
}

fn of_loop(text: &mut String, one: &Loop) {
    // Writing to a string does not fail, here and below.
    let _ = writeln!(text, "{}", one.headline());
    let Some(snapshot) = &one.snapshot else {
        return;
    };
    let mut tree = Tree::of(snapshot);
    let roots: Vec<_> = snapshot
        .tasks
        .iter()
        .filter(|task| !task.awaited_by.iter().any(|by| tree.by_id.contains_key(by)))
        .collect();
    for root in roots {
        tree.draw(text, root, "", 0);
    }
    // What is left is on circles, or awaited from there.
    for task in &snapshot.tasks {
        if !tree.drawn.contains(&task.id) {
            tree.draw(text, task, "", 0);
        }
    }
    if snapshot.more_tasks > 0 {
        let _ = writeln!(text, "and {} more", snapshot.more_tasks);
    }
    for deadlock in &snapshot.deadlocks {
        let _ = writeln!(text, "{}", line(deadlock));
    }
}

/// A deadlock, in a line.
pub(crate) fn line(deadlock: &Deadlock) -> String {
    let parties = deadlock.parties.iter().chain(deadlock.parties.first());
    let names: Vec<_> = parties.map(|party| party.name.as_str()).collect();
    let names = names.join(" -> ");
    match deadlock.standing {
        _ if deadlock.certain => format!("deadlock: {names}"),
        Some(standing) => format!("perhaps a deadlock, for {}: {names}", span(standing)),
        None => format!("perhaps a deadlock: {names}"),
    }
}

struct Tree<'s> {
    by_id: HashMap<u64, &'s Task>,
    drawn: HashSet<u64>,
}

impl<'s> Tree<'s> {
    fn of(snapshot: &'s Snapshot) -> Self {
        Self {
            by_id: snapshot.tasks.iter().map(|task| (task.id, task)).collect(),
            drawn: HashSet::new(),
        }
    }

    fn draw(&mut self, text: &mut String, task: &'s Task, indent: &str, depth: usize) {
        if depth > DEEPEST {
            let _ = writeln!(text, "{indent}and so on");
            return;
        }
        if !self.drawn.insert(task.id) {
            let _ = writeln!(text, "{indent}{} (see above)", task.name);
            return;
        }
        let age = task.age.map(|age| format!(", {} old", span(age)));
        let idle = task.idle.map(|idle| format!(", idle for {}", span(idle)));
        let idle = idle.filter(|_| task.state != "running");
        let state = if task.state == "running" {
            "running".into()
        } else {
            format!("waits for {}", task.waits_for)
        };
        let _ = writeln!(
            text,
            "{indent}{} [{}]: {state}{}{}, spawned at {}",
            task.name,
            task.id,
            age.unwrap_or_default(),
            idle.unwrap_or_default(),
            task.site
        );
        let below = format!("{indent}   ");
        draw_children(text, task, None, &below, depth + 1);
        for awaited in &task.awaits {
            if let Some(awaited) = self.by_id.get(awaited).copied() {
                self.draw(text, awaited, &below, depth + 1);
            }
        }
    }
}

/// The children of the groups that the child at this place has, or the task, and theirs below them.
fn draw_children(
    text: &mut String,
    task: &Task,
    inside: Option<usize>,
    indent: &str,
    depth: usize,
) {
    if depth > DEEPEST {
        return;
    }
    let here = task.children.iter().enumerate();
    for (place, child) in here.filter(|(_, child)| child.inside == inside) {
        let name = if child.name.is_empty() {
            "a child"
        } else {
            &child.name
        };
        let _ = writeln!(
            text,
            "{indent}- {name}: waits for {}, spawned at {}",
            child.waits_for, child.site
        );
        let below = format!("{indent}   ");
        draw_children(text, task, Some(place), &below, depth + 1);
    }
}
