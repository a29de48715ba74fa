//! A channel from several senders to one receiver, between tasks of one thread.
//!
//! It is a [`Queue`](crate::Queue) in two ends, each of which notices when the other one is gone.
//! Nothing is allocated once the buffer has grown to what is used of it.
//!
//! ```
//! # use futures_util::future::{join, FutureExt};
//! use rondel_sync::mpsc;
//!
//! let (sender, mut receiver) = mpsc::channel(10);
//! let send = async move {
//!     for n in 0..3 {
//!         sender.send(n).await?;
//!     }
//!     Ok::<_, mpsc::SendError<i32>>(())
//! };
//! let receive = async {
//!     let mut all = Vec::new();
//!     while let Some(n) = receiver.recv().await {
//!         all.push(n);
//!     }
//!     all
//! };
//! let (sent, received) = join(send, receive).now_or_never().unwrap();
//! assert_eq!(sent, Ok(()));
//! assert_eq!(received, [0, 1, 2]);
//! ```

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::buffer::Buffer;
use crate::store::Fifo;
use crate::wait_list::{HandOver, WaitList};

mod error;
mod receiver;
mod sender;

pub use error::{SendError, TryRecvError, TrySendError};
pub use receiver::{Receiver, Recv};
pub use sender::{ReceiverClosed, Send, Sender};

use receiver::Receiving;

/// Makes a channel that holds at most `bound` items; a bound of 0 counts as 1.
pub fn channel<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
    pair(Some(bound.max(1)))
}

/// Makes a channel that holds **any number** of items: sending never waits, and a receiver that is
/// too slow shows as memory.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    pair(None)
}

fn pair<T>(limit: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        buffer: Buffer::new(limit),
        receiving: Receiving::new(),
        senders: Cell::new(1),
        watchers: WaitList::new(),
    });
    (
        Sender {
            shared: Rc::clone(&shared),
        },
        Receiver { shared },
    )
}

/// State of both ends.
struct Shared<T> {
    buffer: Buffer<Fifo<T>>,
    receiving: Receiving,
    senders: Cell<usize>,
    /// Those who wait for the end of the receiver.
    watchers: WaitList,
}

impl<T> Shared<T> {
    /// Whether nothing more will be sent.
    fn is_over(&self) -> bool {
        self.senders.get() == 0 || self.buffer.is_closed()
    }

    fn close(&self) {
        drop(self.closing());
    }

    /// Closes; the guards wake those who notice.
    fn closing(&self) -> (HandOver<'_, (), ()>, HandOver<'_, (), ()>) {
        let putters = self.buffer.close();
        let mut watchers = self.watchers.hand_over();
        while watchers.give(()).is_ok() {}
        (putters, watchers)
    }

    /// An item has been taken out: its place goes to the first who waits for one.
    #[inline]
    fn let_in(&self, item: T) -> T {
        match self.buffer.vacate() {
            None => item,
            Some(round) => {
                let mut taken = Taken {
                    shared: self,
                    item: Some(item),
                };
                drop(round);
                taken.item.take().expect("it was put there just now")
            }
        }
    }
}

/// An item on its way out, which goes back if a waker panics.
struct Taken<'a, T> {
    shared: &'a Shared<T>,
    item: Option<T>,
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.shared.buffer.put_back(item);
        }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("len", &self.buffer.len())
            .field("senders", &self.senders.get())
            .field("waiting_senders", &self.buffer.putters().len())
            .field("is_closed", &self.buffer.is_closed())
            .finish_non_exhaustive()
    }
}
