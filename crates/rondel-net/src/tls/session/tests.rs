//! Two sessions that talk over a wire of bytes.

use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::tls::{ClientAuth, ClientTls, ClientTlsBuilder, Identity, ServerTls, ServerTlsBuilder};

/// Somebody who issues certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn identity(&self, names: &[&str]) -> Identity {
        self.identity_with(names, |_| {})
    }

    fn identity_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn client(&self) -> ClientTlsBuilder {
        ClientTls::builder().root_pem(self.pem.as_bytes()).unwrap()
    }

    fn server(&self) -> ServerTlsBuilder {
        ServerTls::builder().identity(self.identity(&["a.test"]))
    }
}

/// Two ends, and what is on the wire between them.
struct Pair {
    client: Session,
    server: Session,
    /// How many bytes arrive at a time.
    segment: usize,
}

impl Pair {
    fn new(client: &ClientTls, server: &ServerTls, name: &'static str) -> Self {
        Self {
            client: Session::client(
                Arc::clone(&client.config),
                ServerName::try_from(name).unwrap(),
            )
            .unwrap(),
            server: Session::server(Arc::clone(&server.config)).unwrap(),
            segment: usize::MAX,
        }
    }

    /// Carries what either end wants to say to the other, until both are silent.
    fn carry(&mut self) -> Result<(), TlsError> {
        loop {
            let mut wire = Vec::new();
            self.client.take_out(&mut wire);
            let said = wire.len();
            deliver(&wire, &mut self.server, self.segment)?;
            wire.clear();
            self.server.take_out(&mut wire);
            deliver(&wire, &mut self.client, self.segment)?;
            if said + wire.len() == 0 {
                return Ok(());
            }
        }
    }

    fn shake_hands(&mut self) {
        self.carry().unwrap();
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
    }
}

fn deliver(wire: &[u8], to: &mut Session, segment: usize) -> Result<(), TlsError> {
    for part in wire.chunks(segment.min(wire.len()).max(1)) {
        assert_eq!(to.take_in(part)?, part.len());
    }
    Ok(())
}

/// Sends `clear` from one end to the other, and gives what comes out there.
fn send(clear: &[u8], from: &mut Session, to: &mut Session, segment: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    from.write(clear, &mut wire);
    let mut came = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut rest = &wire[..];
    loop {
        let part = &rest[..segment.min(rest.len())];
        let taken = to.take_in(part).unwrap();
        rest = &rest[taken..];
        let mut progress = taken > 0;
        while let Clear::Some(count) = to.hand_out(&mut buffer) {
            came.extend_from_slice(&buffer[..count]);
            progress = true;
        }
        if !progress {
            assert!(rest.is_empty());
            return came;
        }
    }
}

fn failure(client: &ClientTls, server: &ServerTls, name: &'static str) -> String {
    let error = Pair::new(client, server, name).carry().unwrap_err();
    assert_eq!(error.phase(), TlsPhase::Handshake);
    error.to_string()
}

#[test]
fn both_ends_agree_and_each_sees_what_the_other_sends() {
    let authority = Authority::new("us");
    let server = authority.server().alpn(["h2", "http/1.1"]).build().unwrap();
    let client = authority.client().alpn(["http/1.1"]).build().unwrap();
    let mut pair = Pair::new(&client, &server, "a.test");
    assert!(pair.client.is_handshaking());
    pair.shake_hands();
    let info = pair.server.info();
    assert_eq!(info.alpn.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(info.server_name.as_deref(), Some("a.test"));
    assert_eq!(info.version, Some(ProtocolVersion::TLSv1_3));
    assert_eq!(pair.client.info().peer_certificates.unwrap().len(), 1);
    let Pair {
        mut client,
        mut server,
        ..
    } = pair;
    assert_eq!(send(b"ping", &mut client, &mut server, 1), b"ping");
    assert_eq!(send(b"pong", &mut server, &mut client, 1), b"pong");
}

#[test]
fn a_handshake_in_single_bytes_comes_to_the_same() {
    let authority = Authority::new("us");
    let (server, client) = (
        authority.server().build().unwrap(),
        authority.client().build().unwrap(),
    );
    let mut pair = Pair::new(&client, &server, "a.test");
    pair.segment = 1;
    pair.shake_hands();
}

#[test]
fn what_is_written_during_the_handshake_follows_it() {
    let authority = Authority::new("us");
    let (server, client) = (
        authority.server().build().unwrap(),
        authority.client().build().unwrap(),
    );
    let mut pair = Pair::new(&client, &server, "a.test");
    let mut wire = Vec::new();
    pair.client.write(b"early words", &mut wire);
    deliver(&wire, &mut pair.server, usize::MAX).unwrap();
    pair.shake_hands();
    let mut buffer = [0; 64];
    assert_eq!(pair.server.hand_out(&mut buffer), Clear::Some(11));
    assert_eq!(&buffer[..11], b"early words");
}

#[test]
fn a_certificate_for_another_host_is_refused_with_the_names_it_has() {
    let authority = Authority::new("us");
    let server = ServerTls::builder()
        .identity(authority.identity(&["a.test", "b.test"]))
        .build()
        .unwrap();
    let client = authority.client().build().unwrap();
    assert_eq!(
        failure(&client, &server, "c.test"),
        "TLS handshake: the peer's certificate is for a.test, b.test, not for c.test"
    );
}

#[test]
fn an_expired_certificate_is_refused_with_how_long_ago() {
    let authority = Authority::new("us");
    let identity = authority.identity_with(&["a.test"], |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let server = ServerTls::builder().identity(identity).build().unwrap();
    let said = failure(&authority.client().build().unwrap(), &server, "a.test");
    assert!(
        said.contains("certificate expired") && said.contains(" days ago"),
        "{said}"
    );
}

#[test]
fn an_unknown_issuer_is_refused() {
    let (us, them) = (Authority::new("us"), Authority::new("them"));
    let said = failure(
        &us.client().build().unwrap(),
        &them.server().build().unwrap(),
        "a.test",
    );
    assert!(said.contains("issuer that is not trusted here"), "{said}");
}

#[test]
fn each_name_gets_its_own_certificate_and_the_rest_the_common_one() {
    let authority = Authority::new("us");
    let server = authority
        .server()
        .identity_for("b.test", authority.identity(&["b.test"]))
        .build()
        .unwrap();
    let client = authority.client().build().unwrap();
    for name in ["a.test", "b.test"] {
        Pair::new(&client, &server, name).shake_hands();
    }
    let only_b = ServerTls::builder()
        .identity_for("b.test", authority.identity(&["b.test"]))
        .build()
        .unwrap();
    Pair::new(&client, &only_b, "b.test").shake_hands();
    assert!(Pair::new(&client, &only_b, "a.test").carry().is_err());
}

#[test]
fn a_client_certificate_is_asked_for_and_verified() {
    let (authority, clients) = (Authority::new("us"), Authority::new("clients"));
    let asking = |auth| {
        authority
            .server()
            .client_root_pem(clients.pem.as_bytes())
            .unwrap()
            .client_auth(auth)
            .build()
            .unwrap()
    };
    let bare = authority.client().build().unwrap();
    let known = authority
        .client()
        .identity(clients.identity(&["me.test"]))
        .build()
        .unwrap();
    let stranger = authority
        .client()
        .identity(authority.identity(&["me.test"]))
        .build()
        .unwrap();

    let required = asking(ClientAuth::Required);
    let mut pair = Pair::new(&known, &required, "a.test");
    pair.shake_hands();
    assert_eq!(pair.server.info().peer_certificates.unwrap().len(), 1);
    assert!(failure(&bare, &required, "a.test").contains("no certificate"));
    assert!(failure(&stranger, &required, "a.test").contains("not trusted here"));

    let optional = asking(ClientAuth::Optional);
    Pair::new(&bare, &optional, "a.test").shake_hands();
    assert!(Pair::new(&stranger, &optional, "a.test").carry().is_err());
}

#[test]
fn protocols_in_common_are_needed_if_both_name_some() {
    let authority = Authority::new("us");
    let server = authority.server().alpn(["h2"]).build().unwrap();
    Pair::new(&authority.client().build().unwrap(), &server, "a.test").shake_hands();
    let other = authority.client().alpn(["gopher"]).build().unwrap();
    assert!(failure(&other, &server, "a.test").contains("ALPN"));
}

#[test]
fn a_second_session_resumes_the_first() {
    let authority = Authority::new("us");
    let (server, client) = (
        authority.server().build().unwrap(),
        authority.client().build().unwrap(),
    );
    let resumed: Vec<_> = (0..2)
        .map(|_| {
            let mut pair = Pair::new(&client, &server, "a.test");
            pair.shake_hands();
            pair.client.info().resumed
        })
        .collect();
    assert_eq!(resumed, [false, true]);
}

#[test]
fn a_farewell_is_told_from_a_cut() {
    let authority = Authority::new("us");
    let (server, client) = (
        authority.server().build().unwrap(),
        authority.client().build().unwrap(),
    );
    let mut pair = Pair::new(&client, &server, "a.test");
    pair.shake_hands();
    let mut wire = Vec::new();
    pair.client.write(b"last words", &mut wire);
    pair.client.close(&mut wire);
    pair.client.close(&mut wire);
    let cut = pair.server.take_in_end().unwrap_err();
    assert!(cut.is_truncated() && cut.phase() == TlsPhase::Transfer);
    deliver(&wire, &mut pair.server, usize::MAX).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(pair.server.hand_out(&mut buffer), Clear::Some(10));
    assert_eq!(pair.server.hand_out(&mut buffer), Clear::End);
    assert!(pair.server.is_peer_closed());
    assert!(pair.server.take_in_end().is_ok());
    assert_eq!(pair.server.take_in(b"not TLS any more").unwrap(), 0);
}

#[test]
fn cut_during_the_handshake_it_says_so() {
    let authority = Authority::new("us");
    let server = Session::server(Arc::clone(&authority.server().build().unwrap().config)).unwrap();
    let cut = server.take_in_end().unwrap_err();
    assert_eq!(cut.phase(), TlsPhase::Handshake);
    assert_eq!(
        std::io::Error::from(cut).kind(),
        std::io::ErrorKind::ConnectionReset
    );
}

#[test]
fn garbage_is_an_error_and_the_peer_is_told() {
    let authority = Authority::new("us");
    let mut server =
        Session::server(Arc::clone(&authority.server().build().unwrap().config)).unwrap();
    let error = server.take_in(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert!(error.protocol_error().is_some());
    assert!(error.to_string().contains("not TLS"), "{error}");
    let mut wire = Vec::new();
    server.take_out(&mut wire);
    assert_eq!(wire[0], 21, "an alert");
}

#[test]
fn a_corrupted_record_is_an_error() {
    let authority = Authority::new("us");
    let (server, client) = (
        authority.server().build().unwrap(),
        authority.client().build().unwrap(),
    );
    let mut pair = Pair::new(&client, &server, "a.test");
    pair.shake_hands();
    let mut wire = Vec::new();
    pair.client.write(b"words", &mut wire);
    *wire.last_mut().unwrap() ^= 1;
    let error = pair.server.take_in(&wire).unwrap_err();
    assert_eq!(error.phase(), TlsPhase::Transfer);
}

#[test]
fn what_is_missing_or_wrong_in_a_setup_is_named() {
    let authority = Authority::new("us");
    assert!(matches!(
        ServerTls::builder().build(),
        Err(crate::tls::TlsConfigError::NoIdentity)
    ));
    assert!(ClientTls::builder().root_pem(b"no certificate").is_err());
    assert!(
        Identity::from_pem(b"", b"")
            .unwrap_err()
            .to_string()
            .contains("private key")
    );
    let bad_name = authority
        .server()
        .identity_for("not a host", authority.identity(&["a.test"]));
    assert!(
        bad_name
            .build()
            .unwrap_err()
            .to_string()
            .contains("not a host")
    );
    let (one, other) = (
        authority.identity(&["a.test"]),
        authority.identity(&["a.test"]),
    );
    let mixed = Identity {
        chain: one.chain,
        key: other.key,
    };
    assert!(ServerTls::builder().identity(mixed).build().is_err());
}

#[test]
fn a_flood_is_taken_in_as_far_as_there_is_room_for_its_clear_text() {
    let authority = Authority::new("us");
    let (server, client) = (
        authority.server().build().unwrap(),
        authority.client().build().unwrap(),
    );
    let mut pair = Pair::new(&client, &server, "a.test");
    pair.shake_hands();
    let clear: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let Pair {
        mut client,
        mut server,
        ..
    } = pair;
    assert_eq!(send(&clear, &mut client, &mut server, usize::MAX), clear);
}

/// What happens to what one end says in one round of a dialogue.
#[derive(Clone, Debug)]
struct Mangle {
    round: usize,
    way: usize,
    /// Where, as a part of the whole.
    at: f64,
    what: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Flip(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Repeat(usize),
    Swap(usize),
    Cut,
}

fn mangle() -> impl Strategy<Value = Mangle> {
    let what = prop_oneof![
        3 => (1_u8..=255).prop_map(Kind::Flip),
        2 => prop::collection::vec(any::<u8>(), 1..300).prop_map(Kind::Insert),
        2 => (1_usize..300).prop_map(Kind::Remove),
        2 => (1_usize..300).prop_map(Kind::Repeat),
        1 => (1_usize..300).prop_map(Kind::Swap),
        1 => Just(Kind::Cut),
    ];
    (0_usize..5, 0_usize..2, 0.0..1.0, what).prop_map(|(round, way, at, what)| Mangle {
        round,
        way,
        at,
        what,
    })
}

impl Mangle {
    fn apply(&self, wire: &mut Vec<u8>) {
        if wire.is_empty() {
            return;
        }
        let at = (self.at * wire.len() as f64) as usize;
        let len = wire.len();
        let some = |count: usize| at..len.min(at + count);
        match &self.what {
            Kind::Flip(bits) => wire[at] ^= bits,
            Kind::Insert(bytes) => drop(wire.splice(at..at, bytes.iter().copied())),
            Kind::Remove(count) => drop(wire.drain(some(*count))),
            Kind::Repeat(count) => {
                let again = wire[some(*count)].to_vec();
                wire.splice(at..at, again);
            }
            Kind::Swap(count) => wire[some(*count)].reverse(),
            Kind::Cut => wire.truncate(at),
        }
    }
}

fn pattern(step: usize, len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * step % 251) as u8).collect()
}

/// The same client, by TLS 1.2 alone.
fn only_tls12(client: ClientTls, authority: &Authority) -> ClientTls {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::clone(client.config.crypto_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientTls::from(Arc::new(config))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_sent_in_whatever_pieces_arrives_whole_and_in_order(
        pieces in prop::collection::vec((any::<bool>(), 0_usize..40_000, 1_usize..20_000), 1..12),
    ) {
        let authority = Authority::new("us");
        let (server, client) = (authority.server().build().unwrap(), authority.client().build().unwrap());
        let mut pair = Pair::new(&client, &server, "a.test");
        pair.shake_hands();
        for (from_client, length, segment) in pieces {
            let clear: Vec<u8> = (0..length).map(|n| (n * 7 + segment) as u8).collect();
            let (from, to) = if from_client {
                (&mut pair.client, &mut pair.server)
            } else {
                (&mut pair.server, &mut pair.client)
            };
            prop_assert_eq!(send(&clear, from, to, segment), clear);
        }
    }

    #[test]
    fn however_the_wire_is_mangled_nothing_comes_out_but_what_was_sent(
        mangling in prop::collection::vec(mangle(), 0..4),
        old in any::<bool>(),
        segment in 1_usize..4000,
    ) {
        let authority = Authority::new("us");
        let server = authority.server().build().unwrap();
        let client = authority.client().build().unwrap();
        let client = if old { only_tls12(client, &authority) } else { client };
        let mut pair = Pair::new(&client, &server, "a.test");
        // Each says so much, the client in the handshake already.
        let said = [pattern(3, 5000), pattern(5, 20_000)];
        let mut wires = [Vec::new(), Vec::new()];
        pair.client.write(&said[0], &mut wires[0]);
        pair.server.write(&said[1], &mut wires[1]);
        let mut heard = [Vec::new(), Vec::new()];
        let mut broken = false;
        // The dialogue is at an end after a few rounds; a mangled one may stand still before.
        for round in 0..10 {
            for (way, heard) in heard.iter_mut().enumerate() {
                let (from, to) = match way {
                    0 => (&mut pair.client, &mut pair.server),
                    _ => (&mut pair.server, &mut pair.client),
                };
                let mut wire = std::mem::take(&mut wires[way]);
                from.take_out(&mut wire);
                for mangle in mangling.iter().filter(|mangle| (mangle.round, mangle.way) == (round, way)) {
                    mangle.apply(&mut wire);
                }
                for part in wire.chunks(segment) {
                    let mut part = part;
                    while !part.is_empty() && !broken {
                        match to.take_in(part) {
                            Ok(taken) => part = &part[taken..],
                            Err(_) => broken = true,
                        }
                        let (before, mut buffer) = (part.len(), vec![0; 4096]);
                        while let Clear::Some(count) = to.hand_out(&mut buffer) {
                            heard.extend_from_slice(&buffer[..count]);
                        }
                        if to.is_peer_closed() && part.len() == before {
                            break;
                        }
                    }
                }
            }
        }
        if mangling.is_empty() {
            prop_assert!(heard == said, "unspoilt, everything arrives");
        }
        prop_assert!(said[0].starts_with(&heard[0]), "the server was told something else");
        prop_assert!(said[1].starts_with(&heard[1]), "the client was told something else");
    }

    #[test]
    fn no_input_makes_it_panic(input in prop::collection::vec(any::<u8>(), 0..2000)) {
        let authority = Authority::new("us");
        let mut server = Session::server(Arc::clone(&authority.server().build().unwrap().config)).unwrap();
        let _ = server.take_in(&input);
        let _ = server.hand_out(&mut [0; 100]);
        let mut wire = Vec::new();
        server.take_out(&mut wire);
    }
}
