//! Pure. The bytes of a file of the record: lines, compressed in independent gzip members (RFC 1952).
//!
//! `zcat` reads such a file as a whole. A file that ends in the middle of a member is good up to that member.

use std::io::{ErrorKind, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

/// The longest text of a member that is read, in bytes: an hour is about one million.
const LONGEST: u64 = 1 << 26;
/// The text in a member of a complete file, at least, in bytes.
const PACKED: usize = 1 << 18;
/// The bytes before the compressed ones of a member, and behind them (RFC 1952 §2.3.1).
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const TAIL: usize = 8;
/// The compression of a member while the hour runs, and of a complete file. Both make the same head.
const QUICK: u32 = 6;
const BEST: u32 = 8;

/// Compresses lines to a member.
pub fn member(text: &[u8]) -> Vec<u8> {
    compressed(text, QUICK)
}

fn compressed(text: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    // Memory takes any number of bytes.
    let _written = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}

/// Compresses all lines of an hour as well as possible, in members of a quarter of a megabyte.
pub fn packed(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let most = rest.as_bytes().get(PACKED..).unwrap_or_default();
        let line = most.iter().position(|byte| *byte == b'\n');
        let end = line.map_or(rest.len(), |line| PACKED + line + 1);
        let (now, later) = rest.split_at_checked(end).unwrap_or((rest, ""));
        bytes.extend(compressed(now.as_bytes(), BEST));
        rest = later;
    }
    bytes
}

/// The content of a file, as far as it is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The lines.
    pub text: String,
    /// The length of the members that have them, in bytes.
    pub whole: usize,
    /// The number of these members.
    pub members: usize,
}

/// Reads all members up to the first one that is not whole.
pub fn read(bytes: &[u8]) -> Content {
    let mut content = Content::default();
    while let Some(length) = read_one(bytes.get(content.whole..).unwrap_or_default(), &mut content.text) {
        content.whole += length;
        content.members += 1;
    }
    content
}

/// Reads a member and adds its text; returns its length, or `None` if it is not whole: `text` is as before then.
fn read_one(bytes: &[u8], text: &mut String) -> Option<usize> {
    let before = text.len();
    let mut decoder = GzDecoder::new(bytes);
    let read = (&mut decoder).take(LONGEST).read_to_string(text);
    let is_whole = read.is_ok() && text.get(before..).is_some_and(|new| new.ends_with('\n'));
    if !is_whole {
        text.truncate(before);
        return None;
    }
    Some(bytes.len() - decoder.into_inner().len())
}

/// Returns whether these bytes are the beginning of a member, and more is needed to know how it goes on.
pub fn ends_early(bytes: &[u8]) -> bool {
    if !bytes.iter().zip(HEAD).all(|(byte, expected)| *byte == expected) {
        return false;
    }
    let read = GzDecoder::new(bytes).take(LONGEST).read_to_end(&mut Vec::new());
    read.is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof)
}

/// Returns whether all bits of the members count: each is checked by a sum, or has its only value.
///
/// The sum of a member covers its text. So the head of each has to be as it is written here, and the bits between the end of
/// the compressed text and the next byte have to be 0.
pub fn is_plain(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut text = String::new();
    while !rest.is_empty() {
        text.clear();
        let Some(one) = read_one(rest, &mut text).and_then(|length| rest.split_at_checked(length)) else {
            return false;
        };
        if !(has_plain_head(one.0) && has_plain_end(one.0)) {
            return false;
        }
        rest = one.1;
    }
    true
}

fn has_plain_head(member: &[u8]) -> bool {
    member.starts_with(&HEAD)
}

/// Whether the bits that mean nothing are 0: those whose change changes nothing.
fn has_plain_end(member: &[u8]) -> bool {
    let Some(last) = member.len().checked_sub(TAIL + 1) else {
        return false;
    };
    let mut changed = member.to_vec();
    for bit in (0..8).rev().map(|bit| 1_u8 << bit) {
        let Some(byte) = changed.get_mut(last) else {
            return false;
        };
        let is_set = *byte & bit != 0;
        *byte ^= bit;
        let means_nothing = read_one(&changed, &mut String::new()) == Some(member.len());
        if !means_nothing {
            return true;
        }
        if is_set {
            return false;
        }
        if let Some(byte) = changed.get_mut(last) {
            *byte ^= bit;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(count: usize) -> String {
        (0..count).map(|line| format!("{{\"line\":{line}}}\n")).collect()
    }

    /// As when the process is killed at any byte.
    #[test]
    fn a_file_that_is_cut_anywhere_is_good_up_to_the_last_whole_member() {
        let texts: Vec<String> = (1..6).map(lines).collect();
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for text in &texts {
            bytes.extend(member(text.as_bytes()));
            ends.push(bytes.len());
        }
        for cut in 0..=bytes.len() {
            let content = read(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!((content.members, content.whole), (whole, ends[whole]), "{cut}");
            assert_eq!(content.text, texts[..whole].concat(), "{cut}");
        }
    }

    #[test]
    fn each_changed_bit_is_seen() {
        let bytes = [member(lines(3).as_bytes()), member(lines(40).as_bytes())].concat();
        assert!(is_plain(&bytes) && is_plain(&packed(&lines(100))));
        assert!(bytes.starts_with(&HEAD) && packed("x\n").starts_with(&HEAD));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_plain(&changed), "bit {bit}");
        }
    }

    #[test]
    fn an_hour_is_packed_in_members_of_whole_lines() {
        let text = lines(60_000);
        let bytes = packed(&text);
        let content = read(&bytes);
        assert!(content.text == text && content.whole == bytes.len());
        assert_eq!(content.members, text.len().div_ceil(PACKED));
        assert_eq!(packed(""), b"");
    }

    proptest! {
        /// Any bytes are read without a panic, and to their end at most.
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200), good in any::<bool>()) {
            let mut all = if good { member(b"x\n") } else { Vec::new() };
            all.extend(&bytes);
            let content = read(&all);
            prop_assert!(content.whole <= all.len());
            prop_assert!(!good || content.text.starts_with("x\n"));
        }
    }
}
