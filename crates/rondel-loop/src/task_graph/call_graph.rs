//! One task and all who, directly or through others, wait for it.

use std::collections::HashSet;
use std::fmt;

use rondel_executor::{Spawner, TaskId};

use super::{DEEPEST, TaskGraph, TaskNode};
use crate::current::{self, NoRunningLoop};
use crate::state::LocalLoop;

/// A task and those who await it, each with those who await them, at most 64 levels of them. asyncio: `FutureCallGraph`.
#[derive(Clone, Debug)]
pub struct CallGraph {
    task: TaskNode,
    awaited_by: Vec<Self>,
    /// It stands further up, with those who await it.
    again: bool,
    /// It is awaited by more, but that would lead too far.
    cut: bool,
}

/// The call graph of `task`, or of the running task for `None`. asyncio: `capture_call_graph`; printed, it is
/// `format_call_graph`.
///
/// `Ok(None)` if there is no such task: it has ended, or no task is running.
///
/// # Errors
/// [`NoRunningLoop`] outside tasks and callbacks.
///
/// ```
/// use rondel_loop::{capture_call_graph, spawn, yield_now};
///
/// rondel_loop::run(async {
///     let inner = spawn(async {
///         yield_now().await;
///         capture_call_graph(None).unwrap().unwrap()
///     })
///     .named("inner");
///     let outer = spawn(async { inner.await.unwrap() }).named("outer");
///     let graph = outer.await.unwrap();
///     assert_eq!(graph.task().info().name(), "inner");
///     assert_eq!(graph.awaited_by()[0].task().info().name(), "outer");
///     println!("{graph}");
/// }).unwrap();
/// ```
#[doc(alias = "format_call_graph")]
#[doc(alias = "print_call_graph")]
pub fn capture_call_graph(task: Option<TaskId>) -> Result<Option<CallGraph>, NoRunningLoop> {
    let local = current::get("capture_call_graph")?;
    let Some(id) = task.or_else(Spawner::current_task_id) else {
        return Ok(None);
    };
    Ok(local.call_graph(id))
}

impl LocalLoop {
    /// The task with this number, and all who wait for it; `None` if it is not alive. asyncio: `capture_call_graph(task)`.
    pub fn call_graph(&self, task: TaskId) -> Option<CallGraph> {
        let graph = self.task_graph();
        let node = graph.get(task)?;
        Some(CallGraph::of(&graph, node, &mut HashSet::new(), 0))
    }
}

impl CallGraph {
    fn of(graph: &TaskGraph, node: &TaskNode, seen: &mut HashSet<TaskId>, depth: usize) -> Self {
        let again = !seen.insert(node.info.id());
        let cut = depth >= DEEPEST && !node.awaited_by().is_empty();
        let by = if again || cut {
            &[][..]
        } else {
            node.awaited_by()
        };
        Self {
            task: node.clone(),
            awaited_by: by
                .iter()
                .filter_map(|by| graph.get(*by))
                .map(|by| Self::of(graph, by, seen, depth + 1))
                .collect(),
            again,
            cut,
        }
    }

    /// The task.
    pub const fn task(&self) -> &TaskNode {
        &self.task
    }

    /// Who awaits it.
    pub fn awaited_by(&self) -> &[Self] {
        &self.awaited_by
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = "      ".repeat(depth);
        if self.again {
            return writeln!(f, "{indent}* {} (see above)", self.task.info.name());
        }
        writeln!(f, "{indent}* {}", self.task.info)?;
        if self.task.running {
            writeln!(f, "{indent}  + Running")?;
        } else {
            writeln!(f, "{indent}  + Waits for: {}", self.task.waits_for)?;
        }
        if let (Some(account), Some(age)) = (self.task.info.account(), self.task.age) {
            let (polls, spent) = (account.polls(), account.spent());
            let age = age.as_secs_f64();
            let times = if polls == 1 { "time" } else { "times" };
            writeln!(
                f,
                "{indent}  + Polled {polls} {times} in {spent:.1?}, {age:.1} s old"
            )?;
        }
        for child in &self.task.children {
            writeln!(
                f,
                "{indent}  + Child: {}, waits for {}",
                child.info, child.waits_for
            )?;
        }
        if self.cut {
            writeln!(f, "{indent}  + Awaited by others, and so on")?;
        }
        if !self.awaited_by.is_empty() {
            writeln!(f, "{indent}  + Awaited by:")?;
            for by in &self.awaited_by {
                by.write(f, depth + 1)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CallGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}
