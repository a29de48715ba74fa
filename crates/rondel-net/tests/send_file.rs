//! Files sent over connections: what arrives, in which order, and what is left when it goes wrong.

mod folder;
mod pair;

use std::error::Error;
use std::io::{self, ErrorKind, Read, Seek};
use std::pin::pin;
use std::task::Poll;

use folder::Folder;
use futures_util::{join, poll};
use pair::*;
use rondel_loop::{run, spawn, yield_now};
use rondel_net::files::File;
use rondel_net::{
    Protocol, SendFileError, SendFileErrorKind, StreamWriter, Transport, WriteError,
    connect_accepted_socket,
};

/// A file that the system reads but does not send without copying.
#[cfg(target_os = "linux")]
const REFUSED: &str = "/proc/self/cmdline";

fn position(mut file: &std::fs::File) -> u64 {
    file.stream_position().unwrap()
}

fn write_error(error: &SendFileError) -> &WriteError {
    match error.kind() {
        SendFileErrorKind::Write(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_arrives_between_what_is_written_before_and_after() {
    run(async {
        let folder = Folder::new();
        let content = pattern(7, 3_000_000);
        let file = folder.file(&content);
        let (reader, writer, peer) = narrow_split_pair();
        let before = fill(&writer);
        let sending = async {
            assert_eq!(writer.send_file(&file, 0, None).await.unwrap(), 3_000_000);
            assert_eq!(writer.buffered(), 0);
            writer.write(b"after").unwrap();
            writer.close();
            drop(reader);
        };
        let (received, ()) = join!(drain_peer(peer), sending);
        let expected = [pattern(0, before), content, b"after".to_vec()].concat();
        assert!(received.unwrap() == expected);
        assert_eq!(position(&file), 3_000_000);
    })
    .unwrap();
}

#[test]
fn a_part_is_sent_wherever_the_position_is_and_moves_it_behind() {
    run(async {
        let folder = Folder::new();
        let mut file = folder.file(b"0123456789");
        file.seek(io::SeekFrom::Start(9)).unwrap();
        let (_reader, writer, mut peer) = split_pair();
        assert_eq!(writer.send_file(&file, 2, 3).await.unwrap(), 3);
        assert_eq!(position(&file), 5);
        // The file ends first.
        assert_eq!(writer.send_file(&file, 8, 100).await.unwrap(), 2);
        assert_eq!(position(&file), 10);
        // Beyond its end.
        assert_eq!(writer.send_file(&file, 50, None).await.unwrap(), 0);
        assert_eq!(readable(&mut peer), b"23489");

        let ours = File::open(folder.path("file")).await.unwrap();
        ours.seek(1);
        assert_eq!(writer.send_file(&ours, 4, 2).await.unwrap(), 2);
        assert_eq!(ours.position(), 6);
        assert_eq!(readable(&mut peer), b"45");
    })
    .unwrap();
}

#[test]
fn nothing_can_be_sent() {
    run(async {
        let folder = Folder::new();
        let (_reader, writer, mut peer) = split_pair();
        let empty = folder.file(b"");
        assert_eq!(writer.send_file(&empty, 0, None).await.unwrap(), 0);
        let file = folder.file(b"something");
        assert_eq!(writer.send_file(&file, 3, 0).await.unwrap(), 0);
        assert_eq!(position(&file), 3);
        assert_eq!(readable(&mut peer), b"");
        writer.write_all(b"goes on").await.unwrap();
        assert_eq!(readable(&mut peer), b"goes on");
    })
    .unwrap();
}

#[test]
fn nothing_else_is_written_until_it_has_ended() {
    run(async {
        let folder = Folder::new();
        let file = folder.file(b"the file");
        let (_reader, writer, mut peer) = narrow_split_pair();
        let written = fill(&writer);
        {
            let mut sending = pin!(writer.send_file(&file, 0, None).into_future());
            assert!(poll!(&mut sending).is_pending(), "waits for the queue");
            let refused = writer.write(b"!").unwrap_err();
            assert!(matches!(refused, WriteError::SendingFile), "{refused:?}");
            assert_eq!(kind(refused), ErrorKind::ResourceBusy);
            let refused = writer.write_all(b"!").await.unwrap_err();
            assert!(matches!(refused, WriteError::SendingFile), "{refused:?}");
            let refused = writer.write_eof().unwrap_err();
            assert!(matches!(refused, WriteError::SendingFile), "{refused:?}");
            let refused = writer.send_file(&file, 0, None).await.unwrap_err();
            assert!(matches!(write_error(&refused), WriteError::SendingFile));
            assert_eq!(refused.sent(), 0);
        }
        // Dropped before its first byte, it leaves all as it was.
        writer.write(b"instead").unwrap();
        let mut received = vec![0; written + 7];
        let reading =
            rondel_loop::to_thread(move || peer.read_exact(&mut received).map(|()| received));
        let (received, flushed) = join!(reading, writer.flush());
        flushed.unwrap();
        assert!(received.unwrap().unwrap().ends_with(b"instead"));
        assert_eq!(position(&file), 0);
    })
    .unwrap();
}

/// Sends a large file until the connection takes no more, and gives what is under way to `end`.
async fn in_the_middle(
    end: impl AsyncFnOnce(&StreamWriter, Peer) -> Option<Peer>,
) -> (SendFileError, u64) {
    let folder = Folder::new();
    let file = folder.file(&pattern(0, 3_000_000));
    let (_reader, writer, peer) = narrow_split_pair();
    let mut sending = pin!(writer.send_file(&file, 0, None).into_future());
    for _ in 0..10 {
        assert!(poll!(&mut sending).is_pending());
        yield_now().await;
    }
    let _peer = end(&writer, peer).await;
    let error = sending.await.unwrap_err();
    (error, position(&file))
}

#[test]
fn a_peer_that_leaves_in_the_middle_is_an_error_that_says_how_much_was_sent() {
    run(async {
        let (error, position) = in_the_middle(async |_, peer| {
            reset(peer);
            None
        })
        .await;
        assert!(matches!(write_error(&error), WriteError::Io(_)), "{error}");
        assert!(error.sent() > 0 && error.sent() < 3_000_000);
        assert_eq!(position, error.sent(), "exact, also on error");
        let message = error.to_string();
        assert!(message.starts_with(&format!("sending a file, after {} bytes: ", error.sent())));
        assert!(error.source().is_some());
        let error = io::Error::from(error);
        assert!(
            matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
            "{error:?}"
        );
    })
    .unwrap();
}

#[test]
fn closed_in_the_middle_it_fails_and_the_peer_sees_no_end() {
    run(async {
        let mut peer = None;
        let (error, position) = in_the_middle(async |writer, other| {
            writer.close();
            peer = Some(other);
            None
        })
        .await;
        assert!(matches!(write_error(&error), WriteError::Closed), "{error}");
        assert_eq!(position, error.sent());
        let cut = drain_peer(peer.unwrap()).await.unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn dropped_in_the_middle_it_aborts_the_connection() {
    run(async {
        let folder = Folder::new();
        let file = folder.file(&pattern(0, 3_000_000));
        let (_reader, writer, peer) = narrow_split_pair();
        {
            let mut sending = pin!(writer.send_file(&file, 100, None).into_future());
            assert!(poll!(&mut sending).is_pending());
        }
        assert!(position(&file) > 100, "behind what was sent");
        assert!(matches!(writer.write(b"!"), Err(WriteError::Closed)));
        let cut = drain_peer(peer).await.unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_system_does_not_send_is_copied_unless_that_is_not_wanted() {
    run(async {
        let content = std::fs::read(REFUSED).unwrap();
        let file = std::fs::File::open(REFUSED).unwrap();
        let (_reader, writer, mut peer) = split_pair();
        let refused = writer
            .send_file(&file, 0, None)
            .fallback(false)
            .await
            .unwrap_err();
        assert!(
            matches!(refused.kind(), SendFileErrorKind::Unavailable(_)),
            "{refused}"
        );
        assert_eq!(io::Error::from(refused).kind(), ErrorKind::Unsupported);
        assert_eq!(readable(&mut peer), b"", "and nothing was sent");

        let sent = writer.send_file(&file, 1, None).await.unwrap();
        assert_eq!(sent as usize, content.len() - 1);
        assert_eq!(readable(&mut peer), content[1..]);
        assert_eq!(position(&file) as usize, content.len());
        assert_eq!(writer.send_file(&file, 0, 3).await.unwrap(), 3);
        assert_eq!(readable(&mut peer), content[..3]);
        writer.write_all(b"goes on").await.unwrap();
        assert_eq!(readable(&mut peer), b"goes on");
    })
    .unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_no_fault_of_the_connection() {
    run(async {
        let folder = Folder::new();
        let (_reader, writer, mut peer) = split_pair();
        let only_written = std::fs::File::create(folder.path("written")).unwrap();
        let directory = std::fs::File::open(folder.path("")).unwrap();
        for file in [&only_written, &directory] {
            let error = writer.send_file(file, 0, None).await.unwrap_err();
            assert!(
                matches!(error.kind(), SendFileErrorKind::File(_)),
                "{error}"
            );
            assert_eq!(error.sent(), 0);
        }
        writer.write_all(b"goes on").await.unwrap();
        assert_eq!(readable(&mut peer), b"goes on");
    })
    .unwrap();
}

#[test]
fn on_a_connection_that_is_closed_it_fails_and_leaves_the_position() {
    run(async {
        let folder = Folder::new();
        let mut file = folder.file(b"0123456789");
        file.seek(io::SeekFrom::Start(4)).unwrap();
        let (_reader, writer, _peer) = split_pair();
        writer.write_eof().unwrap();
        let error = writer.send_file(&file, 0, None).await.unwrap_err();
        assert!(matches!(write_error(&error), WriteError::Finished));
        writer.close();
        let error = writer.send_file(&file, 0, None).await.unwrap_err();
        assert!(matches!(write_error(&error), WriteError::Closed));
        assert_eq!(position(&file), 4);
    })
    .unwrap();
}

#[test]
fn a_large_file_lets_others_have_their_turn() {
    run(async {
        let folder = Folder::new();
        let file = folder.file(&[]);
        // No disk holds it: a hole.
        std::fs::OpenOptions::new()
            .write(true)
            .open(folder.path("file"))
            .unwrap()
            .set_len(20_000_000)
            .unwrap();
        let (_reader, writer, mut peer) = split_pair();
        let reading = rondel_loop::to_thread(move || {
            let mut received = 0;
            let mut buffer = vec![0; 1 << 20];
            while received < 20_000_000 {
                received += peer.read(&mut buffer).unwrap();
            }
            received
        });
        let mut sending = pin!(writer.send_file(&file, 0, None).into_future());
        let mut polls = 0;
        let counted = std::future::poll_fn(|cx| {
            polls += 1;
            match sending.as_mut().poll(cx) {
                Poll::Ready(sent) => Poll::Ready(sent.unwrap()),
                Poll::Pending => Poll::Pending,
            }
        });
        let (received, sent) = join!(reading, counted);
        assert_eq!((received.unwrap(), sent), (20_000_000, 20_000_000));
        assert!(polls >= 20, "1 MiB a turn at most, but there were {polls}");
    })
    .unwrap();
}

#[test]
fn a_transport_sends_files_while_its_protocol_goes_on_reading() {
    #[derive(Default)]
    struct Collect(Vec<u8>);
    impl Protocol for Collect {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            self.0.extend_from_slice(data);
            assert!(
                matches!(transport.write(b"!"), Err(WriteError::SendingFile)),
                "a file is being sent"
            );
        }
    }
    run(async {
        let folder = Folder::new();
        let content = pattern(3, 2_000_000);
        let file = folder.file(&content);
        let (theirs, ours) = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let peer = Peer::connect(listener.local_addr().unwrap()).unwrap();
            (peer, listener.accept().unwrap().0)
        };
        socket2::SockRef::from(&ours)
            .set_send_buffer_size(2048)
            .unwrap();
        let (transport, protocol) = connect_accepted_socket(Collect::default, ours)
            .await
            .unwrap();
        let task = spawn({
            let transport = transport.clone();
            async move {
                let sent = transport.sendfile(&file, 0, None).await.unwrap();
                transport.close();
                sent
            }
        });
        yield_now().await;
        let theirs = feed(theirs, b"are you there?".to_vec()).await;
        while protocol.with(|collect, _| collect.0.is_empty()).unwrap() {
            yield_now().await;
        }
        let received = drain_peer(theirs).await.unwrap();
        assert!(received == content);
        assert_eq!(task.await.unwrap(), 2_000_000);
        transport.wait_closed().await.unwrap();
    })
    .unwrap();
}

#[cfg(all(feature = "unix", target_os = "linux"))]
#[test]
fn a_unix_socket_takes_files_without_copying_too() {
    run(async {
        let folder = Folder::new();
        let content = pattern(1, 1_000_000);
        let file = folder.file(&content);
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (reader, writer) = rondel_net::UnixStream::from_std(ours).unwrap().into_split();
        let reading = rondel_loop::to_thread(move || {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).unwrap();
            received
        });
        let sending = async {
            let sent = writer.send_file(&file, 0, None).fallback(false).await;
            assert_eq!(sent.unwrap(), 1_000_000);
            writer.close();
            drop(reader);
        };
        let (received, ()) = join!(reading, sending);
        assert!(received.unwrap() == content);
    })
    .unwrap();
}
