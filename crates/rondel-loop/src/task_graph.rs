//! What waits for what: the tasks of a loop, and who awaits whom.

mod call_graph;
mod deadlock;
mod describe;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use rondel_executor::{ChildInfo, TaskId, TaskInfo};

use crate::state::{LocalLoop, State};
pub use call_graph::{CallGraph, capture_call_graph};
pub use deadlock::{Deadlock, DeadlockParty};
use describe::{Describer, Target};

/// How many tasks that await each other are printed below each other.
const DEEPEST: usize = 64;

/// The tasks of a loop at one moment, and what each of them waits for; see [`LocalLoop::task_graph`].
///
/// Displayed, it is a forest: the tasks that nobody awaits, below each the tasks that it waits for, at the end the
/// [deadlocks](TaskGraph::deadlocks). asyncio: `python -m asyncio pstree`.
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
    /// Its name, and its number if others have the same.
    called: String,
    waits_for: String,
    target: Option<Target>,
    awaits: Vec<TaskId>,
    awaited_by: Vec<TaskId>,
    children: Vec<ChildNode>,
    age: Option<Duration>,
    idle: Option<Duration>,
    running: bool,
}

/// A child of a group: a part of its task, polled by it.
#[derive(Clone, Debug)]
pub struct ChildNode {
    info: ChildInfo,
    waits_for: String,
    target: Option<Target>,
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

    /// The tasks it waits for: the one it awaits, the one that holds the lock it wants, and others as far as they are noted; those
    /// that children of its groups wait for, too.
    pub fn awaits(&self) -> &[TaskId] {
        &self.awaits
    }

    /// The task that was the last to do what this one waits for: it put an item into the queue, took one out of the full one, set the
    /// event, notified, took the permits. Perhaps it is the one to do it again, perhaps another is; so it is not among those that are
    /// [awaited](TaskNode::awaits). `None` if it is not known, or has ended; [`waits_for`](TaskNode::waits_for) says so.
    pub fn counterpart(&self) -> Option<TaskId> {
        let target = self.target.filter(|target| !target.certain)?;
        (target.task != self.info.id()).then_some(target.task)
    }

    /// The tasks that wait for it.
    pub fn awaited_by(&self) -> &[TaskId] {
        &self.awaited_by
    }

    /// The children of its groups, while [accounts](LocalLoop::set_accounts) are kept.
    pub fn children(&self) -> &[ChildNode] {
        &self.children
    }

    /// Which of the [children](TaskNode::children) has the group that this one of them is in; `None` if the task itself has it.
    pub fn child_around(&self, child: &ChildNode) -> Option<&ChildNode> {
        let around = child.info.around();
        self.children
            .iter()
            .find(|child| child.info.number() == around)
    }

    /// The children of the groups that the child with this number has, 0 for the task, and theirs below them.
    fn write_children(&self, f: &mut fmt::Formatter<'_>, around: u64, depth: usize) -> fmt::Result {
        if depth > DEEPEST {
            return Ok(());
        }
        let indent = "   ".repeat(depth);
        for child in &self.children {
            let has_it = self.child_around(child);
            if has_it.map_or(0, |child| child.info.number()) == around {
                let (info, waits_for) = (&child.info, &child.waits_for);
                writeln!(f, "{indent}- {info}, waits for {waits_for}")?;
                self.write_children(f, info.number(), depth + 1)?;
            }
        }
        Ok(())
    }

    /// How long ago it was polled first, while accounts are kept.
    pub const fn age(&self) -> Option<Duration> {
        self.age
    }

    /// How long ago it was polled last, while accounts are kept.
    pub const fn idle(&self) -> Option<Duration> {
        self.idle
    }

    /// Whether it is the task that is running.
    pub const fn is_running(&self) -> bool {
        self.running
    }
}

/// `Task-3 spawned at src/main.rs:10:5, waits for time, 12 polls in 1.5ms, 10.0 s old, idle for 2.0 s`.
impl fmt::Display for TaskNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.info)?;
        if self.running {
            f.write_str("running")?;
        } else {
            write!(f, "waits for {}", self.waits_for)?;
        }
        if let Some(account) = self.info.account() {
            let polls = if account.polls() == 1 {
                "poll"
            } else {
                "polls"
            };
            write!(
                f,
                ", {} {polls} in {:.1?}",
                account.polls(),
                account.spent()
            )?;
        }
        if let Some(age) = self.age {
            write!(f, ", {:.1} s old", age.as_secs_f64())?;
        }
        if let Some(idle) = self.idle.filter(|_| !self.running) {
            write!(f, ", idle for {:.1} s", idle.as_secs_f64())?;
        }
        Ok(())
    }
}

impl LocalLoop {
    /// The tasks of the loop as they are now, with what each waits for and who awaits whom. Takes time in proportion to their
    /// number; asks the system for the peer of each socket that is waited for.
    ///
    /// A task that awaits another alone, or wants a lock, is always known to. Who awaits several tasks at once, who holds a
    /// lock, who put into a queue last, which children a group has, how often a task was polled: that is known while
    /// [accounts](LocalLoop::set_accounts) are kept.
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
            let targets = node.children.iter().map(|child| child.target);
            let targets = targets.chain([node.target]).flatten();
            let awaited = targets.filter(|target| target.certain);
            let awaited = awaited.filter_map(|target| self.place(target.task));
            edges.extend(awaited.map(|to| (place, to)));
            let by = node.info.awaited_by().iter();
            edges.extend(
                by.filter_map(|by| self.place(*by))
                    .map(|from| (from, place)),
            );
        }
        edges.sort_unstable();
        edges.dedup();
        // Between children of one task there is nothing for tasks to know.
        for (from, to) in edges.into_iter().filter(|(from, to)| from != to) {
            let ids = [from, to].map(|place| self.nodes[place].info.id());
            self.nodes[from].awaits.push(ids[1]);
            self.nodes[to].awaited_by.push(ids[0]);
        }
    }

    fn place(&self, id: TaskId) -> Option<usize> {
        self.by_id.get(&id).copied()
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

    /// The circles of tasks, and of children of their groups, that wait for each other; first those that are
    /// [certain](Deadlock::is_certain). Where circles meet in the same tasks, not all of them need be listed.
    ///
    /// ```
    /// use rondel_loop::{LocalLoop, spawn, yield_now};
    /// use rondel_sync::Lock;
    /// use std::rc::Rc;
    ///
    /// rondel_loop::run(async {
    ///     let local = LocalLoop::current().unwrap();
    ///     local.set_accounts(true);
    ///     let locks = [Rc::new(Lock::new()), Rc::new(Lock::new())];
    ///     for (name, one, other) in [("there", 0, 1), ("back", 1, 0)] {
    ///         let (one, other) = (locks[one].clone(), locks[other].clone());
    ///         let transfer = async move {
    ///             let _one = one.acquire().await;
    ///             yield_now().await;
    ///             let _other = other.acquire().await;
    ///         };
    ///         spawn(transfer).set_name(name);
    ///     }
    ///     for _ in 0..3 {
    ///         yield_now().await;
    ///     }
    ///     assert_eq!(
    ///         local.task_graph().deadlocks()[0].to_string(),
    ///         "deadlock: there -> back -> there"
    ///     );
    /// }).unwrap();
    /// ```
    pub fn deadlocks(&self) -> Vec<Deadlock> {
        deadlock::deadlocks(self)
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
        node.write_children(f, 0, depth + 1)?;
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
        for deadlock in self.deadlocks() {
            writeln!(f, "{deadlock}")?;
        }
        Ok(())
    }
}
