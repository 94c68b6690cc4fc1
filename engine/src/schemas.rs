//! JSON schemas: read, held against payloads, and turned into an example where they hold none.

use postrider_core::{Event, EventTypeSpec, InvalidEventType};
use serde_json::{Map, Value, json};

use crate::json_schema::{Checked, Schema};

/// Where a payload does not match its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaFault {
    /// A JSON pointer (RFC 6901) into the payload; empty is the whole of it.
    pub path: Box<str>,
    /// What is wrong there. It names no value of the payload.
    pub message: Box<str>,
}

/// So deep an example goes into its schema.
const EXAMPLE_DEPTH_MAX: usize = 16;
/// Values of one example.
const EXAMPLE_VALUES_MAX: usize = 1_000;
/// Bytes of its names and texts, together.
const EXAMPLE_BYTES_MAX: usize = 64 << 10;
/// Steps that a check may take, whatever its payload is.
const STEPS: u64 = 250_000;
/// More of them for each byte of the payload.
const STEPS_A_BYTE: u64 = 16;
/// Bytes of JSON that are as much work as a step.
const BYTES_A_STEP: usize = 8;

/// Whether every schema of an event type is one.
pub(crate) fn are_valid(spec: &EventTypeSpec) -> Result<(), InvalidEventType> {
    for (version, schema) in &spec.schemas {
        Schema::compile(schema).map_err(|why| InvalidEventType::Schema { version: version.0, why })?;
    }
    Ok(())
}

/// Where the event's payload does not match; nowhere is well. None if `steps` are too few to say, which are then used up.
pub(crate) fn faults_within(schema: &Schema, event: &Event, steps: &mut u64) -> Option<Vec<SchemaFault>> {
    *steps = steps.checked_sub((event.payload.len() / BYTES_A_STEP) as u64)?;
    let payload: Value = match serde_json::from_slice(&event.payload) {
        Ok(payload) => payload,
        Err(error) => return Some(vec![fault("", format!("is not JSON: {error}"))]),
    };
    let (checked, taken) = schema.check(&payload, *steps);
    *steps -= taken;
    match checked {
        Checked::Whole(faults) => Some(faults.into_iter().map(|found| fault(&found.path, found.message)).collect()),
        Checked::TooMuch => {
            *steps = 0;
            None
        }
    }
}

/// As [`faults_within`] the steps that this payload is given. One that would take more is at fault.
pub(crate) fn faults(schema: &Schema, event: &Event) -> Vec<SchemaFault> {
    let most = STEPS + STEPS_A_BYTE * event.payload.len() as u64;
    let mut steps = most;
    faults_within(schema, event, &mut steps).unwrap_or_else(|| {
        let message = format!("could not be checked in {most} steps, or is nested too deep; simplify the schema");
        vec![fault("", message)]
    })
}

fn fault(path: &str, message: String) -> SchemaFault {
    SchemaFault { path: path.into(), message: message.into() }
}

/// What events of this schema may look like: the examples that it lists, or one that is made of its parts.
pub(crate) fn examples(schema: &str) -> Vec<Value> {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return Vec::new() };
    match schema.get("examples").and_then(Value::as_array) {
        Some(listed) if !listed.is_empty() => listed.clone(),
        _ => vec![Example::of(&schema)],
    }
}

/// An example that is being made. It ends where it has become large, and where a schema contains itself.
struct Example<'s> {
    root: &'s Value,
    /// References that are being followed, from the outside in.
    within: Vec<&'s str>,
    values: usize,
    bytes: usize,
}

impl<'s> Example<'s> {
    fn of(root: &'s Value) -> Value {
        let mut example = Self { root, within: Vec::new(), values: EXAMPLE_VALUES_MAX, bytes: EXAMPLE_BYTES_MAX };
        example.made(root, 0)
    }

    /// Whether there is room for one more, with so many bytes of text.
    fn take(&mut self, bytes: usize) -> bool {
        let left = self.values.checked_sub(1).zip(self.bytes.checked_sub(bytes));
        (self.values, self.bytes) = left.unwrap_or((0, 0));
        left.is_some()
    }

    fn made(&mut self, schema: &'s Value, depth: usize) -> Value {
        if depth > EXAMPLE_DEPTH_MAX || !self.take(0) {
            return Value::Null;
        }
        let given = ["example", "default", "const"].iter().find_map(|name| schema.get(name));
        let listed = ["examples", "enum"].iter().find_map(|name| schema.get(name)?.as_array()?.first());
        if let Some(given) = given.or(listed) {
            return if self.has_room_for(given) { given.clone() } else { Value::Null };
        }
        if let Some(to) = schema.get("$ref").and_then(Value::as_str)
            && let Some(found) = to.strip_prefix('#').and_then(|place| self.root.pointer(place))
        {
            if self.within.contains(&to) {
                return Value::Null;
            }
            self.within.push(to);
            let made = self.made(found, depth + 1);
            self.within.pop();
            return made;
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            let mut all = Map::new();
            for part in parts {
                if let Value::Object(fields) = self.made(part, depth + 1) {
                    all.extend(fields);
                }
            }
            return Value::Object(all);
        }
        let choices = ["oneOf", "anyOf"].iter().find_map(|name| schema.get(name)?.as_array()?.first());
        if let Some(first) = choices {
            return self.made(first, depth + 1);
        }
        match kind_of(schema) {
            "object" => {
                let mut fields = Map::new();
                for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    if !self.take(name.len()) {
                        break;
                    }
                    fields.insert(name.clone(), self.made(schema, depth + 1));
                }
                Value::Object(fields)
            }
            "array" => Value::Array(schema.get("items").map(|items| self.made(items, depth + 1)).into_iter().collect()),
            "string" => Value::from(text_of(schema)),
            "integer" => schema.get("minimum").filter(|least| least.is_i64()).cloned().unwrap_or_else(|| json!(1)),
            "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(1.5)),
            "boolean" => json!(true),
            _ => Value::Null,
        }
    }

    /// Takes the room that this value needs.
    fn has_room_for(&mut self, value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => self.take(0),
            Value::String(text) => self.take(text.len()),
            Value::Array(items) => self.take(0) && items.iter().all(|item| self.has_room_for(item)),
            Value::Object(fields) => {
                self.take(0) && fields.iter().all(|(name, field)| self.take(name.len()) && self.has_room_for(field))
            }
        }
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

    /// A schema of 288 bytes that contains itself in twelve places made an example of several gigabytes.
    #[test]
    fn an_example_is_small_however_often_its_schema_contains_itself() {
        let again: Map<_, _> = (0..12).map(|n| (n.to_string(), json!({ "$ref": "#" }))).collect();
        let schema = json!({ "type": "object", "properties": again });
        let example = examples(&schema.to_string()).remove(0);
        assert_eq!(example.as_object().map(Map::len), Some(12));
        // A number of definitions that each hold the next one many times, without an end that is a reference.
        let link = |n: usize| {
            let next = json!({ "$ref": format!("#/$defs/{}", n + 1) });
            let parts: Map<_, _> = (0..20).map(|part| (part.to_string(), next.clone())).collect();
            (n.to_string(), json!({ "type": "object", "properties": parts }))
        };
        let mut defs: Map<_, _> = (0..5).map(link).collect();
        defs.insert("5".into(), json!({ "example": "x".repeat(EXAMPLE_BYTES_MAX / 4) }));
        let example = examples(&json!({ "$defs": defs, "$ref": "#/$defs/0" }).to_string()).remove(0);
        fn values(value: &Value) -> usize {
            match value {
                Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
                Value::Object(fields) => 1 + fields.values().map(values).sum::<usize>(),
                _ => 1,
            }
        }
        assert!(values(&example) <= EXAMPLE_VALUES_MAX, "{} values", values(&example));
        assert!(example.to_string().len() <= 2 * EXAMPLE_BYTES_MAX);
    }

    fn told(payload: &'static str) -> Vec<(String, String)> {
        let schema = Schema::compile(SCHEMA).expect("it is a schema");
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

    /// Whoever publishes chooses the payload, and with its event types the schema: their product has an end.
    #[test]
    fn a_payload_that_takes_too_many_steps_is_at_fault() {
        let any: Vec<_> = (0..500).map(|n| json!({ "const": n })).collect();
        let schema = Schema::compile(&json!({ "items": { "anyOf": any } }).to_string()).expect("it is a schema");
        let of = |count: usize| Event::new("invoice.paid", Value::from(vec![499; count]).to_string());
        assert_eq!(faults(&schema, &of(10)), []);
        let found = faults(&schema, &of(5_000));
        assert!(found.len() == 1 && found[0].message.contains("could not be checked in"), "{found:?}");
    }

    #[test]
    fn an_example_matches_the_schema_that_it_was_made_of() {
        let schema = Schema::compile(SCHEMA).expect("it is a schema");
        let mut example = examples(SCHEMA).remove(0);
        assert_eq!(example["invoice"], 7);
        assert_eq!(example["to"], "person@example.com");
        assert_eq!(example["lines"], json!([{ "price": 1.5 }]));
        example.as_object_mut().expect("an object").remove("again");
        assert_eq!(schema.check(&example, 1_000).0, Checked::Whole(Vec::new()), "{example}");
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
            let why = Schema::compile(schema).expect_err("it is no schema we take");
            assert!(why.contains(word), "{why}");
        }
    }
}
