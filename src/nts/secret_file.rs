//! Pure. The file with the secrets of cookie keys: a line of base64 each, the newest first.
//!
//! Empty lines and lines that begin with `#` say nothing.

use std::fmt;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::keyring::{Keyring, KeyringFault, Period, SECRETS, Secret, Time};

/// Longest file that is read, in bytes.
pub const LONGEST: u64 = 4096;

/// Length of a secret in bytes.
const SECRET_LEN: usize = 32;

/// The reason why a file has no secrets that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretFault {
    /// There is no line with a secret.
    Empty,
    /// The line of this number, from 1, is no secret.
    Line(usize),
    /// There are more than [`SECRETS`].
    TooMany,
    /// Two secrets can't be told apart by the eight bits that a cookie has of them, or are the same.
    Alike,
}

impl fmt::Display for SecretFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("has no secret: put a line of `ntpfront nts-secret` into it"),
            Self::Line(number) => write!(
                f,
                "line {number} is no secret of 32 bytes in base64: put a line of `ntpfront nts-secret` there"
            ),
            Self::TooMany => write!(
                f,
                "has more than {SECRETS} secrets: leave the newest one first, and the one before it"
            ),
            Self::Alike => f.write_str(
                "has two secrets that cookies can't tell apart (one pair in 256 is such): replace the newer one by another line of `ntpfront nts-secret`",
            ),
        }
    }
}

/// Reads the secrets of a file, the newest first: at least one.
///
/// # Errors
/// See [`SecretFault`].
pub fn parse(text: &[u8]) -> Result<Vec<Secret>, SecretFault> {
    let mut secrets = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        secrets.push(secret(line).ok_or(SecretFault::Line(index + 1))?);
    }
    // A keyring of one period has the same faults as any other.
    let made = Keyring::new(
        &secrets,
        Period::at(Duration::ZERO, Duration::ZERO),
        0,
        Time::Unknown,
    );
    match made {
        Ok(_) => Ok(secrets),
        Err(KeyringFault::NoSecret) => Err(SecretFault::Empty),
        Err(KeyringFault::TooMany) => Err(SecretFault::TooMany),
        Err(KeyringFault::Alike) => Err(SecretFault::Alike),
    }
}

fn secret(line: &[u8]) -> Option<Secret> {
    let mut bytes = Zeroizing::new([0; SECRET_LEN]);
    let decoded = Base64::decode(line, &mut *bytes).ok()?;
    (decoded.len() == SECRET_LEN).then(|| Secret::new(*bytes))
}

/// Returns the line for a secret of these random bytes, its end included.
pub fn line(bytes: [u8; SECRET_LEN]) -> String {
    Base64::encode_string(&bytes) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(line([1; 32]), format!("{ONE}\n"));
        assert!(parse(line([1; 32]).as_bytes()).unwrap() == [Secret::new([1; 32])]);
    }

    #[test]
    fn the_newest_comes_first_and_comments_are_none() {
        let text = format!("# of November\n\n  {TWO}\r\n# before\n{ONE}");
        let expected = [Secret::new([2; 32]), Secret::new([1; 32])];
        assert!(parse(text.as_bytes()).unwrap() == expected);
    }

    #[test]
    fn each_fault_has_its_name() {
        let fault = |text: &str| parse(text.as_bytes()).map(|_| ()).unwrap_err();
        for (text, expected) in [
            ("", SecretFault::Empty),
            ("# nothing\n", SecretFault::Empty),
            ("\n\nsecret\n", SecretFault::Line(3)),
            (&ONE[..43], SecretFault::Line(1)),
            // 31 and 33 bytes.
            (
                "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ==",
                SecretFault::Line(1),
            ),
            (
                "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
                SecretFault::Line(1),
            ),
            (&format!("{ONE}\n{ONE}\n"), SecretFault::Alike),
            (&format!("{ONE}\n{TWO}\n{ONE}\n"), SecretFault::TooMany),
        ] {
            assert_eq!(fault(text), expected, "{text}");
            assert!(!expected.to_string().is_empty());
        }
        assert_eq!(parse(&[0xFF; 44]).map(|_| ()), Err(SecretFault::Line(1)));
    }
}
