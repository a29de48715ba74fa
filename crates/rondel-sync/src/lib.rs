#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// `wait_list` alone is exempt.
#![deny(unsafe_code)]

// In the order of the imports: each group uses only those above it.
mod waker_slot;

#[allow(unsafe_code)]
pub mod wait_list;

mod store;

mod buffer;

pub mod broadcast;
pub mod event;
pub mod mpsc;
pub mod oneshot;
pub mod queue;
pub mod semaphore;
#[cfg(feature = "shared")]
pub mod shared;
pub mod watch;

pub use event::Event;
pub use queue::{LifoQueue, PriorityQueue, Queue};
pub use semaphore::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
