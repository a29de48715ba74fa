//! `TcpStream` and `TcpListener`: addresses, options, ends, and life outside the loop.

mod cancel;
mod pair;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;

use cancel::cancel_at;
use futures_util::{FutureExt, StreamExt};
use pair::*;
use rondel_loop::{EventLoop, run, spawn, yield_now};
use rondel_net::{ListenOptions, TcpListener, TcpStream, WriteError};
use socket2::SockRef;

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

#[test]
fn both_ends_agree_on_their_addresses() {
    run(async {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let listener = match TcpListener::bind(addr.parse::<SocketAddr>().unwrap()) {
                Ok(listener) => listener,
                Err(error) if addr.contains("::1") => {
                    println!("no IPv6 here: {error}");
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            assert_ne!(listener.local_addr().port(), 0);
            let client = TcpStream::connect(listener.local_addr()).await.unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            assert_eq!(client.peer_addr(), Some(listener.local_addr()));
            assert_eq!(server.local_addr().unwrap(), listener.local_addr());
            assert_eq!(client.local_addr().unwrap(), peer);
            assert_eq!(server.peer_addr(), Some(peer));
        }
    })
    .unwrap();
}

#[test]
fn what_is_accepted_is_set_up_like_what_connects() {
    run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        let client = TcpStream::connect(listener.local_addr()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        for stream in [&client, &server] {
            assert!(stream.nodelay().unwrap());
            stream
                .with_fd(|fd| {
                    // SAFETY: only flags of an open descriptor are asked for.
                    let status = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
                    // SAFETY: the same.
                    let descriptor = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
                    assert_ne!(status & libc::O_NONBLOCK, 0);
                    assert_ne!(descriptor & libc::FD_CLOEXEC, 0);
                    Ok(())
                })
                .unwrap();
        }
        server.set_nodelay(false).unwrap();
        assert!(!server.nodelay().unwrap());
    })
    .unwrap();
}

#[test]
fn large_messages_come_back_in_order() {
    run(async {
        let (here, there) = both_ours();
        let echo = spawn(async move {
            let mut buffer = Vec::new();
            while there.read_buf(&mut buffer).await.unwrap() > 0 {
                there.write_all(&buffer).await.unwrap();
                buffer.clear();
            }
        });
        for round in 0..5 {
            let message = pattern(round, 300_000);
            let writing = async {
                here.write_all(&message).await.unwrap();
            };
            let reading = async {
                let mut received = Vec::new();
                while received.len() < message.len() {
                    assert!(here.read_buf(&mut received).await.unwrap() > 0);
                }
                received
            };
            let ((), received) = futures_util::future::join(writing, reading).await;
            assert!(received == message);
        }
        here.shutdown(Shutdown::Write).unwrap();
        echo.await.unwrap();
        assert_eq!(here.read(&mut [0; 1]).await.unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn read_buf_appends_much_at_a_time() {
    run(async {
        let (ours, peer) = pair();
        SockRef::from(&peer).set_send_buffer_size(400_000).unwrap();
        let peer = feed(peer, pattern(0, 60_000)).await;
        let mut buffer = b"x".to_vec();
        assert_eq!(ours.read_buf(&mut buffer).await.unwrap(), 60_000);
        assert!(buffer[1..] == pattern(0, 60_000));
        drop(peer);
        assert_eq!(ours.read_buf(&mut buffer).await.unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn what_is_received_may_be_written_while_it_is_lent() {
    run(async {
        let (ours, peer) = pair();
        let mut peer = feed(peer, pattern(0, 60_000)).await;
        let echoed = ours
            .receive(|bytes| ours.write_now(bytes).map(|()| bytes.len()))
            .await;
        assert_eq!(echoed.unwrap().unwrap(), 60_000);
        ours.flush().await.unwrap();
        let mut received = vec![0; 60_000];
        peer.read_exact(&mut received).unwrap();
        assert!(received == pattern(0, 60_000));
        // The other way round: the connection goes while its bytes are lent.
        peer.write_all(b"last").unwrap();
        let last = ours.receive(|bytes| {
            ours.abort();
            bytes.to_vec()
        });
        assert_eq!(last.await.unwrap(), b"last");
        let error = ours.receive(|_| ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    })
    .unwrap();
}

#[test]
fn peek_takes_nothing_out() {
    run(async {
        let (ours, mut peer) = pair();
        let mut buffer = [0; 4];
        assert!(ours.peek(&mut buffer).now_or_never().is_none());
        peer.write_all(b"peekaboo").unwrap();
        for _ in 0..2 {
            assert_eq!(ours.peek(&mut buffer).await.unwrap(), 4);
            assert_eq!(&buffer, b"peek");
        }
        let mut all = [0; 100];
        assert_eq!(ours.peek(&mut all).await.unwrap(), 8);
        assert_eq!(ours.read(&mut all).await.unwrap(), 8);
        drop(peer);
        assert_eq!(ours.peek(&mut all).await.unwrap(), 0);
        assert_eq!(ours.read(&mut all).await.unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn shutdown_of_writing_leaves_reading() {
    run(async {
        let (ours, mut peer) = pair();
        ours.write(b"last").unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(ours.write(b"more"), Err(WriteError::Finished)));
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"last");
        peer.write_all(b"answer").unwrap();
        let mut buffer = [0; 100];
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 6);
    })
    .unwrap();
}

#[test]
fn shutdown_of_reading_ends_behind_what_has_arrived() {
    run(async {
        let (ours, mut peer) = pair();
        peer.write_all(b"arrived").unwrap();
        let mut buffer = [0; 3];
        ours.read(&mut buffer).await.unwrap();
        ours.shutdown(Shutdown::Read).unwrap();
        let mut rest = [0; 100];
        assert_eq!(ours.read(&mut rest).await.unwrap(), 4);
        assert_eq!(ours.read(&mut rest).await.unwrap(), 0);
        ours.write_all(b"still").await.unwrap();
        ours.shutdown(Shutdown::Both).unwrap();
        assert_eq!(drain_peer(peer).await.unwrap(), b"still");
    })
    .unwrap();
}

#[test]
fn shutdown_after_a_reset_is_an_error_not_a_panic() {
    run(async {
        let (ours, peer) = pair();
        reset(peer);
        ours.read(&mut [0; 1]).await.unwrap_err();
        ours.shutdown(Shutdown::Write).unwrap_err();
        ours.shutdown(Shutdown::Both).unwrap_err();
        ours.close();
        ours.shutdown(Shutdown::Write).unwrap();
    })
    .unwrap();
}

#[test]
fn a_socket_goes_out_of_the_loop_and_comes_back() {
    run(async {
        let (ours, mut peer) = pair();
        peer.write_all(b"before, after").unwrap();
        let mut buffer = [0; 8];
        ours.read(&mut buffer).await.unwrap();
        ours.write(b"flushed").unwrap();
        let mut std = ours.into_std().unwrap();
        std.set_nonblocking(false).unwrap();
        let mut rest = [0; 5];
        std.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"after");
        std.write_all(b" and on").unwrap();
        let ours = TcpStream::from_std(std).unwrap();
        ours.write_all(b" and on").await.unwrap();
        drop(ours);
        assert_eq!(drain_peer(peer).await.unwrap(), b"flushed and on and on");
    })
    .unwrap();
}

#[test]
fn a_socket_with_bytes_queued_does_not_go_out() {
    run(async {
        let (ours, mut peer) = narrow_pair();
        ours.write(&[7; 1_000_000]).unwrap();
        let error = ours.into_std().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn closing_and_flushing() {
    run(async {
        let (ours, peer) = narrow_pair();
        ours.write(&pattern(0, 200_000)).unwrap();
        let received = spawn(drain_peer(peer));
        ours.flush().await.unwrap();
        ours.write(b"bye").unwrap();
        ours.close();
        let received = received.await.unwrap().unwrap();
        assert_eq!(received.len(), 200_003);
        assert_eq!(ours.nodelay().unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(kind(ours.write(b"x").unwrap_err()), ErrorKind::NotConnected);
    })
    .unwrap();
}

#[test]
fn connecting_to_nobody_is_an_error_that_names_it() {
    run(async {
        let addr = {
            let gone = TcpListener::bind(ANY).unwrap();
            gone.local_addr()
        };
        let error = io::Error::from(TcpStream::connect(addr).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
    })
    .unwrap();
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    run(async {
        let first = TcpListener::bind(ANY).unwrap();
        let error = TcpListener::bind(first.local_addr()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let addr = first.local_addr().to_string();
        assert!(error.to_string().contains(&addr), "{error}");
        drop(first);

        let options = ListenOptions::new().reuse_port(true);
        let first = options.bind(ANY).unwrap();
        let second = options.bind(first.local_addr()).unwrap();
        assert_eq!(first.local_addr(), second.local_addr());
    })
    .unwrap();
}

#[test]
fn listeners_of_both_families_share_a_port_if_told_to() {
    run(async {
        let options = ListenOptions::new().only_v6(true).backlog(5);
        let any = SocketAddr::from(([0u16; 8], 0));
        // The port that the system has chosen may be in use, for IPv4, by another test.
        for attempt in 1.. {
            let v6 = match options.bind(any) {
                Ok(listener) => listener,
                Err(error) => return println!("no IPv6 here: {error}"),
            };
            let v4 = SocketAddr::from(([0, 0, 0, 0], v6.local_addr().port()));
            match options.bind(v4) {
                Err(error) if error.kind() == ErrorKind::AddrInUse && attempt < 20 => {}
                bound => return drop(bound.unwrap()),
            }
        }
    })
    .unwrap();
}

#[test]
fn connections_that_queued_up_are_all_accepted() {
    run(async {
        let listener = TcpListener::from_std(std::net::TcpListener::bind(ANY).unwrap()).unwrap();
        assert!(listener.accept().now_or_never().is_none());
        let peers: Vec<_> = (0..50)
            .map(|_| Peer::connect(listener.local_addr()).unwrap())
            .collect();
        let accepted: Vec<_> = listener
            .incoming()
            .take(peers.len())
            .map(|accepted| accepted.unwrap().1)
            .collect()
            .await;
        let expected: Vec<_> = peers.iter().map(addr_of).collect();
        assert_eq!(accepted, expected);
        assert!(listener.accept().now_or_never().is_none());
    })
    .unwrap();
}

#[test]
fn accept_and_connect_can_be_dropped_at_any_point() {
    run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        assert!(cancel_at(0, listener.accept()).await.is_none());
        let peer = Peer::connect(listener.local_addr()).unwrap();
        let (_stream, from) = listener.accept().await.unwrap();
        assert_eq!(from, addr_of(&peer));

        for point in 0..3 {
            cancel_at(point, TcpStream::connect(listener.local_addr())).await;
        }
        let client = TcpStream::connect(listener.local_addr()).await.unwrap();
        let addr = client.local_addr().unwrap();
        while listener.accept().await.unwrap().1 != addr {}
    })
    .unwrap();
}

#[test]
fn many_connections_at_once_each_get_their_own_bytes() {
    run(async {
        let listener = TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr();
        let clients: Vec<_> = (0..100)
            .map(|number: usize| {
                spawn(async move {
                    let stream = TcpStream::connect(addr).await.unwrap();
                    let message = pattern(number, 5000);
                    stream.write_all(&message).await.unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    let mut received = Vec::new();
                    while stream.read_buf(&mut received).await.unwrap() > 0 {}
                    assert!(received == message);
                })
            })
            .collect();
        for _ in 0..100 {
            let (stream, _) = listener.accept().await.unwrap();
            spawn(async move {
                let mut buffer = [0; 700];
                loop {
                    match stream.read(&mut buffer).await.unwrap() {
                        0 => break,
                        count => stream.write_all(&buffer[..count]).await.unwrap(),
                    }
                }
            })
            .detach();
        }
        for client in clients {
            client.await.unwrap();
        }
    })
    .unwrap();
}

#[test]
fn outside_a_loop_it_is_an_error_that_says_so() {
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let peer = Peer::connect(listener.local_addr().unwrap()).unwrap();
    let error = TcpStream::from_std(peer).unwrap_err();
    assert!(error.to_string().contains("no event loop"), "{error}");
    let error = TcpListener::from_std(listener).unwrap_err();
    assert!(error.to_string().contains("no event loop"), "{error}");
    let error = TcpListener::bind(ANY).unwrap_err();
    assert!(error.to_string().contains("no event loop"), "{error}");
}

#[test]
fn under_a_virtual_clock_there_are_no_sockets() {
    let mut lp = EventLoop::builder()
        .selector(rondel_poll::Virtual::new())
        .build()
        .unwrap();
    lp.run_until_complete(async {
        let listener = std::net::TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr().unwrap();
        let error = TcpListener::from_std(listener.try_clone().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = TcpListener::bind(ANY).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = TcpStream::from_std(Peer::connect(addr).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(io::Error::from(error).kind(), ErrorKind::Unsupported);
    })
    .unwrap();
}

#[test]
fn a_listener_of_a_closed_loop_fails() {
    let mut lp = EventLoop::new().unwrap();
    let listener = lp
        .run_until_complete(async { TcpListener::bind(ANY).unwrap() })
        .unwrap();
    let _peer = Peer::connect(listener.local_addr()).unwrap();
    lp.close();
    let error = listener.accept().now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert!(error.to_string().contains("loop is closed"), "{error}");
}

#[test]
fn a_timeout_on_a_silent_peer_passes_on_the_loops_clock() {
    let (mut lp, clock) = clocked_loop();
    lp.run_until_complete(async move {
        let hour = std::time::Duration::from_secs(3600);
        let (ours, mut peer) = pair();
        let (late, is_late) = rondel_sync::oneshot::channel();
        let reading = spawn(async move {
            let timed_out = rondel_loop::timeout(hour, ours.read(&mut [0; 16])).await;
            timed_out.unwrap_err();
            late.send(()).unwrap();
            let mut buffer = [0; 16];
            let count = ours.read(&mut buffer).await.unwrap();
            buffer[..count].to_vec()
        });
        yield_now().await;
        clock.advance(hour);
        is_late.await.unwrap();
        peer.write_all(b"at last").unwrap();
        assert_eq!(reading.await.unwrap(), b"at last");
    })
    .unwrap();
}
