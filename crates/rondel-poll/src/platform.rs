//! Which selector a loop uses if nobody says.

use crate::Selector;
use std::io;

/// The best selector of this system.
///
/// On Linux [`Epoll`](crate::Epoll), or [`Portable`](crate::Portable) if there is no
/// `epoll_pwait2` (before Linux 5.11, or in a sandbox that forbids it); everywhere
/// else [`Portable`](crate::Portable). A build with
/// `--cfg rondel_selector="portable"` uses `Portable` always.
///
/// # Errors
///
/// What the system says: no descriptors left, mostly.
///
/// ```
/// use rondel_poll::{Events, Wait, default_selector};
///
/// let selector = default_selector()?;
/// let mut events = Events::new();
/// selector.wait(&mut events, Wait::Poll, false)?;
/// assert!(events.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn default_selector() -> io::Result<Box<dyn Selector>> {
    #[cfg(all(
        target_os = "linux",
        not(any(rondel_selector = "portable", rondel_selector = "poll"))
    ))]
    match crate::Epoll::new() {
        Ok(epoll) => return Ok(Box::new(epoll)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(error) => return Err(error),
    }
    Ok(Box::new(crate::Portable::new()?))
}
