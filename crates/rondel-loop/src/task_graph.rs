//! What waits for what: the tasks of a loop, and who awaits whom.

mod call_graph;
mod cycles;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use rondel_executor::{ChildInfo, TaskId, TaskInfo, Waits};
use rondel_sync::label;

use crate::local::LocalLoop;
use crate::state::State;
pub use call_graph::{CallGraph, capture_call_graph};

/// How many tasks that await each other are printed below each other.
const DEEPEST: usize = 64;

/// The tasks of a loop at one moment, and what each of them waits for; see [`LocalLoop::task_graph`].
///
/// Displayed, it is a forest: the tasks that nobody awaits, below each the tasks that it waits for, at the end the
/// [cycles](TaskGraph::cycles). asyncio: `python -m asyncio pstree`.
#[derive(Clone, Debug)]
pub struct TaskGraph {
    nodes: Vec<TaskNode>,
    by_id: HashMap<TaskId, usize>,
    taken: Instant,
}

/// A task in a [`TaskGraph`].
#[derive(Clone, Debug)]
pub struct TaskNode {
    info: TaskInfo,
    waits_for: String,
    awaits: Vec<TaskId>,
    awaited_by: Vec<TaskId>,
    children: Vec<ChildNode>,
    age: Option<Duration>,
    running: bool,
}

/// A child of a group: a part of its task, polled by it.
#[derive(Clone, Debug)]
pub struct ChildNode {
    info: ChildInfo,
    waits_for: String,
}

impl ChildNode {
    /// What is known of the child itself.
    pub const fn info(&self) -> &ChildInfo {
        &self.info
    }

    /// What it waits for, in words.
    pub fn waits_for(&self) -> &str {
        &self.waits_for
    }
}

impl TaskNode {
    /// What is known of the task itself.
    pub const fn info(&self) -> &TaskInfo {
        &self.info
    }

    /// What it waits for, in words: `time`, `Task-3`, `descriptor 7, connected to 127.0.0.1:80, to become readable`.
    pub fn waits_for(&self) -> &str {
        &self.waits_for
    }

    /// The tasks it waits for: the one it awaits, the one that holds the lock it wants, and others as far as they are noted.
    pub fn awaits(&self) -> &[TaskId] {
        &self.awaits
    }

    /// The tasks that wait for it.
    pub fn awaited_by(&self) -> &[TaskId] {
        &self.awaited_by
    }

    /// The children of its groups, while [accounts](LocalLoop::set_accounts) are kept.
    pub fn children(&self) -> &[ChildNode] {
        &self.children
    }

    /// How long ago it was polled first, while accounts are kept.
    pub const fn age(&self) -> Option<Duration> {
        self.age
    }

    /// Whether it is the task that is running.
    pub const fn is_running(&self) -> bool {
        self.running
    }
}

/// `Task-3 spawned at src/main.rs:10:5, waits for time, 12 polls, 1.5ms, for 2 s`.
impl fmt::Display for TaskNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.info)?;
        if self.running {
            f.write_str("running")?;
        } else {
            write!(f, "waits for {}", self.waits_for)?;
        }
        if let Some(account) = self.info.account() {
            write!(f, ", {} polls in {:?}", account.polls(), account.spent())?;
        }
        if let Some(age) = self.age {
            write!(f, ", {:.1} s old", age.as_secs_f64())?;
        }
        Ok(())
    }
}

impl LocalLoop {
    /// The tasks of the loop as they are now, with what each waits for and who awaits whom. Takes time in proportion to their
    /// number; asks the system for the peer of each socket that is waited for.
    ///
    /// A task that awaits another alone, or wants a lock, is always known to. Who awaits several tasks at once, who holds a
    /// lock, which children a group has, how often a task was polled: that is known while [accounts](LocalLoop::set_accounts)
    /// are kept, or debug mode is on. Who holds a lock, in release builds, only with the feature `holders`.
    ///
    /// ```
    /// use rondel_loop::{LocalLoop, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// rondel_loop::run(async {
    ///     let sleeper = spawn(rondel_loop::sleep(Duration::from_secs(60))).named("sleeper");
    ///     let id = sleeper.id();
    ///     let waiter = spawn(sleeper).named("waiter");
    ///     yield_now().await;
    ///     let graph = LocalLoop::current().unwrap().task_graph();
    ///     let node = graph.get(id).unwrap();
    ///     assert_eq!(node.waits_for(), "time");
    ///     assert_eq!(node.awaited_by(), [waiter.id()]);
    ///     println!("{graph}");
    ///     waiter.cancel();
    /// }).unwrap();
    /// ```
    pub fn task_graph(&self) -> TaskGraph {
        TaskGraph::of(self.state(), usize::MAX)
    }
}

impl TaskGraph {
    /// The graph of all tasks, or of the first ones: no further ones are looked at once there are `most`, the children of their
    /// groups counted with them.
    pub(crate) fn of(state: &State, most: usize) -> Self {
        let taken = Instant::now();
        let running = rondel_executor::Spawner::current_task_id();
        let infos = state.executor.spawner().tasks_up_to(most);
        let told: usize = infos.iter().map(|info| 1 + info.children().len()).sum();
        let by_id: HashMap<_, _> = infos
            .iter()
            .enumerate()
            .map(|(place, info)| (info.id(), place))
            .collect();
        let nodes = Describer::new(state, &infos, told >= most).nodes(taken, running);
        let mut graph = Self {
            nodes,
            by_id,
            taken,
        };
        graph.join_edges();
        graph
    }

    /// Edges are noted at either end; makes both ends know. One lock may have very many who want it, so nothing here asks a task
    /// whether it knows already.
    fn join_edges(&mut self) {
        let mut edges = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let place_of = |id: &TaskId| self.by_id.get(id).copied();
            edges.extend(
                node.awaits
                    .iter()
                    .filter_map(place_of)
                    .map(|to| (place, to)),
            );
            let by = node.info.awaited_by().iter();
            edges.extend(by.filter_map(place_of).map(|from| (from, place)));
        }
        edges.sort_unstable();
        edges.dedup();
        for node in &mut self.nodes {
            node.awaits.clear();
        }
        for (from, to) in edges {
            let ids = [from, to].map(|place| self.nodes[place].info.id());
            self.nodes[from].awaits.push(ids[1]);
            self.nodes[to].awaited_by.push(ids[0]);
        }
    }

    /// Every task, in the order of [`LocalLoop::tasks`].
    pub fn tasks(&self) -> &[TaskNode] {
        &self.nodes
    }

    /// The task with this number.
    pub fn get(&self, id: TaskId) -> Option<&TaskNode> {
        self.by_id.get(&id).map(|place| &self.nodes[*place])
    }

    /// When it was taken.
    pub const fn taken(&self) -> Instant {
        self.taken
    }

    /// The tasks that nobody in the graph awaits.
    pub fn roots(&self) -> impl Iterator<Item = &TaskNode> {
        self.nodes.iter().filter(|node| node.awaited_by.is_empty())
    }

    /// The circles of tasks that wait for each other, each once, from the task with the lowest number: as a rule, deadlocks. One
    /// that waits for several tasks at once and needs only one of them can be in a circle and still go on.
    pub fn cycles(&self) -> Vec<Vec<TaskId>> {
        cycles::cycles(&self.nodes, &self.by_id)
    }

    fn name(&self, id: TaskId) -> String {
        self.get(id)
            .map_or_else(|| format!("Task-{id}"), |node| node.info.name())
    }

    fn write_tree(
        &self,
        f: &mut fmt::Formatter<'_>,
        node: &TaskNode,
        depth: usize,
        shown: &mut [bool],
    ) -> fmt::Result {
        let indent = "   ".repeat(depth);
        if depth > DEEPEST {
            return writeln!(f, "{indent}* and so on");
        }
        let Some(place) = self.by_id.get(&node.info.id()) else {
            return Ok(());
        };
        if std::mem::replace(&mut shown[*place], true) {
            return writeln!(f, "{indent}* {} (see above)", node.info.name());
        }
        writeln!(f, "{indent}* {node}")?;
        for child in &node.children {
            writeln!(
                f,
                "{indent}   - {}, waits for {}",
                child.info, child.waits_for
            )?;
        }
        for awaited in &node.awaits {
            if let Some(awaited) = self.get(*awaited) {
                self.write_tree(f, awaited, depth + 1, shown)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for TaskGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = vec![false; self.nodes.len()];
        for root in self.roots() {
            self.write_tree(f, root, 0, &mut shown)?;
        }
        // What is left is on circles, or awaited from there.
        for (place, node) in self.nodes.iter().enumerate() {
            if !shown[place] {
                self.write_tree(f, node, 0, &mut shown)?;
            }
        }
        for cycle in self.cycles() {
            let names: Vec<_> = cycle.iter().map(|id| self.name(*id)).collect();
            writeln!(f, "deadlock: {} -> {}", names.join(" -> "), names[0])?;
        }
        Ok(())
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn low_half(id: TaskId) -> u32 {
    id.get() as u32
}

/// Puts labels into words.
struct Describer<'a> {
    state: &'a State,
    infos: &'a [TaskInfo],
    by_low_half: HashMap<u32, &'a TaskInfo>,
    /// There may be more tasks than these.
    cut: bool,
}

impl<'a> Describer<'a> {
    fn new(state: &'a State, infos: &'a [TaskInfo], cut: bool) -> Self {
        let by_low_half = infos.iter().map(|info| (low_half(info.id()), info));
        Self {
            state,
            infos,
            by_low_half: by_low_half.collect(),
            cut,
        }
    }

    fn nodes(&self, taken: Instant, running: Option<TaskId>) -> Vec<TaskNode> {
        let infos = self.infos.iter();
        infos.map(|info| self.node(info, taken, running)).collect()
    }

    fn node(&self, info: &TaskInfo, taken: Instant, running: Option<TaskId>) -> TaskNode {
        let (waits_for, awaited) = self.label(info.waits(), info.waits_on());
        let children = info.children().iter().map(|child| ChildNode {
            waits_for: self.label(child.waits(), child.waits_on()).0,
            info: child.clone(),
        });
        let since = info.account().and_then(|account| account.since());
        TaskNode {
            age: since.map(|since| taken.saturating_duration_since(since)),
            running: running == Some(info.id()),
            awaits: awaited.into_iter().collect(),
            awaited_by: Vec::new(),
            waits_for,
            children: children.collect(),
            info: info.clone(),
        }
    }

    /// A label in words, and the task that it leads to.
    fn label(&self, waits: Waits, on: u32) -> (String, Option<TaskId>) {
        match waits {
            Waits::TASK => match self.by_low_half.get(&on) {
                Some(info) => (info.name(), Some(info.id())),
                None if self.cut && on != 0 => ("a task that is not shown".into(), None),
                None => ("tasks".into(), None),
            },
            Waits::LOCK => {
                let holder = label::holder(on);
                let known = holder.and_then(|holder| self.find(holder));
                let words = match (known, holder) {
                    (Some(known), _) => format!("a lock (#{on:x}) held by {}", known.name()),
                    (None, Some(holder)) if self.cut => {
                        format!("a lock (#{on:x}) held by task {holder}")
                    }
                    (None, _) => format!("a lock (#{on:x})"),
                };
                (words, known.map(TaskInfo::id))
            }
            Waits::READABLE | Waits::WRITABLE => {
                let source = self.state.sources.borrow().describe(on as usize);
                let source = source.unwrap_or_else(|| "a descriptor".into());
                let what = if waits == Waits::READABLE {
                    "readable"
                } else {
                    "writable"
                };
                (format!("{source}, to become {what}"), None)
            }
            Waits::PROCESS => (format!("process {on}"), None),
            Waits::SIGNAL => (format!("signal {on}"), None),
            Waits::PERMITS
            | Waits::EVENT
            | Waits::NOTIFICATION
            | Waits::BARRIER
            | Waits::ITEM
            | Waits::ROOM
            | Waits::JOINED => (format!("{waits} (#{on:x})"), None),
            other => (other.to_string(), None),
        }
    }

    fn find(&self, id: u64) -> Option<&'a TaskInfo> {
        #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let found = self.by_low_half.get(&(id as u32)).copied();
        found.filter(|found| found.id().get() == id)
    }
}
