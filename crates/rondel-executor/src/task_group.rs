//! Structured concurrency: children that borrow, and that nobody can forget about.
//!
//! # Why borrowing is sound, even if a group is leaked
//!
//! Children borrow from the frame around the group (`'env`), and nobody can be made to run a destructor: a future can be
//! handed to `mem::forget`. Therefore children are not tasks on the executor's queue, which would go on polling them after
//! the frame is gone. They live *inside the group's own future*, in boxes that nothing but this future reaches:
//!
//! - Queue, wakers and handles hold keys, flags and results, never a future. A late wake, from here or from another thread,
//!   puts a key into a queue that nobody reads any more.
//! - A forgotten group leaks, children included. It is never polled again, since whoever forgot it has no pin to poll it by;
//!   so no child is polled or dropped after `'env` has ended.
//! - `'env` is a parameter of [`task_group`](open::task_group). So it outlives the call, and a child cannot borrow what the body declares, which
//!   may be gone before the child. The borrows themselves are the compiler's, there is no `unsafe` here.
//! - Group and children refer to each other: a child that spawns holds a [`TaskGroup`]. The circle is cut by the group's
//!   future, which closes the group and drops the children when it ends or is dropped. A `TaskGroup` kept beyond that is
//!   harmless: what is spawned there is dropped at once.

pub(crate) mod board;
mod child;
pub(crate) mod info;
mod lineage;
mod member;
pub(crate) mod open;
pub(crate) mod origin;
mod post;
mod run;

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;

pub use self::child::{Cancelled, Child};

use self::info::{About, ChildInfo};
use self::member::{Member, Node, Plain};
use crate::crowd::Crowd;
use crate::wait::Waits;

/// A group of children under way: spawns more of them. Cheap to clone; made by [`task_group`](open::task_group).
///
/// A child that spawns needs a clone of its own: `let inner = g.clone(); g.spawn(async move { inner.spawn(…); … })`.
pub struct TaskGroup<'env, E>(Rc<Shared<'env, E>>);

type Boxed<'env, E> = Pin<Box<dyn Member<E> + 'env>>;

struct Shared<'env, E> {
    /// The children, and one place without a future for the body, which is kept by whoever runs the group.
    crowd: Crowd<Boxed<'env, E>, About>,
    /// The body is in the crowd: it has not ended.
    body: Cell<bool>,
    /// What it waits for; once it has ended, the children are all that is waited for. As [`Waits::CHILDREN`] says it.
    body_waits: Cell<(Waits, u32)>,
    /// Nobody is taken in any more.
    closed: Cell<bool>,
    /// `cancel()` was called.
    cancelled: Cell<bool>,
}

impl<'env, E: 'env> TaskGroup<'env, E> {
    fn new() -> Self {
        let crowd = Crowd::new();
        crowd.insert_apart(About::body());
        Self(Rc::new(Shared {
            crowd,
            body: Cell::new(true),
            body_waits: Cell::new((Waits::CHILDREN, 0)),
            closed: Cell::new(false),
            cancelled: Cell::new(false),
        }))
    }

    /// Starts a child beside those there are; it is polled with the group's next batch. Two allocations, and two more
    /// for a place unless one has become free.
    ///
    /// The handle is for its value and for cancelling it, and can be dropped: the group waits for the child in any case. In a
    /// group that has been cancelled, has failed or has ended, the future is dropped at once, and the handle says [`Cancelled`].
    #[track_caller]
    pub fn spawn<T, F>(&self, future: F) -> Child<T>
    where
        T: 'env,
        F: Future<Output = Result<T, E>> + 'env,
    {
        self.start(future, About::new(Location::caller(), None))
    }

    /// The same with a name, for [`children`](TaskGroup::children) and reports. Names need not be unique.
    #[track_caller]
    pub fn spawn_named<T, F>(&self, name: impl Into<Rc<str>>, future: F) -> Child<T>
    where
        T: 'env,
        F: Future<Output = Result<T, E>> + 'env,
    {
        self.start(future, About::new(Location::caller(), Some(name.into())))
    }

    fn start<T, F>(&self, future: F, about: About) -> Child<T>
    where
        T: 'env,
        F: Future<Output = Result<T, E>> + 'env,
    {
        let group = &*self.0;
        if group.closed.get() {
            drop(future);
            return Child::refused();
        }
        let child = Child::running();
        let node = Node::new(future, child.state(), &about);
        child.set_wake(group.crowd.insert_with_wake(Box::pin(node), about));
        child
    }

    /// Ends the group early, without a failure: the body and every child are cancelled, and when they have ended the group
    /// gives [`GroupError::Cancelled`](crate::GroupError::Cancelled). If nothing is left to be cut short, its outcome stands.
    ///
    /// Calling it again, or after the group has ended, does nothing. asyncio: `TaskGroup.cancel` (3.15).
    ///
    /// ```
    /// use rondel_executor::{Executor, GroupError, task_group};
    /// use std::{cell::Cell, future::pending};
    ///
    /// let executor = Executor::new();
    /// let task = executor.spawn(async {
    ///     let found = Cell::new(None);
    ///     let ended = task_group(async |g| {
    ///         for n in [4, 6, 7, 9] {
    ///             let (found, inner) = (&found, g.clone());
    ///             g.spawn(async move {
    ///                 if n % 2 == 1 {
    ///                     found.set(Some(n));
    ///                     inner.cancel();
    ///                 }
    ///                 Ok::<_, ()>(pending::<()>().await)
    ///             });
    ///         }
    ///         Ok(())
    ///     })
    ///     .await;
    ///     assert_eq!(ended, Err(GroupError::Cancelled));
    ///     found.get()
    /// });
    /// executor.run_until_idle();
    /// assert_eq!(task.into_result().unwrap().unwrap(), Some(9));
    /// ```
    pub fn cancel(&self) {
        let group = &*self.0;
        if !group.closed.replace(true) {
            group.cancelled.set(true);
            // The group itself, and none of its members: they are not to be polled once more.
            group.crowd.rouse();
        }
    }

    /// Whether children are refused: the group was cancelled, has failed, or has ended.
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// How many children have not ended.
    pub fn len(&self) -> usize {
        self.0.crowd.len() - usize::from(self.0.body.get())
    }

    /// Whether no child is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every child that has not ended, in the order of spawning.
    pub fn children(&self) -> Vec<ChildInfo> {
        let members = self.0.crowd.members();
        members
            .iter()
            .filter_map(|member| ChildInfo::of(member.about()))
            .collect()
    }
}

impl<E> Clone for TaskGroup<'_, E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<'env, E: 'env> fmt::Debug for TaskGroup<'env, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("children", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// A group whose children cannot fail; made by [`task_scope`](open::task_scope).
pub struct TaskScope<'env>(TaskGroup<'env, Infallible>);

impl<'env> TaskScope<'env> {
    /// Starts a child beside those there are; see [`TaskGroup::spawn`].
    #[track_caller]
    pub fn spawn<T, F>(&self, future: F) -> Child<T>
    where
        T: 'env,
        F: Future<Output = T> + 'env,
    {
        let about = About::new(Location::caller(), None);
        self.0.start(Plain::new(future), about)
    }

    /// The same with a name; see [`TaskGroup::spawn_named`].
    #[track_caller]
    pub fn spawn_named<T, F>(&self, name: impl Into<Rc<str>>, future: F) -> Child<T>
    where
        T: 'env,
        F: Future<Output = T> + 'env,
    {
        let about = About::new(Location::caller(), Some(name.into()));
        self.0.start(Plain::new(future), about)
    }

    /// Whether children are refused: somebody panicked, or the scope has ended.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// How many children have not ended.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no child is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every child that has not ended, in the order of spawning.
    pub fn children(&self) -> Vec<ChildInfo> {
        self.0.children()
    }
}

impl Clone for TaskScope<'_> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for TaskScope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskScope")
            .field("children", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}
