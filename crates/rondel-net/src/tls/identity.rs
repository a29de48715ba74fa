//! A certificate and its key.

use std::fmt;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::config_error::TlsConfigError;

/// What one end shows to the other to say who it is: a chain of certificates, its own first, and the private key to it.
#[derive(Debug)]
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Key,
}

/// A key that is not shown.
pub(super) struct Key(pub(super) PrivateKeyDer<'static>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Identity {
    /// From DER, as rustls has it.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self {
            chain,
            key: Key(key),
        }
    }

    /// From PEM: all certificates in `chain`, in order, and the first private key (PKCS #8, PKCS #1 or SEC 1) in `key`; the two
    /// may be the same text.
    ///
    /// # Errors
    /// [`TlsConfigError::Pem`] if either is not there.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsConfigError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsConfigError::Pem {
            what: "a private key",
            source,
        })?;
        Ok(Self::new(certificates(chain)?, key))
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: Key(self.key.0.clone_key()),
        }
    }
}

/// All certificates in a PEM text; none is an error.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let error = |source| TlsConfigError::Pem {
        what: "certificates",
        source,
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(error)?;
    if found.is_empty() {
        return Err(error(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}
