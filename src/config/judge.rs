//! Pure. Judging one value at a time: it becomes either a setting in effect or a fault, and nothing is lost.

use std::fmt::Debug;
use std::io::BufRead;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::Lists;
use super::address::Refusal;
use super::effective::{Effective, Setting, Table, either, quoted};
use super::fault::{Fault, Place, excerpt};
use super::raw::{Origin, Said, Unknown, Value};
use super::source::Source;

/// Gathers faults and settings. Every option is judged by one call, which gives `None` if it has a fault.
pub(super) struct Judge<'a> {
    source: Option<&'a Source<'a>>,
    lists: Lists<'a>,
    /// The table that is being judged, as in `listener[2]`.
    table: String,
    pub(super) faults: Vec<Fault>,
    pub(super) effective: Effective,
}

impl<'a> Judge<'a> {
    pub(super) fn new(source: Option<&'a Source<'a>>, lists: Lists<'a>) -> Self {
        Self {
            source,
            lists,
            table: String::new(),
            faults: Vec::new(),
            effective: Effective::default(),
        }
    }

    /// What comes next is about this table: its name in faults.
    pub(super) fn name(&mut self, table: impl Into<String>) {
        self.table = table.into();
    }

    /// What comes next is in this table: its name in faults, its head in the effective configuration.
    pub(super) fn enter(&mut self, name: impl Into<String>, head: &'static str) {
        self.name(name);
        self.effective.tables.push(Table {
            head,
            settings: Vec::new(),
        });
    }

    /// Leaves only what was said in the table that was entered last, if there is anything: the rest is as for all.
    pub(super) fn keep_said(&mut self) -> bool {
        let Some(mut table) = self.effective.tables.pop() else {
            return false;
        };
        table.settings.retain(|setting| setting.origin != Place::Default);
        let said = !table.settings.is_empty();
        self.effective.tables.extend(Some(table).filter(|_| said));
        said
    }

    /// A file that the configuration names: beside itself, unless by an absolute path.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        let directory = self.source.and_then(|source| source.path().parent());
        directory.unwrap_or(Path::new("")).join(path)
    }

    /// The lines of such a file.
    pub(super) fn read(&self, path: &Path) -> Result<Box<dyn BufRead>, String> {
        (self.lists)(path)
    }

    /// `true` or `false`.
    pub(super) fn truth(&mut self, key: &'static str, said: Option<&Said>, default: bool) -> Option<bool> {
        self.option(key, said, default, Said::as_truth, || "true or false".to_owned())
    }

    /// A whole number in a range.
    pub(super) fn whole<T>(
        &mut self,
        key: &'static str,
        said: Option<&Said>,
        range: RangeInclusive<T>,
        default: T,
    ) -> Option<T>
    where
        T: PartialOrd + Debug + TryFrom<i64>,
    {
        self.option(
            key,
            said,
            default,
            |said| within(said, &range),
            || whole_number(&range),
        )
    }

    /// Seconds in a range, with or without a fraction.
    pub(super) fn seconds(
        &mut self,
        key: &'static str,
        said: Option<&Said>,
        range: RangeInclusive<f64>,
        default: f64,
    ) -> Option<f64> {
        self.float(key, said, "seconds", &range, default)
    }

    /// A number in a range, with or without a fraction.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        said: Option<&Said>,
        range: RangeInclusive<f64>,
        default: f64,
    ) -> Option<f64> {
        self.float(key, said, "a number", &range, default)
    }

    fn float(
        &mut self,
        key: &'static str,
        said: Option<&Said>,
        what: &str,
        range: &RangeInclusive<f64>,
        default: f64,
    ) -> Option<f64> {
        let take = |said: &Said| said.as_float().filter(|number| range.contains(number));
        let expected = || format!("{what} from {} to {}", range.start(), range.end());
        self.option(key, said, default, take, expected)
    }

    /// Texts that are read one by one; `show` writes each as TOML.
    pub(super) fn list<T: Clone>(
        &mut self,
        key: &'static str,
        said: Option<&Said>,
        default: &[T],
        read: impl Fn(&str) -> Result<T, Refusal>,
        show: impl Fn(&T) -> String,
    ) -> Option<Vec<T>> {
        let origin = said.map_or(Origin::Default, |said| said.origin.clone());
        let all = match said {
            None => default.to_vec(),
            Some(said) => self.items(key, said, read)?,
        };
        let shown: Vec<String> = all.iter().map(show).collect();
        self.set(key, Some(format!("[{}]", shown.join(", "))), &origin);
        Some(all)
    }

    fn items<T>(
        &mut self,
        key: &str,
        said: &Said,
        read: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Option<Vec<T>> {
        let Some(items) = said.as_list() else {
            let hint = Some("write it in brackets, even a single one".to_owned());
            self.fault_at(said, key, "a list of texts", hint);
            return None;
        };
        let mut all = Vec::new();
        for item in items {
            match read(item.as_text().unwrap_or_default()) {
                Ok(one) => all.push(one),
                Err(refusal) => self.fault_at(item, key, refusal.expected, refusal.hint),
            }
        }
        (all.len() == items.len()).then_some(all)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        said: Option<&Said>,
        words: &[(&'static str, T)],
        default: &'static str,
    ) -> Option<T> {
        let default = Said::text(default, Origin::Default);
        let said = said.unwrap_or(&default);
        let text = said.as_text().unwrap_or_default();
        let meant = words.iter().find(|(word, _)| *word == text).ok_or_else(|| {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Refusal {
                expected: either(&all),
                hint: did_you_mean(text, &all),
            }
        });
        self.settle(key, said, meant, |(word, _)| quoted(word))
            .map(|(_, value)| *value)
    }

    /// A text that may be missing: `Some(None)` if it is.
    pub(super) fn text(
        &mut self,
        key: &'static str,
        said: Option<&Said>,
        expected: &str,
        accept: impl Fn(&str) -> bool,
    ) -> Option<Option<String>> {
        let Some(said) = said else {
            self.set(key, None, &Origin::Default);
            return Some(None);
        };
        let text = said
            .as_text()
            .filter(|text| accept(text))
            .ok_or_else(|| Refusal::new(expected));
        self.settle(key, said, text, |text| quoted(text))
            .map(|text| Some(text.to_owned()))
    }

    /// An address, which has to be said; `show` writes it as it is meant.
    pub(super) fn address<T>(
        &mut self,
        said: Option<&Said>,
        table: &Origin,
        read: impl Fn(&str) -> Result<T, Refusal>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        // What is missing or no text is answered like the empty text: with what should stand there.
        let text = said.and_then(Said::as_text).unwrap_or_default();
        match (said, read(text)) {
            (Some(said), result) => self.settle("address", said, result, |value| quoted(&show(value))),
            (None, result) => {
                let expected = result.err().map_or_else(String::new, |refusal| refusal.expected);
                self.fault(table, "address", "nothing", expected, None);
                None
            }
        }
    }

    /// A number that goes with no single option: the workers of a family.
    pub(super) fn flag_number(&mut self, said: &Said, key: &str, range: &RangeInclusive<u16>) -> Option<u16> {
        let number = within(said, range);
        if number.is_none() {
            self.fault_at(said, key, whole_number(range), None);
        }
        number
    }

    /// A key that means nothing where it stands.
    pub(super) fn unknown(&mut self, table: &str, unknown: &Unknown) {
        self.name(table);
        let hint = did_you_mean(&unknown.key, unknown.known);
        let (key, expected) = (shown_key(&unknown.key), either(unknown.known));
        self.fault(&unknown.origin, &key, "an unknown key", expected, hint);
    }

    /// Something else than a table or an array of tables.
    pub(super) fn misshapen(&mut self, name: &str, origin: &Origin, expected: &str, hint: String) {
        self.name("");
        let found = self.found(origin);
        self.fault(origin, name, found, expected, Some(hint));
    }

    /// Notes what is in effect.
    pub(super) fn set(&mut self, key: &'static str, value: Option<String>, origin: &Origin) {
        let origin = self.place(origin);
        if let Some(table) = self.effective.tables.last_mut() {
            table.settings.push(Setting { key, value, origin });
        }
    }

    /// A fault of a value that was said.
    pub(super) fn fault_at(
        &mut self,
        said: &Said,
        key: &str,
        expected: impl Into<String>,
        hint: Option<String>,
    ) {
        let found = match (&said.origin, &said.value) {
            (Origin::Flag(_), Value::Text(text)) => format!("\"{}\"", excerpt(text)),
            (origin, _) => self.found(origin),
        };
        self.fault(&said.origin, key, found, expected, hint);
    }

    /// Any fault.
    pub(super) fn fault(
        &mut self,
        origin: &Origin,
        key: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
        hint: Option<String>,
    ) {
        let key = match self.table.as_str() {
            "" => key.to_owned(),
            table => format!("{table}.{key}"),
        };
        let (place, found, expected) = (self.place(origin), found.into(), expected.into());
        self.faults.push(Fault {
            place,
            key,
            found,
            expected,
            hint,
        });
    }

    /// Where that is.
    pub(super) fn place(&self, origin: &Origin) -> Place {
        match (origin, self.source) {
            (Origin::File(span), Some(source)) => source.place(span.start),
            (Origin::Flag(flag), _) => Place::Flag(flag),
            (Origin::File(_) | Origin::Default, _) => Place::Default,
        }
    }

    fn found(&self, origin: &Origin) -> String {
        match (origin, self.source) {
            (Origin::File(span), Some(source)) => excerpt(source.excerpt(span)),
            (Origin::File(_) | Origin::Flag(_) | Origin::Default, _) => "nothing".to_owned(),
        }
    }

    /// An option whose values are written as Rust shows them.
    fn option<T: Debug>(
        &mut self,
        key: &'static str,
        said: Option<&Said>,
        default: T,
        take: impl Fn(&Said) -> Option<T>,
        expected: impl Fn() -> String,
    ) -> Option<T> {
        let Some(said) = said else {
            self.set(key, Some(format!("{default:?}")), &Origin::Default);
            return Some(default);
        };
        let refusal = || Refusal {
            expected: expected(),
            hint: without_quotes(said, &take),
        };
        self.settle(key, said, take(said).ok_or_else(refusal), |value| {
            format!("{value:?}")
        })
    }

    /// The one place where a value becomes a setting or a fault.
    fn settle<T>(
        &mut self,
        key: &'static str,
        said: &Said,
        result: Result<T, Refusal>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.set(key, Some(show(&value)), &said.origin);
                Some(value)
            }
            Err(refusal) => {
                self.fault_at(said, key, refusal.expected, refusal.hint);
                None
            }
        }
    }
}

fn within<T: PartialOrd + TryFrom<i64>>(said: &Said, range: &RangeInclusive<T>) -> Option<T> {
    let number = T::try_from(said.as_whole()?).ok()?;
    range.contains(&number).then_some(number)
}

fn whole_number<T: Debug>(range: &RangeInclusive<T>) -> String {
    format!("a whole number from {:?} to {:?}", range.start(), range.end())
}

/// The commonest slip with numbers and truth values, if it is one.
fn without_quotes<T>(said: &Said, take: impl Fn(&Said) -> Option<T>) -> Option<String> {
    let text = said.as_text()?;
    let value = match (text.parse(), text.parse(), text.parse()) {
        (Ok(truth), _, _) => Value::Truth(truth),
        (_, Ok(whole), _) => Value::Whole(whole),
        (_, _, Ok(float)) => Value::Float(float),
        _ => return None,
    };
    let bare = Said {
        value,
        origin: Origin::Default,
    };
    take(&bare).map(|_| "write it without quotes".to_owned())
}

/// A key as TOML needs it written: in quotes unless it is plain.
fn shown_key(key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match key.is_empty() || !key.chars().all(is_plain) {
        true => format!("\"{}\"", excerpt(key)),
        false => excerpt(key),
    }
}

/// The word that was probably meant: the start of what was found, or at most a third of its letters away.
fn did_you_mean(found: &str, known: &[&str]) -> Option<String> {
    // Nobody misspells a short word at length, and the distance takes time with the product of both lengths.
    let found = Some(found)
        .filter(|found| found.len() <= 64)?
        .to_lowercase()
        .replace('_', "-");
    let distance = |word: &str| match found.starts_with(word) {
        true => 1,
        false => strsim::damerau_levenshtein(&found, word),
    };
    let near = known.iter().map(|word| (distance(word), word)).min()?;
    match near {
        (distance, word) if distance <= word.len().div_ceil(3) => Some(format!("did you mean \"{word}\"?")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_near_word_is_suggested() {
        let keys = ["min-sources", "max-distance", "enabled", "user"];
        for (found, meant) in [
            ("min-source", Some("min-sources")),
            ("min_sources", Some("min-sources")),
            ("MaxDistance", Some("max-distance")),
            ("enable", Some("enabled")),
            ("usr", Some("user")),
            ("username", Some("user")),
            ("colour", None),
            ("", None),
        ] {
            let expected = meant.map(|word| format!("did you mean \"{word}\"?"));
            assert_eq!(did_you_mean(found, &keys), expected, "{found}");
        }
        assert_eq!(did_you_mean(&"x".repeat(1_000_000), &keys), None);
        assert_eq!(did_you_mean("x", &[]), None);
    }

    #[test]
    fn quotes_around_a_number_are_noticed() {
        let said = Said::text("4", Origin::File(0..3));
        assert!(without_quotes(&said, |said| within(said, &(1_u16..=8))).is_some());
        assert!(without_quotes(&said, |said| within(said, &(5_u16..=8))).is_none());
        assert!(without_quotes(&said, Said::as_truth).is_none());
    }
}
