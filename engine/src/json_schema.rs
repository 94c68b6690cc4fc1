//! JSON schemas, draft 4 to 2020-12: a table of nodes that is as large as its text, and a check that counts its steps.
//!
//! A reference is the number of a node. What references multiply to is therefore never built, neither in memory nor on
//! the stack, and recursion in a schema costs nothing until a payload goes along with it. A check has a budget of steps
//! and ends when it is used up, so that neither a schema nor a payload decides how long it takes; a part that several
//! references lead to is checked once for each value. Patterns run in linear time wherever they can be written so.
//!
//! ```text
//!  text -> Value -> index (ids, anchors, bases) -> nodes -> Schema::check(payload, steps)
//! ```

mod check;
mod compile;
mod equal;
mod format;
mod index;
mod pattern;
mod read;
mod unevaluated;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Number, Value};

pub(crate) use self::check::Checked;
use self::{format::Format, pattern::Pattern};

/// The place of a node in its table.
type Id = u32;

/// A schema that is ready to be held against payloads.
#[derive(Debug)]
pub(crate) struct Schema {
    nodes: Box<[Node]>,
    patterns: Box<[Pattern]>,
    /// What `$dynamicRef` may lead to: by resource and name.
    dynamic: HashMap<(u32, Box<str>), Id>,
    bytes: usize,
}

/// A schema or a part of one.
#[derive(Debug, Default)]
struct Node {
    /// Which document with an id of its own it stands in.
    resource: u32,
    /// More than one place refers to it.
    is_shared: bool,
    rules: Box<[Rule]>,
}

/// What one keyword, or several that belong together, ask of a value.
#[derive(Debug)]
enum Rule {
    Never,
    Ref(Id),
    DynamicRef { fixed: Id, name: Box<str> },
    Type(Types),
    Enum(Box<[Value]>),
    Const(Box<Value>),
    Maximum { most: Number, is_open: bool },
    Minimum { least: Number, is_open: bool },
    MultipleOf(Number),
    Length { min: usize, max: usize },
    Pattern(u32),
    Format(Format),
    ItemCount { min: usize, max: usize },
    UniqueItems,
    Items { first: Box<[Id]>, others: Option<Id> },
    Contains { what: Id, min: usize, max: usize, is_evaluated: bool },
    PropertyCount { min: usize, max: usize },
    Required(Box<[Box<str>]>),
    Properties(Box<Properties>),
    PropertyNames(Id),
    DependentRequired(BTreeMap<Box<str>, Box<[Box<str>]>>),
    DependentSchemas(BTreeMap<Box<str>, Id>),
    AllOf(Box<[Id]>),
    AnyOf(Box<[Id]>),
    OneOf(Box<[Id]>),
    Not(Id),
    If { test: Id, then: Option<Id>, otherwise: Option<Id> },
    UnevaluatedItems(Id),
    UnevaluatedProperties(Id),
}

#[derive(Debug, Default)]
struct Properties {
    named: HashMap<Box<str>, Id>,
    /// By a pattern of their names.
    like: Box<[(u32, Id)]>,
    others: Option<Id>,
}

/// Kinds of JSON values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Types {
    kinds: u8,
    /// `integer` is meant to the letter: 1.0 is none.
    is_literal: bool,
}

impl Types {
    const NAMES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

    fn with(self, name: &str) -> Option<Self> {
        let place = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self { kinds: self.kinds | 1 << place, ..self })
    }

    fn has(self, value: &Value) -> bool {
        let place = match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Number(number) => {
                let is_whole = match number.as_f64() {
                    Some(float) if number.is_f64() => !self.is_literal && float.fract() == 0.0,
                    Some(_) | None => true,
                };
                return self.kinds & 1 << 3 != 0 || is_whole && self.kinds & 1 << 2 != 0;
            }
            Value::String(_) => 4,
            Value::Array(_) => 5,
            Value::Object(_) => 6,
        };
        self.kinds & 1 << place != 0
    }

    fn names(self) -> String {
        let named = Self::NAMES.iter().enumerate().filter(|(place, _)| self.kinds & 1 << place != 0);
        named.map(|(_, name)| *name).collect::<Vec<_>>().join(" or ")
    }
}

/// Which words a schema is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Draft {
    Four,
    Six,
    Seven,
    Year2019,
    Year2020,
}

impl Draft {
    /// As its `$schema` says; the newest if it says nothing.
    fn of(root: &Value) -> Result<Self, Box<str>> {
        let Some(said) = root.get("$schema") else { return Ok(Self::Year2020) };
        let said = said.as_str().ok_or("at /$schema: must be a string")?;
        let known = [
            ("json-schema.org/draft-04/schema", Self::Four),
            ("json-schema.org/draft-06/schema", Self::Six),
            ("json-schema.org/draft-07/schema", Self::Seven),
            ("json-schema.org/draft/2019-09/schema", Self::Year2019),
            ("json-schema.org/draft/2020-12/schema", Self::Year2020),
            ("json-schema.org/schema", Self::Year2020),
            ("spec.openapis.org/oas/3.1/", Self::Year2020),
        ];
        let bare = said.trim_start_matches("https://").trim_start_matches("http://");
        let found = known.iter().find(|(name, _)| bare.starts_with(name)).map(|(_, draft)| *draft);
        found.ok_or_else(|| format!("at /$schema: {said} is no draft of JSON Schema from 4 to 2020-12").into())
    }
}

impl Schema {
    /// About how much memory it takes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
