//! [`OnceCell`]: a value that is made once, by whoever needs it first.

use std::cell::{self, Cell};
use std::convert::Infallible;
use std::fmt;
use std::pin::pin;

use crate::wait_list::WaitList;

mod error;
mod turn;

pub use error::SetError;

use turn::{Handed, NextTurn};

/// A value that is made once, by an asynchronous function of whoever needs it first, while the
/// others wait for it.
///
/// For tasks of one thread; share it by reference or in an `Rc`. asyncio has none; the names are
/// those of [`std::cell::OnceCell`] and of [tokio's `OnceCell`].
///
/// # Turns
///
/// One task at a time initialises. If it succeeds, all who wait get the value. If it fails, panics
/// or is dropped, the turn goes to the one who has waited longest, who runs his own function;
/// nobody who comes later gets in front of him. What the last one had begun has been dropped by
/// then, so that two initialisations never overlap.
///
/// A function that waits for the cell which it is to fill waits for itself, for ever.
///
/// [tokio's `OnceCell`]: https://docs.rs/tokio/latest/tokio/sync/struct.OnceCell.html
///
/// ```
/// # use futures_util::future::{FutureExt, join};
/// # use std::cell::Cell;
/// use rondel_sync::OnceCell;
///
/// let connections = Cell::new(0);
/// let connect = async || {
///     connections.set(connections.get() + 1);
///     "connected"
/// };
/// let connection = OnceCell::new();
/// let user = async || *connection.get_or_init(connect).await;
/// assert_eq!(join(user(), user()).now_or_never(), Some(("connected", "connected")));
/// assert_eq!(connections.get(), 1);
/// ```
pub struct OnceCell<T> {
    value: cell::OnceCell<T>,
    /// Whether somebody has the turn, who may not have run yet. If nobody has, nobody waits, and if
    /// there is a value, nobody has.
    taken: Cell<bool>,
    waiters: WaitList<(), Handed>,
}

impl<T> OnceCell<T> {
    /// Makes an empty cell.
    pub const fn new() -> Self {
        Self {
            value: cell::OnceCell::new(),
            taken: Cell::new(false),
            waiters: WaitList::new(),
        }
    }

    /// The value, `None` if there is none yet.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value to be changed, `None` if there is none yet.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Whether somebody initialises the cell at present, or has been given the turn to.
    pub fn initializing(&self) -> bool {
        self.taken.get()
    }

    /// How many tasks wait for somebody else to initialise the cell.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Fills the cell.
    ///
    /// # Errors
    ///
    /// [`SetError`], with the value, if the cell is full or being initialised.
    ///
    /// ```
    /// # use rondel_sync::OnceCell;
    /// # use rondel_sync::once_cell::SetError;
    /// let cell = OnceCell::new();
    /// assert_eq!(cell.set("first"), Ok(()));
    /// assert_eq!(cell.set("second"), Err(SetError::Initialized("second")));
    /// assert_eq!(cell.get(), Some(&"first"));
    /// ```
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        if self.taken.get() {
            return Err(SetError::Initializing(value));
        }
        self.value.set(value).map_err(SetError::Initialized)
    }

    /// The value; made by `init` if there is none. Waits while another task is making it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while it waits gives up its place in the queue. Dropping it while it
    /// runs `init` drops what `init` had begun, and gives the turn to the next, who begins anew
    /// with his own function.
    pub async fn get_or_init(&self, init: impl AsyncFnOnce() -> T) -> &T {
        let init = async || Ok::<T, Infallible>(init().await);
        match self.get_or_try_init(init).await {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// The value; made by `init`, which may fail, if there is none. Waits while another task is
    /// making it.
    ///
    /// # Errors
    ///
    /// The error of `init`. The cell stays empty, and the next in the queue has the turn.
    ///
    /// # Cancel safety
    ///
    /// As with [`get_or_init`](Self::get_or_init).
    ///
    /// ```
    /// # use futures_util::FutureExt;
    /// # use rondel_sync::OnceCell;
    /// let port = OnceCell::new();
    /// let parse = |text: &'static str| port.get_or_try_init(async move || text.parse::<u16>());
    /// assert!(parse("http").now_or_never().unwrap().is_err());
    /// assert_eq!(parse("80").now_or_never().unwrap(), Ok(&80));
    /// assert_eq!(parse("443").now_or_never().unwrap(), Ok(&80));
    /// ```
    pub async fn get_or_try_init<E>(
        &self,
        init: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        loop {
            if let Some(value) = self.get() {
                return Ok(value);
            }
            // Dropped after the turn and not right here: that drops a waker, which may panic, and
            // Rust forgets what an expression has come to if one of its temporaries panics.
            let next = pin!(NextTurn::new(self));
            let Some(turn) = next.await else {
                continue;
            };
            // Until there is a value, whatever ends this gives the turn to the next.
            let value = init().await?;
            return Ok(turn.finish(value));
        }
    }

    /// Takes the value out; the cell is empty again.
    ///
    /// ```
    /// # use rondel_sync::OnceCell;
    /// let mut cell = OnceCell::from(1);
    /// assert_eq!(cell.take(), Some(1));
    /// assert_eq!(cell.set(2), Ok(()));
    /// ```
    pub fn take(&mut self) -> Option<T> {
        // Only futures that were leaked can still have the turn or a place in the queue, and they
        // are left behind with the old cell.
        std::mem::take(self).into_inner()
    }

    /// The value, `None` if there is none.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> Self {
        Self {
            value: value.into(),
            ..Self::new()
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceCell")
            .field("value", &self.get())
            .field("initializing", &self.initializing())
            .field("waiting", &self.waiting())
            .finish()
    }
}
