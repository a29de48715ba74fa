//! `StreamReader`: asyncio's reader, its limits, and what is left where after an error or a cancellation.

mod cancel;
mod pair;

use std::future::Future;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::pin::Pin;

use cancel::cancel_at;
use futures_util::{FutureExt, StreamExt};
use pair::*;
use proptest::prelude::*;
use rondel_loop::{run, spawn, yield_now};
use rondel_net::{ReadError, StreamReader, StreamWriter};

/// A reader that will get these chunks, each when there was nothing left to do, and then the end.
fn chunks(chunks: &[&[u8]]) -> (StreamReader, StreamWriter) {
    let (reader, writer, mut peer) = split_pair();
    let chunks: Vec<_> = chunks.iter().map(|chunk| chunk.to_vec()).collect();
    spawn(async move {
        for chunk in chunks {
            peer.write_all(&chunk).unwrap();
            // More than one turn, so that a reader which waits has seen it.
            for _ in 0..100 {
                yield_now().await;
            }
        }
    })
    .detach();
    (reader, writer)
}

fn all_there(bytes: &[u8]) -> (StreamReader, StreamWriter) {
    let (reader, writer, mut peer) = split_pair();
    peer.write_all(bytes).unwrap();
    (reader, writer)
}

#[test]
fn read_gives_what_there_is_up_to_what_fits() {
    run(async {
        let (mut reader, _writer, mut peer) = split_pair();
        peer.write_all(b"hello").unwrap();
        assert_eq!(reader.read(&mut []).await.unwrap(), 0);
        let mut buffer = [0; 3];
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer, b"hel");
        assert_eq!(reader.buffer(), b"lo");
        assert_eq!(reader.read(&mut []).await.unwrap(), 0);
        let mut buffer = [0; 100];
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 2);
        assert!(reader.read(&mut buffer).now_or_never().is_none());
        drop(peer);
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn read_some_gives_what_there_is() {
    run(async {
        let (mut reader, _writer) = all_there(b"hello");
        assert_eq!(reader.read_some(0).await.unwrap(), b"");
        assert_eq!(reader.read_some(2).await.unwrap(), b"he");
        assert_eq!(reader.read_until(b"l").await.unwrap(), b"l");
        assert_eq!(reader.read_some(0).await.unwrap(), b"");
        assert_eq!(reader.read_some(100).await.unwrap(), b"lo");
        assert_eq!(reader.read_some(100).await.unwrap(), b"");
        assert!(reader.at_eof());
    })
    .unwrap();
}

#[test]
fn receive_lends_what_there_is() {
    run(async {
        let (mut reader, writer, peer) = split_pair();
        let mut peer = feed(peer, pattern(0, 50_000)).await;
        assert_eq!(reader.read(&mut [0; 1]).await.unwrap(), 1);
        // First what the reader holds, then what comes.
        let held = reader.receive(<[u8]>::to_vec).await.unwrap();
        assert!(held == pattern(1, 49_999));
        assert_eq!(reader.buffer(), b"");
        peer.write_all(b"ping").unwrap();
        let count = reader
            .receive(|bytes| writer.write(bytes).map(|()| bytes.len()))
            .await;
        assert_eq!(count.unwrap().unwrap(), 4);
        writer.flush().await.unwrap();
        let mut echoed = [0; 4];
        std::io::Read::read_exact(&mut peer, &mut echoed).unwrap();
        assert_eq!(&echoed, b"ping");
        assert!(reader.receive(|_| ()).now_or_never().is_none());
        drop(peer);
        assert_eq!(reader.receive(<[u8]>::len).await.unwrap(), 0);
        assert!(reader.at_eof());
    })
    .unwrap();
}

#[test]
fn read_to_end_joins_everything_within_its_limit() {
    run(async {
        let (mut reader, _writer) = chunks(&[b"one", b"two", b"three"]);
        reader.set_limit(1);
        assert_eq!(reader.read_to_end(11).await.unwrap(), b"onetwothree");
        assert_eq!(reader.read_to_end(0).await.unwrap(), b"");

        let (mut reader, _writer) = chunks(&[b"one", b"two"]);
        match reader.read_to_end(5).await.unwrap_err() {
            ReadError::LimitOverrun {
                consumed: 6,
                limit: 5,
            } => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(reader.buffer(), b"onetwo", "it is kept");
        assert_eq!(reader.read_to_end(usize::MAX).await.unwrap(), b"onetwo");
    })
    .unwrap();
}

#[test]
fn read_exact_waits_for_all_of_it() {
    run(async {
        for size in [2, 10, 16 * 1024, 300_000] {
            let (mut reader, _writer, peer) = split_pair();
            reader.set_limit(8);
            reader.read_exact(&mut []).await.unwrap();
            let feeding = spawn(feed(peer, pattern(0, 3 * size + 1)));
            let mut out = vec![0; size];
            for round in 0..3 {
                reader.read_exact(&mut out).await.unwrap();
                assert!(out == pattern(round * size, size), "{size}");
            }
            drop(feeding.await.unwrap());
            match reader.read_exact(&mut out).await {
                Err(ReadError::Incomplete { partial, expected }) => {
                    assert_eq!(partial, pattern(3 * size, 1));
                    assert_eq!(expected, Some(size));
                }
                other => panic!("{other:?}"),
            }
            assert!(reader.at_eof());
        }
    })
    .unwrap();
}

#[test]
fn a_peer_that_sends_single_bytes_is_understood() {
    run(async {
        let (mut reader, _writer, mut peer) = split_pair();
        let bytes = b"12345678line one\nand until;rest";
        let sending = spawn(async move {
            for byte in bytes {
                peer.write_all(&[*byte]).unwrap();
                yield_now().await;
                yield_now().await;
            }
        });
        let mut eight = [0; 8];
        reader.read_exact(&mut eight).await.unwrap();
        assert_eq!(&eight, b"12345678");
        assert_eq!(reader.read_line().await.unwrap(), b"line one\n");
        assert_eq!(reader.read_until(b"until;").await.unwrap(), b"and until;");
        assert_eq!(reader.read_to_end(10).await.unwrap(), b"rest");
        sending.await.unwrap();
    })
    .unwrap();
}

#[test]
fn a_separator_split_over_chunks_with_false_starts_is_found() {
    run(async {
        let (mut reader, _writer) = chunks(&[b"QWEaa", b"XYaa", b"a", b"tail"]);
        assert_eq!(reader.read_until(b"aaa").await.unwrap(), b"QWEaaXYaaa");
        assert_eq!(reader.read_to_end(10).await.unwrap(), b"tail");

        let (mut reader, _writer) = chunks(&[b"aaaa", b"b"]);
        assert_eq!(reader.read_until(b"aab").await.unwrap(), b"aaaab");
    })
    .unwrap();
}

#[test]
fn of_several_separators_the_one_that_ends_first_wins() {
    run(async {
        let (mut reader, _writer) = all_there(b"ABCDEFG");
        let found = reader.read_until_any(&[b"DEF", b"BCDE"]).await.unwrap();
        assert_eq!(found, b"ABCDE");
        assert_eq!(reader.buffer(), b"FG");

        // Where two end together, the limit is measured to the shorter.
        let (mut reader, _writer) = all_there(b"ABCD");
        reader.set_limit(2);
        let found = reader.read_until_any(&[b"BCD", b"D", b"CD"]).await;
        match found.unwrap_err() {
            ReadError::LimitOverrun {
                consumed: 3,
                limit: 2,
            } => {}
            other => panic!("{other:?}"),
        }

        // A long one must not make the search for a short one begin too early or too late.
        let (mut reader, _writer) = chunks(&[b"a", b"b", b"\n"]);
        let found = reader
            .read_until_any(&[b"\n", b"a very long one indeed"])
            .await;
        assert_eq!(found.unwrap(), b"ab\n");
    })
    .unwrap();
}

#[test]
fn an_empty_separator_is_refused() {
    run(async {
        let (mut reader, _writer) = all_there(b"x");
        for separators in [&[][..], &[&b""[..]], &[&b"x"[..], b""]] {
            let error = reader.read_until_any(separators).await.unwrap_err();
            assert!(matches!(error, ReadError::NoSeparator));
        }
        let error = reader.read_until(b"").await.unwrap_err();
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::InvalidInput);
    })
    .unwrap();
}

#[test]
fn the_limit_counts_what_is_in_front_of_the_separator() {
    run(async {
        let (mut reader, _writer) = all_there(b"12345\n123456\n");
        reader.set_limit(5);
        assert_eq!(reader.limit(), 5);
        assert_eq!(reader.read_until(b"\n").await.unwrap(), b"12345\n");
        match reader.read_until(b"\n").await.unwrap_err() {
            ReadError::LimitOverrun {
                consumed: 6,
                limit: 5,
            } => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(reader.buffer(), b"123456\n", "it is kept");
        reader.set_limit(6);
        assert_eq!(reader.read_until(b"\n").await.unwrap(), b"123456\n");

        let (mut reader, _writer) = all_there(b"\n1\n");
        reader.set_limit(0);
        assert_eq!(reader.read_until(b"\n").await.unwrap(), b"\n");
        reader.read_until(b"\n").await.unwrap_err();
    })
    .unwrap();
}

#[test]
fn without_a_separator_the_limit_is_noticed_before_the_end() {
    run(async {
        let (mut reader, _writer, mut peer) = split_pair();
        reader.set_limit(10);
        peer.write_all(b"0123456789").unwrap();
        // Ten may be in front of one that is to come.
        let mut reading = Box::pin(reader.read_until(b"end"));
        while peer.peek_unread() {
            assert!(futures_util::poll!(&mut reading).is_pending());
            yield_now().await;
        }
        assert!(futures_util::poll!(&mut reading).is_pending());
        peer.write_all(b"abc").unwrap();
        match reading.await.unwrap_err() {
            // The last two may be the beginning of one.
            ReadError::LimitOverrun {
                consumed: 11,
                limit: 10,
            } => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(reader.buffer(), b"0123456789abc");
    })
    .unwrap();
}

/// Whether what was sent has not been received yet.
trait Unread {
    fn peek_unread(&self) -> bool;
}

impl Unread for Peer {
    fn peek_unread(&self) -> bool {
        let mut count: libc::c_int = 0;
        // SAFETY: the ioctl writes one int.
        let result = unsafe {
            libc::ioctl(
                std::os::fd::AsRawFd::as_raw_fd(self),
                libc::TIOCOUTQ,
                &mut count,
            )
        };
        assert_eq!(result, 0);
        count > 0
    }
}

#[test]
fn an_end_before_the_separator_gives_the_partial_data() {
    run(async {
        let (mut reader, _writer) = chunks(&[b"par", b"tial"]);
        match reader.read_until(b"\r\n").await.unwrap_err() {
            ReadError::Incomplete {
                partial,
                expected: None,
            } => assert_eq!(partial, b"partial"),
            other => panic!("{other:?}"),
        }
        assert!(reader.at_eof());
        match reader.read_until(b"\r\n").await.unwrap_err() {
            ReadError::Incomplete {
                partial,
                expected: None,
            } => assert_eq!(partial, b""),
            other => panic!("{other:?}"),
        }
    })
    .unwrap();
}

#[test]
fn lines_end_with_the_stream() {
    run(async {
        let (mut reader, _writer) = chunks(&[b"one\ntw", b"o\n\nthr", b"ee"]);
        assert_eq!(reader.read_line().await.unwrap(), b"one\n");
        assert_eq!(reader.read_line().await.unwrap(), b"two\n");
        assert_eq!(reader.read_line().await.unwrap(), b"\n");
        assert!(!reader.at_eof());
        assert_eq!(reader.read_line().await.unwrap(), b"three");
        assert!(reader.at_eof());
        assert_eq!(reader.read_line().await.unwrap(), b"");

        let (mut reader, _writer) = chunks(&[b"one\ntw", b"o\n\nthr", b"ee"]);
        let lines: Vec<_> = reader.lines().map(Result::unwrap).collect().await;
        assert_eq!(lines, [&b"one\n"[..], b"two\n", b"\n", b"three"]);
    })
    .unwrap();
}

#[test]
fn a_line_that_is_too_long_is_reported_and_kept() {
    run(async {
        let (mut reader, _writer) = all_there(b"ok\n123456\nnext\n");
        reader.set_limit(5);
        assert_eq!(reader.read_line().await.unwrap(), b"ok\n");
        let error = reader.read_line().await.unwrap_err();
        assert!(matches!(error, ReadError::LimitOverrun { .. }), "{error:?}");
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::InvalidData);
        assert_eq!(reader.buffer(), b"123456\nnext\n", "it is kept");
        reader.read_line().await.unwrap_err();
        reader.set_limit(6);
        assert_eq!(reader.read_line().await.unwrap(), b"123456\n");
        assert_eq!(reader.read_line().await.unwrap(), b"next\n");

        let (mut reader, _writer) = all_there(b"ok\n123456789");
        reader.set_limit(5);
        let mut lines = reader.lines();
        assert_eq!(lines.next().await.unwrap().unwrap(), b"ok\n");
        lines.next().await.unwrap().unwrap_err();
        assert!(lines.next().await.is_none(), "it ends after an error");
        assert_eq!(reader.buffer(), b"123456789");
    })
    .unwrap();
}

#[test]
fn at_eof_waits_for_the_buffer() {
    run(async {
        let (mut reader, _writer) = all_there(b"ab");
        assert_eq!(reader.read(&mut [0; 1]).await.unwrap(), 1);
        assert!(!reader.at_eof());
        reader.read_exact(&mut [0; 3]).await.unwrap_err();
        assert!(reader.at_eof());
    })
    .unwrap();
}

#[test]
fn what_arrived_before_a_reset_can_be_read_and_then_it_is_told() {
    run(async {
        let (mut reader, _writer, mut peer) = split_pair();
        peer.write_all(b"before\nhalf a li").unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"before\n");
        reset(peer);
        let error = reader.read_line().await.unwrap_err();
        assert!(matches!(error, ReadError::Io(_)), "{error:?}");
        assert_eq!(reader.buffer(), b"half a li");
        assert!(!reader.at_eof());
        reader.read_to_end(100).await.unwrap_err();
        reader.read_exact(&mut [0; 20]).await.unwrap_err();
        reader.read_exact(&mut [0; 20_000]).await.unwrap_err();
        assert_eq!(reader.read(&mut [0; 20]).await.unwrap(), 9);
        let error = reader.read(&mut [0; 20]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn it_receives_no_more_than_twice_its_limit_ahead() {
    run(async {
        let (mut reader, _writer, peer) = split_pair();
        reader.set_limit(20_000);
        let feeding = spawn(feed(peer, vec![b'x'; 100_000]));
        feeding.await.unwrap();
        assert_eq!(reader.read(&mut [0; 1]).await.unwrap(), 1);
        assert!(reader.buffer().len() < 40_000, "{}", reader.buffer().len());
        let error = reader.read_until(b"y").await.unwrap_err();
        assert!(matches!(error, ReadError::LimitOverrun { .. }));
        assert!(reader.buffer().len() <= 40_000, "{}", reader.buffer().len());
    })
    .unwrap();
}

#[test]
fn reading_goes_on_after_the_writer_has_gone() {
    run(async {
        let (mut reader, writer, mut peer) = split_pair();
        drop(writer);
        assert_eq!(drain_peer(peer.try_clone().unwrap()).await.unwrap(), b"");
        peer.write_all(b"still here").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.read_to_end(100).await.unwrap(), b"still here");
    })
    .unwrap();
}

type Reading<'r> = Pin<Box<dyn Future<Output = Result<Vec<u8>, ReadError>> + 'r>>;

type Read = fn(&mut StreamReader) -> Reading<'_>;

/// Every way to read, on one that has 60 000 bytes to come, a newline after each 20 000.
const WAYS: [(&str, Read); 8] = [
    ("read", |reader| {
        Box::pin(async {
            let mut out = [0; 1000];
            let count = reader.read(&mut out).await?;
            Ok(out[..count].to_vec())
        })
    }),
    ("read, large", |reader| {
        Box::pin(async {
            let mut out = [0; 50_000];
            let count = reader.read(&mut out).await?;
            Ok(out[..count].to_vec())
        })
    }),
    ("read_some", |reader| {
        Box::pin(async { Ok(reader.read_some(1000).await?) })
    }),
    ("read_exact", |reader| {
        Box::pin(async {
            let mut out = [0; 10_000];
            reader.read_exact(&mut out).await?;
            Ok(out.to_vec())
        })
    }),
    ("read_exact, large", |reader| {
        Box::pin(async {
            let mut out = [0; 50_000];
            reader.read_exact(&mut out).await?;
            Ok(out.to_vec())
        })
    }),
    ("read_until", |reader| Box::pin(reader.read_until(b"\n"))),
    ("lines", |reader| {
        Box::pin(async { reader.lines().next().await.unwrap_or(Ok(Vec::new())) })
    }),
    ("read_to_end", |reader| {
        Box::pin(reader.read_to_end(100_000))
    }),
];

#[test]
fn cancelled_at_any_point_nothing_is_lost() {
    let bytes: Vec<u8> = pattern(0, 60_000)
        .into_iter()
        .enumerate()
        .map(|(place, byte)| match byte {
            _ if (place + 1) % 20_000 == 0 => b'\n',
            b'\n' => b'-',
            other => other,
        })
        .collect();
    for (name, read) in WAYS {
        for point in 0..30 {
            let bytes = bytes.clone();
            run(async move {
                let pieces: Vec<_> = bytes.chunks(4567).collect();
                let (mut reader, _writer) = chunks(&pieces);
                let mut received = Vec::new();
                let finished = match cancel_at(point, read(&mut reader)).await {
                    Some(outcome) => {
                        received.extend(outcome.unwrap());
                        true
                    }
                    None => false,
                };
                assert!(point > 0 || !finished, "{name} did not wait at all");
                received.extend(reader.read_to_end(100_000).await.unwrap());
                assert!(received == bytes, "{name}, cancelled at {point}");
            })
            .unwrap();
        }
    }
}

/// What `read_until` is to give, worked out the plain way.
fn expected(bytes: &[u8], separators: &[Vec<u8>], limit: usize) -> Result<usize, usize> {
    let found = (0..=bytes.len())
        .filter_map(|end| {
            separators
                .iter()
                .filter(|separator| bytes[..end].ends_with(separator))
                .map(|separator| (end, end - separator.len()))
                .max_by_key(|(_, start)| *start)
        })
        .next();
    match found {
        Some((end, start)) if start <= limit => Ok(end),
        Some((_, start)) => Err(start),
        None => Err(usize::MAX),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn read_until_agrees_with_a_plain_search(
        pieces in proptest::collection::vec(proptest::collection::vec(b'a'..=b'c', 1..12), 1..8),
        separators in proptest::collection::vec(proptest::collection::vec(b'a'..=b'c', 1..5), 1..4),
        limit in 0..40usize,
    ) {
        run(async {
            let slices: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
            let all = pieces.concat();
            let (mut reader, _writer) = chunks(&slices);
            reader.set_limit(limit);
            let separator_slices: Vec<_> = separators.iter().map(Vec::as_slice).collect();
            let mut rest = &all[..];
            loop {
                let outcome = reader.read_until_any(&separator_slices).await;
                match (outcome, expected(rest, &separators, limit)) {
                    (Ok(got), Ok(end)) => {
                        assert_eq!(got, &rest[..end]);
                        rest = &rest[end..];
                    }
                    (Err(ReadError::Incomplete { partial, expected: None }), Err(usize::MAX)) => {
                        assert_eq!(partial, rest);
                        return;
                    }
                    (Err(ReadError::LimitOverrun { consumed, limit: told }), Err(start)) => {
                        assert_eq!(told, limit);
                        assert!(consumed > limit && consumed <= start.min(rest.len()));
                        assert!(reader.buffer().len() <= rest.len());
                        assert_eq!(reader.read_to_end(1000).await.unwrap(), rest);
                        return;
                    }
                    (got, expected) => panic!("{got:?}, where {expected:?} was expected of {rest:?}"),
                }
            }
        }).unwrap();
    }
}
