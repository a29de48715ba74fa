//! [`RondelRuntime`]: quinn's idea of a runtime.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime};
use rondel_executor::LoopBound;
use rondel_loop::{LocalLoop, LoopHandle, NoRunningLoop};

use crate::clock::Clock;
use crate::socket::LoopSocket;
use crate::timer::LoopTimer;

/// A loop as quinn's runtime: its timers run on the loop's clock, its tasks and its sockets on the loop's thread.
///
/// For [`quinn::Endpoint::new`] and its kin; [`client`](crate::client), [`server`](crate::server) and
/// [`endpoint`](crate::endpoint) do that by themselves.
///
/// # Threads
/// It is bound to the thread it was made on. Endpoints, connections and streams may be used and dropped elsewhere: what they have to
/// send and to wait for happens at home. Only a new socket has to be given to the loop at home:
/// [`wrap_udp_socket`](Runtime::wrap_udp_socket), and with it `Endpoint::rebind`, fails elsewhere with
/// [`WrongThread`](rondel_executor::WrongThread) inside of the [`io::Error`]. So does receiving, which only quinn's own tasks do.
///
/// Elsewhere [`now`](Runtime::now) goes on from the time last told at home, at the system's pace.
///
/// # Panics
/// [`new_timer`](Runtime::new_timer) and its timers, used on another thread.
///
/// # The end of the loop
/// quinn's tasks end with the loop, without a farewell to peers. A socket is closed with the last handle of its endpoint and of its
/// connections, also if that is dropped later and on another thread. What is spawned after the end is dropped.
///
/// Each socket has a task of the loop's, named `QUIC on` and the address.
///
/// ```
/// use rondel_quinn::RondelRuntime;
/// use rondel_quinn::quinn::Runtime;
///
/// assert!(RondelRuntime::current().is_err());
/// # rondel_loop::run(async {
/// let runtime = RondelRuntime::current()?;
/// assert!(runtime.now() <= rondel_loop::LocalLoop::current()?.time());
/// # Ok::<(), rondel_loop::NoRunningLoop>(())
/// # }).unwrap().unwrap();
/// ```
pub struct RondelRuntime {
    local: LoopBound<LocalLoop>,
    handle: LoopHandle,
    clock: Clock,
}

impl RondelRuntime {
    /// The loop that runs on this thread.
    ///
    /// # Errors
    /// [`NoRunningLoop`] outside tasks and callbacks.
    pub fn current() -> Result<Self, NoRunningLoop> {
        Ok(Self::new(&LocalLoop::current()?))
    }

    /// This loop, which need not run yet.
    pub fn new(local: &LocalLoop) -> Self {
        Self {
            handle: local.handle(),
            clock: Clock::new(local),
            local: LoopBound::new(&local.spawner(), local.clone()),
        }
    }
}

impl Runtime for RondelRuntime {
    fn new_timer(&self, deadline: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(LoopTimer::new(self.local.get(), deadline))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        // Nobody waits for it; the loop does, at its end.
        match self.local.try_get() {
            Ok(local) => drop(local.create_task(future)),
            // Of a closed loop: the future is dropped, and quinn tells whoever waits for it.
            Err(_) => drop(self.handle.spawn(future)),
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = self.local.try_get().map_err(io::Error::other)?;
        Ok(Arc::new(LoopSocket::new(local, socket)?))
    }

    fn now(&self) -> Instant {
        self.clock.now(&self.local)
    }
}

impl fmt::Debug for RondelRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RondelRuntime")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
