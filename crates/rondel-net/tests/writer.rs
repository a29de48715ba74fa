//! `StreamWriter`: how a connection ends, by every way there is to end it.

mod cancel;
mod pair;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use cancel::cancel_at;
use futures_util::FutureExt;
use pair::*;
use rondel_executor::Waits;
use rondel_loop::{EventLoop, LocalLoop, run, spawn, yield_now};
use rondel_net::{StreamReader, StreamWriter, WriteError};

/// A stream with `queued` bytes behind what a stalled peer's system has taken; and how much was written in all.
fn stalled(queued: usize) -> (StreamReader, StreamWriter, Peer, usize) {
    let (reader, writer, peer) = narrow_split_pair();
    let written = fill(&writer);
    writer.write(&pattern(written, queued)).unwrap();
    (reader, writer, peer, written + queued)
}

#[test]
fn the_end_is_written_once_behind_what_is_queued() {
    run(async {
        let (mut reader, writer, mut peer, written) = stalled(100_000);
        assert!(writer.can_write_eof());
        writer.write_eof().unwrap();
        writer.write_eof().unwrap();
        assert!(matches!(writer.write(b"x"), Err(WriteError::Finished)));
        assert_eq!(kind(writer.write(b"").unwrap_err()), ErrorKind::BrokenPipe);
        assert!(matches!(
            writer.write_all(b"x").await,
            Err(WriteError::Finished)
        ));
        assert!(!writer.is_closing());

        let received = drain_peer(peer.try_clone().unwrap()).await.unwrap();
        assert!(received == pattern(0, written));
        writer.flush().await.unwrap();
        peer.write_all(b"and the other way").unwrap();
        drop(peer);
        assert_eq!(reader.read_to_end(100).await.unwrap(), b"and the other way");
        writer.close();
        writer.write_eof().unwrap();
        writer.wait_closed().await.unwrap();
    })
    .unwrap();
}

#[test]
fn what_is_written_now_goes_out_before_the_turn_ends() {
    run(async {
        let (_reader, writer, mut peer) = split_pair();
        let write = |parts: [&[u8]; 2], now: bool| {
            let parts = parts.map(IoSlice::new);
            poll_fn(|cx| {
                if now {
                    writer.poll_write_now(cx, &parts)
                } else {
                    writer.poll_write_vectored(cx, &parts)
                }
            })
            .now_or_never()
            .unwrap()
            .unwrap()
        };
        assert_eq!(write([b"in the ", b"turn"], false), 11);
        assert_eq!(writer.buffered(), 11, "it goes with what else is written");
        // In order: behind what is queued, and with it.
        assert_eq!(write([b", and ", b"now"], true), 9);
        assert_eq!(writer.buffered(), 0);
        let mut received = [0; 20];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"in the turn, and now");
        assert_eq!(write([b"again", b""], true), 5);
        assert_eq!(writer.buffered(), 0);
        peer.read_exact(&mut received[..5]).unwrap();
    })
    .unwrap();
}

#[test]
fn what_the_system_does_not_take_now_is_queued() {
    run(async {
        let (reader, writer, peer) = narrow_split_pair();
        let bytes = pattern(0, 1 << 20);
        let count = poll_fn(|cx| writer.poll_write_now(cx, &[IoSlice::new(&bytes)]));
        assert_eq!(count.await.unwrap(), 1 << 20);
        assert!(writer.buffered() > 0);
        let paused = poll_fn(|cx| writer.poll_write_now(cx, &[IoSlice::new(b"x")])).now_or_never();
        assert!(paused.is_none(), "too much is queued");
        writer.close();
        let received = drain_peer(peer).await.unwrap();
        assert!(received == bytes);
        drop(reader);
    })
    .unwrap();
}

#[test]
fn close_sends_what_is_queued_though_every_handle_is_gone() {
    run(async {
        let (reader, writer, peer, written) = stalled(300_000);
        writer.close();
        drop(writer);
        drop(reader);
        assert!(drain_peer(peer).await.unwrap() == pattern(0, written));
    })
    .unwrap();
}

#[test]
fn wait_closed_waits_for_the_last_byte() {
    run(async {
        let (mut reader, writer, peer, written) = stalled(100_000);
        assert!(
            writer.wait_closed().now_or_never().is_none(),
            "it does not close"
        );
        assert!(!writer.is_closing());
        writer.close();
        writer.close();
        assert!(writer.is_closing());
        assert!(writer.wait_closed().now_or_never().is_none());
        assert!(matches!(writer.write(b"x"), Err(WriteError::Closed)));
        assert_eq!(
            kind(writer.write_all(b"x").await.unwrap_err()),
            ErrorKind::NotConnected
        );
        let received = spawn(drain_peer(peer));
        writer.wait_closed().await.unwrap();
        assert_eq!(writer.buffered(), 0);
        assert!(received.await.unwrap().unwrap() == pattern(0, written));
        writer.wait_closed().await.unwrap();
        assert!(matches!(writer.drain().await, Err(WriteError::Closed)));
        assert!(writer.local_addr().is_err());
        assert!(writer.peer_addr().is_some());
        assert_eq!(reader.read(&mut [0; 16]).await.unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn closing_ends_a_read_that_waits() {
    run(async {
        let (mut reader, writer, _peer) = split_pair();
        let reading = spawn(async move { reader.read(&mut [0; 16]).await });
        yield_now().await;
        writer.close();
        assert_eq!(reading.await.unwrap().unwrap(), 0);

        let (mut reader, writer, _peer) = split_pair();
        let reading = spawn(async move { reader.read(&mut [0; 16]).await });
        yield_now().await;
        writer.abort();
        let error = reading.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    })
    .unwrap();
}

#[test]
fn closing_with_bytes_unread_does_not_cut_what_was_sent() {
    run(async {
        let (mut reader, writer, mut peer) = split_pair();
        // A request of which only the first part matters, and is received.
        reader.set_limit(1);
        peer.write_all(&pattern(0, 50_000)).unwrap();
        reader.read_exact(&mut [0; 10]).await.unwrap();
        writer
            .write_all(b"413 that is too much for us")
            .await
            .unwrap();
        writer.close();
        drop((reader, writer));
        let answer = drain_peer(peer).await.unwrap();
        assert_eq!(answer, b"413 that is too much for us");
    })
    .unwrap();
}

#[test]
fn abort_is_seen_as_a_reset() {
    run(async {
        let (mut reader, writer, mut peer, _) = stalled(1000);
        let drains = cancel_at(0, writer.drain()).await;
        assert!(drains.is_some(), "below the high mark");
        let flush = futures_util::future::join(writer.flush(), async {
            yield_now().await;
            writer.abort();
            writer.abort();
        });
        let (flushed, ()) = flush.await;
        assert!(matches!(flushed, Err(WriteError::Closed)));
        assert_eq!(writer.buffered(), 0);
        assert!(writer.is_closing());
        assert!(matches!(writer.write(b"x"), Err(WriteError::Closed)));
        assert!(matches!(writer.drain().await, Err(WriteError::Closed)));
        writer.wait_closed().await.unwrap();
        let error = reader.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn close_after_close_and_abort_after_close() {
    run(async {
        let (_reader, writer, mut peer, _) = stalled(100_000);
        writer.close();
        writer.abort();
        writer.wait_closed().await.unwrap();
        let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn a_dropped_writer_sends_what_the_system_takes() {
    run(async {
        let (reader, writer, peer) = split_pair();
        writer.write(b"in the same turn").unwrap();
        drop(writer);
        assert_eq!(drain_peer(peer).await.unwrap(), b"in the same turn");
        drop(reader);

        let (reader, writer, peer) = split_pair();
        writer.write(b"both go").unwrap();
        drop((reader, writer));
        assert_eq!(drain_peer(peer).await.unwrap(), b"both go");
    })
    .unwrap();
}

#[test]
fn a_writer_dropped_with_bytes_left_queued_aborts() {
    run(async {
        let (mut reader, writer, mut peer, _) = stalled(1000);
        drop(writer);
        let error = reader.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn a_task_cancelled_while_it_writes_does_not_make_a_cut_message_look_whole() {
    run(async {
        let (reader, writer, mut peer) = narrow_split_pair();
        let task = spawn(async move {
            let _reader = reader;
            writer.write_all(&pattern(0, 200_000)).await
        });
        yield_now().await;
        task.cancel();
        task.await.unwrap_err();
        let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn a_dropped_writer_ends_the_stream_though_the_reader_stays() {
    run(async {
        let (mut reader, writer, mut peer) = split_pair();
        writer.write_all(b"question").await.unwrap();
        drop(writer);
        let question = drain_peer(peer.try_clone().unwrap()).await.unwrap();
        assert_eq!(question, b"question");
        peer.write_all(b"answer").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.read_to_end(10).await.unwrap(), b"answer");
    })
    .unwrap();
}

#[test]
fn write_all_cancelled_at_any_point_has_written_everything() {
    for point in 0..6 {
        run(async move {
            let (_reader, writer, peer) = narrow_split_pair();
            let received = spawn(drain_peer(peer));
            let outcome = cancel_at(point, writer.write_all(&pattern(0, 300_000))).await;
            assert!(point > 0 || outcome.is_none());
            writer.write_all(&pattern(300_000, 10)).await.unwrap();
            writer.close();
            writer.wait_closed().await.unwrap();
            assert!(received.await.unwrap().unwrap() == pattern(0, 300_010));
        })
        .unwrap();
    }
}

#[test]
fn what_is_too_long_to_be_accepted_is_whole_or_reset() {
    for point in 0..6 {
        run(async move {
            let (_reader, writer, peer) = narrow_split_pair();
            writer.set_hard_limit(1000);
            let received = spawn(drain_peer(peer));
            let outcome = cancel_at(point, writer.write_all(&pattern(0, 300_000))).await;
            assert!(point > 0 || outcome.is_none());
            if outcome.is_some() {
                writer.close();
                assert!(received.await.unwrap().unwrap() == pattern(0, 300_000));
            } else {
                assert!(writer.is_closing());
                let error = received.await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
        })
        .unwrap();
    }
}

#[test]
fn waiting_futures_can_be_dropped_at_any_point() {
    for point in 0..6 {
        run(async move {
            let (_reader, writer, peer, written) = stalled(200_000);
            assert!(cancel_at(0, writer.drain()).await.is_none());
            assert!(cancel_at(0, writer.flush()).await.is_none());
            assert!(cancel_at(0, writer.wait_closed()).await.is_none());
            let received = spawn(drain_peer(peer));
            cancel_at(point, writer.drain()).await;
            cancel_at(point, writer.flush()).await;
            writer.close();
            cancel_at(point, writer.wait_closed()).await;
            writer.wait_closed().await.unwrap();
            assert!(received.await.unwrap().unwrap() == pattern(0, written));
        })
        .unwrap();
    }
}

#[test]
fn water_marks_follow_from_each_other() {
    run(async {
        let (_reader, writer, _peer) = split_pair();
        let limits = |high: Option<usize>, low: Option<usize>| {
            writer
                .set_write_buffer_limits(high, low)
                .map(|()| writer.write_buffer_limits())
        };
        assert_eq!(writer.write_buffer_limits(), (16 * 1024, 64 * 1024));
        assert_eq!(limits(None, Some(16)).unwrap(), (16, 64));
        assert_eq!(limits(Some(100), None).unwrap(), (25, 100));
        assert_eq!(limits(Some(5), Some(5)).unwrap(), (5, 5));
        assert_eq!(limits(Some(0), None).unwrap(), (0, 0));
        assert_eq!(
            limits(None, Some(usize::MAX)).unwrap(),
            (usize::MAX, usize::MAX)
        );
        assert_eq!(limits(None, None).unwrap(), (16 * 1024, 64 * 1024));
        let error = limits(Some(1), Some(2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(writer.write_buffer_limits(), (16 * 1024, 64 * 1024));
        assert_eq!(writer.hard_limit(), 16 * 1024 * 1024);
    })
    .unwrap();
}

#[test]
fn while_it_closes_drain_waits_like_any_other() {
    run(async {
        let (_reader, writer, peer, _) = stalled(200_000);
        writer.close();
        assert!(writer.drain().now_or_never().is_none());
        let received = spawn(drain_peer(peer));
        writer.drain().await.unwrap();
        received.await.unwrap().unwrap();
    })
    .unwrap();
}

#[test]
fn a_task_that_waits_for_its_peer_says_so() {
    run(async {
        let (_reader, writer, _peer, _) = stalled(200_000);
        let waits = spawn(async move { writer.drain().await }).named("stuck");
        yield_now().await;
        let info = waits.info().unwrap();
        assert_eq!(info.waits(), Waits::WRITABLE);
        waits.cancel();
    })
    .unwrap();
}

#[test]
fn what_is_written_between_runs_is_sent_by_the_next() {
    let mut lp = EventLoop::new().unwrap();
    let (_reader, writer, mut peer) = lp.run_until_complete(async { split_pair() }).unwrap();
    writer.write(b"between").unwrap();
    assert_eq!(readable(&mut peer), b"");
    lp.run_until_complete(yield_now()).unwrap();
    let mut received = [0; 7];
    peer.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"between");
}

#[test]
fn after_the_loop_has_closed_everything_fails_and_nothing_looks_whole() {
    let mut lp = EventLoop::new().unwrap();
    let (mut reader, writer, mut peer, _) = lp.run_until_complete(async { stalled(1000) }).unwrap();
    let (waiting, mut waiting_peer) = lp
        .run_until_complete(async {
            let (mut reader, writer, peer) = split_pair();
            let task = spawn(async move {
                let _writer = writer;
                reader.read(&mut [0; 1]).await
            });
            yield_now().await;
            (task, peer)
        })
        .unwrap();
    lp.close();
    let read = reader.read(&mut [0; 16]).now_or_never().unwrap();
    let error = read.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert!(error.to_string().contains("loop is closed"), "{error}");
    assert_eq!(
        kind(writer.write(b"x").unwrap_err()),
        ErrorKind::NotConnected
    );
    let drained = writer.flush().now_or_never().unwrap();
    assert_eq!(kind(drained.unwrap_err()), ErrorKind::NotConnected);
    assert!(waiting.is_finished());
    assert_eq!(waiting_peer.read(&mut [0; 1]).unwrap(), 0);
    writer.close();
    drop((reader, writer));
    let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn what_lingers_when_the_loop_closes_does_not_look_whole() {
    let mut lp = EventLoop::new().unwrap();
    let mut peer = lp
        .run_until_complete(async {
            let (_reader, writer, peer, _) = stalled(1000);
            writer.close();
            peer
        })
        .unwrap();
    lp.close();
    let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn nothing_of_this_reaches_the_exception_handler() {
    run(async {
        let told = Rc::new(RefCell::new(Vec::new()));
        let note = Rc::clone(&told);
        LocalLoop::current()
            .unwrap()
            .set_exception_handler(Some(Rc::new(move |_, context| {
                note.borrow_mut().push(context.to_string());
            })));
        let (_reader, writer, peer, _) = stalled(100_000);
        writer.close();
        writer.write(b"late").unwrap_err();
        reset(peer);
        writer.wait_closed().await.unwrap_err();
        let outcome: io::Result<()> = writer.drain().await.map_err(Into::into);
        outcome.unwrap_err();
        yield_now().await;
        assert_eq!(*told.borrow(), Vec::<String>::new());
    })
    .unwrap();
}
