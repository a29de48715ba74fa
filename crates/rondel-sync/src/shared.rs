//! Synchronisation between threads: a [channel](channel()), an [`Event`], a [`Semaphore`], each with an
//! end for tasks and one for threads that block.
//!
//! These are `Send` and `Sync`, and pay for it with a lock at each call. Between tasks of one
//! thread take their namesakes a level above.
//!
//! Order is theirs, too: strictly first come, first served, tasks and threads alike; what becomes
//! available is handed over there and then. A waker that panics is contained: its panic has nobody
//! to go to.
//!
//! Do not call a `_blocking` method on the thread of an event loop: it stops the loop, and what it
//! waits for may never come.
//!
//! ```
//! # use futures_util::StreamExt;
//! use rondel_sync::shared;
//!
//! let (sender, receiver) = shared::channel(8);
//! let thread = std::thread::spawn(move || {
//!     for n in 0..100 {
//!         sender.send_blocking(n)?;
//!     }
//!     Ok::<_, shared::SendError<i32>>(())
//! });
//! # let sum = std::iter::from_fn(|| receiver.recv_blocking()).sum::<i32>();
//! # let _ = async {
//! // In a task:
//! let sum = receiver.fold(0, async |sum, n| sum + n).await;
//! # };
//! assert_eq!(sum, 4950);
//! assert_eq!(thread.join().unwrap(), Ok(()));
//! ```

mod block;
mod channel;
mod error;
mod event;
mod lock;
mod semaphore;
mod waiters;

pub use channel::{Receiver, Recv, Send, Sender, channel};
pub use error::{RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
pub use event::{Event, Wait};
pub use semaphore::{Acquire, Semaphore, SemaphorePermit};
