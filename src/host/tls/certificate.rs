//! Pure. A certificate chain with its private key, as files have them, and what it says of itself.

use std::fmt;
use std::net::IpAddr;

use rustls::client::verify_server_name;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::OctetString;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::provider;

/// Longest file with a chain or a key that is read, in bytes.
pub const LONGEST: u64 = 1 << 20;

/// The content of a certificate that people read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The names and addresses that it is for; names may begin with `*.`.
    pub names: Vec<String>,
    /// The first moment at which it is valid, in seconds since 1970.
    pub not_before: i64,
    /// The last moment at which it is valid, in seconds since 1970.
    pub not_after: i64,
}

/// The reason why two files are no pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairFault {
    /// The file of the certificate is not usable.
    Certificate(String),
    /// The file of the key is not usable.
    Key(String),
    /// Both are usable, but the key is another certificate's.
    Mismatch,
}

impl fmt::Display for PairFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(why) | Self::Key(why) => f.write_str(why),
            Self::Mismatch => f.write_str("the key does not belong to the first certificate of the chain"),
        }
    }
}

/// A certificate chain and the key of its first certificate.
pub struct CertificatePair {
    key: CertifiedKey,
    facts: CertificateFacts,
}

impl CertificatePair {
    /// Reads the PEM texts of a chain, the server's own certificate first, and of its key.
    ///
    /// # Errors
    /// See [`PairFault`].
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Self, PairFault> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| PairFault::Certificate(format!("is no PEM file: {error}")))?;
        let first = chain.first().ok_or_else(|| {
            PairFault::Certificate("has no certificate: it has no BEGIN CERTIFICATE".to_owned())
        })?;
        let facts = CertificateFacts::of(first)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| PairFault::Key(no_key(&error)))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| no_pair(&error))?;
        Ok(Self { key, facts })
    }

    /// Returns the facts of the server's certificate.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Returns the pair for TLS.
    pub fn certified_key(&self) -> &CertifiedKey {
        &self.key
    }

    /// Whether the certificate is for `name`, and its key makes a signature of one of the `schemes`.
    pub fn fits(&self, name: &str, schemes: &[SignatureScheme]) -> bool {
        let certificate = self.key.end_entity_cert().and_then(ParsedCertificate::try_from);
        let is_for = certificate.is_ok_and(|certificate| {
            ServerName::try_from(name).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
        });
        is_for && self.key.key.choose_scheme(schemes).is_some()
    }
}

/// Two pairs are the same if their chains are: the key belongs to the chain.
impl PartialEq for CertificatePair {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

/// Says nothing of the key.
impl fmt::Debug for CertificatePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CertificatePair").field(&self.facts).finish()
    }
}

impl CertificateFacts {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, PairFault> {
        let unusable = |error| PairFault::Certificate(format!("is no usable certificate: {error}"));
        let certificate = Certificate::from_der(certificate).map_err(unusable)?;
        let about = &certificate.tbs_certificate;
        let seconds = |time: &x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
        };
        let names = about.get::<SubjectAltName>().map_err(unusable)?;
        let names: Vec<String> = names
            .iter()
            .flat_map(|(_, names)| names.0.iter().filter_map(shown))
            .collect();
        if names.is_empty() {
            return Err(PairFault::Certificate(
                "names no server: clients need the name in its subjectAltName".to_owned(),
            ));
        }
        Ok(Self {
            names,
            not_before: seconds(&about.validity.not_before),
            not_after: seconds(&about.validity.not_after),
        })
    }

    /// Returns its names, separated by commas.
    pub fn all_names(&self) -> String {
        self.names.join(", ")
    }

    /// Returns the seconds from `now` (since 1970) to its end; negative after it.
    pub const fn seconds_left(&self, now: i64) -> i64 {
        self.not_after.saturating_sub(now)
    }

    /// Returns how long it is still valid at `now` (in seconds since 1970), for people.
    pub fn left(&self, now: i64) -> String {
        const DAY: i64 = 86_400;
        match self.seconds_left(now) {
            _ if now < self.not_before => {
                let days = self.not_before.saturating_sub(now) / DAY;
                format!("not valid yet, for {days} days more")
            }
            left if left < 0 => format!("expired {} days ago", left.unsigned_abs() / 86_400),
            left => format!("{} days left", left / DAY),
        }
    }
}

fn shown(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(address) => address_of(address).map(|address| address.to_string()),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

fn address_of(bytes: &OctetString) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes.as_bytes()).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes.as_bytes()).ok().map(IpAddr::from))
}

fn no_pair(error: &rustls::Error) -> PairFault {
    if let rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) = error {
        PairFault::Mismatch
    } else if let rustls::Error::InvalidCertificate(why) = error {
        PairFault::Certificate(format!("is no usable certificate: {why}"))
    } else {
        PairFault::Key(format!(
            "has a key of another kind than ECDSA (P-256, P-384), Ed25519 and RSA (2048 to 8192 bits): {error}"
        ))
    }
}

fn no_key(error: &pem::Error) -> String {
    if let pem::Error::NoItemsFound = error {
        "has no private key that can be read: it has no BEGIN PRIVATE KEY (a key with a password can't be used)"
            .to_owned()
    } else {
        format!("is no PEM file: {error}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Made by `openssl req -x509 -newkey ec` and the like: see `tests/common/certificate.rs`.
    pub(crate) const CHAIN: &[u8] = include_bytes!("../../../tests/common/certificates/time.pem");
    pub(crate) const KEY: &[u8] = include_bytes!("../../../tests/common/certificates/time.key");
    const WILD: &[u8] = include_bytes!("../../../tests/common/certificates/wild.pem");
    const WILD_KEY: &[u8] = include_bytes!("../../../tests/common/certificates/wild.key");
    const NAMELESS: &[u8] = include_bytes!("../../../tests/common/certificates/nameless.pem");

    const SCHEMES: [SignatureScheme; 1] = [SignatureScheme::ECDSA_NISTP256_SHA256];

    #[test]
    fn names_and_validity_are_read() {
        let pair = CertificatePair::read(CHAIN, KEY).unwrap();
        let facts = pair.facts();
        assert_eq!(
            facts.all_names(),
            "time.example, localhost, 127.0.0.1, 127.0.0.2, ::1"
        );
        let day = 86_400;
        assert_eq!(facts.left(facts.not_after - 10 * day), "10 days left");
        assert_eq!(facts.left(facts.not_after + 3 * day), "expired 3 days ago");
        assert_eq!(
            facts.left(facts.not_before - 2 * day),
            "not valid yet, for 2 days more"
        );
    }

    #[test]
    fn a_pair_is_for_its_names_and_kinds_of_signatures() {
        let pair = CertificatePair::read(CHAIN, KEY).unwrap();
        let wild = CertificatePair::read(WILD, WILD_KEY).unwrap();
        for (name, first, second) in [
            ("time.example", true, false),
            ("TIME.example", true, false),
            ("other.example", false, false),
            ("a.wild.example", false, true),
            ("a.b.wild.example", false, false),
            ("127.0.0.1", true, false),
            ("", false, false),
        ] {
            assert_eq!(pair.fits(name, &SCHEMES), first, "{name}");
            let wild = wild.fits(name, &[SignatureScheme::ED25519]);
            assert_eq!(wild, second, "{name}");
        }
        assert!(!pair.fits("time.example", &[SignatureScheme::ED25519]));
    }

    #[test]
    fn each_fault_says_which_file_and_why() {
        let fault = |chain: &[u8], key: &[u8]| CertificatePair::read(chain, key).unwrap_err();
        for (chain, key, is_the_key, words) in [
            (CHAIN, WILD_KEY, true, "does not belong"),
            (b"", KEY, false, "no BEGIN CERTIFICATE"),
            (KEY, KEY, false, "no BEGIN CERTIFICATE"),
            (NAMELESS, KEY, false, "names no server"),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                KEY,
                false,
                "no usable certificate",
            ),
            (CHAIN, b"", true, "no private key"),
            (CHAIN, CHAIN, true, "no private key"),
            (
                CHAIN,
                b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                true,
                "another kind",
            ),
            (
                CHAIN,
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                true,
                "password",
            ),
        ] {
            let fault = fault(chain, key);
            assert_eq!(
                is_the_key,
                !matches!(fault, PairFault::Certificate(_)),
                "{fault:?}"
            );
            assert!(fault.to_string().contains(words), "{fault}");
        }
    }

    #[test]
    fn printed_it_says_nothing_of_the_key() {
        let printed = format!("{:?}", CertificatePair::read(CHAIN, KEY).unwrap());
        assert!(
            printed.starts_with("CertificatePair(CertificateFacts {"),
            "{printed}"
        );
    }
}
