//! Pure. The configuration in effect: every key with its value and its origin.

use std::fmt;

use super::fault::{Place, printable};

/// All settings, in the order in which they are printed.
///
/// Its text is a configuration file that means the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    /// The tables; each listener and each upstream has its own.
    pub tables: Vec<EffectiveTable>,
}

/// A table of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveTable {
    /// Its head as in `[clock]` or `[[listener]]`; empty for the keys above all tables.
    pub head: &'static str,
    /// Its settings.
    pub settings: Vec<Setting>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the table.
    pub key: &'static str,
    /// Its value as TOML; `None` if it is not set.
    pub value: Option<String>,
    /// The origin of the value.
    pub origin: Place,
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.tables.iter().flat_map(|table| &table.settings);
        let width = settings
            .map(|setting| setting.line().chars().count())
            .max()
            .unwrap_or(0);
        for (index, table) in self.tables.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            if !table.head.is_empty() {
                writeln!(f, "{}", table.head)?;
            }
            for setting in &table.settings {
                writeln!(f, "{:width$}  # {}", setting.line(), setting.origin)?;
            }
        }
        Ok(())
    }
}

impl Setting {
    fn line(&self) -> String {
        match &self.value {
            Some(value) => format!("{} = {value}", self.key),
            None => format!("# {} is not set", self.key),
        }
    }
}

/// Writes a text as TOML, on one line.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Writes a list of words for people: `"a", "b" or "c"`.
pub(super) fn either(words: &[&str]) -> String {
    let quoted: Vec<String> = words
        .iter()
        .map(|word| format!("\"{}\"", printable(word)))
        .collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_aligned_and_say_who_said_them() {
        let setting = |key, value: Option<&str>, origin| Setting {
            key,
            value: value.map(str::to_owned),
            origin,
        };
        let effective = Effective {
            tables: vec![
                EffectiveTable {
                    head: "",
                    settings: vec![setting("upstream", Some("[]"), Place::Flag("-s"))],
                },
                EffectiveTable {
                    head: "[process]",
                    settings: vec![
                        setting("user", Some("\"nobody\""), Place::WholeFile("a\nb".into())),
                        setting("chroot", None, Place::Default),
                    ],
                },
            ],
        };
        let expected = "\
upstream = []        # flag -s

[process]
user = \"nobody\"      # a\\nb
# chroot is not set  # default
";
        assert_eq!(effective.to_string(), expected);
    }

    #[test]
    fn texts_stay_on_one_line() {
        for text in [
            "",
            "plain",
            "with \"double\"",
            "with 'single'",
            "back\\slash",
            "'both' \"kinds\" \\",
        ] {
            let line = quoted(text);
            assert!(!line.contains('\n'), "{line}");
            let back: toml::Table = format!("a = {line}").parse().unwrap();
            assert_eq!(back["a"].as_str(), Some(text));
        }
    }

    #[test]
    fn words_are_listed() {
        assert_eq!(either(&["a"]), "\"a\"");
        assert_eq!(either(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
