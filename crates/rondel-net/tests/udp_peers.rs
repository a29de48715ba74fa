//! Datagrams exchanged with Python's asyncio, whose endpoint this one is made after.
#![cfg(feature = "udp")]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rondel_loop::{run, timeout};
use rondel_net::{
    DatagramOptions, DatagramProtocol, DatagramTransport, UdpSocket, create_datagram_endpoint,
};

/// An endpoint that says its port, answers each datagram in capitals, and says so of an empty one.
const PEER: &str = r#"
import asyncio

class Peer(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
        print(transport.get_extra_info("sockname")[1], flush=True)

    def datagram_received(self, data, addr):
        if data:
            self.transport.sendto(data.upper(), addr)
        else:
            self.transport.sendto(b"nothing", addr)

async def main():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Peer, local_addr=("127.0.0.1", 0))
    await asyncio.sleep(60)

asyncio.run(main())
"#;

/// The peer's process, ended when it is dropped.
struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the peer; none if there is no Python, unless it is required.
fn python() -> Option<(Python, SocketAddr)> {
    let started = Command::new("python3")
        .args(["-c", PEER])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        let required = std::env::var_os("RONDEL_PEERS").is_some_and(|peers| peers == "required");
        assert!(!required, "python3 is required and not installed");
        // Nowhere to report a failing standard error to.
        let _ = writeln!(
            std::io::stderr(),
            "skipped 1 test: python3 is not installed"
        );
        return None;
    };
    let stdout = child.stdout.take().unwrap();
    let python = Python(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().unwrap();
    Some((python, ([127, 0, 0, 1], port).into()))
}

#[test]
fn a_socket_talks_to_asyncio() {
    let Some((_python, addr)) = python() else {
        return;
    };
    run(async {
        let socket = UdpSocket::bind(([127, 0, 0, 1], 0)).unwrap();
        socket.connect(addr).unwrap();
        let mut buffer = [0; 2000];
        for size in [1, 100, 1400] {
            socket.send(&vec![b'a'; size]).await.unwrap();
            let count = socket.recv(&mut buffer).await.unwrap();
            assert_eq!(buffer[..count], vec![b'A'; size]);
        }
        socket.send(b"").await.unwrap();
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 7);
    })
    .unwrap();
}

#[derive(Default)]
struct Collect {
    received: Vec<Vec<u8>>,
}

impl DatagramProtocol for Collect {
    fn connection_made(&mut self, transport: &DatagramTransport) {
        for verse in [b"round".as_slice(), b"", b"and round"] {
            transport.send(verse).unwrap();
        }
    }

    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        assert_eq!(Some(from), transport.peer_addr());
        self.received.push(data.to_vec());
        if self.received.len() == 3 {
            transport.close();
        }
    }
}

#[test]
fn an_endpoint_talks_to_asyncio() {
    let Some((_python, addr)) = python() else {
        return;
    };
    run(async {
        let options = DatagramOptions::new().remote_addr(addr);
        let (transport, protocol) = create_datagram_endpoint(Collect::default, options)
            .await
            .unwrap();
        timeout(std::time::Duration::from_secs(20), transport.wait_closed())
            .await
            .unwrap();
        let received = protocol.with(|collect, _| std::mem::take(&mut collect.received));
        let expected: [&[u8]; 3] = [b"ROUND", b"nothing", b"AND ROUND"];
        assert_eq!(received.unwrap(), expected);
    })
    .unwrap();
}
