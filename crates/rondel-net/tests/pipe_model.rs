//! A pipe between two ends of this library, against a queue of bytes: whatever is done in whatever order.

#![cfg(feature = "pipe")]

use std::collections::VecDeque;

use futures_util::FutureExt;
use proptest::prelude::*;
use rondel_loop::{run, yield_now};
use rondel_net::{PipeReader, PipeWriter, ReadError, WriteError, open_read_pipe, open_write_pipe};

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    /// Polled once, then dropped: accepted whole nevertheless.
    WriteAll(usize),
    Drain,
    Turn,
    Read(usize),
    ReadSome(usize),
    ReadExact(usize),
    ReadLine,
    SetLimit(usize),
    SetHardLimit(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0..10usize, 0..5000usize, 60_000..300_000usize];
    let small = prop_oneof![0..10usize, 0..100_000usize];
    prop_oneof![
        3 => size.clone().prop_map(Step::Write),
        2 => size.prop_map(Step::WriteAll),
        1 => Just(Step::Drain),
        3 => Just(Step::Turn),
        2 => small.clone().prop_map(Step::Read),
        2 => small.clone().prop_map(Step::ReadSome),
        2 => small.clone().prop_map(Step::ReadExact),
        2 => Just(Step::ReadLine),
        1 => (1..1000usize).prop_map(Step::SetLimit),
        1 => small.prop_map(Step::SetHardLimit),
    ]
}

#[derive(Clone, Copy, Debug)]
enum End {
    Drop,
    Close,
    Abort,
}

/// What was accepted, and not read yet.
#[derive(Default)]
struct Model {
    bytes: VecDeque<u8>,
    written: usize,
}

impl Model {
    /// The next bytes of the stream; a line now and then.
    fn next(&mut self, count: usize) -> Vec<u8> {
        let from = self.written;
        self.written += count;
        let byte = |n: usize| {
            if n.is_multiple_of(97) {
                b'\n'
            } else {
                (n % 89) as u8 + b'!'
            }
        };
        (from..from + count).map(byte).collect()
    }

    fn accepted(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn refused(&mut self, bytes: &[u8]) {
        self.written -= bytes.len();
    }

    fn read(&mut self, bytes: &[u8]) {
        let expected: Vec<u8> = self.bytes.drain(..bytes.len()).collect();
        assert!(bytes == expected);
    }
}

fn write(model: &mut Model, writer: &PipeWriter, count: usize, all: bool) {
    let bytes = model.next(count);
    let queued = writer.buffered();
    let room = count == 0 || queued + count <= writer.hard_limit();
    if all && room {
        // Dropped while it waits: whole nevertheless.
        if let Some(outcome) = writer.write_all(&bytes).now_or_never() {
            outcome.unwrap();
        }
        model.accepted(&bytes);
        return;
    }
    match writer.write(&bytes) {
        Ok(()) => {
            assert!(room);
            model.accepted(&bytes);
        }
        Err(WriteError::Full {
            refused,
            queued: told,
            limit,
        }) => {
            assert!(!room);
            assert_eq!((refused, told, limit), (count, queued, writer.hard_limit()));
            model.refused(&bytes);
        }
        Err(error) => panic!("{error}"),
    }
}

fn read(model: &mut Model, reader: &mut PipeReader, step: &Step) {
    match *step {
        Step::Read(count) => {
            let mut out = vec![0; count];
            if let Some(count) = reader.read(&mut out).now_or_never() {
                model.read(&out[..count.unwrap()]);
            }
        }
        Step::ReadSome(count) => {
            if let Some(bytes) = reader.read_some(count).now_or_never() {
                let bytes = bytes.unwrap();
                assert!(bytes.len() <= count && bytes.is_empty() == (count == 0));
                model.read(&bytes);
            }
        }
        Step::ReadExact(count) => {
            let mut out = vec![0; count];
            if let Some(outcome) = reader.read_exact(&mut out).now_or_never() {
                outcome.unwrap();
                model.read(&out);
            }
        }
        Step::ReadLine => match reader.read_line().now_or_never() {
            None => {}
            Some(Ok(line)) => {
                assert!(line.ends_with(b"\n") && line.len() <= reader.limit() + 1);
                assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
                model.read(&line);
            }
            Some(Err(ReadError::LimitOverrun { consumed, limit })) => {
                assert!(consumed > limit && limit == reader.limit());
                assert!(!reader.buffer()[..consumed].contains(&b'\n'));
            }
            Some(Err(error)) => panic!("{error}"),
        },
        _ => unreachable!("not a step of a reader"),
    }
}

proptest! {
    #[test]
    fn bytes_arrive_whole_and_in_order(
        steps in proptest::collection::vec(step(), 0..40),
        end in prop_oneof![Just(End::Drop), Just(End::Close), Just(End::Abort)],
    ) {
        run(async {
            let (theirs, ours) = std::io::pipe().unwrap();
            let mut reader = open_read_pipe(theirs).unwrap();
            let writer = open_write_pipe(ours).unwrap();
            let mut model = Model::default();
            for step in &steps {
                match *step {
                    Step::Write(count) => write(&mut model, &writer, count, false),
                    Step::WriteAll(count) => write(&mut model, &writer, count, true),
                    Step::Drain => {
                        if let Some(outcome) = writer.drain().now_or_never() {
                            outcome.unwrap();
                            assert!(writer.buffered() <= writer.write_buffer_limits().1);
                        }
                    }
                    Step::Turn => yield_now().await,
                    Step::SetLimit(limit) => reader.set_limit(limit),
                    Step::SetHardLimit(limit) => writer.set_hard_limit(limit),
                    ref other => read(&mut model, &mut reader, other),
                }
                assert!(writer.buffered() <= model.bytes.len());
            }
            match end {
                End::Close => writer.close(),
                End::Abort => writer.abort(),
                End::Drop => {}
            }
            drop(writer);
            let rest = reader.read_to_end(usize::MAX).await.unwrap();
            match end {
                // All that was accepted, though nobody waited.
                End::Close => assert!(rest.len() == model.bytes.len()),
                // A beginning of it.
                End::Drop | End::Abort => assert!(rest.len() <= model.bytes.len()),
            }
            model.read(&rest);
            assert!(reader.at_eof());
        })
        .unwrap();
    }
}
