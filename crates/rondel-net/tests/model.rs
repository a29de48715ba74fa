//! Any order of writes, pauses, partial sends, ends and closes: what the peer sees is what was written, in order, once; and what
//! the protocol is told keeps the contract.

mod pair;
mod recorder;

use std::cell::RefCell;
use std::io::{IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use pair::*;
use proptest::prelude::*;
use recorder::*;
use rondel_loop::{run, yield_now};
use rondel_net::{StreamReader, StreamWriter, Transport, WriteError};

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    WriteVectored(usize, usize),
    Limits(usize),
    HardLimit(usize),
    PauseReading,
    ResumeReading,
    /// The peer reads so much at most.
    PeerReads(usize),
    PeerWrites(usize),
    PeerEnds,
    Turn,
    Replace,
    ToStreamsAndBack,
    WriteEof,
    Close,
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..40_000).prop_map(Step::Write),
        2 => (1_usize..200).prop_map(Step::Write),
        2 => (0_usize..3000, 0_usize..70_000).prop_map(|(a, b)| Step::WriteVectored(a, b)),
        1 => (0_usize..100_000).prop_map(Step::Limits),
        1 => (1000_usize..100_000).prop_map(Step::HardLimit),
        2 => Just(Step::PauseReading),
        3 => Just(Step::ResumeReading),
        6 => (1_usize..60_000).prop_map(Step::PeerReads),
        4 => (1_usize..3000).prop_map(Step::PeerWrites),
        1 => Just(Step::PeerEnds),
        8 => Just(Step::Turn),
        1 => Just(Step::Replace),
        1 => Just(Step::ToStreamsAndBack),
        1 => Just(Step::WriteEof),
    ]
}

fn last_step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => Just(Step::Close), 1 => Just(Step::Abort)]
}

struct World {
    transport: Transport,
    peer: Peer,
    logs: Rc<RefCell<Vec<Log>>>,
    written: usize,
    ended: bool,
    received: Vec<u8>,
    peer_wrote: usize,
    peer_ended: bool,
    aborted: bool,
}

impl World {
    fn new() -> Self {
        let (ours, peer) = narrow_pair();
        peer.set_nonblocking(true).unwrap();
        let log = Log::default();
        let (transport, _) = ours.into_transport(Recorder::new(&log).half_open());
        Self {
            transport,
            peer,
            logs: Rc::new(RefCell::new(vec![log])),
            written: 0,
            ended: false,
            received: Vec::new(),
            peer_wrote: 0,
            peer_ended: false,
            aborted: false,
        }
    }

    fn next_log(&self) -> Log {
        let log = Log::default();
        self.logs.borrow_mut().push(log.clone());
        log
    }

    fn told(&self) -> Vec<u8> {
        let logs = self.logs.borrow();
        logs.iter().flat_map(Log::data).collect()
    }

    fn note(&mut self, len: usize, outcome: Result<bool, WriteError>) {
        let limit = self.transport.hard_limit();
        match outcome {
            Ok(over) => {
                assert!(!self.ended || len == 0);
                self.written += len;
                let (low, _) = self.transport.write_buffer_limits();
                assert!(!over || self.transport.buffered() > low);
            }
            Err(WriteError::Full {
                refused, queued, ..
            }) => assert!(refused == len && queued + len > limit),
            Err(WriteError::Finished) => assert!(self.ended),
            Err(error) => panic!("{error}"),
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Write(len) => {
                let bytes = pattern(self.written, len);
                let outcome = self.transport.write(&bytes);
                self.note(len, outcome);
            }
            Step::WriteVectored(a, b) => {
                let bytes = pattern(self.written, a + b);
                let (one, two) = bytes.split_at(a);
                let parts = [IoSlice::new(one), IoSlice::new(two)];
                let outcome = self.transport.write_vectored(&parts);
                self.note(a + b, outcome);
            }
            Step::Limits(high) => self
                .transport
                .set_write_buffer_limits(high, high / 3)
                .unwrap(),
            Step::HardLimit(limit) => self.transport.set_hard_limit(limit),
            Step::PauseReading => self.transport.pause_reading(),
            Step::ResumeReading => self.transport.resume_reading(),
            Step::PeerReads(most) => {
                let mut buffer = vec![0; most];
                if let Ok(count) = self.peer.read(&mut buffer) {
                    self.received.extend_from_slice(&buffer[..count]);
                }
            }
            Step::PeerWrites(len) if !self.peer_ended => {
                let bytes = pattern(self.peer_wrote, len);
                if let Ok(count) = self.peer.write(&bytes) {
                    self.peer_wrote += count;
                }
            }
            Step::PeerWrites(_) => {}
            Step::PeerEnds => {
                self.peer_ended = true;
                // With both ways ended already, there is nothing left to shut down.
                let _ = self.peer.shutdown(Shutdown::Write);
            }
            Step::Turn => yield_now().await,
            Step::Replace => {
                let log = self.next_log();
                self.transport
                    .replace_protocol(Recorder::new(&log).half_open());
            }
            Step::ToStreamsAndBack => {
                let (reader, writer): (StreamReader, StreamWriter) =
                    self.transport.clone().into_streams(b"").unwrap();
                let log = self.next_log();
                writer
                    .into_transport(reader, Recorder::new(&log).half_open())
                    .map_err(|_| ())
                    .unwrap();
            }
            Step::WriteEof => {
                self.ended = true;
                self.transport.write_eof().unwrap();
            }
            Step::Close => self.transport.close(),
            Step::Abort => {
                self.aborted = true;
                self.transport.abort();
            }
        }
    }

    /// Everything that is to come has come.
    async fn finish(&mut self) {
        let mut buffer = vec![0; 100_000];
        loop {
            match self.peer.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    rondel_loop::sleep(std::time::Duration::from_micros(20)).await;
                }
                Err(error) => {
                    // What it had written and nobody read was answered by a reset, or this end has aborted.
                    assert!(
                        self.aborted || self.told().len() < self.peer_wrote,
                        "{error}"
                    );
                    self.aborted = true;
                    break;
                }
            }
        }
        let logs = self.logs.borrow().clone();
        until(|| logs.iter().any(Log::is_lost)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_peer_sees_what_was_written_and_the_protocol_what_the_peer_wrote(
        steps in prop::collection::vec(step(), 1..60),
        last in last_step(),
    ) {
        run(async {
            let mut world = World::new();
            for step in steps.into_iter().chain([last]) {
                world.take(step).await;
            }
            world.finish().await;
            let World { received, written, aborted, .. } = &world;
            prop_assert_eq!(received, &pattern(0, received.len()));
            prop_assert!(received.len() <= *written);
            if !aborted {
                prop_assert_eq!(received.len(), *written);
            }
            let told = world.told();
            prop_assert_eq!(&told, &pattern(0, told.len()));
            prop_assert!(told.len() <= world.peer_wrote);

            // Over all protocols that the connection has had, in order.
            let logs = world.logs.borrow();
            let (last, before) = logs.split_last().expect("there is one");
            prop_assert!(before.iter().all(|log| !log.is_lost()));
            prop_assert!(last.is_lost());
            let ends = logs.iter().filter(|log| log.has_method(Method::End)).count();
            // One that came by way of streams is told of the end anew.
            prop_assert!(ends <= logs.len());
            for log in &*logs {
                let lost = log.count(|event| matches!(event, Event::Lost(_)));
                prop_assert!(lost <= 1);
            }
            Ok(())
        }).unwrap()?;
    }
}
