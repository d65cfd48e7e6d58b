//! Pure. TLS: what both sides of it need.

pub mod certificate;
pub mod client;
pub mod server;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// Returns the cryptography of TLS.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
