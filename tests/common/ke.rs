//! Key establishment as a client: real TLS, with the certificates of `tests/common/certificates`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ntpfront::nts::AssociationKeys;
use ntpfront::nts::aead::Algorithm;
use ntpfront::nts::ke::ALPN;
use ntpfront::nts::ke::client::{Granted, read, request};
use ntpfront::nts::ke::{KeyExport, record};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::TempDir;

/// A time in which this host comes to an end with a session.
const PATIENCE: Duration = Duration::from_secs(10);

/// The directory with the certificates.
fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/certificates")
}

/// The key of a certificate: some have another one's.
fn key_of(name: &str) -> &str {
    match name {
        "expired" => "time",
        other => other,
    }
}

/// Puts the pair called `name` into `directory`, as `tls.pem` and `tls.key`, each in the place of the old one.
pub(crate) fn install(directory: &TempDir, name: &str) {
    for (of, to) in [
        (format!("{}.key", key_of(name)), "tls.key"),
        (format!("{name}.pem"), "tls.pem"),
    ] {
        let text = std::fs::read(certificates().join(of)).unwrap();
        let new = directory.file("new", text);
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::fs::rename(new, directory.path().join(to)).unwrap();
    }
}

/// Writes the secrets of these numbers into `directory`, the newest first, and returns the path.
pub(crate) fn secrets(directory: &TempDir, numbers: &[u8]) -> PathBuf {
    let line = |number: &u8| ntpfront::nts::secret_file::line([*number; 32]);
    let new = directory.file("new", numbers.iter().map(line).collect::<String>());
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o640)).unwrap();
    let path = directory.path().join("secret");
    std::fs::rename(new, &path).unwrap();
    path
}

/// The lines of `[nts]` for key establishment at `address` with what is installed in `directory`.
pub(crate) fn section(directory: &TempDir, address: SocketAddr) -> String {
    let path = directory.path().display();
    format!("[nts]\nlisten = [\"{address}\"]\ncertificate = \"{path}/tls.pem\"\nkey = \"{path}/tls.key\"\n")
}

/// How a client speaks TLS.
#[derive(Clone, Debug)]
pub(crate) struct KeClient {
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) name: &'static str,
    /// The file of the authority that it trusts.
    pub(crate) authority: PathBuf,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) granted: Granted,
    pub(crate) keys: AssociationKeys,
    /// The certificate of the server.
    pub(crate) certificate: CertificateDer<'static>,
}

impl Default for KeClient {
    fn default() -> Self {
        Self {
            alpn: vec![ALPN.to_vec()],
            name: "time.example",
            authority: certificates().join("ca.pem"),
        }
    }
}

impl KeClient {
    fn connection(&self) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(&self.authority).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols.clone_from(&self.alpn);
        ClientConnection::new(Arc::new(config), ServerName::try_from(self.name).unwrap()).unwrap()
    }

    /// Sends `message` inside TLS, and returns the answer up to the end of the connection, and the connection itself.
    ///
    /// The first error of the connection or of TLS is the error.
    pub(crate) fn exchange(
        &self,
        address: SocketAddr,
        message: &[u8],
    ) -> io::Result<(Vec<u8>, ClientConnection)> {
        let mut stream = connect(address)?;
        let mut tls = self.connection();
        let mut both = rustls::Stream::new(&mut tls, &mut stream);
        both.write_all(message)?;
        both.flush()?;
        let mut answer = Vec::new();
        // It ends with a close_notify: without it this is an error.
        both.read_to_end(&mut answer)?;
        // And then the connection itself.
        assert_eq!(stream.read(&mut [0])?, 0);
        Ok((answer, tls))
    }

    /// Establishes keys of one of `algorithms`.
    pub(crate) fn establish(&self, address: SocketAddr, algorithms: &[Algorithm]) -> io::Result<Established> {
        let (answer, tls) = self.exchange(address, &request(algorithms))?;
        let granted = read(&answer, algorithms)
            .unwrap_or_else(|fault| panic!("{fault:?}: {answer:?}"))
            .expect("the answer is whole");
        let keys = granted.export.keys(|context, key| {
            tls.export_keying_material(key, KeyExport::LABEL, Some(context))
                .is_ok()
        });
        let certificates = tls.peer_certificates().unwrap();
        Ok(Established {
            granted,
            keys: keys.unwrap(),
            certificate: certificates[0].clone().into_owned(),
        })
    }

    /// The first bytes that a client sends: its ClientHello.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        self.connection().write_tls(&mut hello).unwrap();
        hello
    }
}

/// A connection whose waits end.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads to the end, and returns how many bytes there were; a reset is an end, too.
pub(crate) fn drain(stream: &mut TcpStream) -> usize {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
    all.len()
}

/// The code of the error that an answer has (RFC 8915 §4.1.3); `None` if it is another answer.
pub(crate) fn error_code(answer: &[u8]) -> Option<u16> {
    let message = record::Message::read(answer).unwrap()?;
    let mut records = message.records();
    records
        .find(|record| record.kind == record::record_type::ERROR)?
        .number()
}
