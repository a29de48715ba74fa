//! TLS over real sockets, between two ends of ours and with peers that misbehave.

mod authority;
mod cancel;
mod pair;

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authority::Authority;
use cancel::cancel_at;
use pair::{both_ours, pair, pattern};
use rondel_loop::{EventLoop, LocalLoop, run, spawn, timeout, yield_now};
use rondel_net::tls::{TlsError, TlsPhase};
use rondel_net::{
    ConnectErrorKind, ConnectOptions, ConnectPhase, Protocol, ReadError, Server, ServerOptions,
    StreamReader, StreamWriter, TcpStream, Transport,
};
use rondel_poll::{Clocked, ManualClock, default_selector};

const HOUR: Duration = Duration::from_secs(3600);

type Streams = (StreamReader, StreamWriter);

/// Both ends of a connection that speaks TLS.
async fn tls_pair(authority: &Authority) -> (Streams, Streams) {
    let (client, server) = both_ours();
    let (client_tls, server_tls) = (authority.client(), authority.server());
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let server = spawn(async move { server_tls.start(server_in, server_out).await });
    let client = client_tls
        .start(client_in, client_out, "localhost")
        .await
        .unwrap();
    (client, server.await.unwrap().unwrap())
}

async fn serve<R>(
    authority: &Authority,
    handler: impl AsyncFn(StreamReader, StreamWriter) -> R + 'static,
) -> Server
where
    R: rondel_net::HandlerOutcome + 'static,
{
    ServerOptions::new()
        .tls(authority.server())
        .serve(handler, "127.0.0.1:0")
        .await
        .unwrap()
}

fn port(server: &Server) -> u16 {
    server.local_addrs()[0].port()
}

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.receive(<[u8]>::to_vec).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write_all(&data).await?;
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn what_one_end_writes_the_other_reads_both_ways_at_once() {
    run(async {
        let authority = Authority::new();
        let ((mut client_in, client_out), (mut server_in, server_out)) = tls_pair(&authority).await;
        let long = pattern(0, 5_000_000);
        let there = spawn({
            let long = long.clone();
            async move {
                client_out.write_all(&long).await.unwrap();
                client_out.write_eof().unwrap();
                client_out
            }
        });
        let back = spawn({
            let long = long.clone();
            async move {
                server_out.write_all(&long).await.unwrap();
                server_out.write_eof().unwrap();
                server_out
            }
        });
        let came_back = spawn(async move { client_in.read_to_end(10_000_000).await.unwrap() });
        assert!(server_in.read_to_end(10_000_000).await.unwrap() == long);
        assert!(came_back.await.unwrap() == long);
        for writer in [there.await.unwrap(), back.await.unwrap()] {
            writer.close();
            writer.wait_closed().await.unwrap();
        }
    })
    .unwrap();
}

/// Two ends of ours with somebody in the middle, who carries everything and keeps it.
fn tapped() -> (TcpStream, TcpStream, Arc<Mutex<Vec<u8>>>) {
    let (client, near) = pair();
    let (server, far) = pair();
    let wire = Arc::new(Mutex::new(Vec::new()));
    let ends = [
        (near.try_clone().unwrap(), far.try_clone().unwrap()),
        (far, near),
    ];
    for (mut from, mut to) in ends {
        let wire = Arc::clone(&wire);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                wire.lock().unwrap().extend_from_slice(&buffer[..count]);
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
    (client, server, wire)
}

/// Writes in every way that a transport has, when it hears something.
struct Answer;

impl Protocol for Answer {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) {
        transport.write(b"SECRET one ").unwrap();
        transport.write(b"SECRET two ").unwrap();
        let parts = [IoSlice::new(b"SECRET "), IoSlice::new(b"three ")];
        transport.write_vectored(&parts).unwrap();
        transport.write(&b"SECRET ".repeat(20_000)).unwrap();
        transport.close();
    }
}

#[test]
fn nothing_of_what_is_written_is_on_the_wire_in_clear() {
    run(async {
        let authority = Authority::new();
        let (client, server, wire) = tapped();
        let (transport, _) = server.into_transport(Answer);
        let server_tls = authority.server();
        let started = spawn(async move { server_tls.start_transport(&transport).await });
        // What the client sends first must not come to the protocol any more.
        yield_now().await;
        let (reader, writer) = client.into_split();
        let (mut reader, writer) = authority
            .client()
            .start(reader, writer, "localhost")
            .await
            .unwrap();
        started.await.unwrap().unwrap();
        writer.write(b"SECRET a ").unwrap();
        writer.write(b"SECRET b ").unwrap();
        let parts = [IoSlice::new(b"SECRET "), IoSlice::new(b"c ")];
        writer.write_vectored(&parts).unwrap();
        writer.write_all(&b"SECRET ".repeat(20_000)).await.unwrap();
        writer.set_hard_limit(1000);
        writer.write_all(&b"SECRET ".repeat(20_000)).await.unwrap();
        let answered = reader.read_to_end(1 << 20).await.unwrap();
        assert_eq!(answered.len(), 36 - 1 + 140_000);
        writer.close();
        writer.wait_closed().await.unwrap();
        let wire = wire.lock().unwrap();
        // The server closes once it has answered, however much of what the client wrote has come through by then.
        assert!(wire.len() > 140_000 + 16);
        assert!(!wire.windows(6).any(|bytes| bytes == b"SECRET"));
    })
    .unwrap();
}

#[test]
fn streams_reach_a_server_by_name_and_see_what_was_agreed_on() {
    run(async {
        let authority = Authority::new();
        let server = serve(&authority, echo).await;
        let options = ConnectOptions::new().tls(authority.client());
        let (mut reader, writer) = options
            .open_connection(("localhost", port(&server)))
            .await
            .unwrap();
        writer.write_all(b"hello\n").await.unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"hello\n");
        let info = writer.tls().unwrap();
        assert!(info.version.is_some() && info.cipher_suite.is_some());
        assert_eq!(info.peer_certificates.unwrap().len(), 1);
        writer.close();
        writer.wait_closed().await.unwrap();
        assert!(server.shutdown(HOUR).await.is_clean());
    })
    .unwrap();
}

/// Sends back what it gets.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data).unwrap();
    }
}

/// Says something, and keeps what it hears and how it ended.
#[derive(Clone, Default)]
struct Caller {
    heard: Rc<RefCell<Vec<u8>>>,
    events: Rc<RefCell<Vec<&'static str>>>,
}

impl Protocol for Caller {
    fn connection_made(&mut self, transport: &Transport) {
        assert!(transport.tls().is_some(), "hands have been shaken by now");
        self.events.borrow_mut().push("made");
        transport.write(&pattern(0, 100_000)).unwrap();
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.heard.borrow_mut().extend_from_slice(data);
        if self.heard.borrow().len() == 100_000 {
            transport.close();
        }
    }

    fn connection_lost(&mut self, _: &Transport, error: Option<io::Error>) {
        assert!(error.is_none(), "{error:?}");
        self.events.borrow_mut().push("lost");
    }
}

#[test]
fn protocols_at_both_ends_are_called_with_clear_text() {
    run(async {
        let authority = Authority::new();
        let server = ServerOptions::new()
            .tls(authority.server())
            .serve_protocol(|| Echo, "127.0.0.1:0")
            .await
            .unwrap();
        let caller = Caller::default();
        let (transport, _) = ConnectOptions::new()
            .tls(authority.client())
            .create_connection(|| caller.clone(), ("localhost", port(&server)))
            .await
            .unwrap();
        transport.wait_closed().await.unwrap();
        yield_now().await;
        assert!(*caller.heard.borrow() == pattern(0, 100_000));
        assert_eq!(*caller.events.borrow(), ["made", "lost"]);
        assert!(server.shutdown(HOUR).await.is_clean());
    })
    .unwrap();
}

#[test]
fn a_certificate_that_is_not_for_the_host_is_refused_with_everything_named() {
    run(async {
        let authority = Authority::new();
        let server = serve(&authority, echo).await;
        let options = ConnectOptions::new()
            .tls(authority.client())
            .server_name("example.test");
        let error = options
            .open_connection(("localhost", port(&server)))
            .await
            .unwrap_err();
        assert_eq!(error.phase(), ConnectPhase::Tls);
        let said = error.to_string();
        assert!(
            said.starts_with(&format!(
                "connect to localhost:{}: TLS handshake with ",
                port(&server)
            )) && said.ends_with("the peer's certificate is for localhost, not for example.test"),
            "{said}"
        );
        let ConnectErrorKind::Tls(source) = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!(TlsError::of(source).unwrap().phase(), TlsPhase::Handshake);
        assert!(server.shutdown(HOUR).await.is_clean());
    })
    .unwrap();
}

#[test]
fn without_roots_in_common_neither_end_goes_on() {
    run(async {
        let (us, them) = (Authority::new(), Authority::new());
        let server = serve(&them, echo).await;
        let error = ConnectOptions::new()
            .tls(us.client())
            .open_connection(("localhost", port(&server)))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("not trusted here"), "{error}");
        assert!(server.shutdown(HOUR).await.is_clean());
    })
    .unwrap();
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_sent() {
    run(async {
        let authority = Authority::new();
        let (ours, _peer) = pair();
        let (reader, writer) = ours.into_split();
        let error = authority
            .client()
            .start(reader, writer, "not a host")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    })
    .unwrap();
}

#[test]
fn a_server_that_is_none_is_told_from_one_that_breaks_off() {
    run(async {
        let authority = Authority::new();
        for (answer, words) in [
            (&b"220 mail.example.test ESMTP\r\n"[..], "not TLS"),
            (b"", "closed the connection"),
        ] {
            let (ours, mut peer) = pair();
            peer.write_all(answer).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            let (reader, writer) = ours.into_split();
            let error = authority
                .client()
                .start(reader, writer, "localhost")
                .await
                .unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    })
    .unwrap();
}

#[test]
fn garbage_costs_a_server_the_connection_and_nothing_else() {
    run(async {
        let authority = Authority::new();
        let server = serve(&authority, echo).await;
        let addr = server.local_addrs()[0];
        let mut peer = std::net::TcpStream::connect(addr).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let answer = rondel_loop::to_thread(move || {
            let mut answer = Vec::new();
            let _ = peer.read_to_end(&mut answer);
            answer
        })
        .await
        .unwrap();
        assert_eq!(answer[0], 21, "an alert says why");
        let (mut reader, writer) = ConnectOptions::new()
            .tls(authority.client())
            .open_connection(("localhost", addr.port()))
            .await
            .unwrap();
        writer.write_all(b"still here\n").await.unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"still here\n");
        drop((reader, writer));
        assert!(server.shutdown(HOUR).await.is_clean());
    })
    .unwrap();
}

#[test]
fn an_end_without_farewell_is_an_error_and_what_came_before_is_kept() {
    run(async {
        let authority = Authority::new();
        let (client, server, _) = tapped();
        let (client_in, client_out) = client.into_split();
        let (server_in, server_out) = server.into_split();
        let server_tls = authority.server();
        let server = spawn(async move { server_tls.start(server_in, server_out).await.unwrap() });
        let (mut reader, _writer) = authority
            .client()
            .start(client_in, client_out, "localhost")
            .await
            .unwrap();
        let (_server_in, server_out) = server.await.unwrap();
        server_out.write_all(b"half a mess").await.unwrap();
        // Behind the back of TLS, as a peer that dies does.
        server_out
            .with_fd(|fd| Ok(rustix::net::shutdown(fd, rustix::net::Shutdown::Write)?))
            .unwrap();
        let error = reader.read_line().await.unwrap_err();
        let ReadError::Io(error) = error else {
            panic!("{error:?}")
        };
        assert!(TlsError::of(&error).unwrap().is_truncated(), "{error}");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(reader.buffer(), b"half a mess");
        server_out.abort();
    })
    .unwrap();
}

#[test]
fn a_farewell_is_an_end_and_the_other_way_stays_open() {
    run(async {
        let authority = Authority::new();
        let ((mut client_in, client_out), (mut server_in, server_out)) = tls_pair(&authority).await;
        client_out.write_all(b"question").await.unwrap();
        client_out.write_eof().unwrap();
        assert_eq!(server_in.read_to_end(100).await.unwrap(), b"question");
        server_out.write_all(b"answer").await.unwrap();
        server_out.write_eof().unwrap();
        assert_eq!(client_in.read_to_end(100).await.unwrap(), b"answer");
        assert!(client_out.write(b"more").is_err());
    })
    .unwrap();
}

#[test]
fn closing_waits_for_the_peers_farewell_and_not_for_ever() {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    lp.run_until_complete(async {
        let authority = Authority::new();
        let ((_client_in, client_out), (mut server_in, server_out)) = tls_pair(&authority).await;
        client_out.close();
        assert_eq!(server_in.read_to_end(100).await.unwrap(), b"");
        let closed = spawn(async move { client_out.wait_closed().await });
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!closed.is_finished(), "the peer has not said its own");
        clock.advance(Duration::from_secs(30));
        closed.await.unwrap().unwrap();
        drop((server_in, server_out));
    })
    .unwrap();
}

#[test]
fn a_peer_that_is_silent_is_given_up_after_the_handshakes_limit() {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    lp.run_until_complete(async {
        let authority = Authority::new();
        let (ours, _peer) = pair();
        let (reader, writer) = ours.into_split();
        let tls = authority
            .client()
            .handshake_timeout(7 * Duration::from_secs(1));
        let started = spawn(async move { tls.start(reader, writer, "localhost").await });
        yield_now().await;
        clock.advance(Duration::from_secs(6));
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!started.is_finished());
        clock.advance(Duration::from_secs(1));
        let error = started.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(TlsError::of(&error).unwrap().is_timeout());
    })
    .unwrap();
}

#[test]
fn one_limit_covers_connecting_and_the_handshake() {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    lp.run_until_complete(async {
        let authority = Authority::new();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = silent.local_addr().unwrap();
        let options = ConnectOptions::new()
            .timeout(Duration::from_secs(5))
            .tls(authority.client());
        let connecting = spawn(async move { options.open_connection(addr).await });
        let accepted = rondel_loop::to_thread(move || silent.accept())
            .await
            .unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
        clock.advance(Duration::from_secs(5));
        let error = connecting.await.unwrap().unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(error.phase(), ConnectPhase::Tls);
        drop(accepted);
    })
    .unwrap();
}

#[test]
fn tls_runs_inside_tls() {
    run(async {
        let (outer, inner) = (Authority::new(), Authority::new());
        let ((client_in, client_out), (server_in, server_out)) = tls_pair(&outer).await;
        let server_tls = inner.server();
        let server = spawn(async move { server_tls.start(server_in, server_out).await.unwrap() });
        let (mut client_in, client_out) = inner
            .client()
            .start(client_in, client_out, "localhost")
            .await
            .unwrap();
        let (mut server_in, server_out) = server.await.unwrap();
        let long = pattern(7, 1_000_000);
        let sent = spawn({
            let long = long.clone();
            async move {
                client_out.write_all(&long).await.unwrap();
                client_out.close();
                client_out
            }
        });
        assert!(server_in.read_to_end(2_000_000).await.unwrap() == long);
        server_out.write_all(b"received").await.unwrap();
        drop((server_in, server_out));
        assert_eq!(client_in.read_to_end(100).await.unwrap(), b"");
        sent.await.unwrap().wait_closed().await.unwrap();
    })
    .unwrap();
}

#[test]
fn what_arrived_with_the_last_words_in_clear_belongs_to_tls() {
    run(async {
        let authority = Authority::new();
        let (client, server) = both_ours();
        let (client_in, client_out) = client.into_split();
        let (mut server_in, server_out) = server.into_split();
        // The client does not wait for an answer: its hello comes in one piece with the line before.
        client_out.write(b"STARTTLS\n").unwrap();
        let client_tls = authority.client();
        let client =
            spawn(async move { client_tls.start(client_in, client_out, "localhost").await });
        yield_now().await;
        yield_now().await;
        assert_eq!(server_in.read_line().await.unwrap(), b"STARTTLS\n");
        let (mut server_in, server_out) = authority
            .server()
            .start(server_in, server_out)
            .await
            .unwrap();
        let (_client_in, client_out) = client.await.unwrap().unwrap();
        client_out.write_all(b"hidden\n").await.unwrap();
        assert_eq!(server_in.read_line().await.unwrap(), b"hidden\n");
        drop(server_out);
    })
    .unwrap();
}

#[test]
fn a_transport_is_upgraded_and_its_protocol_told_nothing_of_it() {
    run(async {
        let authority = Authority::new();
        let (client, server) = both_ours();
        let caller = Caller::default();
        let (transport, _) = server.into_transport(Echo);
        let server_tls = authority.server();
        let upgraded = spawn({
            let transport = transport.clone();
            async move { server_tls.start_transport(&transport).await }
        });
        // What the client sends first must not come to the protocol any more.
        yield_now().await;
        let (reader, writer) = client.into_split();
        let (mut reader, writer) = authority
            .client()
            .start(reader, writer, "localhost")
            .await
            .unwrap();
        upgraded.await.unwrap().unwrap();
        assert!(transport.tls().is_some());
        writer.write_all(b"hello\n").await.unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"hello\n");
        assert!(caller.events.borrow().is_empty());
        writer.close();
        writer.wait_closed().await.unwrap();
    })
    .unwrap();
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    run(async {
        let authority = Authority::new();
        let server = serve(&authority, echo).await;
        let options = ConnectOptions::new().tls(authority.client());
        let mut resumed = Vec::new();
        for _ in 0..2 {
            let (mut reader, writer) = options
                .open_connection(("localhost", port(&server)))
                .await
                .unwrap();
            writer.write_all(b"x\n").await.unwrap();
            // The ticket comes with the first words of the server at the latest.
            reader.read_line().await.unwrap();
            resumed.push(writer.tls().unwrap().resumed);
            writer.close();
            writer.wait_closed().await.unwrap();
        }
        assert_eq!(resumed, [false, true]);
        assert!(server.shutdown(HOUR).await.is_clean());
    })
    .unwrap();
}

#[test]
fn a_reader_that_stands_still_holds_the_writer_up() {
    run(async {
        let authority = Authority::new();
        let ((_client_in, client_out), (server_in, server_out)) = tls_pair(&authority).await;
        let mut written = 0;
        while timeout(Duration::ZERO, client_out.drain()).await.is_ok() && written < 64 << 20 {
            client_out.write(&[0; 64 * 1024]).unwrap();
            written += 64 * 1024;
        }
        assert!(written < 64 << 20, "what is sent is bounded");
        drop((server_in, server_out));
    })
    .unwrap();
}

#[test]
fn cancelled_at_any_point_of_the_handshake_nothing_is_left_open() {
    run(async {
        let authority = Authority::new();
        // Whatever is made once is made now.
        drop(tls_pair(&authority).await);
        LocalLoop::current().unwrap();
        let (client_tls, server_tls) = (authority.client(), authority.server());
        timeout(HOUR, async {
            for left in 0.. {
                let before = descriptors();
                let (client, server) = both_ours();
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                let server_tls = server_tls.clone();
                let server = spawn(async move {
                    let streams = server_tls.start(server_in, server_out).await;
                    drop(streams);
                });
                let ended =
                    cancel_at(left, client_tls.start(client_in, client_out, "localhost")).await;
                let done = ended.is_some();
                drop(ended);
                server.await.unwrap();
                while descriptors() > before {
                    yield_now().await;
                    rondel_loop::sleep(Duration::from_millis(1)).await;
                }
                if done {
                    assert!(left > 0, "it waits at least once");
                    break;
                }
            }
        })
        .await
        .unwrap();
    })
    .unwrap();
}

#[test]
fn a_thousand_handshakes_leave_nothing_behind() {
    run(async {
        let authority = Authority::new();
        let server = serve(&authority, echo).await;
        let options = ConnectOptions::new().tls(authority.client());
        let target = ("localhost", port(&server));
        drop(options.open_connection(target).await.unwrap());
        let before = descriptors();
        for round in 0..1000 {
            let (reader, writer) = options.open_connection(target).await.unwrap();
            match round % 3 {
                0 => writer.abort(),
                1 => writer.close(),
                _ => {}
            }
            drop((reader, writer));
        }
        assert!(server.shutdown(HOUR).await.is_clean());
        while descriptors() > before {
            rondel_loop::sleep(Duration::from_millis(1)).await;
        }
    })
    .unwrap();
}
