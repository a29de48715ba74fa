//! A server that echoes and a client that trusts it.

use std::sync::Arc;

use rondel_quinn::quinn::rustls::RootCertStore;
use rondel_quinn::quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use rondel_quinn::quinn::{ClientConfig, Connection, RecvStream, SendStream, ServerConfig};

/// Configurations that belong together, and to no others.
pub(crate) fn configs() -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
    (server, client)
}

/// Sends back what arrives, until the other side has finished.
pub(crate) async fn echo((mut answer, mut request): (SendStream, RecvStream)) {
    while let Some(chunk) = request.read_chunk(usize::MAX, true).await.unwrap() {
        answer.write_chunk(chunk.bytes).await.unwrap();
    }
    answer.finish().unwrap();
}

/// Sends it on a stream and gives what comes back, both at once.
pub(crate) async fn ask(connection: &Connection, words: &[u8]) -> Vec<u8> {
    let (mut request, mut answer) = connection.open_bi().await.unwrap();
    let send = async {
        request.write_all(words).await.unwrap();
        request.finish().unwrap();
    };
    let receive = answer.read_to_end(words.len() + 1);
    futures_util::future::join(send, receive).await.1.unwrap()
}

/// A megabyte in which no part looks like another.
#[allow(dead_code, reason = "not all tests send that much")]
pub(crate) fn megabyte() -> Vec<u8> {
    (0..1u32 << 18)
        .flat_map(|i| i.wrapping_mul(0x9E37_79B9).to_le_bytes())
        .collect()
}
