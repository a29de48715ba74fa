//! Somebody who issues certificates.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rondel_net::tls::{ClientTls, Identity, ServerTls};

pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        // No two are of one name: a certificate names its issuer, and is looked at no further if that is another one.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("authority {number}"));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let issued = self.issue(name);
        Identity::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap()
    }

    pub(crate) fn server(&self) -> ServerTls {
        ServerTls::builder()
            .identity(self.identity("localhost"))
            .build()
            .unwrap()
    }

    pub(crate) fn client(&self) -> ClientTls {
        ClientTls::builder()
            .root_pem(self.pem.as_bytes())
            .unwrap()
            .build()
            .unwrap()
    }
}
