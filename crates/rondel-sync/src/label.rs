//! What tasks wait for, said to whoever wants to know: an executor that keeps labels of its tasks.
//!
//! This crate knows no executor. One that can say which task runs, and note what it waits for, [connects](connect) here once for the
//! whole process; then every future of this crate that answers `Pending` says what it waits for. With
//! [`keep_traces`], it also notes who holds each lock, who put something into each queue last, and so on, so that tasks that wait for
//! each other can be found.
//!
//! Those of `shared` say what is waited for, too, but not who has had to do with it: as a rule another thread.
//!
//! ```
//! use rondel_sync::{Lock, label};
//! use std::cell::Cell;
//! use std::future::Future;
//! use std::pin::pin;
//! use std::task::{Context, Waker};
//!
//! thread_local! {
//!     static LAST: Cell<Option<(label::Awaited, u32)>> = const { Cell::new(None) };
//! }
//!
//! label::connect(label::Labels {
//!     waits: |awaited, which| LAST.set(Some((awaited, which))),
//!     running: || Some(label::Party { task: 7, child: 0 }),
//! })
//! .expect("nobody else is connected");
//! label::keep_traces(true);
//!
//! let lock = Lock::new();
//! let held = lock.try_acquire().unwrap();
//! let mut second = pin!(lock.acquire());
//! assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
//! let (awaited, which) = LAST.get().unwrap();
//! assert_eq!(awaited, label::Awaited::Lock);
//! assert_eq!(label::traces(which).holder.unwrap().task, 7, "the task that has the lock");
//! drop(held);
//! ```

mod traces;

use std::error::Error;
use std::fmt;
use std::sync::OnceLock;

pub(crate) use traces::{Anchor, gave, holds, lets_go, sets_unfinished, took};
pub use traces::{Traces, keep_traces, traces};

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Awaited {
    /// A [`Lock`](crate::Lock), [`Mutex`](crate::Mutex) or [`RwLock`](crate::RwLock).
    Lock,
    /// Permits of a [`Semaphore`](crate::Semaphore).
    Permits,
    /// An [`Event`](crate::Event).
    Event,
    /// A notification, of a [`Condition`](crate::Condition) or a [`Notify`](crate::Notify).
    Notification,
    /// The others at a [`Barrier`](crate::Barrier).
    Barrier,
    /// Something to take out of a queue or channel.
    Item,
    /// Room in a queue or channel.
    Room,
    /// The end of all that was put into a queue.
    Joined,
    /// A value that changes or is set once: `watch`, `OnceCell`.
    Value,
    /// The end of the other side of a channel.
    Closing,
}

/// Who is connected; see [`connect`].
#[derive(Clone, Copy)]
pub struct Labels {
    /// Notes what the running task waits for. The number tells apart things of the same kind, as long as they live.
    pub waits: fn(Awaited, u32),
    /// Who is running; `None` outside of tasks.
    pub running: fn() -> Option<Party>,
}

/// A task, or a part of one that waits, and is waited for, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Party {
    /// The task's number.
    pub task: u64,
    /// The number of the part; 0 for the task outside of its parts.
    pub child: u64,
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labels").finish_non_exhaustive()
    }
}

/// Somebody is connected already; see [`connect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected;

impl fmt::Display for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels of waiting tasks go to somebody else already")
    }
}

impl Error for Connected {}

static LABELS: OnceLock<Labels> = OnceLock::new();

/// Has `labels` told from now on, in the whole process, for good.
///
/// # Errors
///
/// [`Connected`] if somebody was there before.
pub fn connect(labels: Labels) -> Result<(), Connected> {
    LABELS.set(labels).map_err(|_| Connected)
}

/// The number of something that lives at this address.
#[inline]
#[allow(
    clippy::cast_possible_truncation,
    reason = "two that live at the same time hardly ever share the low half"
)]
pub(crate) fn number<T>(of: &T) -> u32 {
    // Without the bits that are always zero.
    ((&raw const *of).addr() >> 3) as u32
}

/// The running task waits.
#[inline]
pub(crate) fn waits(awaited: Awaited, number: u32) {
    if let Some(labels) = LABELS.get() {
        (labels.waits)(awaited, number);
    }
}

/// Who is running, if it is known.
fn running() -> Option<Party> {
    LABELS.get().and_then(|labels| (labels.running)())
}
