//! Unix sockets: files that come and go, abstract names, credentials, passed descriptors, and the same engine as for TCP.

#![cfg(feature = "unix")]

mod recorder;

use std::cell::RefCell;
use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use recorder::*;
use rondel_loop::{run, spawn, to_thread, yield_now};
use rondel_net::{
    Protocol, ServerOptions, StreamReader, StreamWriter, Transport, UnixListenOptions,
    UnixListener, UnixStream, create_unix_connection, create_unix_server, open_unix_connection,
    peer_credentials, start_unix_server,
};

const LONG: Duration = Duration::from_secs(3600);

fn in_loop<F: Future>(main: F) -> F::Output {
    run(main).unwrap()
}

/// A folder of its own for each test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rondel-unix-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let _ = transport.write(data);
    }
}

async fn echo(mut reader: StreamReader, writer: StreamWriter) {
    let mut buffer = [0; 1000];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        if writer.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn round_trip(path: &Path) {
    let (mut reader, writer) = open_unix_connection(path).await.unwrap();
    let message = vec![7; 300_000];
    let sent = message.clone();
    let sending = spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer
    });
    let mut answer = vec![0; message.len()];
    reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, message);
    let writer = sending.await.unwrap();
    writer.close();
    writer.wait_closed().await.unwrap();
}

#[test]
fn servers_of_both_kinds_answer_at_a_path_and_end_well() {
    in_loop(async {
        let folder = Folder::new();
        let path = folder.socket();
        for protocols in [false, true] {
            let server = if protocols {
                create_unix_server(|| Echo, &path).unwrap()
            } else {
                start_unix_server(echo, &path).unwrap()
            };
            assert!(server.local_addrs().is_empty());
            assert!(format!("{server:?}").contains("socket"));
            round_trip(&path).await;
            let log = Log::default();
            let recorder = Recorder::new(&log);
            let (transport, _) = create_unix_connection(|| recorder, &path).await.unwrap();
            transport.write(b"hello").unwrap();
            until(|| log.data() == b"hello").await;
            transport.close();
            transport.wait_closed().await.unwrap();
            log.assert_contract();
            assert!(server.shutdown(LONG).await.is_clean());
            assert!(!path.exists(), "removed with the server");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn abstract_names_leave_nothing_behind_and_are_not_shared() {
    in_loop(async {
        let name = format!("\0rondel-test-{}", std::process::id());
        let server = create_unix_server(|| Echo, &name).unwrap();
        let error = UnixListener::bind(&name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        round_trip(Path::new(&name)).await;
        assert!(server.shutdown(LONG).await.is_clean());
        let error = UnixStream::connect(&name).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_stale_file_is_replaced_and_a_served_one_is_not() {
    in_loop(async {
        let folder = Folder::new();
        let path = folder.socket();
        // The standard library leaves its file behind.
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = UnixListener::bind(&path).unwrap();
        let error = UnixListener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("socket"), "{error}");
        // The attempt has disturbed nothing but the backlog.
        drop(listener.accept().await.unwrap());
        let client = UnixStream::connect(&path).await.unwrap();
        listener
            .accept()
            .await
            .unwrap()
            .write_all(b"x")
            .await
            .unwrap();
        assert_eq!(client.read(&mut [0; 2]).await.unwrap(), 1);
    });
}

#[test]
fn what_is_no_socket_is_in_the_way() {
    in_loop(async {
        let folder = Folder::new();
        let path = folder.socket();
        fs::write(&path, "precious").unwrap();
        let error = UnixListener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    });
}

#[test]
fn the_file_is_removed_only_if_it_is_still_ours() {
    in_loop(async {
        let folder = Folder::new();
        let path = folder.socket();
        let first = UnixListener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = StdListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists(), "it is the second one's");
        drop(second);

        let kept = UnixListenOptions::new()
            .cleanup_socket(false)
            .bind(&path)
            .unwrap();
        drop(kept);
        assert!(path.exists());
        let gone = UnixListener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        drop(gone);
    });
}

#[test]
fn errors_name_the_address() {
    in_loop(async {
        let folder = Folder::new();
        let path = folder.socket();
        let error = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        drop(StdListener::bind(&path).unwrap());
        let error = open_unix_connection(&path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        for bad in ["", "in the\0middle", &"long".repeat(50)] {
            let error = UnixListener::bind(bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{bad:?}");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn peers_are_known_by_their_credentials() {
    in_loop(async {
        let folder = Folder::new();
        let path = folder.socket();
        let seen = Rc::new(RefCell::new(None));
        let note = Rc::clone(&seen);
        let server = create_unix_server(
            move || {
                let note = Rc::clone(&note);
                Recorder::acting(&Log::default(), move |transport, event| {
                    if *event == Event::Made {
                        note.replace(Some(transport.with_fd(peer_credentials).unwrap()));
                    }
                })
            },
            &path,
        )
        .unwrap();
        let client = UnixStream::connect(&path).await.unwrap();
        until(|| seen.borrow().is_some()).await;
        let seen = seen.take().unwrap();
        assert_eq!(seen.pid, Some(std::process::id()));
        assert_eq!(client.peer_cred().unwrap(), seen, "both are this process");
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
        assert!(client.local_addr().unwrap().is_unnamed());
        drop(server);
    });
}

/// A receive ends where descriptors are attached, with more behind it and no event to say so.
#[test]
fn bytes_behind_a_passed_descriptor_are_not_stranded() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    in_loop(async {
        let log = Log::default();
        let (ours, peer) = StdStream::pair().unwrap();
        let (_transport, _) = UnixStream::from_std(ours)
            .unwrap()
            .into_transport(Recorder::new(&log));
        turns().await;
        let null = fs::File::open("/dev/null").unwrap();
        for message in [&b"one "[..], b"two ", b"three"] {
            let fds = [null.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            sendmsg(
                &peer,
                &[IoSlice::new(message)],
                &mut control,
                SendFlags::empty(),
            )
            .unwrap();
        }
        until(|| log.data() == b"one two three").await;
    });
}

#[test]
fn a_full_backlog_is_waited_for() {
    in_loop(async {
        let folder = Folder::new();
        let path = folder.socket();
        let listener = UnixListenOptions::new().backlog(0).bind(&path).unwrap();
        let connecting: Vec<_> = (0..5)
            .map(|_| {
                let path = path.clone();
                spawn(async move { UnixStream::connect(&path).await.unwrap() })
            })
            .collect();
        turns().await;
        assert!(!connecting.iter().all(rondel_loop::Task::is_finished));
        let mut accepted = Vec::new();
        for _ in 0..5 {
            accepted.push(listener.accept().await.unwrap());
        }
        for stream in connecting {
            stream.await.unwrap();
        }
    });
}

#[test]
fn a_full_backlog_is_not_waited_for_by_who_gives_up() {
    in_loop(async {
        let folder = Folder::new();
        let path = folder.socket();
        let _listener = UnixListenOptions::new().backlog(0).bind(&path).unwrap();
        let _first = UnixStream::connect(&path).await.unwrap();
        let second = rondel_loop::timeout(Duration::from_millis(20), UnixStream::connect(&path));
        assert!(second.await.is_err());
    });
}

#[test]
fn halves_end_on_their_own_and_a_lost_peer_is_an_error() {
    in_loop(async {
        let (ours, mut peer) = StdStream::pair().unwrap();
        let ours = UnixStream::from_std(ours).unwrap();
        ours.write(b"ques").unwrap();
        ours.write(b"tion").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        yield_now().await;
        let mut question = String::new();
        peer.read_to_string(&mut question).unwrap();
        assert_eq!(question, "question");
        peer.write_all(b"answer").unwrap();
        drop(peer);
        let mut answer = Vec::new();
        while ours.read_buf(&mut answer).await.unwrap() > 0 {}
        assert_eq!(answer, b"answer");

        let (ours, peer) = UnixStream::pair().unwrap();
        drop(peer);
        let lost = loop {
            match ours.write_all(b"anybody?").await {
                Ok(()) => yield_now().await,
                Err(error) => break io::Error::from(error),
            }
        };
        assert_eq!(lost.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_stalled_reader_holds_its_writer_up() {
    in_loop(async {
        let (one, two) = UnixStream::pair().unwrap();
        let log = Log::default();
        let (writer, _) = one.into_transport(Recorder::new(&log));
        while !writer.write(&[7; 10_000]).unwrap() {
            yield_now().await;
        }
        until(|| log.has(&Event::Pause)).await;
        let queued = writer.buffered();
        turns().await;
        assert_eq!(writer.buffered(), queued);
        let mut received = Vec::new();
        while !log.has(&Event::Resume) {
            two.read_buf(&mut received).await.unwrap();
        }
        writer.close();
        while two.read_buf(&mut received).await.unwrap() > 0 {}
        assert_eq!(received.len() % 10_000, 0);
        assert!(received.iter().all(|&byte| byte == 7));
        until(|| log.is_lost()).await;
        log.assert_contract();
    });
}

#[test]
fn limits_and_reports_are_those_of_every_server() {
    in_loop(async {
        let told = Rc::new(RefCell::new(Vec::new()));
        let note = Rc::clone(&told);
        rondel_loop::LocalLoop::current()
            .unwrap()
            .set_exception_handler(Some(Rc::new(move |_, context| {
                note.borrow_mut().push(context.to_string());
            })));
        let folder = Folder::new();
        let path = folder.socket();
        let listener = UnixListener::bind(&path).unwrap();
        let server = ServerOptions::new().max_connections(1).serve_unix(
            async |_reader: StreamReader, _writer: StreamWriter| Err::<(), _>("not today"),
            listener,
        );
        for _ in 0..3 {
            let mut peer = StdStream::connect(&path).unwrap();
            let end = to_thread(move || peer.read(&mut [0; 1])).await.unwrap();
            assert_eq!(end.unwrap(), 0);
        }
        until(|| told.borrow().len() == 3).await;
        assert!(
            told.borrow()
                .iter()
                .all(|report| report.contains("not today")
                    && report.contains(path.to_str().unwrap()))
        );
        assert!(server.shutdown(LONG).await.is_clean());
    });
}
