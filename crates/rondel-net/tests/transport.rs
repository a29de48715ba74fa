//! Transports and protocols: what is promised of the calls, whatever happens.

mod pair;
mod recorder;

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use pair::*;
use recorder::*;
use rondel_loop::{EventLoop, LocalLoop, run, yield_now};
use rondel_net::{
    BufferedProtocol, ConnectionLost, Protocol, ProtocolPanicked, Transport, WriteError,
    connect_accepted_socket, create_connection,
};

fn in_loop<F: Future>(main: F) -> F::Output {
    run(main).unwrap()
}

/// A recorded connection and its peer.
fn recorded(log: &Log) -> (Transport, Peer) {
    let (ours, peer) = pair();
    (ours.into_transport(Recorder::new(log)).0, peer)
}

fn recorded_acting(log: &Log, act: impl FnMut(&Transport, &Event) + 'static) -> (Transport, Peer) {
    let (ours, peer) = pair();
    (ours.into_transport(Recorder::acting(log, act)).0, peer)
}

/// Collects what the loop's exception handler is told.
fn reports() -> Rc<RefCell<Vec<String>>> {
    let told = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&told);
    LocalLoop::current()
        .unwrap()
        .set_exception_handler(Some(Rc::new(move |_, context| {
            note.borrow_mut().push(context.to_string());
        })));
    told
}

#[test]
fn made_data_end_lost_in_this_order() {
    in_loop(async {
        let log = Log::default();
        let (transport, mut peer) = recorded(&log);
        peer.write_all(b"all there is").unwrap();
        drop(peer);
        transport.wait_closed().await.unwrap();
        assert_eq!(
            log.events(),
            [
                Event::Made,
                Event::Data(b"all there is".to_vec()),
                Event::End,
                Event::Lost(None)
            ]
        );
    });
}

#[test]
fn nothing_is_called_before_the_next_turn_nor_by_any_method() {
    in_loop(async {
        let log = Log::default();
        let (transport, _peer) = recorded(&log);
        assert_eq!(log.events(), []);
        yield_now().await;
        assert_eq!(log.events(), [Event::Made]);
        transport.set_write_buffer_limits(0, 0).unwrap();
        transport.write(b"something").unwrap();
        transport.pause_reading();
        transport.resume_reading();
        transport.write_eof().unwrap();
        transport.close();
        transport.abort();
        assert_eq!(log.events(), [Event::Made]);
        yield_now().await;
        assert_eq!(log.events(), [Event::Made, Event::Lost(None)]);
    });
}

#[test]
fn create_connection_returns_when_the_protocol_knows_that_it_is_made() {
    in_loop(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let log = Log::default();
        let recorder = Recorder::new(&log);
        let (transport, protocol) = create_connection(|| recorder, addr).await.unwrap();
        assert_eq!(log.events(), [Event::Made]);
        assert_eq!(transport.peer_addr(), Some(addr));
        let (_, from) = listener.accept().unwrap();
        assert_eq!(transport.local_addr().unwrap(), from);
        assert!(protocol.with(|_, own| own.is_reading()).unwrap());
        transport.abort();
        transport.wait_closed().await.unwrap();
        log.assert_contract();
        assert!(transport.local_addr().is_err());
    });
}

#[test]
fn a_reset_is_told_with_the_peers_name() {
    struct Keep(Rc<RefCell<Option<io::Error>>>);
    impl Protocol for Keep {
        fn connection_lost(&mut self, _: &Transport, error: Option<io::Error>) {
            self.0.replace(error);
        }
    }

    in_loop(async {
        let (ours, peer) = pair();
        let lost = Rc::new(RefCell::new(None));
        let addr = addr_of(&peer);
        let (transport, _) = ours.into_transport(Keep(Rc::clone(&lost)));
        reset(peer);
        assert!(transport.wait_closed().await.is_err());
        let error = lost.take().expect("a reset is an error");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let lost: &ConnectionLost = error.get_ref().unwrap().downcast_ref().unwrap();
        assert_eq!(lost.peer(), Some(addr));
        assert!(error.to_string().contains(&addr.to_string()));
    });
}

#[test]
fn what_arrived_before_a_failure_to_send_is_still_handed_over() {
    in_loop(async {
        let log = Log::default();
        let (transport, mut peer) = recorded(&log);
        yield_now().await;
        transport.pause_reading();
        peer.write_all(b"the last words").unwrap();
        // Data that the peer will not read has its system answer by a reset.
        transport.write(b"never read").unwrap();
        yield_now().await;
        drop(peer);
        transport.resume_reading();
        until(|| log.is_lost()).await;
        log.assert_contract();
        assert_eq!(log.data(), b"the last words");
    });
}

/// What a method may do, while everything goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Nothing,
    Write,
    Close,
    Abort,
    CloseTwiceAndAbort,
    WriteAndClose,
    WriteEof,
    PauseAndResume,
    FlipLimits,
    Panic,
    AskOwnProtocol,
    CloseDescriptorsElsewhere,
}

const DEEDS: [Deed; 12] = [
    Deed::Nothing,
    Deed::Write,
    Deed::Close,
    Deed::Abort,
    Deed::CloseTwiceAndAbort,
    Deed::WriteAndClose,
    Deed::WriteEof,
    Deed::PauseAndResume,
    Deed::FlipLimits,
    Deed::Panic,
    Deed::AskOwnProtocol,
    Deed::CloseDescriptorsElsewhere,
];

impl Deed {
    fn run(self, transport: &Transport, world: &World) {
        match self {
            Self::Nothing => {}
            Self::Write => drop(transport.write(b"more")),
            Self::Close => transport.close(),
            Self::Abort => transport.abort(),
            Self::CloseTwiceAndAbort => {
                transport.close();
                transport.close();
                transport.abort();
                transport.abort();
            }
            Self::WriteAndClose => {
                let _ = transport.write(&[7; 100_000]);
                transport.close();
            }
            Self::WriteEof => {
                let _ = transport.write_eof();
                let _ = transport.write(b"too late");
            }
            Self::PauseAndResume => {
                transport.pause_reading();
                transport.resume_reading();
                transport.resume_reading();
            }
            Self::FlipLimits => {
                for limit in [0, 1 << 30, 0, 1000] {
                    transport.set_write_buffer_limits(limit, 0).unwrap();
                }
            }
            Self::Panic => panic!("a deed"),
            Self::AskOwnProtocol => {
                let own = world.own.borrow().clone();
                if let Some(own) = own {
                    assert!(own.with(|_, _| ()).is_err(), "it is running");
                }
            }
            Self::CloseDescriptorsElsewhere => {
                let other = world.other.borrow().clone();
                if let Some(other) = other {
                    other.abort();
                }
            }
        }
    }
}

#[derive(Default)]
struct World {
    own: RefCell<Option<rondel_net::ProtocolRef<Recorder>>>,
    other: RefCell<Option<Transport>>,
}

/// Everything that can be told is told, unless `deed` in `method` ends it before.
async fn run_deed(method: Method, deed: Deed) {
    let told = reports();
    let log = Log::default();
    let (other, _other_peer) = recorded(&Log::default());
    let world = Rc::new(World {
        other: RefCell::new(Some(other)),
        ..World::default()
    });
    let inner = Rc::clone(&world);
    let (ours, peer) = narrow_pair();
    let recorder = Recorder::acting(&log, move |transport, event| {
        if event.method() == method {
            deed.run(transport, &inner);
        }
    })
    .half_open();
    let (transport, own) = ours.into_transport(recorder);
    world.own.replace(Some(own));
    transport.set_write_buffer_limits(1000, 10).unwrap();

    let mut peer = peer;
    // Few enough to go out at once, before anything can be reset.
    peer.write_all(b"a request").unwrap();
    until(|| transport.is_closing() || log.has_method(Method::Data)).await;
    // More than the system's buffers take, so that there is a pause.
    if transport.write(&pattern(0, 1 << 20)).is_ok() {
        until(|| transport.is_closing() || log.has_method(Method::Pause)).await;
    }
    let received = rondel_loop::spawn(async move {
        peer.shutdown(Shutdown::Write).ok();
        rondel_loop::to_thread(move || {
            let mut received = Vec::new();
            let _ = peer.read_to_end(&mut received);
        })
        .await
        .unwrap();
    });
    until(|| transport.is_closing() || (transport.buffered() == 0 && log.has(&Event::End))).await;
    turns().await;
    transport.close();
    until(|| log.is_lost()).await;
    received.await.unwrap();
    turns().await;
    log.assert_contract();
    assert!(log.has_method(method) || deed == Deed::Nothing, "{log:?}");
    assert!(transport.is_closing());
    assert!(transport.write(b"gone").is_err());
    let panics = usize::from(deed == Deed::Panic);
    assert_eq!(told.borrow().len(), panics, "{:?}", told.borrow());
    if deed == Deed::Panic {
        let told = told.borrow();
        assert!(told[0].contains("a deed") && told[0].contains("127.0.0.1:"));
        if method != Method::Lost {
            assert!(log.has(&Event::Lost(Some(io::ErrorKind::Other))), "{log:?}");
        }
    }
}

#[test]
fn every_method_may_do_everything_and_the_contract_holds() {
    in_loop(async {
        for method in METHODS {
            for deed in DEEDS {
                run_deed(method, deed).await;
            }
        }
    });
}

#[test]
fn a_panic_is_told_as_the_reason_and_reported_once() {
    struct Fragile(Rc<Cell<usize>>, Rc<Cell<bool>>);
    impl Protocol for Fragile {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {
            self.0.set(self.0.get() + 1);
            panic!("at the first byte");
        }
        fn connection_lost(&mut self, _: &Transport, error: Option<io::Error>) {
            let error = error.expect("a panic is an error");
            let inner = error.get_ref().unwrap();
            self.1.set(inner.downcast_ref() == Some(&ProtocolPanicked));
        }
    }

    in_loop(async {
        let told = reports();
        let (ours, mut peer) = pair();
        let (calls, knows) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let (transport, _) = ours.into_transport(Fragile(Rc::clone(&calls), Rc::clone(&knows)));
        peer.write_all(b"one").unwrap();
        until(|| transport.is_closing()).await;
        let _ = transport.wait_closed().await;
        assert!(knows.get());
        assert_eq!(calls.get(), 1);
        assert_eq!(told.borrow().len(), 1);
        assert!(told.borrow()[0].contains("at the first byte"));
        let error = peer.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn the_protocol_is_let_go_after_the_last_call() {
    /// Holds its own transport.
    struct Cycle {
        own: Option<Transport>,
        _alive: Rc<()>,
    }
    impl Protocol for Cycle {
        fn connection_made(&mut self, transport: &Transport) {
            self.own = Some(transport.clone());
        }
    }

    in_loop(async {
        let alive = Rc::new(());
        let (ours, peer) = pair();
        drop(ours.into_transport(Cycle {
            own: None,
            _alive: Rc::clone(&alive),
        }));
        turns().await;
        assert_eq!(Rc::strong_count(&alive), 2, "the connection keeps it");
        drop(peer);
        until(|| Rc::strong_count(&alive) == 1).await;
    });
}

#[test]
fn a_protocol_that_panics_when_it_is_dropped_does_no_harm() {
    struct Sharp;
    impl Protocol for Sharp {}
    impl Drop for Sharp {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    in_loop(async {
        let told = reports();
        let (ours, _peer) = pair();
        let (transport, protocol) = ours.into_transport(Sharp);
        drop(protocol);
        transport.abort();
        until(|| !told.borrow().is_empty()).await;
        assert!(told.borrow()[0].contains("dropped"));
        let log = Log::default();
        let (other, _peer) = recorded(&log);
        other.close();
        other.wait_closed().await.unwrap();
        log.assert_contract();
    });
}

#[test]
fn a_loop_that_closes_tells_every_connection() {
    let log = Log::default();
    let pending = Log::default();
    let mut lp = EventLoop::new().unwrap();
    let (transport, closed, mut peer, _other) = lp
        .run_until_complete(async {
            let (transport, peer) = recorded_acting(&log, |transport, event| {
                if matches!(event, Event::Lost(_)) {
                    assert!(transport.write(b"?").is_err());
                    transport.close();
                    transport.abort();
                }
            });
            let (closed, other) = recorded(&pending);
            turns().await;
            // Told at the next turn, of which there is none.
            closed.abort();
            (transport, closed, peer, other)
        })
        .unwrap();
    assert_eq!(log.events(), [Event::Made]);
    lp.close();
    assert_eq!(
        log.events(),
        [Event::Made, Event::Lost(Some(io::ErrorKind::NotConnected))],
        "with the reason"
    );
    assert_eq!(pending.events(), [Event::Made, Event::Lost(None)]);
    assert!(transport.is_closing() && closed.is_closing());
    assert_eq!(
        peer.read(&mut [0; 1]).unwrap(),
        0,
        "nothing was queued: an end"
    );
    drop(lp);
    transport.close();
    transport.abort();
}

#[test]
fn a_loop_that_closes_with_bytes_queued_resets() {
    let log = Log::default();
    let mut lp = EventLoop::new().unwrap();
    let mut peer = lp
        .run_until_complete(async {
            let (ours, peer) = narrow_pair();
            let (transport, _) = ours.into_transport(Recorder::new(&log));
            turns().await;
            transport.write(&pattern(0, 1 << 20)).unwrap();
            peer
        })
        .unwrap();
    drop(lp);
    log.assert_contract();
    let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn the_writes_of_a_call_leave_in_one_piece() {
    in_loop(async {
        let log = Log::default();
        let (_transport, mut peer) = recorded_acting(&log, |transport, event| {
            if let Event::Data(_) = event {
                for part in 0..10_u8 {
                    transport.write(&[part; 10]).unwrap();
                }
                transport
                    .write_vectored(&[IoSlice::new(b"and "), IoSlice::new(b"more")])
                    .unwrap();
            }
        });
        peer.write_all(b"go").unwrap();
        let peer = rondel_loop::to_thread(move || {
            let mut buffer = [0; 200];
            // One receive gives all of them, since they were one segment.
            let count = peer.read(&mut buffer).unwrap();
            assert_eq!(count, 108);
            assert!(buffer[..count].ends_with(b"and more"));
            peer
        })
        .await
        .unwrap();
        drop(peer);
    });
}

#[test]
fn either_side_may_end_first_and_the_other_goes_on() {
    in_loop(async {
        // The peer ends, and still gets an answer.
        let log = Log::default();
        let (ours, mut peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::new(&log).half_open());
        peer.write_all(b"question").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        until(|| log.has(&Event::End)).await;
        assert!(!transport.is_closing() && !transport.is_reading());
        transport.write(b"answer").unwrap();
        transport.close();
        transport.wait_closed().await.unwrap();
        assert_eq!(drain_peer(peer).await.unwrap(), b"answer");
        log.assert_contract();

        // This end ends, and still hears.
        let log = Log::default();
        let (transport, mut peer) = recorded(&log);
        assert!(transport.can_write_eof());
        transport.write(b"question").unwrap();
        transport.write_eof().unwrap();
        transport.write_eof().unwrap();
        assert!(matches!(
            transport.write(b"more"),
            Err(WriteError::Finished)
        ));
        yield_now().await;
        let mut question = Vec::new();
        peer.read_to_end(&mut question).unwrap();
        assert_eq!(question, b"question");
        peer.write_all(b"answer").unwrap();
        drop(peer);
        transport.wait_closed().await.unwrap();
        assert_eq!(log.data(), b"answer");
        log.assert_contract();
    });
}

#[test]
fn single_bytes_arrive_all_in_order() {
    in_loop(async {
        let log = Log::default();
        let (transport, mut peer) = recorded(&log);
        let bytes = pattern(0, 3000);
        let sent = bytes.clone();
        rondel_loop::to_thread(move || {
            for byte in sent {
                peer.write_all(&[byte]).unwrap();
            }
        })
        .await
        .unwrap();
        transport.wait_closed().await.unwrap();
        assert_eq!(log.data(), bytes);
    });
}

#[test]
fn a_busy_connection_lets_others_have_their_turn() {
    in_loop(async {
        let (busy, quiet) = (Log::default(), Log::default());
        let (busy_transport, peer) = recorded(&busy);
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = std::sync::Arc::clone(&stop);
        let flood = std::thread::spawn(move || {
            let mut peer = peer;
            while !flag.load(std::sync::atomic::Ordering::Relaxed) {
                if peer.write_all(&[7; 1 << 16]).is_err() {
                    return;
                }
            }
        });
        until(|| busy.pieces() > 10).await;
        let (_quiet_transport, mut other) = recorded(&quiet);
        other.write_all(b"me, too").unwrap();
        until(|| quiet.data() == b"me, too").await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        busy_transport.abort();
        flood.join().unwrap();
    });
}

/// Receives into a small buffer of its own.
struct Small {
    buffer: [u8; 7],
    received: Vec<u8>,
    ended: bool,
    lost: Option<Option<io::Error>>,
    room: usize,
}

impl Small {
    fn new(room: usize) -> Self {
        Self {
            buffer: [0; 7],
            received: Vec::new(),
            ended: false,
            lost: None,
            room,
        }
    }
}

impl BufferedProtocol for Small {
    fn get_buffer(&mut self, size_hint: usize) -> &mut [u8] {
        assert!(size_hint > 0);
        &mut self.buffer[..self.room]
    }

    fn buffer_updated(&mut self, _: &Transport, count: usize) {
        self.received.extend_from_slice(&self.buffer[..count]);
    }

    fn eof_received(&mut self, _: &Transport) -> bool {
        self.ended = true;
        false
    }

    fn connection_lost(&mut self, _: &Transport, error: Option<io::Error>) {
        assert!(self.lost.is_none(), "once");
        self.lost = Some(error);
    }
}

#[test]
fn a_buffered_protocol_receives_into_its_own_buffer() {
    in_loop(async {
        let (ours, mut peer) = pair();
        let socket = ours.into_std().unwrap();
        let (transport, protocol) = connect_accepted_socket(|| Small::new(7), socket)
            .await
            .unwrap();
        let bytes = pattern(0, 5000);
        peer.write_all(&bytes).unwrap();
        drop(peer);
        transport.wait_closed().await.unwrap();
        protocol
            .with(|small, _| {
                assert_eq!(small.received, bytes);
                assert!(small.ended);
                assert!(matches!(small.lost, Some(None)));
            })
            .unwrap();
    });
}

#[test]
fn an_empty_buffer_ends_the_connection_with_an_error() {
    in_loop(async {
        let (ours, mut peer) = pair();
        let (transport, protocol) = ours.into_transport(Small::new(0));
        peer.write_all(b"nowhere to go").unwrap();
        until(|| transport.is_closing()).await;
        let _ = transport.wait_closed().await;
        let kind = protocol
            .with(|small, _| small.lost.take().flatten().map(|error| error.kind()))
            .unwrap();
        assert_eq!(kind, Some(io::ErrorKind::InvalidInput));
    });
}

#[test]
fn a_reset_at_any_point_is_one_loss() {
    in_loop(async {
        for point in 0..7 {
            let log = Log::default();
            let (ours, mut peer) = narrow_pair();
            let (transport, _) = ours.into_transport(Recorder::new(&log).half_open());
            if point >= 1 {
                until(|| log.has(&Event::Made)).await;
            }
            if point >= 2 {
                peer.write_all(b"request").unwrap();
                until(|| log.has_method(Method::Data)).await;
            }
            if point >= 3 {
                transport.write(b"answer").unwrap();
            }
            if point >= 4 {
                // Never read, so that there is something left to be sent.
                transport.write(&pattern(0, 1 << 20)).unwrap();
                until(|| log.has(&Event::Pause)).await;
            }
            if point >= 5 {
                peer.shutdown(Shutdown::Write).unwrap();
                until(|| log.has(&Event::End)).await;
            }
            if point >= 6 {
                transport.close();
            }
            reset(peer);
            until(|| log.is_lost()).await;
            turns().await;
            log.assert_contract();
            assert!(transport.write(b"gone").is_err());
            assert_eq!(transport.buffered(), 0);
            let reason = log.events().pop().unwrap();
            assert_ne!(reason, Event::Lost(None), "at point {point}");
        }
    });
}

#[test]
fn a_loop_that_closes_while_the_protocol_is_looked_at_tells_it_afterwards() {
    let log = Log::default();
    let mut lp = EventLoop::new().unwrap();
    let (protocol, _peer) = lp
        .run_until_complete(async {
            let (ours, peer) = pair();
            let (_, protocol) = ours.into_transport(Recorder::new(&log));
            turns().await;
            (protocol, peer)
        })
        .unwrap();
    protocol
        .with(|_, _| {
            lp.close();
            assert!(!log.is_lost());
        })
        .unwrap();
    log.assert_contract();
}
