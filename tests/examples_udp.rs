//! The programs that show UDP end by themselves and print what they should.

use rondel_tests::{example, run_to_end};

#[test]
fn a_query_that_is_lost_is_sent_again() {
    let printed = run_to_end(&mut example("dns_query"));
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "ring.example: no answer to query 1",
            "ring.example: 192.0.2.7",
            "rosalie.example: no answer to query 1",
            "rosalie.example: 192.0.2.26",
            "nowhere.example: no answer to query 1",
            "nowhere.example: no such name",
            "6 queries",
        ]
    );
}

#[test]
fn an_echo_over_quic_comes_by_streams_and_by_datagrams() {
    let printed = run_to_end(&mut example("quic_echo"));
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "client: heard one, two, three",
            "client: heard a datagram",
            "server: closed by peer: that is all (code 0)",
        ]
    );
}
