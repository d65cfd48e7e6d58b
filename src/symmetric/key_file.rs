//! Pure. The file of symmetric keys, as chrony, ntpd and NTPsec write it: a key per line, `IDENTIFIER [TYPE] KEY`.

use std::fmt;

use super::KeyTable;
use super::key::{DigestType, KeyId, SymmetricKey};

/// The length up to which ntpd takes a key as text. A longer one that has only hexadecimal digits is hexadecimal.
const LONGEST_NTPD_TEXT: usize = 20;

/// An error in a key file. Its text never has a key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFileError {
    /// The number of the line, from 1.
    pub line: usize,
    /// The reason.
    pub reason: KeyFileReason,
}

/// The reason why a line is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFileReason {
    /// The first word is no number from 1 to 4294967295.
    Identifier,
    /// There is no key behind the identifier.
    NoKey,
    /// A type that is not known here.
    Type,
    /// MD5, and the configuration does not allow it.
    Md5,
    /// `HEX:` before a text that is not hexadecimal, or has half a byte.
    Hexadecimal,
    /// A key of a length that its type does not have, in bytes.
    Length(DigestType, usize),
    /// Words behind the key: ntpd has addresses there.
    TooManyWords,
    /// The identifier stands in an earlier line, too.
    Twice(usize),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl fmt::Display for KeyFileReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identifier => {
                f.write_str("a line begins with the key's identifier, a number from 1 to 4294967295")
            }
            Self::NoKey => f.write_str("there is no key; a line is: IDENTIFIER [TYPE] KEY"),
            // It may be the key, where the type was left out.
            Self::Type => f.write_str(
                "the second word is no known type; known are AES128, AES256, SHA1, SHA256, SHA384, SHA512 and MD5",
            ),
            Self::Md5 => f.write_str(
                "MD5 is not safe (RFC 8573), and not allowed here; use AES128 at both ends, or set symmetric-keys.allow-md5 = true",
            ),
            Self::Hexadecimal => {
                f.write_str("HEX: is followed by something else than pairs of hexadecimal digits")
            }
            Self::Length(digest_type, found) => match digest_type.key_len() {
                Some(length) => write!(
                    f,
                    "the key has {found} bytes, a key of type {} has {length}; write it as HEX: and {} digits",
                    digest_type.name(),
                    2 * length
                ),
                None => f.write_str("the key is empty"),
            },
            Self::TooManyWords => f.write_str(
                "there are words behind the key; addresses per key are not supported, remove them",
            ),
            Self::Twice(line) => write!(f, "the identifier is already used in line {line}"),
        }
    }
}

impl std::error::Error for KeyFileError {}

/// Reads a key file.
///
/// Empty lines, and what follows a `#` at the begin of a word, are skipped. The type is MD5 if it is missing, as
/// chrony has it. A key is text, or hexadecimal behind `HEX:`; `ASCII:` makes clear that it is text. Without either word
/// ntpd's rule holds: a key of more than 20 characters that are all hexadecimal digits is hexadecimal.
///
/// # Errors
/// All errors, in the order of their lines.
pub fn parse(text: &str, allow_md5: bool) -> Result<KeyTable, Vec<KeyFileError>> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(text.lines()) {
        let mut words: Vec<&str> = text
            .split_whitespace()
            .take_while(|word| !word.starts_with('#'))
            .collect();
        if words
            .first()
            .is_some_and(|word| word.starts_with('!') || word.starts_with('%') || word.starts_with(';'))
        {
            words.clear();
        }
        match key(&words, allow_md5) {
            Ok(None) => {}
            Ok(Some(key)) => found.push((key, line)),
            Err(reason) => errors.push(KeyFileError { line, reason }),
        }
    }
    found.sort_by_key(|(key, line)| (key.id(), *line));
    for pair in found.windows(2) {
        if let [(key, first), (next, line)] = pair
            && key.id() == next.id()
        {
            errors.push(KeyFileError {
                line: *line,
                reason: KeyFileReason::Twice(*first),
            });
        }
    }
    if errors.is_empty() {
        let keys = found.into_iter().map(|(key, _)| key).collect();
        return Ok(KeyTable { keys });
    }
    errors.sort_by_key(|error| error.line);
    Err(errors)
}

/// The key of a line; `None` if the line is empty.
fn key(words: &[&str], allow_md5: bool) -> Result<Option<SymmetricKey>, KeyFileReason> {
    let (id, digest_type, secret) = match words {
        [] => return Ok(None),
        [_] => {
            identifier(words)?;
            return Err(KeyFileReason::NoKey);
        }
        [_, secret] => (identifier(words)?, DigestType::Md5, *secret),
        [_, word, secret] => {
            let id = identifier(words)?;
            let known = DigestType::from_word(word).ok_or(KeyFileReason::Type);
            (id, known?, *secret)
        }
        [..] => {
            identifier(words)?;
            return Err(KeyFileReason::TooManyWords);
        }
    };
    if digest_type == DigestType::Md5 && !allow_md5 {
        return Err(KeyFileReason::Md5);
    }
    let secret = secret_of(secret)?;
    let length = secret.len();
    let key = SymmetricKey::new(id, digest_type, secret);
    key.map(Some)
        .map_err(|_| KeyFileReason::Length(digest_type, length))
}

fn identifier(words: &[&str]) -> Result<KeyId, KeyFileReason> {
    let word = words.first().ok_or(KeyFileReason::Identifier)?;
    word.parse().map_err(|_| KeyFileReason::Identifier)
}

/// The bytes of a key, from the word for it.
fn secret_of(word: &str) -> Result<Vec<u8>, KeyFileReason> {
    if let Some(digits) = word.strip_prefix("HEX:") {
        return hexadecimal(digits).ok_or(KeyFileReason::Hexadecimal);
    }
    if let Some(text) = word.strip_prefix("ASCII:") {
        return Ok(text.as_bytes().to_vec());
    }
    let as_ntpd = (word.len() > LONGEST_NTPD_TEXT)
        .then(|| hexadecimal(word))
        .flatten();
    Ok(as_ntpd.unwrap_or_else(|| word.as_bytes().to_vec()))
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks();
    let byte = |[high, low]: &[u8; 2]| {
        let digit = |letter: u8| {
            char::from(letter)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        Some(digit(*high)? << 4 | digit(*low)?)
    };
    rest.is_empty()
        .then(|| pairs.iter().map(byte).collect())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u32) -> KeyId {
        KeyId::new(number).unwrap()
    }

    /// A file as chrony's manual describes it, one as ntp-keygen writes it, and one of NTPsec, in one.
    #[test]
    fn files_of_all_three_programs_are_read() {
        let text = "\
# a comment
1 MD5 aVeryLongTextWithoutHexDigits   # behind a key, too
10 SHA1 HEX:1DC764E0791B11FA67EFC7ECBC4B0D73F68A070C
 11   SHA256   ASCII:with:colon#and-hash

20 sha1 4e9c6f1ab2d5bd2a09c9a1f2ddc1c5d10a5ea2b6
21 AES128CMAC HEX:000102030405060708090a0b0c0d0e0f
22 AES-128 sixteen_letters!
4294967295 SHA512 x
30 plain
";
        let table = parse(text, true).unwrap();
        let found: Vec<_> = table
            .keys()
            .iter()
            .map(|key| (key.id().get(), key.digest_type(), key.secret_len()))
            .collect();
        assert_eq!(
            found,
            [
                (1, DigestType::Md5, 29),
                (10, DigestType::Sha1, 20),
                (11, DigestType::Sha256, 19),
                (20, DigestType::Sha1, 20),
                (21, DigestType::Aes128, 16),
                (22, DigestType::Aes128, 16),
                (30, DigestType::Md5, 5),
                (4_294_967_295, DigestType::Sha512, 1),
            ]
        );
        let same = SymmetricKey::new(id(21), DigestType::Aes128, (0..16).collect()).unwrap();
        assert_eq!(table.get(id(21)).unwrap().mac(b"packet"), same.mac(b"packet"));
        assert!(table.get(id(2)).is_none());
        let trusted = table.trusted(&[id(10), id(99), id(30)]);
        let ids: Vec<_> = trusted.keys().iter().map(|key| key.id().get()).collect();
        assert_eq!(ids, [10, 30]);
    }

    #[test]
    fn each_error_has_its_line_and_its_remedy_and_never_the_key() {
        let text = "\
x SHA1 secret1
0 SHA1 secret2
4294967296 SHA1 secret3
-1 SHA1 secret4
5
6 TIGER secret5
7 secret6
8 SHA1 HEX:1
9 SHA1 HEX:zz
10 AES128 secret7
11 AES256 HEX:00
12 SHA1 secret8 192.0.2.1
13 SHA1 good
13 SHA1 good
14 SHA1 HEX:
15 SHA1 HEX:\u{fc}
";
        let errors = parse(text, false).unwrap_err();
        let reasons: Vec<_> = errors
            .iter()
            .map(|error| (error.line, error.reason.clone()))
            .collect();
        use KeyFileReason as R;
        assert_eq!(
            reasons,
            [
                (1, R::Identifier),
                (2, R::Identifier),
                (3, R::Identifier),
                (4, R::Identifier),
                (5, R::NoKey),
                (6, R::Type),
                (7, R::Md5),
                (8, R::Hexadecimal),
                (9, R::Hexadecimal),
                (10, R::Length(DigestType::Aes128, 7)),
                (11, R::Length(DigestType::Aes256, 1)),
                (12, R::TooManyWords),
                (14, R::Twice(13)),
                (15, R::Length(DigestType::Sha1, 0)),
                (16, R::Hexadecimal),
            ]
        );
        for error in errors {
            let text = error.to_string();
            assert!(text.starts_with(&format!("line {}: ", error.line)), "{text}");
            assert!(!text.contains("secret") && !text.contains("zz"), "{text}");
        }
    }

    #[test]
    fn only_long_keys_of_digits_alone_are_hexadecimal() {
        for (word, length) in [
            ("0123456789abcdef0123", 20),
            ("0123456789abcdef012345", 11),
            ("0123456789abcdef01234", 21),
            ("0123456789abcdef01234g", 22),
            ("ASCII:0123456789abcdef012345", 22),
            ("HEX:00", 1),
        ] {
            assert_eq!(secret_of(word).unwrap().len(), length, "{word}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n| |#|HEX:|SHA1 |[0-9]){0,200}", allow: bool) {
            if let Ok(table) = parse(&text, allow) {
                let ids: Vec<_> = table.keys().iter().map(SymmetricKey::id).collect();
                prop_assert!(ids.is_sorted());
                prop_assert!(ids.iter().all(|id| table.get(*id).is_some()));
            }
        }
    }
}
