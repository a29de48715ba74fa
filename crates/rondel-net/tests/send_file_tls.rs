//! Files sent over TLS, where they have to be copied.

mod authority;
mod folder;
mod pair;

use std::io::ErrorKind;
use std::pin::pin;

use authority::Authority;
use folder::Folder;
use futures_util::{join, poll};
use pair::{both_ours, pattern};
use rondel_loop::{run, spawn};
use rondel_net::{SendFileErrorKind, StreamReader, StreamWriter, WriteError};

async fn tls_pair() -> (StreamReader, StreamWriter, StreamReader, StreamWriter) {
    let authority = Authority::new();
    let (client, server) = both_ours();
    let server_tls = authority.server();
    let (server_in, server_out) = server.into_split();
    let server = spawn(async move { server_tls.start(server_in, server_out).await });
    let (client_in, client_out) = client.into_split();
    let (client_in, client_out) = authority
        .client()
        .start(client_in, client_out, "localhost")
        .await
        .unwrap();
    let (server_in, server_out) = server.await.unwrap().unwrap();
    (client_in, client_out, server_in, server_out)
}

#[test]
fn a_file_is_copied_and_arrives_in_order() {
    run(async {
        let folder = Folder::new();
        let content = pattern(5, 1_500_000);
        let file = folder.file(&content);
        let (_reader, writer, mut there, _there_out) = tls_pair().await;
        // The file is longer than what may be queued.
        writer.set_hard_limit(100_000);
        let sending = async {
            writer.write(b"before").unwrap();
            let sent = writer.send_file(&file, 0, None).await.unwrap();
            assert_eq!(sent, 1_500_000);
            writer.write(b"after").unwrap();
            writer.close();
        };
        let (received, ()) = join!(there.read_to_end(2_000_000), sending);
        let expected = [b"before", &content[..], b"after"].concat();
        assert!(received.unwrap() == expected);
    })
    .unwrap();
}

#[test]
fn without_copying_it_is_not_available() {
    run(async {
        let folder = Folder::new();
        let file = folder.file(b"secret");
        let (_reader, writer, mut there, _there_out) = tls_pair().await;
        let error = writer
            .send_file(&file, 0, None)
            .fallback(false)
            .await
            .unwrap_err();
        assert!(matches!(error.kind(), SendFileErrorKind::Unavailable(_)));
        assert_eq!(error.sent(), 0);
        writer.write_all(b"goes on").await.unwrap();
        let mut heard = [0; 7];
        there.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"goes on");
    })
    .unwrap();
}

#[test]
fn writes_during_it_are_refused_and_a_cut_file_does_not_look_whole() {
    run(async {
        let folder = Folder::new();
        let file = folder.file(&pattern(0, 50_000_000));
        let (_reader, writer, mut there, _there_out) = tls_pair().await;
        {
            let mut sending = pin!(writer.send_file(&file, 0, None).into_future());
            // The peer reads nothing: it comes to a halt after what the buffers hold.
            let mut before = 1;
            while before != writer.buffered() || before == 0 {
                before = writer.buffered();
                for _ in 0..50 {
                    assert!(poll!(&mut sending).is_pending());
                    rondel_loop::yield_now().await;
                }
            }
            assert!(matches!(writer.write(b"!"), Err(WriteError::SendingFile)));
        }
        let error = there.read_to_end(60_000_000).await.unwrap_err();
        assert_eq!(
            std::io::Error::from(error).kind(),
            ErrorKind::ConnectionReset
        );
    })
    .unwrap();
}
