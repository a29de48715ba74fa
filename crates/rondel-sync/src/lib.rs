#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// `wait_list` alone is exempt.
#![deny(unsafe_code)]

// In the order of the imports: each group uses only those above it.
pub mod label;
mod waker_slot;

#[allow(unsafe_code)]
pub mod wait_list;

mod store;

mod buffer;

pub mod barrier;
pub mod broadcast;
pub mod event;
pub mod lock;
pub mod mpsc;
pub mod notify;
pub mod once_cell;
pub mod oneshot;
pub mod queue;
pub mod semaphore;
#[cfg(feature = "shared")]
pub mod shared;
pub mod watch;

pub mod mutex;
pub mod rw_lock;

pub mod condition;

pub use barrier::Barrier;
pub use condition::Condition;
pub use event::Event;
pub use lock::{Lock, LockGuard, OwnedLockGuard};
pub use mutex::{Mutex, MutexGuard, OwnedMutexGuard};
pub use notify::Notify;
pub use once_cell::OnceCell;
pub use queue::{LifoQueue, PriorityQueue, Queue};
pub use rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
