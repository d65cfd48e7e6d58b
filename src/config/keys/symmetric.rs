//! Pure. The rows of `[symmetric-keys]`.

use std::fmt;
use std::path::PathBuf;

use super::texts::path;
use crate::config::address::Refusal;
use crate::config::effective::quoted;
use crate::config::kind::{Bool, Texts, texts};
use crate::config::row::table;
use crate::symmetric::KeyId;

table! {
    /// Keys that this server shares with others (RFC 5905 MACs), for equipment that has nothing better.
    ///
    /// Where both ends can, use NTS instead: its keys need not be brought to each client. See also
    /// listener.authentication and upstream.key.
    "[symmetric-keys]": Reload, RawSymmetricKeys
    #[derive(Clone, Debug)]
    pub(in crate::config) struct SymmetricKeys {
        /// The file with the keys, an absolute path. Its format is that of chronyd, ntpd and NTPsec.
        ///
        /// Each line has the identifier of a key, its type and the key: "10 AES128 HEX:…". Types are AES128, AES256,
        /// SHA1, SHA256, SHA384, SHA512, and MD5. It is read at the start and on reload: if it has an error, nothing
        /// changes. Other users must not have access to it (mode 0640, and the group of the server's user).
        file: Option<PathBuf> = None, path(), for example "/etc/ntpfront/ntp.keys";
        /// The identifiers of the keys that are used, such as "10" or "10-19"; empty: all of the file.
        trusted: Vec<KeyRange> = Vec::new(), trusted();
        /// Whether keys of type MD5 are accepted. MD5 must no more be used (RFC 8573).
        ///
        /// Set it only for equipment that knows no other type.
        allow_md5: bool = false, Bool;
    }
}

/// Identifiers of keys, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct KeyRange {
    first: KeyId,
    last: KeyId,
}

impl KeyRange {
    /// Whether a key is in the range.
    pub(in crate::config) fn contains(self, id: KeyId) -> bool {
        (self.first..=self.last).contains(&id)
    }

    /// Reads `10` or `10-19`.
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let [first, last] = [first, last].map(|id| id.trim().parse().ok());
        let (first, last) = (first?, last?);
        (first <= last).then_some(Self { first, last })
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last {
            first.fmt(f)
        } else {
            write!(f, "{first}-{last}")
        }
    }
}

fn trusted() -> Texts<KeyRange> {
    texts(
        |text| {
            KeyRange::parse(text).ok_or_else(|| {
                Refusal::new("the identifier of a key, 1 to 4294967295, or a range such as \"10-19\"")
            })
        },
        |range| quoted(&range.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_ends() {
        for (text, shown) in [
            ("10", Some("10")),
            ("10-19", Some("10-19")),
            ("7-7", Some("7")),
            ("1 - 4294967295", Some("1-4294967295")),
            ("0", None),
            ("4294967296", None),
            ("9-8", None),
            ("-5", None),
            ("5-", None),
            ("", None),
            ("1-2-3", None),
        ] {
            let range = KeyRange::parse(text);
            assert_eq!(range.map(|range| range.to_string()).as_deref(), shown, "{text}");
        }
        let range = KeyRange::parse("10-19").unwrap();
        for (id, is_in) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(range.contains(KeyId::new(id).unwrap()), is_in);
        }
    }
}
