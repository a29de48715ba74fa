//! socat at the other end: TCP, UDP, Unix streams and datagrams, in both directions.
#![cfg(all(feature = "unix", target_os = "linux"))]

mod socat_process;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondel_loop::{run, timeout};
use rondel_net::{
    DatagramAddr, DatagramOptions, DatagramProtocol, DatagramTransport, Protocol, StreamReader,
    StreamWriter, Transport, UdpSocket, UnixDatagram, UnixDatagramOptions, create_connection,
    create_datagram_endpoint, create_server, create_unix_connection, create_unix_datagram_endpoint,
    create_unix_server, open_connection, open_unix_connection, start_server, start_unix_server,
};
use socat_process::{Serving, has_socat, talk};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
/// For how many seconds socat waits for the other side's end: one that comes, and one that datagrams do not have.
const CONNECTED: &str = "60";
const NO_END: &str = "0.1";
/// What sends everything back, whatever the amount: a pipe would hold socat up as soon as it is full.
const CAT: &str = "EXEC:cat";
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rondel-socat-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A megabyte in which nothing repeats soon.
fn megabyte() -> Vec<u8> {
    (0..1_u32 << 20)
        .map(|n| (n.wrapping_mul(n) % 251) as u8)
        .collect()
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

impl<A: DatagramAddr> DatagramProtocol<A> for Echo {
    fn datagram_received(&mut self, transport: &DatagramTransport<A>, data: &[u8], from: A) {
        transport.send_to(data, from).unwrap();
    }
}

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        let bytes = reader.read_some(64 * 1024).await?;
        if bytes.is_empty() {
            writer.close();
            return writer.wait_closed().await;
        }
        writer.write_all(&bytes).await?;
    }
}

/// Sends a megabyte, ends, and expects it back with an end behind it.
async fn there_and_back((mut reader, writer): (StreamReader, StreamWriter)) {
    let sent = megabyte();
    let sending = async {
        writer.write_all(&sent).await.unwrap();
        writer.write_eof().unwrap();
    };
    let (_, received) = futures_util::join!(sending, reader.read_to_end(1 << 21));
    assert!(
        received.unwrap() == sent,
        "the same bytes in the same order"
    );
    writer.close();
    writer.wait_closed().await.unwrap();
}

/// The same by a protocol.
#[derive(Default)]
struct Sending {
    received: Vec<u8>,
    ended: bool,
}

impl Protocol for Sending {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(&megabyte()).unwrap();
        transport.write_eof().unwrap();
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        self.received.extend_from_slice(data);
    }

    fn eof_received(&mut self, _: &Transport) -> bool {
        self.ended = true;
        false
    }

    fn connection_lost(&mut self, _: &Transport, error: Option<io::Error>) {
        assert!(error.is_none() && self.ended && self.received == megabyte());
    }
}

#[test]
fn socat_is_served_by_tcp() {
    if !has_socat() {
        return;
    }
    run(async {
        let streams = start_server(echo, ANY).await.unwrap();
        let protocols = create_server(|| Echo, ANY).await.unwrap();
        for server in [streams, protocols] {
            let there = format!("TCP:{}", server.local_addrs()[0]);
            // Half-closed by socat once all is sent; then the rest comes, and the end.
            let (well, answer, said) = talk(&there, megabyte(), 0, CONNECTED).await;
            assert!(
                well && answer == megabyte(),
                "{} bytes: {said}",
                answer.len()
            );
            assert!(server.shutdown(PATIENCE).await.is_clean());
        }
    })
    .unwrap();
}

#[test]
fn socat_serves_us_by_tcp() {
    if !has_socat() {
        return;
    }
    run(async {
        let socat = Serving::start("TCP-LISTEN:0,bind=127.0.0.1,fork", CAT);
        let there = (Ipv4Addr::LOCALHOST, socat.port());
        there_and_back(open_connection(there).await.unwrap()).await;
        let (transport, _) = create_connection(Sending::default, there).await.unwrap();
        transport.wait_closed().await.unwrap();
    })
    .unwrap();
}

#[test]
fn socat_is_served_by_unix_streams_by_path_and_by_name() {
    if !has_socat() {
        return;
    }
    let folder = Folder::new("served");
    run(async {
        let path = folder.path("socket");
        let name = format!("rondel-socat-{}", std::process::id());
        let by_path = start_unix_server(echo, &path).unwrap();
        let by_name = create_unix_server(|| Echo, format!("\0{name}")).unwrap();
        let to_path = format!("UNIX-CONNECT:{}", path.display());
        let to_name = format!("ABSTRACT-CONNECT:{name}");
        for (server, there) in [(by_path, to_path), (by_name, to_name)] {
            let (well, answer, said) = talk(&there, megabyte(), 0, CONNECTED).await;
            assert!(
                well && answer == megabyte(),
                "{} bytes: {said}",
                answer.len()
            );
            assert!(server.shutdown(PATIENCE).await.is_clean());
        }
    })
    .unwrap();
}

#[test]
fn socat_serves_us_by_unix_streams_by_path_and_by_name() {
    if !has_socat() {
        return;
    }
    let folder = Folder::new("serving");
    run(async {
        let path = folder.path("socket");
        let _socat = Serving::start(format!("UNIX-LISTEN:{},fork", path.display()), CAT);
        there_and_back(open_unix_connection(&path).await.unwrap()).await;
        let name = format!("rondel-socat-serving-{}", std::process::id());
        let _socat = Serving::start(format!("ABSTRACT-LISTEN:{name},fork"), CAT);
        let made = create_unix_connection(Sending::default, format!("\0{name}")).await;
        made.unwrap().0.wait_closed().await.unwrap();
    })
    .unwrap();
}

#[test]
fn socat_and_udp_both_ways() {
    if !has_socat() {
        return;
    }
    run(async {
        let options = DatagramOptions::new().local_addr(ANY);
        let (transport, _) = create_datagram_endpoint(|| Echo, options).await.unwrap();
        let there = format!("UDP:{}", transport.local_addr().unwrap());
        let (well, answer, said) = talk(there, b"a datagram".to_vec(), 10, NO_END).await;
        assert!(well && answer == b"a datagram", "{said}");
        transport.close();

        // Nobody is told the port that socat would choose.
        let chosen = StdUdpSocket::bind(ANY).unwrap();
        let addr: SocketAddr = chosen.local_addr().unwrap();
        drop(chosen);
        let here = format!("UDP-RECVFROM:{},bind=127.0.0.1,fork", addr.port());
        let _socat = Serving::start(here, "PIPE");
        let socket = UdpSocket::bind(ANY).unwrap();
        socket.connect(addr).unwrap();
        let mut buffer = [0; 2000];
        for size in [1, 700, 1400] {
            socket.send(&vec![7; size]).await.unwrap();
            let received = timeout(PATIENCE, socket.recv(&mut buffer)).await;
            assert_eq!(received.unwrap().unwrap(), size);
            assert_eq!(buffer[..size], vec![7; size]);
        }
    })
    .unwrap();
}

async fn answered(socket: &UnixDatagram, there: &Path) {
    let mut buffer = [0; 8000];
    for size in [1, 700, 7000] {
        socket.send_to(&vec![7; size], there).await.unwrap();
        let received = timeout(PATIENCE, socket.recv(&mut buffer)).await;
        assert_eq!(received.unwrap().unwrap(), size);
        assert_eq!(buffer[..size], vec![7; size]);
    }
}

#[test]
fn socat_and_unix_datagrams_both_ways() {
    if !has_socat() {
        return;
    }
    let folder = Folder::new("datagrams");
    run(async {
        let here = folder.path("here");
        let options = UnixDatagramOptions::new().local_addr(&here);
        let (transport, _) = create_unix_datagram_endpoint(|| Echo, options)
            .await
            .unwrap();
        let client = folder.path("client");
        let there = format!("UNIX-SENDTO:{},bind={}", here.display(), client.display());
        let (well, answer, said) = talk(there, b"a datagram".to_vec(), 10, NO_END).await;
        assert!(well && answer == b"a datagram", "{said}");
        transport.close();

        let path = folder.path("serving");
        let _socat = Serving::start(format!("UNIX-RECVFROM:{},fork", path.display()), "PIPE");
        let socket = UnixDatagram::bind(folder.path("ours")).unwrap();
        answered(&socket, &path).await;
    })
    .unwrap();
}
