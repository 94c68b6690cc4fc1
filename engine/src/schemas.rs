//! JSON schemas: read, held against payloads, and turned into an example where they hold none.

use std::collections::HashSet;

use jsonschema::Validator;
use postrider_core::{Event, EventTypeSpec, InvalidEventType};
use serde_json::{Map, Value, json};

/// Where a payload does not match its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaFault {
    /// A JSON pointer (RFC 6901) into the payload; empty is the whole of it.
    pub path: Box<str>,
    /// What is wrong there. It names no value of the payload.
    pub message: Box<str>,
}

/// So many faults of one payload are told.
const FAULTS_MAX: usize = 16;
/// So deep an example goes into its schema.
const EXAMPLE_DEPTH_MAX: usize = 16;
/// Levels of a schema, and of all that it refers to, together. The stack of a thread has two megabytes, which hold some
/// 1,500 of them.
const NESTING_MAX: usize = 1_200;
/// Levels that are as much work as following a reference.
const REFERENCE_COSTS: usize = 3;
/// Levels of what is referred to by another way than its place: as many as JSON may have.
const OTHER_REFERENCE_COSTS: usize = 128;

/// Whether every schema of an event type is one.
pub(crate) fn are_valid(spec: &EventTypeSpec) -> Result<(), InvalidEventType> {
    for (version, schema) in &spec.schemas {
        compiled(schema).map_err(|why| InvalidEventType::Schema { version: version.0, why })?;
    }
    Ok(())
}

/// A schema, ready to be held against payloads. It reaches for no other document: nothing is fetched.
pub(crate) fn compiled(schema: &str) -> Result<Validator, Box<str>> {
    let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string().into_boxed_str())?;
    if NESTING_MAX < nesting(&schema) {
        return Err("it is nested too deep, or refers to too much".into());
    }
    jsonschema::options().build(&schema).map_err(|error| {
        let path = error.instance_path.to_string();
        let place = if path.is_empty() { String::new() } else { format!("at {path}: ") };
        format!("{place}{error}").into()
    })
}

/// How deep compiling a schema may go at most: through all that it refers to, one within another. A stack that overflows
/// takes the process along.
fn nesting(root: &Value) -> usize {
    let (mut met, mut left) = (HashSet::new(), Vec::new());
    let mut nesting = depth(root, &mut left);
    while let Some(reference) = left.pop() {
        if nesting <= NESTING_MAX && met.insert(reference) {
            let found = reference.strip_prefix('#').and_then(|place| root.pointer(place));
            nesting += REFERENCE_COSTS + found.map_or(OTHER_REFERENCE_COSTS, |found| depth(found, &mut left));
        }
    }
    nesting
}

/// Without what it refers to, which is noted.
fn depth<'s>(part: &'s Value, references: &mut Vec<&'s str>) -> usize {
    match part {
        Value::Object(fields) => {
            let mut inner = 0;
            for (name, value) in fields {
                match value {
                    Value::String(to) if matches!(&**name, "$ref" | "$dynamicRef" | "$recursiveRef") => {
                        references.push(to)
                    }
                    value => inner = inner.max(depth(value, references)),
                }
            }
            inner + 1
        }
        Value::Array(parts) => 1 + parts.iter().map(|part| depth(part, references)).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Where the event's payload does not match; nowhere is well.
pub(crate) fn faults(schema: &Validator, event: &Event) -> Vec<SchemaFault> {
    let payload: Value = match serde_json::from_slice(&event.payload) {
        Ok(payload) => payload,
        Err(error) => return vec![SchemaFault { path: "".into(), message: format!("is not JSON: {error}").into() }],
    };
    let told = |error: jsonschema::ValidationError<'_>| SchemaFault {
        path: error.instance_path.to_string().into(),
        message: error.masked().to_string().into(),
    };
    schema.iter_errors(&payload).take(FAULTS_MAX).map(told).collect()
}

/// What events of this schema may look like: the examples that it lists, or one that is made of its parts.
pub(crate) fn examples(schema: &str) -> Vec<Value> {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return Vec::new() };
    match schema.get("examples").and_then(Value::as_array) {
        Some(listed) if !listed.is_empty() => listed.clone(),
        _ => vec![example_of(&schema, &schema, 0)],
    }
}

fn example_of(schema: &Value, root: &Value, depth: usize) -> Value {
    let given = ["example", "default", "const"].iter().find_map(|name| schema.get(name));
    let listed = ["examples", "enum"].iter().find_map(|name| schema.get(name)?.as_array()?.first());
    if let Some(given) = given.or(listed) {
        return given.clone();
    }
    if depth >= EXAMPLE_DEPTH_MAX {
        return Value::Null;
    }
    let inner = |schema: &Value| example_of(schema, root, depth + 1);
    if let Some(found) = schema.get("$ref").and_then(Value::as_str).and_then(|to| root.pointer(to.strip_prefix('#')?)) {
        return inner(found);
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let objects = parts.iter().map(inner).filter_map(|part| part.as_object().cloned());
        return Value::Object(objects.flatten().collect());
    }
    let choices = ["oneOf", "anyOf"].iter().find_map(|name| schema.get(name)?.as_array()?.first());
    if let Some(first) = choices {
        return inner(first);
    }
    match kind_of(schema) {
        "object" => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let made = properties.into_iter().flatten().map(|(name, schema)| (name.clone(), inner(schema)));
            Value::Object(made.collect::<Map<_, _>>())
        }
        "array" => Value::Array(schema.get("items").map(inner).into_iter().collect()),
        "string" => Value::from(text_of(schema)),
        "integer" => schema.get("minimum").filter(|least| least.is_i64()).cloned().unwrap_or_else(|| json!(1)),
        "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(1.5)),
        "boolean" => json!(true),
        _ => Value::Null,
    }
}

fn kind_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or(""),
        _ if schema.get("properties").is_some() => "object",
        _ => "",
    }
}

fn text_of(schema: &Value) -> &'static str {
    match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("date") => "2026-01-31",
        Some("email") => "person@example.com",
        Some("uri" | "url") => "https://example.com",
        Some("uuid") => "7f3c1b52-6f0e-4a8e-9f0a-2f6d1c3b5a79",
        Some(_) | None => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r##"{
        "type": "object", "required": ["invoice", "lines"],
        "properties": {
            "invoice": { "type": "integer", "minimum": 7 },
            "to": { "type": ["null", "string"], "format": "email" },
            "lines": { "type": "array", "items": { "$ref": "#/$defs/line" } },
            "again": { "$ref": "#" }
        },
        "$defs": { "line": { "type": "object", "properties": { "price": { "type": "number" } } } }
    }"##;

    /// A schema whose parts refer to each other in a long chain overflowed the stack, and the process was gone.
    #[test]
    fn a_schema_that_would_overflow_the_stack_is_refused() {
        let chain = |links: usize| {
            let link = |n: usize| {
                let next = format!("#/$defs/{}", n + 1);
                (n.to_string(), json!({ "properties": { "a": { "$ref": next } } }))
            };
            let mut defs: Map<_, _> = (0..links).map(link).collect();
            defs.insert(links.to_string(), json!({ "$ref": "#/$defs/0" }));
            json!({ "$defs": defs, "$ref": "#/$defs/0" }).to_string()
        };
        assert!(compiled(&chain(20)).is_ok());
        assert!(compiled(&chain(100_000)).is_err_and(|why| why.contains("nested too deep")));
        let flat: Map<_, _> = (0..200).map(|n| (n.to_string(), json!({ "type": "integer" }))).collect();
        let all: Vec<_> = flat.keys().map(|name| json!({ "$ref": format!("#/$defs/{name}") })).collect();
        assert!(compiled(&json!({ "$defs": flat, "anyOf": all }).to_string()).is_ok());
        let elsewhere: Vec<_> = (0..20).map(|n| json!({ "$ref": format!("other-{n}") })).collect();
        assert!(compiled(&json!({ "anyOf": elsewhere }).to_string()).is_err());
    }

    fn told(payload: &'static str) -> Vec<(String, String)> {
        let schema = compiled(SCHEMA).expect("it is a schema");
        let faults = faults(&schema, &Event::new("invoice.paid", payload));
        faults.into_iter().map(|fault| (fault.path.into(), fault.message.into())).collect()
    }

    #[test]
    fn a_payload_that_does_not_match_is_told_where_and_why_without_its_values() {
        assert_eq!(told(r#"{"invoice":7,"lines":[{"price":1.5}]}"#), []);
        let faults = told(r#"{"invoice":7,"lines":[{"price":"confidential"}]}"#);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].0, "/lines/0/price");
        assert!(!faults[0].1.contains("confidential"), "{faults:?}");
        assert_eq!(told("no json")[0].0, "");
        assert!(told("{}").iter().any(|(_, message)| message.contains("invoice")));
    }

    #[test]
    fn an_example_matches_the_schema_that_it_was_made_of() {
        let schema = compiled(SCHEMA).expect("it is a schema");
        let mut example = examples(SCHEMA).remove(0);
        assert_eq!(example["invoice"], 7);
        assert_eq!(example["to"], "person@example.com");
        assert!(example.pointer("/again/again/again").is_some(), "a schema may contain itself");
        example.as_object_mut().expect("an object").remove("again");
        assert!(schema.is_valid(&example), "{example}");
    }

    #[test]
    fn all_examples_that_are_listed_are_there_and_one_is_if_none_is() {
        let listed = |schema: &str| Value::Array(examples(schema)).to_string();
        assert_eq!(listed(r#"{"examples":[{"a":1},{"a":2}],"default":{"a":3}}"#), r#"[{"a":1},{"a":2}]"#);
        assert_eq!(listed(r#"{"examples":[],"example":{"a":3}}"#), r#"[{"a":3}]"#);
        assert_eq!(listed(r#"{"type":"object"}"#), "[{}]");
    }

    #[test]
    fn what_is_no_schema_is_refused_in_words_and_nothing_is_fetched() {
        for (schema, word) in [
            ("{", "EOF"),
            (r#"{"type":"objekt"}"#, "/type"),
            (r#"{"$ref":"https://example.com/schema.json"}"#, "example.com"),
        ] {
            let why = compiled(schema).expect_err("it is no schema we take");
            assert!(why.contains(word), "{why}");
        }
    }
}
