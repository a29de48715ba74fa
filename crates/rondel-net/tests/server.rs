//! Servers: accepting, handlers that fail, descriptors that run out, and three ways to end.

mod pair;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use pair::*;
use rondel_loop::{LocalLoop, run, sleep, spawn, yield_now};
use rondel_net::{
    ListenOptions, ReadError, Server, ServerOptions, ServerReport, StreamReader, StreamWriter,
    TcpListener, start_server,
};
use rondel_sync::Event;

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const LONG: Duration = Duration::from_secs(3600);

/// Peers that just leave are none of these tests' business.
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

/// Everything that is reported from now on.
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

async fn until(done: impl Fn() -> bool) {
    while !done() {
        yield_now().await;
    }
}

#[test]
fn each_connection_has_a_handler_of_its_own() {
    run(async {
        let server = start_server(echo, "127.0.0.1:0").await.unwrap();
        assert!(server.is_serving());
        let clients: Vec<_> = (0..20)
            .map(|number: usize| {
                let peer = dial(&server);
                spawn(async move {
                    let mut peer = feed(peer, pattern(number, 100)).await;
                    peer.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut received = Vec::new();
                    let received = rondel_loop::to_thread(move || {
                        peer.read_to_end(&mut received).unwrap();
                        received
                    });
                    assert!(received.await.unwrap() == pattern(number, 100));
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        let report = server.shutdown(LONG).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(server.connections(), 0);
    })
    .unwrap();
}

#[test]
fn waiting_connections_are_accepted_together() {
    run(async {
        let begun = Rc::new(Cell::new(0));
        let count = Rc::clone(&begun);
        let listener = TcpListener::bind(ANY).unwrap();
        // They wait before there is a server.
        let peers: Vec<_> = (0..60)
            .map(|_| Peer::connect(listener.local_addr()).unwrap())
            .collect();
        // The listener has been told of them, and nobody looked.
        assert!(listener.accept().now_or_never().is_some());
        let server = ServerOptions::new().serve_on(
            async move |_, _| {
                count.set(count.get() + 1);
            },
            [listener],
        );
        // A turn to accept, and a turn for all handlers.
        yield_now().await;
        assert_eq!(server.connections(), peers.len() - 1);
        yield_now().await;
        assert_eq!(begun.get(), peers.len() - 1);
    })
    .unwrap();
}

#[test]
fn a_batch_is_as_large_as_the_backlog() {
    run(async {
        let options = ListenOptions::new().backlog(4);
        let listener = options.bind(ANY).unwrap();
        let _peers: Vec<_> = (0..5)
            .map(|_| Peer::connect(listener.local_addr()).unwrap())
            .collect();
        let begun = Rc::new(Cell::new(0));
        let count = Rc::clone(&begun);
        let server = ServerOptions::new()
            .listen(options)
            .serve_on(async move |_, _| count.set(count.get() + 1), [listener]);
        yield_now().await;
        assert_eq!(server.connections(), 4, "then others have their turn");
        until(|| begun.get() == 5).await;
    })
    .unwrap();
}

#[test]
fn a_name_is_served_on_all_its_addresses() {
    run(async {
        let server = start_server(echo, ("localhost", 0)).await.unwrap();
        assert!(!server.local_addrs().is_empty());
        for addr in server.local_addrs() {
            let mut peer = Peer::connect(addr).unwrap();
            peer.write_all(b"x").unwrap();
            peer.write_all(b"y").unwrap();
            let mut both = [0; 2];
            until(|| available(&peer) == 2).await;
            peer.read_exact(&mut both).unwrap();
        }
        let here = SocketAddr::from(ANY);
        // An address of documentation, which nobody has (RFC 5737).
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        let server = start_server(echo, [elsewhere, here]).await.unwrap();
        assert_eq!(server.local_addrs().len(), 1);
        let error = start_server(echo, [elsewhere, elsewhere])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        let error = start_server(echo, elsewhere).await.unwrap_err();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
        let error = start_server(echo, "no port").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    })
    .unwrap();
}

#[test]
fn a_handler_that_fails_is_reported_with_its_peer() {
    run(async {
        let told = reports();
        let server = start_server(
            async |mut reader: StreamReader, _writer| -> Result<(), ReadError> {
                reader.read_exact(&mut [0; 100]).await
            },
            ANY,
        )
        .await
        .unwrap();
        let mut peer = dial(&server);
        let name = addr_of(&peer).to_string();
        peer.write_all(b"short").unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        until(|| !told.borrow().is_empty()).await;
        let report = told.take().join("; ");
        assert!(report.contains(&name), "{report}");
        assert!(report.contains("ended after 5 of 100 bytes"), "{report}");
        assert!(
            report.contains(&format!("server {name}")),
            "its task: {report}"
        );
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "it is closed");

        // The server goes on.
        drop(dial(&server));
        until(|| !told.borrow().is_empty()).await;
        assert_eq!(told.borrow().len(), 1);
    })
    .unwrap();
}

#[test]
fn a_handler_that_panics_is_reported_with_its_peer() {
    run(async {
        let told = reports();
        let server = start_server(
            async |mut reader: StreamReader, _writer| -> () {
                reader.read(&mut [0; 1]).await.unwrap();
                panic!("on the stairs");
            },
            ANY,
        )
        .await
        .unwrap();
        for _ in 0..2 {
            let mut peer = dial(&server);
            let name = addr_of(&peer).to_string();
            peer.write_all(b"x").unwrap();
            until(|| !told.borrow().is_empty()).await;
            let report = told.take().join("; ");
            assert!(report.contains("on the stairs"), "{report}");
            assert!(report.contains(&name), "{report}");
            assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "it is closed");
        }
        until(|| server.connections() == 0).await;
    })
    .unwrap();
}

#[test]
fn a_handler_that_is_cancelled_is_closed_silently() {
    run(async {
        let told = reports();
        let server = start_server(
            async |mut reader: StreamReader, _writer| {
                let _ = reader.read(&mut [0; 1]).await;
            },
            ANY,
        )
        .await
        .unwrap();
        let mut peer = dial(&server);
        until(|| server.connections() == 1).await;
        let report = server.shutdown(Duration::ZERO).await;
        assert_eq!(
            report,
            ServerReport {
                cancelled: 1,
                aborted: 0
            }
        );
        assert!(!report.is_clean());
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(*told.borrow(), Vec::<String>::new());
    })
    .unwrap();
}

#[test]
fn a_handler_is_not_cancelled_when_its_peer_leaves() {
    run(async {
        let finished = Rc::new(Cell::new(false));
        let note = Rc::clone(&finished);
        let go_on = Rc::new(Event::new());
        let gate = Rc::clone(&go_on);
        let server = start_server(
            async move |mut reader: StreamReader, _writer| {
                assert_eq!(reader.read(&mut [0; 1]).await.unwrap(), 0);
                gate.wait().await;
                note.set(true);
            },
            ANY,
        )
        .await
        .unwrap();
        drop(dial(&server));
        until(|| go_on.waiting() == 1).await;
        go_on.set();
        until(|| finished.get()).await;
    })
    .unwrap();
}

#[test]
fn close_stops_listening_and_leaves_connections() {
    run(async {
        let server = start_server(echo, ANY).await.unwrap();
        let mut peer = dial(&server);
        until(|| server.connections() == 1).await;
        let addr = server.local_addrs()[0];
        server.close();
        server.close();
        assert!(!server.is_serving());
        assert_eq!(server.local_addrs(), [addr], "it is still told");
        let refused = Peer::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        assert!(server.wait_closed().now_or_never().is_none());
        peer.write_all(b"echo").unwrap();
        until(|| available(&peer) == 4).await;
        assert_eq!(server.connections(), 1);
        drop(peer);
        server.wait_closed().await;
        server.wait_closed().await;
        assert_eq!(server.connections(), 0);
    })
    .unwrap();
}

#[test]
fn a_handler_may_close_its_server() {
    run(async {
        let slot: Rc<RefCell<Option<Rc<Server>>>> = Rc::default();
        let same = Rc::downgrade(&slot);
        let server = start_server(
            async move |_, _| {
                let slot = same.upgrade().unwrap();
                let server = slot.borrow().clone().unwrap();
                server.close();
            },
            ANY,
        )
        .await
        .unwrap();
        let server = Rc::new(server);
        *slot.borrow_mut() = Some(Rc::clone(&server));
        let _peer = dial(&server);
        server.wait_closed().await;
        assert!(!server.is_serving());
    })
    .unwrap();
}

#[test]
fn wait_closed_waits_for_close() {
    run(async {
        let server = start_server(echo, ANY).await.unwrap();
        assert!(server.wait_closed().now_or_never().is_none());
        let server = Rc::new(server);
        let waiting = {
            let server = Rc::clone(&server);
            spawn(async move { server.wait_closed().await })
        };
        yield_now().await;
        server.close();
        waiting.await.unwrap();
    })
    .unwrap();
}

#[test]
fn serve_forever_ends_when_it_is_closed_and_closes_when_it_is_dropped() {
    run(async {
        let server = Rc::new(start_server(echo, ANY).await.unwrap());
        let serving = {
            let server = Rc::clone(&server);
            spawn(async move { server.serve_forever().await })
        };
        yield_now().await;
        assert!(!serving.is_finished());
        server.close();
        serving.await.unwrap().unwrap();

        let server = Rc::new(start_server(echo, ANY).await.unwrap());
        let serving = {
            let server = Rc::clone(&server);
            spawn(async move { server.serve_forever().await })
        };
        let mut peer = dial(&server);
        until(|| server.connections() == 1).await;
        serving.cancel();
        serving.await.unwrap_err();
        assert!(!server.is_serving());
        peer.write_all(b"x").unwrap();
        until(|| available(&peer) == 1).await;
        drop(peer);
        server.wait_closed().await;
    })
    .unwrap();
}

#[test]
fn shutdown_lets_handlers_end_within_the_grace() {
    let (mut lp, clock) = clocked_loop();
    lp.run_until_complete(async move {
        let go_on = Rc::new(Event::new());
        let gate = Rc::clone(&go_on);
        let server = start_server(
            async move |_reader, writer: StreamWriter| {
                gate.wait().await;
                writer.write_all(b"done").await.unwrap();
            },
            ANY,
        )
        .await
        .unwrap();
        let peer = dial(&server);
        until(|| go_on.waiting() == 1).await;
        let mut shutdown = Box::pin(server.shutdown(Duration::from_secs(10)));
        assert!(futures_util::poll!(&mut shutdown).is_pending());
        clock.advance(Duration::from_secs(9));
        yield_now().await;
        assert!(futures_util::poll!(&mut shutdown).is_pending());
        go_on.set();
        assert!(shutdown.await.is_clean());
        assert_eq!(drain_peer(peer).await.unwrap(), b"done");
    })
    .unwrap();
}

#[test]
fn shutdown_cancels_what_does_not_end_and_waits_for_its_cleanup() {
    let (mut lp, clock) = clocked_loop();
    lp.run_until_complete(async move {
        struct Cleaned(Rc<Cell<u32>>);

        impl Drop for Cleaned {
            fn drop(&mut self) {
                let cleaned = Rc::clone(&self.0);
                rondel_executor::leave(Box::pin(async move {
                    yield_now().await;
                    cleaned.set(cleaned.get() + 1);
                }));
            }
        }

        let cleaned = Rc::new(Cell::new(0));
        let note = Rc::clone(&cleaned);
        let server = start_server(
            async move |_reader, _writer| {
                let _cleaned = Cleaned(Rc::clone(&note));
                sleep(Duration::MAX).await;
            },
            ANY,
        )
        .await
        .unwrap();
        let mut peers = [dial(&server), dial(&server)];
        until(|| server.connections() == 2).await;
        // Both handlers have begun.
        yield_now().await;
        let mut shutdown = Box::pin(server.shutdown(Duration::from_secs(10)));
        assert!(futures_util::poll!(&mut shutdown).is_pending());
        clock.advance(Duration::from_secs(11));
        assert_eq!(
            shutdown.await,
            ServerReport {
                cancelled: 2,
                aborted: 0
            }
        );
        assert_eq!(cleaned.get(), 2);
        for peer in &mut peers {
            assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        }
    })
    .unwrap();
}

#[test]
fn shutdown_aborts_connections_that_outlive_their_handlers() {
    let (mut lp, clock) = clocked_loop();
    lp.run_until_complete(async move {
        let kept = Rc::new(RefCell::new(Vec::new()));
        let keep = Rc::clone(&kept);
        let server = start_server(
            async move |reader, writer: StreamWriter| {
                // The first is kept, the second is closed while its peer does not read.
                if keep.borrow().is_empty() {
                    keep.borrow_mut().push((reader, writer));
                } else {
                    fill(&writer);
                    writer.write(&[0; 1000]).unwrap();
                    writer.close();
                }
            },
            ANY,
        )
        .await
        .unwrap();
        let mut first = dial(&server);
        until(|| kept.borrow().len() == 1).await;
        let mut second = dial(&server);
        until(|| server.connections() == 2).await;
        let mut shutdown = Box::pin(server.shutdown(Duration::from_secs(10)));
        assert!(futures_util::poll!(&mut shutdown).is_pending());
        clock.advance(Duration::from_secs(11));
        assert_eq!(
            shutdown.await,
            ServerReport {
                cancelled: 0,
                aborted: 2
            }
        );
        for peer in [&mut first, &mut second] {
            let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        let (mut reader, writer) = kept.take().remove(0);
        assert!(writer.is_closing());
        let read = reader.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(read.kind(), io::ErrorKind::ConnectionAborted);
    })
    .unwrap();
}

#[test]
fn shutdown_dropped_half_way_leaves_the_server_closed() {
    run(async {
        let server = start_server(echo, ANY).await.unwrap();
        let peer = dial(&server);
        until(|| server.connections() == 1).await;
        assert!(server.shutdown(LONG).now_or_never().is_none());
        assert!(!server.is_serving());
        assert_eq!(server.connections(), 1, "handlers run on");
        drop(peer);
        assert!(server.shutdown(LONG).await.is_clean());
    })
    .unwrap();
}

#[test]
fn a_dropped_server_cancels_its_handlers() {
    run(async {
        let server = start_server(echo, ANY).await.unwrap();
        let mut peer = dial(&server);
        until(|| server.connections() == 1).await;
        let addr = server.local_addrs()[0];
        drop(server);
        assert!(Peer::connect(addr).is_err());
        yield_now().await;
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        let tasks = LocalLoop::current().unwrap().tasks();
        assert_eq!(tasks.len(), 1, "this one is left: {tasks:?}");
    })
    .unwrap();
}

#[test]
fn readers_of_a_server_have_its_limit() {
    run(async {
        let seen = Rc::new(Cell::new(0));
        let note = Rc::clone(&seen);
        let server = ServerOptions::new()
            .limit(77)
            .serve(
                async move |reader: StreamReader, _| note.set(reader.limit()),
                ANY,
            )
            .await
            .unwrap();
        let _peer = dial(&server);
        until(|| seen.get() > 0).await;
        assert_eq!(seen.get(), 77);
    })
    .unwrap();
}

#[test]
fn a_loop_may_close_under_a_server() {
    let (mut lp, _clock) = clocked_loop();
    let (server, mut peer) = lp
        .run_until_complete(async {
            let server = start_server(echo, ANY).await.unwrap();
            let peer = dial(&server);
            until(|| server.connections() == 1).await;
            (server, peer)
        })
        .unwrap();
    lp.close();
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    server.close();
    drop(server);
}

const CHILD: &str = "RONDEL_NET_TEST_NOFILE";

/// Runs the named test again in a process of its own; `true` in that process.
fn in_a_child(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

#[test]
fn exhausted_descriptors_are_reported_and_accepting_is_tried_again() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    if !in_a_child("exhausted_descriptors_are_reported_and_accepting_is_tried_again") {
        return;
    }
    let hard = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(64),
        maximum: hard,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let (mut lp, clock) = clocked_loop();
    lp.run_until_complete(async move {
        let told = reports();
        let server = start_server(echo, ANY).await.unwrap();
        let mut peers: Vec<_> = (0..3).map(|_| dial(&server)).collect();
        let mut taken = Vec::new();
        let error = loop {
            match peers[0].try_clone() {
                Ok(clone) => taken.push(clone),
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));

        until(|| !told.borrow().is_empty()).await;
        let report = told.borrow().join("; ");
        assert!(
            report.contains(&server.local_addrs()[0].to_string()),
            "{report}"
        );
        assert!(report.contains("Too many open files"), "{report}");
        assert_eq!(server.connections(), 0);

        // Nothing is tried before the pause is over: neither for those who wait nor for one who comes.
        drop(taken.pop());
        peers.push(dial(&server));
        clock.advance(Duration::from_millis(900));
        for _ in 0..200 {
            yield_now().await;
        }
        assert_eq!((told.borrow().len(), server.connections()), (1, 0));
        // Then it is, with the same outcome.
        clock.advance(Duration::from_millis(200));
        until(|| told.borrow().len() == 2).await;
        assert_eq!(server.connections(), 0);

        drop(taken);
        clock.advance(Duration::from_millis(1100));
        until(|| server.connections() == 4).await;
        for peer in &mut peers {
            peer.write_all(b"x").unwrap();
        }
        for peer in &mut peers {
            until(|| available(peer) == 1).await;
            peer.read_exact(&mut [0; 1]).unwrap();
        }
        drop(peers);
        server.close();
        server.wait_closed().await;
        assert_eq!(told.borrow().len(), 2);
    })
    .unwrap();
}

#[test]
fn a_server_closed_while_accepting_pauses_stays_closed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    if !in_a_child("a_server_closed_while_accepting_pauses_stays_closed") {
        return;
    }
    let (mut lp, clock) = clocked_loop();
    lp.run_until_complete(async move {
        let told = reports();
        let server = start_server(echo, ANY).await.unwrap();
        let peer = dial(&server);
        let hard = getrlimit(Resource::Nofile).maximum;
        // Lower than what is open: nothing more can be opened.
        let limit = Rlimit {
            current: Some(3),
            maximum: hard,
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        until(|| !told.borrow().is_empty()).await;
        server.close();
        drop(peer);
        clock.advance(Duration::from_secs(5));
        server.wait_closed().await;
        for _ in 0..200 {
            yield_now().await;
        }
        assert_eq!((told.borrow().len(), server.connections()), (1, 0));
    })
    .unwrap();
}
