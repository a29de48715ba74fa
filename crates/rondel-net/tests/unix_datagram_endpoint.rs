//! Endpoints on Unix datagram sockets that call a protocol: asyncio's `create_datagram_endpoint` with `AF_UNIX`.
#![cfg(feature = "unix")]

mod cancel;

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr, UnixDatagram as Peer};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use cancel::cancel_at;
use rondel_loop::{EventLoop, LocalLoop, LoopClosed, run, timeout, yield_now};
use rondel_net::{
    DatagramAddr, DatagramError, DatagramProtocol, DatagramProtocolRef, DatagramTransport,
    ToUnixAddr, UnixDatagram, UnixDatagramOptions, WriteError, create_unix_datagram_endpoint,
};

/// A folder of a test's own, gone with it. Its path is short: that of a socket has 108 bytes at most.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("rondel-dgram-ep-{}-{name}", std::process::id()));
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

type Transport = DatagramTransport<SocketAddr>;

/// Notes everything; what it receives, apart.
#[derive(Clone, Default)]
struct Recorder {
    told: Rc<RefCell<Vec<String>>>,
    received: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl Recorder {
    fn note(&self, what: impl Into<String>) {
        self.told.borrow_mut().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        self.told.take()
    }

    /// What another process sends, which takes its time.
    async fn until_received_slowly(&self, count: usize) {
        while self.received.borrow().len() < count {
            rondel_loop::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_received(&self, count: usize) {
        until(|| self.received.borrow().len() >= count).await;
    }
}

impl DatagramProtocol<SocketAddr> for Recorder {
    fn connection_made(&mut self, _: &Transport) {
        self.note("made");
    }

    fn datagram_received(&mut self, _: &Transport, data: &[u8], _: SocketAddr) {
        self.received.borrow_mut().push(data.to_vec());
    }

    fn error_received(&mut self, _: &Transport, error: io::Error) {
        self.note(format!("{:?}: {error}", error.kind()));
    }

    fn pause_writing(&mut self, transport: &Transport) {
        assert!(transport.buffered() > transport.write_buffer_limits().1);
        self.note("pause");
    }

    fn resume_writing(&mut self, transport: &Transport) {
        assert!(transport.buffered() <= transport.write_buffer_limits().0);
        self.note("resume");
    }

    fn connection_lost(&mut self, _: &Transport, error: Option<io::Error>) {
        self.note(match error {
            None => "lost".to_owned(),
            Some(error) => format!("lost: {error}"),
        });
    }
}

async fn until(mut met: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if met() {
            return;
        }
        yield_now().await;
    }
    panic!("it never came");
}

async fn settle() {
    for _ in 0..5 {
        yield_now().await;
    }
}

fn at(path: &Path) -> UnixDatagramOptions {
    UnixDatagramOptions::new().local_addr(path)
}

async fn endpoint(
    options: UnixDatagramOptions,
) -> (
    Transport,
    DatagramProtocolRef<Recorder, SocketAddr>,
    Recorder,
) {
    let recorder = Recorder::default();
    let (transport, protocol) = create_unix_datagram_endpoint(|| recorder.clone(), options)
        .await
        .unwrap();
    (transport, protocol, recorder)
}

fn message(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Receives so many, which have to be numbered from `numbers.start` on.
async fn receive(theirs: &Peer, numbers: std::ops::Range<u32>) {
    theirs.set_nonblocking(true).unwrap();
    for number in numbers {
        let mut buffer = [0; 2000];
        loop {
            match theirs.recv(&mut buffer) {
                Ok(count) => {
                    assert_eq!(buffer[..4], number.to_be_bytes(), "of {count} bytes");
                    break;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            yield_now().await;
        }
    }
}

/// An endpoint whose peer's queue is full, of so many numbered datagrams.
async fn blocked() -> (Transport, Recorder, Peer, u32) {
    let (ours, theirs) = Peer::pair().unwrap();
    let socket = UnixDatagram::from_std(ours).unwrap();
    let mut sent = 0u32;
    while socket.try_send(&sent.to_be_bytes()).is_ok() {
        sent += 1;
    }
    let recorder = Recorder::default();
    let (transport, _) = socket.into_endpoint(recorder.clone()).await;
    assert_eq!(recorder.take(), ["made"]);
    (transport, recorder, theirs, sent)
}

#[test]
fn made_received_and_lost_in_that_order_and_the_file_goes_with_it() {
    let folder = Folder::new("order");
    let (here, there) = (folder.path("here"), folder.path("there"));
    run(async {
        let (transport, _, recorder) = endpoint(at(&here)).await;
        assert_eq!(transport.local_addr().unwrap().as_pathname(), Some(&*here));
        let peer = Peer::bind(&there).unwrap();
        // The last is larger than a datagram of UDP may be.
        for size in [3, 0, 150_000] {
            peer.send_to(&vec![1; size], &here).unwrap();
        }
        recorder.until_received(3).await;
        let sizes: Vec<_> = recorder.received.borrow().iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 0, 150_000]);
        for size in 0..100u8 {
            let to = there.to_unix_addr().unwrap();
            transport.send_to(&vec![size; size.into()], to).unwrap();
            // No more than the receiver has room for.
            if size % 5 == 4 {
                yield_now().await;
                for size in size - 4..=size {
                    let (count, from) = peer.recv_from(&mut [0; 128]).unwrap();
                    assert_eq!(count, usize::from(size));
                    assert_eq!(from.as_pathname(), Some(&*here));
                }
            }
        }
        transport.close();
        transport.wait_closed().await;
        assert_eq!(recorder.take(), ["made", "lost"]);
        assert!(!here.exists(), "the file is gone");
        let to = there.to_unix_addr().unwrap();
        assert!(matches!(
            transport.send_to(b"x", to),
            Err(WriteError::Closed)
        ));
        assert_eq!(
            transport.local_addr().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
    })
    .unwrap();
}

#[test]
fn with_a_remote_address_it_sends_there_and_hears_nobody_else() {
    let folder = Folder::new("remote");
    let (here, there) = (folder.path("here"), folder.path("there"));
    run(async {
        let peer = Peer::bind(&there).unwrap();
        let (transport, _, recorder) = endpoint(at(&here).remote_addr(&there)).await;
        let remote = transport.peer_addr().unwrap();
        assert_eq!(remote.as_pathname(), Some(&*there));
        transport.send(b"by default").unwrap();
        transport.send_to(b"by name", remote).unwrap();
        let elsewhere = folder.path("elsewhere").to_unix_addr().unwrap();
        let Err(WriteError::Io(error)) = transport.send_to(b"no", elsewhere) else {
            panic!("another address is refused");
        };
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("elsewhere"), "{error}");
        yield_now().await;
        assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 10);
        assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 7);
        let stranger = Peer::unbound().unwrap();
        assert!(stranger.send_to(b"stranger", &here).is_err());
        peer.send_to(b"friend", &here).unwrap();
        recorder.until_received(1).await;
        assert_eq!(*recorder.received.borrow(), [b"friend"]);
        // Without one, it needs to be told where to.
        let (unbound, _, _) = endpoint(UnixDatagramOptions::new()).await;
        assert!(matches!(unbound.send(b"to whom"), Err(WriteError::Io(_))));
        let local = unbound.local_addr().unwrap();
        assert!(local.is_unnamed(), "{local:?}");
        transport.close();
        unbound.close();
    })
    .unwrap();
}

#[test]
fn a_stranger_without_a_name_is_heard_and_cannot_be_answered() {
    struct Answer(Recorder);

    impl DatagramProtocol<SocketAddr> for Answer {
        fn datagram_received(&mut self, transport: &Transport, data: &[u8], from: SocketAddr) {
            let Err(WriteError::Io(error)) = transport.send_to(data, from) else {
                panic!("there is nowhere to send to");
            };
            self.0.note(format!("{:?}", error.kind()));
        }
    }

    let folder = Folder::new("stranger");
    let here = folder.path("here");
    run(async {
        let recorder = Recorder::default();
        let answer = Answer(recorder.clone());
        let (transport, _) = create_unix_datagram_endpoint(|| answer, at(&here))
            .await
            .unwrap();
        Peer::unbound().unwrap().send_to(b"?", &here).unwrap();
        until(|| !recorder.told.borrow().is_empty()).await;
        assert_eq!(recorder.take(), ["InvalidInput"]);
        assert!(!transport.is_closing());
        transport.close();
    })
    .unwrap();
}

#[test]
fn what_does_not_go_out_is_kept_in_order_and_pauses_the_protocol_once() {
    run(async {
        let (transport, recorder, theirs, sent) = blocked().await;
        transport.set_write_buffer_limits(1000, 300).unwrap();
        let mut number = sent;
        let mut paused_at = None;
        while number < sent + 100 {
            let pause = transport.send(&message(number, 92)).unwrap();
            number += 1;
            if pause {
                paused_at.get_or_insert(number - sent);
            }
            yield_now().await;
        }
        assert_eq!(paused_at, Some(11), "11 of 92 and 8 bytes are above 1000");
        assert_eq!(transport.buffered(), 100 * 100);
        assert_eq!(recorder.take(), ["pause"]);
        receive(&theirs, 0..number).await;
        settle().await;
        assert_eq!(recorder.take(), ["resume"]);
        assert_eq!(transport.buffered(), 0);
        assert!(!transport.send(&message(number, 4)).unwrap());
        receive(&theirs, number..number + 1).await;
        assert_eq!(recorder.take(), [""; 0]);
        transport.abort();
        transport.wait_closed().await;
    })
    .unwrap();
}

#[test]
fn closing_sends_what_is_queued_first_and_accepts_nothing_more() {
    run(async {
        let (transport, recorder, theirs, sent) = blocked().await;
        for number in sent..sent + 50 {
            transport.send(&message(number, 1000)).unwrap();
        }
        transport.close();
        assert!(matches!(transport.send(b"late"), Err(WriteError::Closed)));
        settle().await;
        assert_eq!(recorder.take(), [""; 0]);
        receive(&theirs, 0..sent + 50).await;
        transport.wait_closed().await;
        assert_eq!(recorder.take(), ["lost"]);
        assert_eq!(
            theirs.recv(&mut [0; 4]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert!(theirs.send(b"x").is_err(), "the descriptor is closed");
    })
    .unwrap();
}

#[test]
fn aborting_drops_what_is_queued() {
    run(async {
        let (transport, recorder, theirs, sent) = blocked().await;
        transport.send(&message(sent, 100_000)).unwrap();
        transport.close();
        transport.abort();
        assert_eq!(transport.buffered(), 0);
        transport.wait_closed().await;
        assert_eq!(recorder.take(), ["lost"]);
        receive(&theirs, 0..sent).await;
        assert!(theirs.recv(&mut [0; 4]).is_err());
    })
    .unwrap();
}

#[test]
fn a_receiver_that_others_have_filled_is_waited_for_without_trying_again_and_again() {
    let folder = Folder::new("filled");
    let there = folder.path("there");
    run(async {
        let receiver = Peer::bind(&there).unwrap();
        let others = Peer::unbound().unwrap();
        others.set_nonblocking(true).unwrap();
        let mut filled = 0;
        while others.send_to(&message(filled, 4), &there).is_ok() {
            filled += 1;
        }
        let (transport, _, recorder) = endpoint(UnixDatagramOptions::new()).await;
        assert_eq!(recorder.take(), ["made"]);
        transport.set_write_buffer_limits(1000, 300).unwrap();
        let to = there.to_unix_addr().unwrap();
        for number in filled..filled + 100 {
            transport.send_to(&message(number, 92), to.clone()).unwrap();
        }
        settle().await;
        assert_eq!(recorder.take(), ["pause"]);
        let local = LocalLoop::current().unwrap();
        local.set_accounts(true);
        for _ in 0..1000 {
            yield_now().await;
        }
        let entries = local.metrics().entry_time.count();
        assert!(entries < 1020, "{entries}, of which 1000 are this task");
        receive(&receiver, 0..filled + 100).await;
        settle().await;
        assert_eq!(recorder.take(), ["resume"]);
        assert_eq!(transport.buffered(), 0);
        // Full again, and the receiver gone: that is told, once for each, and the endpoint goes on.
        while others.send_to(b"others", &there).is_ok() {}
        transport.send_to(b"lost", to.clone()).unwrap();
        transport.send_to(b"lost, too", to).unwrap();
        settle().await;
        assert_eq!(recorder.take(), [""; 0]);
        drop(receiver);
        until(|| transport.buffered() == 0).await;
        settle().await;
        let told = recorder.take();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("ConnectionRefused: sending a datagram to /"),
            "{told:?}"
        );
        assert!(!transport.is_closing());
        transport.abort();
    })
    .unwrap();
}

#[test]
fn one_that_is_too_large_to_receive_is_told_and_the_next_one_arrives() {
    let folder = Folder::new("large");
    let here = folder.path("here");
    run(async {
        let (transport, _, recorder) = endpoint(at(&here)).await;
        let peer = Peer::unbound().unwrap();
        socket2::SockRef::from(&peer)
            .set_send_buffer_size(400 * 1024)
            .unwrap();
        peer.send_to(&vec![1; 300 * 1024], &here).unwrap();
        peer.send_to(b"fits", &here).unwrap();
        recorder.until_received(1).await;
        assert_eq!(*recorder.received.borrow(), [b"fits"]);
        assert_eq!(
            recorder.take(),
            [
                "made",
                "InvalidData: a datagram of more than 262144 bytes from an unnamed Unix socket is lost"
            ]
        );
        // The other way, it is an error that names who it was for; what comes behind it is sent.
        let there = folder.path("there");
        let receiver = Peer::bind(&there).unwrap();
        let to = there.to_unix_addr().unwrap();
        transport.send_to(&vec![1; 1 << 20], to.clone()).unwrap();
        transport.send_to(b"fits", to).unwrap();
        settle().await;
        let told = recorder.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("/there: "), "{told:?}");
        assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), 4);
        transport.close();
    })
    .unwrap();
}

#[test]
fn a_failure_says_whom_it_is_about() {
    struct Ask(Rc<RefCell<Vec<Option<PathBuf>>>>);

    impl DatagramProtocol<SocketAddr> for Ask {
        fn error_received(&mut self, _: &Transport, error: io::Error) {
            let failure: &DatagramError<SocketAddr> =
                error.get_ref().unwrap().downcast_ref().unwrap();
            assert!(failure.is_send());
            let peer = failure.peer().unwrap();
            self.0.borrow_mut().push(peer.as_pathname().map(Into::into));
        }
    }

    let folder = Folder::new("whom");
    let gone = folder.path("gone");
    run(async {
        let peers = Rc::new(RefCell::default());
        let ask = Ask(Rc::clone(&peers));
        let options = UnixDatagramOptions::new();
        let (transport, _) = create_unix_datagram_endpoint(|| ask, options)
            .await
            .unwrap();
        transport
            .send_to(b"?", gone.to_unix_addr().unwrap())
            .unwrap();
        until(|| !peers.borrow().is_empty()).await;
        assert_eq!(*peers.borrow(), [Some(gone.clone())]);
        // Connected, once for each as well.
        let peer = Peer::bind(&gone).unwrap();
        let ask = Ask(Rc::clone(&peers));
        let options = UnixDatagramOptions::new().remote_addr(&gone);
        let (connected, _) = create_unix_datagram_endpoint(|| ask, options)
            .await
            .unwrap();
        drop(peer);
        peers.borrow_mut().clear();
        connected.send(b"one").unwrap();
        connected.send(b"two").unwrap();
        until(|| connected.buffered() == 0).await;
        settle().await;
        assert_eq!(*peers.borrow(), [Some(gone.clone()), Some(gone.clone())]);
        transport.close();
        connected.close();
    })
    .unwrap();
}

#[test]
fn descriptors_that_come_along_are_closed() {
    let folder = Folder::new("descriptors");
    let here = folder.path("here");
    run(async {
        let (transport, _, recorder) = endpoint(at(&here)).await;
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(&here).unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        sender
            .send_with_fds(b"and a pipe", &[writer.as_fd()])
            .await
            .unwrap();
        drop(writer);
        recorder.until_received(1).await;
        // It ends, so nobody has the other side.
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
        transport.close();
    })
    .unwrap();
}

#[test]
fn options_are_checked_and_sockets_taken_over() {
    let folder = Folder::new("options");
    let here = folder.path("here");
    run(async {
        let refused = |options| async {
            let made = create_unix_datagram_endpoint(Recorder::default, options).await;
            made.unwrap_err()
        };
        let (one, other) = Peer::pair().unwrap();
        let both = at(&here).socket(one.try_clone().unwrap());
        assert_eq!(refused(both).await.kind(), ErrorKind::InvalidInput);
        let empty = UnixDatagramOptions::new().remote_addr("");
        assert_eq!(refused(empty).await.kind(), ErrorKind::InvalidInput);
        let nobody = at(&here).remote_addr(folder.path("nobody"));
        let error = refused(nobody).await;
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("nobody"), "{error}");
        assert!(!here.exists(), "what was bound is gone again");

        let taken = UnixDatagramOptions::new().socket(one);
        let (transport, _, recorder) = endpoint(taken).await;
        transport.send(b"there").unwrap();
        yield_now().await;
        assert_eq!(other.recv(&mut [0; 16]).unwrap(), 5);
        other.send(b"and back").unwrap();
        recorder.until_received(1).await;
        transport.close();

        // Left behind by somebody else, in use, and not a socket.
        drop(Peer::bind(&here).unwrap());
        let (transport, _, _) = endpoint(at(&here)).await;
        assert_eq!(refused(at(&here)).await.kind(), ErrorKind::AddrInUse);
        transport.close();
        transport.wait_closed().await;
        std::fs::write(&here, "precious").unwrap();
        assert_eq!(refused(at(&here)).await.kind(), ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_to_string(&here).unwrap(), "precious");
    })
    .unwrap();
}

#[test]
fn cancelled_while_it_is_made_it_is_aborted() {
    let folder = Folder::new("cancelled");
    let here = folder.path("here");
    run(async {
        let recorder = Recorder::default();
        let make = create_unix_datagram_endpoint(|| recorder.clone(), at(&here));
        assert!(cancel_at(0, make).await.is_none());
        until(|| recorder.told.borrow().len() == 2).await;
        assert_eq!(recorder.take(), ["made", "lost"]);
        assert!(!here.exists());
    })
    .unwrap();
}

#[test]
fn a_loop_that_is_closed_says_so_and_leaves_no_file() {
    let folder = Folder::new("closed");
    let (here, there) = (folder.path("here"), folder.path("there"));
    let mut lp = EventLoop::new().unwrap();
    let (transport, recorder) = lp
        .run_until_complete(async {
            let receiver = Peer::bind(&there).unwrap();
            let (transport, _, recorder) = endpoint(at(&here)).await;
            let to = there.to_unix_addr().unwrap();
            // The last ones wait for room, by a descriptor of their own.
            for _ in 0..1000 {
                transport.send_to(b"x", to.clone()).unwrap();
            }
            settle().await;
            assert!(transport.buffered() > 0);
            drop(receiver);
            (transport, recorder)
        })
        .unwrap();
    recorder.take();
    lp.close();
    let told = recorder.take();
    assert_eq!(told.last().unwrap(), &format!("lost: {LoopClosed}"));
    assert!(!here.exists());
    assert!(matches!(transport.send(b"x"), Err(WriteError::Closed)));
    drop(lp);
}

/// One protocol for whatever there is.
struct Echo;

impl<A: DatagramAddr> DatagramProtocol<A> for Echo {
    fn datagram_received(&mut self, transport: &DatagramTransport<A>, data: &[u8], from: A) {
        transport.send_to(&data.to_ascii_uppercase(), from).unwrap();
    }
}

/// Python's end: bound to the second path, it asks whoever is at the first, three times; then it answers until an empty
/// datagram comes.
const PEER: &str = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[2])
s.settimeout(60)
for question in (b"first", b"", b"x" * 100_000):
    s.sendto(question, sys.argv[1])
    answer, address = s.recvfrom(200_000)
    assert answer == question.upper(), answer[:10]
    assert address == sys.argv[1], address
print("answered", flush=True)
while True:
    question, address = s.recvfrom(200_000)
    if not question:
        break
    s.sendto(question[::-1], address)
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

fn python(program: &str, arguments: &[&Path]) -> Option<Python> {
    let started = Command::new("python3")
        .args(["-c", program])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    if let Ok(child) = started {
        return Some(Python(child));
    }
    let required = std::env::var_os("RONDEL_PEERS").is_some_and(|peers| peers == "required");
    assert!(!required, "python3 is required and not installed");
    // Nowhere to report a failing standard error to.
    let _ = writeln!(io::stderr(), "skipped 1 test: python3 is not installed");
    None
}

#[test]
fn a_sender_whose_name_fills_the_address_is_heard() {
    // The whole of `sun_path`, 108 bytes, with no NUL behind it: the standard libraries do not let one bind to that.
    let program = "import ctypes, socket, struct, sys\n\
         s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         path = sys.argv[2].ljust(108, 'x').encode()\n\
         addr = struct.pack('H108s', socket.AF_UNIX, path)\n\
         assert ctypes.CDLL(None).bind(s.fileno(), addr, len(addr)) == 0\n\
         s.sendto(b'long', sys.argv[1])\n\
         s.sendto(b'long', sys.argv[3])\n";
    let folder = Folder::new("long");
    let (here, also) = (folder.path("here"), folder.path("also"));
    run(async {
        let (transport, _, recorder) = endpoint(at(&here)).await;
        let socket = UnixDatagram::bind(&also).unwrap();
        let Some(mut python) = python(program, &[&here, &folder.path("there"), &also]) else {
            return;
        };
        let all = recorder.until_received_slowly(1);
        timeout(Duration::from_secs(60), all).await.unwrap();
        let (count, from) = socket.recv_from(&mut [0; 16]).await.unwrap();
        assert_eq!(count, 4);
        // It cannot be told what it is called: no type here has room for it.
        assert!(from.is_unnamed(), "{from:?}");
        let status = rondel_loop::to_thread(move || python.0.wait())
            .await
            .unwrap();
        assert!(status.unwrap().success());
        transport.close();
    })
    .unwrap();
}

#[test]
fn python_asks_and_answers() {
    let folder = Folder::new("python");
    let (here, there) = (folder.path("here"), folder.path("there"));
    run(async {
        let (server, _) = create_unix_datagram_endpoint(|| Echo, at(&here))
            .await
            .unwrap();
        let Some(mut python) = python(PEER, &[&here, &there]) else {
            return;
        };
        let stdout = python.0.stdout.take().unwrap();
        let answered = rondel_loop::to_thread(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        assert_eq!(answered.await.unwrap().unwrap(), "answered\n");
        let client = at(&folder.path("client")).remote_addr(&there);
        let (client, _, recorder) = endpoint(client).await;
        for number in 0..500 {
            client.send(&message(number, 8)).unwrap();
        }
        let all = recorder.until_received_slowly(500);
        timeout(Duration::from_secs(60), all).await.unwrap();
        for (number, answer) in recorder.received.borrow().iter().enumerate() {
            let mut expected = message(u32::try_from(number).unwrap(), 8);
            expected.reverse();
            assert_eq!(*answer, expected);
        }
        client.send(b"").unwrap();
        client.close();
        client.wait_closed().await;
        let status = rondel_loop::to_thread(move || python.0.wait())
            .await
            .unwrap();
        assert!(status.unwrap().success());
        server.close();
    })
    .unwrap();
}
