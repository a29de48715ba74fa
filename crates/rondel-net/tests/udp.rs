//! UDP sockets that are awaited, against real ones.
#![cfg(feature = "udp")]

mod cancel;

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as Peer};
use std::rc::Rc;

use cancel::cancel_at;
use futures_util::FutureExt;
use rondel_loop::{run, spawn, yield_now};
use rondel_net::{DatagramError, RecvBatch, Truncated, UdpOptions, UdpSocket};
use socket2::SockRef;

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn bind() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(ANY).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn peer() -> (Peer, SocketAddr) {
    let peer = Peer::bind("127.0.0.1:0").unwrap();
    let addr = peer.local_addr().unwrap();
    (peer, addr)
}

/// An address that nobody has.
fn nobody() -> SocketAddr {
    peer().1
}

fn truncated(error: &io::Error) -> Truncated {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    *error.get_ref().unwrap().downcast_ref().unwrap()
}

async fn settle() {
    for _ in 0..5 {
        yield_now().await;
    }
}

#[test]
fn what_is_sent_is_received_with_its_sender() {
    run(async {
        let (socket, addr) = bind();
        let (peer, peer_addr) = peer();
        socket.send_to(b"there", peer_addr).await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(peer.recv_from(&mut buffer).unwrap(), (5, addr));
        peer.send_to(b"and back", addr).unwrap();
        assert_eq!(socket.recv_from(&mut buffer).await.unwrap(), (8, peer_addr));
        assert_eq!(&buffer[..8], b"and back");
    })
    .unwrap();
}

#[test]
fn an_empty_datagram_is_one_and_fits_into_an_empty_buffer() {
    run(async {
        let (socket, addr) = bind();
        socket.send_to(b"", addr).await.unwrap();
        socket.send_to(b"x", addr).await.unwrap();
        assert_eq!(socket.recv_from(&mut []).await.unwrap(), (0, addr));
        assert_eq!(socket.recv_from(&mut [0; 4]).await.unwrap(), (1, addr));
    })
    .unwrap();
}

#[test]
fn a_datagram_that_does_not_fit_is_an_error_and_the_next_one_is_received() {
    run(async {
        let (socket, addr) = bind();
        socket.send_to(b"0123456789", addr).await.unwrap();
        socket.send_to(b"next", addr).await.unwrap();
        let mut buffer = [0; 4];
        let cut = truncated(&socket.recv_from(&mut buffer).await.unwrap_err());
        assert_eq!((cut.kept(), cut.from()), (4, Some(addr)));
        if cfg!(all(target_os = "linux", not(rondel_selector = "portable"))) {
            assert_eq!(cut.whole(), Some(10));
        }
        assert_eq!(&buffer, b"0123");
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer, b"next");
    })
    .unwrap();
}

#[test]
fn peeking_takes_nothing_out_and_cuts_without_complaint() {
    run(async {
        let (socket, addr) = bind();
        socket.send_to(b"0123456789", addr).await.unwrap();
        let mut buffer = [0; 4];
        assert_eq!(socket.peek_from(&mut buffer).await.unwrap(), (4, addr));
        assert_eq!(socket.try_peek_from(&mut [0; 64]).unwrap(), (10, addr));
        assert_eq!(socket.recv(&mut [0; 64]).await.unwrap(), 10);
        let error = socket.try_peek_from(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    })
    .unwrap();
}

#[test]
fn connected_it_receives_from_its_peer_only_until_it_is_disconnected() {
    run(async {
        let (socket, addr) = bind();
        let (friend, friend_addr) = peer();
        let (other, other_addr) = peer();
        socket.connect(friend_addr).unwrap();
        assert_eq!(socket.peer_addr(), Some(friend_addr));
        other.send_to(b"stranger", addr).unwrap();
        friend.send_to(b"friend", addr).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 6);
        socket.send(b"to you").await.unwrap();
        assert_eq!(friend.recv_from(&mut buffer).unwrap(), (6, addr));
        socket.disconnect().unwrap();
        assert_eq!(socket.peer_addr(), None);
        // Linux has given the port up with the connection, since it had chosen it.
        socket.send_to(b"hello", other_addr).await.unwrap();
        let (_, addr) = other.recv_from(&mut buffer).unwrap();
        other.send_to(b"again", addr).unwrap();
        assert_eq!(
            socket.recv_from(&mut buffer).await.unwrap(),
            (5, other_addr)
        );
        assert!(socket.send(b"to whom").await.is_err());
    })
    .unwrap();
}

#[test]
fn a_refusal_is_told_once_and_the_socket_goes_on() {
    run(async {
        let (socket, addr) = bind();
        let gone = nobody();
        socket.connect(gone).unwrap();
        socket.send(b"hello?").await.unwrap();
        let error = socket.recv(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let failure: &DatagramError = error.get_ref().unwrap().downcast_ref().unwrap();
        assert_eq!((failure.peer(), failure.is_send()), (Some(gone), false));
        assert!(error.to_string().contains(&gone.to_string()), "{error}");
        // It is told by sending as well.
        socket.send(b"hello?").await.unwrap();
        let error = socket.send(b"hello?").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        // And somebody comes.
        let late = Peer::bind(gone).unwrap();
        socket.send(b"there you are").await.unwrap();
        assert_eq!(late.recv_from(&mut [0; 64]).unwrap(), (13, addr));
        late.send_to(b"yes", addr).unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).await.unwrap(), 3);
    })
    .unwrap();
}

#[test]
fn a_kept_failure_can_be_taken_out() {
    run(async {
        let (socket, _) = bind();
        socket.connect(nobody()).unwrap();
        assert!(socket.take_error().unwrap().is_none());
        socket.send(b"hello?").await.unwrap();
        let kept = socket.take_error().unwrap().unwrap();
        assert_eq!(kept.kind(), io::ErrorKind::ConnectionRefused);
        assert!(socket.take_error().unwrap().is_none());
        let error = socket.try_recv(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    })
    .unwrap();
}

#[test]
#[cfg(all(target_os = "linux", not(rondel_selector = "portable")))]
fn the_error_queue_tells_whom_a_refusal_is_about() {
    run(async {
        let (socket, _) = bind();
        assert!(socket.try_recv_icmp_error().unwrap().is_none());
        socket.set_recv_icmp_errors(true).unwrap();
        let (gone, gone_too) = (nobody(), nobody());
        let (_there, there_addr) = peer();
        let mut failed = 0;
        for to in [gone, there_addr, gone_too] {
            // One that is told of an earlier one was not sent.
            while socket.send_to(b"hello?", to).await.is_err() {
                failed += 1;
            }
        }
        while failed == 0 {
            failed += usize::from(socket.recv(&mut [0; 4]).await.is_err());
        }
        let mut about = Vec::new();
        while let Some(answer) = socket.try_recv_icmp_error().unwrap() {
            assert_eq!(answer.error().kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(answer.offender(), Some(Ipv4Addr::LOCALHOST.into()));
            about.push(answer.destination().unwrap());
        }
        assert_eq!(about, [gone, gone_too]);
    })
    .unwrap();
}

#[test]
fn what_is_too_large_is_refused_and_named() {
    run(async {
        let (socket, addr) = bind();
        let error = socket.send_to(&[0; 70_000], addr).await.unwrap_err();
        let failure: &DatagramError = error.get_ref().unwrap().downcast_ref().unwrap();
        assert_eq!((failure.peer(), failure.is_send()), (Some(addr), true));
        assert!(failure.raw_os_error().is_some());
        socket.send_to(&[7; 65_507], addr).await.unwrap();
        let whole = socket.receive(|bytes, from| (bytes.to_vec(), from)).await;
        assert_eq!(whole.unwrap(), (vec![7; 65_507], addr));
    })
    .unwrap();
}

#[test]
fn one_that_waits_is_woken_and_try_never_waits() {
    run(async {
        let (socket, addr) = bind();
        let socket = Rc::new(socket);
        let error = socket.try_recv_from(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let receiver = Rc::clone(&socket);
        let waiting = spawn(async move {
            let mut buffer = [0; 16];
            receiver.recv_from(&mut buffer).await.unwrap().0
        });
        settle().await;
        assert!(!waiting.is_finished());
        peer().0.send_to(b"late", addr).unwrap();
        assert_eq!(waiting.await.unwrap(), 4);
    })
    .unwrap();
}

#[test]
fn many_tasks_share_a_socket_and_each_datagram_goes_to_one() {
    run(async {
        let (socket, addr) = bind();
        let socket = Rc::new(socket);
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let socket = Rc::clone(&socket);
                spawn(async move {
                    let mut seen = Vec::new();
                    let mut buffer = [0; 16];
                    loop {
                        let (count, _) = socket.recv_from(&mut buffer).await.unwrap();
                        if count == 0 {
                            return seen;
                        }
                        seen.push(buffer[0]);
                    }
                })
            })
            .collect();
        let senders: Vec<_> = (0..4u8)
            .map(|number| {
                let socket = Rc::clone(&socket);
                spawn(async move {
                    for step in 0..8 {
                        socket.send_to(&[number * 8 + step], addr).await.unwrap();
                        yield_now().await;
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        for _ in 0..4 {
            socket.send_to(b"", addr).await.unwrap();
        }
        let mut all = Vec::new();
        for receiver in receivers {
            all.extend(receiver.await.unwrap());
        }
        all.sort_unstable();
        assert_eq!(all, (0..32).collect::<Vec<_>>());
    })
    .unwrap();
}

#[test]
fn one_that_never_has_to_wait_lets_others_have_their_turn() {
    run(async {
        let (socket, addr) = bind();
        let turns = Rc::new(Cell::new(0));
        let other = Rc::clone(&turns);
        let others = spawn(async move {
            loop {
                other.set(other.get() + 1);
                yield_now().await;
            }
        });
        // Received at once each time: sent to oneself.
        let mut buffer = [0; 4];
        for _ in 0..640 {
            socket.send_to(b"x", addr).await.unwrap();
            socket.recv(&mut buffer).await.unwrap();
        }
        assert!(turns.get() >= 10, "{}", turns.get());
        others.cancel();
    })
    .unwrap();
}

/// One that blocks: a Unix socket under another name, which waits for its receiver. (UDP over loopback never does.)
fn blocking_pair() -> (UdpSocket, std::os::unix::net::UnixDatagram) {
    let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let disguised = Peer::from(std::os::fd::OwnedFd::from(ours));
    (UdpSocket::from_std(disguised).unwrap(), theirs)
}

#[test]
fn a_sender_waits_for_room_instead_of_dropping() {
    run(async {
        let (socket, receiver) = blocking_pair();
        let socket = Rc::new(socket);
        let mut sent = 0u32;
        let error = loop {
            match socket.try_send(&sent.to_be_bytes()) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let sender = Rc::clone(&socket);
        let total = sent + 20;
        let waiting = spawn(async move {
            for number in sent..total {
                sender.send(&number.to_be_bytes()).await.unwrap();
            }
        });
        settle().await;
        assert!(!waiting.is_finished());
        // One that gives up has sent nothing.
        assert!(socket.send(b"given up").now_or_never().is_none());
        for number in 0..total {
            let mut buffer = [0; 16];
            receiver.set_nonblocking(true).unwrap();
            let count = loop {
                match receiver.recv(&mut buffer) {
                    Ok(count) => break count,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                yield_now().await;
            };
            assert_eq!(buffer[..count], number.to_be_bytes());
        }
        waiting.await.unwrap();
    })
    .unwrap();
}

#[test]
fn a_batch_brings_what_waits_in_order_and_says_what_was_cut() {
    run(async {
        let (socket, addr) = bind();
        let (peer, peer_addr) = peer();
        for number in 0..40u8 {
            let size = if number == 3 {
                20
            } else {
                usize::from(number % 4)
            };
            peer.send_to(&vec![number; size], addr).unwrap();
        }
        let mut batch = RecvBatch::new(16, 8);
        let mut seen = 0u8;
        let mut calls = 0;
        while seen < 40 {
            let count = socket.recv_batch(&mut batch).await.unwrap();
            calls += 1;
            assert_eq!((batch.len(), batch.is_empty()), (count, false));
            for datagram in batch.iter() {
                assert_eq!(datagram.from(), peer_addr);
                if seen == 3 {
                    assert_eq!(datagram.bytes(), [3; 8]);
                    assert_eq!(datagram.truncated().unwrap().kept(), 8);
                } else {
                    assert_eq!(datagram.bytes(), vec![seen; usize::from(seen % 4)]);
                    assert_eq!(datagram.truncated(), None);
                }
                seen += 1;
            }
        }
        if cfg!(all(target_os = "linux", not(rondel_selector = "portable"))) {
            assert_eq!(calls, 3, "16, 16, 8");
        }
        let error = socket.try_recv_batch(&mut batch).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(batch.is_empty(), "what was there before is gone");
    })
    .unwrap();
}

#[test]
fn a_batch_is_sent_in_order_to_several_and_stops_at_what_cannot_be() {
    run(async {
        let socket = UdpSocket::bind(ANY).unwrap();
        let peers = [peer(), peer(), peer()];
        let mut datagrams: Vec<(Vec<u8>, SocketAddr)> = (0..90u8)
            .map(|number| (vec![number; 3], peers[usize::from(number) % 3].1))
            .collect();
        datagrams[60].0 = vec![0; 70_000];
        let mut sent = 0;
        let error = loop {
            match socket.send_batch(&datagrams[sent..]).await {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(sent, 60, "up to the one that is too large");
        let failure: &DatagramError = error.get_ref().unwrap().downcast_ref().unwrap();
        assert_eq!(failure.peer(), Some(peers[0].1));
        for (index, (peer, _)) in peers.iter().enumerate() {
            for round in 0..20 {
                let mut buffer = [0; 16];
                assert_eq!(peer.recv(&mut buffer).unwrap(), 3);
                assert_eq!(usize::from(buffer[0]), round * 3 + index);
            }
        }
        let none: [(&[u8], SocketAddr); 0] = [];
        assert_eq!(socket.send_batch(&none).await.unwrap(), 0);
        assert_eq!(socket.try_send_batch(&none).unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn segments_arrive_as_datagrams_also_where_they_cannot_be_cut_late() {
    run(async {
        let (socket, addr) = bind();
        SockRef::from(&socket)
            .set_recv_buffer_size(1 << 20)
            .unwrap();
        let bytes: Vec<u8> = (0..100_000).map(|place| (place % 251) as u8).collect();
        // 3000 do not fit into a packet of most networks; on loopback they do. One is larger than any datagram's share.
        for segment in [700, 3000, 60_000] {
            let mut received = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let sent = socket.try_send_segmented(rest, segment, addr).unwrap();
                assert!(sent == rest.len() || sent % segment == 0);
                rest = &rest[sent..];
                let mut buffer = vec![0; 65_536];
                for size in bytes[received.len()..][..sent].chunks(segment) {
                    let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
                    assert_eq!((count, from), (size.len(), addr));
                    received.extend_from_slice(&buffer[..count]);
                }
            }
            assert!(received == bytes);
        }
        socket.connect(addr).unwrap();
        socket.send_segmented(&bytes[..10], 4, None).await.unwrap();
        for size in [4, 4, 2] {
            assert_eq!(socket.recv(&mut [0; 16]).await.unwrap(), size);
        }
        let error = socket.send_segmented(&bytes, 0, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    })
    .unwrap();
}

#[test]
fn what_was_put_together_is_taken_apart_again() {
    run(async {
        let (socket, addr) = bind();
        if let Err(error) = socket.set_gro(true) {
            let has_it = cfg!(all(target_os = "linux", not(rondel_selector = "portable")));
            assert_eq!((has_it, error.kind()), (false, io::ErrorKind::Unsupported));
            return;
        }
        let (sender, sender_addr) = bind();
        let bytes: Vec<u8> = (0..10_500).map(|place| (place / 1000) as u8).collect();
        sender.send_segmented(&bytes, 1000, addr).await.unwrap();
        sender.send_to(b"single", addr).await.unwrap();
        let mut batch = RecvBatch::new(4, 65_536);
        let mut sizes = Vec::new();
        let mut calls = 0;
        while sizes.len() < 12 {
            calls += 1;
            socket.recv_batch(&mut batch).await.unwrap();
            for datagram in batch.iter() {
                assert_eq!(datagram.from(), sender_addr);
                if datagram.bytes().len() != 6 {
                    assert!(
                        datagram
                            .bytes()
                            .iter()
                            .all(|&byte| usize::from(byte) == sizes.len())
                    );
                }
                sizes.push(datagram.bytes().len());
            }
        }
        assert_eq!(sizes[..11], [[1000; 10].as_slice(), &[500]].concat());
        assert_eq!(sizes[11], 6);
        assert!(calls <= 2, "they came together");
    })
    .unwrap();
}

#[test]
fn groups_are_joined_heard_and_left() {
    run(async {
        let group = Ipv4Addr::new(239, 255, 77, 3);
        let socket = UdpOptions::new()
            .reuse_address(true)
            .bind((Ipv4Addr::UNSPECIFIED, 0))
            .unwrap();
        let port = socket.local_addr().unwrap().port();
        socket
            .join_multicast_v4(group, Ipv4Addr::LOCALHOST)
            .unwrap();
        let sender = UdpSocket::bind(ANY).unwrap();
        sender.set_multicast_if_v4(Ipv4Addr::LOCALHOST).unwrap();
        sender.set_multicast_ttl_v4(1).unwrap();
        sender.set_multicast_loop_v4(true).unwrap();
        sender.send_to(b"all", (group, port)).await.unwrap();
        let mut buffer = [0; 16];
        let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!((count, from), (3, sender.local_addr().unwrap()));
        socket
            .leave_multicast_v4(group, Ipv4Addr::LOCALHOST)
            .unwrap();
        assert!(
            socket
                .leave_multicast_v4(group, Ipv4Addr::LOCALHOST)
                .is_err()
        );
        sender.set_multicast_loop_v4(false).unwrap();
    })
    .unwrap();
}

#[test]
fn six_is_set_up_as_four_is() {
    run(async {
        let options = UdpOptions::new().only_v6(true).ttl(7).tos(0x20);
        let Ok(socket) = options.bind((Ipv6Addr::LOCALHOST, 0)) else {
            // There are machines without.
            return;
        };
        let set = SockRef::from(&socket);
        assert!(set.only_v6().unwrap());
        assert_eq!(set.unicast_hops_v6().unwrap(), 7);
        assert_eq!(set.tclass_v6().unwrap(), 0x20);
        socket.set_multicast_hops_v6(3).unwrap();
        socket.set_multicast_loop_v6(false).unwrap();
        socket.set_multicast_if_v6(0).unwrap();
        let addr = socket.local_addr().unwrap();
        socket.send_batch(&[(b"six", addr)]).await.unwrap();
        let mut batch = RecvBatch::new(2, 64);
        assert_eq!(socket.recv_batch(&mut batch).await.unwrap(), 1);
        assert_eq!(batch.iter().next().unwrap().from(), addr);
    })
    .unwrap();
}

#[test]
fn options_are_the_systems_afterwards() {
    run(async {
        let options = UdpOptions::new()
            .broadcast(true)
            .ttl(9)
            .tos(0x10)
            .receive_buffer_size(10_000)
            .send_buffer_size(10_000)
            .reuse_address(true)
            .reuse_port(true);
        let socket = options.bind(ANY).unwrap();
        let set = SockRef::from(&socket);
        assert!(socket.broadcast().unwrap());
        assert!(set.reuse_address().unwrap());
        assert_eq!(set.ttl_v4().unwrap(), 9);
        assert_eq!(set.tos_v4().unwrap(), 0x10);
        assert!((10_000..40_000).contains(&set.recv_buffer_size().unwrap()));
        assert!((10_000..40_000).contains(&set.send_buffer_size().unwrap()));
        socket.set_broadcast(false).unwrap();
        let denied = socket.send_to(b"all", (Ipv4Addr::BROADCAST, 9)).await;
        assert_eq!(denied.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let error = UdpSocket::bind(socket.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("127.0.0.1:"), "{error}");
        let error = UdpOptions::new().bind_device("no-such-device").bind(ANY);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("\"no-such-device\""), "{error}");
    })
    .unwrap();
}

#[test]
fn sockets_are_taken_over_and_given_back() {
    run(async {
        let (std, addr) = peer();
        let (other, other_addr) = peer();
        std.connect(other_addr).unwrap();
        let socket = UdpSocket::from_std(std).unwrap();
        assert_eq!(socket.peer_addr(), Some(other_addr));
        socket.send(b"ours").await.unwrap();
        let std = socket.into_std().unwrap();
        std.send(b"theirs").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(other.recv_from(&mut buffer).unwrap(), (4, addr));
        assert_eq!(other.recv_from(&mut buffer).unwrap(), (6, addr));
        let connected = UdpOptions::new().connect(other_addr).unwrap();
        connected.send(b"third").await.unwrap();
        assert_eq!(other.recv(&mut buffer).unwrap(), 5);
    })
    .unwrap();
    assert!(UdpSocket::bind(ANY).is_err(), "there is no loop");
}

#[test]
fn cancelled_at_every_await_point_nothing_is_lost() {
    run(async {
        for point in 0..12 {
            let (socket, addr) = bind();
            let (peer, _) = peer();
            let sent = Cell::new(0u8);
            let received = Cell::new(0u8);
            let mut batch = RecvBatch::new(4, 64);
            let session = async {
                loop {
                    yield_now().await;
                    peer.send_to(&[sent.get()], addr).unwrap();
                    sent.set(sent.get() + 1);
                    let next = sent.get() - 1;
                    let got = if next.is_multiple_of(3) {
                        socket.recv_batch(&mut batch).await.unwrap();
                        batch.iter().next().unwrap().bytes()[0]
                    } else if next % 3 == 1 {
                        socket.receive(|bytes, _| bytes[0]).await.unwrap()
                    } else {
                        let mut buffer = [0; 4];
                        socket.recv(&mut buffer).await.unwrap();
                        buffer[0]
                    };
                    assert_eq!(got, received.get());
                    received.set(got + 1);
                }
            };
            let cancelled: Option<()> = cancel_at(point, session).await;
            assert!(cancelled.is_none());
            // What was sent and not received is still there.
            for left in received.get()..sent.get() {
                let mut buffer = [0; 4];
                socket.recv(&mut buffer).await.unwrap();
                assert_eq!(buffer[0], left, "cancelled at {point}");
            }
        }
    })
    .unwrap();
}
