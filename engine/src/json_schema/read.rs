//! Reads the values of keywords: what is wrong, and where, in words.

use serde_json::{Map, Number, Value};

use super::{Draft, Types};

/// A part of a schema that is being read.
#[derive(Clone, Copy)]
pub(super) struct Fields<'v> {
    fields: &'v Map<String, Value>,
    pub(super) draft: Draft,
}

/// A keyword, and what is wrong with it.
pub(super) type Wrong = (&'static str, String);

impl<'v> Fields<'v> {
    pub(super) const fn new(fields: &'v Map<String, Value>, draft: Draft) -> Self {
        Self { fields, draft }
    }

    pub(super) fn get(self, name: &str) -> Option<&'v Value> {
        self.fields.get(name)
    }

    /// One that this draft has.
    pub(super) fn since(self, draft: Draft, name: &str) -> Option<&'v Value> {
        if draft <= self.draft { self.get(name) } else { None }
    }

    pub(super) fn text(self, name: &'static str) -> Result<Option<&'v str>, Wrong> {
        let read = |value: &'v Value| value.as_str().ok_or_else(|| (name, "must be a string".to_owned()));
        self.get(name).map(read).transpose()
    }

    pub(super) fn number(self, name: &'static str) -> Result<Option<&'v Number>, Wrong> {
        self.get(name).map(|value| value.as_number().ok_or_else(|| (name, "must be a number".to_owned()))).transpose()
    }

    pub(super) fn flag(self, name: &'static str) -> Result<bool, Wrong> {
        let read = |value: &Value| value.as_bool().ok_or_else(|| (name, "must be true or false".to_owned()));
        Ok(self.get(name).map(read).transpose()?.unwrap_or(false))
    }

    pub(super) fn object(self, name: &'static str) -> Result<Option<&'v Map<String, Value>>, Wrong> {
        self.get(name).map(|value| value.as_object().ok_or_else(|| (name, "must be an object".to_owned()))).transpose()
    }

    pub(super) fn list(self, name: &'static str) -> Result<Option<&'v [Value]>, Wrong> {
        let read = |value: &'v Value| match value.as_array() {
            Some(list) if !list.is_empty() => Ok(&**list),
            Some(_) | None => Err((name, "must be a list that is not empty".to_owned())),
        };
        self.get(name).map(read).transpose()
    }

    /// From this one to that one; without them there is no bound.
    pub(super) fn range(self, min: &'static str, max: &'static str) -> Result<Option<(usize, usize)>, Wrong> {
        match (self.count(min)?, self.count(max)?) {
            (None, None) => Ok(None),
            (min, max) => Ok(Some((min.unwrap_or(0), max.unwrap_or(usize::MAX)))),
        }
    }

    pub(super) fn count(self, name: &'static str) -> Result<Option<usize>, Wrong> {
        self.get(name)
            .map(|value| count(value).ok_or_else(|| (name, "must be a whole number from 0".to_owned())))
            .transpose()
    }

    pub(super) fn types(self) -> Result<Option<Types>, Wrong> {
        let none = Types { is_literal: self.draft == Draft::Four, ..Types::default() };
        let with = |types: Types, value: &Value| {
            let named = value.as_str().and_then(|name| types.with(name));
            named.ok_or_else(|| ("type", format!("{value} is none of {}", Types::NAMES.join(", "))))
        };
        match self.get("type") {
            None => Ok(None),
            Some(Value::Array(all)) => all.iter().try_fold(none, with).map(Some),
            Some(one) => with(none, one).map(Some),
        }
    }
}

/// Names in a list, each once.
pub(super) fn names(keyword: &'static str, value: &Value) -> Result<Box<[Box<str>]>, Wrong> {
    let wrong = || (keyword, "must be a list of strings".to_owned());
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|name| name.as_str().map(Into::into).ok_or_else(wrong)).collect()
}

fn count(value: &Value) -> Option<usize> {
    let number = value.as_number()?;
    if let Some(whole) = number.as_u64() {
        return usize::try_from(whole).ok();
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && (0.0..=9e15).contains(float))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and within what both can say")]
    let whole = float as u64;
    usize::try_from(whole).ok()
}
