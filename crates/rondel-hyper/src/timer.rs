//! [`LoopTimer`]: hyper's timeouts on the loop's clock.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use rondel_executor::LoopBound;
use rondel_loop::LocalLoop;

use crate::here::here;

/// hyper's timer on the clock of the loop that runs: a virtual clock reaches hyper, too.
///
/// ```
/// use hyper::rt::Timer;
/// use rondel_hyper::LoopTimer;
/// use std::time::Duration;
///
/// # rondel_loop::run(async {
/// let before = LoopTimer.now();
/// LoopTimer.sleep(Duration::from_millis(1)).await;
/// assert!(LoopTimer.now() - before >= Duration::from_millis(1));
/// # }).unwrap();
/// ```
///
/// # Panics
/// `sleep` and `sleep_until`, if no loop is running on this thread; a sleep that is polled on another thread than its loop's.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopTimer;

/// A sleep of hyper's.
struct HyperSleep(LoopBound<rondel_loop::time::Sleep>);

impl HyperSleep {
    fn boxed(sleep: rondel_loop::time::Sleep) -> Pin<Box<dyn Sleep>> {
        let local = here("rondel_hyper::LoopTimer");
        Box::pin(Self(LoopBound::new(&local.spawner(), sleep)))
    }
}

impl Timer for LoopTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        HyperSleep::boxed(rondel_loop::sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        HyperSleep::boxed(rondel_loop::sleep_until(deadline))
    }

    fn now(&self) -> Instant {
        // Outside a loop there is no clock but the system's.
        LocalLoop::current().map_or_else(|_| Instant::now(), |local| local.time())
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(own) => own.get_mut().0.get_mut().reset(new_deadline),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

impl Sleep for HyperSleep {}

impl Future for HyperSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl fmt::Debug for HyperSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HyperSleep").field(&self.0).finish()
    }
}
