//! Pure. The files that `[nts]` names, read: certificates with their keys, and the secrets of the cookies.
//!
//! They are no part of the configuration: a user of the control socket reads that, and may read no key.

use std::path::Path;
use std::sync::Arc;

use super::fault::{Fault, Place};
use super::{Effective, NtsKeys, PrivateFile, ReadPrivate};
use crate::host::tls::certificate::{self, CertificatePair, PairFault};
use crate::nts::keyring::Secret;
use crate::nts::secret_file;

/// The contents of the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NtsFiles {
    /// The certificates with their keys, in the order of the configuration; none without key establishment.
    pub pairs: Vec<Arc<CertificatePair>>,
    /// The secrets, the newest first; none if the configuration names no file.
    pub secrets: Vec<Secret>,
}

impl NtsFiles {
    /// Reads the files of `keys`; faults have the places that `effective` knows.
    ///
    /// # Errors
    /// All faults, at least one.
    pub(super) fn read(
        keys: &NtsKeys,
        effective: &Effective,
        read: ReadPrivate<'_>,
    ) -> Result<Self, Vec<Fault>> {
        let mut reading = FilesReading {
            effective,
            read,
            faults: Vec::new(),
        };
        let files = Self {
            pairs: reading.pairs(keys),
            secrets: reading.secrets(keys),
        };
        match reading.faults {
            faults if faults.is_empty() => Ok(files),
            faults => Err(faults),
        }
    }
}

struct FilesReading<'a> {
    effective: &'a Effective,
    read: ReadPrivate<'a>,
    faults: Vec<Fault>,
}

impl FilesReading<'_> {
    fn pairs(&mut self, keys: &NtsKeys) -> Vec<Arc<CertificatePair>> {
        if keys.establishes() && keys.algorithms.is_empty() {
            self.fault("algorithms", "found none, expected at least one".to_owned(), None);
        }
        let (chains, private) = (&keys.certificate, &keys.key);
        if chains.len() != private.len() {
            let found = format!(
                "found {} certificates and {} keys, expected a key for each certificate, in the same order",
                chains.len(),
                private.len()
            );
            self.fault("key", found, None);
            return Vec::new();
        }
        let both = chains.iter().zip(private);
        both.filter_map(|(chain, key)| self.pair(chain, key)).collect()
    }

    fn pair(&mut self, chain: &Path, key: &Path) -> Option<Arc<CertificatePair>> {
        let chain_file = self.file("certificate", chain, certificate::LONGEST);
        let key_file = self.private_file("key", key, certificate::LONGEST);
        match CertificatePair::read(&chain_file?.bytes, &key_file?.bytes) {
            Ok(pair) => Some(Arc::new(pair)),
            Err(fault) => {
                let (name, path) = match &fault {
                    PairFault::Certificate(_) => ("certificate", chain),
                    PairFault::Key(_) | PairFault::Mismatch => ("key", key),
                };
                self.fault_of(name, path, &fault.to_string(), None);
                None
            }
        }
    }

    fn secrets(&mut self, keys: &NtsKeys) -> Vec<Secret> {
        let Some(path) = &keys.secret else {
            return Vec::new();
        };
        let Some(file) = self.private_file("secret", path, secret_file::LONGEST) else {
            return Vec::new();
        };
        secret_file::parse(&file.bytes).unwrap_or_else(|fault| {
            self.fault_of("secret", path, &fault.to_string(), None);
            Vec::new()
        })
    }

    /// Reads a file that only its owner and its group may read.
    fn private_file(&mut self, key: &'static str, path: &Path, longest: u64) -> Option<PrivateFile> {
        let file = self.file(key, path, longest)?;
        if let Some((why, hint)) = file.exposure(path) {
            self.fault_of(key, path, &why, Some(hint));
            return None;
        }
        Some(file)
    }

    fn file(&mut self, key: &'static str, path: &Path, longest: u64) -> Option<PrivateFile> {
        let file = (self.read)(path, longest);
        file.map_err(|why| {
            let is_of_certbot = path.components().any(|part| part.as_os_str() == "letsencrypt");
            let hint = is_of_certbot.then(|| {
                "only root can read certbot's directories: install its deploy hook (nts.md), and name the copies"
                    .to_owned()
            });
            self.fault_of(key, path, &why, hint);
        })
        .ok()
    }

    fn fault_of(&mut self, key: &'static str, path: &Path, why: &str, hint: Option<String>) {
        self.fault(key, format!("{}: {why}", Place::WholeFile(path.to_owned())), hint);
    }

    fn fault(&mut self, key: &'static str, found: String, hint: Option<String>) {
        self.faults.push(Fault {
            place: self.place(key),
            key: format!("nts.{key}"),
            found,
            expected: String::new(),
            hint,
        });
    }

    /// Returns the place of the key's value.
    fn place(&self, key: &str) -> Place {
        let tables = self.effective.tables.iter();
        let settings = tables
            .filter(|table| table.head == "[nts]")
            .flat_map(|table| &table.settings);
        let mut found = settings.filter(|setting| setting.key == key);
        found
            .next()
            .map_or(Place::Default, |setting| setting.origin.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Flags;
    use crate::config::load;
    use crate::host::tls::certificate::tests::{CHAIN, KEY};
    use zeroize::Zeroizing;

    const SECRET: &[u8] = b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";

    fn read(text: &str) -> Result<NtsFiles, String> {
        let loaded = load(
            &Flags::default(),
            Some((Path::new("f.toml"), &format!("[nts]\n{text}"))),
        )
        .unwrap();
        let give = |path: &Path, longest: u64| {
            let (bytes, mode) = match path.to_str().unwrap() {
                "/chain" => (CHAIN, 0o644),
                "/key" => (KEY, 0o640),
                "/open" => (KEY, 0o644),
                "/secret" => (SECRET, 0o600),
                "/secret/written" => (SECRET, 0o602),
                "/nonsense" => (&b"nonsense"[..], 0o600),
                _ => return Err("cannot open".to_owned()),
            };
            assert!(longest >= 4096);
            Ok(PrivateFile {
                bytes: Zeroizing::new(bytes.to_vec()),
                mode: mode | 0o100_000,
            })
        };
        let files = NtsFiles::read(&loaded.config.nts, &loaded.effective, &give);
        files.map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })
    }

    #[test]
    fn pairs_and_secrets_are_read_in_their_order() {
        let files = read("certificate = \"/chain\"\nkey = \"/key\"\nsecret = \"/secret\"").unwrap();
        assert_eq!((files.pairs.len(), files.secrets.len()), (1, 1));
        let both = read("certificate = [\"/chain\", \"/chain\"]\nkey = [\"/key\", \"/key\"]").unwrap();
        assert_eq!((both.pairs.len(), both.secrets.len()), (2, 0));
        assert_eq!(read("").unwrap(), NtsFiles::default());
    }

    #[test]
    fn each_fault_has_its_place_and_its_remedy() {
        for (text, expected) in [
            (
                "certificate = \"/chain\"",
                "nts.key: found 1 certificates and 0 keys, expected a key for each certificate, in the same order",
            ),
            (
                "certificate = \"/chain\"\nkey = \"/open\"",
                "f.toml:3:7: nts.key: /open: others can access it: its mode is 0644; `chmod 640 /open`, and `chgrp` it to the user's group",
            ),
            (
                "secret = \"/secret/written\"",
                "f.toml:2:10: nts.secret: /secret/written: others can access it: its mode is 0602; `chmod 640 /secret/written`, and `chgrp` it to the user's group",
            ),
            (
                "secret = \"/nonsense\"",
                "f.toml:2:10: nts.secret: /nonsense: line 1 is no secret of 32 bytes in base64: put a line of `ntpfront nts-secret` there",
            ),
            (
                "certificate = \"/etc/letsencrypt/live/a/fullchain.pem\"\nkey = \"/key\"",
                "f.toml:2:15: nts.certificate: /etc/letsencrypt/live/a/fullchain.pem: cannot open; only root can read certbot's directories: install its deploy hook (nts.md), and name the copies",
            ),
            (
                "certificate = \"/chain\"\nkey = \"/chain\"",
                "f.toml:3:7: nts.key: /chain: others can access it: its mode is 0644; `chmod 640 /chain`, and `chgrp` it to the user's group",
            ),
            (
                "certificate = \"/chain\"\nkey = \"/key\"\nalgorithms = []",
                "f.toml:4:14: nts.algorithms: found none, expected at least one",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected);
        }
        // All at once.
        let all = read("certificate = \"/nonsense\"\nkey = \"/nonsense\"\nsecret = \"/absent\"").unwrap_err();
        assert_eq!(all.lines().count(), 2, "{all}");
    }
}
