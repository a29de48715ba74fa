//! A bounded channel between tasks and threads.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::block::block_on;
use super::error::{RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use super::lock::{Mutex, lock};
use super::waiters::{self, Waiters, Wakes};
use crate::label::Awaited;

/// Makes a channel that holds at most `bound` items; a bound of 0 counts as 1.
///
/// Both ends can be cloned: any number of tasks and threads may send and receive. Each item goes to
/// one receiver.
pub fn channel<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared(Mutex::new(State {
        items: VecDeque::new(),
        room: bound.max(1),
        available: 0,
        sending: Waiters::new(),
        receiving: Waiters::new(),
        senders: 1,
        receivers: 1,
        closed: false,
    })));
    let sender = Sender(Arc::clone(&shared));
    let place = None;
    (sender, Receiver { shared, place })
}

struct Shared<T>(Mutex<State<T>>);

struct State<T> {
    items: VecDeque<T>,
    /// Places that are neither taken nor granted.
    room: usize,
    /// Items that are not granted to anyone.
    available: usize,
    sending: Waiters,
    receiving: Waiters,
    senders: usize,
    receivers: usize,
    closed: bool,
}

impl<T> State<T> {
    fn push(&mut self, item: T, wakes: &mut Wakes) {
        self.items.push_back(item);
        self.offer(wakes);
    }

    /// An item is there for anyone.
    fn offer(&mut self, wakes: &mut Wakes) {
        if !self.receiving.grant(wakes) {
            self.available += 1;
        }
    }

    fn pop(&mut self, wakes: &mut Wakes) -> Option<T> {
        let item = self.items.pop_front();
        self.vacate(wakes);
        item
    }

    /// A place is there for anyone.
    fn vacate(&mut self, wakes: &mut Wakes) {
        if !self.sending.grant(wakes) {
            self.room += 1;
        }
    }

    fn close(&mut self, wakes: &mut Wakes) {
        self.closed = true;
        self.sending.dismiss(wakes);
        self.receiving.dismiss(wakes);
    }

    fn try_send(&mut self, item: T, wakes: &mut Wakes) -> Result<(), TrySendError<T>> {
        if self.closed {
            return Err(TrySendError::Closed(item));
        }
        if self.room == 0 {
            return Err(TrySendError::Full(item));
        }
        self.room -= 1;
        self.push(item, wakes);
        Ok(())
    }

    fn try_recv(&mut self, wakes: &mut Wakes) -> Result<T, TryRecvError> {
        if self.available > 0 {
            self.available -= 1;
            return self.pop(wakes).ok_or(TryRecvError::Closed);
        }
        Err(if self.closed {
            TryRecvError::Closed
        } else {
            TryRecvError::Empty
        })
    }

    /// For one who may have a place in the queue; takes one if there is nothing.
    fn recv(&mut self, place: &mut Option<u64>, wakes: &mut Wakes) -> Option<Option<T>> {
        if place.is_none() {
            match self.try_recv(wakes) {
                Ok(item) => return Some(Some(item)),
                Err(TryRecvError::Closed) => return Some(None),
                Err(TryRecvError::Empty) => self.receiving.join(1, place),
            }
        } else if self.receiving.take(place) {
            return Some(self.pop(wakes));
        } else if self.closed {
            *place = None;
            return Some(None);
        }
        None
    }
}

impl<T> Shared<T> {
    fn poll_recv(&self, place: &mut Option<u64>, cx: &Context<'_>) -> Poll<Option<T>> {
        waiters::poll(
            &self.0,
            Awaited::Item,
            place,
            cx,
            |state| &mut state.receiving,
            State::recv,
        )
    }

    fn stop_receiving(&self, place: &mut Option<u64>) {
        waiters::give_up(
            &self.0,
            place,
            |state| &mut state.receiving,
            |state, granted, wakes| {
                if granted {
                    state.offer(wakes);
                }
            },
        );
    }
}

/// The end that sends.
///
/// When the last one is dropped, receivers get what is left, then the end.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Sends an item; waits for room if the channel is full.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the item if the channel is closed, before or while this waits.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the future has sent nothing: the item is dropped with it.
    pub fn send(&self, item: T) -> Send<'_, T> {
        Send {
            shared: &self.0,
            item: Some(item),
            place: None,
        }
    }

    /// [`send`](Self::send) that blocks the thread.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_blocking(&self, item: T) -> Result<(), SendError<T>> {
        match block_on(&mut self.send(item), None) {
            Some(sent) => sent,
            None => unreachable!("waiting without a limit ended without an outcome"),
        }
    }

    /// [`send`](Self::send) that blocks the thread for at most that long.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`] with the item.
    pub fn send_timeout(&self, item: T, limit: Duration) -> Result<(), SendTimeoutError<T>> {
        let mut send = self.send(item);
        match block_on(&mut send, Some(limit)) {
            Some(sent) => sent.map_err(|error| SendTimeoutError::Closed(error.0)),
            None => match send.item.take() {
                Some(item) => Err(SendTimeoutError::Timeout(item)),
                None => Ok(()),
            },
        }
    }

    /// Sends an item if there is room that nobody waits for.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] with the item.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let mut wakes = Wakes::new();
        lock(&self.0.0).try_send(item, &mut wakes)
    }

    /// Lets sending fail from now on. What was sent before can still be received.
    pub fn close(&self) {
        let mut wakes = Wakes::new();
        lock(&self.0.0).close(&mut wakes);
    }

    /// Whether sending would fail.
    pub fn is_closed(&self) -> bool {
        lock(&self.0.0).closed
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.0.0).senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut wakes = Wakes::new();
        let mut state = lock(&self.0.0);
        state.senders -= 1;
        if state.senders == 0 {
            state.close(&mut wakes);
        }
        drop(state);
    }
}

/// The end that receives; also a [`Stream`], which ends when the channel is closed and empty.
///
/// When the last one is dropped, what was not received is dropped, and sending fails.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// As a stream that is pending.
    place: Option<u64>,
}

impl<T> Receiver<T> {
    /// Receives the next item; `None` if the channel is closed and empty.
    ///
    /// Empty of what is not handed to others: should one of those give up after the close, his item
    /// is there for a later call.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped: what had been handed to it goes to the next.
    pub fn recv(&self) -> Recv<'_, T> {
        Recv {
            shared: &self.shared,
            place: None,
        }
    }

    /// [`recv`](Self::recv) that blocks the thread.
    pub fn recv_blocking(&self) -> Option<T> {
        block_on(&mut self.recv(), None).flatten()
    }

    /// [`recv`](Self::recv) that blocks the thread for at most that long.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`] if nothing came in time, or nothing will come.
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, RecvTimeoutError> {
        match block_on(&mut self.recv(), Some(limit)) {
            Some(item) => item.ok_or(RecvTimeoutError::Closed),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Receives the next item if there is one that nobody waits for.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] if one may still come, or not.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut wakes = Wakes::new();
        lock(&self.shared.0).try_recv(&mut wakes)
    }

    /// Lets sending fail from now on. What was sent before can still be received.
    pub fn close(&self) {
        let mut wakes = Wakes::new();
        lock(&self.shared.0).close(&mut wakes);
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        this.shared.poll_recv(&mut this.place, cx)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        lock(&self.shared.0).receivers += 1;
        Self {
            shared: Arc::clone(&self.shared),
            place: None,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.stop_receiving(&mut self.place);
        // Dropped without the lock.
        let mut wakes = Wakes::new();
        let mut items = VecDeque::new();
        let mut state = lock(&self.shared.0);
        state.receivers -= 1;
        if state.receivers == 0 {
            state.close(&mut wakes);
            state.available = 0;
            std::mem::swap(&mut items, &mut state.items);
        }
        drop(state);
        drop(wakes);
        drop(items);
    }
}

/// The future of [`Sender::send`].
///
/// # Panics
///
/// When polled after it was ready.
#[must_use = "futures do nothing unless awaited"]
pub struct Send<'a, T> {
    shared: &'a Shared<T>,
    item: Option<T>,
    place: Option<u64>,
}

// The item is not pinned: it is only ever moved.
impl<T> Unpin for Send<'_, T> {}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let slot = &mut this.item;
        waiters::poll(
            &this.shared.0,
            Awaited::Room,
            &mut this.place,
            cx,
            |state| &mut state.sending,
            |state, place, wakes| {
                let item = slot.take().expect("`send` polled after it was ready");
                if place.is_none() {
                    match state.try_send(item, wakes) {
                        Ok(()) => return Some(Ok(())),
                        Err(TrySendError::Closed(item)) => return Some(Err(SendError(item))),
                        Err(TrySendError::Full(item)) => {
                            *slot = Some(item);
                            state.sending.join(1, place);
                        }
                    }
                } else {
                    let granted = state.sending.take(place);
                    if state.closed {
                        *place = None;
                        return Some(Err(SendError(item)));
                    }
                    if granted {
                        state.push(item, wakes);
                        return Some(Ok(()));
                    }
                    *slot = Some(item);
                }
                None
            },
        )
    }
}

impl<T> Drop for Send<'_, T> {
    fn drop(&mut self) {
        waiters::give_up(
            &self.shared.0,
            &mut self.place,
            |state| &mut state.sending,
            |state, granted, wakes| {
                if granted {
                    state.vacate(wakes);
                }
            },
        );
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, T> {
    shared: &'a Shared<T>,
    place: Option<u64>,
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        this.shared.poll_recv(&mut this.place, cx)
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        self.shared.stop_receiving(&mut self.place);
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0);
        f.debug_struct("Channel")
            .field("len", &state.items.len())
            .field("senders", &state.senders)
            .field("receivers", &state.receivers)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

macro_rules! debug {
    ($($name:literal $type:ty, $shared:tt;)*) => {$(
        impl<T> fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)
                    .field("channel", &*self.$shared)
                    .finish_non_exhaustive()
            }
        }
    )*};
}

debug! {
    "Sender" Sender<T>, 0;
    "Receiver" Receiver<T>, shared;
    "Send" Send<'_, T>, shared;
    "Recv" Recv<'_, T>, shared;
}
