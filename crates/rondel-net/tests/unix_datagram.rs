//! Unix datagrams, and descriptors that travel over Unix sockets.
#![cfg(feature = "unix")]

use std::cell::Cell;
use std::fs::{self, File};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;

use futures_util::FutureExt;
use rondel_loop::{run, spawn, yield_now};
use rondel_net::{UnixDatagram, UnixListener, UnixStream};

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rondel-dgram-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn datagrams_go_to_paths_and_say_where_they_are_from() {
    let folder = folder("paths");
    run(async {
        let (here, there) = (folder.join("here"), folder.join("there"));
        let one = UnixDatagram::bind(&here).unwrap();
        let other = UnixDatagram::bind(&there).unwrap();
        one.send_to(b"question", &there).await.unwrap();
        let mut buffer = [0; 64];
        let (count, from) = other.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"question");
        assert_eq!(from.as_pathname(), Some(&*here));
        other.connect(&here).unwrap();
        assert_eq!(other.peer_addr().unwrap().as_pathname(), Some(&*here));
        other.send(b"").await.unwrap();
        assert_eq!(
            one.recv(&mut buffer).await.unwrap(),
            0,
            "an empty one is one"
        );
        let stranger = UnixDatagram::unbound().unwrap();
        stranger.send_to(b"?", &here).await.unwrap();
        let (_, from) = one.recv_from(&mut buffer).await.unwrap();
        assert!(from.is_unnamed());
        drop((one, other));
        assert!(
            !here.exists() && !there.exists(),
            "their files go with them"
        );
    })
    .unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn abstract_names_need_no_file() {
    use std::os::linux::net::SocketAddrExt;

    run(async {
        let name = format!("\0rondel-{}", std::process::id());
        let one = UnixDatagram::bind(&name).unwrap();
        assert_eq!(
            one.local_addr().unwrap().as_abstract_name(),
            Some(&name.as_bytes()[1..])
        );
        let other = UnixDatagram::unbound().unwrap();
        other.connect(&name).unwrap();
        other.send(b"abstract").await.unwrap();
        let mut buffer = [0; 8];
        assert_eq!(one.recv(&mut buffer).await.unwrap(), 8);
    })
    .unwrap();
}

#[test]
fn what_is_too_large_for_the_buffer_is_an_error_and_the_next_one_arrives() {
    run(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        one.send(b"too long").await.unwrap();
        one.send(b"fits").await.unwrap();
        let mut buffer = [0; 4];
        let error = other.recv(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(other.recv(&mut buffer).await.unwrap(), 4);
        assert_eq!(
            other.try_recv(&mut buffer).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    })
    .unwrap();
}

#[test]
fn who_sends_more_than_there_is_room_for_waits_and_loses_nothing() {
    run(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let sender = spawn(async move {
            for n in 0..5000_u32 {
                one.send(&n.to_be_bytes()).await.unwrap();
            }
        });
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(!sender.is_finished(), "nobody has received anything");
        for n in 0..5000_u32 {
            let mut buffer = [0; 4];
            assert_eq!(other.recv(&mut buffer).await.unwrap(), 4);
            assert_eq!(u32::from_be_bytes(buffer), n);
        }
        sender.await.unwrap();
        let mut buffer = [0; 4];
        assert!(other.recv(&mut buffer).now_or_never().is_none());
    })
    .unwrap();
}

#[test]
fn who_sends_to_a_receiver_that_others_have_filled_sleeps_until_there_is_room() {
    let folder = folder("filled");
    run(async {
        let path = folder.join("there");
        let receiver = UnixDatagram::bind(&path).unwrap();
        // Blocking only with a full receiver, whose queue is not this socket's own.
        let others = std::os::unix::net::UnixDatagram::unbound().unwrap();
        others.set_nonblocking(true).unwrap();
        let mut filled = 0;
        while others.send_to(b"others", &path).is_ok() {
            filled += 1;
        }
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let there = path.clone();
        let sender = spawn(async move {
            let socket = UnixDatagram::unbound().unwrap();
            let mut send = std::pin::pin!(socket.send_to(b"ours", &there));
            poll_fn(|cx| {
                counted.set(counted.get() + 1);
                send.as_mut().poll(cx)
            })
            .await
        });
        for _ in 0..1000 {
            yield_now().await;
        }
        assert!(!sender.is_finished(), "nobody has received anything");
        assert!(polls.get() < 10, "polled {} times", polls.get());
        let mut buffer = [0; 16];
        for _ in 0..filled {
            assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 6);
        }
        assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 4);
        sender.await.unwrap().unwrap();
    })
    .unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_left_behind_is_replaced_one_in_use_and_one_of_others_are_not() {
    let folder = folder("stale");
    run(async {
        let path = folder.join("socket");
        drop(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
        let one = UnixDatagram::bind(&path).unwrap();
        let error = UnixDatagram::bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("binding to"), "{error}");
        // Somebody has put something else in its place: that is not ours.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(one);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert!(UnixDatagram::bind(&path).is_err());
        let nobody = UnixDatagram::unbound().unwrap();
        let error = nobody
            .send_to(b"?", folder.join("nowhere"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("nowhere"), "{error}");
    })
    .unwrap();
    fs::remove_dir_all(folder).unwrap();
}

fn text(file: OwnedFd) -> String {
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).unwrap();
    text
}

/// A descriptor from which `text` can be read.
fn readable(text: &str) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    reader.into()
}

fn is_close_on_exec(fd: &OwnedFd) -> bool {
    let flags = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let flags = flags
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap() & 0o2_000_000 != 0
}

#[test]
fn descriptors_travel_with_datagrams() {
    run(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let (a, b) = (readable("first"), readable("second"));
        one.send_with_fds(b"two", &[a.as_fd(), b.as_fd()])
            .await
            .unwrap();
        one.send(b"none").await.unwrap();
        drop((a, b));
        let mut buffer = [0; 8];
        let (count, mut files) = other.recv_with_fds(&mut buffer).await.unwrap();
        assert_eq!((count, files.len()), (3, 2));
        assert!(files.iter().all(is_close_on_exec));
        assert_eq!(text(files.remove(0)), "first");
        assert_eq!(text(files.remove(0)), "second");
        let (_, files) = other.recv_with_fds(&mut buffer).await.unwrap();
        assert!(files.is_empty());
        let one_too_many = vec![one.as_fd(); 254];
        let error = one.send_with_fds(b"x", &one_too_many).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    })
    .unwrap();
}

#[test]
fn descriptors_travel_over_streams_between_ordinary_bytes() {
    run(async {
        let (one, other) = UnixStream::pair().unwrap();
        one.write_all(b"before ").await.unwrap();
        let file = readable("inside");
        one.send_with_fds(b"with ", &[file.as_fd()]).await.unwrap();
        one.write_all(b"after").await.unwrap();
        one.close();
        let (mut bytes, mut files) = (Vec::new(), Vec::new());
        loop {
            let mut buffer = [0; 64];
            let (count, some) = other.recv_with_fds(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            bytes.extend_from_slice(&buffer[..count]);
            files.extend(some);
        }
        assert_eq!(bytes, b"before with after");
        assert_eq!(files.len(), 1);
        assert_eq!(text(files.remove(0)), "inside");
        let error = other.send_with_fds(b"", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    })
    .unwrap();
}

/// What this process has open.
fn open() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn descriptors_that_nobody_takes_are_closed() {
    // In a process of its own: other tests open and close.
    if std::env::var_os("RONDEL_TEST_ALONE").is_none() {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "descriptors_that_nobody_takes_are_closed"])
            .env("RONDEL_TEST_ALONE", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    run(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let (stream, peer) = UnixStream::pair().unwrap();
        let before = open();
        for round in 0..10 {
            let file = readable("lost");
            one.send_with_fds(b"too long", &[file.as_fd()])
                .await
                .unwrap();
            one.send_with_fds(b"ok", &[file.as_fd()]).await.unwrap();
            stream.send_with_fds(b"ok", &[file.as_fd()]).await.unwrap();
            let mut buffer = [0; 4];
            // Truncated, received by a method that takes none, and read as ordinary bytes.
            assert!(other.recv_with_fds(&mut buffer).await.is_err());
            assert_eq!(other.recv(&mut buffer).await.unwrap(), 2);
            assert_eq!(peer.read(&mut buffer).await.unwrap(), 2);
            drop(file);
            assert_eq!(open(), before, "round {round}");
        }
        // Cancelled while it waits: nothing was received.
        assert!(other.recv_with_fds(&mut [0; 4]).now_or_never().is_none());
        let file = readable("kept");
        one.send_with_fds(b"ok", &[file.as_fd()]).await.unwrap();
        let (_, files) = other.recv_with_fds(&mut [0; 4]).await.unwrap();
        assert_eq!(files.len(), 1);
    })
    .unwrap();
}

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

#[test]
fn python_understands_both() {
    if !has_peer("python3") {
        return;
    }
    let folder = folder("python");
    run(async {
        let path = folder.join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let program = "import array, os, socket, sys\n\
             s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
             data, fds, _, _ = socket.recv_fds(s, 100, 4)\n\
             text = os.read(fds[0], 100)\n\
             r, w = os.pipe(); os.write(w, text.upper()); os.close(w)\n\
             socket.send_fds(s, [data + b' back'], [r])\n\
             d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind(sys.argv[2])\n\
             print('bound', flush=True)\n\
             data, address = d.recvfrom(100); d.sendto(data + b'!', address)\n";
        let python_path = folder.join("python");
        let mut child = Command::new("python3")
            .args(["-c", program])
            .args([&path, &python_path])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stream = listener.accept().await.unwrap();
        let file = readable("quiet");
        stream
            .send_with_fds(b"there and", &[file.as_fd()])
            .await
            .unwrap();
        let mut buffer = [0; 64];
        let (count, mut files) = stream.recv_with_fds(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"there and back");
        assert_eq!(text(files.remove(0)), "QUIET");
        let mut stdout = child.stdout.take().unwrap();
        rondel_loop::to_thread(move || stdout.read_exact(&mut [0; 6]))
            .await
            .unwrap()
            .unwrap();
        let socket = UnixDatagram::bind(folder.join("ours")).unwrap();
        socket.send_to(b"hello", &python_path).await.unwrap();
        let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"hello!");
        assert_eq!(from.as_pathname(), Some(&*python_path));
        let status = rondel_loop::to_thread(move || child.wait()).await.unwrap();
        assert!(status.unwrap().success());
    })
    .unwrap();
    fs::remove_dir_all(folder).unwrap();
}
