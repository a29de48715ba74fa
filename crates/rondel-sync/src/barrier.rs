//! [`Barrier`]: a number of tasks wait for each other.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::label::Awaited;
use crate::wait_list::{WaitList, Waiter};

/// A place where a fixed number of tasks wait for each other, again and again; asyncio's
/// [`Barrier`].
///
/// When as many tasks wait as there are *parties*, all of them are released, each with an index of
/// its own. For tasks of one thread; share it by reference or in an `Rc`.
///
/// # Rounds
///
/// A barrier is *filling* until the last party has arrived; then it is *draining* until all who
/// were released have left, that is have run or have been dropped. Only then the next round begins.
/// Those who arrive in between wait until then and take part in it, in the order of their arrival;
/// so no task gets a round ahead of another.
///
/// [`abort`](Self::abort) makes the barrier *broken*: all who wait and all who come get
/// [`BrokenBarrier`]. [`reset`](Self::reset) ends a round with that error, or mends a broken
/// barrier; here, too, the next round begins when those who were turned away have left
/// (*resetting*).
///
/// A released future that is leaked rather than dropped never leaves, and the next round does not
/// begin.
///
/// [`Barrier`]: https://docs.python.org/3/library/asyncio-sync.html#asyncio.Barrier
///
/// ```
/// # use futures_util::future::FutureExt;
/// # use std::pin::pin;
/// use rondel_sync::Barrier;
///
/// let barrier = Barrier::new(3);
/// let (mut first, mut second) = (pin!(barrier.wait()), pin!(barrier.wait()));
/// assert_eq!(first.as_mut().now_or_never(), None);
/// assert_eq!(second.as_mut().now_or_never(), None);
/// assert_eq!(barrier.n_waiting(), 2);
/// assert_eq!(barrier.wait().now_or_never(), Some(Ok(2)));
/// assert_eq!(first.now_or_never(), Some(Ok(0)));
/// assert_eq!(second.now_or_never(), Some(Ok(1)));
/// assert_eq!(barrier.n_waiting(), 0);
/// ```
pub struct Barrier {
    /// At least 1.
    parties: usize,
    phase: Cell<Phase>,
    /// How many have been handed something and have not left yet. 0 while filling; not 0 while
    /// draining or resetting.
    leaving: Cell<usize>,
    /// Each is handed its index, which counts if the barrier is still draining when it leaves.
    /// While filling these are the round's, fewer than `parties`; while draining or resetting they
    /// are the late ones, who make up the next round without being woken; while broken there are
    /// none.
    waiters: WaitList<(), usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Filling,
    Draining,
    Resetting,
    Broken,
}

impl Barrier {
    /// Makes a barrier for a number of tasks; 0 counts as 1.
    pub const fn new(parties: usize) -> Self {
        Self {
            parties: if parties == 0 { 1 } else { parties },
            phase: Cell::new(Phase::Filling),
            leaving: Cell::new(0),
            waiters: WaitList::new(),
        }
    }

    /// How many tasks it takes to pass.
    pub const fn parties(&self) -> usize {
        self.parties
    }

    /// How many have arrived in this round; 0 unless the barrier is filling.
    ///
    /// Tasks that wait for the round before to be over do not count.
    pub fn n_waiting(&self) -> usize {
        match self.phase.get() {
            Phase::Filling => self.waiters.len(),
            Phase::Draining | Phase::Resetting | Phase::Broken => 0,
        }
    }

    /// Whether it has been [aborted](Self::abort), and not [reset](Self::reset) since.
    pub fn broken(&self) -> bool {
        self.phase.get() == Phase::Broken
    }

    /// Waits until all parties have arrived; returns this one's place in the order of arrival, from
    /// 0, which is what makes it different from the others.
    ///
    /// The task arrives at the first poll. The last one to arrive does not wait at all, unless the
    /// round before is not over.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrier`] if the barrier is broken, or is aborted or reset before the task has left
    /// it: also when all parties had arrived, but this task had not run since.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while the barrier is filling takes the arrival back; the others wait for
    /// another one. (With asyncio two tasks may then get the same index, here never.) Dropped when
    /// all have arrived, it leaves the barrier like one that has run; the others get through.
    ///
    /// ```
    /// # use futures_util::future::FutureExt;
    /// # use rondel_sync::Barrier;
    /// # use std::pin::pin;
    /// let barrier = Barrier::new(2);
    /// let mut impatient = Box::pin(barrier.wait());
    /// let mut patient = pin!(barrier.wait());
    /// assert!(impatient.as_mut().now_or_never().is_none());
    /// drop(impatient);
    /// assert!(patient.as_mut().now_or_never().is_none());
    /// assert_eq!(barrier.wait().now_or_never(), Some(Ok(1)));
    /// assert_eq!(patient.now_or_never(), Some(Ok(0)));
    /// ```
    pub fn wait(&self) -> Wait<'_> {
        Wait {
            barrier: self,
            waiter: Waiter::new(&self.waiters, ()),
            done: false,
        }
    }

    /// Ends the round: all who have arrived and not left yet get [`BrokenBarrier`]. A broken
    /// barrier can be used again.
    ///
    /// Those who came too late for the round are not affected.
    ///
    /// ```
    /// # use futures_util::future::FutureExt;
    /// # use rondel_sync::{Barrier, barrier::BrokenBarrier};
    /// let barrier = Barrier::new(1);
    /// barrier.abort();
    /// assert_eq!(barrier.wait().now_or_never(), Some(Err(BrokenBarrier)));
    /// barrier.reset();
    /// assert_eq!(barrier.wait().now_or_never(), Some(Ok(0)));
    /// ```
    pub fn reset(&self) {
        match self.phase.get() {
            Phase::Filling => {
                if !self.waiters.is_empty() {
                    self.phase.set(Phase::Resetting);
                    self.release(usize::MAX);
                }
            }
            Phase::Draining => self.phase.set(Phase::Resetting),
            Phase::Broken if self.leaving.get() > 0 => self.phase.set(Phase::Resetting),
            Phase::Broken => self.phase.set(Phase::Filling),
            Phase::Resetting => {}
        }
    }

    /// Breaks the barrier: all who wait and all who come get [`BrokenBarrier`], until it is
    /// [reset](Self::reset).
    ///
    /// For when a party cannot come any more. Those who were released and have not run since get
    /// the error, too.
    pub fn abort(&self) {
        self.phase.set(Phase::Broken);
        self.release(usize::MAX);
    }

    /// Lets the first of those who wait go and wakes them; the phase says what becomes of them.
    /// Runs foreign code at its end.
    fn release(&self, up_to: usize) {
        let count = up_to.min(self.waiters.len());
        self.leaving.set(self.leaving.get() + count);
        let mut round = self.waiters.hand_over();
        for index in 0..count {
            round
                .give(index)
                .expect("those who were counted still wait, since nothing ran in between");
        }
    }

    /// Releases those who wait if they are enough to begin and complete a round.
    fn pass_if_full(&self) {
        if self.phase.get() == Phase::Filling && self.waiters.len() >= self.parties() {
            self.phase.set(Phase::Draining);
            self.release(self.parties());
        }
    }

    /// Counts one out that had been released. The last one begins the next round, and may run
    /// foreign code.
    fn leave(&self) {
        let leaving = self.leaving.get() - 1;
        self.leaving.set(leaving);
        if leaving == 0 && self.phase.get() != Phase::Broken {
            self.phase.set(Phase::Filling);
            self.pass_if_full();
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("phase", &self.phase.get())
            .field("waiting", &self.waiters.len())
            .field("leaving", &self.leaving.get())
            .finish()
    }
}

pin_project! {
    /// The future of [`Barrier::wait`].
    ///
    /// # Panics
    ///
    /// When polled after it was ready.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Wait<'a> {
        barrier: &'a Barrier,
        #[pin]
        waiter: Waiter<&'a WaitList<(), usize>, (), usize>,
        done: bool,
    }

    impl PinnedDrop for Wait<'_> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.waiter.cancel().is_some() {
                this.barrier.leave();
            }
        }
    }
}

impl Future for Wait<'_> {
    type Output = Result<usize, BrokenBarrier>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<usize, BrokenBarrier>> {
        let mut this = self.project();
        assert!(!*this.done, "`Barrier::wait` polled after it was ready");
        if this.waiter.is_idle() {
            if this.barrier.broken() {
                *this.done = true;
                return Poll::Ready(Err(BrokenBarrier));
            }
            // The last one to arrive is released like the others: if one of their wakers panics, it
            // still has its index.
            this.waiter.as_mut().enqueue();
            this.barrier.pass_if_full();
        }
        let index = ready!(this.waiter.poll_for(Awaited::Barrier, cx));
        *this.done = true;
        let passed = this.barrier.phase.get() == Phase::Draining;
        this.barrier.leave();
        Poll::Ready(if passed {
            Ok(index)
        } else {
            Err(BrokenBarrier)
        })
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("barrier", self.barrier)
            .field("waiter", &self.waiter)
            .field("done", &self.done)
            .finish()
    }
}

/// The barrier was broken or reset; asyncio's [`BrokenBarrierError`]. From [`Barrier::wait`].
///
/// [`BrokenBarrierError`]: https://docs.python.org/3/library/asyncio-sync.html#asyncio.BrokenBarrierError
#[doc(alias = "BrokenBarrierError")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenBarrier;

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier was aborted or reset before the task had passed it")
    }
}

impl Error for BrokenBarrier {}
