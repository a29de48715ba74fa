//! Servers of protocols, and what both kinds of servers gain: limits, a deferred start, ending their clients. asyncio's cases
//! M184 to M191.

mod pair;
mod recorder;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use pair::*;
use recorder::*;
use rondel_loop::{LocalLoop, run, spawn, yield_now};
use rondel_net::{
    ListenOptions, Protocol, Server, ServerOptions, StreamReader, StreamWriter, TcpListener,
    Transport, create_connection, create_server, start_server,
};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const LONG: Duration = Duration::from_secs(3600);

fn in_loop<F: Future>(main: F) -> F::Output {
    run(main).unwrap()
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let _ = transport.write(data);
    }
}

async fn echo(mut reader: StreamReader, writer: StreamWriter) {
    let mut buffer = [0; 1000];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        if writer.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn dial(server: &Server) -> Peer {
    Peer::connect(server.local_addrs()[0]).unwrap()
}

async fn round_trip(peer: &mut Peer) {
    peer.write_all(b"round").unwrap();
    let mut answer = Vec::new();
    while answer.len() < 5 {
        answer.extend(readable(peer));
        rondel_loop::sleep(Duration::from_micros(50)).await;
    }
    assert_eq!(answer, b"round");
}

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
fn each_connection_has_a_protocol_of_its_own() {
    in_loop(async {
        let made = Rc::new(Cell::new(0));
        let count = Rc::clone(&made);
        let factory = move || {
            count.set(count.get() + 1);
            Echo
        };
        let server = create_server(factory, ANY).await.unwrap();
        let mut peers: Vec<_> = (0..50).map(|_| dial(&server)).collect();
        for peer in &mut peers {
            round_trip(peer).await;
        }
        assert_eq!(made.get(), 50);
        assert_eq!(server.connections(), 50);
        assert!(server.is_serving());
        drop(peers);
        assert!(server.shutdown(LONG).await.is_clean());
        assert_eq!(server.connections(), 0);
    });
}

#[test]
fn hundreds_at_a_time_are_all_answered() {
    in_loop(async {
        let server = ServerOptions::new()
            .listen(ListenOptions::new().backlog(1000))
            .serve_protocol(|| Echo, ANY)
            .await
            .unwrap();
        let addr = server.local_addrs()[0];
        let clients: Vec<_> = (0..300)
            .map(|number| {
                spawn(async move {
                    let log = Log::default();
                    let recorder = Recorder::new(&log);
                    let (transport, _) = create_connection(|| recorder, addr).await.unwrap();
                    let message = pattern(number, 3000);
                    transport.write(&message).unwrap();
                    until(|| log.data().len() == message.len()).await;
                    assert_eq!(log.data(), message);
                    transport.close();
                    transport.wait_closed().await.unwrap();
                    log.assert_contract();
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        assert!(server.shutdown(LONG).await.is_clean());
    });
}

#[test]
fn a_factory_that_panics_costs_one_connection_and_is_reported_with_the_peer() {
    in_loop(async {
        let told = reports();
        let calls = Cell::new(0);
        let factory = move || {
            calls.set(calls.get() + 1);
            assert!(calls.get() != 1, "no protocol today");
            Echo
        };
        let server = create_server(factory, ANY).await.unwrap();
        let mut first = dial(&server);
        let first_addr = addr_of(&first);
        let mut second = dial(&server);
        round_trip(&mut second).await;
        let told = told.borrow();
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("no protocol today"), "{told:?}");
        assert!(told[0].contains(&first_addr.to_string()), "{told:?}");
        let error = first.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_protocol_that_closes_as_soon_as_it_is_made_leaves_nothing_behind() {
    in_loop(async {
        let log = Log::default();
        let inner = log.clone();
        let factory = move || {
            Recorder::acting(&inner, |transport, event| {
                if *event == Event::Made {
                    transport.write(b"not today").unwrap();
                    transport.close();
                }
            })
        };
        let server = create_server(factory, ANY).await.unwrap();
        let peer = dial(&server);
        assert_eq!(drain_peer(peer).await.unwrap(), b"not today");
        until(|| log.is_lost()).await;
        log.assert_contract();
        assert_eq!(server.connections(), 0);
        server.close();
        server.wait_closed().await;
    });
}

/// M188, and its second half: EMFILE is `server.rs`'s.
#[test]
fn waiting_connections_are_accepted_together_up_to_the_backlog() {
    in_loop(async {
        let made = Rc::new(Cell::new(0));
        let count = Rc::clone(&made);
        let server = ServerOptions::new()
            .listen(ListenOptions::new().backlog(3))
            .serve_protocol(
                move || {
                    count.set(count.get() + 1);
                    Echo
                },
                ANY,
            )
            .await
            .unwrap();
        let _peers: Vec<_> = (0..4).map(|_| dial(&server)).collect();
        let mut before = 0;
        while made.get() < 4 {
            yield_now().await;
            assert!(made.get() - before <= 3, "in one batch");
            before = made.get();
        }
    });
}

#[test]
fn no_more_than_so_many_connections_are_accepted_until_one_ends() {
    in_loop(async {
        let options = ServerOptions::new().max_connections(2);
        let of_protocols = options.serve_protocol(|| Echo, ANY).await.unwrap();
        let of_streams = options.serve(echo, ANY).await.unwrap();
        for server in [of_protocols, of_streams] {
            let mut peers: Vec<_> = (0..4).map(|_| dial(&server)).collect();
            round_trip(&mut peers[0]).await;
            round_trip(&mut peers[1]).await;
            peers[2].write_all(b"round").unwrap();
            turns().await;
            assert_eq!(server.connections(), 2);
            assert_eq!(readable(&mut peers[2]), b"");
            drop(peers.remove(0));
            let mut answer = Vec::new();
            while answer.len() < 5 {
                answer.extend(readable(&mut peers[1]));
                yield_now().await;
            }
            assert_eq!(server.connections(), 2);
            drop(peers.remove(0));
            round_trip(&mut peers[1]).await;
            drop(peers);
            assert!(server.shutdown(LONG).await.is_clean());
        }
    });
}

#[test]
fn a_server_that_is_to_be_started_accepts_nothing_until_then() {
    in_loop(async {
        let server = ServerOptions::new()
            .start_serving(false)
            .serve_protocol(|| Echo, ANY)
            .await
            .unwrap();
        assert!(!server.is_serving());
        let mut peer = dial(&server);
        peer.write_all(b"round").unwrap();
        turns().await;
        assert_eq!(server.connections(), 0);
        server.start_serving();
        server.start_serving();
        assert!(server.is_serving());
        until(|| server.connections() == 1).await;
        until(|| available(&peer) == 5).await;
        server.close();
        server.start_serving();
        assert!(!server.is_serving());
    });
}

/// M190.
#[test]
fn wait_closed_waits_for_close_and_for_the_last_connection_in_either_order() {
    in_loop(async {
        for close_first in [true, false] {
            let server = Rc::new(create_server(|| Echo, ANY).await.unwrap());
            let mut peer = dial(&server);
            round_trip(&mut peer).await;
            let waits = {
                let server = Rc::clone(&server);
                spawn(async move { server.wait_closed().await })
            };
            turns().await;
            assert!(!waits.is_finished());
            if close_first {
                server.close();
            } else {
                drop(peer.shutdown(std::net::Shutdown::Both));
                until(|| server.connections() == 0).await;
            }
            turns().await;
            assert!(!waits.is_finished());
            if close_first {
                drop(peer);
            } else {
                server.close();
            }
            waits.await.unwrap();
            // Afterwards, at once.
            assert!(server.wait_closed().now_or_never().is_some());
        }
    });
}

/// M190: the race.
#[test]
fn close_and_the_last_disconnect_in_one_turn_are_enough() {
    in_loop(async {
        let log = Log::default();
        let inner = log.clone();
        let server = create_server(move || Recorder::new(&inner), ANY)
            .await
            .unwrap();
        let peer = dial(&server);
        until(|| server.connections() == 1).await;
        drop(peer);
        server.close();
        server.wait_closed().await;
        assert!(log.is_lost());
    });
}

/// M190: within two turns, stuck peers or not.
#[test]
fn close_clients_and_abort_clients_let_wait_closed_return() {
    in_loop(async {
        for abort in [false, true] {
            let log = Log::default();
            let inner = log.clone();
            let factory = move || {
                Recorder::acting(&inner, move |transport, event| {
                    if *event == Event::Made && abort {
                        // More than anybody takes who does not read.
                        transport.write(&vec![7; 8 << 20]).unwrap();
                    }
                })
            };
            let server = create_server(factory, ANY).await.unwrap();
            let mut peer = dial(&server);
            until(|| server.connections() == 1).await;
            server.close();
            if abort {
                server.close_clients();
                turns().await;
                assert_eq!(server.connections(), 1, "stuck");
                assert_eq!(server.abort_clients(), 1);
            } else {
                server.close_clients();
            }
            yield_now().await;
            assert!(server.wait_closed().now_or_never().is_some());
            yield_now().await;
            log.assert_contract();
            let end = peer.read_to_end(&mut Vec::new());
            assert_eq!(end.is_err(), abort, "{end:?}");
        }
    });
}

#[test]
fn handlers_learn_that_their_clients_were_closed() {
    in_loop(async {
        let outcome = Rc::new(RefCell::new(None));
        let note = Rc::clone(&outcome);
        let server = start_server(
            async move |mut reader: StreamReader, _writer: StreamWriter| {
                let read = reader.read(&mut [0; 10]).await;
                note.replace(Some(read.map_err(|error| error.kind())));
            },
            ANY,
        )
        .await
        .unwrap();
        let peer = dial(&server);
        until(|| server.connections() == 1).await;
        turns().await;
        server.close_clients();
        until(|| outcome.borrow().is_some()).await;
        assert_eq!(outcome.take(), Some(Ok(0)));
        drop(peer);
        let _peer = dial(&server);
        until(|| server.connections() == 1).await;
        turns().await;
        server.abort_clients();
        until(|| outcome.borrow().is_some()).await;
        assert_eq!(outcome.take(), Some(Err(io::ErrorKind::ConnectionAborted)));
    });
}

#[test]
fn shutdown_gives_protocols_the_grace_and_aborts_the_rest() {
    let (mut lp, clock) = clocked_loop();
    lp.run_until_complete(async move {
        let log = Log::default();
        let inner = log.clone();
        let server = Rc::new(
            create_server(move || Recorder::new(&inner), ANY)
                .await
                .unwrap(),
        );
        let mut peer = dial(&server);
        until_turns(|| server.connections() == 1).await;
        let ending = {
            let server = Rc::clone(&server);
            spawn(async move { server.shutdown(Duration::from_secs(5)).await })
        };
        for _ in 0..20 {
            yield_now().await;
        }
        assert!(!ending.is_finished());
        clock.advance(Duration::from_secs(5));
        let report = ending.await.unwrap();
        assert_eq!((report.cancelled, report.aborted), (0, 1));
        until_turns(|| log.is_lost()).await;
        log.assert_contract();
        peer.read(&mut [0; 1]).unwrap_err();
    })
    .unwrap();
}

async fn until_turns(done: impl Fn() -> bool) {
    while !done() {
        yield_now().await;
    }
}

/// M191.
#[test]
fn serving_for_ever_is_for_one_at_a_time_and_for_open_servers() {
    in_loop(async {
        let server = Rc::new(create_server(|| Echo, ANY).await.unwrap());
        let serve = || {
            let server = Rc::clone(&server);
            spawn(async move { server.serve_forever().await })
        };
        let first = serve();
        yield_now().await;
        let error = serve().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(server.is_serving(), "the second one has closed nothing");
        first.cancel();
        assert!(first.await.is_err());
        assert!(!server.is_serving(), "cancelling closes");
        let error = serve().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    });
}

#[test]
fn several_addresses_are_served_by_one_server() {
    in_loop(async {
        let targets: Vec<SocketAddr> = vec![ANY.into(), (Ipv4Addr::new(127, 0, 0, 2), 0).into()];
        let server = create_server(|| Echo, targets).await.unwrap();
        let addrs = server.local_addrs();
        assert_eq!(addrs.len(), 2);
        let mut listening = 0;
        server.for_each_socket(|fd| {
            assert!(socket2::SockRef::from(&fd).is_listener().unwrap());
            listening += 1;
        });
        assert_eq!(listening, 2);
        for addr in addrs {
            round_trip(&mut Peer::connect(addr).unwrap()).await;
        }
        server.close();
        server.for_each_socket(|_| panic!("closed"));
    });
}

#[test]
fn connections_are_kept_alive_if_asked_for() {
    in_loop(async {
        for on in [false, true] {
            let server = ServerOptions::new()
                .listen(ListenOptions::new().keep_alive(on))
                .serve_protocol(
                    move || {
                        Recorder::acting(&Log::default(), move |transport, event| {
                            if *event == Event::Made {
                                let kept = transport
                                    .with_fd(|fd| socket2::SockRef::from(&fd).keepalive())
                                    .unwrap();
                                transport.write(&[u8::from(kept)]).unwrap();
                                transport.close();
                            }
                        })
                    },
                    ANY,
                )
                .await
                .unwrap();
            let peer = dial(&server);
            assert_eq!(drain_peer(peer).await.unwrap(), [u8::from(on)]);
        }
    });
}

#[test]
fn a_dropped_server_listens_no_more_and_leaves_its_connections() {
    in_loop(async {
        let server = create_server(|| Echo, ANY).await.unwrap();
        let addr = server.local_addrs()[0];
        let mut peer = dial(&server);
        round_trip(&mut peer).await;
        drop(server);
        round_trip(&mut peer).await;
        let error = Peer::connect(addr).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

/// M184: what `create_connection` says is what `open_connection` says; see `connect.rs`.
#[test]
fn a_connection_that_cannot_be_made_makes_no_protocol() {
    in_loop(async {
        let addr = TcpListener::bind(ANY).unwrap().local_addr();
        let error = create_connection(|| -> Echo { unreachable!("not connected") }, addr)
            .await
            .unwrap_err();
        assert_eq!(
            io::Error::from(error).kind(),
            io::ErrorKind::ConnectionRefused
        );
    });
}
