//! Pipes that were opened elsewhere.

#![cfg(feature = "pipe")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures_util::FutureExt;
use rondel_loop::{run, spawn, timeout, to_thread, yield_now};
use rondel_net::{NotAPipe, ReadError, WriteError, open_read_pipe, open_write_pipe};
use rustix::fs::OFlags;

const LONG: Duration = Duration::from_secs(60);

fn in_loop<F: Future>(main: F) -> F::Output {
    run(async { timeout(LONG, main).await.expect("something hangs") }).unwrap()
}

fn waits(fd: impl AsFd) -> bool {
    !rustix::fs::fcntl_getfl(fd)
        .unwrap()
        .contains(OFlags::NONBLOCK)
}

/// Both sides of a pty.
fn pty() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let theirs = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    let mut raw = rustix::termios::tcgetattr(&theirs).unwrap();
    raw.make_raw();
    rustix::termios::tcsetattr(&theirs, rustix::termios::OptionalActions::Now, &raw).unwrap();
    (ours, theirs)
}

#[test]
fn data_then_the_end() {
    in_loop(async {
        let (theirs, mut ours) = io::pipe().unwrap();
        let mut reader = open_read_pipe(theirs).unwrap();
        let mut buffer = [0; 100];
        assert!(reader.read(&mut buffer).now_or_never().is_none());
        ours.write_all(b"1").unwrap();
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 1);
        ours.write_all(b"2345").unwrap();
        drop(ours);
        assert_eq!(reader.read_some(2).await.unwrap(), b"23");
        assert!(!reader.at_eof());
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 2);
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
        assert!(reader.at_eof());
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
    });
}

#[test]
fn several_writers_and_the_end_comes_with_the_last() {
    in_loop(async {
        let (theirs, mut one) = io::pipe().unwrap();
        let mut two = one.try_clone().unwrap();
        let mut reader = open_read_pipe(theirs).unwrap();
        one.write_all(b"one\n").unwrap();
        drop(one);
        two.write_all(b"two\n").unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"one\n");
        assert_eq!(reader.read_line().await.unwrap(), b"two\n");
        assert!(reader.read_line().now_or_never().is_none());
        drop(two);
        assert_eq!(reader.read_line().await.unwrap(), b"");
    });
}

#[test]
fn reading_up_to_something() {
    in_loop(async {
        let (theirs, mut ours) = io::pipe().unwrap();
        let mut reader = open_read_pipe(theirs).unwrap();
        // Split, with false starts.
        let task = spawn(async move {
            assert_eq!(reader.read_until(b"aaa").await.unwrap(), b"QWEaaXYaaa");
            let error = reader.read_exact(&mut [0; 5]).await.unwrap_err();
            assert!(
                matches!(&error, ReadError::Incomplete { partial, expected: Some(5) } if partial == b"rest")
            );
            assert!(matches!(
                reader.read_until(b"").await,
                Err(ReadError::NoSeparator)
            ));
        });
        for part in [&b"QWEaa"[..], b"XYaa", b"arest"] {
            ours.write_all(part).unwrap();
            for _ in 0..10 {
                yield_now().await;
            }
        }
        drop(ours);
        task.await.unwrap();
    });
}

#[test]
fn a_line_longer_than_the_limit_stays() {
    in_loop(async {
        let (theirs, mut ours) = io::pipe().unwrap();
        let mut reader = open_read_pipe(theirs).unwrap();
        reader.set_limit(4);
        ours.write_all(b"abcd\nabcde\n").unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"abcd\n");
        match reader.read_line().await {
            Err(ReadError::LimitOverrun {
                consumed: 5,
                limit: 4,
            }) => {}
            other => panic!("{other:?}"),
        }
        reader.set_limit(5);
        assert_eq!(reader.read_line().await.unwrap(), b"abcde\n");
        ours.write_all(b"0123456789").unwrap();
        drop(ours);
        assert!(matches!(
            reader.read_to_end(9).await,
            Err(ReadError::LimitOverrun { limit: 9, .. })
        ));
        assert_eq!(reader.read_to_end(10).await.unwrap(), b"0123456789");
    });
}

#[test]
fn more_than_a_pipe_holds_arrives_whole() {
    for size in [0, 1, 4096, 65_536, 65_537, 1_000_000] {
        in_loop(async {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let (theirs, ours) = io::pipe().unwrap();
            let writer = open_write_pipe(ours).unwrap();
            let reading = spawn(to_thread(move || {
                let mut theirs = theirs;
                let mut all = Vec::new();
                theirs.read_to_end(&mut all).unwrap();
                all
            }));
            writer.write_all(&bytes).await.unwrap();
            drop(writer);
            assert!(reading.await.unwrap().unwrap() == bytes);

            // And the other way, in small pieces, with the limit far below.
            let (theirs, mut ours) = io::pipe().unwrap();
            let mut reader = open_read_pipe(theirs).unwrap();
            let sent = bytes.clone();
            let writing = spawn(to_thread(move || ours.write_all(&sent).unwrap()));
            assert!(reader.read_to_end(size).await.unwrap() == bytes);
            writing.await.unwrap().unwrap();
        });
    }
}

#[test]
fn closing_sends_what_is_queued_though_the_handle_is_gone() {
    in_loop(async {
        let (mut theirs, ours) = io::pipe().unwrap();
        let writer = open_write_pipe(ours).unwrap();
        let bytes = vec![7; 500_000];
        writer.write(&bytes).unwrap();
        assert!(writer.buffered() > 400_000);
        writer.close();
        assert!(writer.is_closing());
        assert!(matches!(writer.write(b"x"), Err(WriteError::Closed)));
        drop(writer);
        let read = to_thread(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all
        });
        assert!(read.await.unwrap() == bytes);
    });
}

#[test]
fn a_small_write_is_sent_at_the_end_of_the_turn_and_by_a_drop() {
    in_loop(async {
        let (mut theirs, ours) = io::pipe().unwrap();
        let writer = open_write_pipe(ours).unwrap();
        writer.write(b"one ").unwrap();
        writer.write(b"two").unwrap();
        assert_eq!(writer.buffered(), 7);
        yield_now().await;
        assert_eq!(writer.buffered(), 0);
        let mut buffer = [0; 100];
        assert_eq!(theirs.read(&mut buffer).unwrap(), 7);
        writer.write(b"three").unwrap();
        drop(writer);
        assert_eq!(theirs.read(&mut buffer).unwrap(), 5);
        assert_eq!(theirs.read(&mut buffer).unwrap(), 0);
    });
}

#[test]
fn drain_waits_above_the_high_water_mark() {
    in_loop(async {
        let (mut theirs, ours) = io::pipe().unwrap();
        let writer = open_write_pipe(ours).unwrap();
        writer.set_write_buffer_limits(10_000, 1000).unwrap();
        assert_eq!(writer.write_buffer_limits(), (1000, 10_000));
        writer.set_write_buffer_limits(10, 11).unwrap_err();
        while writer.buffered() <= 10_000 {
            writer.write(&[1; 20_000]).unwrap();
        }
        assert!(writer.drain().now_or_never().is_none());
        let queued = writer.buffered();
        let reading = spawn(to_thread(move || {
            // As much as was queued, and something of what the pipe held: how much that is depends on its pages.
            theirs.read_exact(&mut vec![0; queued + 30_000]).unwrap();
            theirs
        }));
        writer.drain().await.unwrap();
        assert!(writer.buffered() <= 1000);
        drop(reading.await.unwrap().unwrap());
        // Nobody reads any more.
        let error = loop {
            match writer.write_all(&[1; 1000]).await {
                Ok(()) => yield_now().await,
                Err(error) => break error,
            }
        };
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::BrokenPipe);
        let error = writer.drain().await.unwrap_err().to_string();
        assert!(error.starts_with("sending to a pipe: "), "{error}");
    });
}

#[test]
fn the_hard_limit_refuses_whole_writes() {
    in_loop(async {
        let (mut theirs, ours) = io::pipe().unwrap();
        let writer = open_write_pipe(ours).unwrap();
        writer.set_hard_limit(100);
        writer.write(&[1; 60]).unwrap();
        match writer.write(&[2; 41]) {
            Err(WriteError::Full {
                refused: 41,
                queued: 60,
                limit: 100,
            }) => {}
            other => panic!("{other:?}"),
        }
        let reading = spawn(to_thread(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all.len()
        }));
        writer.write_all(&[3; 100_000]).await.unwrap();
        writer.close();
        writer.wait_closed().await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), 100_060);
    });
}

#[test]
fn a_write_to_a_pipe_that_nobody_reads_fails() {
    in_loop(async {
        let (theirs, ours) = io::pipe().unwrap();
        drop(theirs);
        let writer = open_write_pipe(ours).unwrap();
        let error = io::Error::from(writer.write_all(b"x").await.unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        // One that waits is let go.
        let (theirs, ours) = io::pipe().unwrap();
        let writer = open_write_pipe(ours).unwrap();
        let task = spawn(async move { writer.write_all(&[0; 1_000_000]).await });
        yield_now().await;
        drop(theirs);
        let error = io::Error::from(task.await.unwrap().unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_pty_works_both_ways_and_gives_every_line() {
    in_loop(async {
        let (ours, theirs) = pty();
        let mut reader = open_read_pipe(ours.try_clone().unwrap()).unwrap();
        let writer = open_write_pipe(ours).unwrap();
        let mut far_reader = open_read_pipe(theirs.try_clone().unwrap()).unwrap();
        let far_writer = open_write_pipe(theirs).unwrap();
        writer.write_all(b"ping\n").await.unwrap();
        assert_eq!(far_reader.read_line().await.unwrap(), b"ping\n");
        // A terminal gives one piece a read; the next read must not wait for an event.
        for n in 0..100 {
            far_writer
                .write_all(format!("{n}\n").as_bytes())
                .await
                .unwrap();
        }
        for n in 0..100 {
            assert_eq!(
                reader.read_line().await.unwrap(),
                format!("{n}\n").as_bytes()
            );
        }
        drop((far_reader, far_writer));
        assert_eq!(reader.read_to_end(10).await.unwrap(), b"", "hung up");
    });
}

#[test]
fn what_is_shared_goes_on_waiting() {
    in_loop(async {
        let (theirs, ours) = io::pipe().unwrap();
        let (kept_read, kept_write) = (theirs.try_clone().unwrap(), ours.try_clone().unwrap());
        let mut reader = open_read_pipe(theirs).unwrap();
        let writer = open_write_pipe(ours).unwrap();
        let (_master, terminal) = pty();
        let kept_terminal = terminal.try_clone().unwrap();
        let on_terminal = open_read_pipe(terminal).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        let kept_socket = here.try_clone().unwrap();
        let mut on_socket = open_read_pipe(here).unwrap();
        assert!(on_socket.read(&mut [0; 10]).now_or_never().is_none());
        assert!(waits(&kept_read) && waits(&kept_write), "pipe");
        assert!(waits(&kept_terminal), "terminal");
        assert!(waits(&kept_socket), "socket");
        writer.write_all(b"x").await.unwrap();
        assert_eq!(reader.read_some(10).await.unwrap(), b"x");
        (&there).write_all(b"over a socket").unwrap();
        assert_eq!(on_socket.read_some(100).await.unwrap(), b"over a socket");
        drop(on_terminal);
    });
}

#[test]
fn what_is_no_pipe_is_refused() {
    in_loop(async {
        let refused = |error: io::Error| {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.get_ref().unwrap().is::<NotAPipe>());
            error.to_string()
        };
        let file = || File::open("/proc/self/exe").unwrap();
        assert!(refused(open_read_pipe(file()).unwrap_err()).ends_with("a regular file"));
        assert!(refused(open_write_pipe(file()).unwrap_err()).ends_with("a regular file"));
        let folder = File::open("/").unwrap();
        assert!(refused(open_read_pipe(folder).unwrap_err()).ends_with("a folder"));
        let (theirs, ours) = io::pipe().unwrap();
        assert!(refused(open_read_pipe(ours).unwrap_err()).contains("writing only"));
        assert!(refused(open_write_pipe(theirs).unwrap_err()).contains("reading only"));
        // Of the selectors, poll(2) alone can wait for it: it is always ready there.
        #[cfg(not(polling_test_poll_backend))]
        open_read_pipe(File::open("/dev/null").unwrap()).unwrap_err();
    });
    let (theirs, _ours) = io::pipe().unwrap();
    open_read_pipe(theirs).unwrap_err();
}

#[test]
fn a_read_that_is_dropped_loses_nothing() {
    in_loop(async {
        let (theirs, mut ours) = io::pipe().unwrap();
        let mut reader = open_read_pipe(theirs).unwrap();
        ours.write_all(b"some").unwrap();
        assert!(reader.read_line().now_or_never().is_none());
        assert!(reader.read_exact(&mut [0; 9]).now_or_never().is_none());
        assert!(reader.read_to_end(99).now_or_never().is_none());
        assert_eq!(reader.buffer(), b"some");
        ours.write_all(b" line\n").unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"some line\n");
    });
}

#[test]
fn a_flood_lets_others_have_their_turn() {
    in_loop(async {
        let zeroes = File::open("/dev/zero").unwrap();
        let (theirs, ours) = io::pipe().unwrap();
        let flood = std::thread::spawn(move || {
            let (mut zeroes, mut ours) = (zeroes.take(50_000_000), ours);
            let _ = io::copy(&mut zeroes, &mut ours);
        });
        let mut reader = open_read_pipe(theirs).unwrap();
        let task = spawn(async move {
            let mut buffer = vec![0; 1000];
            let mut reads = 0;
            while reader.read(&mut buffer).await.unwrap() > 0 {
                reads += 1;
            }
            reads
        });
        let mut turns = 0;
        while !task.is_finished() {
            turns += 1;
            yield_now().await;
        }
        assert!(task.await.unwrap() >= 50_000);
        assert!(turns > 50, "{turns}");
        flood.join().unwrap();
    });
}
