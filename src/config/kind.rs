//! Pure. The kinds of values that keys take: each is read, written as TOML, and described.

use std::fmt::Display;
use std::ops::RangeInclusive;

use strum::VariantArray;

use super::address::Refusal;
use super::effective::{either, quoted};
use super::raw_value::{Origin, RawValue, Value};

/// The type of a key's value.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyType {
    /// `true` or `false`.
    Bool,
    /// A whole number in a range.
    Integer {
        /// The smallest one.
        least: i64,
        /// The largest one.
        most: i64,
    },
    /// A number in a range, with or without a fraction.
    Number {
        /// The smallest one.
        least: f64,
        /// The largest one.
        most: f64,
    },
    /// A word out of these.
    Word(Vec<&'static str>),
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// A text, or a list of texts.
    TextOrTexts,
}

/// The parts of a value that are refused, each with the reason; never empty.
pub(super) type Refused<'a> = Vec<(&'a RawValue, Refusal)>;

/// A kind of values.
pub(super) trait Kind {
    /// The type of a value, once it is read.
    type Value: Clone;

    /// Reads the value that a file or a flag has.
    ///
    /// # Errors
    /// The value is not of this kind: what is expected instead.
    fn read<'a>(&self, said: &'a RawValue) -> Result<Self::Value, Refused<'a>>;

    /// Returns the value as TOML; `None` is "not set".
    fn shown(&self, value: &Self::Value) -> Option<String>;

    /// Returns the type for documents and for the schema.
    fn described(&self) -> KeyType;

    /// Returns the kind of value that is expected, if the key can't be left out.
    fn required(&self) -> Option<String> {
        None
    }
}

/// `true` or `false`.
pub(super) struct Bool;

/// A whole number.
pub(super) struct Integer<T> {
    range: RangeInclusive<T>,
}

/// A number with or without a fraction.
pub(super) struct Number {
    range: RangeInclusive<f64>,
    what: &'static str,
}

/// A word out of a few.
pub(super) struct Word<T> {
    words: Vec<(&'static str, T)>,
}

/// A text that is parsed.
pub(super) struct Parsed<T> {
    parse: fn(Option<&str>) -> Result<T, Refusal>,
    show: fn(&T) -> Option<String>,
    is_required: bool,
}

/// A list of texts that are parsed.
pub(super) struct Texts<T> {
    parse: fn(&str) -> Result<T, Refusal>,
    show: fn(&T) -> String,
}

/// A text that is parsed, or a list of them.
pub(super) struct OneOrMore<T> {
    expected: &'static str,
    items: Texts<T>,
}

/// Returns the kind of whole numbers from the start to the end of the range.
pub(super) const fn whole<T>(range: RangeInclusive<T>) -> Integer<T> {
    Integer { range }
}

/// Returns the kind of seconds from the start to the end of the range.
pub(super) const fn seconds(range: RangeInclusive<f64>) -> Number {
    let what = "seconds";
    Number { range, what }
}

/// Returns the kind of numbers from the start to the end of the range.
pub(super) const fn number(range: RangeInclusive<f64>) -> Number {
    let what = "a number";
    Number { range, what }
}

/// Returns the kind of the words of an enum.
pub(super) fn word<T: VariantArray + Copy + Into<&'static str>>() -> Word<T> {
    let variants = T::VARIANTS.iter();
    Word {
        words: variants.map(|variant| ((*variant).into(), *variant)).collect(),
    }
}

/// Returns the kind of these words, each with its value.
pub(super) fn words<T: Copy>(words: &[(&'static str, T)]) -> Word<T> {
    Word {
        words: words.to_vec(),
    }
}

/// Returns the kind of texts that `parse` reads; `show` gives the value as TOML.
///
/// `parse` gets `None` for a value that is no text.
pub(super) const fn parsed<T>(
    parse: fn(Option<&str>) -> Result<T, Refusal>,
    show: fn(&T) -> Option<String>,
) -> Parsed<T> {
    Parsed {
        parse,
        show,
        is_required: false,
    }
}

/// Returns the kind of lists of texts that `parse` reads; `show` gives one of the values as TOML.
pub(super) const fn texts<T>(parse: fn(&str) -> Result<T, Refusal>, show: fn(&T) -> String) -> Texts<T> {
    Texts { parse, show }
}

/// Returns the kind of texts that `parse` reads, and of lists of them; `show` gives one of the values as TOML.
///
/// An empty list is not set.
pub(super) const fn one_or_more<T>(
    expected: &'static str,
    parse: fn(&str) -> Result<T, Refusal>,
    show: fn(&T) -> String,
) -> OneOrMore<T> {
    OneOrMore {
        expected,
        items: texts(parse, show),
    }
}

impl<T> Parsed<T> {
    /// Makes this the kind of a key that can't be left out.
    pub(super) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }
}

impl<T> Integer<T>
where
    T: PartialOrd + Copy + Display + TryFrom<i64>,
{
    /// Returns the description of the values that are accepted.
    pub(super) fn expected(&self) -> String {
        format!(
            "a whole number from {} to {}",
            self.range.start(),
            self.range.end()
        )
    }

    fn within(&self, said: &RawValue) -> Option<T> {
        let number = T::try_from(said.as_integer()?).ok();
        number.filter(|number| self.range.contains(number))
    }
}

/// Refuses a single value.
fn refused<T>(said: &RawValue, expected: String, hint: Option<String>) -> Result<T, Refused<'_>> {
    Err(vec![(said, Refusal { expected, hint })])
}

impl Kind for Bool {
    type Value = bool;

    fn read<'a>(&self, said: &'a RawValue) -> Result<bool, Refused<'a>> {
        let hint = || without_quotes(said, RawValue::as_bool);
        let truth = said.as_bool();
        truth.map_or_else(|| refused(said, "true or false".to_owned(), hint()), Ok)
    }

    fn shown(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }

    fn described(&self) -> KeyType {
        KeyType::Bool
    }
}

impl<T> Kind for Integer<T>
where
    T: PartialOrd + Copy + Display + TryFrom<i64> + Into<i64>,
{
    type Value = T;

    fn read<'a>(&self, said: &'a RawValue) -> Result<T, Refused<'a>> {
        let hint = || without_quotes(said, |said| self.within(said));
        let number = self.within(said);
        number.map_or_else(|| refused(said, self.expected(), hint()), Ok)
    }

    fn shown(&self, value: &T) -> Option<String> {
        Some(value.to_string())
    }

    fn described(&self) -> KeyType {
        KeyType::Integer {
            least: (*self.range.start()).into(),
            most: (*self.range.end()).into(),
        }
    }
}

impl Kind for Number {
    type Value = f64;

    fn read<'a>(&self, said: &'a RawValue) -> Result<f64, Refused<'a>> {
        let within = |said: &RawValue| said.as_float().filter(|number| self.range.contains(number));
        let (least, most) = (self.range.start(), self.range.end());
        let expected = || format!("{} from {least} to {most}", self.what);
        let number = within(said);
        number.map_or_else(|| refused(said, expected(), without_quotes(said, within)), Ok)
    }

    /// Writes the value with a point, so that it is read as a number with a fraction again.
    fn shown(&self, value: &f64) -> Option<String> {
        Some(format!("{value:?}"))
    }

    fn described(&self) -> KeyType {
        KeyType::Number {
            least: *self.range.start(),
            most: *self.range.end(),
        }
    }
}

impl<T: Copy + PartialEq> Kind for Word<T> {
    type Value = T;

    fn read<'a>(&self, said: &'a RawValue) -> Result<T, Refused<'a>> {
        let text = said.as_text().unwrap_or_default();
        match self.words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let all: Vec<&str> = self.words.iter().map(|(word, _)| *word).collect();
                refused(said, either(&all), did_you_mean(text, &all))
            }
        }
    }

    fn shown(&self, value: &T) -> Option<String> {
        let word = self.words.iter().find(|(_, meant)| meant == value);
        word.map(|(word, _)| quoted(word))
    }

    fn described(&self) -> KeyType {
        KeyType::Word(self.words.iter().map(|(word, _)| *word).collect())
    }
}

impl<T: Clone> Kind for Parsed<T> {
    type Value = T;

    fn read<'a>(&self, said: &'a RawValue) -> Result<T, Refused<'a>> {
        (self.parse)(said.as_text()).map_err(|refusal| vec![(said, refusal)])
    }

    fn shown(&self, value: &T) -> Option<String> {
        (self.show)(value)
    }

    fn described(&self) -> KeyType {
        KeyType::Text
    }

    fn required(&self) -> Option<String> {
        let refusal = (self.parse)(None).err().filter(|_| self.is_required);
        refusal.map(|refusal| refusal.expected)
    }
}

impl<T: Clone> Kind for Texts<T> {
    type Value = Vec<T>;

    fn read<'a>(&self, said: &'a RawValue) -> Result<Vec<T>, Refused<'a>> {
        let Some(items) = said.as_list() else {
            let hint = Some("write it in brackets, even a single one".to_owned());
            return refused(said, "a list of texts".to_owned(), hint);
        };
        let (mut all, mut refused) = (Vec::new(), Vec::new());
        for item in items {
            match (self.parse)(item.as_text().unwrap_or_default()) {
                Ok(one) => all.push(one),
                Err(refusal) => refused.push((item, refusal)),
            }
        }
        if refused.is_empty() { Ok(all) } else { Err(refused) }
    }

    fn shown(&self, value: &Vec<T>) -> Option<String> {
        let shown: Vec<String> = value.iter().map(self.show).collect();
        Some(format!("[{}]", shown.join(", ")))
    }

    fn described(&self) -> KeyType {
        KeyType::Texts
    }
}

impl<T: Clone> Kind for OneOrMore<T> {
    type Value = Vec<T>;

    fn read<'a>(&self, said: &'a RawValue) -> Result<Vec<T>, Refused<'a>> {
        match said.as_text() {
            Some(text) => match (self.items.parse)(text) {
                Ok(one) => Ok(vec![one]),
                Err(refusal) => Err(vec![(said, refusal)]),
            },
            None if said.as_list().is_some() => self.items.read(said),
            None => refused(said, self.expected.to_owned(), None),
        }
    }

    fn shown(&self, value: &Vec<T>) -> Option<String> {
        match value.as_slice() {
            [] => None,
            [one] => Some((self.items.show)(one)),
            _ => self.items.shown(value),
        }
    }

    fn described(&self) -> KeyType {
        KeyType::TextOrTexts
    }
}

/// Returns the hint to leave out the quotes, if the value would be accepted without them.
fn without_quotes<T>(said: &RawValue, take: impl Fn(&RawValue) -> Option<T>) -> Option<String> {
    let text = said.as_text()?;
    let value = match (text.parse(), text.parse(), text.parse()) {
        (Ok(truth), _, _) => Value::Bool(truth),
        (_, Ok(whole), _) => Value::Integer(whole),
        (_, _, Ok(float)) => Value::Float(float),
        _ => return None,
    };
    let bare = RawValue {
        value,
        origin: Origin::Default,
    };
    take(&bare).map(|_| "write it without quotes".to_owned())
}

/// Returns the hint with the word that was probably meant.
///
/// That is a word with which `found` starts, or one that differs by at most a third of its letters.
pub(super) fn did_you_mean(found: &str, known: &[&str]) -> Option<String> {
    // A long text is no misspelt short word, and the time for the distance grows with the product of both lengths.
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
        let said = RawValue::text("4", Origin::File(0..3));
        let hint = |read: Result<u16, Refused<'_>>| read.unwrap_err()[0].1.hint.clone();
        assert!(hint(whole(1..=8).read(&said)).is_some());
        assert!(hint(whole(5..=8).read(&said)).is_none());
        assert!(Bool.read(&said).unwrap_err()[0].1.hint.is_none());
    }
}
