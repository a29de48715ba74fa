//! Awaitable time: sleeping, timeouts, cancel scopes, intervals, yielding. All of it is measured on the loop's clock.

mod cancel_scope;
mod interval;
mod limited;
mod move_on;
mod sleep;
mod timeout;
mod yield_now;

pub use cancel_scope::{CancelScope, ScopeCancelled};
pub use interval::{Interval, MissedTicks, interval, interval_at};
pub use move_on::{MoveOn, move_on_after, move_on_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
pub use yield_now::{YieldNow, yield_now};
