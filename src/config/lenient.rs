//! Pure. Reads TOML through serde without an end at the first fault.
//!
//! serde gives up at the first value of a wrong type and at the first unknown key. Here each value of the file is
//! taken as it is and kept with its place, so that `validate` can name all faults at once.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::raw_value::{Origin, RawValue, Section, Sections, Unknown, Value};

/// Parses the text of a file whose first byte has the offset `start` among all texts of the configuration.
///
/// # Errors
/// The text is not TOML: the first such place, as an offset in this text.
pub(super) fn parse(start: usize, text: &str) -> Result<Spanned<DeTable<'_>>, toml::de::Error> {
    let document = DeTable::parse(text)?;
    let span = shifted(&document.span(), start);
    Ok(Spanned::new(span, moved(document.into_inner(), start)))
}

/// Reads what the files of a configuration say together.
///
/// # Errors
/// None that the parser has not named before.
pub(super) fn read<'de, T: Deserialize<'de> + Default>(
    document: Spanned<DeTable<'de>>,
) -> Result<Section<T>, toml::de::Error> {
    Section::deserialize(toml::Deserializer::from(document))
}

fn shifted(span: &Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn moved(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let entries = table.into_iter().map(|(key, value)| {
        let span = shifted(&key.span(), by);
        (Spanned::new(span, key.into_inner()), normal(value, by))
    });
    entries.collect()
}

/// Moves the place of a value, and makes it readable.
///
/// Numbers that are too large for our types, and dates, become a value that is wrong for every key: otherwise they would end
/// the reading.
fn normal(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = shifted(&value.span(), by);
    let (fits, value) = match value.into_inner() {
        DeValue::Integer(number) => (
            i64::from_str_radix(number.as_str(), number.radix()).is_ok(),
            DeValue::Integer(number),
        ),
        DeValue::Float(number) => (
            number.as_str().contains("inf") || is_finite_or_nan(number.as_str()),
            DeValue::Float(number),
        ),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| normal(item, by));
            (true, DeValue::Array(items.collect()))
        }
        DeValue::Table(table) => (true, DeValue::Table(moved(table, by))),
        date @ DeValue::Datetime(_) => (false, date),
        other @ (DeValue::String(_) | DeValue::Boolean(_)) => (true, other),
    };
    if fits {
        return Spanned::new(span, value);
    }
    // An empty list would be a valid list of prefixes, so the list has an element.
    let mut odd = DeArray::new();
    odd.push(Spanned::new(span.clone(), DeValue::Array(DeArray::new())));
    Spanned::new(span, DeValue::Array(odd))
}

fn is_finite_or_nan(number: &str) -> bool {
    number.parse::<f64>().is_ok_and(|number| !number.is_infinite())
}

/// A type that can be made of every value of a file.
trait Lenient<'de>: Sized {
    const WANTED: &'static str;

    fn scalar(value: Value) -> Self;

    fn table<A: MapAccess<'de>>(mut table: A) -> Result<Self, A::Error> {
        while table.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::scalar(Value::Other))
    }

    fn array<A: SeqAccess<'de>>(mut array: A) -> Result<Self, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::scalar(Value::Other))
    }
}

/// A value of any type that serde finds, as `L` takes it.
struct Taken<L>(L);

impl<'de, L: Lenient<'de>> Deserialize<'de> for Taken<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Take(PhantomData)).map(Self)
    }
}

struct Take<L>(PhantomData<L>);

impl<'de, L: Lenient<'de>> Visitor<'de> for Take<L> {
    type Value = L;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(L::WANTED)
    }

    fn visit_bool<E>(self, value: bool) -> Result<L, E> {
        Ok(L::scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<L, E> {
        Ok(L::scalar(Value::Integer(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<L, E> {
        Ok(L::scalar(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<L, E> {
        Ok(L::scalar(Value::Text(value.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<L, A::Error> {
        L::table(table)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<L, A::Error> {
        L::array(array)
    }
}

impl<'de> Lenient<'de> for Value {
    const WANTED: &'static str = "a value";

    fn scalar(value: Value) -> Self {
        value
    }

    fn array<A: SeqAccess<'de>>(mut array: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            items.push(item);
        }
        Ok(Self::List(items))
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (value, origin) = placed(deserializer)?;
        Ok(Self { value, origin })
    }
}

/// The fields of a table and its unknown keys; `None` if the value is no table.
struct Fields<T>(Option<(T, Vec<Unknown>)>);

impl<'de, T: Deserialize<'de>> Lenient<'de> for Fields<T> {
    const WANTED: &'static str = "a table";

    fn scalar(_: Value) -> Self {
        Self(None)
    }

    fn table<A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        let mut unknown = Vec::new();
        let said = T::deserialize(KnownFields {
            table,
            unknown: &mut unknown,
        })?;
        Ok(Self(Some((said, unknown))))
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fields, origin): (Fields<T>, Origin) = placed(deserializer)?;
        let is_table = fields.0.is_some();
        let (said, unknown) = fields.0.unwrap_or_default();
        Ok(Self {
            said,
            unknown,
            is_table,
            origin,
        })
    }
}

/// The tables of an array; `None` if the value is no array.
struct Items<T>(Option<Vec<Section<T>>>);

impl<'de, T: Deserialize<'de> + Default> Lenient<'de> for Items<T> {
    const WANTED: &'static str = "an array of tables";

    fn scalar(_: Value) -> Self {
        Self(None)
    }

    fn array<A: SeqAccess<'de>>(mut array: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            items.push(item);
        }
        Ok(Self(Some(items)))
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Sections<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (items, origin): (Items<T>, Origin) = placed(deserializer)?;
        let is_array = items.0.is_some();
        Ok(Self {
            said: items.0,
            is_array,
            origin,
        })
    }
}

fn placed<'de, L: Lenient<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<(L, Origin), D::Error> {
    let spanned = Spanned::<Taken<L>>::deserialize(deserializer)?;
    let origin = Origin::File(spanned.span());
    Ok((spanned.into_inner().0, origin))
}

/// A table for a struct that knows its fields: an unknown key is put aside and is no error.
struct KnownFields<'a, A> {
    table: A,
    unknown: &'a mut Vec<Unknown>,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for KnownFields<'_, A> {
    type Error = A::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(OnlyKnown {
            table: self.table,
            known,
            unknown: self.unknown,
        })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, A::Error> {
        Err(A::Error::custom("only a struct knows its fields"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct OnlyKnown<'a, A> {
    table: A,
    known: &'static [&'static str],
    unknown: &'a mut Vec<Unknown>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OnlyKnown<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.table.next_key::<Spanned<String>>()? {
            if self.known.contains(&key.get_ref().as_str()) {
                return seed.deserialize(key.into_inner().into_deserializer()).map(Some);
            }
            self.table.next_value::<IgnoredAny>()?;
            self.put_aside(key);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.table.next_value_seed(seed)
    }
}

impl<A> OnlyKnown<'_, A> {
    fn put_aside(&mut self, key: Spanned<String>) {
        let span: Range<usize> = key.span();
        let unknown = Unknown {
            key: key.into_inner(),
            known: self.known,
            origin: Origin::File(span),
        };
        self.unknown.push(unknown);
    }
}
