//! Flow control of transports: water marks, pauses in both directions, bounded memory. asyncio's cases L169 to L179.

mod pair;
mod recorder;

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::rc::Rc;

use pair::*;
use recorder::*;
use rondel_loop::{run, yield_now};
use rondel_net::{Protocol, Transport, WriteError};

fn in_loop<F: Future>(main: F) -> F::Output {
    run(main).unwrap()
}

/// A connection whose peer does not read, with something queued that the system would not take.
async fn stalled(log: &Log) -> (Transport, Peer, usize) {
    stalled_acting(log, |_, _| {}).await
}

async fn stalled_acting(
    log: &Log,
    act: impl FnMut(&Transport, &Event) + 'static,
) -> (Transport, Peer, usize) {
    let (ours, peer) = narrow_pair();
    let (transport, _) = ours.into_transport(Recorder::acting(log, act));
    transport.set_write_buffer_limits(1 << 20, 0).unwrap();
    yield_now().await;
    let mut written = 0;
    while transport.buffered() == 0 {
        transport.write(&pattern(written, 16 * 1024)).unwrap();
        written += 16 * 1024;
    }
    (transport, peer, written)
}

async fn drain(peer: &mut Peer, transport: &Transport) -> Vec<u8> {
    let mut received = Vec::new();
    while transport.buffered() > 0 {
        received.extend(readable(peer));
        rondel_loop::sleep(std::time::Duration::from_micros(50)).await;
    }
    received.extend(readable(peer));
    received
}

/// L169.
#[test]
fn what_the_system_takes_is_not_buffered_and_nothing_is_nothing() {
    in_loop(async {
        let log = Log::default();
        let (ours, mut peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::new(&log));
        yield_now().await;
        assert!(!transport.write(b"").unwrap());
        assert_eq!(transport.buffered(), 0);
        assert!(!transport.write(&[7; 20_000]).unwrap(), "sent at once");
        assert_eq!(transport.buffered(), 0);
        assert!(!transport.write(b"joined").unwrap());
        assert_eq!(transport.buffered(), 6, "until this poll is over");
        yield_now().await;
        assert_eq!(transport.buffered(), 0);
        let mut received = vec![0; 20_006];
        peer.read_exact(&mut received).unwrap();
        assert!(received.ends_with(b"joined"));
    });
}

/// L170: cut anywhere, by a system that takes a little at a time, and with more pieces than it takes at once.
#[test]
fn thousands_of_pieces_that_are_sent_in_part_arrive_in_order() {
    in_loop(async {
        let log = Log::default();
        let (ours, peer) = narrow_pair();
        let (transport, _) = ours.into_transport(Recorder::new(&log));
        let bytes = pattern(0, 400_000);
        let mut parts = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (part, more) = rest.split_at(rest.len().min(parts.len() % 150 + 1));
            parts.push(IoSlice::new(part));
            rest = more;
        }
        assert!(parts.len() > 3000);
        let (first, second) = parts.split_at(2500);
        assert!(transport.write_vectored(first).unwrap());
        transport.write_vectored(second).unwrap();
        transport.close();
        assert_eq!(drain_peer(peer).await.unwrap(), bytes);
        until(|| log.is_lost()).await;
        log.assert_contract();
    });
}

/// L172.
#[test]
fn at_the_high_mark_is_not_above_it_and_at_the_low_one_is_down() {
    in_loop(async {
        let log = Log::default();
        let (transport, mut peer, mut written) = stalled(&log).await;
        let queued = transport.buffered();
        transport
            .set_write_buffer_limits(queued + 10, queued / 2)
            .unwrap();
        assert!(!transport.write(&pattern(written, 10)).unwrap());
        written += 10;
        turns().await;
        assert!(!log.has(&Event::Pause));
        assert!(transport.write(&pattern(written, 1)).unwrap());
        written += 1;
        assert!(!log.has(&Event::Pause), "not within write");
        assert!(transport.write(&pattern(written, 1)).unwrap());
        written += 1;
        yield_now().await;
        turns().await;
        assert_eq!(log.events(), [Event::Made, Event::Pause], "once");

        let received = drain(&mut peer, &transport).await;
        assert_eq!(received, pattern(0, written));
        turns().await;
        assert_eq!(log.events(), [Event::Made, Event::Pause, Event::Resume]);
    });
}

/// L172.
#[test]
fn limits_complete_each_other_and_must_be_in_order() {
    in_loop(async {
        let (ours, _peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::new(&Log::default()));
        assert_eq!(transport.write_buffer_limits(), (16 * 1024, 64 * 1024));
        transport.set_write_buffer_limits(None, 16).unwrap();
        assert_eq!(transport.write_buffer_limits(), (16, 64));
        transport.set_write_buffer_limits(400, None).unwrap();
        assert_eq!(transport.write_buffer_limits(), (100, 400));
        let error = transport.set_write_buffer_limits(10, 11).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(transport.write_buffer_limits(), (100, 400));
    });
}

#[test]
fn with_no_room_at_all_small_writes_that_the_system_takes_pause_nothing() {
    in_loop(async {
        let log = Log::default();
        let (ours, mut peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::acting(&log, |transport, event| {
            if let Event::Data(data) = event {
                transport.set_write_buffer_limits(0, 0).unwrap();
                assert!(!transport.write(data).unwrap());
            }
        }));
        peer.write_all(b"echo").unwrap();
        until(|| log.has_method(Method::Data)).await;
        turns().await;
        peer.read_exact(&mut [0; 4]).unwrap();
        transport.close();
        until(|| log.is_lost()).await;
        assert!(!log.has(&Event::Pause), "{log:?}");
    });
}

/// L173.
#[test]
fn resume_writing_may_write_to_this_connection_and_to_another() {
    in_loop(async {
        let log = Log::default();
        let (other, mut other_peer) = pair();
        let (other, _) = other.into_transport(Recorder::new(&Log::default()));
        let (transport, mut peer, written) = stalled_acting(&log, move |transport, event| {
            if *event == Event::Resume {
                transport.write(b"here").unwrap();
                other.write(b"there").unwrap();
            }
        })
        .await;
        transport.set_write_buffer_limits(0, 0).unwrap();
        until(|| log.has(&Event::Pause)).await;
        let mut received = drain(&mut peer, &transport).await;
        until(|| log.has(&Event::Resume)).await;
        turns().await;
        received.extend(readable(&mut peer));
        assert_eq!(received[..written], pattern(0, written));
        assert_eq!(received[written..], *b"here");
        let mut there = [0; 5];
        other_peer.read_exact(&mut there).unwrap();
        assert_eq!(&there, b"there");
    });
}

#[test]
fn what_changes_back_within_a_turn_is_not_told() {
    in_loop(async {
        let log = Log::default();
        let (transport, _peer, _) = stalled(&log).await;
        transport.set_write_buffer_limits(0, 0).unwrap();
        transport.set_write_buffer_limits(1 << 30, 1 << 29).unwrap();
        turns().await;
        assert_eq!(log.events(), [Event::Made]);
    });
}

#[test]
fn a_protocol_that_flips_its_limits_for_ever_lets_others_have_their_turn() {
    struct Flip(Rc<Cell<usize>>);
    impl Protocol for Flip {
        fn pause_writing(&mut self, transport: &Transport) {
            self.0.set(self.0.get() + 1);
            transport.set_write_buffer_limits(1 << 30, 1 << 29).unwrap();
        }
        fn resume_writing(&mut self, transport: &Transport) {
            transport.set_write_buffer_limits(0, 0).unwrap();
        }
    }

    in_loop(async {
        let log = Log::default();
        let (transport, _peer, _) = stalled(&log).await;
        let flips = Rc::new(Cell::new(0));
        transport.replace_protocol(Flip(Rc::clone(&flips)));
        transport.set_write_buffer_limits(0, 0).unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
        let count = flips.get();
        assert!((2..=40).contains(&count), "{count}");
        transport.abort();
    });
}

#[test]
fn a_peer_that_does_not_read_costs_no_more_than_the_hard_limit() {
    in_loop(async {
        let log = Log::default();
        let (transport, _peer, _) = stalled(&log).await;
        assert_eq!(transport.hard_limit(), 16 * 1024 * 1024);
        transport.set_hard_limit(200_000);
        let refused = loop {
            match transport.write(&[7; 10_000]) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        let WriteError::Full {
            refused,
            queued,
            limit,
        } = refused
        else {
            panic!("{refused}");
        };
        assert_eq!((refused, limit), (10_000, 200_000));
        assert_eq!(queued, transport.buffered());
        assert!(queued > 190_000 && queued <= 200_000);
        transport.abort();
        assert_eq!(transport.buffered(), 0);
    });
}

#[test]
fn a_peer_that_sends_to_a_paused_reader_is_held_up() {
    in_loop(async {
        let log = Log::default();
        let (ours, peer) = narrow_pair();
        let (transport, _) = ours.into_transport(Recorder::new(&log));
        turns().await;
        assert!(transport.is_reading());
        transport.pause_reading();
        transport.pause_reading();
        assert!(!transport.is_reading());
        let peer = rondel_loop::to_thread(move || {
            let mut peer = peer;
            peer.set_nonblocking(true).unwrap();
            let mut sent = 0;
            while let Ok(count) = peer.write(&pattern(sent, 1000)) {
                sent += count;
            }
            (peer, sent)
        });
        let (peer, sent) = peer.await.unwrap();
        turns().await;
        assert_eq!(log.events(), [Event::Made]);
        transport.resume_reading();
        until(|| log.data().len() == sent).await;
        assert_eq!(log.data(), pattern_by_thousands(sent));
        drop(peer);
    });
}

/// What a loop that sends a thousand at a time has sent, if some went out in part.
fn pattern_by_thousands(len: usize) -> Vec<u8> {
    pattern(0, len)
}

#[test]
fn pausing_in_a_call_takes_effect_at_once() {
    in_loop(async {
        let log = Log::default();
        let (ours, mut peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::acting(&log, |transport, event| {
            if let Event::Data(_) = event {
                transport.pause_reading();
            }
        }));
        peer.write_all(b"one").unwrap();
        until(|| log.pieces() == 1).await;
        peer.write_all(b"two").unwrap();
        drop(peer);
        turns().await;
        assert_eq!(log.data(), b"one");
        transport.resume_reading();
        until(|| log.pieces() == 2).await;
        turns().await;
        assert!(!log.has(&Event::End), "paused again");
        transport.resume_reading();
        until(|| log.is_lost()).await;
        log.assert_contract();
    });
}

/// L175.
#[test]
fn abort_drops_what_is_queued_and_is_told_once_at_the_next_turn() {
    in_loop(async {
        let log = Log::default();
        let (transport, mut peer, _) = stalled(&log).await;
        transport.abort();
        transport.abort();
        assert!(!log.is_lost());
        assert_eq!(transport.buffered(), 0);
        yield_now().await;
        assert_eq!(log.events(), [Event::Made, Event::Lost(None)]);
        let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

/// L176: asyncio ignores such writes, and warns from the fifth on. Here each is an error, and none is reported.
#[test]
fn writing_after_the_end_is_a_typed_error_and_reported_nowhere() {
    in_loop(async {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let note = Rc::clone(&reports);
        rondel_loop::LocalLoop::current()
            .unwrap()
            .set_exception_handler(Some(Rc::new(move |_, context| {
                note.borrow_mut().push(context.to_string());
            })));
        let log = Log::default();
        let (ours, peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::new(&log));
        turns().await;
        transport.close();
        for _ in 0..10 {
            assert!(matches!(transport.write(b"x"), Err(WriteError::Closed)));
        }
        turns().await;
        assert!(matches!(transport.write(b"x"), Err(WriteError::Closed)));
        drop(peer);

        let log = Log::default();
        let (ours, peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::new(&log));
        turns().await;
        reset(peer);
        until(|| log.is_lost()).await;
        for _ in 0..10 {
            assert!(matches!(transport.write(b"x"), Err(WriteError::Io(_))));
        }
        assert_eq!(*reports.borrow(), [""; 0]);
    });
}

/// L179.
#[test]
fn the_end_is_sent_behind_what_is_queued_once() {
    in_loop(async {
        let log = Log::default();
        let (transport, peer, written) = stalled(&log).await;
        transport.write_eof().unwrap();
        transport.write_eof().unwrap();
        assert!(matches!(transport.write(b"x"), Err(WriteError::Finished)));
        assert!(!transport.is_closing());
        let reading = rondel_loop::spawn(drain_peer(peer));
        let received = reading.await.unwrap().unwrap();
        assert_eq!(received, pattern(0, written));
        transport.close();
        transport.write_eof().unwrap();
        until(|| log.is_lost()).await;
        log.assert_contract();
    });
}

#[test]
fn close_sends_what_is_queued_and_reads_no_more() {
    in_loop(async {
        let log = Log::default();
        let (transport, mut peer, written) = stalled(&log).await;
        transport.close();
        assert!(transport.is_closing() && !transport.is_reading());
        peer.write_all(b"unheard").unwrap();
        turns().await;
        assert!(!log.is_lost(), "there are bytes to be sent");
        let mut received = Vec::new();
        while received.len() < written {
            received.extend(readable(&mut peer));
            yield_now().await;
        }
        assert_eq!(received, pattern(0, written));
        until(|| log.is_lost()).await;
        assert_eq!(log.data(), b"");
    });
}

/// K163, of protocols: asyncio's would be ignored for ever.
#[test]
fn writing_to_a_peer_that_has_gone_ends_with_a_loss() {
    in_loop(async {
        let log = Log::default();
        let (ours, peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::new(&log).half_open());
        turns().await;
        drop(peer);
        until(|| log.has(&Event::End)).await;
        let mut rounds = 0;
        while transport.write(b"anybody?").is_ok() {
            rounds += 1;
            assert!(rounds < 1_000_000);
            yield_now().await;
        }
        until(|| log.is_lost()).await;
        log.assert_contract();
        assert!(matches!(log.events().last(), Some(Event::Lost(Some(_)))));
    });
}

#[test]
fn a_paused_reader_learns_of_a_reset_by_writing() {
    in_loop(async {
        let log = Log::default();
        let (ours, mut peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::acting(&log, |transport, event| {
            if let Event::Data(_) = event {
                transport.pause_reading();
            }
        }));
        peer.write_all(b"x").unwrap();
        until(|| log.has_method(Method::Data)).await;
        reset(peer);
        turns().await;
        assert!(!log.is_lost(), "it does not look");
        transport.write(b"anybody?").unwrap();
        until(|| log.is_lost()).await;
        assert!(matches!(
            log.events().last(),
            Some(Event::Lost(Some(io::ErrorKind::ConnectionReset)))
        ));
    });
}
