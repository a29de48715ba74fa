//! What is remembered of a source, and the short-read rule in a table.
#![cfg(not(rondel_loom))]

use rondel_poll::*;

#[test]
fn a_short_read_means_drained_only_where_the_rule_says_so() {
    let flags = [
        Readiness::READ_CLOSED,
        Readiness::HANGUP,
        Readiness::ERROR,
        Readiness::PRIORITY,
    ];
    for kind in [SourceKind::Tcp, SourceKind::UnixStream, SourceKind::Other] {
        for reported in [false, true] {
            let fresh = ReadyState::new(kind, reported);
            assert!(fresh.is_readable() && fresh.is_writable());
            assert_eq!(fresh.blocked(), Interest::NONE);
            let allowed = reported && kind != SourceKind::Other;
            let mut state = fresh;
            state.on_event(Readiness::READABLE | Readiness::WRITABLE);
            assert_eq!(state.on_short_read(), allowed, "{kind:?} {reported}");
            assert_eq!(state.is_readable(), !allowed);
            assert!(state.is_writable());
            for flag in flags {
                let mut state = fresh;
                state.on_event(flag);
                // Once seen, for ever: more events do not take it back.
                state.on_read_would_block();
                state.on_event(Readiness::READABLE);
                assert!(!state.on_short_read(), "{kind:?} {reported} {flag:?}");
                assert!(state.is_readable());
                assert_eq!(
                    state.peer_closed(),
                    flag == Readiness::READ_CLOSED || flag == Readiness::HANGUP
                );
            }
            let mut state = fresh;
            state.on_short_write();
            assert_eq!(state.blocked(), Interest::WRITABLE);
            state.on_event(Readiness::READABLE);
            assert!(!state.is_writable());
            state.on_event(Readiness::ERROR);
            assert!(state.is_writable());
            state.on_write_would_block();
            state.on_read_would_block();
            assert_eq!(state.blocked(), Interest::BOTH);
        }
    }
}
