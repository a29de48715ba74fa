//! Datagram endpoints that call a protocol: asyncio's `create_datagram_endpoint`.
#![cfg(feature = "udp")]

mod cancel;

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as Peer};
use std::rc::Rc;

use cancel::cancel_at;
use rondel_loop::{EventLoop, LocalLoop, LoopClosed, run, yield_now};
use rondel_net::{
    AddressFamily, DatagramError, DatagramOptions, DatagramProtocol, DatagramTransport, UdpOptions,
    WriteError, create_datagram_endpoint,
};

const ANY: &str = "127.0.0.1:0";

fn peer() -> (Peer, SocketAddr) {
    let peer = Peer::bind(ANY).unwrap();
    let addr = peer.local_addr().unwrap();
    (peer, addr)
}

fn nobody() -> SocketAddr {
    peer().1
}

/// What a protocol was told, outside of it.
#[derive(Clone, Default)]
struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }

    fn contains(&self, what: &str) -> bool {
        self.0.borrow().iter().any(|noted| noted == what)
    }
}

type OnDatagram = Box<dyn FnMut(&DatagramTransport, &[u8], SocketAddr)>;

/// Notes everything; does something more with a datagram, perhaps.
#[derive(Default)]
struct Recorder {
    trace: Trace,
    on_datagram: Option<OnDatagram>,
}

impl Recorder {
    fn new(trace: &Trace) -> Self {
        Self {
            trace: trace.clone(),
            on_datagram: None,
        }
    }

    fn doing(
        trace: &Trace,
        on_datagram: impl FnMut(&DatagramTransport, &[u8], SocketAddr) + 'static,
    ) -> Self {
        Self {
            trace: trace.clone(),
            on_datagram: Some(Box::new(on_datagram)),
        }
    }
}

impl DatagramProtocol for Recorder {
    fn connection_made(&mut self, _: &DatagramTransport) {
        self.trace.note("made");
    }

    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        self.trace.note(format!("{} bytes", data.len()));
        if let Some(on_datagram) = &mut self.on_datagram {
            on_datagram(transport, data, from);
        }
    }

    fn error_received(&mut self, _: &DatagramTransport, error: io::Error) {
        assert!(error.get_ref().unwrap().is::<DatagramError>());
        self.trace.note(format!("{:?}", error.kind()));
    }

    fn pause_writing(&mut self, _: &DatagramTransport) {
        self.trace.note("pause");
    }

    fn resume_writing(&mut self, _: &DatagramTransport) {
        self.trace.note("resume");
    }

    fn connection_lost(&mut self, _: &DatagramTransport, error: Option<io::Error>) {
        self.trace.note(match error {
            None => "lost".to_owned(),
            Some(error) => format!("lost: {error}"),
        });
    }
}

async fn until(mut met: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if met() {
            return;
        }
        yield_now().await;
    }
    panic!("it never came");
}

fn local() -> DatagramOptions {
    DatagramOptions::new().local_addr(ANY)
}

#[test]
fn made_received_and_lost_in_that_order() {
    run(async {
        let trace = Trace::default();
        let (transport, protocol) = create_datagram_endpoint(|| Recorder::new(&trace), local())
            .await
            .unwrap();
        assert_eq!(trace.take(), ["made"]);
        let (peer, _) = peer();
        for size in [3, 0, 20_000] {
            peer.send_to(&vec![1; size], transport.local_addr().unwrap())
                .unwrap();
        }
        until(|| trace.contains("20000 bytes")).await;
        assert_eq!(trace.take(), ["3 bytes", "0 bytes", "20000 bytes"]);
        transport.close();
        assert!(transport.is_closing());
        assert_eq!(trace.take(), [""; 0], "told later");
        transport.close();
        transport.wait_closed().await;
        transport.wait_closed().await;
        transport.abort();
        yield_now().await;
        assert_eq!(trace.take(), ["lost"]);
        assert!(matches!(
            transport.send_to(b"x", nobody()),
            Err(WriteError::Closed)
        ));
        assert_eq!(
            transport.local_addr().unwrap_err().kind(),
            io::ErrorKind::NotConnected
        );
        protocol
            .with(|protocol, _| assert!(protocol.on_datagram.is_none()))
            .unwrap();
    })
    .unwrap();
}

#[test]
fn what_is_sent_leaves_in_order_empty_ones_and_all() {
    run(async {
        let (transport, _) = create_datagram_endpoint(Recorder::default, local())
            .await
            .unwrap();
        let (peer, addr) = peer();
        for size in 0..100 {
            assert!(
                !transport
                    .send_to(&vec![size; usize::from(size)], addr)
                    .unwrap()
            );
        }
        yield_now().await;
        assert_eq!(transport.buffered(), 0);
        for size in 0..100u8 {
            let mut buffer = [0; 128];
            assert_eq!(peer.recv(&mut buffer).unwrap(), usize::from(size));
        }
    })
    .unwrap();
}

#[test]
fn the_queue_counts_eight_for_each_and_comes_back_to_nothing() {
    run(async {
        let (transport, _) = create_datagram_endpoint(Recorder::default, local())
            .await
            .unwrap();
        let (_peer, addr) = peer();
        transport.send_to(b"", addr).unwrap();
        assert_eq!(transport.buffered(), 8);
        transport.send_to(&[0; 100], addr).unwrap();
        assert_eq!(transport.buffered(), 116);
        transport.set_hard_limit(130);
        let refused = transport.send_to(&[0; 7], addr);
        assert!(matches!(
            refused,
            Err(WriteError::Full {
                refused: 7,
                queued: 116,
                limit: 130
            })
        ));
        transport.send_to(&[0; 6], addr).unwrap();
        assert_eq!(transport.hard_limit(), 130);
        yield_now().await;
        assert_eq!(transport.buffered(), 0);
    })
    .unwrap();
}

#[test]
fn with_a_remote_address_it_sends_there_and_nowhere_else() {
    run(async {
        let (peer, addr) = peer();
        let (transport, _) =
            create_datagram_endpoint(Recorder::default, DatagramOptions::new().remote_addr(addr))
                .await
                .unwrap();
        assert_eq!(transport.peer_addr(), Some(addr));
        transport.send(b"by default").unwrap();
        transport.send_to(b"by name", addr).unwrap();
        let Err(WriteError::Io(error)) = transport.send_to(b"no", nobody()) else {
            panic!("another address is refused");
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        yield_now().await;
        let mut buffer = [0; 16];
        assert_eq!(peer.recv(&mut buffer).unwrap(), 10);
        assert_eq!(peer.recv(&mut buffer).unwrap(), 7);
        let (bound, _) = create_datagram_endpoint(Recorder::default, local())
            .await
            .unwrap();
        assert!(matches!(bound.send(b"to whom"), Err(WriteError::Io(_))));
    })
    .unwrap();
}

#[test]
fn with_broadcast_it_is_not_connected_and_hears_others() {
    run(async {
        let (peer, addr) = peer();
        let trace = Trace::default();
        let options = local().remote_addr(addr).allow_broadcast(true);
        let (transport, _) = create_datagram_endpoint(|| Recorder::new(&trace), options)
            .await
            .unwrap();
        transport
            .with_fd(|fd| {
                assert!(socket2::SockRef::from(&fd).broadcast()?);
                assert!(socket2::SockRef::from(&fd).peer_addr().is_err());
                Ok(())
            })
            .unwrap();
        transport.send(b"by default").unwrap();
        assert!(transport.send_to(b"elsewhere", nobody()).is_err());
        yield_now().await;
        assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 10);
        let here = transport.local_addr().unwrap();
        Peer::bind(ANY).unwrap().send_to(b"stranger", here).unwrap();
        until(|| trace.contains("8 bytes")).await;
    })
    .unwrap();
}

#[test]
fn a_refusal_is_told_takes_nothing_with_it_and_ends_nothing() {
    run(async {
        let gone = nobody();
        let trace = Trace::default();
        let (transport, _) = create_datagram_endpoint(
            || Recorder::new(&trace),
            DatagramOptions::new().remote_addr(gone),
        )
        .await
        .unwrap();
        transport.send(b"hello?").unwrap();
        until(|| trace.contains("ConnectionRefused")).await;
        let late = Peer::bind(gone).unwrap();
        transport.send(b"there you are").unwrap();
        yield_now().await;
        let (count, from) = late.recv_from(&mut [0; 64]).unwrap();
        assert_eq!(count, 13);
        late.send_to(b"yes", from).unwrap();
        until(|| trace.contains("3 bytes")).await;
        drop(late);
        // Two in a row: sending the second finds the answer to the first, and it is sent all the same.
        trace.take();
        transport
            .with_fd(|fd| socket2::SockRef::from(&fd).send(b"lost"))
            .unwrap();
        transport.send(b"not lost").unwrap();
        let late = Peer::bind(gone).unwrap();
        until(|| trace.contains("ConnectionRefused")).await;
        late.set_nonblocking(true).unwrap();
        assert_eq!(late.recv(&mut [0; 64]).unwrap(), 8);
        assert!(!transport.is_closing());
    })
    .unwrap();
}

#[test]
fn one_that_is_too_large_is_told_and_the_others_are_sent() {
    run(async {
        let trace = Trace::default();
        let (transport, _) = create_datagram_endpoint(|| Recorder::new(&trace), local())
            .await
            .unwrap();
        let (peer, addr) = peer();
        transport.send_to(b"one", addr).unwrap();
        transport.send_to(&[0; 70_000], addr).unwrap();
        transport.send_to(b"three", addr).unwrap();
        until(|| trace.0.borrow().len() == 2).await;
        assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 3);
        assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 5);
        assert_eq!(transport.buffered(), 0);
    })
    .unwrap();
}

#[test]
fn failures_that_nobody_takes_are_bounded() {
    run(async {
        let trace = Trace::default();
        let (transport, _) = create_datagram_endpoint(|| Recorder::new(&trace), local())
            .await
            .unwrap();
        trace.take();
        for _ in 0..500 {
            transport.send_to(&[0; 66_000], nobody()).unwrap();
        }
        until(|| transport.buffered() == 0).await;
        yield_now().await;
        let told = trace.take().len();
        assert!((16..500).contains(&told), "{told}");
    })
    .unwrap();
}

#[test]
fn water_marks_are_set_together_or_one_from_the_other() {
    run(async {
        let (transport, _) = create_datagram_endpoint(Recorder::default, local())
            .await
            .unwrap();
        assert_eq!(transport.write_buffer_limits(), (16 * 1024, 64 * 1024));
        transport.set_write_buffer_limits(100, None).unwrap();
        assert_eq!(transport.write_buffer_limits(), (25, 100));
        transport.set_write_buffer_limits(None, 50).unwrap();
        assert_eq!(transport.write_buffer_limits(), (50, 200));
        let error = transport.set_write_buffer_limits(1, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(transport.write_buffer_limits(), (50, 200));
        transport.set_write_buffer_limits(None, None).unwrap();
        assert_eq!(transport.write_buffer_limits(), (16 * 1024, 64 * 1024));
    })
    .unwrap();
}

#[test]
fn a_protocol_may_close_abort_and_send_from_inside() {
    run(async {
        let (peer, _) = peer();
        let trace = Trace::default();
        // Two wait; the first closes: the second is not told, the answer is sent.
        let closing = Recorder::doing(&trace, |transport, data, from| {
            transport.send_to(data, from).unwrap();
            transport.close();
        });
        let (transport, protocol) = create_datagram_endpoint(|| closing, local()).await.unwrap();
        let addr = transport.local_addr().unwrap();
        peer.send_to(b"one", addr).unwrap();
        peer.send_to(b"second", addr).unwrap();
        transport.wait_closed().await;
        assert_eq!(trace.take(), ["made", "3 bytes", "lost"]);
        assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 3);
        drop((transport, protocol));

        let aborting = Recorder::doing(&trace, |transport, data, from| {
            transport.send_to(data, from).unwrap();
            transport.abort();
        });
        let (transport, _) = create_datagram_endpoint(|| aborting, local())
            .await
            .unwrap();
        peer.send_to(b"one", transport.local_addr().unwrap())
            .unwrap();
        transport.wait_closed().await;
        assert_eq!(trace.take(), ["made", "3 bytes", "lost"]);
        peer.set_nonblocking(true).unwrap();
        assert!(
            peer.recv(&mut [0; 16]).is_err(),
            "what was queued is dropped"
        );
    })
    .unwrap();
}

#[test]
fn a_protocol_that_runs_cannot_be_had_a_second_time() {
    run(async {
        let trace = Trace::default();
        let (transport, protocol) = create_datagram_endpoint(|| Recorder::new(&trace), local())
            .await
            .unwrap();
        let again = protocol.clone();
        protocol
            .with(|recorder, _| {
                assert_eq!(
                    again.with(|_, _| ()).unwrap_err().kind(),
                    io::ErrorKind::ResourceBusy
                );
                let inner = again.clone();
                recorder.on_datagram = Some(Box::new(move |_, _, _| {
                    assert!(inner.with(|_, _| ()).is_err());
                }));
            })
            .unwrap();
        let addr = transport.local_addr().unwrap();
        peer().0.send_to(b"one", addr).unwrap();
        until(|| trace.contains("3 bytes")).await;
        // The protocol holds a handle to itself.
        protocol
            .with(|recorder, _| recorder.on_datagram = None)
            .unwrap();
    })
    .unwrap();
}

#[test]
fn a_panic_ends_the_endpoint_and_is_reported() {
    run(async {
        let reports = Trace::default();
        let note = reports.clone();
        LocalLoop::current()
            .unwrap()
            .set_exception_handler(Some(Rc::new(move |_, context| {
                note.note(context.to_string())
            })));
        let trace = Trace::default();
        let panicking = Recorder::doing(&trace, |_, _, _| panic!("a datagram too many"));
        let (transport, _) = create_datagram_endpoint(|| panicking, local())
            .await
            .unwrap();
        peer()
            .0
            .send_to(b"one", transport.local_addr().unwrap())
            .unwrap();
        transport.wait_closed().await;
        assert_eq!(
            trace.take(),
            ["made", "3 bytes", "lost: the endpoint's protocol panicked"]
        );
        let reports = reports.take();
        assert_eq!(reports.len(), 1);
        assert!(reports[0].contains("a datagram too many"), "{}", reports[0]);
    })
    .unwrap();
}

#[test]
fn options_that_make_no_sense_are_refused() {
    run(async {
        let (_peer, addr) = peer();
        let socket = || Peer::bind(ANY).unwrap();
        let new = DatagramOptions::new;
        let six: SocketAddr = "[::1]:9".parse().unwrap();
        for (options, why) in [
            (new(), "needs a local or a remote address"),
            (new().socket(socket()).local_addr(ANY), "a socket is given"),
            (
                new().socket(socket()).remote_addr(addr),
                "a socket is given",
            ),
            (new().socket(socket()).reuse_port(true), "a socket is given"),
            (
                new().socket(socket()).allow_broadcast(true),
                "a socket is given",
            ),
            (
                new().socket(socket()).family(AddressFamily::V4),
                "a socket is given",
            ),
            (local().remote_addr(six), "of different families"),
            (
                local().family(AddressFamily::V6),
                "has no address of the family",
            ),
            (new().remote_addr("nowhere"), "there is no port"),
        ] {
            let error = create_datagram_endpoint(Recorder::default, options)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{why}");
            assert!(error.to_string().contains(why), "{error}");
        }
        let taken = DatagramOptions::new().local_addr(addr);
        let error = create_datagram_endpoint(Recorder::default, taken)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&addr.to_string()));
    })
    .unwrap();
}

#[test]
fn sockets_families_names_and_shared_ports_do() {
    run(async {
        let (std, addr) = peer();
        let (transport, _) =
            create_datagram_endpoint(Recorder::default, DatagramOptions::new().socket(std))
                .await
                .unwrap();
        assert_eq!(transport.local_addr().unwrap(), addr);

        let options = DatagramOptions::new().family(AddressFamily::V4);
        let (transport, _) = create_datagram_endpoint(Recorder::default, options)
            .await
            .unwrap();
        let (peer, addr) = peer();
        transport.send_to(b"unbound", addr).unwrap();
        yield_now().await;
        assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 7);

        let shared = || local().reuse_port(true);
        let (one, _) = create_datagram_endpoint(Recorder::default, shared())
            .await
            .unwrap();
        let same = DatagramOptions::new()
            .local_addr(one.local_addr().unwrap())
            .reuse_port(true);
        let (two, _) = create_datagram_endpoint(Recorder::default, same)
            .await
            .unwrap();
        assert_eq!(one.local_addr().unwrap(), two.local_addr().unwrap());

        let named = DatagramOptions::new()
            .remote_addr(("localhost", addr.port()))
            .family(AddressFamily::V4);
        let (named, _) = create_datagram_endpoint(Recorder::default, named)
            .await
            .unwrap();
        assert_eq!(named.peer_addr(), Some(addr));

        let socket = UdpOptions::new()
            .ttl(3)
            .bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap();
        socket.connect(addr).unwrap();
        let (transport, _) = socket.into_endpoint(Recorder::default()).await;
        transport.send(b"ours").unwrap();
        yield_now().await;
        assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 4);
    })
    .unwrap();
}

#[test]
fn cancelled_while_it_is_made_it_is_aborted() {
    run(async {
        let trace = Trace::default();
        let make = create_datagram_endpoint(|| Recorder::new(&trace), local());
        assert!(cancel_at(0, make).await.is_none());
        until(|| trace.contains("lost")).await;
        assert_eq!(trace.take(), ["made", "lost"]);
    })
    .unwrap();
}

#[test]
fn a_loop_that_is_closed_says_so_and_lets_go_of_the_protocol() {
    let trace = Trace::default();
    let kept = Rc::new(());
    let mut lp = EventLoop::new().unwrap();
    let held = Rc::clone(&kept);
    let transport = lp
        .run_until_complete(async {
            let protocol = Recorder::doing(&trace, move |_, _, _| {
                let _held = &held;
            });
            let (transport, _) = create_datagram_endpoint(|| protocol, local())
                .await
                .unwrap();
            transport
        })
        .unwrap();
    assert_eq!(Rc::strong_count(&kept), 2);
    lp.close();
    assert_eq!(
        trace.take(),
        ["made".to_owned(), format!("lost: {LoopClosed}")]
    );
    assert_eq!(Rc::strong_count(&kept), 1);
    assert!(matches!(
        transport.send_to(b"x", nobody()),
        Err(WriteError::Closed)
    ));
    transport.close();
    drop(lp);
}

#[test]
fn one_that_receives_without_end_lets_others_have_their_turn() {
    run(async {
        let trace = Trace::default();
        let (peer, _) = peer();
        // Each one brings the next.
        let echo = Recorder::doing(&trace, move |transport, _, _| {
            peer.send_to(b"next", transport.local_addr().unwrap())
                .unwrap();
        });
        let (transport, _) = create_datagram_endpoint(|| echo, local()).await.unwrap();
        let addr = transport.local_addr().unwrap();
        Peer::bind(ANY).unwrap().send_to(b"first", addr).unwrap();
        until(|| trace.0.borrow().len() > 1000).await;
        transport.abort();
        transport.wait_closed().await;
    })
    .unwrap();
}
