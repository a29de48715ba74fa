//! Groups of boxed errors: what is nested in them can be reached, and picked out by type.

use std::error::Error;
use std::fmt;

use super::{ErrorGroup, GroupError};

/// A boxed error: `Box<dyn Error>`, with or without `Send + Sync`, or one of a program's own.
pub trait DynError: fmt::Debug + fmt::Display + Sized + 'static {
    /// The error inside.
    fn as_error(&self) -> &(dyn Error + 'static);

    /// Boxes a group of such errors as one.
    fn from_group(group: ErrorGroup<Self>) -> Self;

    /// The group inside, if there is one, otherwise the error itself.
    ///
    /// # Errors
    /// Gives an error back that is no group of such errors.
    fn into_group(self) -> Result<ErrorGroup<Self>, Self>;
}

macro_rules! dyn_error {
    ($boxed:ty) => {
        impl DynError for $boxed {
            fn as_error(&self) -> &(dyn Error + 'static) {
                &**self
            }

            fn from_group(group: ErrorGroup<Self>) -> Self {
                Box::new(group)
            }

            fn into_group(self) -> Result<ErrorGroup<Self>, Self> {
                // What `?` makes of a group's outcome, and what somebody boxed who took the group out of it.
                match self.downcast::<GroupError<Self>>() {
                    Ok(ended) => match *ended {
                        GroupError::Failed(group) => Ok(group),
                        cancelled => Err(Box::new(cancelled)),
                    },
                    Err(other) => other.downcast::<ErrorGroup<Self>>().map(|group| *group),
                }
            }
        }
    };
}

dyn_error!(Box<dyn Error>);
dyn_error!(Box<dyn Error + Send + Sync>);

impl<E: DynError> ErrorGroup<E> {
    /// The errors that are no groups themselves, through all levels, in order.
    pub fn leaves(&self) -> Vec<&(dyn Error + 'static)> {
        let mut leaves = Vec::with_capacity(self.len());
        self.visit(&mut |leaf| leaves.push(leaf));
        leaves
    }

    /// The first error of this type, through all levels.
    ///
    /// ```
    /// use rondel_executor::ErrorGroup;
    /// use std::{error::Error, io};
    ///
    /// let inner: ErrorGroup<Box<dyn Error>> =
    ///     ErrorGroup::new("odd".into(), [io::Error::other("disk full").into()]);
    /// let group: ErrorGroup<Box<dyn Error>> = ErrorGroup::new(inner.into(), []);
    /// assert_eq!(group.find::<io::Error>().unwrap().to_string(), "disk full");
    /// ```
    pub fn find<T: Error + 'static>(&self) -> Option<&T> {
        let leaves = self.leaves();
        leaves.into_iter().find_map(|leaf| leaf.downcast_ref())
    }

    fn visit<'a>(&'a self, leaf: &mut impl FnMut(&'a (dyn Error + 'static))) {
        // By hand, not by recursion: how deep the groups are nested is not ours to bound.
        let mut left: Vec<&'a E> = Vec::new();
        let push = |left: &mut Vec<&'a E>, group: &'a Self| {
            left.extend(group.rest.iter().rev());
            left.push(&group.first);
        };
        push(&mut left, self);
        while let Some(member) = left.pop() {
            match nested(member) {
                Some(group) => push(&mut left, group),
                None => leaf(member.as_error()),
            }
        }
    }

    /// Parts the tree by type: the errors of type `T`, and all others, each half nested as the whole was. asyncio:
    /// `except*`, and `ExceptionGroup.split`.
    ///
    /// ```
    /// use rondel_executor::ErrorGroup;
    /// use std::{error::Error, io};
    ///
    /// let inner: ErrorGroup<Box<dyn Error>> =
    ///     ErrorGroup::new("odd".into(), [io::Error::other("disk full").into()]);
    /// let group: ErrorGroup<Box<dyn Error>> = ErrorGroup::new(inner.into(), []);
    /// let (of_io, others) = group.split_type::<io::Error>();
    /// assert_eq!(of_io.unwrap().leaves()[0].to_string(), "disk full");
    /// assert_eq!(others.unwrap().leaves()[0].to_string(), "odd");
    /// ```
    pub fn split_type<T: Error + 'static>(self) -> (Option<Self>, Option<Self>) {
        self.split_leaves(&mut |leaf| leaf.is::<T>())
    }

    /// Parts the tree by a look at each error that is no group itself; each half is nested as the whole was.
    pub fn split_leaves(
        self,
        matches: &mut dyn FnMut(&(dyn Error + 'static)) -> bool,
    ) -> (Option<Self>, Option<Self>) {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        for member in self {
            match member.into_group() {
                Ok(group) => {
                    let (some, others) = group.split_leaves(matches);
                    yes.extend(some.map(E::from_group));
                    no.extend(others.map(E::from_group));
                }
                Err(leaf) if matches(leaf.as_error()) => yes.push(leaf),
                Err(leaf) => no.push(leaf),
            }
        }
        (Self::from_vec(yes), Self::from_vec(no))
    }
}

/// The group that a member is.
fn nested<E: DynError>(member: &E) -> Option<&ErrorGroup<E>> {
    let error = member.as_error();
    match error.downcast_ref::<GroupError<E>>() {
        Some(ended) => ended.errors(),
        None => error.downcast_ref::<ErrorGroup<E>>(),
    }
}
