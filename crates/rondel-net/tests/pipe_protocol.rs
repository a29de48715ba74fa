//! Protocols on pipes that were opened elsewhere.

#![cfg(feature = "pipe")]

mod recorder;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use recorder::{Event, Log, Recorder, turns, until};
use rondel_loop::{run, timeout, to_thread};
use rondel_net::{
    NotAPipe, Transport, WriteError, connect_read_pipe, connect_write_pipe, open_write_pipe,
};

const LONG: Duration = Duration::from_secs(60);

fn in_loop<F: Future>(main: F) -> F::Output {
    run(async { timeout(LONG, main).await.expect("something hangs") }).unwrap()
}

fn writing(log: &Log) -> (Transport, io::PipeReader) {
    let (theirs, ours) = io::pipe().unwrap();
    let (transport, _) = connect_write_pipe(|| Recorder::new(log), ours).unwrap();
    (transport, theirs)
}

#[test]
fn data_then_the_end_then_the_loss_whatever_the_protocol_says() {
    for half_open in [false, true] {
        in_loop(async {
            let log = Log::default();
            let (theirs, mut ours) = io::pipe().unwrap();
            let made = || {
                let recorder = Recorder::new(&log);
                if half_open {
                    recorder.half_open()
                } else {
                    recorder
                }
            };
            let (transport, _) = connect_read_pipe(made, theirs).unwrap();
            assert_eq!(log.events(), [Event::Made], "before it returns");
            turns().await;
            ours.write_all(b"one ").unwrap();
            until(|| log.data() == b"one ").await;
            ours.write_all(b"two").unwrap();
            drop(ours);
            transport.wait_closed().await.unwrap();
            let told = [
                Event::Made,
                Event::Data(b"one two".to_vec()),
                Event::End,
                Event::Lost(None),
            ];
            assert_eq!(log.events(), told);
            log.assert_contract();
        });
    }
}

#[test]
fn a_pipe_for_reading_takes_nothing_and_can_be_paused() {
    in_loop(async {
        let log = Log::default();
        let (theirs, mut ours) = io::pipe().unwrap();
        let (transport, _) = connect_read_pipe(|| Recorder::new(&log), theirs).unwrap();
        assert!(matches!(transport.write(b"x"), Err(WriteError::Finished)));
        transport.write_eof().unwrap();
        assert!(transport.is_reading() && !transport.is_closing());
        transport.pause_reading();
        ours.write_all(b"later").unwrap();
        turns().await;
        assert!(log.data().is_empty());
        transport.resume_reading();
        until(|| log.data() == b"later").await;
        transport.close();
        transport.wait_closed().await.unwrap();
        assert!(log.has(&Event::Lost(None)) && !log.has(&Event::End));
        let error = ours.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_writing_protocol_pauses_and_resumes_and_is_told_of_no_end() {
    in_loop(async {
        let log = Log::default();
        let (transport, mut theirs) = writing(&log);
        assert!(!transport.is_reading());
        let bytes: Vec<u8> = (0..500_000).map(|n| (n % 251) as u8).collect();
        assert!(transport.write(&bytes).unwrap());
        until(|| log.has(&Event::Pause)).await;
        transport.write_eof().unwrap();
        assert!(transport.is_closing(), "of a pipe, that is a close");
        assert!(matches!(transport.write(b"x"), Err(WriteError::Closed)));
        let read = to_thread(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all
        });
        assert!(read.await.unwrap() == bytes);
        transport.wait_closed().await.unwrap();
        log.assert_contract();
        assert!(log.has(&Event::Lost(None)) && !log.has(&Event::End));
    });
}

#[test]
fn that_nobody_reads_any_more_is_noticed_without_writing() {
    in_loop(async {
        let log = Log::default();
        let (transport, theirs) = writing(&log);
        transport.write(b"a word").unwrap();
        turns().await;
        assert_eq!(log.events(), [Event::Made], "there is a reader");
        drop(theirs);
        transport.wait_closed().await.unwrap();
        assert_eq!(log.events(), [Event::Made, Event::Lost(None)]);

        // From the beginning.
        let log = Log::default();
        let (theirs, ours) = io::pipe().unwrap();
        drop(theirs);
        let (transport, _) = connect_write_pipe(|| Recorder::new(&log), ours).unwrap();
        transport.wait_closed().await.unwrap();
        assert_eq!(log.events(), [Event::Made, Event::Lost(None)]);
    });
}

#[test]
fn what_nobody_will_read_is_a_broken_pipe() {
    in_loop(async {
        let log = Log::default();
        let (transport, theirs) = writing(&log);
        transport.write(&[7; 500_000]).unwrap();
        turns().await;
        assert!(transport.buffered() > 0);
        drop(theirs);
        let error = transport.wait_closed().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        log.assert_contract();
        assert!(log.has(&Event::Lost(Some(io::ErrorKind::BrokenPipe))));
    });
}

#[test]
fn a_socket_is_written_to_though_it_says_something_and_lost_at_its_end() {
    in_loop(async {
        let log = Log::default();
        let (here, mut there) = UnixStream::pair().unwrap();
        let kept = here.try_clone().unwrap();
        let (transport, _) = connect_write_pipe(|| Recorder::new(&log), here).unwrap();
        transport.write(b"hello").unwrap();
        let mut buffer = [0; 5];
        turns().await;
        there.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"hello");
        assert_eq!(log.events(), [Event::Made]);
        there.shutdown(Shutdown::Write).unwrap();
        transport.wait_closed().await.unwrap();
        assert_eq!(log.events(), [Event::Made, Event::Lost(None)]);
        // It was shared, and is neither ended nor made non-blocking by that.
        (&kept).write_all(b"still").unwrap();
        there.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"still");
    });

    in_loop(async {
        let log = Log::default();
        let (here, mut there) = UnixStream::pair().unwrap();
        let (transport, _) = connect_write_pipe(|| Recorder::new(&log), here).unwrap();
        there.write_all(b"nobody listens").unwrap();
        turns().await;
        assert_eq!(log.events(), [Event::Made], "that is no end");
        drop(there);
        transport.wait_closed().await.unwrap();
        assert_eq!(log.events(), [Event::Made, Event::Lost(None)]);
    });
}

#[test]
fn what_others_want_of_a_shared_pipe_is_left_in_it() {
    in_loop(async {
        let log = Log::default();
        let (theirs, mut ours) = io::pipe().unwrap();
        let mut kept = theirs.try_clone().unwrap();
        let (transport, _) = connect_read_pipe(|| Recorder::new(&log), theirs).unwrap();
        turns().await;
        transport.pause_reading();
        ours.write_all(b"for somebody else").unwrap();
        turns().await;
        transport.close();
        transport.wait_closed().await.unwrap();
        let mut buffer = [0; 100];
        let count = kept.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"for somebody else");
    });
}

#[test]
fn streams_take_over_either_end() {
    in_loop(async {
        let log = Log::default();
        let (transport, mut theirs) = writing(&log);
        let (reader, writer) = transport.into_streams(b"").unwrap();
        writer.write_all(b"as a stream").await.unwrap();
        drop(writer);
        // The writer was the only one with something to do.
        let read = to_thread(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).map(|_| all)
        });
        assert_eq!(read.await.unwrap().unwrap(), b"as a stream");
        drop(reader);

        let (theirs, mut ours) = io::pipe().unwrap();
        let (transport, _) = connect_read_pipe(|| Recorder::new(&log), theirs).unwrap();
        let (mut reader, writer) = transport.into_streams(b"un").unwrap();
        drop(writer);
        ours.write_all(b"read\n").unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"unread\n");
        drop(ours);
        assert_eq!(reader.read_line().await.unwrap(), b"");
    });
}

#[test]
fn what_is_no_pipe_is_refused_and_no_protocol_is_made() {
    in_loop(async {
        let file = || std::fs::File::open("/proc/self/exe").unwrap();
        let factory = || -> Recorder { panic!("there is no pipe") };
        let errors = [
            connect_read_pipe(factory, file()).unwrap_err(),
            connect_write_pipe(factory, file()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.get_ref().unwrap().is::<NotAPipe>());
        }
    });
}

#[test]
fn a_streams_end_is_its_close_and_its_failure_ends_the_wait() {
    in_loop(async {
        let (mut theirs, ours) = io::pipe().unwrap();
        let writer = open_write_pipe(ours).unwrap();
        writer.write(b"all").unwrap();
        writer.write_eof().unwrap();
        assert!(writer.is_closing());
        writer.wait_closed().await.unwrap();
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"all");

        let (theirs, ours) = io::pipe().unwrap();
        let writer = open_write_pipe(ours).unwrap();
        drop(theirs);
        writer.write_all(b"x").await.unwrap_err();
        // Nobody has closed it.
        let error = writer.wait_closed().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[cfg(feature = "fs")]
#[test]
fn a_file_is_sent_through_a_pipe_and_a_shared_socket() {
    in_loop(async {
        let file = std::fs::File::open("Cargo.toml").unwrap();
        let whole = std::fs::read("Cargo.toml").unwrap();
        let (mut theirs, ours) = io::pipe().unwrap();
        let (here, mut there) = UnixStream::pair().unwrap();
        for writer in [
            open_write_pipe(ours).unwrap(),
            open_write_pipe(here).unwrap(),
        ] {
            let sent = writer.send_file(&file, 0, None).await.unwrap();
            assert_eq!(sent, whole.len() as u64);
        }
        let (mut one, mut two) = (Vec::new(), Vec::new());
        theirs.read_to_end(&mut one).unwrap();
        there.read_to_end(&mut two).unwrap();
        assert!(one == whole && two == whole);
    });
}

#[cfg(feature = "tls-core")]
#[test]
fn tls_needs_both_ways() {
    use rondel_net::tls::ClientTls;

    in_loop(async {
        let log = Log::default();
        let made = rcgen::generate_simple_self_signed(["example.test".to_owned()]).unwrap();
        let tls = ClientTls::builder()
            .root_pem(made.cert.pem().as_bytes())
            .unwrap()
            .build()
            .unwrap();
        let (here, _there) = UnixStream::pair().unwrap();
        let (transport, _) = connect_write_pipe(|| Recorder::new(&log), here).unwrap();
        let error = tls
            .start_transport(&transport, "example.test")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        transport.wait_closed().await.unwrap();
        log.assert_contract();
    });
}
