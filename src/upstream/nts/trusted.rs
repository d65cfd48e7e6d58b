//! Pure. The certificates of the authorities that are trusted, as a file has them.

use std::fmt;
use std::io::BufRead;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// The largest number of certificates of a file that are read; systems have about 150.
const MOST: usize = 4096;

/// The files where systems have the certificates of authorities: Debian's, Red Hat's.
pub const OF_SYSTEM: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// Certificates: of authorities, or of a server itself. Copies share their memory.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedCertificates(Arc<[CertificateDer<'static>]>);

impl TrustedCertificates {
    /// Reads the PEM text of a file; anything between certificates is a comment.
    ///
    /// # Errors
    /// The file can't be read, or has no certificate: the reason, for the operator.
    pub fn read(text: &mut dyn BufRead) -> Result<Self, String> {
        let mut all = Vec::new();
        for certificate in CertificateDer::pem_reader_iter(text) {
            all.push(certificate.map_err(|error| fault(&error))?);
            if all.len() > MOST {
                return Err(format!("has more than {MOST} certificates"));
            }
        }
        if all.is_empty() {
            return Err("has no certificate (PEM, BEGIN CERTIFICATE)".to_owned());
        }
        Ok(Self(all.into()))
    }

    /// Returns a certificate that is none, for tests.
    #[cfg(test)]
    pub(crate) fn example(byte: u8) -> Self {
        Self([CertificateDer::from(vec![byte])].into())
    }

    /// Returns the certificates.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}

fn fault(error: &pem::Error) -> String {
    if let pem::Error::Io(error) = error {
        return format!("cannot read: {error}");
    }
    format!("is no PEM file: {error}")
}

/// Prints their number only.
impl fmt::Debug for TrustedCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedCertificates({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_read_and_nothing_else_is() {
        let one = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n";
        let of =
            |text: &str| TrustedCertificates::read(&mut text.as_bytes()).map(|all| all.certificates().len());
        assert_eq!(of(one), Ok(1));
        assert_eq!(of(&format!("# mine\n{one}\nname\n{key}{one}")), Ok(2));
        for (text, words) in [
            ("", "no certificate"),
            (key, "no certificate"),
            ("nonsense", "no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAQID\n", "no PEM file"),
            (
                "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
                "no PEM file",
            ),
        ] {
            assert!(of(text).unwrap_err().contains(words), "{text} {:?}", of(text));
        }
        assert!(of(&one.repeat(MOST)).is_ok() && of(&one.repeat(MOST + 1)).is_err());
    }
}
