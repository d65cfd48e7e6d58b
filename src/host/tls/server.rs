//! Pure. The server's side of TLS: version 1.3, one application protocol, nothing that is kept of a client.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;

use super::certificate::CertificatePair;
use super::provider;

/// Returns the settings of a server that has these `pairs` and speaks the application protocol `alpn`.
///
/// There are no tickets, no early data and no client certificates.
///
/// # Errors
/// The cryptography lacks what TLS 1.3 needs.
//= RFC 8915 §3 tls13
pub fn settings(pairs: &[Arc<CertificatePair>], alpn: &[u8]) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut settings = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(PairResolver::new(pairs)));
    settings.alpn_protocols = vec![alpn.to_vec()];
    settings.send_tls13_tickets = 0;
    settings.max_early_data_size = 0;
    settings.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(settings))
}

/// The choice of a pair by the name that a client asks for.
#[derive(Debug)]
struct PairResolver(Vec<(Arc<CertificatePair>, Arc<CertifiedKey>)>);

impl PairResolver {
    fn new(pairs: &[Arc<CertificatePair>]) -> Self {
        let with_key =
            |pair: &Arc<CertificatePair>| (Arc::clone(pair), Arc::new(pair.certified_key().clone()));
        Self(pairs.iter().map(with_key).collect())
    }
}

impl ResolvesServerCert for PairResolver {
    /// Returns the first pair that is for the name, or else the first of all: then the client can say what is wrong.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let of_name = hello
            .server_name()
            .and_then(|name| self.0.iter().find(|(pair, _)| pair.fits(name, schemes)));
        of_name.or_else(|| self.0.first()).map(|(_, key)| Arc::clone(key))
    }
}
