//! Pure. The keys of tests.

use super::{KeyTable, key_file};

/// A key of each type, by the number of its type.
const FILE: &str = "\
1 MD5 secret
2 SHA1 secret
3 SHA256 secret
4 SHA384 secret
5 SHA512 secret
6 AES128 HEX:000102030405060708090a0b0c0d0e0f
7 AES256 HEX:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
20 SHA1 another
";

/// Returns the keys of the file.
pub(crate) fn keys() -> KeyTable {
    key_file::parse(FILE, true).unwrap()
}
