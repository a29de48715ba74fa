//! Who does the cryptography.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::config_error::TlsConfigError;

/// The one that was asked for, else the process's, else the one that was compiled in.
pub(super) fn choose(
    asked: Option<Arc<CryptoProvider>>,
) -> Result<Arc<CryptoProvider>, TlsConfigError> {
    asked
        .or_else(|| CryptoProvider::get_default().cloned())
        .or_else(compiled_in)
        .ok_or(TlsConfigError::NoProvider)
}

#[cfg(feature = "tls-ring")]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(all(feature = "tls-aws-lc-rs", not(feature = "tls-ring")))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc-rs")))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    None
}
