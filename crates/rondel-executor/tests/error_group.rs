//! Error groups: the tree, shown and taken apart.
#![cfg(not(rondel_loom))]

use std::error::Error;
use std::fmt;
use std::io;

use rondel_executor::{ErrorGroup, Executor, GroupError, task_group};

type Boxed = Box<dyn Error>;
type BoxedSend = Box<dyn Error + Send + Sync>;

#[derive(Debug)]
struct WithSource(io::Error);

impl fmt::Display for WithSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reading the configuration")
    }
}

impl Error for WithSource {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn nested() -> ErrorGroup<Boxed> {
    let inmost = ErrorGroup::<Boxed>::new("deep".into(), [io::Error::other("deep io").into()]);
    let inner = ErrorGroup::<Boxed>::new(inmost.into(), [io::Error::other("inner io").into()]);
    // As `?` makes it of what a group returns.
    let inner: Boxed = GroupError::from(inner).into();
    ErrorGroup::new("first".into(), [inner, "last".into()])
}

#[test]
fn it_is_shown_as_a_tree() {
    assert_eq!(
        nested().to_string(),
        "3 errors in a task group:\n\
        \x20 - first\n\
        \x20 - 2 errors in a task group:\n\
        \x20     - 2 errors in a task group:\n\
        \x20         - deep\n\
        \x20         - deep io\n\
        \x20     - inner io\n\
        \x20 - last"
    );
    let one = ErrorGroup::new("over\ntwo lines", []);
    assert_eq!(
        one.to_string(),
        "1 error in a task group:\n  - over\n    two lines"
    );
    assert_eq!(format!("{one:?}"), "ErrorGroup [\"over\\ntwo lines\"]");
}

#[test]
fn members_come_earliest_first() {
    let group = ErrorGroup::new(1, [2, 3]);
    assert_eq!((group.first, group.len()), (1, 3));
    assert_eq!(group.iter().copied().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(group.iter().next_back(), Some(&3));
    let mut doubled = Vec::new();
    for member in &group {
        doubled.push(member * 2);
    }
    assert_eq!(doubled, [2, 4, 6]);
    assert_eq!(group.clone().map(|n| n * 10).into_vec(), [10, 20, 30]);
    assert_eq!(group.clone().into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(group.into_first(), 1);
    assert_eq!(ErrorGroup::<u8>::from_vec(vec![]), None);
}

#[test]
fn it_is_filtered_and_split_and_never_empty() {
    let group = ErrorGroup::new(1, [2, 3, 4]);
    let (even, odd) = group.clone().split(|n| n % 2 == 0);
    assert_eq!(even.unwrap().into_vec(), [2, 4]);
    assert_eq!(odd.unwrap().into_vec(), [1, 3]);
    assert_eq!(group.clone().filter(|n| *n > 4), None);
    let (all, none) = group.split(|_| true);
    assert_eq!((all.unwrap().len(), none), (4, None));
}

#[test]
fn groups_of_one_type_flatten() {
    let groups = ErrorGroup::new(ErrorGroup::new(1, [2]), [ErrorGroup::new(3, [4])]);
    assert_eq!(groups.flatten().into_vec(), [1, 2, 3, 4]);
}

#[test]
fn the_leaves_are_found_through_all_levels_in_order() {
    let group = nested();
    let leaves: Vec<_> = group.leaves().iter().map(|leaf| leaf.to_string()).collect();
    assert_eq!(leaves, ["first", "deep", "deep io", "inner io", "last"]);
    assert_eq!(group.find::<io::Error>().unwrap().to_string(), "deep io");
    assert!(group.find::<fmt::Error>().is_none());
}

#[test]
fn it_is_split_by_type_and_each_half_keeps_the_shape() {
    let (of_io, others) = nested().split_type::<io::Error>();
    assert_eq!(
        of_io.unwrap().to_string(),
        "1 error in a task group:\n\
        \x20 - 2 errors in a task group:\n\
        \x20     - 1 error in a task group:\n\
        \x20         - deep io\n\
        \x20     - inner io"
    );
    assert_eq!(
        others.unwrap().to_string(),
        "3 errors in a task group:\n\
        \x20 - first\n\
        \x20 - 1 error in a task group:\n\
        \x20     - 1 error in a task group:\n\
        \x20         - deep\n\
        \x20 - last"
    );
    let (none, all) = nested().split_type::<fmt::Error>();
    assert!(none.is_none());
    assert_eq!(all.unwrap().leaves().len(), 5);
}

#[test]
fn boxed_errors_may_be_send_and_sync() {
    let inner = ErrorGroup::<BoxedSend>::new(io::Error::other("io").into(), ["odd".into()]);
    let group = ErrorGroup::<BoxedSend>::new(inner.into(), []);
    assert_eq!(group.leaves().len(), 2);
    let (of_io, others) = group.split_type::<io::Error>();
    assert_eq!((of_io.unwrap().len(), others.unwrap().len()), (1, 1));
}

#[test]
fn a_cancelled_group_inside_is_a_leaf() {
    let cancelled: Boxed = GroupError::<Boxed>::Cancelled.into();
    let group = ErrorGroup::new(cancelled, []);
    assert_eq!(
        group.leaves()[0].to_string(),
        "the task group was cancelled"
    );
    let (matched, others) = group.split_leaves(&mut |leaf| leaf.is::<GroupError<Boxed>>());
    assert!(matched.is_some() && others.is_none());
}

#[test]
fn the_source_is_the_first_errors_own() {
    let boxed: Boxed = WithSource(io::Error::other("disk full")).into();
    let group = GroupError::from(ErrorGroup::new(boxed, []));
    assert_eq!(group.source().unwrap().to_string(), "disk full");
    assert!(ErrorGroup::new("no error type", []).source().is_none());
    assert!(GroupError::<Boxed>::Cancelled.source().is_none());
}

#[test]
fn question_marks_through_nested_groups_keep_the_tree() {
    let executor = Executor::new();
    let task = executor.spawn(async {
        task_group(async |outer| {
            outer.spawn(async {
                task_group(async |inner| {
                    inner.spawn(async { Err::<(), Boxed>(io::Error::other("disk full").into()) });
                    inner.spawn(async { Err::<(), Boxed>("no network".into()) });
                    Ok(())
                })
                .await?;
                Ok::<_, Boxed>(())
            });
            Ok(())
        })
        .await?;
        Ok::<_, Boxed>(())
    });
    executor.run_until_idle();
    let error = task.into_result().unwrap().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 error in a task group:\n\
        \x20 - 2 errors in a task group:\n\
        \x20     - disk full\n\
        \x20     - no network"
    );
    let ended = error.downcast::<GroupError<Boxed>>().unwrap();
    assert!(!ended.is_cancelled());
    assert!(ended.errors().unwrap().find::<io::Error>().is_some());
}
