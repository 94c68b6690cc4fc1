//! Reads JSON into types, and keeps the place of what is wrong and the names of what is not known.
//!
//! A value goes to serde_json as it came, except for what has parts. An object that is read into a struct is looked at
//! as a whole first: two spellings of one name are one field, `null` is an absent field, and a field that is wrong can be
//! left out, so that the others are looked at as well.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fmt,
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor, value::StrDeserializer},
};
use serde_json::{Error, Value, value::RawValue};

use super::WrongField;

/// Other spellings of fields, and the name that each stands for. Where a type has both names, they are one field.
const SPELLINGS: [(&str, &str); 3] =
    [("filterTypes", "eventTypes"), ("rateLimit", "throttleRate"), ("data", "payload")];
/// Fields that clients send back as they were shown, and that nothing is made of.
const ONLY_SHOWN: [&str; 3] = ["id", "createdAt", "updatedAt"];
/// Fields of one object, known or not: far more than any of ours has.
const FIELDS_MAX: usize = 1_000;
/// What is noted of names that are not known.
const UNKNOWN_MAX: usize = 16;

/// A field that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct Unknown {
    pub(in crate::api) path: Vec<String>,
    /// The known one that was probably meant.
    pub(in crate::api) nearest: Option<&'static str>,
}

impl Unknown {
    pub(in crate::api) fn message(&self) -> String {
        let meant = self.nearest.map(|nearest| format!("; did you mean `{nearest}`?"));
        format!("unknown field{}", meant.unwrap_or_default())
    }
}

/// One reading of a body.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Places that are known to be wrong, and are not looked at again.
    left_out: BTreeSet<Vec<String>>,
    wrong: RefCell<Option<Vec<String>>>,
    unknown: RefCell<Vec<Unknown>>,
}

impl Reading {
    pub(super) fn of<'b, T: Deserialize<'b>>(&self, raw: &'b RawValue) -> Result<T, Error> {
        T::deserialize(Part { raw, place: &Place::Root, reading: self })
    }

    /// What is wrong after a failed reading, unless that is only what was left out before; and whether the next reading,
    /// which passes over it, can find more.
    pub(super) fn set_aside(&mut self, error: &Error) -> (Option<WrongField>, bool) {
        let place = self.wrong.take().unwrap_or_default();
        self.unknown.take();
        let message = error.to_string();
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let path: Vec<_> = place.iter().cloned().chain(missing.map(str::to_owned)).collect();
        let is_new = !self.left_out.contains(&path);
        // Where in the text it stands helps nobody who sees the field's name.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message).to_owned();
        let goes_on = !place.is_empty();
        self.left_out.insert(place);
        (is_new.then_some(WrongField { path, message }), goes_on)
    }

    pub(super) fn unknown(self) -> Vec<Unknown> {
        self.unknown.into_inner()
    }

    /// The innermost place of an error is noted first, and stays.
    fn note<T>(&self, place: &Place<'_>, read: Result<T, Error>) -> Result<T, Error> {
        if read.is_err() {
            self.wrong.borrow_mut().get_or_insert_with(|| place.path());
        }
        read
    }

    fn leaves_out(&self, place: &Place<'_>) -> bool {
        !self.left_out.is_empty() && self.left_out.contains(&place.path())
    }

    fn note_unknown(&self, place: &Place<'_>, name: &str, known: &'static [&'static str]) {
        let mut unknown = self.unknown.borrow_mut();
        if unknown.len() < UNKNOWN_MAX && !ONLY_SHOWN.contains(&name) {
            let path = Place::Key(place, name).path();
            unknown.push(Unknown { path, nearest: nearest(name, known) });
        }
    }
}

/// Where a value stands in the body.
#[derive(Clone, Copy)]
enum Place<'p> {
    Root,
    Key(&'p Self, &'p str),
    Index(&'p Self, usize),
}

impl Place<'_> {
    /// From the root on; indexes as text, because clients read a list of strings.
    fn path(&self) -> Vec<String> {
        let (mut path, segment) = match self {
            Place::Root => return Vec::new(),
            Place::Key(parent, name) => (parent.path(), (*name).to_owned()),
            Place::Index(parent, index) => (parent.path(), index.to_string()),
        };
        path.push(segment);
        path
    }
}

/// A value and its place.
#[derive(Clone, Copy)]
struct Part<'de, 'p> {
    raw: &'de RawValue,
    place: &'p Place<'p>,
    reading: &'p Reading,
}

/// `null` says something in these: it clears, switches off, or is what is sent. What else of them is optional is an `Option`.
fn keeps_null(type_name: &str) -> bool {
    type_name.ends_with("Patch") || ["Delivery", "EventIn"].contains(&type_name)
}

/// The known name that an unknown one was probably meant to be: of the same letters but for a third of them.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let lower = name.to_ascii_lowercase();
    let distance = |known: &&str| strsim::damerau_levenshtein(&known.to_ascii_lowercase(), &lower);
    if name.len() > 64 {
        return None;
    }
    known.iter().copied().min_by_key(distance).filter(|best| distance(best) * 3 <= best.len().min(name.len()))
}

type Entries<'de> = Vec<(Cow<'de, str>, &'de RawValue)>;

/// A JSON object as its entries, or what it is instead.
fn entries(raw: &RawValue) -> Result<Entries<'_>, Error> {
    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    struct Listed<'de>(PhantomData<&'de ()>);

    impl<'de> Visitor<'de> for Listed<'de> {
        type Value = Entries<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some((Name(name), value)) = map.next_entry()? {
                if FIELDS_MAX <= all.len() {
                    return Err(A::Error::custom(format!("must have at most {FIELDS_MAX} fields")));
                }
                all.push((name, value));
            }
            Ok(all)
        }
    }

    raw.deserialize_map(Listed(PhantomData))
}

impl<'de> Part<'de, '_> {
    /// The fields of a struct that has these, each once.
    fn fields(&self, type_name: &str, known: &'static [&'static str]) -> Result<Entries<'de>, Error> {
        let mut fields = Entries::new();
        let mut places = HashMap::new();
        for (name, raw) in self.reading.note(self.place, entries(self.raw))? {
            let spelled = SPELLINGS.iter().find(|(other, one)| *other == name && known.contains(one));
            let name = spelled.map_or(name, |(_, one)| Cow::Borrowed(*one));
            if self.reading.leaves_out(&Place::Key(self.place, &name)) || raw.get() == "null" && !keeps_null(type_name)
            {
                continue;
            }
            let Some(place) = places.get(&name) else {
                places.insert(name.clone(), fields.len());
                fields.push((name, raw));
                continue;
            };
            let before: &mut &RawValue = &mut fields[*place].1;
            if !same(before, raw) {
                let error = Error::custom("is given twice, with different values");
                return self.reading.note(&Place::Key(self.place, &name), Err(error));
            }
            // The shorter text stays, so that a long one is read once, however often its field is given.
            if raw.get().len() < before.get().len() {
                *before = raw;
            }
        }
        Ok(fields)
    }
}

fn same(one: &RawValue, other: &RawValue) -> bool {
    let value = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
    one.get() == other.get() || value(one) == value(other)
}

/// What has no parts.
macro_rules! whole {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.raw.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Part<'de, '_> {
    type Error = Error;

    whole! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.raw.get() == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.raw.deserialize_unit_struct(name, visitor)
    }

    /// Raw values come so, too.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.raw.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let all = <Vec<&RawValue>>::deserialize(self.raw)?;
        visitor.visit_seq(Items { all: all.into_iter().enumerate(), part: self })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut all = entries(self.raw)?;
        all.retain(|(name, _)| !self.reading.leaves_out(&Place::Key(self.place, name)));
        visitor.visit_map(Entered { all: all.into_iter(), next: None, part: self, known: None })
    }

    /// Only an object: a list of as many values as there are fields would do for serde.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let all = self.fields(name, fields)?;
        visitor.visit_map(Entered { all: all.into_iter(), next: None, part: self, known: Some(fields) })
    }

    /// All of ours are names.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.raw.deserialize_enum(name, variants, visitor)
    }
}

/// The values of a list.
struct Items<'de, 'p> {
    all: std::iter::Enumerate<std::vec::IntoIter<&'de RawValue>>,
    part: Part<'de, 'p>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Part { place, reading, .. } = self.part;
        for (index, raw) in self.all.by_ref() {
            let place = Place::Index(place, index);
            if !reading.leaves_out(&place) {
                return reading.note(&place, seed.deserialize(Part { raw, place: &place, reading })).map(Some);
            }
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.all.len())
    }
}

/// The entries of an object.
struct Entered<'de, 'p> {
    all: std::vec::IntoIter<(Cow<'de, str>, &'de RawValue)>,
    next: Option<(Cow<'de, str>, &'de RawValue)>,
    part: Part<'de, 'p>,
    /// What the type has, if it is no map.
    known: Option<&'static [&'static str]>,
}

impl<'de> MapAccess<'de> for Entered<'de, '_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Part { place, reading, .. } = self.part;
        let Some((name, raw)) = self.all.next() else { return Ok(None) };
        let read = reading.note(&Place::Key(place, &name), seed.deserialize(StrDeserializer::new(&name)))?;
        // One that the type refuses has failed already.
        if let Some(known) = self.known
            && !known.contains(&&*name)
        {
            reading.note_unknown(place, &name, known);
        }
        self.next = Some((name, raw));
        Ok(Some(read))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let Part { place, reading, .. } = self.part;
        let (name, raw) = self.next.take().ok_or_else(|| Error::custom("a value comes after its name"))?;
        let place = Place::Key(place, &name);
        reading.note(&place, seed.deserialize(Part { raw, place: &place, reading }))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.all.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second of two equal values was compared with the first one's text, however long that was and however often it was
    /// given again.
    #[test]
    fn of_equal_values_the_shortest_text_stays() {
        #[derive(Deserialize)]
        struct Holder<'b> {
            #[serde(borrow)]
            payload: &'b RawValue,
        }

        for (first, second) in [(r#"{"a":1,"a":1}"#, r#"{"a":1}"#), (r#"{"a":1}"#, r#"{"a": 1}"#)] {
            let text = format!(r#"{{"payload":{first},"data":{second},"payload":{second}}}"#);
            let raw: &RawValue = serde_json::from_str(&text).expect("it is JSON");
            let read: Holder<'_> = Reading::default().of(raw).expect("they are equal");
            assert_eq!(read.payload.get(), r#"{"a":1}"#, "{text}");
        }
    }
}
