//! Descriptors and tasks of UDP, counted before and after.
#![cfg(all(feature = "udp", target_os = "linux"))]

mod cancel;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cancel::cancel_at;
use rondel_loop::{EventLoop, LocalLoop, run, spawn, yield_now};
use rondel_net::{
    DatagramOptions, DatagramProtocol, DatagramTransport, RecvBatch, UdpSocket,
    create_datagram_endpoint,
};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// The tests of this file run one at a time: descriptors belong to the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn counts() -> (usize, usize) {
    (descriptors(), LocalLoop::current().unwrap().tasks().len())
}

async fn settle() {
    for _ in 0..5 {
        yield_now().await;
    }
}

struct Echo;

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        let _ = transport.send_to(data, from);
    }
}

fn local() -> DatagramOptions {
    DatagramOptions::new().local_addr("127.0.0.1:0")
}

#[test]
fn cancelled_at_every_await_point_nothing_is_left() {
    let _alone = alone();
    run(async {
        let before = counts();
        for point in 0.. {
            assert!(point < 10_000, "it never ends");
            let session = async {
                let (transport, _) = create_datagram_endpoint(|| Echo, local()).await.unwrap();
                let closed_by_itself = transport.clone();
                // A transport that nobody closes stays: it is the loop's.
                let close = Close(closed_by_itself);
                let socket = UdpSocket::bind(ANY).unwrap();
                let addr = transport.local_addr().unwrap();
                let mut batch = RecvBatch::new(4, 64);
                for _ in 0..3 {
                    socket.send_to(b"x", addr).await.unwrap();
                    socket.peek_from(&mut [0; 4]).await.unwrap();
                    socket.recv_batch(&mut batch).await.unwrap();
                }
                transport.close();
                transport.wait_closed().await;
                drop(close);
            };
            let ended = cancel_at(point, session).await.is_some();
            settle().await;
            assert_eq!(counts(), before, "cancelled at {point}");
            if ended {
                assert!(point > 0, "it never waits");
                return;
            }
        }
    })
    .unwrap();
}

/// Closes an endpoint when it is dropped.
struct Close(DatagramTransport);

impl Drop for Close {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[test]
fn a_loop_that_closes_lets_go_of_sockets_and_endpoints() {
    let _alone = alone();
    // The first loop of a process may open what stays.
    run(async {}).unwrap();
    let before = descriptors();
    let mut lp = EventLoop::new().unwrap();
    let kept = lp
        .run_until_complete(async {
            let (transport, protocol) = create_datagram_endpoint(|| Echo, local()).await.unwrap();
            let waiting = UdpSocket::bind(ANY).unwrap();
            spawn(async move {
                let _ = waiting.recv(&mut [0; 1]).await;
            })
            .detach();
            settle().await;
            (transport, protocol)
        })
        .unwrap();
    lp.close();
    drop(lp);
    drop(kept);
    assert_eq!(descriptors(), before);
}
