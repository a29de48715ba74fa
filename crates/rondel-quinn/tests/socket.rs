//! The socket by itself, as quinn sees it.

use std::future::poll_fn;
use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::task::Poll;

use rondel_loop::run;
use rondel_quinn::RondelRuntime;
use rondel_quinn::quinn::Runtime;
use rondel_quinn::quinn::udp::RecvMeta;

#[test]
fn a_datagram_wakes_whoever_receives() {
    run(async {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = RondelRuntime::current().unwrap().wrap_udp_socket(udp);
        let socket = socket.unwrap();
        let addr = socket.local_addr().unwrap();
        let mut buffer = [0; 2000];
        let mut meta = [RecvMeta::default()];
        let mut waited = false;
        let count = poll_fn(|cx| {
            let received = socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta);
            if received.is_pending() && !waited {
                waited = true;
                peer.send_to(b"hello", addr).unwrap();
                return Poll::Pending;
            }
            received
        })
        .await
        .unwrap();
        assert!(waited);
        assert_eq!((count, meta[0].len), (1, 5));
        assert_eq!(meta[0].addr, peer.local_addr().unwrap());
        assert_eq!(&buffer[..5], b"hello");
    })
    .unwrap();
}
