//! Pure. Tests of certificates: handshakes in memory, with those of `tests/common/upstream_certificates`.

use super::*;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConnection, ServerConfig, ServerConnection};

const YEAR_2020: i64 = 1_577_836_800;
const YEAR_2021: i64 = 1_609_459_200;
const YEAR_2024: i64 = 1_704_067_200;
const YEAR_2026: i64 = 1_767_225_600;
const JULY_2026: i64 = 1_782_864_000;

fn pem(name: &str) -> Vec<CertificateDer<'static>> {
    let path = format!(
        "{}/tests/common/upstream_certificates/{name}.pem",
        env!("CARGO_MANIFEST_DIR")
    );
    CertificateDer::pem_file_iter(path)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn server(chain: &str, alpn: &[u8]) -> ServerConnection {
    let key = include_bytes!("../../../../tests/common/upstream_certificates/time.key");
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(pem(chain), PrivateKeyDer::from_pem_slice(key).unwrap())
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// A handshake: the dates of the certificate, or why the client refuses it.
fn handshake(chain: &str, trusted: &[&str], name: &str, alpn: &[u8]) -> Result<ChainDates, Error> {
    let trusted: Vec<_> = trusted.iter().flat_map(|name| pem(name)).collect();
    let settings = TlsClient::new(&trusted, b"ntske/1").unwrap();
    let mut client = ClientConnection::new(settings.config(), server_name(name).unwrap()).unwrap();
    let mut server = server(chain, alpn);
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        let refused = server.process_new_packets();
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets()?;
        refused?;
    }
    Ok(settings.dates().unwrap())
}

#[test]
fn dates_are_found_and_not_checked() {
    for (chain, trusted, from, to) in [
        ("time", &["root"][..], YEAR_2020, 4_701_974_400),
        ("time", &["old", "root"], YEAR_2020, 4_701_974_400),
        ("expired", &["root"], YEAR_2020, YEAR_2021),
        // Those in between count, too.
        ("leaf-chain", &["root"], YEAR_2026, JULY_2026),
        ("early-chain", &["root"], YEAR_2024, JULY_2026),
        // Another way to a trusted one, which has ended, does not.
        ("leaf-chain", &["root", "old"], YEAR_2026, JULY_2026),
        // A server's own certificate is trusted by itself.
        ("time", &["time"], YEAR_2020, 4_701_974_400),
    ] {
        for name in ["localhost", "LocalHost.", "time.example", "127.0.0.1", "::1"] {
            let expected = ChainDates {
                not_before: from,
                not_after: to,
            };
            assert_eq!(
                handshake(chain, trusted, name, b"ntske/1"),
                Ok(expected),
                "{chain} {name}"
            );
        }
    }
    let own = handshake("self", &["self"], "localhost", b"ntske/1").unwrap();
    assert!(own.not_after - own.not_before > 99 * 365 * 86_400);
}

#[test]
fn all_else_is_checked() {
    let of = |chain, trusted: &[&str], name| match handshake(chain, trusted, name, b"ntske/1") {
        Err(Error::InvalidCertificate(why)) => why,
        other => panic!("{chain} {name}: {other:?}"),
    };
    for name in ["other.example", "example", "127.0.0.2", "::2"] {
        let why = of("time", &["root"], name);
        assert!(
            matches!(why, CertificateError::NotValidForNameContext { .. }),
            "{name}: {why:?}"
        );
        let why = of("self", &["self"], name);
        assert!(
            matches!(why, CertificateError::NotValidForNameContext { .. }),
            "{name}: {why:?}"
        );
    }
    assert!(matches!(
        of("other", &["root"], "localhost"),
        CertificateError::NotValidForNameContext { .. }
    ));
    for (chain, trusted) in [
        ("time", &["old"][..]),
        ("time", &[]),
        ("expired", &["old"]),
        ("leaf-chain", &["self"]),
        // There was no second at which the chain to this one was valid.
        ("leaf-chain", &["old"]),
        ("self", &["root"]),
        ("self", &["time"]),
    ] {
        let why = of(chain, trusted, "localhost");
        let is_known = matches!(why, CertificateError::UnknownIssuer | CertificateError::Other(_));
        assert!(is_known, "{chain} {trusted:?}: {why:?}");
    }
}

#[test]
fn another_protocol_is_none() {
    assert!(handshake("time", &["root"], "localhost", b"h2").is_err());
}

#[test]
fn names_are_shown() {
    let [certificate] = &pem("time")[..] else { panic!() };
    assert_eq!(
        names(certificate),
        ["time.example", "localhost", "127.0.0.1", "::1"]
    );
    assert_eq!(names(&CertificateDer::from(vec![1])), [""; 0]);
    assert_eq!(server_name("a b"), None);
}
