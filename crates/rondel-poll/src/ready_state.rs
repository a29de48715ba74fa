//! Readiness remembered, and the short-read rule.

use crate::{Interest, Readiness};

/// What a source is, as far as the short-read rule asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SourceKind {
    /// A connected TCP socket.
    Tcp,
    /// A connected Unix stream socket on which no ancillary data is ever sent.
    ///
    /// If a peer may send descriptors or credentials, say [`Other`](SourceKind::Other):
    /// a read ends where they are attached, however many bytes follow.
    UnixStream,
    /// Anything else: pipes, terminals, datagrams, packets, listeners.
    Other,
}

/// What is known of a source's readiness, so that one tries first and waits only
/// after `WouldBlock`.
///
/// It begins optimistic: both directions ready. Feed it the events of its source
/// and what calls returned; while a direction is ready, call; when it is not, wait
/// for an event. On selectors that [need re-arming](crate::Selector::needs_rearm),
/// pass [`blocked`](ReadyState::blocked) to [`modify`](crate::Selector::modify)
/// whenever a direction has been cleared.
///
/// # The short-read rule
///
/// A read that returns fewer bytes than there was room for *may* mean that the
/// source is drained. Taking it so saves the call that would say `WouldBlock`: one
/// in three for a request and its answer. It is true only
///
/// - on TCP, and on Unix streams whose ancillary data is never used. A terminal
///   returns one line a read, a packet socket one packet, a Unix stream stops at
///   passed descriptors; all with more to come and no edge to say so;
/// - on a selector that reports the peer's FIN
///   ([`reports_read_closed`](crate::Selector::reports_read_closed)), because data
///   and FIN that come together make one edge, and the FIN is left;
/// - while nothing but data was reported: no FIN, no hang-up, no error, no urgent
///   data, at which a read stops, too.
///
/// [`on_short_read`](ReadyState::on_short_read) applies exactly this. If the flag
/// comes after the read, that is a new edge, and an event brings it.
///
/// ```
/// use rondel_poll::{Interest, Readiness, ReadyState, SourceKind};
///
/// let mut state = ReadyState::new(SourceKind::Tcp, true);
/// assert!(state.is_readable()); // try first
/// assert!(state.on_short_read()); // drained, for all we know
/// assert_eq!(state.blocked(), Interest::READABLE);
///
/// // Data and FIN in one edge: the FIN is still to be read.
/// state.on_event(Readiness::READABLE | Readiness::READ_CLOSED);
/// assert!(!state.on_short_read());
/// assert!(state.is_readable() && state.peer_closed());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadyState {
    readable: bool,
    writable: bool,
    /// Whether a short read may ever mean "drained".
    shortcut: bool,
    /// All that was ever reported.
    seen: Readiness,
}

impl ReadyState {
    /// Both directions ready until a call says otherwise.
    ///
    /// The second argument is the selector's
    /// [`reports_read_closed`](crate::Selector::reports_read_closed).
    #[inline]
    pub const fn new(kind: SourceKind, reports_read_closed: bool) -> Self {
        Self {
            readable: true,
            writable: true,
            shortcut: reports_read_closed && !matches!(kind, SourceKind::Other),
            seen: Readiness::EMPTY,
        }
    }

    /// An event of this source: adds readiness, never takes it away.
    #[inline]
    pub fn on_event(&mut self, readiness: Readiness) {
        self.seen |= readiness;
        self.readable |= readiness.is_readable();
        self.writable |= readiness.is_writable();
    }

    /// Whether a read is worth trying.
    #[inline]
    pub const fn is_readable(self) -> bool {
        self.readable
    }

    /// Whether a write is worth trying.
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.writable
    }

    /// A read said `WouldBlock`: the next event will tell.
    #[inline]
    pub fn on_read_would_block(&mut self) {
        self.readable = false;
    }

    /// A write said `WouldBlock`: the next event will tell.
    #[inline]
    pub fn on_write_would_block(&mut self) {
        self.writable = false;
    }

    /// A read returned something, but less than there was room for. `true` if the
    /// source may be taken for drained, which is then noted; `false` if one must
    /// read on until `WouldBlock`, the end or an error.
    #[inline]
    pub fn on_short_read(&mut self) -> bool {
        const ENDS_A_READ: Readiness = Readiness::READ_CLOSED
            .with(Readiness::HANGUP)
            .with(Readiness::ERROR)
            .with(Readiness::PRIORITY);
        let drained = self.shortcut && !self.seen.intersects(ENDS_A_READ);
        if drained {
            self.readable = false;
        }
        drained
    }

    /// A write took less than it was given: there is no room, on any kind of
    /// source, and room makes an edge.
    #[inline]
    pub fn on_short_write(&mut self) {
        self.writable = false;
    }

    /// The directions that are not ready: what to wait for, and to re-arm.
    #[inline]
    pub fn blocked(self) -> Interest {
        let mut blocked = Interest::NONE;
        if !self.readable {
            blocked |= Interest::READABLE;
        }
        if !self.writable {
            blocked |= Interest::WRITABLE;
        }
        blocked
    }

    /// Whether the peer was reported to send no more. Bytes that came before may
    /// still be there to be read. Says nothing on selectors that do not
    /// [report it](crate::Selector::reports_read_closed).
    #[inline]
    pub const fn peer_closed(self) -> bool {
        self.seen
            .intersects(Readiness::READ_CLOSED.with(Readiness::HANGUP))
    }
}
