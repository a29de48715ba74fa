//! The traits of futures-io, as other people's code uses them.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use futures_util::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy,
};
use futures_util::{FutureExt, TryStreamExt, poll};
use rondel_loop::{run, spawn};
use rondel_net::{StreamPair, StreamReader, StreamWriter, TcpListener, TcpStream, WriteError};

async fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    let here = TcpStream::connect(listener.local_addr()).await?;
    let (there, _) = listener.accept().await?;
    Ok((here, there))
}

fn both<S: AsyncRead + AsyncWrite>(_: &S) {}

/// Sends everything back, by the traits alone.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> io::Result<u64> {
    both(&stream);
    let (reader, mut writer) = stream.split();
    let count = copy(reader, &mut writer).await?;
    writer.close().await?;
    Ok(count)
}

/// Says more than fits into any buffer on the way, and reads the answer meanwhile.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, len: usize) -> io::Result<()> {
    let message: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let (mut reader, mut writer) = stream.split();
    let say = async {
        writer.write_all(&message).await?;
        writer.close().await
    };
    let mut answer = Vec::new();
    let hear = reader.read_to_end(&mut answer);
    futures_util::try_join!(say, hear)?;
    assert!(answer == message, "{} bytes came back", answer.len());
    Ok(())
}

#[test]
fn a_tcp_stream_is_copied_by_foreign_code() {
    run(async {
        let (here, there) = tcp_pair().await?;
        let echoing = spawn(echo(there));
        converse(&here, 5_000_000).await?;
        assert_eq!(echoing.await.unwrap()?, 5_000_000);
        io::Result::Ok(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn a_pair_is_copied_by_foreign_code() {
    run(async {
        let (here, there) = tcp_pair().await?;
        let echoing = spawn(echo(StreamPair::from(there)));
        converse(StreamPair::from(here), 5_000_000).await?;
        assert_eq!(echoing.await.unwrap()?, 5_000_000);
        io::Result::Ok(())
    })
    .unwrap()
    .unwrap();
}

#[cfg(feature = "unix")]
#[test]
fn a_unix_stream_is_copied_by_foreign_code() {
    run(async {
        let (here, there) = rondel_net::UnixStream::pair()?;
        let echoing = spawn(echo(there));
        converse(&here, 3_000_000).await?;
        assert_eq!(echoing.await.unwrap()?, 3_000_000);
        io::Result::Ok(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn lines_are_read_by_foreign_code() {
    run(async {
        let (here, there) = tcp_pair().await?;
        there.write_all(b"one\ntwo\nthree").await?;
        there.close();
        let lines: Vec<String> = AsyncBufReadExt::lines(StreamPair::from(here))
            .try_collect()
            .await?;
        assert_eq!(lines, ["one", "two", "three"]);
        io::Result::Ok(())
    })
    .unwrap()
    .unwrap();
}

/// The two ways to read from one reader may alternate, and lose nothing.
#[test]
fn the_buffer_is_the_readers_own() {
    run(async {
        let (here, there) = tcp_pair().await?;
        let (mut reader, _writer) = here.into_split();
        there.write_all(b"abcdef\nghi").await?;
        assert_eq!(reader.fill_buf().await?, b"abcdef\nghi");
        // What is there already is given again; nothing is taken by looking.
        assert_eq!(reader.fill_buf().await?, b"abcdef\nghi");
        reader.consume_unpin(2);
        assert_eq!(reader.read_line().await?, b"cdef\n");
        // More than there is.
        reader.consume_unpin(100);
        assert_eq!(reader.buffer(), b"");
        assert!(reader.fill_buf().now_or_never().is_none());
        there.close();
        assert_eq!(reader.fill_buf().await?, b"");
        assert!(reader.at_eof());
        io::Result::Ok(())
    })
    .unwrap()
    .unwrap();
}

/// A peer that does not read holds the writer up: what is queued stays bounded.
#[test]
fn writing_waits_for_a_slow_peer() {
    run(async {
        let (here, there) = tcp_pair().await?;
        let (_reader, writer) = here.into_split();
        let mut accepted = 0;
        let pieces = [7; 100_000];
        while let Poll::Ready(count) = poll!(poll_fn(|cx| writer.poll_write(cx, &pieces))) {
            accepted += count?;
        }
        let (_, high) = writer.write_buffer_limits();
        assert!(writer.buffered() > high, "it waits for a reason");
        assert!(writer.buffered() <= high + pieces.len());
        // The peer reads, and it goes on.
        let (mut reader, _there) = there.into_split();
        let mut read = 0;
        let mut room = vec![0; 1 << 20];
        while read < accepted {
            read += reader.read(&mut room).await?;
        }
        let count = poll_fn(|cx| writer.poll_write(cx, &pieces)).await?;
        assert_eq!(count, pieces.len());
        io::Result::Ok(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn no_more_is_accepted_than_the_hard_limit_allows() {
    run(async {
        let (here, _there) = tcp_pair().await?;
        let (_reader, writer) = here.into_split();
        writer.set_hard_limit(1000);
        let big = [1; 5000];
        let write = |bytes: &'static [u8]| {
            let writer = &writer;
            poll_fn(move |cx| writer.poll_write(cx, bytes))
        };
        assert_eq!(write(&[1; 5000]).await?, 1000);
        let parts = [io::IoSlice::new(&[]), io::IoSlice::new(&big)];
        writer.flush().await?;
        let count = poll_fn(|cx| writer.poll_write_vectored(cx, &parts)).await?;
        assert_eq!(count, 1000);
        assert_eq!(write(&[]).await?, 0);
        writer.flush().await?;
        writer.set_hard_limit(0);
        assert!(matches!(write(&[1]).await, Err(WriteError::Full { .. })));
        io::Result::Ok(())
    })
    .unwrap()
    .unwrap();
}

/// `close` is for the direction that is written; the other end's answer still arrives.
#[test]
fn closing_leaves_reading() {
    run(async {
        let (mut here, there) = tcp_pair().await?;
        AsyncWriteExt::write_all(&mut here, b"question").await?;
        AsyncWriteExt::close(&mut here).await?;
        let mut question = Vec::new();
        (&there).read_to_end(&mut question).await?;
        assert_eq!(question, b"question");
        there.write_all(b"answer").await?;
        there.close();
        let mut answer = String::new();
        here.read_to_string(&mut answer).await?;
        assert_eq!(answer, "answer");
        let error = AsyncWriteExt::write_all(&mut here, b"more")
            .await
            .unwrap_err();
        assert!(error.get_ref().unwrap().is::<WriteError>(), "{error:?}");
        io::Result::Ok(())
    })
    .unwrap()
    .unwrap();
}

/// The halves by themselves, and what the docs promise about them.
#[test]
fn halves_have_their_trait_each() {
    fn reads<R: AsyncBufRead + AsyncRead>() {}
    fn writes<W: AsyncWrite>() {}
    reads::<StreamReader>();
    writes::<StreamWriter>();
    reads::<StreamPair>();
    writes::<StreamPair>();
}
