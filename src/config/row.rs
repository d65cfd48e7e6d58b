//! Pure. A row of the configuration: all facts about a key in one place.
//!
//! `table!` takes the rows of a table. It makes the struct of the values that a file may have (`Raw…`), the struct of
//! the keys once they are read (with their defaults), the function that reads the one into the other, and the
//! description for documents.

use super::effective::either;
use super::kind::{KeyType, Kind};
use super::raw_value::{Origin, Section};
use super::validator::Validator;

/// A table of the configuration, for documents and for the schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Its head as in `[clock]` or `[[listener]]`.
    pub head: &'static str,
    /// Its purpose.
    pub about: String,
    /// The time at which a change of its keys takes effect.
    pub applied: Applied,
    /// Its keys.
    pub keys: Vec<Key>,
    /// The tables inside it.
    pub tables: Vec<Self>,
}

/// A key of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its name in the table.
    pub name: &'static str,
    /// Its purpose, with its range; empty if the text of the key before it is for both.
    pub doc: String,
    /// The type of its value.
    pub key_type: KeyType,
    /// Its default as TOML; `None` if it is not set.
    pub default: Option<String>,
    /// An example of a text, for a key that has no default.
    pub example: Option<&'static str>,
    /// Whether it can't be left out.
    pub is_required: bool,
}

/// The time at which a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// On a reload.
    Reload,
    /// Only with a restart.
    Restart,
}

impl Table {
    /// Fills in the ranges and words of the keys in their texts.
    ///
    /// `{range}` becomes the range of the key itself, `{range other-key}` that of another key, and `{words}` the words
    /// of the key.
    pub(super) fn filled(mut self) -> Self {
        let of_all: Vec<(&str, String)> = self.keys.iter().map(|key| (key.name, key.range())).collect();
        for key in &mut self.keys {
            let (range, words) = (key.range(), key.words());
            key.doc = key.doc.replace("{range}", &range).replace("{words}", &words);
            for (name, range) in &of_all {
                key.doc = key.doc.replace(&format!("{{range {name}}}"), range);
            }
        }
        self
    }

    /// Returns its name as in `clock` or `listener`.
    pub fn name(&self) -> &'static str {
        self.head.trim_matches(['[', ']'])
    }

    /// Whether a file may have several of it.
    pub fn is_array(&self) -> bool {
        self.head.starts_with("[[")
    }
}

impl Key {
    pub(super) fn new<K: Kind>(name: &'static str, doc: &[&str], kind: &K, default: &K::Value) -> Self {
        Self {
            name,
            doc: paragraph(doc),
            key_type: kind.described(),
            default: kind.shown(default),
            example: None,
            is_required: kind.required().is_some(),
        }
    }

    /// Returns its range for people; empty if it has none.
    pub fn range(&self) -> String {
        match &self.key_type {
            KeyType::Integer { least, most } => format!("{least} to {most}"),
            KeyType::Number { least, most } => format!("{least} to {most}"),
            KeyType::Bool | KeyType::Word(_) | KeyType::Text | KeyType::Texts | KeyType::TextOrTexts => {
                String::new()
            }
        }
    }

    fn words(&self) -> String {
        if let KeyType::Word(words) = &self.key_type {
            either(words)
        } else {
            String::new()
        }
    }
}

/// The keys of a table, each read by itself.
pub(super) trait Keys: Default {
    /// The values of the table as they were written.
    type Raw;

    /// Its head as in `[clock]`.
    const HEAD: &'static str;

    /// Reads the values `said` of a table at `place`; a key without a value is as in `base`. `None` after a fault.
    fn read(validator: &mut Validator<'_>, said: &Self::Raw, place: &Origin, base: &Self) -> Option<Self>;

    /// Reads a table of which there is only one.
    fn read_one(validator: &mut Validator<'_>, section: &Section<Self::Raw>, base: &Self) -> Option<Self> {
        validator.enter(Self::HEAD.trim_matches(['[', ']']), Self::HEAD);
        Self::read(validator, &section.said, &section.origin, base)
    }

    /// Returns each key with its value as TOML; `None` is "not set".
    fn shown(&self) -> Vec<(&'static str, Option<String>)>;

    /// Describes the table.
    fn table() -> Table;
}

/// Returns the lines of a comment as one paragraph.
pub(super) fn paragraph(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| line.trim());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// Returns `name` with a hyphen for each underscore.
pub(super) const fn hyphenated<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (mut left, mut rest): (&mut [u8], &[u8]) = (&mut bytes, name.as_bytes());
    while let ([byte, more @ ..], [letter, others @ ..]) = (left, rest) {
        *byte = if *letter == b'_' { b'-' } else { *letter };
        (left, rest) = (more, others);
    }
    bytes
}

/// Defines a table of the configuration.
///
/// First come its purpose, its head, the time at which changes take effect, and the name of the struct for the
/// values as they were written. Then comes the struct for the keys once they are read, with a row for each key:
///
/// ```text
/// /// The thing that it sets: {range}.
/// ///
/// /// All else that an operator needs to know.
/// key_with_hyphens: type = default, kind;
/// ```
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        $head:literal: $applied:ident, $raw:ident
        $(#[$attribute:meta])*
        $visible:vis struct $keys:ident {
            $(
                $(#[doc = $doc:literal])*
                $key:ident: $value:ty = $default:expr, $kind:expr $(, for example $example:literal)?;
            )*
        }
        $(tables { $($sub:ident: $raw_sub:ident, $keys_sub:ident;)* })?
    ) => {
        #[doc = concat!("The values of `", $head, "` as they were written.")]
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub(in crate::config) struct $raw {
            $(pub(in crate::config) $key: Option<$crate::config::raw_value::RawValue>,)*
            $($(pub(in crate::config) $sub: $crate::config::raw_value::Section<$raw_sub>,)*)?
        }

        $(#[$attribute])*
        #[allow(rustdoc::broken_intra_doc_links, reason = "the text is for the example file")]
        $visible struct $keys {
            $($(#[doc = $doc])* $visible $key: $value,)*
        }

        impl Default for $keys {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl $crate::config::row::Keys for $keys {
            type Raw = $raw;

            const HEAD: &'static str = $head;

            fn read(
                validator: &mut $crate::config::validator::Validator<'_>,
                said: &$raw,
                place: &$crate::config::raw_value::Origin,
                base: &Self,
            ) -> Option<Self> {
                $(let $key = validator.key(
                    $crate::config::row::name!($key), &$kind, said.$key.as_ref(), place, &base.$key,
                );)*
                Some(Self { $($key: $key?,)* })
            }

            fn shown(&self) -> Vec<(&'static str, Option<String>)> {
                vec![$((
                    $crate::config::row::name!($key),
                    $crate::config::kind::Kind::shown(&$kind, &self.$key),
                )),*]
            }

            fn table() -> $crate::config::row::Table {
                let default = Self::default();
                let keys = vec![$(
                    $crate::config::row::Key {
                        $(example: Some($example),)?
                        ..$crate::config::row::Key::new(
                            $crate::config::row::name!($key), &[$($doc),*], &$kind, &default.$key,
                        )
                    }
                ),*];
                let table = $crate::config::row::Table {
                    head: $head,
                    about: $crate::config::row::paragraph(&[$($about),*]),
                    applied: $crate::config::row::Applied::$applied,
                    keys,
                    tables: vec![$($($keys_sub::table()),*)?],
                };
                table.filled()
            }
        }
    };
}

/// Gives the name of a key as it is written in a file.
macro_rules! name {
    ($key:ident) => {{
        const RUST: &str = stringify!($key);
        const BYTES: [u8; RUST.len()] = $crate::config::row::hyphenated(RUST);
        const NAME: &str = match std::str::from_utf8(&BYTES) {
            Ok(name) => name,
            Err(_) => RUST,
        };
        NAME
    }};
}

pub(in crate::config) use {name, table};
