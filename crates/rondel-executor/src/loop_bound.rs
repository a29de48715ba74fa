//! `Send` at the edge: a value that belongs to one executor's thread, in a wrapper that may travel.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::core::{Core, Message};
use crate::home::HomeCell;
use crate::spawner::Spawner;

/// A `!Send` value that can be carried through code which asks for `Send + Sync`.
///
/// It is used on its executor's thread only. Dropped there, the value is dropped in place; dropped elsewhere, it is sent
/// home and dropped in one of the next turns; dropped elsewhere after the executor has closed, it is leaked and counted
/// ([`Remote::leaked`](crate::Remote::leaked)), never dropped on a thread it does not belong to.
///
/// ```
/// use rondel_executor::{Executor, LoopBound};
/// use std::rc::Rc;
///
/// let executor = Executor::new();
/// let value = Rc::new(7);
/// let bound = LoopBound::new(&executor.spawner(), Rc::clone(&value));
/// assert_eq!(**bound.get(), 7);
///
/// let bound = std::thread::spawn(move || { assert!(bound.try_get().is_err()); bound }).join().unwrap();
/// std::thread::spawn(move || drop(bound)).join().unwrap();
/// assert_eq!(Rc::strong_count(&value), 2);
/// executor.run_until_idle();
/// assert_eq!(Rc::strong_count(&value), 1);
/// ```
pub struct LoopBound<T: 'static> {
    /// `None` only while it is being dropped.
    value: Option<HomeCell<T>>,
    home: Arc<Core>,
}

/// A [`LoopBound`] was used on a thread that is not its executor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongThread;

impl fmt::Display for WrongThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value bound to an event loop was used on another thread than the loop's")
    }
}

impl Error for WrongThread {}

impl<T> LoopBound<T> {
    /// Binds `value` to the executor of `spawner`, which is at home here.
    pub fn new(spawner: &Spawner, value: T) -> Self {
        Self {
            value: Some(HomeCell::new(value)),
            home: Arc::clone(spawner.core()),
        }
    }

    /// The value.
    ///
    /// # Panics
    /// On a thread that is not the executor's; [`try_get`](LoopBound::try_get) does not.
    #[track_caller]
    pub fn get(&self) -> &T {
        match self.try_get() {
            Ok(value) => value,
            Err(error) => wrong_thread(error),
        }
    }

    /// The value, mutably.
    ///
    /// # Panics
    /// On a thread that is not the executor's; [`try_get_mut`](LoopBound::try_get_mut) does not.
    #[track_caller]
    pub fn get_mut(&mut self) -> &mut T {
        match self.try_get_mut() {
            Ok(value) => value,
            Err(error) => wrong_thread(error),
        }
    }

    /// The value.
    ///
    /// # Errors
    /// [`WrongThread`] on a thread that is not the executor's.
    pub fn try_get(&self) -> Result<&T, WrongThread> {
        self.value
            .as_ref()
            .and_then(HomeCell::get)
            .ok_or(WrongThread)
    }

    /// The value, mutably.
    ///
    /// # Errors
    /// [`WrongThread`] on a thread that is not the executor's.
    pub fn try_get_mut(&mut self) -> Result<&mut T, WrongThread> {
        self.value
            .as_mut()
            .and_then(HomeCell::get_mut)
            .ok_or(WrongThread)
    }

    /// The value, unbound.
    ///
    /// # Errors
    /// On a thread that is not the executor's it comes back as it was.
    pub fn try_into_inner(mut self) -> Result<T, Self> {
        match self.value.take().map(HomeCell::into_inner) {
            Some(Ok(value)) => Ok(value),
            Some(Err(cell)) => {
                self.value = Some(cell);
                Err(self)
            }
            None => Err(self),
        }
    }

    /// Whether the calling thread is the executor's.
    pub fn is_home(&self) -> bool {
        self.home.local.is_home()
    }
}

#[cold]
#[track_caller]
fn wrong_thread(error: WrongThread) -> ! {
    panic!("{error} (at {})", Location::caller())
}

impl<T> Drop for LoopBound<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.value.take() {
            if cell.is_home() {
                drop(cell);
            } else {
                // Leaked and counted there if home is gone.
                self.home.send(Message::Parcel(Box::new(cell)));
            }
        }
    }
}

impl<F: Future + Unpin> Future for LoopBound<F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let bound = Pin::into_inner(self);
        Pin::new(Self::get_mut(bound)).poll(cx)
    }
}

impl<T> Unpin for LoopBound<T> {}

// Not the content, which may not be looked at from here.
impl<T> fmt::Debug for LoopBound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopBound")
            .field("is_home", &self.is_home())
            .finish_non_exhaustive()
    }
}
