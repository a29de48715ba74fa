//! What one waits for and what one is told.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

/// The common part of the two sets of flags.
macro_rules! flag_set {
    ($name:ident: $($flag:ident)*) => {
        impl $name {
            /// Whether all of `other` is in this set.
            #[inline]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any of `other` is in this set.
            #[inline]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// Whether nothing is in this set.
            #[inline]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
        }

        impl BitOr for $name {
            type Output = Self;
            #[inline]
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl BitOrAssign for $name {
            #[inline]
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl BitAnd for $name {
            type Output = Self;
            #[inline]
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl Sub for $name {
            type Output = Self;
            /// What is in this set and not in `other`.
            #[inline]
            fn sub(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut separator = "";
                $(
                    if self.contains(Self::$flag) {
                        write!(f, concat!("{}", stringify!($flag)), separator)?;
                        separator = " | ";
                    }
                )*
                if separator.is_empty() {
                    f.write_str("(none)")?;
                }
                Ok(())
            }
        }
    };
}

/// The directions one wants to hear about.
///
/// ```
/// use rondel_poll::Interest;
///
/// let interest = Interest::READABLE | Interest::WRITABLE;
/// assert_eq!(interest, Interest::BOTH);
/// assert!(interest.contains(Interest::READABLE));
/// assert_eq!(format!("{interest:?}"), "READABLE | WRITABLE");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interest(u8);

impl Interest {
    /// Neither direction.
    ///
    /// The source stays registered. Whether a hang-up or an error is still
    /// reported depends on the back end; if it is, then once, not again and again.
    pub const NONE: Self = Self(0);
    /// There is something to read or to accept, or the peer has closed.
    pub const READABLE: Self = Self(1);
    /// There is room to write, or a connection attempt has ended.
    pub const WRITABLE: Self = Self(2);
    /// Both directions.
    pub const BOTH: Self = Self(3);
}

flag_set!(Interest: READABLE WRITABLE);

/// How often a source that is ready and stays ready is reported.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Once, then again when there is something new (more bytes, room again, a
    /// hang-up): `EPOLLET`, `EV_CLEAR`.
    ///
    /// Registering a source that is ready is reported, too. After an event one
    /// must read (or write) until `WouldBlock`, or remember that one did not:
    /// [`ReadyState`](crate::ReadyState) does. Events may come more often than
    /// strictly needed, never less often.
    ///
    /// Back ends without edges imitate this mode with one-shot registrations:
    /// see [`needs_rearm`](crate::Selector::needs_rearm).
    Edge,
    /// At each wait for as long as it is ready: what `select` does.
    ///
    /// It is the safe mode for descriptors that somebody else reads, because
    /// nothing needs to be remembered between two events.
    Level,
}

/// What an event says about its source: a set of flags.
///
/// Flags are hints. A source that is reported as readable may still answer
/// `WouldBlock`. [`READABLE`](Readiness::READABLE) and
/// [`WRITABLE`](Readiness::WRITABLE) are reported everywhere, the others only
/// where the system tells: all of them by [`Epoll`](crate::Epoll), none on kqueue.
/// Ask [`is_readable`](Readiness::is_readable) and
/// [`is_writable`](Readiness::is_writable), which also take closing and errors
/// into account.
///
/// ```
/// use rondel_poll::Readiness;
///
/// let readiness = Readiness::READABLE | Readiness::READ_CLOSED;
/// assert!(readiness.is_readable() && !readiness.is_writable());
/// assert_eq!(format!("{readiness:?}"), "READABLE | READ_CLOSED");
/// assert_eq!(format!("{:?}", Readiness::EMPTY), "(none)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Readiness(u8);

impl Readiness {
    // Each flag is the bit that epoll uses for it, but for `EPOLLRDHUP`, which does not fit.

    /// No flag.
    pub const EMPTY: Self = Self(0);
    /// There is something to read or to accept.
    pub const READABLE: Self = Self(1);
    /// There is room to write, or a connection attempt has ended.
    pub const WRITABLE: Self = Self(1 << 2);
    /// The peer will not send any more (its FIN has come; `EPOLLRDHUP`). What it
    /// sent before is still to be read; after that a read returns 0.
    pub const READ_CLOSED: Self = Self(1 << 5);
    /// Both directions have ended (`EPOLLHUP`).
    pub const HANGUP: Self = Self(1 << 4);
    /// There is an error to be fetched, by the next call or by `SO_ERROR`
    /// (`EPOLLERR`). On a pipe's writing end: nobody reads any more.
    pub const ERROR: Self = Self(1 << 3);
    /// There is urgent data, or what the device calls so (`EPOLLPRI`).
    pub const PRIORITY: Self = Self(1 << 1);

    #[cfg(target_os = "linux")]
    pub(crate) const fn of_bits(bits: u8) -> Self {
        Self(bits)
    }

    #[cfg(target_os = "linux")]
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// `|` for constants.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a read would return at once: with bytes, the end or an error.
    #[inline]
    pub const fn is_readable(self) -> bool {
        self.intersects(
            Self::READABLE
                .with(Self::READ_CLOSED)
                .with(Self::HANGUP)
                .with(Self::ERROR),
        )
    }

    /// Whether a write would return at once: with progress or an error.
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.intersects(Self::WRITABLE.with(Self::HANGUP).with(Self::ERROR))
    }
}

flag_set!(Readiness: READABLE WRITABLE READ_CLOSED HANGUP ERROR PRIORITY);
