//! Pure. The client's side of TLS 1.3, for a client that may not know the time.
//!
//! A certificate is checked for everything but its dates: signatures, names, purpose. Its dates, and those of the
//! certificates that lead to a trusted one, are remembered for the caller, which knows what time they have to fit.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::provider;

/// The largest number of certificates that a server may send; usual are two or three.
const MOST_CERTIFICATES: usize = 16;

/// The dates of a chain of certificates, in seconds since 1970, both inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainDates {
    /// The first second at which all of them are valid.
    pub not_before: i64,
    /// The last second at which all of them are valid.
    pub not_after: i64,
}

/// The settings of one connection, and what is learned of the server's certificate.
#[derive(Clone, Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    verifier: Arc<DatelessVerifier>,
}

impl TlsClient {
    /// Returns the settings for a server that speaks the application protocol `alpn`.
    ///
    /// Its certificate must be signed by one of `trusted`, or be one of these itself.
    ///
    /// # Errors
    /// The cryptography lacks TLS 1.3.
    pub fn new(trusted: &[CertificateDer<'static>], alpn: &[u8]) -> Result<Self, Error> {
        let provider = provider();
        let mut roots = RootCertStore::empty();
        // Systems have certificates that are not understood here; of them none is needed.
        roots.add_parsable_certificates(trusted.iter().cloned());
        let verifier = Arc::new(DatelessVerifier {
            roots,
            pinned: trusted.to_vec(),
            provider: Arc::clone(&provider),
            found: OnceLock::new(),
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            verifier,
        })
    }

    /// Returns the settings for the TLS library.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Returns the dates of the certificate, once a handshake came as far.
    pub fn dates(&self) -> Option<ChainDates> {
        self.verifier.found.get().copied()
    }
}

/// Returns the name in a certificate that a server of this `name` must have; `None` if it can't be in one.
pub fn server_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.trim_end_matches('.').to_owned()).ok()
}

/// Returns the address in a certificate that a server at this `address` must have.
pub fn server_address(address: IpAddr) -> ServerName<'static> {
    ServerName::IpAddress(address.into())
}

/// Returns the names that a certificate is for, as people read them.
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let nothing = ServerName::try_from("nothing.invalid").ok();
    let refused = nothing
        .zip(ParsedCertificate::try_from(certificate).ok())
        .and_then(|(nothing, parsed)| verify_server_name(&parsed, &nothing).err());
    match refused {
        Some(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => {
            presented.iter().map(|name| plain(name)).collect()
        }
        Some(_) | None => Vec::new(),
    }
}

/// Returns the name alone of a text such as `DnsName("a.example")`.
fn plain(name: &str) -> String {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let name = inside.unwrap_or(name).trim_matches('"');
    name.parse::<IpAddr>()
        .map_or_else(|_| name.to_owned(), |address| address.to_string())
}

/// Checks all of a certificate except its dates.
#[derive(Debug)]
struct DatelessVerifier {
    roots: RootCertStore,
    /// The same certificates as they are: one of them may be the server's own.
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    found: OnceLock<ChainDates>,
}

impl DatelessVerifier {
    /// Returns the dates of the chain to a trusted certificate.
    ///
    /// There may be more than one chain. Each begins and ends to be valid when one of its certificates does, so these
    /// times are tried, each with the certificates that are valid then: others would only hide the reason of a refusal.
    fn dates(&self, server: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<ChainDates, Error> {
        if self.pinned.contains(server) {
            return own_dates(server);
        }
        let parsed = ParsedCertificate::try_from(server)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let dated: Vec<_> = others
            .iter()
            .filter_map(|one| Some((own_dates(one).ok()?, one.clone())))
            .collect();
        let check = |at: i64| {
            let valid = dated
                .iter()
                .filter(|(dates, _)| (dates.not_before..=dates.not_after).contains(&at));
            let valid: Vec<_> = valid.map(|(_, one)| one.clone()).collect();
            let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).unwrap_or(0)));
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, &valid, at, algorithms)
        };
        let all = dated.iter().map(|(dates, _)| *dates).chain([own_dates(server)?]);
        let mut times: Vec<_> = all
            .flat_map(|dates| [dates.not_before, dates.not_after])
            .collect();
        times.sort_unstable();
        let mut refused = None;
        let mut valid: Option<ChainDates> = None;
        for at in times {
            match check(at) {
                Ok(()) => {
                    valid
                        .get_or_insert(ChainDates {
                            not_before: at,
                            not_after: at,
                        })
                        .not_after = at
                }
                // One that is not about the dates is the better reason.
                Err(error) if refused.is_none() || !is_of_dates(&error) => refused = Some(error),
                Err(_) => {}
            }
        }
        valid.ok_or(refused.unwrap_or(Error::InvalidCertificate(CertificateError::BadEncoding)))
    }
}

const fn is_of_dates(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    )
}

/// Returns the dates of one certificate.
fn own_dates(certificate: &CertificateDer<'_>) -> Result<ChainDates, Error> {
    let parsed = Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let validity = parsed.tbs_certificate.validity;
    let [not_before, not_after] = [validity.not_before, validity.not_after]
        .map(|time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX));
    if not_before > not_after {
        return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
    }
    Ok(ChainDates {
        not_before,
        not_after,
    })
}

impl ServerCertVerifier for DatelessVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.len() >= MOST_CERTIFICATES {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        let dates = self.dates(end_entity, intermediates)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        // A second handshake of the same settings gives the same dates, or none.
        match self.found.get_or_init(|| dates) == &dates {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    /// Refuses: TLS 1.2 is not offered.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests;
