//! Circles of those who wait for each other.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use rondel_executor::{ChildInfo, TaskId, Waits};

use super::describe::{Target, name_of};
use super::{TaskGraph, TaskNode};

/// Tasks, or children of their groups, that wait for each other in a circle; see [`TaskGraph::deadlocks`].
///
/// Displayed: `deadlock: there -> back -> there`, or, if it is not certain, `perhaps a deadlock, for 1.5 s: …`.
#[derive(Clone, Debug)]
pub struct Deadlock {
    parties: Vec<DeadlockParty>,
    certain: bool,
    standing: Option<Duration>,
}

/// One of those who wait for each other in a [`Deadlock`].
#[derive(Clone, Debug)]
pub struct DeadlockParty {
    task: TaskId,
    child: Option<ChildInfo>,
    name: String,
}

impl Deadlock {
    /// Who waits, each for the next, the last one for the first. The first is the one whose task has the lowest number.
    pub fn parties(&self) -> &[DeadlockParty] {
        &self.parties
    }

    /// Whether what each waits for is the next one's: its end, a lock that it holds, a value that it makes. Nobody else can help them.
    /// They still go on if one of them waits for something else, too, and gives up when that comes: a `timeout`, a `race`.
    ///
    /// If not, somebody waits for what the next one was the last to do: put an item in, take one out, notify, take a lock by a guard
    /// that can be handed on. That is a deadlock if nobody else does it. Two tasks that talk to each other, and at the moment have
    /// nothing to say, look the same; so see how [long](Deadlock::standing) it has lasted.
    pub const fn is_certain(&self) -> bool {
        self.certain
    }

    /// How long ago the last one of the tasks was polled, while [accounts](crate::LocalLoop::set_accounts) are kept.
    pub const fn standing(&self) -> Option<Duration> {
        self.standing
    }
}

impl DeadlockParty {
    /// The task, or the one that the child is a part of.
    pub const fn task(&self) -> TaskId {
        self.task
    }

    /// The child of one of the task's groups, if it is one.
    pub const fn child(&self) -> Option<&ChildInfo> {
        self.child.as_ref()
    }
}

/// The task's name, and its number if others have the same; of a child its own name, or where it was spawned, and its task's.
impl fmt::Display for DeadlockParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.certain {
            "deadlock"
        } else {
            "perhaps a deadlock"
        })?;
        if let Some(standing) = self.standing.filter(|_| !self.certain) {
            write!(f, ", for {:.1} s", standing.as_secs_f64())?;
        }
        f.write_str(":")?;
        for (place, party) in self.parties.iter().enumerate() {
            let arrow = if place == 0 { "" } else { " ->" };
            write!(f, "{arrow} {party}")?;
        }
        match self.parties.first() {
            Some(first) => write!(f, " -> {first}"),
            None => Ok(()),
        }
    }
}

pub(super) fn deadlocks(graph: &TaskGraph) -> Vec<Deadlock> {
    let web = Web::of(graph);
    let sure = web.circles(true);
    let all = web.circles(false);
    // Those among them that are certain have been found, or others where they meet.
    let unsure = all.iter().filter(|circle| !web.is_certain(circle));
    let sure = sure.iter().map(|circle| web.deadlock(circle, true));
    sure.chain(unsure.map(|circle| web.deadlock(circle, false)))
        .collect()
}

/// Who waits for whom: the tasks, and after each the children of its groups.
struct Web<'g> {
    graph: &'g TaskGraph,
    /// Each with its place among the tasks, and a child with its place among the task's.
    members: Vec<(usize, Option<usize>)>,
    /// Where each task stands among the members.
    first: Vec<usize>,
    edges: Vec<Vec<Edge>>,
}

#[derive(Clone, Copy)]
struct Edge {
    to: usize,
    certain: bool,
}

/// How far one has been looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnPath,
    Done,
}

impl<'g> Web<'g> {
    fn of(graph: &'g TaskGraph) -> Self {
        let mut members = Vec::new();
        let mut first = Vec::new();
        for (place, node) in graph.nodes.iter().enumerate() {
            first.push(members.len());
            members.push((place, None));
            members.extend((0..node.children.len()).map(|child| (place, Some(child))));
        }
        let mut web = Self {
            graph,
            edges: vec![Vec::new(); members.len()],
            members,
            first,
        };
        for place in 0..graph.nodes.len() {
            web.link(place);
        }
        web
    }

    /// Whom a task waits for, and each of its children.
    fn link(&mut self, place: usize) {
        let node = &self.graph.nodes[place];
        let own = self.first[place];
        if !node.children.is_empty() {
            self.link_children(node, own);
        }
        self.follow(own, node.target);
        // Those that it awaits in other ways, but for those that a child of it awaits.
        let of_children = |id: &TaskId| {
            let targets = node.children.iter().map(|child| child.target);
            let mut targets = targets.chain([node.target]).flatten();
            targets.any(|target| target.task == *id)
        };
        for awaited in node.awaits.iter().filter(|id| !of_children(id)) {
            if let Some(to) = self.graph.place(*awaited) {
                let to = self.first[to];
                self.edges[own].push(Edge { to, certain: true });
            }
        }
    }

    fn link_children(&mut self, node: &TaskNode, own: usize) {
        // Whoever has a group waits for its children and for nothing else, once the body has ended.
        const FOR_CHILDREN: (Waits, u32) = (Waits::CHILDREN, 0);
        let waits = (node.info.waits(), node.info.waits_on());
        let mut around = HashMap::from([(0, (own, waits))]);
        for (child, place) in node.children.iter().zip(own + 1..) {
            let waits = (child.info.waits(), child.info.waits_on());
            around.insert(child.info.number(), (place, waits));
        }
        for (child, place) in node.children.iter().zip(own + 1..) {
            if let Some((around, FOR_CHILDREN)) = around.get(&child.info.around()).copied() {
                self.edges[around].push(Edge {
                    to: place,
                    certain: true,
                });
            }
            self.follow(place, child.target);
        }
    }

    fn follow(&mut self, from: usize, target: Option<Target>) {
        let Some(target) = target else {
            return;
        };
        let Some(place) = self.graph.place(target.task) else {
            return;
        };
        let children = &self.graph.nodes[place].children;
        let child = match target.child {
            0 => Some(0),
            number => children
                .iter()
                .position(|child| child.info.number() == number)
                .map(|child| child + 1),
        };
        // A child that has ended will not do again what it did.
        if let Some(child) = child {
            self.edges[from].push(Edge {
                to: self.first[place] + child,
                certain: target.certain,
            });
        }
    }

    /// At least one circle through every knot that has one, in linear time, without recursion: chains may be long.
    fn circles(&self, certain_only: bool) -> Vec<Vec<usize>> {
        let mut marks = vec![Mark::New; self.members.len()];
        let mut found = Vec::new();
        let mut known = HashSet::new();
        for start in 0..self.members.len() {
            if marks[start] != Mark::New {
                continue;
            }
            // The path, each with the number of its edges that have been followed.
            let mut path = vec![(start, 0)];
            marks[start] = Mark::OnPath;
            while let Some((at, followed)) = path.last_mut() {
                let at = *at;
                let edge = self.edges[at].get(*followed).copied();
                *followed += 1;
                let Some(edge) = edge else {
                    marks[at] = Mark::Done;
                    path.pop();
                    continue;
                };
                if certain_only && !edge.certain {
                    continue;
                }
                match marks[edge.to] {
                    Mark::Done => {}
                    Mark::New => {
                        marks[edge.to] = Mark::OnPath;
                        path.push((edge.to, 0));
                    }
                    Mark::OnPath => {
                        let begin = path.iter().position(|(on, _)| *on == edge.to);
                        let circle = path[begin.unwrap_or(0)..].iter().map(|(on, _)| *on);
                        let circle = self.turned_to_lowest(circle.collect());
                        if known.insert(circle.clone()) {
                            found.push(circle);
                        }
                    }
                }
            }
        }
        found
    }

    fn turned_to_lowest(&self, mut circle: Vec<usize>) -> Vec<usize> {
        let number = |member: usize| (self.node(member).info.id(), member);
        let all = circle.iter().enumerate();
        let lowest = all.min_by_key(|(_, member)| number(**member));
        let lowest = lowest.map_or(0, |(place, _)| place);
        circle.rotate_left(lowest);
        circle
    }

    fn is_certain(&self, circle: &[usize]) -> bool {
        let nexts = circle.iter().skip(1).chain(circle.first());
        circle.iter().zip(nexts).all(|(from, to)| {
            let edges = self.edges[*from].iter();
            edges.into_iter().any(|edge| edge.to == *to && edge.certain)
        })
    }

    fn node(&self, member: usize) -> &'g TaskNode {
        &self.graph.nodes[self.members[member].0]
    }

    fn deadlock(&self, circle: &[usize], certain: bool) -> Deadlock {
        let parties = circle.iter().map(|member| {
            let node = self.node(*member);
            let child = self.members[*member].1;
            let child = child.map(|child| node.children[child].info.clone());
            DeadlockParty {
                task: node.info.id(),
                name: name_of(
                    &node.called,
                    &node.info,
                    child.as_ref().map_or(0, ChildInfo::number),
                ),
                child,
            }
        });
        let idle = circle.iter().map(|member| self.node(*member).idle);
        Deadlock {
            parties: parties.collect(),
            certain,
            standing: idle.min().flatten(),
        }
    }
}
