//! How a server does TLS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::{
    ClientHello, ResolvesServerCert, ResolvesServerCertUsingSni, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{KeyLogFile, RootCertStore, ServerConfig};

use super::config_error::TlsConfigError;
use super::identity::{Identity, certificates};
use super::{Timeouts, provider};

/// How a server does TLS: who it is, under which names, whom it lets in. Cheap to clone; `Send + Sync`.
///
/// asyncio: an `SSLContext` for servers. tokio-rustls: `TlsAcceptor`.
#[doc(alias = "SSLContext")]
#[doc(alias = "TlsAcceptor")]
#[derive(Clone, Debug)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) timeouts: Timeouts,
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// One without is refused.
    #[default]
    Required,
    /// One without is let in; one with a bad certificate is refused.
    Optional,
}

impl ServerTls {
    /// Sets up a server.
    pub fn builder() -> ServerTlsBuilder {
        ServerTlsBuilder::default()
    }

    /// How long a handshake may take. Default: 60 s. asyncio: `ssl_handshake_timeout`.
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

    /// Offers these application protocols (ALPN), the preferred one first, unless some are offered already: for protocol
    /// libraries, which know theirs.
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
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

impl From<Arc<ServerConfig>> for ServerTls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self {
            config,
            timeouts: Timeouts::default(),
        }
    }
}

impl From<ServerConfig> for ServerTls {
    fn from(config: ServerConfig) -> Self {
        Arc::new(config).into()
    }
}

/// Sets up a [`ServerTls`].
#[derive(Default)]
#[must_use = "a builder does nothing unless built"]
pub struct ServerTlsBuilder {
    identity: Option<Identity>,
    named: Vec<(String, Identity)>,
    client_roots: Option<RootCertStore>,
    client_auth: ClientAuth,
    alpn: Vec<Vec<u8>>,
    key_log: bool,
    provider: Option<Arc<CryptoProvider>>,
}

impl ServerTlsBuilder {
    /// The certificate to show to clients that name no host, or none of those below.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The certificate to show to clients that ask for this host (SNI). Without a plain [`identity`](Self::identity), clients
    /// that ask for another host are refused.
    pub fn identity_for(mut self, host: impl Into<String>, identity: Identity) -> Self {
        self.named.push((host.into(), identity));
        self
    }

    /// Asks clients for a certificate from one of the issuers in this PEM text; called again, also from those.
    ///
    /// # Errors
    /// [`TlsConfigError::Pem`] if there is none in it, [`TlsConfigError::Refused`] if one cannot be a root.
    pub fn client_root_pem(mut self, pem: &[u8]) -> Result<Self, TlsConfigError> {
        let roots = self.client_roots.get_or_insert_with(RootCertStore::empty);
        for certificate in certificates(pem)? {
            roots.add(certificate)?;
        }
        Ok(self)
    }

    /// What becomes of clients without a certificate, if they are asked for one. Default: they are refused.
    pub fn client_auth(mut self, auth: ClientAuth) -> Self {
        self.client_auth = auth;
        self
    }

    /// Speaks these application protocols, the preferred first. Clients that offer others only are refused; those that offer
    /// none are served.
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols
            .into_iter()
            .map(|protocol| protocol.as_ref().to_vec())
            .collect();
        self
    }

    /// See [`ClientTlsBuilder::key_log`](super::ClientTlsBuilder::key_log).
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
    /// [`TlsConfigError`]: no certificate, a key that does not fit, a name that is none.
    pub fn build(self) -> Result<ServerTls, TlsConfigError> {
        let provider = provider::choose(self.provider)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match self.client_roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(&provider),
                );
                let verifier = match self.client_auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier
                    .build()
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let resolver = Identities::new(self.identity, self.named, &provider)?;
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = self.alpn;
        // Tickets that only this process can read, changed every six hours: resumption without a table of sessions.
        if let Ok(ticketer) = ticketer(&provider) {
            config.ticketer = ticketer;
        }
        if self.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(config.into())
    }
}

/// The certificates by name, and the one for everybody else.
#[derive(Debug)]
struct Identities {
    named: ResolvesServerCertUsingSni,
    other: Option<Arc<CertifiedKey>>,
}

impl Identities {
    fn new(
        other: Option<Identity>,
        named: Vec<(String, Identity)>,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsConfigError> {
        if other.is_none() && named.is_empty() {
            return Err(TlsConfigError::NoIdentity);
        }
        let certified =
            |identity: Identity| CertifiedKey::from_der(identity.chain, identity.key.0, provider);
        let mut by_name = ResolvesServerCertUsingSni::new();
        for (host, identity) in named {
            if rustls::pki_types::DnsName::try_from(host.as_str()).is_err() {
                return Err(TlsConfigError::BadName(host));
            }
            by_name.add(&host, certified(identity)?)?;
        }
        Ok(Self {
            named: by_name,
            other: other.map(certified).transpose()?.map(Arc::new),
        })
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.named.resolve(hello).or_else(|| self.other.clone())
    }
}

#[cfg(feature = "tls-ring")]
fn ticketer(
    _provider: &CryptoProvider,
) -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error> {
    rustls::crypto::ring::Ticketer::new()
}

#[cfg(all(feature = "tls-aws-lc-rs", not(feature = "tls-ring")))]
fn ticketer(
    _provider: &CryptoProvider,
) -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error> {
    rustls::crypto::aws_lc_rs::Ticketer::new()
}

/// Without either, sessions are kept in a table.
#[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc-rs")))]
fn ticketer(
    _provider: &CryptoProvider,
) -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error> {
    Err(rustls::Error::FailedToGetRandomBytes)
}

impl fmt::Debug for ServerTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.named.iter().map(|(host, _)| host).collect();
        f.debug_struct("ServerTlsBuilder")
            .field("identity", &self.identity)
            .field("names", &names)
            .finish_non_exhaustive()
    }
}
