//! Bodies that were made smaller for the way, arriving in whatever pieces.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::{Request, Response};
use rondel_hyper::http_body_util::{BodyExt, StreamBody};
use rondel_hyper::hyper::body::Frame;
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::RequestBody;
use rondel_hyper::{BoxError, Client, HttpServer};
use rondel_loop::run;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a client makes of `pieces`, sent one after the other with that encoding in the head.
fn received(encoding: &'static str, pieces: Vec<Vec<u8>>) -> Result<Vec<u8>, BoxError> {
    run(async {
        let service = service_fn(move |request: Request<RequestBody>| {
            let pieces = pieces.clone();
            async move {
                assert_eq!(request.headers()["accept-encoding"], "gzip, deflate");
                let frames = pieces
                    .into_iter()
                    .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from(piece))));
                let body = StreamBody::new(futures_util::stream::iter(frames));
                let response = Response::builder().header("content-encoding", encoding);
                Ok::<_, BoxError>(response.body(body)?)
            }
        });
        let server = HttpServer::new().serve(service, "127.0.0.1:0").await?;
        let url = format!("http://{}", server.local_addrs()[0]);
        let client = Client::new();
        let response = client.get(&url).await?;
        assert!(!response.headers().contains_key("content-encoding"));
        let body = response.into_body().collect().await?.to_bytes();
        assert_eq!(client.idle_connections(), 1, "it was read to its end");
        Ok::<_, BoxError>(body.to_vec())
    })
    .unwrap()
}

/// Cuts it at these places.
fn cut(bytes: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut places: Vec<_> = places
        .iter()
        .map(|place| place % (bytes.len() + 1))
        .collect();
    places.sort_unstable();
    places.dedup();
    let mut pieces = Vec::new();
    let mut from = 0;
    for place in places.into_iter().chain([bytes.len()]) {
        if place > from {
            pieces.push(bytes[from..place].to_vec());
            from = place;
        }
    }
    pieces
}

#[test]
fn byte_by_byte_nothing_is_lost() {
    let text = "round and round and round it goes ".repeat(20).into_bytes();
    for (encoding, encoded) in [
        ("gzip", gzip(&text)),
        ("deflate", zlib(&text)),
        ("deflate", raw(&text)),
        ("GZIP", [gzip(&text[..100]), gzip(&text[100..])].concat()),
    ] {
        let bytes = encoded.iter().map(|byte| vec![*byte]).collect();
        assert_eq!(received(encoding, bytes).unwrap(), text, "{encoding}");
    }
}

#[test]
fn an_empty_body_is_nothing() {
    assert_eq!(received("gzip", vec![gzip(b"")]).unwrap(), b"");
    assert_eq!(received("deflate", vec![zlib(b"")]).unwrap(), b"");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever was meant arrives, however it is cut.
    #[test]
    fn any_cut_gives_the_same(
        text in proptest::collection::vec(0_u8..8, 0..20_000),
        places in proptest::collection::vec(any::<usize>(), 0..20),
        kind in 0..3,
    ) {
        let (encoding, encoded) = match kind {
            0 => ("gzip", gzip(&text)),
            1 => ("deflate", zlib(&text)),
            _ => ("deflate", raw(&text)),
        };
        let got = received(encoding, cut(&encoded, &places)).unwrap();
        prop_assert!(got == text, "{} of {} bytes", got.len(), text.len());
    }

    /// What is broken is an error, or by chance something else; it is never a panic, and always ends.
    #[test]
    fn broken_bytes_do_no_harm(
        text in proptest::collection::vec(any::<u8>(), 1..3000),
        at in any::<usize>(),
        flip in 1_u8..,
        kind in 0..3,
    ) {
        let (encoding, mut encoded) = match kind {
            0 => ("gzip", gzip(&text)),
            1 => ("deflate", zlib(&text)),
            _ => ("deflate", raw(&text)),
        };
        let at = at % encoded.len();
        encoded[at] ^= flip;
        let _ = received(encoding, vec![encoded]);
    }
}
