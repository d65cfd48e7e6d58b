//! Pure. The keys, certificates and offers that clients get.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::nts::ke::server::KeOffer;
use crate::nts::keyring::Keyring;

/// The inputs of a session: the newest ones when it starts count until its end.
#[derive(Clone, Debug)]
pub struct KeService {
    /// The certificates and the rest of TLS.
    pub tls: Arc<ServerConfig>,
    /// The AEADs, and where the NTP server is.
    pub offer: Arc<KeOffer>,
    /// The keys that cookies are sealed with.
    pub keyring: Arc<Keyring>,
}
