//! Pure. What key establishment gives to clients.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::nts::ke::server::KeOffer;
use crate::nts::keyring::Keyring;

/// What a session needs; the newest when it starts counts until its end.
#[derive(Clone, Debug)]
pub struct KeService {
    /// The certificates and the rest of TLS.
    pub tls: Arc<ServerConfig>,
    /// The AEADs, and where the NTP server is.
    pub offer: Arc<KeOffer>,
    /// The keys that cookies are sealed with.
    pub keyring: Arc<Keyring>,
}
