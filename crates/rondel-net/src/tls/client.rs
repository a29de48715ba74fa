//! How a client does TLS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, KeyLogFile, RootCertStore};

use super::config_error::TlsConfigError;
use super::identity::{Identity, certificates};
use super::{Timeouts, provider};

/// How a client does TLS: whom it trusts, who it is, what it offers. Cheap to clone; `Send + Sync`.
///
/// asyncio: an `SSLContext` for clients. tokio-rustls: `TlsConnector`.
///
/// ```
/// # #[cfg(feature = "tls-platform-verifier")] {
/// use rondel_net::tls::ClientTls;
///
/// // TLS 1.2 and 1.3, verified against the platform's store.
/// let tls = ClientTls::new()?;
/// # }
/// # Ok::<(), rondel_net::tls::TlsConfigError>(())
/// ```
#[doc(alias = "SSLContext")]
#[doc(alias = "TlsConnector")]
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) timeouts: Timeouts,
}

impl ClientTls {
    /// A client that trusts whom the platform trusts, and shows no certificate.
    ///
    /// # Errors
    /// See [`ClientTlsBuilder::build`].
    pub fn new() -> Result<Self, TlsConfigError> {
        Self::builder().build()
    }

    /// Sets up a client.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder::default()
    }

    /// How long the handshake may take. Default: 60 s. asyncio: `ssl_handshake_timeout`.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.handshake = limit;
        self
    }

    /// How long the farewell may take at the end before the connection is cut. Default: 30 s. asyncio: `ssl_shutdown_timeout`.
    #[must_use]
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.shutdown = limit;
        self
    }

    /// Asks for one of these application protocols (ALPN), the preferred one first, unless some are asked for already: for
    /// protocol libraries, which know theirs.
    #[must_use]
    pub fn alpn_unless_set<P: AsRef<[u8]>>(
        mut self,
        protocols: impl IntoIterator<Item = P>,
    ) -> Self {
        if self.config.alpn_protocols.is_empty() {
            Arc::make_mut(&mut self.config).alpn_protocols = protocols
                .into_iter()
                .map(|protocol| protocol.as_ref().to_vec())
                .collect();
        }
        self
    }

    /// rustls' configuration that it stands for.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }
}

impl From<Arc<ClientConfig>> for ClientTls {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self {
            config,
            timeouts: Timeouts::default(),
        }
    }
}

impl From<ClientConfig> for ClientTls {
    fn from(config: ClientConfig) -> Self {
        Arc::new(config).into()
    }
}

/// Sets up a [`ClientTls`].
#[derive(Default)]
#[must_use = "a builder does nothing unless built"]
pub struct ClientTlsBuilder {
    roots: Option<RootCertStore>,
    identity: Option<Identity>,
    alpn: Vec<Vec<u8>>,
    key_log: bool,
    provider: Option<Arc<CryptoProvider>>,
}

impl ClientTlsBuilder {
    /// Trusts the certificates in this PEM text, instead of those of the platform; called again, also those.
    ///
    /// # Errors
    /// [`TlsConfigError::Pem`] if there is none in it, [`TlsConfigError::Refused`] if one cannot be a root.
    pub fn root_pem(mut self, pem: &[u8]) -> Result<Self, TlsConfigError> {
        let roots = self.roots.get_or_insert_with(RootCertStore::empty);
        for certificate in certificates(pem)? {
            roots.add(certificate)?;
        }
        Ok(self)
    }

    /// Trusts Mozilla's list of roots as it was when this crate was built, instead of that of the platform.
    #[cfg(feature = "tls-webpki-roots")]
    pub fn webpki_roots(mut self) -> Self {
        let roots = self.roots.get_or_insert_with(RootCertStore::empty);
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        self
    }

    /// Shows this certificate when the server asks for one.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Offers these application protocols, the preferred first.
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols
            .into_iter()
            .map(|protocol| protocol.as_ref().to_vec())
            .collect();
        self
    }

    /// Appends the keys of every session to the file that the environment variable `SSLKEYLOGFILE` names, if it does: who
    /// reads it can read all that is sent. For debugging with a network analyser.
    pub fn key_log(mut self, on: bool) -> Self {
        self.key_log = on;
        self
    }

    /// Has `provider` do the cryptography. Default: the process's, else the one compiled in.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`TlsConfigError`], also if the platform's store cannot be read.
    pub fn build(self) -> Result<ClientTls, TlsConfigError> {
        let provider = provider::choose(self.provider)?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match self.roots {
            Some(roots) => builder.with_root_certificates(roots),
            None => by_default(builder, provider)?,
        };
        let mut config = match self.identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key.0)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        if self.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(config.into())
    }
}

type WantsVerifier = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;
type WantsClientCert = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

/// Verification when no roots were named.
#[cfg(feature = "tls-platform-verifier")]
fn by_default(
    builder: WantsVerifier,
    provider: Arc<CryptoProvider>,
) -> Result<WantsClientCert, TlsConfigError> {
    let verifier = rustls_platform_verifier::Verifier::new(provider)?;
    // «dangerous» is rustls' word for any verifier but its own; this one verifies.
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

#[cfg(all(feature = "tls-webpki-roots", not(feature = "tls-platform-verifier")))]
fn by_default(
    builder: WantsVerifier,
    _provider: Arc<CryptoProvider>,
) -> Result<WantsClientCert, TlsConfigError> {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    Ok(builder.with_root_certificates(roots))
}

#[cfg(not(any(feature = "tls-webpki-roots", feature = "tls-platform-verifier")))]
fn by_default(
    _builder: WantsVerifier,
    _provider: Arc<CryptoProvider>,
) -> Result<WantsClientCert, TlsConfigError> {
    Err(TlsConfigError::NoRoots)
}

impl fmt::Debug for ClientTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTlsBuilder")
            .field("roots", &self.roots.as_ref().map(RootCertStore::len))
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
