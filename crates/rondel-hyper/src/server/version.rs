//! Which HTTP a client speaks: the first bytes tell.

use std::future::poll_fn;
use std::io;

use rondel_net::StreamReader;

/// What every HTTP/2 connection begins with (RFC 9113, 3.4), and no HTTP/1 request can.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Reads until it is clear; gives what was read, which hyper has to see, too. `None` if the client leaves without a word.
pub(super) async fn detect(reader: &mut StreamReader) -> io::Result<Option<(Version, Vec<u8>)>> {
    let mut early = Vec::new();
    loop {
        if !PREFACE.starts_with(&early) {
            return Ok(Some((Version::Http1, early)));
        }
        let missing = PREFACE.len() - early.len();
        if missing == 0 {
            return Ok(Some((Version::Http2, early)));
        }
        let read = poll_fn(|cx| {
            reader.poll_receive(cx, missing, |bytes| {
                early.extend_from_slice(bytes);
                bytes.len()
            })
        });
        if read.await? == 0 {
            // A beginning of a preface is no request either; hyper says so.
            return Ok((!early.is_empty()).then_some((Version::Http1, early)));
        }
    }
}
