//! Against programs of others: Python's asyncio on both sides, and curl.

mod recorder;

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use recorder::*;
use rondel_loop::{run, to_thread};
use rondel_net::{
    NameInfoOptions, Protocol, Transport, create_connection, create_server, name_info,
};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Whether `name` is installed. If not, the test is skipped, which is said; with `RONDEL_PEERS=required` it fails.
fn has_peer(name: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    if !found {
        let required = std::env::var_os("RONDEL_PEERS").is_some_and(|peers| peers == "required");
        assert!(!required, "{name} is required and not installed");
        // Nowhere to report a failing standard error to.
        let _ = writeln!(std::io::stderr(), "skipped 1 test: {name} is not installed");
    }
    found
}

/// Runs a program to its end, away from the loop.
async fn output(mut command: Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = to_thread(move || command.stdin(Stdio::null()).output().unwrap())
        .await
        .unwrap();
    assert!(
        status.success(),
        "{status}: {}",
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).unwrap()
}

fn python(program: &str, port: u16) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", program, &port.to_string()]);
    command
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if transport.write(data).is_ok_and(|over| over) {
            transport.pause_reading();
        }
    }

    fn resume_writing(&mut self, transport: &Transport) {
        transport.resume_reading();
    }
}

#[test]
fn a_megabyte_goes_through_python_and_back() {
    const CLIENT: &str = r#"
import asyncio, hashlib, sys

async def main():
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    sent = bytes(i * i % 251 for i in range(1 << 20))
    async def send():
        for at in range(0, len(sent), 5000):
            writer.write(sent[at:at + 5000])
            await writer.drain()
        writer.write_eof()
    task = asyncio.create_task(send())
    received = await reader.read(-1)
    await task
    writer.close()
    await writer.wait_closed()
    print("same" if received == sent else f"{len(received)} of {len(sent)}")

asyncio.run(main())
"#;
    if !has_peer("python3") {
        return;
    }
    run(async {
        let server = create_server(|| Echo, ANY).await.unwrap();
        let port = server.local_addrs()[0].port();
        assert_eq!(output(python(CLIENT, port)).await, "same\n");
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

#[test]
fn pythons_protocols_and_ours_are_told_the_same() {
    /// Prints what its protocol is told, and serves one connection.
    const SERVER: &str = r#"
import asyncio, sys

class Told(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.told = ["made"]
        transport.write(b"welcome")
    def data_received(self, data):
        self.told.append(f"data {data.decode()}")
    def eof_received(self):
        self.told.append("end")
        self.transport.write(", ".join(self.told).encode())
    def connection_lost(self, exc):
        print(", ".join(self.told), "lost", exc, flush=True)
        done.set_result(None)

async def main():
    global done
    done = asyncio.get_running_loop().create_future()
    server = await asyncio.get_running_loop().create_server(Told, "127.0.0.1", int(sys.argv[1]))
    await done
    server.close()

asyncio.run(main())
"#;
    if !has_peer("python3") {
        return;
    }
    run(async {
        let port = std::net::TcpListener::bind(ANY)
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = rondel_loop::spawn(output(python(SERVER, port)));
        let log = Log::default();
        let (transport, _) = loop {
            // It takes a moment until it listens.
            let recorder = Recorder::acting(&log, |transport, event| {
                if let Event::Data(data) = event
                    && data == b"welcome"
                {
                    transport.write(b"thanks").unwrap();
                    transport.write_eof().unwrap();
                }
            });
            match create_connection(|| recorder, (Ipv4Addr::LOCALHOST, port)).await {
                Ok(connected) => break connected,
                Err(_) => rondel_loop::sleep(Duration::from_millis(5)).await,
            }
            assert!(!server.is_finished(), "it ended without having served");
        };
        transport.wait_closed().await.unwrap();
        log.assert_contract();
        assert_eq!(log.data(), b"welcomemade, data thanks, end");
        assert!(log.has(&Event::End) && log.has(&Event::Lost(None)));
        assert_eq!(
            server.await.unwrap(),
            "made, data thanks, end lost None\n",
            "and so is asyncio's"
        );
    })
    .unwrap();
}

#[test]
fn curl_gets_a_page() {
    /// Enough of HTTP for one answer.
    #[derive(Default)]
    struct Page(Vec<u8>);

    impl Protocol for Page {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            self.0.extend_from_slice(data);
            if self.0.ends_with(b"\r\n\r\n") {
                let body = "a round\n".repeat(50_000);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let parts = [head.as_bytes(), body.as_bytes()].map(std::io::IoSlice::new);
                transport.write_vectored(&parts).unwrap();
                transport.close();
            }
        }
    }

    if !has_peer("curl") {
        return;
    }
    run(async {
        let server = create_server(Page::default, ANY).await.unwrap();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*"])
            .arg(format!("http://{}/", server.local_addrs()[0]));
        let page = output(curl).await;
        assert_eq!(page.len(), 400_000);
        assert!(page.starts_with("a round\n") && page.ends_with("a round\n"));
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

#[test]
fn addresses_are_named_as_python_names_them() {
    if !has_peer("python3") {
        return;
    }
    run(async {
        let program = "import socket, sys\n\
             for host, port, flags in [('127.0.0.1', 80, 0), ('127.0.0.1', 80, 1), ('127.0.0.1', 53, 3), ('::1', 22, 2)]:\n\
             \u{20}   print(*socket.getnameinfo((host, port), flags))";
        let expected = output(python(program, 0)).await;
        let plain = NameInfoOptions::new();
        let mut ours = String::new();
        for (address, options) in [
            ("127.0.0.1:80", plain),
            ("127.0.0.1:80", plain.numeric_host(true)),
            ("127.0.0.1:53", plain.numeric_host(true).numeric_service(true)),
            ("[::1]:22", plain.numeric_service(true)),
        ] {
            let info = name_info(address.parse().unwrap(), options).await.unwrap();
            ours += &format!("{} {}\n", info.host, info.service);
        }
        assert_eq!(ours, expected);
        // TEST-NET-1 (RFC 5737): nobody's, so it has no name, or nobody says so.
        let nobody = "192.0.2.1:9".parse().unwrap();
        let error = name_info(nobody, plain.name_required(true)).await.unwrap_err();
        assert_eq!(error.address(), nobody);
        assert!(error.to_string().starts_with("name 192.0.2.1:9: "), "{error}");
    })
    .unwrap();
}
