//! The engine, seen from outside: what is sent when, in what order, and what happens when it cannot be.

mod pair;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use pair::*;
use proptest::prelude::*;
use rondel_loop::{LocalLoop, run, spawn, to_thread, yield_now};
use rondel_net::{ConnectionLost, StreamWriter, WriteError};

#[test]
fn small_writes_of_one_turn_go_out_together_at_its_end() {
    run(async {
        let (_reader, writer, mut peer) = split_pair();
        writer.write(b"one ").unwrap();
        writer
            .write_vectored(&[
                IoSlice::new(b"two "),
                IoSlice::new(b""),
                IoSlice::new(b"three"),
            ])
            .unwrap();
        assert_eq!(writer.buffered(), 13);
        assert_eq!(readable(&mut peer), b"");
        yield_now().await;
        assert_eq!(writer.buffered(), 0);
        let mut received = [0; 13];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"one two three");
    })
    .unwrap();
}

#[test]
fn large_writes_and_full_chunks_go_out_at_once() {
    run(async {
        let (_reader, writer, peer) = split_pair();
        writer.write(&pattern(0, 16 * 1024)).unwrap();
        assert_eq!(writer.buffered(), 0, "nothing was queued: 16 KiB are sent");

        let mut written = 16 * 1024;
        for _ in 0..6 {
            writer.write(&pattern(written, 10 * 1024)).unwrap();
            written += 10 * 1024;
        }
        assert_eq!(writer.buffered(), 60 * 1024, "they are joined");
        writer.write(&pattern(written, 4 * 1024)).unwrap();
        written += 4 * 1024;
        assert_eq!(writer.buffered(), 0, "64 KiB are sent");
        writer.close();
        assert_eq!(drain_peer(peer).await.unwrap(), pattern(0, written));
    })
    .unwrap();
}

#[test]
fn drain_sends_now() {
    run(async {
        let (_reader, writer, mut peer) = split_pair();
        writer.write(b"now").unwrap();
        assert!(writer.drain().now_or_never().unwrap().is_ok());
        assert_eq!(writer.buffered(), 0);
        let mut received = [0; 3];
        peer.read_exact(&mut received).unwrap();
        writer.write(b"").unwrap();
        assert_eq!(writer.buffered(), 0);
    })
    .unwrap();
}

#[test]
fn what_a_stalled_peer_leaves_queued_arrives_in_order_once_it_reads() {
    run(async {
        let (_reader, writer, peer) = narrow_split_pair();
        let mut written = fill(&writer);
        for len in [1, 0, 70_000, 3, 200_000, 64 * 1024, 1, 16 * 1024] {
            writer.write(&pattern(written, len)).unwrap();
            written += len;
        }
        let parts = pattern(written, 1000);
        let slices: Vec<_> = parts.chunks(7).map(IoSlice::new).collect();
        assert!(slices.len() > 64, "more than one call takes");
        writer.write_vectored(&slices).unwrap();
        written += 1000;
        assert!(writer.buffered() > 300_000);
        writer.write_eof().unwrap();
        let received = spawn(drain_peer(peer));
        writer.flush().await.unwrap();
        assert_eq!(writer.buffered(), 0);
        assert!(received.await.unwrap().unwrap() == pattern(0, written));
    })
    .unwrap();
}

#[test]
fn more_slices_than_one_call_takes_are_sent_in_order() {
    run(async {
        let (_reader, writer, peer) = split_pair();
        let bytes = pattern(0, 64 * 1024);
        let slices: Vec<_> = bytes.chunks(100).map(IoSlice::new).collect();
        writer.write(b"before ").unwrap();
        writer.write_vectored(&slices).unwrap();
        writer.write(b" after").unwrap();
        writer.close();
        let expected = [b"before ", &bytes[..], b" after"].concat();
        assert!(drain_peer(peer).await.unwrap() == expected);
    })
    .unwrap();
}

#[test]
fn one_write_of_many_megabytes_arrives_while_others_run() {
    run(async {
        let (_reader, writer, peer) = split_pair();
        let len = 15 * 1024 * 1024;
        let received = spawn(drain_peer(peer));
        writer.write(&pattern(0, len)).unwrap();
        let mut drain = Box::pin(writer.drain());
        while futures_util::poll!(&mut drain).is_pending() {
            yield_now().await;
        }
        writer.close();
        assert!(received.await.unwrap().unwrap() == pattern(0, len));
    })
    .unwrap();
}

/// What a program and its peer may do, in any order.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    WriteVectored(Vec<usize>),
    WriteAllPolledOnce(usize),
    PollDrain,
    PollFlush,
    Yield,
    PeerReads(usize),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    WriteEof,
    FlushAndDrop,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0..2usize, 1..300usize, 10_000..70_000usize];
    prop_oneof![
        3 => len.clone().prop_map(Step::Write),
        1 => proptest::collection::vec(0..3000usize, 0..80).prop_map(Step::WriteVectored),
        2 => len.prop_map(Step::WriteAllPolledOnce),
        1 => Just(Step::PollDrain),
        1 => Just(Step::PollFlush),
        2 => Just(Step::Yield),
        3 => (1..50_000usize).prop_map(Step::PeerReads),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Close),
        Just(End::WriteEof),
        Just(End::FlushAndDrop)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_byte_arrives_once_and_in_order(
        steps in proptest::collection::vec(step(), 0..40),
        end in end(),
        narrow in any::<bool>(),
    ) {
        run(async {
            let (reader, writer, mut peer) = if narrow { narrow_split_pair() } else { split_pair() };
            let mut written = 0;
            let mut received = Vec::new();
            for step in steps {
                match step {
                    Step::Write(len) => {
                        writer.write(&pattern(written, len)).unwrap();
                        written += len;
                    }
                    Step::WriteVectored(lens) => {
                        let bytes = pattern(written, lens.iter().sum());
                        let mut rest = &bytes[..];
                        let slices: Vec<_> = lens.iter().map(|len| {
                            let (head, tail) = rest.split_at(*len);
                            rest = tail;
                            IoSlice::new(head)
                        }).collect();
                        writer.write_vectored(&slices).unwrap();
                        written += bytes.len();
                    }
                    // Cancelled: what was accepted is accepted.
                    Step::WriteAllPolledOnce(len) => {
                        if let Some(outcome) = writer.write_all(&pattern(written, len)).now_or_never() {
                            outcome.unwrap();
                            assert_eq!(writer.buffered(), 0);
                        }
                        written += len;
                    }
                    Step::PollDrain => {
                        let drained = writer.drain().now_or_never();
                        assert!(drained.is_some() || writer.buffered() > 16 * 1024);
                    }
                    Step::PollFlush => {
                        let sent = writer.flush().now_or_never();
                        assert_eq!(sent.is_some(), writer.buffered() == 0);
                    }
                    Step::Yield => yield_now().await,
                    Step::PeerReads(most) => {
                        peer.set_nonblocking(true).unwrap();
                        let mut buffer = vec![0; most];
                        if let Ok(count) = peer.read(&mut buffer) {
                            received.extend_from_slice(&buffer[..count]);
                        }
                    }
                }
            }
            let rest = spawn(drain_peer(peer));
            match end {
                End::Close => writer.close(),
                End::WriteEof => writer.write_eof().unwrap(),
                End::FlushAndDrop => {
                    writer.flush().await.unwrap();
                    drop(writer);
                }
            }
            received.extend_from_slice(&rest.await.unwrap().unwrap());
            drop(reader);
            assert!(received == pattern(0, written), "{} of {written}", received.len());
        }).unwrap();
    }
}

/// A writer whose peer stalls, and how much is queued.
fn stalled() -> (StreamWriter, Peer, usize) {
    let (reader, writer, peer) = narrow_split_pair();
    // The reader leaves the connection to the writer.
    drop(reader);
    fill(&writer);
    let queued = writer.buffered();
    (writer, peer, queued)
}

#[test]
fn drain_waits_above_the_high_water_mark_only() {
    run(async {
        let (writer, _peer, queued) = stalled();
        writer
            .set_write_buffer_limits(queued + 100, queued)
            .unwrap();
        writer.write(&[0; 100]).unwrap();
        assert_eq!(writer.buffered(), queued + 100);
        assert!(writer.drain().now_or_never().is_some(), "at the mark");
        writer.write(&[0]).unwrap();
        assert!(writer.drain().now_or_never().is_none(), "one above it");
    })
    .unwrap();
}

#[test]
fn drain_goes_on_at_the_low_water_mark() {
    run(async {
        let (writer, mut peer, _) = stalled();
        writer.write(&pattern(0, 300_000)).unwrap();
        let low = 100_000;
        writer.set_write_buffer_limits(150_000, low).unwrap();
        let mut drain = Box::pin(writer.drain());
        let mut seen_between = false;
        let mut buffer = [0; 2000];
        peer.set_nonblocking(true).unwrap();
        // One read at a time, so that the queue passes every region.
        loop {
            match futures_util::poll!(&mut drain) {
                Poll::Ready(outcome) => {
                    outcome.unwrap();
                    assert!(writer.buffered() <= low, "{}", writer.buffered());
                    break;
                }
                Poll::Pending => {
                    assert!(writer.buffered() > low, "{}", writer.buffered());
                    seen_between |= writer.buffered() <= 150_000;
                }
            }
            let _ = peer.read(&mut buffer);
            yield_now().await;
        }
        assert!(seen_between, "below the high mark it still waited");
        assert!(writer.drain().now_or_never().is_some());
    })
    .unwrap();
}

#[test]
fn several_tasks_drain_at_once() {
    run(async {
        let (writer, peer, _) = stalled();
        writer.write(&pattern(0, 100_000)).unwrap();
        let writer = Rc::new(writer);
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let writer = Rc::clone(&writer);
                spawn(async move { writer.drain().await })
            })
            .collect();
        yield_now().await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        let rest = spawn(drain_peer(peer));
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        writer.close();
        rest.await.unwrap().unwrap();
    })
    .unwrap();
}

#[test]
fn zero_water_marks_drain_to_the_last_byte() {
    run(async {
        let (writer, peer, queued) = stalled();
        assert!(queued <= 64 * 1024);
        assert!(writer.drain().now_or_never().is_some());
        writer.set_write_buffer_limits(0, None).unwrap();
        assert_eq!(writer.write_buffer_limits(), (0, 0));
        assert!(writer.drain().now_or_never().is_none());
        let rest = spawn(drain_peer(peer));
        writer.drain().await.unwrap();
        assert_eq!(writer.buffered(), 0);
        writer.close();
        rest.await.unwrap().unwrap();
    })
    .unwrap();
}

#[test]
fn the_hard_limit_refuses_whole_writes_with_a_typed_error() {
    run(async {
        let (writer, _peer, queued) = stalled();
        writer.set_hard_limit(queued + 10);
        match writer.write(&[0; 11]).unwrap_err() {
            WriteError::Full {
                refused,
                queued: now,
                limit,
            } => assert_eq!((refused, now, limit), (11, queued, queued + 10)),
            other => panic!("{other:?}"),
        }
        assert_eq!(writer.buffered(), queued, "nothing was accepted");
        writer.write(&[0; 10]).unwrap();
        let full = writer.write_vectored(&[IoSlice::new(&[0])]).unwrap_err();
        assert_eq!(kind(full), ErrorKind::WouldBlock);
        writer.write(b"").unwrap();
    })
    .unwrap();
}

#[test]
fn without_room_to_queue_write_all_still_writes_everything() {
    run(async {
        for limit in [0, 1, 1000] {
            let (_reader, writer, peer) = narrow_split_pair();
            writer.set_hard_limit(limit);
            assert!(matches!(
                writer.write(&[0; 1001]),
                Err(WriteError::Full { .. })
            ));
            let rest = spawn(drain_peer(peer));
            writer.write_all(&pattern(0, 300_000)).await.unwrap();
            assert_eq!(writer.buffered(), 0);
            writer.close();
            assert!(rest.await.unwrap().unwrap() == pattern(0, 300_000));
        }
    })
    .unwrap();
}

#[test]
fn a_reset_is_a_typed_error_for_all_that_follows() {
    run(async {
        let (mut reader, writer, peer) = narrow_split_pair();
        let addr = addr_of(&peer);
        fill(&writer);
        writer.write(&[0; 100_000]).unwrap();
        reset(peer);
        let error = writer.drain().await.unwrap_err();
        let WriteError::Io(error) = error else {
            panic!("{error:?}");
        };
        assert!(
            matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
            "{error:?}"
        );
        let lost = error.get_ref().unwrap();
        let lost = lost.downcast_ref::<ConnectionLost>().unwrap();
        assert_eq!(lost.peer(), Some(addr));
        assert!(error.to_string().contains(&addr.to_string()), "{error}");

        assert_eq!(writer.buffered(), 0, "nothing will send it any more");
        let first = error.kind();
        assert_eq!(kind(writer.write(b"more").unwrap_err()), first);
        assert_eq!(kind(writer.write_all(b"more").await.unwrap_err()), first);
        assert_eq!(kind(writer.drain().await.unwrap_err()), first);
        assert_eq!(kind(writer.flush().await.unwrap_err()), first);
        assert_eq!(kind(writer.write_eof().unwrap_err()), first);
        let read = reader.read(&mut [0; 16]).await;
        assert_eq!(read.unwrap_err().kind(), first, "a cut stream has no end");
        writer.close();
        assert_eq!(writer.wait_closed().await.unwrap_err().kind(), first);
    })
    .unwrap();
}

#[test]
fn a_reset_that_reading_meets_is_told_to_writers_too() {
    run(async {
        let (mut reader, writer, peer) = split_pair();
        reset(peer);
        let error = reader.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = writer.write(b"x").unwrap_err();
        assert_eq!(kind(error), ErrorKind::ConnectionReset);
        let error = reader.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn writing_to_a_peer_that_has_closed_ends_with_an_error() {
    run(async {
        let (_reader, writer, peer) = split_pair();
        drop(peer);
        // The first is answered by a reset; then it is known.
        let error = loop {
            if let Err(error) = writer.write(&[0; 1000]) {
                break error;
            }
            if let Err(error) = writer.drain().await {
                break error;
            }
        };
        assert!(matches!(
            kind(error),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
    })
    .unwrap();
}

#[test]
fn what_came_before_the_peer_closed_can_be_read_though_writing_fails() {
    run(async {
        let (mut reader, writer, mut peer) = split_pair();
        peer.write_all(b"the answer").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        // Wait for both to have arrived.
        let mut seen = [0; 3];
        reader.read_exact(&mut seen).await.unwrap();
        drop(peer);
        while writer
            .write_all(b"a question that nobody reads")
            .await
            .is_ok()
        {
            yield_now().await;
        }
        assert_eq!(reader.read_to_end(100).await.unwrap(), b" answer");
    })
    .unwrap();
}

#[test]
fn data_and_end_in_one_event_are_both_seen() {
    run(async {
        for room in [5, 6, 100, 100_000] {
            let (ours, mut peer) = pair();
            // The loop has not looked yet: it will see one edge.
            assert!(ours.read(&mut vec![0; room]).now_or_never().is_none());
            peer.write_all(b"hello").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut buffer = vec![0; room];
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 5);
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
        }
    })
    .unwrap();
}

#[test]
fn a_busy_connection_lets_others_have_their_turn() {
    run(async {
        let (ours, peer) = pair();
        let peer = feed(peer, vec![7; 32 * 1024]).await;
        let turns = Rc::new(Cell::new(0));
        let count = Rc::clone(&turns);
        let counter = spawn(async move {
            loop {
                count.set(count.get() + 1);
                yield_now().await;
            }
        });
        // All of it is there: without a limit this would be one turn.
        let mut buffer = [0; 32];
        for _ in 0..1024 {
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 32);
        }
        assert!(turns.get() >= 1024 / 16 - 1, "{}", turns.get());
        counter.cancel();
        drop(peer);
    })
    .unwrap();
}

/// Runs a closure of the test's thread when it is woken.
struct OnWake;

thread_local! {
    static ON_WAKE: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

impl Wake for OnWake {
    fn wake(self: Arc<Self>) {
        let on_wake = ON_WAKE.take();
        if let Some(on_wake) = on_wake {
            on_wake();
        }
    }
}

#[test]
fn a_waker_may_come_back_into_the_connection_that_wakes_it() {
    run(async {
        let (ours, mut peer) = pair();
        let ours = Rc::new(ours);
        let waker = Waker::from(Arc::new(OnWake));
        let mut cx = Context::from_waker(&waker);
        let mut buffer = [0; 16];
        assert!(ours.poll_read(&mut cx, &mut buffer).is_pending());
        let same = Rc::clone(&ours);
        let woken = Rc::new(Cell::new(false));
        let note = Rc::clone(&woken);
        ON_WAKE.set(Some(Box::new(move || {
            same.write(b"last words").unwrap();
            same.close();
            note.set(true);
        })));
        peer.write_all(b"go").unwrap();
        while !woken.get() {
            yield_now().await;
        }
        assert_eq!(drain_peer(peer).await.unwrap(), b"last words");
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);

        let (ours, _peer) = pair();
        let ours = Rc::new(ours);
        assert!(ours.poll_read(&mut cx, &mut buffer).is_pending());
        let same = Rc::clone(&ours);
        ON_WAKE.set(Some(Box::new(move || {
            same.abort();
            same.write(b"too late").unwrap_err();
        })));
        ours.close();
        let read = ours.read(&mut buffer).now_or_never().unwrap();
        assert_eq!(read.unwrap(), 0);
    })
    .unwrap();
}

const CHILD: &str = "RONDEL_NET_TEST_SIGPIPE";

#[test]
fn a_lost_peer_raises_no_signal() {
    if std::env::var_os(CHILD).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_lost_peer_raises_no_signal"])
            .env(CHILD, "1")
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        return;
    }
    // Rust programs ignore the signal from the start; one that does not must live on, too.
    // SAFETY: the default action is no handler of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    run(async {
        let (_reader, writer, peer) = split_pair();
        drop(peer);
        while writer.write_all(b"hello?").await.is_ok() {
            yield_now().await;
        }
        writer
            .write_vectored(&[IoSlice::new(b"a"), IoSlice::new(b"b")])
            .unwrap_err();
    })
    .unwrap();
}

#[test]
fn the_rest_of_a_single_write_that_went_out_short_at_the_end_of_its_turn_is_sent_on() {
    run(async {
        let (_reader, writer, mut peer) = narrow_split_pair();
        // Too short to be sent at once, too long for the buffers: what is sent at the end of this turn is sent short, and
        // nobody asks for the rest.
        let bytes = pattern(0, 15 * 1024);
        writer.write(&bytes).unwrap();
        assert_eq!(writer.buffered(), bytes.len());
        yield_now().await;
        let left = writer.buffered();
        assert!(left > 0 && left < bytes.len(), "not short: {left} left");
        let received = to_thread(move || {
            let mut received = vec![0; 15 * 1024];
            peer.set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            peer.read_exact(&mut received).map(|()| received)
        });
        assert!(received.await.unwrap().unwrap() == bytes);
        assert_eq!(writer.buffered(), 0);
    })
    .unwrap();
}

#[test]
fn the_loop_counts_what_its_connections_receive_and_send() {
    run(async {
        let (mut reader, writer, mut peer) = split_pair();
        let metrics = || LocalLoop::current().unwrap().metrics();
        assert_eq!((metrics().received, metrics().sent), (0, 0));
        writer.write_all(&[1; 1000]).await.unwrap();
        peer.read_exact(&mut [0; 1000]).unwrap();
        peer.write_all(&[2; 70]).unwrap();
        reader.read_exact(&mut [0; 70]).await.unwrap();
        assert_eq!((metrics().received, metrics().sent), (70, 1000));
        assert_eq!(metrics().descriptors, 1);
    })
    .unwrap();
}
