//! The task factory: a look at every task before it begins.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use crate::site::Site;
use crate::task::id::TaskId;

/// Called with every task that is spawned, before it begins; see [`Spawner::set_task_factory`](crate::Spawner::set_task_factory).
pub type TaskFactory = Rc<dyn Fn(&mut NewTask)>;

/// A task's future without its output, as a [`TaskFactory`] may wrap it.
pub type TaskBody = Pin<Box<dyn Future<Output = ()>>>;

/// A task about to be spawned, in the hands of a [`TaskFactory`].
pub struct NewTask {
    pub(super) id: TaskId,
    pub(super) site: Site,
    pub(super) name: Option<Arc<str>>,
    /// `None` only while a wrapper is being made.
    pub(super) body: Option<TaskBody>,
}

impl NewTask {
    /// The number that the task will have.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Where it is being spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.site
    }

    /// The name given so far, else `Task-N`.
    pub fn name(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => format!("Task-{}", self.id),
        }
    }

    /// Names the task. Whoever spawns it may name it anew.
    pub fn set_name(&mut self, name: impl Into<String>) {
        let name: Arc<str> = name.into().into();
        self.name = Some(name);
    }

    /// Puts a future around the task's own: to time its polls, to enter a tracing span, to run something before and after. A
    /// wrapper that ends without having run the body to its end cancels the task.
    ///
    /// # Panics
    /// If `wrap` panicked before, on the same task.
    pub fn wrap<F>(&mut self, wrap: impl FnOnce(TaskBody) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let body = self
            .body
            .take()
            .expect("the body is gone only when an earlier wrapper panicked");
        self.body = Some(Box::pin(wrap(body)));
    }
}

impl fmt::Debug for NewTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTask")
            .field("id", &self.id.0)
            .field("name", &self.name())
            .field("spawned_at", &format_args!("{}", self.site))
            .finish_non_exhaustive()
    }
}
