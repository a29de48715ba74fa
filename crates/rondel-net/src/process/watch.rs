//! What notices that a child has ended: a pidfd registered with the loop, else a thread that waits.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use rondel_executor::Callback;
use rondel_loop::{LocalLoop, Registration};

use crate::process::exit::Exit;
use crate::process::orphan;

/// The watch over one child. Its handle may go: the loop keeps it until the child has ended.
pub(super) struct Watch {
    exit: Arc<Exit>,
    /// `None` if a thread waits, and once the child has ended.
    registration: RefCell<Option<Registration>>,
}

impl Watch {
    /// Begins to watch. `by_thread` has a thread wait even where the loop could.
    pub(super) fn begin(
        local: &LocalLoop,
        exit: Arc<Exit>,
        by_thread: bool,
    ) -> io::Result<Rc<Self>> {
        let registration = match by_thread {
            true => None,
            false => register(local, &exit),
        };
        let watch = Rc::new(Self {
            exit: Arc::clone(&exit),
            registration: RefCell::new(registration.clone()),
        });
        match registration {
            Some(registration) => {
                let hook = Hook(Rc::clone(&watch));
                registration.set_callback(Some(Rc::new(hook)));
            }
            // The clock of a loop whose time is not the system's stands still meanwhile.
            None => orphan::wait_in_thread(exit, Some(local.handle().outstanding()))?,
        }
        Ok(watch)
    }

    pub(super) const fn exit(&self) -> &Arc<Exit> {
        &self.exit
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        let registration = self.registration.borrow().clone();
        self.exit
            .signal(signal, registration.as_ref().map(AsFd::as_fd))
    }

    /// The pidfd says that the child has ended.
    fn on_ready(&self) {
        let registration = self.registration.borrow().clone();
        let Some(registration) = registration else {
            return;
        };
        let ended = registration.try_read(|_| match self.exit.look() {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        });
        if ended.is_ok() {
            let done = self.registration.borrow_mut().take();
            drop(done);
        }
    }
}

/// Linux since 5.3. A child whose pidfd cannot be had, for lack of descriptors say, is watched by a thread.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn register(local: &LocalLoop, exit: &Exit) -> Option<Registration> {
    use rondel_loop::SourceKind;
    use rustix::process::{PidfdFlags, pidfd_open};

    let pidfd = pidfd_open(exit.pid(), PidfdFlags::empty()).ok()?;
    let registration = local.register(pidfd, SourceKind::Other).ok()?;
    Some(registration)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn register(_: &LocalLoop, _: &Exit) -> Option<Registration> {
    None
}

/// What the registration calls. It goes when the child has ended, or else with the loop: then a thread takes over.
struct Hook(Rc<Watch>);

impl Callback for Hook {
    fn call(self: Rc<Self>) {
        self.0.on_ready();
    }

    fn site(&self) -> &'static Location<'static> {
        Location::caller()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if self.0.exit.known().is_none() {
            orphan::adopt(Arc::clone(&self.0.exit));
        }
    }
}
