//! Unix sockets, their datagrams, files over connections, pipes, servers and protocols: cancelled wherever they wait, with descriptors and tasks
//! counted before and after. (TCP: `leaks`, `connect`; UDP: `udp_leaks`; TLS: `tls`, `tls_faults`; children: `process_leaks`.)
#![cfg(target_os = "linux")]

mod cancel;
mod folder;

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr, UnixDatagram as Peer};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cancel::cancel_at;
use folder::Folder;
use futures_util::FutureExt;
use futures_util::future::join;
use rondel_loop::{LocalLoop, run, yield_now};
use rondel_net::{
    DatagramProtocol, DatagramTransport, Protocol, TcpStream, ToUnixAddr, Transport, UnixDatagram,
    UnixDatagramOptions, UnixListener, UnixStream, connect_accepted_socket, create_connection,
    create_server, create_unix_datagram_endpoint, open_read_pipe, open_write_pipe, start_server,
};

/// The tests of this file run one at a time: descriptors belong to the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Descriptors and tasks.
fn counts() -> (usize, usize) {
    (
        std::fs::read_dir("/proc/self/fd").unwrap().count(),
        LocalLoop::current().unwrap().tasks().len(),
    )
}

/// Long enough for the loop to look around some times.
async fn settle() {
    for _ in 0..300 {
        yield_now().await;
    }
}

/// Runs `session` as often as it waits, each time cut one wait later, until it comes to its end; nothing may be left of any.
async fn cut_everywhere<F: Future>(mut session: impl FnMut() -> F, mut clear_up: impl FnMut()) {
    // What is made once and stays.
    session().await;
    clear_up();
    settle().await;
    let before = counts();
    for point in 0.. {
        assert!(point < 10_000, "it never ends");
        let ended = cancel_at(point, session()).await.is_some();
        settle().await;
        clear_up();
        settle().await;
        assert_eq!(counts(), before, "cancelled at {point}");
        if ended {
            assert!(point > 0, "it never waits");
            return;
        }
    }
}

/// A path that is short enough for a socket, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("rondel-cut-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn unix_streams_and_descriptors_over_them() {
    let _alone = alone();
    let place = Place::new("streams");
    run(async {
        let listener = UnixListener::bind(&place.0).unwrap();
        let session = || async {
            let (ours, theirs) = join(UnixStream::connect(&place.0), listener.accept()).await;
            let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
            let file = File::open("/dev/null").unwrap();
            let sending = async {
                ours.send_with_fds(b"x", &[file.as_fd()]).await.unwrap();
                ours.write_all(&vec![7; 1_000_000]).await.unwrap();
            };
            let receiving = async {
                let (count, files) = theirs.recv_with_fds(&mut [0; 1]).await.unwrap();
                assert_eq!((count, files.len()), (1, 1));
                let mut buffer = vec![0; 30_000];
                let mut left = 1_000_000;
                while left > 0 {
                    left -= theirs.read(&mut buffer).await.unwrap();
                    yield_now().await;
                }
            };
            join(sending, receiving).await;
        };
        // What a cancelled connect has left in the backlog.
        let clear_up = || {
            while let Some(left) = listener.accept().now_or_never() {
                drop(left.unwrap());
            }
        };
        cut_everywhere(session, clear_up).await;
    })
    .unwrap();
}

#[test]
fn unix_datagrams_to_a_receiver_that_is_full() {
    let _alone = alone();
    let place = Place::new("datagrams");
    run(async {
        let receiver = UnixDatagram::bind(&place.0).unwrap();
        let session = || async {
            let others = Peer::unbound().unwrap();
            others.set_nonblocking(true).unwrap();
            while others.send_to(b"others", &place.0).is_ok() {}
            let sender = UnixDatagram::unbound().unwrap();
            let sending = async {
                for _ in 0..30 {
                    sender.send_to(b"ours", &place.0).await.unwrap();
                }
            };
            let receiving = async {
                let mut ours = 0;
                let mut buffer = [0; 16];
                while ours < 30 {
                    yield_now().await;
                    ours += usize::from(receiver.recv(&mut buffer).await.unwrap() == 4);
                }
            };
            join(sending, receiving).await;
        };
        let clear_up = || while receiver.try_recv(&mut [0; 16]).is_ok() {};
        cut_everywhere(session, clear_up).await;
    })
    .unwrap();
}

/// Closes an endpoint when it is dropped: otherwise it is the loop's.
struct Close(DatagramTransport<SocketAddr>);

impl Drop for Close {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Silent;

impl DatagramProtocol<SocketAddr> for Silent {}

fn options(path: &Path) -> UnixDatagramOptions {
    UnixDatagramOptions::new().local_addr(path)
}

#[test]
fn unix_endpoints_that_wait_for_room() {
    let _alone = alone();
    let (here, there) = (Place::new("here"), Place::new("there"));
    run(async {
        let receiver = UnixDatagram::bind(&there.0).unwrap();
        let session = || async {
            let made = create_unix_datagram_endpoint(|| Silent, options(&here.0)).await;
            let close = Close(made.unwrap().0);
            let to = there.0.to_unix_addr().unwrap();
            for _ in 0..100 {
                close
                    .0
                    .send_to(b"more than there is room for", to.clone())
                    .unwrap();
            }
            for _ in 0..100 {
                yield_now().await;
                receiver.recv(&mut [0; 64]).await.unwrap();
            }
            close.0.close();
            close.0.wait_closed().await;
        };
        let clear_up = || while receiver.try_recv(&mut [0; 64]).is_ok() {};
        cut_everywhere(session, clear_up).await;
        assert!(!here.0.exists());
    })
    .unwrap();
}

#[test]
fn files_sent_over_connections() {
    let _alone = alone();
    let folder = Folder::new();
    let file = folder.file(&vec![7; 600_000]);
    run(async {
        let session = || async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (_reader, writer) = ours.into_split();
            let (mut reader, _writer) = theirs.into_split();
            let sending = async {
                let file = file.try_clone().unwrap();
                writer.send_file(&file, 0, None).await.unwrap();
                writer.close();
                writer.wait_closed().await.unwrap();
            };
            let receiving = async {
                let mut left = 600_000;
                while left > 0 {
                    left -= reader.read_some(50_000).await.unwrap().len();
                    yield_now().await;
                }
            };
            join(sending, receiving).await;
        };
        cut_everywhere(session, || {}).await;
    })
    .unwrap();
}

#[test]
fn pipes() {
    let _alone = alone();
    run(async {
        let session = || async {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut reader = open_read_pipe(reader).unwrap();
            let writer = open_write_pipe(writer).unwrap();
            let sending = async {
                writer.write_all(&vec![7; 500_000]).await.unwrap();
                writer.close();
                writer.wait_closed().await.unwrap();
            };
            let receiving = async {
                let mut left = 500_000;
                while left > 0 {
                    left -= reader.read_some(20_000).await.unwrap().len();
                    yield_now().await;
                }
            };
            join(sending, receiving).await;
        };
        cut_everywhere(session, || {}).await;
    })
    .unwrap();
}

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn servers_of_streams_and_their_clients() {
    let _alone = alone();
    run(async {
        let session = || async {
            let server = start_server(
                async |mut reader, writer| {
                    while let Ok(some) = reader.read_some(20_000).await
                        && !some.is_empty()
                        && writer.write_all(&some).await.is_ok()
                    {}
                },
                ANY,
            )
            .await
            .unwrap();
            let stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
            let (mut reader, writer) = stream.into_split();
            let sending = async { writer.write_all(&[7; 200_000]).await.unwrap() };
            let receiving = async { reader.read_exact(&mut vec![0; 200_000]).await.unwrap() };
            join(sending, receiving).await;
            writer.close();
            writer.wait_closed().await.unwrap();
            assert!(server.shutdown(MINUTE).await.is_clean());
        };
        cut_everywhere(session, || {}).await;
    })
    .unwrap();
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        // Refused once the other end has been cut.
        let _ = transport.write(data);
    }
}

/// Counts what comes.
struct Count(Rc<Cell<usize>>);

impl Protocol for Count {
    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        self.0.set(self.0.get() + data.len());
    }
}

/// Ends a connection when it is dropped: otherwise it is the loop's.
struct End(Transport);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[test]
fn servers_of_protocols_and_their_clients() {
    let _alone = alone();
    run(async {
        let session = || async {
            let server = create_server(|| Echo, ANY).await.unwrap();
            let received = Rc::new(Cell::new(0));
            let count = Count(Rc::clone(&received));
            let made = create_connection(|| count, server.local_addrs()[0]).await;
            let end = End(made.unwrap().0);
            end.0.write(&[7; 50_000]).unwrap();
            while received.get() < 50_000 {
                yield_now().await;
            }
            end.0.close();
            end.0.wait_closed().await.unwrap();
            assert!(server.shutdown(MINUTE).await.is_clean());
        };
        cut_everywhere(session, || {}).await;
    })
    .unwrap();
}

#[test]
fn protocols_of_connections_accepted_elsewhere() {
    let _alone = alone();
    run(async {
        let listener = std::net::TcpListener::bind(ANY).unwrap();
        let addr = listener.local_addr().unwrap();
        let session = || async {
            let mut peer = std::net::TcpStream::connect(addr).unwrap();
            let (socket, _) = listener.accept().unwrap();
            let made = connect_accepted_socket(|| Echo, socket).await;
            let end = End(made.unwrap().0);
            peer.write_all(b"once").unwrap();
            peer.set_nonblocking(true).unwrap();
            let mut answer = [0; 4];
            while peer.read_exact(&mut answer).is_err() {
                yield_now().await;
            }
            assert_eq!(&answer, b"once");
            end.0.close();
            end.0.wait_closed().await.unwrap();
        };
        cut_everywhere(session, || {}).await;
    })
    .unwrap();
}
