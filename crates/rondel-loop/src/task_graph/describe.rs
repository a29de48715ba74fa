//! What a task waits for, from its label: in words, and whom it leads to.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rondel_executor::{TaskId, TaskInfo, Waits};
use rondel_sync::label;

use super::{ChildNode, TaskNode};
use crate::state::State;

/// Whom somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) task: TaskId,
    /// The number of a child of one of the task's groups; 0 for the task outside of them.
    pub(super) child: u64,
    /// It is this one; otherwise perhaps another does what is waited for.
    pub(super) certain: bool,
}

/// Puts labels into words.
pub(super) struct Describer<'a> {
    state: &'a State,
    infos: &'a [TaskInfo],
    by_low_half: HashMap<u32, &'a TaskInfo>,
    /// The names that several tasks have.
    ambiguous: HashSet<String>,
    /// There may be more tasks than these.
    cut: bool,
}

#[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn low_half(id: u64) -> u32 {
    id as u32
}

impl<'a> Describer<'a> {
    pub(super) fn new(state: &'a State, infos: &'a [TaskInfo], cut: bool) -> Self {
        let by_low_half = infos.iter().map(|info| (low_half(info.id().get()), info));
        let mut seen = HashSet::new();
        let names = infos.iter().map(TaskInfo::name);
        let ambiguous = names.filter(|name| !seen.insert(name.clone())).collect();
        Self {
            state,
            infos,
            by_low_half: by_low_half.collect(),
            ambiguous,
            cut,
        }
    }

    /// A task's name; with its number, if others have the same.
    fn called(&self, info: &TaskInfo) -> String {
        let name = info.name();
        if self.ambiguous.contains(&name) {
            format!("{name} [{}]", info.id())
        } else {
            name
        }
    }

    pub(super) fn nodes(&self, taken: Instant, running: Option<TaskId>) -> Vec<TaskNode> {
        let infos = self.infos.iter();
        infos.map(|info| self.node(info, taken, running)).collect()
    }

    fn node(&self, info: &TaskInfo, taken: Instant, running: Option<TaskId>) -> TaskNode {
        let task = info.id().get();
        let own = label::Party { task, child: 0 };
        let (waits_for, target) = self.label(own, info.waits(), info.waits_on());
        let children = info.children().iter().map(|child| {
            let own = label::Party {
                task,
                child: child.number(),
            };
            let (waits_for, target) = self.label(own, child.waits(), child.waits_on());
            ChildNode {
                info: child.clone(),
                waits_for,
                target,
            }
        });
        let ago = |then: Option<Instant>| -> Option<Duration> {
            then.map(|then| taken.saturating_duration_since(then))
        };
        TaskNode {
            age: ago(info.account().and_then(|account| account.since())),
            idle: ago(info.account().and_then(|account| account.last())),
            running: running == Some(info.id()),
            awaits: Vec::new(),
            awaited_by: Vec::new(),
            called: self.called(info),
            waits_for,
            target,
            children: children.collect(),
            info: info.clone(),
        }
    }

    /// The label of `own` in words, and whom it leads to.
    fn label(&self, own: label::Party, waits: Waits, on: u32) -> (String, Option<Target>) {
        let traces = label::traces(on);
        let thing = || format!("{waits} (#{on:x})");
        match waits {
            Waits::TASK => match self.by_low_half.get(&on) {
                Some(info) => {
                    let target = Target {
                        task: info.id(),
                        child: 0,
                        certain: true,
                    };
                    (self.called(info), Some(target))
                }
                None if self.cut && on != 0 => ("a task that is not shown".into(), None),
                None => ("tasks".into(), None),
            },
            Waits::LOCK if traces.holder.is_none() => {
                self.link(thing(), "last taken", traces.taker, false)
            }
            // One and the same may be in several places at once (`join!`), and let go in another than it waits in.
            Waits::LOCK => self.link(thing(), "held", traces.holder, traces.holder != Some(own)),
            Waits::VALUE if traces.holder.is_some() => {
                self.link(thing(), "made", traces.holder, traces.holder != Some(own))
            }
            Waits::VALUE | Waits::EVENT => self.link(thing(), "last set", traces.giver, false),
            Waits::NOTIFICATION => self.link(thing(), "last given", traces.giver, false),
            Waits::ITEM => self.link(thing(), "last put in", traces.giver, false),
            Waits::ROOM => self.link(thing(), "last made", traces.taker, false),
            Waits::PERMITS => self.link(thing(), "last taken", traces.taker, false),
            Waits::JOINED => {
                let left = match traces.unfinished {
                    0 => thing(),
                    1 => format!("{} with 1 item left", thing()),
                    more => format!("{} with {more} items left", thing()),
                };
                self.link(left, "last taken from", traces.taker, false)
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
            Waits::BARRIER => (thing(), None),
            other => (other.to_string(), None),
        }
    }

    /// Adds to what is waited for who has had to do with it.
    fn link(
        &self,
        thing: String,
        done: &str,
        by: Option<label::Party>,
        certain: bool,
    ) -> (String, Option<Target>) {
        let Some(by) = by else {
            return (thing, None);
        };
        let comma = if certain { "" } else { "," };
        let Some(info) = self.find(by.task) else {
            let task = by.task;
            let gone = if self.cut { "" } else { ", which has ended" };
            return (format!("{thing}{comma} {done} by task {task}{gone}"), None);
        };
        let target = Target {
            task: info.id(),
            child: by.child,
            certain,
        };
        let name = name_of(&self.called(info), info, by.child);
        (format!("{thing}{comma} {done} by {name}"), Some(target))
    }

    fn find(&self, id: u64) -> Option<&'a TaskInfo> {
        let found = self.by_low_half.get(&low_half(id)).copied();
        found.filter(|found| found.id().get() == id)
    }
}

/// A task, or one of the children of its groups. A child without a name is known by where it was spawned.
pub(super) fn name_of(task: &str, info: &TaskInfo, child: u64) -> String {
    let mut children = info.children().iter();
    match children.find(|one| one.number() == child) {
        None => task.to_owned(),
        Some(child) => match child.name() {
            Some(name) => format!("{name:?} in {task}"),
            None => format!("{child} in {task}"),
        },
    }
}
