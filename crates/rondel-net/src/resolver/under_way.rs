//! Look-ups under way: one for a name, however many wait for it.
//!
//! ```text
//!                    ┌ first waiter: a job for the pool             ┌ outcome: wakes all, out of the table
//!   not there ───────┴────> queued ──────────────────> running ─────┴────> done, kept by those who have not looked yet
//!                              │ last waiter leaves       │ last waiter leaves
//!                              └ taken back               └ stays in the table: whoever asks again joins it
//! ```
//!
//! That a running one can be joined again matters: someone who gives a stuck name server another try every few seconds
//! occupies one thread, not all of them.
//!
//! Both locks are held for a few instructions only, and nothing foreign runs under them: no waker, no look-up, no destructor
//! but our own. Where both are taken, the table's comes first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use rondel_executor::{Job, ThreadPool};
use rondel_loop::{LocalLoop, Outstanding};

use super::error::ResolveError;

/// As many names as are looked up at the same time.
const THREADS: usize = 4;

/// What a look-up came to.
pub(super) type Found = Result<Arc<[SocketAddr]>, ResolveError>;

type LookUpFn = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The state of a resolver.
pub(super) struct Shared {
    pool: ThreadPool,
    look_up: Box<LookUpFn>,
    /// By name; those that are done have left.
    table: Mutex<HashMap<Arc<str>, Arc<Query>>>,
}

/// One look-up.
struct Query {
    host: Arc<str>,
    state: Mutex<QueryState>,
}

#[derive(Default)]
struct QueryState {
    /// A thread has begun: it cannot be taken back.
    begun: bool,
    found: Option<Found>,
    /// In the order of their numbers, which is that of asking.
    waiters: Vec<Waiter>,
    /// The number of the next waiter.
    next: u64,
    job: Option<Job<()>>,
}

impl QueryState {
    /// Where the waiter of this number is.
    fn place(&self, number: u64) -> Option<usize> {
        self.waiters
            .binary_search_by_key(&number, |waiter| waiter.number)
            .ok()
    }
}

struct Waiter {
    number: u64,
    waker: Waker,
    /// Let go once the waker has been woken: whoever sees it gone finds the wake-up made.
    outstanding: Option<Outstanding>,
}

impl Shared {
    pub(super) fn new(look_up: Box<LookUpFn>) -> Self {
        Self {
            pool: ThreadPool::builder()
                .threads(THREADS)
                .name("rondel-resolver")
                .build(),
            look_up,
            table: Mutex::default(),
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.pool.threads()
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.table).len()
    }

    /// Waits for `host`: in the look-up that is under way, else in a new one.
    pub(super) fn join(this: &Arc<Self>, host: &Arc<str>, waker: &Waker) -> Ticket {
        let mut waiter = Waiter {
            number: 0,
            waker: waker.clone(),
            outstanding: LocalLoop::current().ok().map(|local| local.outstanding()),
        };
        let mut table = lock(&this.table);
        let (query, is_new) = match table.entry(Arc::clone(host)) {
            Entry::Occupied(entry) => (Arc::clone(entry.get()), false),
            Entry::Vacant(entry) => {
                let query = Arc::new(Query {
                    host: Arc::clone(host),
                    state: Mutex::default(),
                });
                (Arc::clone(entry.insert(query)), true)
            }
        };
        let mut state = lock(&query.state);
        let number = state.next;
        waiter.number = number;
        state.next += 1;
        state.waiters.push(waiter);
        drop(state);
        drop(table);
        if is_new {
            Self::submit(this, &query);
        }
        Ticket {
            shared: Arc::clone(this),
            query,
            number,
        }
    }

    fn submit(this: &Arc<Self>, query: &Arc<Query>) {
        let job = this.pool.submit({
            let (shared, query) = (Arc::clone(this), Arc::clone(query));
            move || shared.run(&query)
        });
        match job {
            // Its outcome comes by way of the query.
            Ok(job) => lock(&query.state).job = Some(job),
            Err(error) => this.finish(query, Err(ResolveError::no_thread(&query.host, error))),
        }
    }

    /// On a thread of the pool.
    fn run(&self, query: &Arc<Query>) {
        {
            let table = lock(&self.table);
            // It was taken back while the pool was handing it to this thread.
            if !is_in(&table, query) {
                return;
            }
            lock(&query.state).begun = true;
        }
        let host = &*query.host;
        // The panic hook has spoken; here it must not keep everybody waiting.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.look_up)(host)));
        let found = match outcome {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(ResolveError::no_address(host)),
            Ok(Ok(addresses)) => Ok(Arc::from(addresses)),
            Ok(Err(error)) => Err(ResolveError::new(host, error)),
            Err(_) => Err(ResolveError::panicked(host)),
        };
        self.finish(query, found);
    }

    fn finish(&self, query: &Arc<Query>, found: Found) {
        let mut table = lock(&self.table);
        let mut state = lock(&query.state);
        if is_in(&table, query) {
            table.remove(&query.host);
        }
        state.found = Some(found);
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        drop(table);
        for waiter in waiters {
            // Foreign code: if it panics, that is no reason not to wake the others.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                waiter.waker.wake();
                drop(waiter.outstanding);
            }));
        }
    }

    /// A waiter does not wait any more. The last one takes the look-up back if it has not begun.
    fn leave(&self, query: &Arc<Query>, number: u64) {
        let mut table = lock(&self.table);
        let mut state = lock(&query.state);
        let place = state.place(number);
        let gone = place.map(|place| state.waiters.remove(place));
        let unwanted = state.waiters.is_empty() && !state.begun && is_in(&table, query);
        let job = if unwanted {
            table.remove(&query.host);
            state.job.take()
        } else {
            None
        };
        drop(state);
        drop(table);
        drop(gone);
        if let Some(job) = job {
            // If a thread has just got it, that one sees that it has left the table.
            job.cancel();
        }
    }
}

fn is_in(table: &HashMap<Arc<str>, Arc<Query>>, query: &Arc<Query>) -> bool {
    table
        .get(&query.host)
        .is_some_and(|known| Arc::ptr_eq(known, query))
}

/// A place among those who wait for a look-up; dropped, it is given up.
pub(super) struct Ticket {
    shared: Arc<Shared>,
    query: Arc<Query>,
    number: u64,
}

impl Ticket {
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Found> {
        let mut fresh: Option<Waker> = None;
        loop {
            let mut state = lock(&self.query.state);
            if let Some(found) = &state.found {
                return Poll::Ready(found.clone());
            }
            let place = state
                .place(self.number)
                .expect("a waiter is listed until there is an outcome or its ticket is gone");
            let waiter = &mut state.waiters[place];
            if waiter.waker.will_wake(waker) {
                return Poll::Pending;
            }
            if let Some(fresh) = fresh.take() {
                let stale = std::mem::replace(&mut waiter.waker, fresh);
                drop(state);
                drop(stale);
                return Poll::Pending;
            }
            // Cloning is foreign code; then look again.
            drop(state);
            fresh = Some(waker.clone());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.leave(&self.query, self.number);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.query.host.fmt(f)
    }
}

/// Nothing that could panic runs under these locks, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
