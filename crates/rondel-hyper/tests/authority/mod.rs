//! A certificate for localhost, and who trusts it.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rondel_net::tls::{ClientTls, Identity, ServerTls};

pub(crate) fn tls() -> (ServerTls, ClientTls) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let (chain, key) = (cert.pem(), signing_key.serialize_pem());
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let server = ServerTls::builder().identity(identity).build().unwrap();
    let client = ClientTls::builder()
        .root_pem(chain.as_bytes())
        .unwrap()
        .build()
        .unwrap();
    (server, client)
}
