//! Reads event types out of an OpenAPI document: each of its webhooks is one.
//!
//! A schema must stand on its own, because the document is not kept: what it refers to is written in its place. Where
//! that has no end, or goes too deep, the reference stays, and leads to a copy among the `$defs` of the schema; if it
//! would become too large, all references do.

use std::collections::{BTreeMap, BTreeSet};

use postrider_core::{EventTypeSpec, SCHEMAS_BYTES_MAX, SchemaVersion};
use serde_json::{Map, Value, json};

/// Webhooks in one document.
const WEBHOOKS_MAX: usize = 1_000;
/// What is deeper than this refers to `$defs`; what is stored is read again, and readers of JSON stop at 128.
const REFERS_FROM_DEPTH: usize = 48;
const DEPTH_MAX: usize = 96;
/// Values in one schema: what the largest that is kept may hold, about.
const VALUES_MAX: usize = SCHEMAS_BYTES_MAX / 8;
/// Bytes of one schema as it is written, about: no more are kept.
const BYTES_MAX: usize = SCHEMAS_BYTES_MAX;
/// Bytes that all schemas of one document may become, with those that are written in vain because they become too large.
const BYTES_IN_ALL_MAX: usize = 128 << 20;
/// About what a value takes beside its text.
const VALUE_BYTES: usize = 8;
/// References that lead to nothing but references.
const HOPS_MAX: usize = 16;

/// What a document says of one event type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImportedEventType {
    /// The name of the webhook.
    pub name: Box<str>,
    /// For people; the name, if the document says nothing.
    pub description: String,
    /// Not offered any more.
    pub deprecated: bool,
    /// What the payload must be, on its own; none if the document does not say.
    pub schema: Option<Value>,
    /// Portals see it only with this flag: `x-svix-feature-flags`, or `x-svix-feature-flag`.
    pub feature_flag: Option<Box<str>>,
    /// Under what it is listed: `x-svix-group-name`.
    pub group: Option<Box<str>>,
}

/// Why a document is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Give a document with `webhooks` (OpenAPI 3.1) or `x-webhooks`. One without them is more likely the wrong one than
    /// meant to say that there are no event types.
    #[error("the document has neither `webhooks` nor `x-webhooks`")]
    NoWebhooks,
    /// Split it.
    #[error("a document may have at most {WEBHOOKS_MAX} webhooks")]
    TooMany,
    /// Split it: each schema is kept on its own, with all that it refers to.
    #[error("with what they refer to, the schemas of the webhooks are too large together; split the document")]
    TooLarge,
    /// Mend it, or the webhook that uses it.
    #[error("webhook {webhook}: {fault}")]
    Webhook {
        /// The name of the webhook.
        webhook: Box<str>,
        /// What is wrong with it.
        fault: ImportFault,
    },
}

/// What is wrong with one webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportFault {
    /// Give it a `post`, or another method.
    #[error("it has no operation")]
    NoOperation,
    /// Mend the reference.
    #[error("reference {0} leads nowhere")]
    LeadsNowhere(Box<str>),
    /// Bundle the documents into one first: nothing is fetched.
    #[error("reference {0} leads to another document")]
    OtherDocument(Box<str>),
    /// Give an object.
    #[error("its schema is none")]
    NoSchema,
    /// Give one flag, as text, or a list of one: an event type that loses a flag is seen by those who should not see it.
    #[error("`{0}` must be one name, or a list of one")]
    NotOneName(&'static str),
    /// Say less, or say it flatter.
    #[error("its schema is too large or too deep")]
    TooLarge,
}

/// The event types that a document tells of, by name.
///
/// # Errors
/// Each says what to do.
pub fn event_types_of(document: &Value) -> Result<Vec<ImportedEventType>, ImportError> {
    let parts = ["webhooks", "x-webhooks"].map(|part| document.get(part).and_then(Value::as_object));
    if parts.iter().all(Option::is_none) {
        return Err(ImportError::NoWebhooks);
    }
    // Of two with one name that of the standard stands.
    let webhooks: BTreeMap<_, _> = parts.into_iter().rev().flatten().flatten().collect();
    if WEBHOOKS_MAX < webhooks.len() {
        return Err(ImportError::TooMany);
    }
    let mut left = BYTES_IN_ALL_MAX;
    let read = |(name, item): (&String, &Value)| {
        event_type(document, name, item, &mut left).map_err(|fault| match fault {
            ImportFault::TooLarge if left == 0 => ImportError::TooLarge,
            fault => ImportError::Webhook { webhook: name.as_str().into(), fault },
        })
    };
    webhooks.into_iter().map(read).collect()
}

impl ImportedEventType {
    /// What is said of it over what is known of it. Its schema takes the place of the latest one.
    pub fn over(&self, known: Option<&EventTypeSpec>) -> EventTypeSpec {
        let mut spec = known.cloned().unwrap_or_default();
        spec.description.clone_from(&self.description);
        (spec.deprecated, spec.archived) = (self.deprecated, false);
        if self.feature_flag.is_some() {
            spec.feature_flag.clone_from(&self.feature_flag);
        }
        if self.group.is_some() {
            spec.group.clone_from(&self.group);
        }
        let Some(schema) = &self.schema else { return spec };
        let latest = spec.latest().map(|(version, text)| (version, serde_json::from_str::<Value>(text).ok()));
        let (version, is_same) = match &latest {
            Some((version, known)) => (*version, known.as_ref() == Some(schema)),
            None => (SchemaVersion(1), false),
        };
        if !is_same {
            spec.schemas.insert(version, schema.to_string().into());
        }
        spec
    }
}

fn event_type(document: &Value, name: &str, item: &Value, left: &mut usize) -> Result<ImportedEventType, ImportFault> {
    let item = followed(document, item)?;
    let operation = ["post", "put", "patch", "get", "delete"].iter().find_map(|method| item.get(method));
    let operation = operation.ok_or(ImportFault::NoOperation)?;
    let said = [(operation, "description"), (operation, "summary"), (item, "description"), (item, "summary")];
    let said = said.iter().find_map(|(of, field)| of.get(field)?.as_str().filter(|text| !text.trim().is_empty()));
    let schema = match operation.get("requestBody") {
        Some(body) => schema_of(document, followed(document, body)?, left)?,
        None => None,
    };
    let flags = ["x-svix-feature-flags", "x-svix-feature-flag"].into_iter();
    let flags = flags.map(|field| one_name(&[operation, item], field)).collect::<Result<Vec<_>, _>>()?;
    Ok(ImportedEventType {
        feature_flag: flags.into_iter().flatten().next(),
        group: one_name(&[operation, item], "x-svix-group-name")?,
        name: name.into(),
        description: said.unwrap_or(name).to_owned(),
        deprecated: operation.get("deprecated").and_then(Value::as_bool).unwrap_or(false),
        schema,
    })
}

/// What the first of these says in a field that holds one name.
fn one_name(places: &[&Value], field: &'static str) -> Result<Option<Box<str>>, ImportFault> {
    let Some(said) = places.iter().find_map(|place| place.get(field)) else { return Ok(None) };
    match said {
        Value::String(name) => Ok(Some(name.as_str().into())),
        Value::Array(names) => match &**names {
            [] => Ok(None),
            [Value::String(name)] => Ok(Some(name.as_str().into())),
            _ => Err(ImportFault::NotOneName(field)),
        },
        Value::Null => Ok(None),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(ImportFault::NotOneName(field)),
    }
}

fn schema_of(document: &Value, body: &Value, left: &mut usize) -> Result<Option<Value>, ImportFault> {
    let Some(content) = body.get("content").and_then(Value::as_object) else { return Ok(None) };
    let is_json = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    };
    let json = content.get("application/json").or_else(|| content.iter().find_map(|(k, v)| is_json(k).then_some(v)));
    let Some(schema) = json.and_then(|json| json.get("schema")) else { return Ok(None) };
    let written = match Inliner::new(document, REFERS_FROM_DEPTH, left).alone(schema) {
        Err(ImportFault::TooLarge) => Inliner::new(document, 0, left).alone(schema),
        written => written,
    };
    match written? {
        // What is kept is always an object.
        Value::Bool(true) => Ok(Some(json!({}))),
        Value::Bool(false) => Ok(Some(json!({ "not": {} }))),
        schema @ Value::Object(_) => Ok(Some(schema)),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(ImportFault::NoSchema),
    }
}

/// What a reference leads to, and whatever is no reference itself.
fn followed<'d>(document: &'d Value, mut value: &'d Value) -> Result<&'d Value, ImportFault> {
    for _ in 0..HOPS_MAX {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
        value = target(document, reference)?;
    }
    Err(ImportFault::TooLarge)
}

fn target<'d>(document: &'d Value, reference: &str) -> Result<&'d Value, ImportFault> {
    let pointer = reference.strip_prefix('#').ok_or_else(|| ImportFault::OtherDocument(reference.into()))?;
    document.pointer(pointer).ok_or_else(|| ImportFault::LeadsNowhere(reference.into()))
}

/// Writes what is referred to in the place of references.
struct Inliner<'d, 'l> {
    document: &'d Value,
    /// `nullable` is written out: JSON Schema does not know it, OpenAPI 3.1 no more.
    is_3_0: bool,
    /// From here on references stay.
    refers_from_depth: usize,
    /// What is being written, from the outside in.
    within: Vec<&'d str>,
    /// References that stay, and what they are called among the `$defs`.
    defs: BTreeMap<&'d str, String>,
    /// Those of them that are not written yet.
    left: Vec<&'d str>,
    values: usize,
    bytes: usize,
    /// Bytes that are left of those of all schemas.
    left_in_all: &'l mut usize,
}

impl<'d, 'l> Inliner<'d, 'l> {
    fn new(document: &'d Value, refers_from_depth: usize, left_in_all: &'l mut usize) -> Self {
        let is_3_0 = document.get("openapi").and_then(Value::as_str).is_some_and(|version| version.starts_with("3.0"));
        Self {
            document,
            is_3_0,
            refers_from_depth,
            within: Vec::new(),
            defs: BTreeMap::new(),
            left: Vec::new(),
            values: 0,
            bytes: 0,
            left_in_all,
        }
    }

    /// The schema, with all that it needs.
    fn alone(mut self, schema: &'d Value) -> Result<Value, ImportFault> {
        let mut written = self.schema(schema, 0)?;
        let mut defs = Map::new();
        while let Some(reference) = self.left.pop() {
            let found = target(self.document, reference)?;
            self.within = vec![reference];
            // Two deeper than the schema itself.
            let def = self.schema(found, 2)?;
            defs.insert(self.defs[reference].clone(), def);
        }
        if let (Some(schema), false) = (written.as_object_mut(), defs.is_empty()) {
            schema.insert("$defs".to_owned(), Value::Object(defs));
        }
        Ok(written)
    }

    fn schema(&mut self, schema: &'d Value, depth: usize) -> Result<Value, ImportFault> {
        self.count(depth)?;
        let Some(fields) = schema.as_object() else { return self.data(schema, depth) };
        let Some(reference) = fields.get("$ref").and_then(Value::as_str) else { return self.fields(fields, depth) };
        let found = target(self.document, reference)?;
        let mut written = if self.within.contains(&reference) || self.refers_from_depth <= depth {
            json!({ "$ref": format!("#/$defs/{}", self.def(reference)) })
        } else {
            self.within.push(reference);
            let written = self.schema(found, depth)?;
            self.within.pop();
            written
        };
        // What stands beside a reference is stronger.
        if let Some(written) = written.as_object_mut() {
            for name in fields.keys().filter(|name| *name != "$ref") {
                let value = self.field(name, &fields[name], depth)?;
                written.insert(name.clone(), value);
            }
        }
        Ok(written)
    }

    fn fields(&mut self, fields: &'d Map<String, Value>, depth: usize) -> Result<Value, ImportFault> {
        let mut written = Map::new();
        for (name, value) in fields {
            self.take(name.len())?;
            written.insert(name.clone(), self.field(name, value, depth)?);
        }
        if self.is_3_0 {
            exclude_limits(&mut written);
            if written.remove("nullable") == Some(Value::Bool(true)) {
                allow_null(&mut written);
            }
        }
        Ok(Value::Object(written))
    }

    /// A part of a schema, by what its name says that it is.
    fn field(&mut self, name: &str, value: &'d Value, depth: usize) -> Result<Value, ImportFault> {
        match (name, value) {
            ("example" | "examples" | "default" | "enum" | "const" | "discriminator", value) => self.data(value, depth),
            ("properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions", Value::Object(all)) => {
                self.count(depth)?;
                let mut written = Map::new();
                for (name, schema) in all {
                    self.take(name.len())?;
                    written.insert(name.clone(), self.schema(schema, depth + 2)?);
                }
                Ok(Value::Object(written))
            }
            (_, Value::Array(all)) => {
                self.count(depth)?;
                all.iter().map(|schema| self.schema(schema, depth + 2)).collect::<Result<_, _>>().map(Value::Array)
            }
            (_, value) => self.schema(value, depth + 1),
        }
    }

    /// As it is.
    fn data(&mut self, value: &Value, depth: usize) -> Result<Value, ImportFault> {
        self.count_data(value, depth)?;
        Ok(value.clone())
    }

    fn count_data(&mut self, value: &Value, depth: usize) -> Result<(), ImportFault> {
        self.count(depth)?;
        match value {
            Value::String(text) => self.take(text.len()),
            Value::Array(all) => all.iter().try_for_each(|part| self.count_data(part, depth + 1)),
            Value::Object(all) => all.iter().try_for_each(|(name, part)| {
                self.take(name.len())?;
                self.count_data(part, depth + 1)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn count(&mut self, depth: usize) -> Result<(), ImportFault> {
        self.values += 1;
        self.take(VALUE_BYTES)?;
        if VALUES_MAX < self.values || DEPTH_MAX < depth { Err(ImportFault::TooLarge) } else { Ok(()) }
    }

    fn take(&mut self, bytes: usize) -> Result<(), ImportFault> {
        self.bytes += bytes;
        *self.left_in_all = self.left_in_all.saturating_sub(bytes);
        if BYTES_MAX < self.bytes || *self.left_in_all == 0 { Err(ImportFault::TooLarge) } else { Ok(()) }
    }

    /// The name among the `$defs` of what `reference` leads to: its own, if that is not taken.
    fn def(&mut self, reference: &'d str) -> &str {
        if !self.defs.contains_key(reference) {
            let own = reference.rsplit('/').next().unwrap_or_default();
            // Nothing that would have to be escaped in a pointer.
            let own: String = own.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            let taken: BTreeSet<&String> = self.defs.values().collect();
            let numbered = (2..).map(|n| format!("{own}{n}"));
            let free = std::iter::once(own.clone()).chain(numbered).find(|name| !taken.contains(name));
            self.defs.insert(reference, free.unwrap_or(own));
            self.left.push(reference);
        }
        &self.defs[reference]
    }
}

/// Whether a limit itself is excluded was a flag beside it; now it is a limit of another name.
fn exclude_limits(schema: &mut Map<String, Value>) {
    for (flag, limit) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        let Some(Value::Bool(is_excluded)) = schema.get(flag) else { continue };
        let excluded = if *is_excluded { schema.remove(limit) } else { None };
        match excluded {
            Some(excluded) => schema.insert(flag.to_owned(), excluded),
            None => schema.remove(flag),
        };
    }
}

/// As JSON Schema says it.
fn allow_null(schema: &mut Map<String, Value>) {
    if let Some(kind @ Value::String(_)) = schema.get("type") {
        let both = json!([kind, "null"]);
        schema.insert("type".to_owned(), both);
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

#[cfg(test)]
mod tests;
