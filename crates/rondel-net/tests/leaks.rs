//! Descriptors, tasks and memory, counted before and after.

mod cancel;
mod pair;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cancel::cancel_at;
use futures_util::FutureExt;
use pair::*;
use rondel_loop::{EventLoop, LocalLoop, run, spawn, yield_now};
use rondel_net::{
    Protocol, StreamReader, StreamWriter, TcpListener, TcpStream, Transport, create_connection,
    create_server, start_server,
};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: everything is the system allocator's doing; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests of this file run one at a time: descriptors belong to the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    descriptors: usize,
    tasks: usize,
}

fn counts() -> Counts {
    Counts {
        descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        tasks: LocalLoop::current().unwrap().tasks().len(),
    }
}

/// Gives others their turn, so that what was let go is gone.
async fn settle() {
    for _ in 0..300 {
        yield_now().await;
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

#[test]
fn a_descriptor_that_is_kept_would_be_noticed() {
    let _alone = alone();
    run(async {
        let before = counts();
        let kept = TcpListener::bind(ANY).unwrap();
        let task = spawn(std::future::pending::<()>());
        let after = counts();
        assert_eq!(after.descriptors, before.descriptors + 1);
        assert_eq!(after.tasks, before.tasks + 1);
        drop(kept);
        task.cancel();
        settle().await;
        assert_eq!(counts(), before);
    })
    .unwrap();
}

#[test]
fn an_idle_connection_takes_little() {
    let _alone = alone();
    run(async {
        // The first ones grow what is grown in steps.
        let mut pairs: Vec<_> = Vec::with_capacity(300);
        pairs.extend((0..200).map(|_| pair()));
        let before = LIVE.get();
        let some: Vec<_> = (0..50).map(|_| pair()).collect();
        let each = (LIVE.get() - before) / some.len() as isize;
        // On poll(2), `polling` keeps tables of its own, which grow in steps.
        let limit = if cfg!(polling_test_poll_backend) {
            1024
        } else {
            512
        };
        assert!(each < limit, "{each} bytes");

        // Once something has gone through, as little.
        for (ours, mut peer) in some {
            peer.write_all(&[7; 5000]).unwrap();
            let (mut reader, writer) = ours.into_split();
            reader.read_exact(&mut [0; 10]).await.unwrap();
            assert!(!reader.buffer().is_empty());
            reader.read_exact(&mut [0; 4990]).await.unwrap();
            for _ in 0..10 {
                writer.write(&[7; 500]).unwrap();
            }
            writer.flush().await.unwrap();
            let used = LIVE.get();
            drop((reader, writer));
            let each = used - LIVE.get();
            assert!(each < limit + 200, "{each} bytes");
        }
    })
    .unwrap();
}

#[test]
fn a_thousand_connections_leave_nothing() {
    let _alone = alone();
    run(async {
        let server = start_server(echo, ANY).await.unwrap();
        let addr = server.local_addrs()[0];
        let mut before = None;
        for round in 0..1100 {
            if round == 100 {
                until_idle(&server).await;
                before = Some((counts(), LIVE.get()));
            }
            let (mut reader, writer) = TcpStream::connect(addr).await.unwrap().into_split();
            writer.write_all(b"once").await.unwrap();
            let mut answer = [0; 4];
            reader.read_exact(&mut answer).await.unwrap();
            match round % 4 {
                0 => writer.close(),
                1 => writer.abort(),
                2 => {
                    drop(writer);
                    assert_eq!(reader.read(&mut answer).await.unwrap(), 0);
                }
                _ => {}
            }
        }
        until_idle(&server).await;
        let (counts_before, live_before) = before.unwrap();
        assert_eq!(counts(), counts_before);
        let grown = LIVE.get() - live_before;
        // Queues may have grown; a connection each would be hundreds of thousands.
        assert!(grown < 20_000, "{grown} bytes more than before");
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

struct Quiet;

impl Protocol for Quiet {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data).unwrap();
    }
}

/// Keeps its transport, as most do.
#[derive(Default)]
struct Keeper(Option<Transport>);

impl Protocol for Keeper {
    fn connection_made(&mut self, transport: &Transport) {
        self.0 = Some(transport.clone());
    }
}

#[test]
fn an_idle_protocol_takes_little() {
    let _alone = alone();
    run(async {
        // The first ones grow what is grown in steps, and have the loop's buffer made.
        let mut peers = Vec::with_capacity(300);
        let mut attach = |count| {
            for _ in 0..count {
                let (ours, peer) = pair();
                drop(ours.into_transport(Keeper::default()));
                peers.push(peer);
            }
        };
        attach(200);
        settle().await;
        let before = LIVE.get();
        attach(50);
        settle().await;
        let each = (LIVE.get() - before) / 50;
        let limit = if cfg!(polling_test_poll_backend) {
            1024
        } else {
            512
        };
        assert!(each <= limit, "{each} bytes");
    })
    .unwrap();
}

#[test]
fn a_thousand_connections_of_protocols_leave_nothing() {
    let _alone = alone();
    run(async {
        let server = create_server(|| Quiet, ANY).await.unwrap();
        let addr = server.local_addrs()[0];
        let mut before = None;
        for round in 0..1100 {
            if round == 100 {
                until_idle(&server).await;
                before = Some((counts(), LIVE.get()));
            }
            let (transport, _) = create_connection(Keeper::default, addr).await.unwrap();
            transport.write(b"once").unwrap();
            yield_now().await;
            match round % 5 {
                0 => transport.close(),
                1 => transport.abort(),
                2 => transport.write_eof().unwrap(),
                3 => drop(transport.clone().into_streams(b"").unwrap()),
                _ => {
                    transport.replace_protocol(Quiet);
                    transport.close();
                }
            }
            let _ = transport.wait_closed().await;
        }
        until_idle(&server).await;
        let (counts_before, live_before) = before.unwrap();
        assert_eq!(counts(), counts_before);
        let grown = LIVE.get() - live_before;
        assert!(grown < 20_000, "{grown} bytes more than before");
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

async fn until_idle(server: &rondel_net::Server) {
    while server.connections() > 0 {
        yield_now().await;
    }
    settle().await;
}

#[test]
fn cancelled_at_every_await_point_nothing_is_left() {
    let _alone = alone();
    run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr();
        let before = counts();
        for point in 0.. {
            assert!(point < 10_000, "it never ends");
            let session = async {
                let (client, server) =
                    futures_util::future::join(TcpStream::connect(addr), listener.accept()).await;
                let (mut reader, writer) = client.unwrap().into_split();
                let (mut other_reader, other_writer) = server.unwrap().0.into_split();
                let answer = async {
                    let line = other_reader.read_line().await.unwrap();
                    other_writer.write_all(&line).await.unwrap();
                    other_writer.write_all(&vec![7; 500_000]).await.unwrap();
                    other_writer.close();
                    other_writer.wait_closed().await.unwrap();
                };
                let ask = async {
                    writer.write(b"a li").unwrap();
                    writer.drain().await.unwrap();
                    yield_now().await;
                    writer.write_all(b"ne\n").await.unwrap();
                    reader.read_line().await.unwrap();
                    reader.read_exact(&mut vec![0; 400_000]).await.unwrap();
                    reader.read_to_end(1_000_000).await.unwrap();
                };
                futures_util::future::join(answer, ask).await;
            };
            let ended = cancel_at(point, session).await.is_some();
            settle().await;
            // What a cancelled connect left in the backlog.
            while let Some(left) = listener.accept().now_or_never() {
                drop(left.unwrap());
            }
            assert_eq!(counts(), before, "cancelled at {point}");
            if ended {
                assert!(point > 0, "it never waits");
                return;
            }
        }
    })
    .unwrap();
}

#[test]
fn a_server_that_is_dropped_leaves_nothing() {
    let _alone = alone();
    run(async {
        let before = counts();
        let server = start_server(echo, ANY).await.unwrap();
        let mut peers: Vec<_> = (0..20)
            .map(|_| Peer::connect(server.local_addrs()[0]).unwrap())
            .collect();
        for peer in &mut peers {
            peer.write_all(b"x").unwrap();
        }
        while peers.iter().any(|peer| available(peer) == 0) {
            yield_now().await;
        }
        drop(server);
        settle().await;
        assert_eq!(counts().descriptors, before.descriptors + peers.len());
        assert_eq!(counts().tasks, before.tasks);
        drop(peers);
        assert_eq!(counts(), before);
    })
    .unwrap();
}

#[test]
fn what_lingers_is_let_go_when_it_is_sent_or_cannot_be() {
    let _alone = alone();
    run(async {
        let before = counts();
        for way in 0..4 {
            let (reader, writer, mut peer) = narrow_split_pair();
            fill(&writer);
            writer.write(&[7; 100_000]).unwrap();
            match way {
                // Sent.
                0 => {
                    writer.close();
                    drop((reader, writer));
                    settle().await;
                    assert_eq!(counts().descriptors, before.descriptors + 2);
                    drain_peer(peer.try_clone().unwrap()).await.unwrap();
                }
                // The peer will not have it.
                1 => {
                    writer.close();
                    drop((reader, writer));
                    let clone = peer.try_clone().unwrap();
                    socket2::SockRef::from(&peer)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap();
                    drop((peer, clone));
                    settle().await;
                    assert_eq!(counts(), before, "the peer is gone");
                    continue;
                }
                // Not to be sent.
                2 => drop((reader, writer)),
                _ => {
                    writer.abort();
                    settle().await;
                    assert_eq!(counts().descriptors, before.descriptors + 1);
                    drop((writer, reader));
                }
            }
            settle().await;
            assert_eq!(counts().descriptors, before.descriptors + 1, "way {way}");
            let _ = peer.shutdown(Shutdown::Both);
            let _ = peer.read(&mut [0; 1]);
            drop(peer);
        }
        assert_eq!(counts().tasks, before.tasks);
    })
    .unwrap();
}

#[test]
fn a_loop_that_closes_lets_go_of_everything() {
    let _alone = alone();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // The first loop of a process may open what stays.
    run(async {
        rondel_loop::to_thread(|| {}).await.unwrap();
    })
    .unwrap();
    let before = descriptors();
    let mut lp = EventLoop::new().unwrap();
    let selector = descriptors() - before;
    let kept = lp
        .run_until_complete(async {
            let server = start_server(echo, ANY).await.unwrap();
            let addr = server.local_addrs()[0];
            let (lingering_reader, lingering, peer) = narrow_split_pair();
            fill(&lingering);
            lingering.write(&[0; 1000]).unwrap();
            lingering.close();
            drop((lingering_reader, lingering));
            let (mut reader, writer) = TcpStream::connect(addr).await.unwrap().into_split();
            spawn(async move {
                let _ = reader.read(&mut [0; 1]).await;
                drop(writer);
            })
            .detach();
            let (waiting, _peer) = pair();
            spawn(async move {
                let _ = waiting.read(&mut [0; 1]).await;
            })
            .detach();
            settle().await;
            spawn(server_forever(server)).detach();
            let kept = pair();
            kept.0.write(b"never sent").unwrap();
            yield_now().await;
            (kept, peer)
        })
        .unwrap();
    lp.close();
    drop(lp);
    // A connection and its peer, the peer of the lingering one, and the selector that the connection is known to.
    assert_eq!(descriptors(), before + 3 + selector);
    drop(kept);
    assert_eq!(descriptors(), before);
}

async fn server_forever(server: rondel_net::Server) {
    server.serve_forever().await.unwrap();
}
