//! Peers by the hundred and by the thousand that come and go, or stay and say next to nothing: others are served meanwhile, and
//! nothing of them is left.
#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream as Peer};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rondel_loop::{EventLoop, LocalLoop, run, spawn, timeout, yield_now};
use rondel_net::{
    Protocol, Server, ServerOptions, StreamReader, StreamWriter, Transport, create_server,
    open_connection, start_server,
};
use rondel_poll::{Clocked, ManualClock, default_selector};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Descriptors and tasks.
fn counts() -> (usize, usize) {
    (
        std::fs::read_dir("/proc/self/fd").unwrap().count(),
        LocalLoop::current().unwrap().tasks().len(),
    )
}

async fn settle() {
    for _ in 0..300 {
        yield_now().await;
    }
}

/// Sends every line back; gives up a client that does not send a whole one within ten seconds.
async fn echo_lines(mut reader: StreamReader, writer: StreamWriter) {
    loop {
        let line = timeout(Duration::from_secs(10), reader.read_line()).await;
        let Ok(Ok(line)) = line else {
            return;
        };
        if line.is_empty() || writer.write_all(&line).await.is_err() {
            return;
        }
    }
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        // Fails if the peer is gone, which is told, too.
        let _ = transport.write(data);
    }
}

/// A client that behaves, and is to be served at any time.
struct Steady(StreamReader, StreamWriter);

impl Steady {
    async fn connect(server: &Server) -> Self {
        let (reader, writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        Self(reader, writer)
    }

    async fn is_served(&mut self, number: usize) {
        let line = format!("still there, {number}?\n");
        self.1.write_all(line.as_bytes()).await.unwrap();
        assert_eq!(self.0.read_line().await.unwrap(), line.as_bytes());
    }
}

/// Opens a connection and drops it, in one of many ways.
fn come_and_go(addr: SocketAddr, way: usize) {
    let mut peer = Peer::connect(addr).unwrap();
    if !way.is_multiple_of(4) {
        peer.write_all(&b"begun and never ended"[..way % 19 + 1])
            .unwrap();
    }
    if way.is_multiple_of(3) {
        peer.write_all(b"asked and never waited for\n").unwrap();
    }
    if way.is_multiple_of(5) {
        peer.shutdown(Shutdown::Write).unwrap();
    }
    if !way.is_multiple_of(7) {
        // A reset, with whatever has not been read.
        socket2::SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

async fn ten_thousand(server: Server) {
    let addr = server.local_addrs()[0];
    let mut steady = Steady::connect(&server).await;
    let mut before = None;
    for way in 0..10_000 {
        if way == 500 {
            while server.connections() > 1 {
                yield_now().await;
            }
            settle().await;
            before = Some((counts(), LIVE.get()));
        }
        come_and_go(addr, way);
        // Sometimes many wait to be accepted, sometimes they are gone by then, sometimes they are alone.
        if way.is_multiple_of(50) {
            steady.is_served(way).await;
        }
    }
    steady.is_served(10_000).await;
    while server.connections() > 1 {
        yield_now().await;
    }
    settle().await;
    let (counts_before, live_before) = before.unwrap();
    assert_eq!(counts(), counts_before);
    let grown = LIVE.get() - live_before;
    // Queues may have grown; a few bytes of each connection would be more.
    assert!(grown < 20_000, "{grown} bytes more than before");
    drop(steady);
    assert!(server.shutdown(PATIENCE).await.is_clean());
}

#[test]
fn ten_thousand_connections_come_and_go_at_a_server_of_streams() {
    let _alone = alone();
    run(async { ten_thousand(start_server(echo_lines, ANY).await.unwrap()).await }).unwrap();
}

#[test]
fn ten_thousand_connections_come_and_go_at_a_server_of_protocols() {
    let _alone = alone();
    run(async { ten_thousand(create_server(|| Echo, ANY).await.unwrap()).await }).unwrap();
}

/// Runs `test` on a loop with real sockets and a clock that moves only when told.
fn clocked<F: Future<Output = ()>>(test: impl FnOnce(ManualClock) -> F) {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    lp.run_until_complete(test(clock)).unwrap();
}

/// Whether the server has ended the connection.
fn is_ended(peer: &mut Peer) -> bool {
    match peer.read(&mut [0; 1]) {
        Ok(count) => {
            assert_eq!(count, 0, "nothing was asked");
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        // It was ended with a byte unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Err(error) => panic!("{error}"),
    }
}

async fn slow_ones(addr: SocketAddr, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..count {
        let peer = Peer::connect(addr).unwrap();
        peer.set_nonblocking(true).unwrap();
        peers.push(peer);
        // No more wait to be accepted than the backlog holds.
        yield_now().await;
    }
    peers
}

#[test]
fn clients_that_send_a_byte_now_and_then_hold_nobody_up_and_are_given_up() {
    let _alone = alone();
    clocked(|clock| async move {
        let server = start_server(echo_lines, ANY).await.unwrap();
        let mut steady = Steady::connect(&server).await;
        steady.is_served(0).await;
        settle().await;
        let before = counts();
        let mut slow = slow_ones(server.local_addrs()[0], 500).await;
        while server.connections() < 501 {
            yield_now().await;
        }
        // Each handler's ten seconds have begun.
        settle().await;
        for second in 0..9 {
            for peer in &mut slow {
                peer.write_all(b"x").unwrap();
            }
            clock.advance(Duration::from_secs(1));
            steady.is_served(second).await;
        }
        assert_eq!(server.connections(), 501, "they have another second");
        assert!(!slow.iter_mut().any(is_ended));
        clock.advance(Duration::from_secs(1));
        while server.connections() > 1 {
            yield_now().await;
        }
        steady.is_served(10).await;
        assert!(slow.iter_mut().all(is_ended));
        drop(slow);
        settle().await;
        assert_eq!(counts(), before);
        drop(steady);
        assert!(server.shutdown(PATIENCE).await.is_clean());
    });
}

#[test]
fn clients_that_take_all_the_places_give_them_up_in_time() {
    let _alone = alone();
    clocked(|clock| async move {
        let server = ServerOptions::new()
            .max_connections(50)
            .serve(echo_lines, ANY)
            .await
            .unwrap();
        let slow = slow_ones(server.local_addrs()[0], 50).await;
        while server.connections() < 50 {
            yield_now().await;
        }
        settle().await;
        // In the backlog, until there is a place.
        let mut steady = Steady::connect(&server).await;
        let served = spawn(async move { steady.is_served(1).await });
        for _ in 0..9 {
            clock.advance(Duration::from_secs(1));
            settle().await;
            assert!(!served.is_finished(), "nobody has given a place up");
        }
        clock.advance(Duration::from_secs(1));
        served.await.unwrap();
        drop(slow);
        assert!(server.shutdown(PATIENCE).await.is_clean());
    });
}

#[test]
fn clients_that_ask_and_never_read_cost_no_more_than_their_limit() {
    let _alone = alone();
    clocked(|_| async move {
        let server = start_server(echo_lines, ANY).await.unwrap();
        let mut steady = Steady::connect(&server).await;
        steady.is_served(0).await;
        settle().await;
        let (before, live) = (counts(), LIVE.get());
        let mut greedy = slow_ones(server.local_addrs()[0], 20).await;
        let line = [&[b'x'; 30_000][..], b"\n"].concat();
        for peer in &mut greedy {
            let small = socket2::SockRef::from(&*peer);
            small.set_recv_buffer_size(4096).unwrap();
        }
        // Until nobody takes anything more.
        let mut idle = 0;
        while idle < 200 {
            let mut taken = 0;
            for peer in &mut greedy {
                taken += peer.write(&line).unwrap_or(0);
            }
            idle = if taken == 0 { idle + 1 } else { 0 };
            yield_now().await;
        }
        steady.is_served(1).await;
        // What was read ahead and what is queued, by their limits: 128 and 64 KiB, and a line.
        let each = (LIVE.get() - live) / 20;
        assert!(each < 300 * 1024, "{each} bytes each");
        drop(greedy);
        while server.connections() > 1 {
            yield_now().await;
        }
        settle().await;
        assert_eq!(counts(), before);
        drop(steady);
        assert!(server.shutdown(PATIENCE).await.is_clean());
    });
}
