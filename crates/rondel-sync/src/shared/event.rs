//! A flag that tasks and threads wait for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::block::block_on;
use super::lock::{Mutex, lock};
use super::waiters::{self, Waiters, Wakes};
use crate::label::Awaited;

/// A flag that any number of tasks and threads can wait for: [`Event`](crate::Event) between
/// threads.
///
/// ```
/// use rondel_sync::shared::Event;
///
/// let ready = Event::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| ready.wait_blocking());
///     ready.set();
/// });
/// ```
pub struct Event(Mutex<State>);

struct State {
    set: bool,
    waiters: Waiters,
}

impl Event {
    /// Makes an event that is not set.
    pub fn new() -> Self {
        Self(Mutex::new(State {
            set: false,
            waiters: Waiters::new(),
        }))
    }

    /// Sets the flag and wakes all who wait, even if it is cleared before they run.
    pub fn set(&self) {
        let mut wakes = Wakes::new();
        let mut state = lock(&self.0);
        state.set = true;
        while state.waiters.grant(&mut wakes) {}
    }

    /// Resets the flag.
    pub fn clear(&self) {
        lock(&self.0).set = false;
    }

    /// Whether the flag is set.
    pub fn is_set(&self) -> bool {
        lock(&self.0).set
    }

    /// Waits until the event is set.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only takes it off the list of those who wait.
    pub fn wait(&self) -> Wait<'_> {
        Wait {
            event: self,
            place: None,
        }
    }

    /// Blocks the thread until the event is set.
    pub fn wait_blocking(&self) {
        block_on(&mut self.wait(), None);
    }

    /// Blocks the thread until the event is set, for at most that long; false if it was not set.
    #[must_use = "whether it was set"]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        block_on(&mut self.wait(), Some(limit)).is_some()
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0);
        f.debug_struct("Event")
            .field("set", &state.set)
            .field("waiting", &state.waiters.len())
            .finish()
    }
}

/// The future of [`Event::wait`].
#[must_use = "futures do nothing unless awaited"]
pub struct Wait<'a> {
    event: &'a Event,
    place: Option<u64>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        waiters::poll(
            &this.event.0,
            Awaited::Event,
            &mut this.place,
            cx,
            |s| &mut s.waiters,
            |state, place, _| {
                if place.is_none() {
                    if state.set {
                        return Some(());
                    }
                    state.waiters.join(1, place);
                }
                state.waiters.take(place).then_some(())
            },
        )
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        waiters::give_up(
            &self.event.0,
            &mut self.place,
            |s| &mut s.waiters,
            |_, _, _| {},
        );
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("event", self.event)
            .field("waits", &self.place.is_some())
            .finish()
    }
}
