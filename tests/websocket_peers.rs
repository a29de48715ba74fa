//! WebSockets with an independent implementation at the other end: Python's `websockets` under asyncio.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rondel::prelude::*;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::Request;
use rondel_hyper::http_body_util::Full;
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::RequestBody;
use rondel_hyper::{BoxError, HttpServer};
use rondel_tests::python_with;
use rondel_websocket::{
    CloseCode, CloseFrame, Connect, Message, MessageProtocol, MessageTransport, WebSocket,
    WebSocketError, WebSocketProtocol, upgrade,
};

/// Sends texts and bytes of all sizes in all forms, and says `done` if each came back.
const CLIENT: &str = r#"
import asyncio, os, sys, websockets

async def main(url):
    async with websockets.connect(url, max_size=None, compression=None) as socket:
        for text in ["", "hello", "ζ 🦀", "long " * 100000]:
            await socket.send(text)
            assert await socket.recv() == text
        for size in [0, 1, 125, 126, 65535, 65536, 3000000]:
            data = os.urandom(size)
            await socket.send(data)
            assert await socket.recv() == data
        # One message in many frames.
        await socket.send(piece for piece in ["a", "b" * 70000, "", "c"])
        assert await socket.recv() == "a" + "b" * 70000 + "c"
        waiter = await socket.ping(b"well?")
        await asyncio.wait_for(waiter, 10)
        await socket.close(4001, "enough")
        assert socket.close_code == 4001
    # What is offered and not taken is no obstacle.
    async with websockets.connect(url) as socket:
        await socket.send("compressed, if you like")
        assert await socket.recv() == "compressed, if you like"
    print("done")

asyncio.run(main(sys.argv[1]))
"#;

const SERVER: &str = r#"
import asyncio, websockets

async def echo(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4002, "as you wish")
            return
        await socket.send(message)

async def main():
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None, subprotocols=["chat"]) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
"#;

async fn python_visits(python: &'static str, url: String) {
    let said = to_thread(move || {
        let output = Command::new(python)
            .args(["-c", CLIENT, &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    assert_eq!(said.await.unwrap(), "done\n");
}

async fn echo(mut socket: WebSocket) -> Result<(), WebSocketError> {
    while let Some(message) = socket.receive().await? {
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

#[test]
fn python_visits_a_server_of_streams() {
    let Some(python) = python_with("websockets") else {
        return;
    };
    run(async {
        let handler = async |reader: StreamReader, writer: StreamWriter| {
            echo(WebSocket::accept(reader, writer).await?).await
        };
        let server = start_server(handler, "127.0.0.1:0").await.unwrap();
        python_visits(python, format!("ws://{}/", server.local_addrs()[0])).await;
    })
    .unwrap();
}

#[test]
fn python_visits_a_server_of_protocols() {
    struct Echo;
    impl MessageProtocol for Echo {
        fn message_received(&mut self, transport: &MessageTransport, message: Message) {
            if message.is_text() || message.is_binary() {
                transport.send(message).unwrap();
            }
        }

        fn lost(&mut self, error: Option<WebSocketError>) {
            assert!(error.is_none(), "{error:?}");
        }
    }
    let Some(python) = python_with("websockets") else {
        return;
    };
    run(async {
        let server = create_server(|| WebSocketProtocol::server(Echo), "127.0.0.1:0");
        let server = server.await.unwrap();
        python_visits(python, format!("ws://{}/", server.local_addrs()[0])).await;
    })
    .unwrap();
}

#[test]
fn python_visits_an_http_server() {
    let Some(python) = python_with("websockets") else {
        return;
    };
    run(async {
        let service = service_fn(async |mut request: Request<RequestBody>| {
            let (response, upgrading) = upgrade(&mut request)?;
            spawn(async move { echo(upgrading.finish().await?).await }).detach_reported();
            Ok::<_, BoxError>(response.map(|()| Full::<Bytes>::default()))
        });
        let server = HttpServer::new()
            .serve(service, "127.0.0.1:0")
            .await
            .unwrap();
        python_visits(python, format!("ws://{}/", server.local_addrs()[0])).await;
    })
    .unwrap();
}

struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn python_is_visited() {
    let Some(python) = python_with("websockets") else {
        return;
    };
    let child = Command::new(python)
        .args(["-c", SERVER])
        .stdout(Stdio::piped())
        .spawn();
    let mut python = Python(child.unwrap());
    let mut port = String::new();
    BufReader::new(python.0.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    run(async {
        let url = format!("ws://127.0.0.1:{}/", port.trim());
        let mut socket = Connect::new().protocol("chat").open(&url).await?;
        assert_eq!(
            socket.response().headers()["sec-websocket-protocol"],
            "chat"
        );
        for text in ["", "hello", "ζ 🦀", &"long ".repeat(100_000)] {
            socket.send(text).await?;
            assert_eq!(socket.receive().await?, Some(Message::text(text)));
        }
        let bytes = vec![7; 3_000_000];
        socket.send(bytes.clone()).await?;
        assert!(socket.receive().await?.unwrap().into_data() == bytes);
        socket.send("close").await?;
        let farewell = CloseFrame {
            code: CloseCode::Library(4002),
            reason: "as you wish".into(),
        };
        assert_eq!(
            socket.receive().await?,
            Some(Message::Close(Some(farewell)))
        );
        assert_eq!(socket.receive().await?, None);

        let socket = WebSocket::connect(&url).await?;
        socket.close().await
    })
    .unwrap()
    .unwrap();
}
