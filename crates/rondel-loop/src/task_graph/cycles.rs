//! Circles of tasks that wait for each other.

use std::collections::{HashMap, HashSet};

use rondel_executor::TaskId;

use super::TaskNode;

/// How far a task has been looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnPath,
    Done,
}

/// At least one circle through every knot of tasks that have one, in linear time, without recursion: chains may be long.
pub(super) fn cycles(nodes: &[TaskNode], by_id: &HashMap<TaskId, usize>) -> Vec<Vec<TaskId>> {
    let mut marks = vec![Mark::New; nodes.len()];
    let mut found = Vec::new();
    let mut known = HashSet::new();
    for start in 0..nodes.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // The path, each with the number of its edges that have been followed.
        let mut path = vec![(start, 0)];
        marks[start] = Mark::OnPath;
        while let Some((place, followed)) = path.last_mut() {
            let place = *place;
            let edge = nodes[place].awaits.get(*followed);
            *followed += 1;
            let Some(edge) = edge else {
                marks[place] = Mark::Done;
                path.pop();
                continue;
            };
            let Some(next) = by_id.get(edge).copied() else {
                continue;
            };
            match marks[next] {
                Mark::Done => {}
                Mark::New => {
                    marks[next] = Mark::OnPath;
                    path.push((next, 0));
                }
                Mark::OnPath => {
                    let begin = path.iter().position(|(at, _)| *at == next).unwrap_or(0);
                    let circle = path[begin..].iter().map(|(at, _)| nodes[*at].info.id());
                    let circle = from_lowest(circle.collect());
                    if known.insert(circle.clone()) {
                        found.push(circle);
                    }
                }
            }
        }
    }
    found
}

fn from_lowest(mut circle: Vec<TaskId>) -> Vec<TaskId> {
    let lowest = circle.iter().enumerate().min_by_key(|(_, id)| **id);
    let lowest = lowest.map_or(0, |(place, _)| place);
    circle.rotate_left(lowest);
    circle
}
