//! Options of TCP sockets, read back from the system on connections at both ends, and what they do.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rondel_loop::run;
use rondel_net::{
    AttemptStep, ConnectError, ConnectErrorKind, ConnectOptions, KeepAlive, ListenOptions,
    ServerOptions, StreamReader, StreamWriter, TcpListener, TcpStream,
};
use socket2::{Domain, SockRef, Socket, Type};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

const TIMES: KeepAlive = KeepAlive::new()
    .idle(Duration::from_secs(61))
    .interval(Duration::from_secs(7))
    .count(4);

/// A connection, and what was accepted of it.
async fn connected(listen: &ListenOptions, connect: &ConnectOptions) -> (TcpStream, TcpStream) {
    let listener = listen.bind(ANY).unwrap();
    let client = connect.connect(listener.local_addr()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

/// What the system says.
fn ask<R>(stream: &TcpStream, what: impl FnOnce(SockRef<'_>) -> io::Result<R>) -> R {
    stream.with_fd(|fd| what(SockRef::from(&fd))).unwrap()
}

fn asks_with(stream: &TcpStream) -> (u64, u64, u32) {
    ask(stream, |socket| {
        assert!(socket.keepalive()?);
        Ok((
            socket.tcp_keepalive_time()?.as_secs(),
            socket.tcp_keepalive_interval()?.as_secs(),
            socket.tcp_keepalive_retries()?,
        ))
    })
}

/// A socket that nothing was set on, to compare with.
fn untouched() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
}

fn failed_option(error: &ConnectError) -> &io::Error {
    assert!(matches!(error.kind(), ConnectErrorKind::Failed));
    let [attempt] = error.attempts() else {
        panic!("{error}");
    };
    assert_eq!(attempt.step(), AttemptStep::Open);
    attempt.error()
}

async fn fails(options: &ConnectOptions) -> ConnectError {
    let listener = TcpListener::bind(ANY).unwrap();
    let failed = options.connect(listener.local_addr()).await;
    failed.unwrap_err()
}

#[test]
fn silent_peers_are_asked_when_both_ends_were_told_to() {
    run(async {
        let other = TIMES.idle(Duration::from_secs(95)).count(2);
        let (client, server) = connected(
            &ListenOptions::new().keep_alive_with(TIMES),
            &ConnectOptions::new().keep_alive_with(other),
        )
        .await;
        assert_eq!(asks_with(&server), (61, 7, 4));
        assert_eq!(server.keep_alive().unwrap(), Some(TIMES));
        assert_eq!(asks_with(&client), (95, 7, 2));
        assert_eq!(client.keep_alive().unwrap(), Some(other));
    })
    .unwrap();
}

#[test]
fn times_that_were_not_set_are_the_systems() {
    run(async {
        let plain = untouched();
        let interval = plain.tcp_keepalive_interval().unwrap().as_secs();
        let count = plain.tcp_keepalive_retries().unwrap();
        let idle = plain.tcp_keepalive_time().unwrap().as_secs();
        let (client, server) = connected(
            &ListenOptions::new().keep_alive(true),
            &ConnectOptions::new().keep_alive_with(KeepAlive::new().idle(Duration::from_secs(33))),
        )
        .await;
        assert_eq!(asks_with(&server), (idle, interval, count));
        assert_eq!(asks_with(&client), (33, interval, count));
    })
    .unwrap();
}

#[test]
fn the_later_word_on_keep_alive_counts() {
    run(async {
        let (client, server) = connected(
            &ListenOptions::new()
                .keep_alive_with(TIMES)
                .keep_alive(false),
            &ConnectOptions::new()
                .keep_alive(false)
                .keep_alive_with(TIMES),
        )
        .await;
        assert_eq!(server.keep_alive().unwrap(), None);
        assert!(!ask(&server, |socket| socket.keepalive()));
        assert_eq!(client.keep_alive().unwrap(), Some(TIMES));

        let (client, _server) = connected(
            &ListenOptions::new(),
            &ConnectOptions::new().keep_alive(true),
        )
        .await;
        assert!(ask(&client, |socket| socket.keepalive()));
    })
    .unwrap();
}

#[test]
fn keep_alive_of_a_connection_changes_while_it_lives() {
    run(async {
        let (client, server) = connected(&ListenOptions::new(), &ConnectOptions::new()).await;
        for stream in [&client, &server] {
            assert_eq!(stream.keep_alive().unwrap(), None);
            stream.set_keep_alive(TIMES).unwrap();
            assert_eq!(asks_with(stream), (61, 7, 4));
            // What is left open stays; parts of a second are rounded up.
            let changed = KeepAlive::new().interval(Duration::from_millis(8001));
            stream.set_keep_alive(changed).unwrap();
            assert_eq!(asks_with(stream), (61, 9, 4));
            stream.set_keep_alive(None).unwrap();
            assert!(!ask(stream, |socket| socket.keepalive()));
            stream.close();
            let error = stream.set_keep_alive(TIMES).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        }
    })
    .unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn times_that_the_system_does_not_take_are_errors_that_name_them() {
    run(async {
        let zero = TIMES.idle(Duration::ZERO);
        let error = ListenOptions::new().keep_alive_with(zero).bind(ANY);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.starts_with("listening on 127.0.0.1:0: "), "{text}");
        assert!(text.contains("keep-alive's idle time to 0ns"), "{text}");

        let never = TIMES.interval(Duration::MAX);
        let error = fails(&ConnectOptions::new().keep_alive_with(never)).await;
        assert_eq!(failed_option(&error).kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("interval"), "{error}");
        let system = error.source().and_then(Error::source);
        let system: &io::Error = system.unwrap().downcast_ref().unwrap();
        assert_eq!(system.raw_os_error(), Some(libc::EINVAL));

        let (client, server) = connected(&ListenOptions::new(), &ConnectOptions::new()).await;
        let error = client.set_keep_alive(TIMES.count(0)).unwrap_err();
        let text = error.to_string();
        let peer = server.local_addr().unwrap().to_string();
        assert!(text.contains(&peer), "{text}");
        assert!(text.contains("keep-alive's count to 0"), "{text}");
        assert_eq!(client.keep_alive().unwrap(), None);
    })
    .unwrap();
}

#[test]
fn buffers_have_the_sizes_that_were_asked_for() {
    run(async {
        let (client, server) = connected(
            &ListenOptions::new()
                .receive_buffer_size(20_000)
                .send_buffer_size(30_000),
            &ConnectOptions::new()
                .receive_buffer_size(40_000)
                .send_buffer_size(50_000),
        )
        .await;
        let system = |receive, send| {
            let plain = untouched();
            plain.set_recv_buffer_size(receive).unwrap();
            plain.set_send_buffer_size(send).unwrap();
            sizes(SockRef::from(&plain)).unwrap()
        };
        assert_eq!(ask(&server, sizes), system(20_000, 30_000));
        assert_eq!(ask(&client, sizes), system(40_000, 50_000));
    })
    .unwrap();
}

fn sizes(socket: SockRef<'_>) -> io::Result<(usize, usize)> {
    Ok((socket.recv_buffer_size()?, socket.send_buffer_size()?))
}

#[test]
#[cfg(target_os = "linux")]
fn sizes_beyond_the_systems_limit_are_cut_down_to_it() {
    run(async {
        // Larger than a C int: in one, it would be nothing.
        let huge = usize::MAX - usize::MAX / 2;
        let (client, _server) = connected(
            &ListenOptions::new(),
            &ConnectOptions::new()
                .receive_buffer_size(huge)
                .send_buffer_size(huge),
        )
        .await;
        let limit = |name: &str| -> usize {
            let file = format!("/proc/sys/net/core/{name}");
            let text = std::fs::read_to_string(file).unwrap();
            text.trim().parse().unwrap()
        };
        let limits = (2 * limit("rmem_max"), 2 * limit("wmem_max"));
        assert_eq!(ask(&client, sizes), limits);
    })
    .unwrap();
}

#[test]
fn lingering_is_what_was_asked_for() {
    run(async {
        let (client, server) = connected(
            &ListenOptions::new().linger(Duration::from_secs(3)),
            &ConnectOptions::new().linger(Duration::from_millis(100)),
        )
        .await;
        let system = |stream: &TcpStream| ask(stream, |socket| socket.linger());
        assert_eq!(system(&server), Some(Duration::from_secs(3)));
        // Not zero, which means something else.
        assert_eq!(system(&client), Some(Duration::from_secs(1)));
        for stream in [&client, &server] {
            stream.set_linger(Duration::ZERO).unwrap();
            assert_eq!(system(stream), Some(Duration::ZERO));
            assert_eq!(stream.linger().unwrap(), Some(Duration::ZERO));
            stream.set_linger(None).unwrap();
            assert_eq!(system(stream), None);
            assert_eq!(stream.linger().unwrap(), None);
            stream.close();
            let error = stream.set_linger(None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        }
    })
    .unwrap();
}

/// What the other end sees of a connection that was used, then closed or dropped.
async fn end_of(leaving: TcpStream, staying: &TcpStream, close: bool) -> io::Result<usize> {
    leaving.write_all(b"all").await.unwrap();
    let mut buffer = [0; 16];
    assert_eq!(staying.read(&mut buffer).await.unwrap(), 3);
    if close {
        leaving.close();
    }
    drop(leaving);
    staying.read(&mut buffer).await
}

#[test]
fn who_lingers_for_no_time_resets() {
    run(async {
        let (none, zero) = (None, Some(Duration::ZERO));
        for close in [true, false] {
            for (at_server, at_client) in [(none, none), (zero, none), (none, zero)] {
                let listen = ListenOptions::new().linger(at_server);
                let connect = ConnectOptions::new().linger(at_client);
                let seen = |end: io::Result<usize>, linger: Option<Duration>| match linger {
                    None => assert_eq!(end.unwrap(), 0),
                    Some(_) => assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset),
                };
                let (client, server) = connected(&listen, &connect).await;
                seen(end_of(server, &client, close).await, at_server);
                let (client, server) = connected(&listen, &connect).await;
                seen(end_of(client, &server, close).await, at_client);
            }
            let (client, server) = connected(&ListenOptions::new(), &ConnectOptions::new()).await;
            client.set_linger(Duration::ZERO).unwrap();
            let error = end_of(client, &server, close).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    })
    .unwrap();
}

#[test]
fn servers_hand_the_options_on() {
    run(async {
        let listen = ListenOptions::new()
            .keep_alive_with(TIMES)
            .receive_buffer_size(20_000)
            .linger(Duration::ZERO);
        // The peer says when to end it: the reset must not come while it still connects.
        let handler = async |mut reader: StreamReader, writer: StreamWriter| {
            let seen = writer.with_fd(|fd| {
                let socket = SockRef::from(&fd);
                let idle = socket.tcp_keepalive_time()?;
                let linger = socket.linger()?;
                Ok(format!(
                    "{idle:?} {} {linger:?}",
                    socket.recv_buffer_size()?
                ))
            })?;
            writer.write_all(seen.as_bytes()).await?;
            reader.read_exact(&mut [0; 4]).await?;
            Ok::<(), Box<dyn Error>>(())
        };
        let server = ServerOptions::new()
            .listen(listen)
            .serve(handler, ANY)
            .await
            .unwrap();
        let client = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
        let mut seen = vec![0; 100];
        let count = client.read(&mut seen).await.unwrap();
        let plain = untouched();
        plain.set_recv_buffer_size(20_000).unwrap();
        let size = plain.recv_buffer_size().unwrap();
        let expected = format!("61s {size} Some(0ns)");
        assert_eq!(String::from_utf8_lossy(&seen[..count]), expected);
        client.write_all(b"read").await.unwrap();
        let error = client.read(&mut seen).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        server.close();
    })
    .unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_keeps_to_its_device() {
    // Before Linux 5.7 it takes a capability.
    if let Err(error) = untouched().bind_device(Some(b"lo")) {
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        return println!("sockets may not be bound to an interface here: {error}");
    }
    run(async {
        let device = |stream: &TcpStream| ask(stream, |socket| socket.device());
        let (client, server) = connected(
            &ListenOptions::new().bind_device("lo"),
            &ConnectOptions::new(),
        )
        .await;
        assert_eq!(device(&server).as_deref(), Some(&b"lo"[..]));
        assert_eq!(device(&client), None);
        client.write_all(b"in").await.unwrap();
        assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 2);

        let (client, server) = connected(
            &ListenOptions::new(),
            &ConnectOptions::new().bind_device("lo"),
        )
        .await;
        assert_eq!(device(&client).as_deref(), Some(&b"lo"[..]));
        assert_eq!(device(&server), None);
        server.write_all(b"out").await.unwrap();
        assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 3);
    })
    .unwrap();
}

#[test]
fn a_device_that_cannot_be_is_an_error_that_names_it() {
    run(async {
        // The first one could be there. The system would take the second for "lo", and the last for no restriction at all.
        for name in ["no-such-dev", "lo\0", "lo-and-far-too-long", ""] {
            let quoted = format!("{name:?}");
            let error = ListenOptions::new().bind_device(name).bind(ANY);
            let error = error.unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("listening on 127.0.0.1:0: "), "{text}");
            assert!(text.contains(&quoted), "{text}");

            let failed = fails(&ConnectOptions::new().bind_device(name)).await;
            assert!(failed.to_string().contains(&quoted), "{failed}");
            assert_eq!(failed_option(&failed).kind(), error.kind());
            #[cfg(target_os = "linux")]
            if name == "no-such-dev" {
                let system = failed.source().and_then(Error::source);
                let system: &io::Error = system.unwrap().downcast_ref().unwrap();
                assert_eq!(system.raw_os_error(), Some(libc::ENODEV));
            } else {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
            }
        }
    })
    .unwrap();
}

#[test]
fn one_set_of_options_serves_many() {
    run(async {
        let connect = ConnectOptions::new().keep_alive_with(TIMES);
        let listener = TcpListener::bind(ANY).unwrap();
        // The first address refuses, being taken without anybody listening; the second attempt's socket is set up, too.
        let taken = untouched();
        taken.bind(&SocketAddr::from(ANY).into()).unwrap();
        let refusing = taken.local_addr().unwrap().as_socket().unwrap();
        let targets = [refusing, listener.local_addr()];
        for _ in 0..2 {
            let stream = connect.connect(targets).await.unwrap();
            assert_eq!(stream.peer_addr(), Some(listener.local_addr()));
            assert_eq!(asks_with(&stream), (61, 7, 4));
        }
    })
    .unwrap();
}
