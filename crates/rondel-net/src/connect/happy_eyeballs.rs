//! RFC 8305, sections 4 and 5: which address comes when.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rondel_loop::time::Sleep;

use super::attempt::Failure;
use super::progress::Tried;

/// Lets the families take turns, the one of the first address first, each in the order that it came in; what is left of the
/// longer one goes last. (A "First Address Family Count" of 1.)
pub(super) fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let count = addresses.len();
    let Some(first) = addresses.first() else {
        return addresses;
    };
    let preferred = first.is_ipv6();
    let (these, those): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == preferred);
    let (mut these, mut those) = (these.into_iter(), those.into_iter());
    let mut interleaved = Vec::with_capacity(count);
    while interleaved.len() < count {
        interleaved.extend(these.next());
        interleaved.extend(those.next());
    }
    interleaved
}

/// Attempts that race: each begins when an earlier one has failed, or the latest has had its head start. The first to succeed
/// wins; the others go with the race. `None`: there are no more addresses, and all attempts have failed.
#[must_use = "futures do nothing unless awaited"]
pub(super) struct Race<'a, S, C> {
    /// What is still to be tried.
    addresses: std::vec::IntoIter<SocketAddr>,
    /// `None`: each has all the time it wants.
    head_start: Option<Duration>,
    start: S,
    /// The latest one's head start.
    pause: Option<Sleep>,
    /// With their place in `tried`.
    under_way: Vec<(usize, C)>,
    tried: &'a RefCell<Vec<Tried>>,
}

impl<'a, S, C, T> Race<'a, S, C>
where
    S: FnMut(SocketAddr) -> Result<C, Failure> + Unpin,
    C: Future<Output = Result<T, Failure>> + Unpin,
{
    pub(super) fn new(
        addresses: Vec<SocketAddr>,
        head_start: Option<Duration>,
        start: S,
        tried: &'a RefCell<Vec<Tried>>,
    ) -> Self {
        Self {
            addresses: addresses.into_iter(),
            head_start,
            start,
            pause: None,
            under_way: Vec::new(),
            tried,
        }
    }

    /// Begins with the next address; `false` if there is none. An attempt may fail on the spot.
    fn begin_next(&mut self) -> bool {
        self.pause = None;
        let Some(address) = self.addresses.next() else {
            return false;
        };
        let begun = (self.start)(address);
        let mut tried = self.tried.borrow_mut();
        let place = tried.len();
        let failure = match begun {
            Ok(attempt) => {
                self.under_way.push((place, attempt));
                None
            }
            Err(failure) => Some(failure),
        };
        tried.push(Tried { address, failure });
        true
    }

    /// Sees how the attempts are doing, the oldest first: the winner's outcome, or how many failed.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Result<T, usize> {
        let before = self.under_way.len();
        let mut index = 0;
        while let Some((place, attempt)) = self.under_way.get_mut(index) {
            match Pin::new(attempt).poll(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(winner)) => return Ok(winner),
                Poll::Ready(Err(failure)) => {
                    self.tried.borrow_mut()[*place].failure = Some(failure);
                    self.under_way.remove(index);
                }
            }
        }
        Err(before - self.under_way.len())
    }
}

impl<S, C, T> Future for Race<'_, S, C>
where
    S: FnMut(SocketAddr) -> Result<C, Failure> + Unpin,
    C: Future<Output = Result<T, Failure>> + Unpin,
{
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        loop {
            // The clock first: the attempts' wait labels say more than its own.
            let had_its_start = match &mut this.pause {
                Some(pause) => Pin::new(pause).poll(cx).is_ready(),
                None => false,
            };
            let failed = match this.poll_attempts(cx) {
                Ok(winner) => return Poll::Ready(Some(winner)),
                Err(failed) => failed,
            };
            if !had_its_start && failed == 0 && !this.under_way.is_empty() {
                return Poll::Pending;
            }
            if !this.begin_next() {
                return if this.under_way.is_empty() {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            }
            if this.addresses.len() > 0 {
                this.pause = this.head_start.map(rondel_loop::sleep);
            }
        }
    }
}

#[cfg(test)]
mod tests;
