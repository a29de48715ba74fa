//! The system calls that wait, which have no safe wrapper we could use.
//!
//! rustix makes the first only with its feature `linux_5_11`, which would hold for the
//! whole program and take the fallback away: see this crate's `Cargo.toml`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

pub(crate) use libc::epoll_event as RawEvent;

/// `struct __kernel_timespec`: 64 bits wide on every architecture.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

/// epoll_pwait2(2): fills `events` from the front and returns how many.
///
/// `None` waits without limit. The kernel rounds a timeout up, never down, and
/// takes one that is beyond its range for its largest.
pub(crate) fn epoll_pwait2(
    epoll: BorrowedFd<'_>,
    events: &mut [RawEvent],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let timeout = timeout.map(|timeout| KernelTimespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    let capacity = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // syscall(2) takes each of its variadic arguments for a long.
    let (epoll, capacity) = (
        libc::c_long::from(epoll.as_raw_fd()),
        libc::c_long::from(capacity),
    );
    // SAFETY: the arguments are those of epoll_pwait2(2), each as wide as a long.
    // The descriptor is open, being borrowed. The kernel writes at most `capacity`
    // elements, which `events` has, and any bit pattern is a valid `epoll_event`.
    // `timeout` is null or points to a local that outlives the call, in the
    // kernel's own layout. The signal mask is null (none), so its size is not
    // looked at.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll,
            events.as_mut_ptr(),
            capacity,
            timeout,
            ptr::null::<libc::sigset_t>(),
            0usize,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// epoll_wait(2), for where there is no `epoll_pwait2`: as above, with the timeout
/// rounded up to whole milliseconds.
pub(crate) fn epoll_wait(
    epoll: BorrowedFd<'_>,
    events: &mut [RawEvent],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let timeout = timeout.map_or(-1, |timeout| {
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX)
    });
    let capacity = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open, being borrowed, and the kernel writes at most
    // `capacity` elements, which `events` has.
    let count =
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), capacity, timeout) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
