//! Pure. The authorities that are trusted for upstreams with NTS, read when the first such upstream needs them.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::fault::excerpt;
use super::validator::Validator;
use crate::upstream::nts::trusted::{OF_SYSTEM, TrustedCertificates};

/// The authorities for all upstreams without a file of their own.
pub(super) struct Roots {
    path: Option<PathBuf>,
    read: OnceCell<Result<TrustedCertificates, String>>,
}

impl Roots {
    /// Returns the authorities of the file at `path`, or of the system; nothing is read yet.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            read: OnceCell::new(),
        }
    }

    /// Returns the certificates; the file is read once.
    pub(super) fn get(&self, validator: &Validator<'_>) -> Result<TrustedCertificates, String> {
        let read = || match &self.path {
            Some(path) => read(validator, path),
            None => of_system(validator),
        };
        self.read.get_or_init(read).clone()
    }
}

fn of_system(validator: &Validator<'_>) -> Result<TrustedCertificates, String> {
    let [first, second] = OF_SYSTEM.map(|path| read(validator, Path::new(path)));
    match (first, second) {
        (Ok(found), _) | (Err(_), Ok(found)) => Ok(found),
        (Err(first), Err(second)) => Err(format!("{first}; {second}")),
    }
}

/// Reads the certificates of a file.
///
/// # Errors
/// The path, and the reason.
pub(super) fn read(validator: &Validator<'_>, path: &Path) -> Result<TrustedCertificates, String> {
    validator
        .read(path)
        .and_then(|mut text| TrustedCertificates::read(&mut text))
        .map_err(|why| format!("\"{}\": {why}", excerpt(&path.to_string_lossy())))
}
