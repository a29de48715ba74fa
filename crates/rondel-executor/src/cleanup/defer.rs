//! Cleanups that stand ready for the end of a frame.

use std::fmt;
use std::future::Future;

use crate::cleanup::inline::Inline;
use crate::cleanup::leave;

/// Has `cleanup` run when the returned guard goes: at the end of its block, by a panic, or because the future it stands in is
/// dropped. It is left to the scope around, whose owner waits for it; see [`leave`](crate::leave).
///
/// Bind it to a name: `let _ = defer(…)` drops it at once, and so begins the cleanup at once. The cleanup must own what it
/// needs; to lend something to the work and give it to the cleanup, take [`bracket`](crate::bracket).
///
/// ```
/// use rondel_executor::{Executor, defer};
/// use std::{cell::Cell, rc::Rc};
///
/// let executor = Executor::new();
/// let said = Rc::new(Cell::new(""));
/// let goodbye = Rc::clone(&said);
/// let task = executor.spawn(async move {
///     let _goodbye = defer(async move { goodbye.set("goodbye") });
///     std::future::pending::<()>().await
/// });
/// executor.run_until_idle();
/// task.cancel();
/// executor.run_until_idle();
/// assert_eq!(said.get(), "goodbye");
/// ```
pub fn defer<F>(cleanup: F) -> Defer<F>
where
    F: Future<Output = ()> + 'static,
{
    Defer(Some(cleanup))
}

/// A cleanup that runs when this goes; made by [`defer`].
#[must_use = "a cleanup that is dropped begins at once"]
pub struct Defer<F: Future<Output = ()> + 'static>(Option<F>);

impl<F: Future<Output = ()> + 'static> Defer<F> {
    /// Runs the cleanup here and now.
    ///
    /// # Cancel safety
    /// Dropped before its end, it goes on in the scope around, from where it was.
    pub async fn run(mut self) {
        if let Some(cleanup) = self.0.take() {
            Inline::new(cleanup).await;
        }
    }

    /// Takes the cleanup back, not begun.
    #[must_use = "the cleanup comes back, it is not run"]
    pub fn disarm(mut self) -> F {
        match self.0.take() {
            Some(cleanup) => cleanup,
            None => unreachable!("only `run`, `disarm` and the drop take it, and each is the last"),
        }
    }
}

impl<F: Future<Output = ()> + 'static> Drop for Defer<F> {
    fn drop(&mut self) {
        if let Some(cleanup) = self.0.take() {
            leave(Box::pin(cleanup));
        }
    }
}

impl<F: Future<Output = ()> + 'static> fmt::Debug for Defer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Defer")
    }
}
