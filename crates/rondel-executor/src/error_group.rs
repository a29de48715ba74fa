//! The failures of a task group, all of them, nested as the groups were.

mod split;
mod tree;

use std::any::Any;
use std::error::Error;
use std::{fmt, iter, slice, vec};

pub use self::split::DynError;

/// The errors that ended a group: one at least, in the order in which they happened.
///
/// `E` is whatever the group's children fail with. Displayed, the group is a tree: members that are groups themselves, or show
/// one, are indented. Where members are boxed errors (`Box<dyn Error>`, with or without `Send + Sync`), nested groups can be
/// looked into as well: [`leaves`](ErrorGroup::leaves), [`find`](ErrorGroup::find), [`split_type`](ErrorGroup::split_type).
///
/// asyncio: `ExceptionGroup` (PEP 654).
///
/// ```
/// use rondel_executor::ErrorGroup;
///
/// let inner = ErrorGroup::from_vec(vec!["disk full".to_string(), "no network".into()]).unwrap();
/// let group = ErrorGroup::new(inner.to_string(), ["bad password".into()]);
/// assert_eq!(
///     group.to_string(),
///     "2 errors in a task group:\n  \
///      - 2 errors in a task group:\n      \
///      - disk full\n      \
///      - no network\n  \
///      - bad password"
/// );
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ErrorGroup<E> {
    /// The earliest.
    pub first: E,
    /// The others, as they came.
    pub rest: Vec<E>,
}

impl<E> ErrorGroup<E> {
    /// A group of `first` and the others.
    pub fn new(first: E, rest: impl IntoIterator<Item = E>) -> Self {
        Self {
            first,
            rest: rest.into_iter().collect(),
        }
    }

    /// A group of these errors; `None` if there are none.
    pub fn from_vec(errors: Vec<E>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let first = errors.next()?;
        Some(Self {
            first,
            rest: errors.collect(),
        })
    }

    /// How many members it has. Never 0; a nested group counts as one.
    #[expect(clippy::len_without_is_empty, reason = "a group is never empty")]
    pub fn len(&self) -> usize {
        1 + self.rest.len()
    }

    /// The members, the earliest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &E> {
        self.into_iter()
    }

    /// The earliest error alone.
    pub fn into_first(self) -> E {
        self.first
    }

    /// All members, the earliest first.
    pub fn into_vec(self) -> Vec<E> {
        let mut all = self.rest;
        all.insert(0, self.first);
        all
    }

    /// The group with every member converted, for example into a boxed error.
    ///
    /// ```
    /// use rondel_executor::ErrorGroup;
    /// use std::error::Error;
    ///
    /// let group = ErrorGroup::new("1".parse::<f32>().err(), ["x".parse::<f32>().err()]);
    /// let numbers = group.filter(|error| error.is_some()).unwrap();
    /// let boxed: ErrorGroup<Box<dyn Error>> = numbers.map(|error| error.unwrap().into());
    /// assert_eq!(boxed.to_string(), "1 error in a task group:\n  - invalid float literal");
    /// ```
    pub fn map<F>(self, mut f: impl FnMut(E) -> F) -> ErrorGroup<F> {
        ErrorGroup {
            first: f(self.first),
            rest: self.rest.into_iter().map(f).collect(),
        }
    }

    /// The members for which `keep` is true; `None` if there are none.
    pub fn filter(self, keep: impl FnMut(&E) -> bool) -> Option<Self> {
        self.split(keep).0
    }

    /// Parts the members: those for which `matches` is true, and the others. Handle the former and return the latter.
    ///
    /// ```
    /// use rondel_executor::ErrorGroup;
    /// use std::io::{Error, ErrorKind};
    ///
    /// fn handle(group: ErrorGroup<Error>) -> Result<(), ErrorGroup<Error>> {
    ///     let (timeouts, others) = group.split(|error| error.kind() == ErrorKind::TimedOut);
    ///     if let Some(timeouts) = timeouts {
    ///         println!("{} timed out", timeouts.len());
    ///     }
    ///     others.map_or(Ok(()), Err)
    /// }
    ///
    /// let group = ErrorGroup::new(ErrorKind::TimedOut.into(), [ErrorKind::NotFound.into()]);
    /// assert_eq!(handle(group).unwrap_err().first.kind(), ErrorKind::NotFound);
    /// ```
    pub fn split(self, matches: impl FnMut(&E) -> bool) -> (Option<Self>, Option<Self>) {
        let (yes, no) = self.into_vec().into_iter().partition(matches);
        (Self::from_vec(yes), Self::from_vec(no))
    }
}

impl<E> ErrorGroup<ErrorGroup<E>> {
    /// The members' members, in order, as one group.
    pub fn flatten(self) -> ErrorGroup<E> {
        let ErrorGroup { first, rest } = self.first;
        let others = self.rest.into_iter().flatten();
        ErrorGroup {
            first,
            rest: rest.into_iter().chain(others).collect(),
        }
    }
}

impl<E> IntoIterator for ErrorGroup<E> {
    type Item = E;
    type IntoIter = vec::IntoIter<E>;

    fn into_iter(self) -> vec::IntoIter<E> {
        self.into_vec().into_iter()
    }
}

impl<'a, E> IntoIterator for &'a ErrorGroup<E> {
    type Item = &'a E;
    type IntoIter = iter::Chain<iter::Once<&'a E>, slice::Iter<'a, E>>;

    fn into_iter(self) -> Self::IntoIter {
        iter::once(&self.first).chain(&self.rest)
    }
}

impl<E: fmt::Display> fmt::Display for ErrorGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tree::write(f, self.len(), self.iter())
    }
}

impl<E: fmt::Debug> fmt::Debug for ErrorGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorGroup ")?;
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The source is the first error's own, where members are boxed errors: the tree that is displayed shows the members
/// themselves already. Members of a known type are at hand with their types; [`map`](ErrorGroup::map) boxes them.
//
// Not bounded by `E: Error`: a boxed error is none, and those are what most programs fail with.
impl<E: fmt::Debug + fmt::Display + 'static> Error for ErrorGroup<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        as_error(&self.first)?.source()
    }
}

/// A member as an error, where its type allows to see it as one.
fn as_error<E: 'static>(member: &E) -> Option<&(dyn Error + 'static)> {
    let member: &dyn Any = member;
    if let Some(boxed) = member.downcast_ref::<Box<dyn Error>>() {
        return Some(&**boxed);
    }
    member
        .downcast_ref::<Box<dyn Error + Send + Sync>>()
        .map(|boxed| &**boxed as &(dyn Error + 'static))
}

/// How a group ended that gave no output.
///
/// ```
/// use rondel_executor::{Executor, GroupError, task_group};
///
/// let executor = Executor::new();
/// let task = executor.spawn(async {
///     let ended = task_group(async |g| {
///         g.spawn(async { Err::<(), _>("disk full") });
///         Ok(())
///     })
///     .await;
///     match ended {
///         Ok(()) => "all is well",
///         Err(GroupError::Failed(errors)) => errors.first,
///         Err(GroupError::Cancelled) => "somebody called `g.cancel()`",
///     }
/// });
/// executor.run_until_idle();
/// assert_eq!(task.into_result().unwrap().unwrap(), "disk full");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum GroupError<E> {
    /// Children or the body failed; the others were cancelled.
    Failed(ErrorGroup<E>),
    /// [`cancel`](crate::TaskGroup::cancel) was called before the group had ended, and nothing failed.
    Cancelled,
}

impl<E> GroupError<E> {
    /// Whether the group was ended early without a failure.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// What failed, if something did.
    pub const fn errors(&self) -> Option<&ErrorGroup<E>> {
        match self {
            Self::Failed(errors) => Some(errors),
            Self::Cancelled => None,
        }
    }

    /// What failed, if something did.
    pub fn into_errors(self) -> Option<ErrorGroup<E>> {
        match self {
            Self::Failed(errors) => Some(errors),
            Self::Cancelled => None,
        }
    }
}

impl<E> From<ErrorGroup<E>> for GroupError<E> {
    fn from(errors: ErrorGroup<E>) -> Self {
        Self::Failed(errors)
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(errors) => fmt::Display::fmt(errors, f),
            Self::Cancelled => f.write_str("the task group was cancelled"),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(errors) => fmt::Debug::fmt(errors, f),
            Self::Cancelled => f.write_str("Cancelled"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display + 'static> Error for GroupError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.errors()?.source()
    }
}
