//! WebSockets against one another, and against what breaks the rules.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt, TryStreamExt, stream};
use rondel_executor::gather;
use rondel_loop::{run, spawn, yield_now};
use rondel_net::{
    Server, StreamReader, StreamWriter, create_connection, create_server, open_connection,
    start_server,
};
use rondel_websocket::http::StatusCode;
use rondel_websocket::{
    CloseCode, CloseFrame, Connect, HandshakeError, Message, MessageProtocol, MessageTransport,
    WebSocket, WebSocketConfig, WebSocketError, WebSocketProtocol,
};

async fn echo(reader: StreamReader, writer: StreamWriter) -> Result<(), WebSocketError> {
    let mut socket = WebSocket::accept(reader, writer).await?;
    while let Some(message) = socket.receive().await? {
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// One that says nothing of clients that leave as they like.
async fn tolerant(reader: StreamReader, writer: StreamWriter) {
    drop(echo(reader, writer).await);
}

async fn start() -> (Server, String) {
    let server = start_server(tolerant, "127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addrs()[0]);
    (server, url)
}

/// A server of protocols, and what each connection was told at its end.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

struct Echo(Log);

impl MessageProtocol for Echo {
    fn opened(&mut self, _: &MessageTransport) {
        self.0.note("opened");
    }

    fn message_received(&mut self, transport: &MessageTransport, message: Message) {
        if message.is_text() || message.is_binary() {
            transport.send(message).unwrap();
        } else if message.is_close() {
            self.0.note("farewell");
        }
    }

    fn lost(&mut self, error: Option<WebSocketError>) {
        self.0.note(match error {
            None => "ended".to_owned(),
            Some(error) => error.to_string(),
        });
    }
}

async fn start_protocols() -> (Server, String, Log) {
    let log = Log::default();
    let noting = log.clone();
    let factory = move || WebSocketProtocol::server(Echo(noting.clone()));
    let server = create_server(factory, "127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addrs()[0]);
    (server, url, log)
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        yield_now().await;
    }
}

/// What every server has to do for every client.
async fn converse(url: &str) -> Result<(), WebSocketError> {
    let mut socket = WebSocket::connect(url).await?;
    for text in ["", "hello", "ζ 🦀", &"long ".repeat(100_000)] {
        socket.send(text).await?;
        assert_eq!(socket.receive().await?, Some(Message::text(text)));
    }
    let bytes: Vec<u8> = (0..3_000_000).map(|at| (at % 251) as u8).collect();
    socket.send(bytes.clone()).await?;
    let answer = socket.receive().await?.unwrap();
    assert!(answer.into_data() == bytes);
    // Many at once, answered in order.
    for number in 0..1000 {
        socket.send(number.to_string()).await?;
    }
    for number in 0..1000 {
        assert_eq!(
            socket.receive().await?,
            Some(Message::text(number.to_string()))
        );
    }
    // A ping is answered without anybody's doing.
    socket.send(Message::Ping("are you there".into())).await?;
    assert_eq!(
        socket.receive().await?,
        Some(Message::Pong("are you there".into()))
    );
    socket.close().await
}

#[test]
fn what_is_sent_comes_back() {
    run(async {
        let (server, url) = start().await;
        converse(&url).await.unwrap();
        until(|| server.connections() == 0).await;
    })
    .unwrap();
}

#[test]
fn a_protocol_does_the_same() {
    run(async {
        let (server, url, log) = start_protocols().await;
        converse(&url).await.unwrap();
        until(|| server.connections() == 0).await;
        assert_eq!(log.take(), ["opened", "farewell", "ended"]);
    })
    .unwrap();
}

#[test]
fn a_clients_end_may_be_a_protocol_too() {
    struct Client {
        heard: Rc<RefCell<Vec<Message>>>,
        over: Rc<Cell<bool>>,
    }
    impl MessageProtocol for Client {
        fn opened(&mut self, transport: &MessageTransport) {
            for word in ["one", "two", "three"] {
                transport.send(word).unwrap();
            }
        }

        fn message_received(&mut self, transport: &MessageTransport, message: Message) {
            self.heard.borrow_mut().push(message);
            if self.heard.borrow().len() == 3 {
                transport.close(None).unwrap();
                assert!(matches!(
                    transport.send("late"),
                    Err(WebSocketError::Closed)
                ));
            }
        }

        fn lost(&mut self, error: Option<WebSocketError>) {
            assert!(error.is_none(), "{error:?}");
            self.over.set(true);
        }
    }
    run(async {
        let (_server, url, log) = start_protocols().await;
        let (heard, over) = (Rc::default(), Rc::new(Cell::new(false)));
        let client = Client {
            heard: Rc::clone(&heard),
            over: Rc::clone(&over),
        };
        let protocol = WebSocketProtocol::client(client, &url).unwrap();
        let address = url["ws://".len()..].trim_end_matches('/');
        create_connection(|| protocol, address).await.unwrap();
        until(|| over.get()).await;
        let words = ["one", "two", "three"].map(Message::text);
        assert_eq!(heard.borrow()[..3], words);
        until(|| log.0.borrow().len() == 3).await;
        assert_eq!(log.take(), ["opened", "farewell", "ended"]);
    })
    .unwrap();
}

#[test]
fn two_tasks_have_a_half_each() {
    run(async {
        let (_server, url) = start().await;
        let (mut reader, writer) = WebSocket::connect(&url).await.unwrap().into_split();
        let second = writer.clone();
        let (heard, ()) = futures_util::join!(
            async {
                let mut heard = 0;
                while let Some(message) = reader.receive().await.unwrap() {
                    heard += usize::from(message.is_text());
                }
                heard
            },
            async {
                for number in 0..500 {
                    writer.send(format!("first {number}")).await.unwrap();
                    second.send(format!("second {number}")).await.unwrap();
                    yield_now().await;
                }
                writer.close(None).await.unwrap();
                assert!(matches!(
                    second.send("late").await,
                    Err(WebSocketError::Closed)
                ));
            }
        );
        // What was under way at the farewell is still answered.
        assert_eq!(heard, 1000);
    })
    .unwrap();
}

#[test]
fn it_is_a_stream() {
    run(async {
        let server = start_server(
            async |reader: StreamReader, writer: StreamWriter| {
                let socket = WebSocket::accept(reader, writer).await?;
                for number in 0..5 {
                    socket.send(number.to_string()).await?;
                }
                socket.close().await
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let url = format!("ws://{}/", server.local_addrs()[0]);
        let socket = WebSocket::connect(&url).await.unwrap();
        let all: Vec<Message> = socket.try_collect().await.unwrap();
        assert_eq!(all.len(), 6);
        assert!(all[5].is_close());
    })
    .unwrap();
}

#[test]
fn it_is_a_sink() {
    run(async {
        let (server, url) = start().await;
        let socket = WebSocket::connect(&url).await.unwrap();
        // Halves by the traits alone.
        let (mut sink, stream) = socket.split();
        let messages = (0..1000).map(|number: u32| Message::from(number.to_string()));
        let sending = async {
            let mut all = stream::iter(messages).map(Ok);
            sink.send_all(&mut all).await?;
            Ok::<_, WebSocketError>(sink)
        };
        let hearing = stream.take(1000).try_collect::<Vec<_>>();
        let (sink, heard) = gather((sending, hearing)).await;
        let heard: Vec<_> = heard.unwrap().iter().map(Message::to_string).collect();
        assert_eq!(heard, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
        let mut sink = sink.unwrap();
        sink.close().await.unwrap();
        sink.close().await.unwrap();
        let late = sink.send(Message::from("late")).await.unwrap_err();
        assert!(matches!(late, WebSocketError::Closed), "{late}");
        until(|| server.connections() == 0).await;
    })
    .unwrap();
}

/// A peer that does not read holds the sink up, and nothing is queued meanwhile but what was taken.
#[test]
fn a_sink_waits_for_a_slow_peer() {
    run(async {
        let silent = |reader, writer| async move {
            let socket = WebSocket::accept(reader, writer).await.unwrap();
            std::future::pending::<()>().await;
            drop(socket);
        };
        let server = start_server(silent, "127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", server.local_addrs()[0]);
        let mut socket = WebSocket::connect(&url).await.unwrap();
        let mut sent = 0;
        while SinkExt::send(&mut socket, Message::from(vec![0; 100_000]))
            .now_or_never()
            .is_some()
        {
            sent += 1;
            assert!(sent < 10_000, "a gigabyte is in nobody's way");
        }
        assert!(
            socket
                .feed(Message::from("one more"))
                .now_or_never()
                .is_none()
        );
        server.abort_clients();
    })
    .unwrap();
}

#[test]
fn a_reason_is_told() {
    run(async {
        let server = start_server(
            async |reader: StreamReader, writer: StreamWriter| {
                let mut socket = WebSocket::accept(reader, writer).await.unwrap();
                let farewell = socket.receive().await.unwrap();
                assert!(socket.receive().await.unwrap().is_none());
                let Some(Message::Close(Some(frame))) = farewell else {
                    panic!("{farewell:?}");
                };
                assert_eq!(
                    (frame.code, frame.reason.as_str()),
                    (CloseCode::Away, "going home")
                );
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let url = format!("ws://{}/", server.local_addrs()[0]);
        let socket = WebSocket::connect(&url).await.unwrap();
        let farewell = CloseFrame {
            code: CloseCode::Away,
            reason: "going home".into(),
        };
        socket.close_with(farewell).await.unwrap();
        let report = server.shutdown(Duration::from_secs(5)).await;
        assert_eq!((report.cancelled, report.aborted), (0, 0));
    })
    .unwrap();
}

#[test]
fn protocols_and_headers_are_agreed_on() {
    run(async {
        let server = start_server(
            async |reader: StreamReader, writer: StreamWriter| {
                let accepted =
                    WebSocket::accept_with(reader, writer, None, |request, mut response| {
                        if request
                            .headers()
                            .get("origin")
                            .is_none_or(|origin| origin != "http://here")
                        {
                            return Err(StatusCode::FORBIDDEN);
                        }
                        assert_eq!(request.uri().path(), "/chat");
                        let asked = &request.headers()["sec-websocket-protocol"];
                        assert_eq!(asked, "chat.v2, chat.v1");
                        response
                            .headers_mut()
                            .insert("sec-websocket-protocol", "chat.v1".parse().unwrap());
                        Ok(response)
                    });
                match accepted.await {
                    Ok(mut socket) => while socket.receive().await.unwrap().is_some() {},
                    Err(WebSocketError::Handshake(HandshakeError::Rejected(status))) => {
                        assert_eq!(status, StatusCode::FORBIDDEN);
                    }
                    Err(error) => panic!("{error}"),
                }
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let url = format!("ws://{}/chat", server.local_addrs()[0]);
        let asking = Connect::new().protocol("chat.v2").protocol("chat.v1");
        let socket = asking
            .clone()
            .header("origin", "http://here")
            .unwrap()
            .open(&url)
            .await
            .unwrap();
        assert_eq!(
            socket.response().headers()["sec-websocket-protocol"],
            "chat.v1"
        );
        socket.close().await.unwrap();
        let refused = asking.open(&url).await.unwrap_err();
        let WebSocketError::Handshake(HandshakeError::Refused(status)) = refused else {
            panic!("{refused}");
        };
        assert_eq!(status, StatusCode::FORBIDDEN);
    })
    .unwrap();
}

#[test]
fn who_asks_for_something_else_is_told() {
    run(async {
        let (server, streams) = start().await;
        let (protocol_server, protocols, log) = start_protocols().await;
        for url in [&streams, &protocols] {
            for (request, status) in [
                ("GET / HTTP/1.1\r\nHost: here\r\n\r\n", "400"),
                ("\0\0\0\r\n\r\n", "400"),
                ("POST / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "400"),
            ] {
                let address = url["ws://".len()..].trim_end_matches('/');
                let (mut reader, writer) = open_connection(address).await.unwrap();
                writer.write_all(request.as_bytes()).await.unwrap();
                let heard = reader.read_to_end(1000).await.unwrap();
                let heard = String::from_utf8_lossy(&heard);
                assert!(
                    heard.starts_with(&format!("HTTP/1.1 {status}")),
                    "{url} {heard}"
                );
            }
        }
        // A head without an end.
        let address = protocols["ws://".len()..].trim_end_matches('/');
        let (mut reader, writer) = open_connection(address).await.unwrap();
        let _ = writer.write_all(&[b'x'; 70_000]).await;
        let _ = reader.read_to_end(1000).await;
        until(|| server.connections() + protocol_server.connections() == 0).await;
        let told = log.take();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(
            told.iter()
                .all(|told| told.starts_with("WebSocket handshake: ")),
            "{told:?}"
        );
    })
    .unwrap();
}

#[test]
fn a_server_of_something_else_is_noticed() {
    run(async {
        for (answer, text) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "the server answers 200 OK"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "what came is no HTTP"),
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Accept: c29tZXRoaW5nIGVsc2U=\r\n\r\n",
                "the header Sec-WebSocket-Accept is missing or wrong",
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\n\r\n",
                "the header Upgrade is missing or wrong",
            ),
            ("", "the connection ended before it was over"),
        ] {
            let server = start_server(
                async move |mut reader: StreamReader, writer: StreamWriter| {
                    reader.read_until(b"\r\n\r\n").await?;
                    writer.write_all(answer.as_bytes()).await?;
                    io::Result::Ok(())
                },
                "127.0.0.1:0",
            )
            .await
            .unwrap();
            let url = format!("ws://{}/", server.local_addrs()[0]);
            let error = WebSocket::connect(&url).await.unwrap_err().to_string();
            assert!(error.starts_with("WebSocket handshake: "), "{error}");
            assert!(error.contains(text), "{error}");
        }
        for (url, text) in [
            ("http://here/", "the URL cannot be used"),
            ("/here", "it names no host"),
            ("not a url", "the URL cannot be used"),
        ] {
            let error = WebSocket::connect(url).await.unwrap_err().to_string();
            assert!(error.contains(text), "{url}: {error}");
        }
    })
    .unwrap();
}

#[test]
fn an_end_without_a_farewell_is_an_error() {
    run(async {
        let (server, url, log) = start_protocols().await;
        let socket = WebSocket::connect(&url).await.unwrap();
        socket.send("x").await.unwrap();
        drop(socket);
        until(|| server.connections() == 0).await;
        let told = log.take();
        assert_eq!(told[0], "opened");
        assert!(told[1].contains("without closing handshake"), "{told:?}");

        // And for a client.
        let (server, url) = start().await;
        let mut socket = WebSocket::connect(&url).await.unwrap();
        until(|| server.connections() == 1).await;
        server.abort_clients();
        let error = socket.receive().await.unwrap_err();
        assert!(
            matches!(error, WebSocketError::Io(_) | WebSocketError::Protocol(_)),
            "{error}"
        );
        assert!(matches!(
            socket.send("x").await,
            Err(WebSocketError::Closed | WebSocketError::Io(_))
        ));
    })
    .unwrap();
}

#[test]
fn broken_frames_and_long_messages_end_it() {
    run(async {
        let (server, url, log) = start_protocols().await;
        let address = url["ws://".len()..].trim_end_matches('/');
        let (mut reader, writer) = open_connection(address).await.unwrap();
        let head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        // Behind the head, in one piece with it: a frame that a client has to mask, and did not.
        let whole = [head.as_bytes(), b"\x81\x05hello"].concat();
        writer.write_all(&whole).await.unwrap();
        let answer = reader.read_until(b"\r\n\r\n").await.unwrap();
        // The example of RFC 6455, 1.3.
        let key = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert!(answer.windows(key.len()).any(|at| at == key));
        let _ = reader.read_to_end(1000).await;
        until(|| server.connections() == 0).await;
        let told = log.take();
        assert!(told[1].contains("unmasked"), "{told:?}");

        let small = WebSocketConfig::default().max_message_size(Some(1000));
        let connect = Connect::new().config(small);
        let mut socket = connect.open(&url).await.unwrap();
        socket.send("y".repeat(1001)).await.unwrap();
        let error = socket.receive().await.unwrap_err().to_string();
        assert!(error.contains("Space limit exceeded"), "{error}");
    })
    .unwrap();
}

/// A peer that does not read holds up whoever sends, and nothing grows without bound.
#[test]
fn sending_waits_for_a_slow_peer() {
    run(async {
        let server = start_server(
            async |reader: StreamReader, writer: StreamWriter| {
                let _socket = WebSocket::accept(reader, writer).await?;
                std::future::pending::<()>().await;
                Ok::<(), WebSocketError>(())
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let url = format!("ws://{}/", server.local_addrs()[0]);
        let socket = WebSocket::connect(&url).await.unwrap();
        let mut sent = 0;
        while socket.send(vec![0; 100_000]).now_or_never().is_some() {
            sent += 1;
            assert!(sent < 10_000, "a gigabyte is in nobody's way");
        }
        server.abort_clients();
    })
    .unwrap();
}

#[test]
fn a_receive_that_is_dropped_loses_nothing() {
    run(async {
        let (_server, url) = start().await;
        let mut socket = WebSocket::connect(&url).await.unwrap();
        let big = "z".repeat(1_000_000);
        socket.send(big.as_str()).await.unwrap();
        // Dropped over and over, wherever it stands.
        let answer = loop {
            if let Some(answer) = socket.receive().now_or_never() {
                break answer.unwrap().unwrap();
            }
            yield_now().await;
        };
        assert!(answer == Message::text(big));
    })
    .unwrap();
}

#[test]
fn many_at_once() {
    run(async {
        let (_server, url, _log) = start_protocols().await;
        let all = (0..100).map(|number| {
            let url = url.clone();
            spawn(async move {
                let mut socket = WebSocket::connect(&url).await.unwrap();
                for round in 0..20 {
                    let text = format!("{number} {round}");
                    socket.send(text.as_str()).await.unwrap();
                    assert_eq!(socket.receive().await.unwrap(), Some(Message::text(text)));
                }
                socket.close().await.unwrap();
            })
        });
        for ended in gather(all.collect::<Vec<_>>()).await {
            ended.unwrap();
        }
    })
    .unwrap();
}
