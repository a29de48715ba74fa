//! The bytes of a WebSocket, cut anywhere: the handshake's, headers', bodies'.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use rondel_loop::{run, yield_now};
use rondel_net::{StreamReader, StreamWriter, create_server, open_connection, start_server};
use rondel_websocket::tungstenite::protocol::{Role, WebSocketContext};
use rondel_websocket::{
    Message, MessageProtocol, MessageTransport, WebSocket, WebSocketError, WebSocketProtocol,
};

const HEAD: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What a client's end of the protocol reads and writes, without any connection.
#[derive(Default)]
struct Paper {
    read: Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Paper {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.read.read(out)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Echo;

impl MessageProtocol for Echo {
    fn message_received(&mut self, transport: &MessageTransport, message: Message) {
        if !message.is_close() {
            transport.send(message).unwrap();
        }
    }
}

async fn echo(reader: StreamReader, writer: StreamWriter) -> Result<(), WebSocketError> {
    let mut socket = WebSocket::accept(reader, writer).await?;
    while let Some(message) = socket.receive().await? {
        if !message.is_close() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Says all of it, cut at `places`, to a server of either form; gives what that answers.
fn answered(messages: &[Message], places: &[usize], by_protocol: bool) -> Vec<Message> {
    let mut client = WebSocketContext::new(Role::Client, None);
    let mut paper = Paper::default();
    for message in messages {
        client.write(&mut paper, message.clone()).unwrap();
    }
    client.flush(&mut paper).unwrap();
    client.close(&mut paper, None).unwrap();
    let bytes = [HEAD.as_bytes(), &paper.written].concat();
    let mut places: Vec<_> = places.iter().map(|place| place % bytes.len()).collect();
    places.push(bytes.len());
    places.sort_unstable();

    let heard = run(async {
        let server = match by_protocol {
            true => create_server(|| WebSocketProtocol::server(Echo), "127.0.0.1:0").await,
            false => start_server(echo, "127.0.0.1:0").await,
        };
        let server = server.unwrap();
        let (mut reader, writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        let mut from = 0;
        for place in places {
            writer.write_all(&bytes[from..place]).await.unwrap();
            from = place;
            // So that the pieces arrive as pieces, mostly.
            for _ in 0..65 {
                yield_now().await;
            }
        }
        reader.read_until(b"\r\n\r\n").await.unwrap();
        reader.read_to_end(1 << 20).await.unwrap()
    })
    .unwrap();

    paper.read = Cursor::new(heard);
    let mut answers = Vec::new();
    while let Ok(message) = client.read(&mut paper) {
        if !message.is_close() {
            answers.push(message);
        }
    }
    answers
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "[a-zé🦀]{0,200}".prop_map(Message::text),
        proptest::collection::vec(any::<u8>(), 0..70_000).prop_map(Message::binary),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_the_cut_the_messages_are_the_same(
        messages in proptest::collection::vec(message(), 0..6),
        places in proptest::collection::vec(any::<usize>(), 0..12),
        by_protocol in any::<bool>(),
    ) {
        let answers = answered(&messages, &places, by_protocol);
        prop_assert!(answers == messages, "{} of {}", answers.len(), messages.len());
    }
}
