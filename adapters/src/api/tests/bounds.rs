//! Every list, text, map and number that a request may hold has an end, which the document names and which is kept.
//!
//! A task over 300,000 event types was accepted: 3.6 MB of a request became 79 MB of synced writes.

use postrider::ListRequest;

use super::*;

/// What may be of any form: it is bounded by the bytes of a body, or of a payload.
const FREE: [&str; 4] = ["payload", "spec", "data", "schemas"];
/// Texts that may be as long as a body.
const LONG: u64 = 1 << 28;

/// A request that is beyond one bound by one.
struct Excess {
    operation: String,
    method: String,
    path: String,
    /// For the query, or for the body.
    query: Option<String>,
    body: Value,
    at: String,
}

struct Walk<'d> {
    document: &'d Value,
    found: Vec<(Vec<Step>, Value)>,
    unbounded: Vec<String>,
}

#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Item,
    /// Of a map.
    Any,
}

impl Walk<'_> {
    fn schema(&mut self, schema: &Value, at: &[Step], seen: &[String]) {
        if let Some(name) = schema["$ref"].as_str() {
            if !seen.iter().any(|known| known == name) {
                let found = self.document.pointer(&name[1..]).cloned().unwrap_or_default();
                self.schema(&found, at, &[seen, &[name.to_owned()]].concat());
            }
            return;
        }
        let last =
            at.iter().rev().find_map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None });
        let is_free = last.is_some_and(|name| FREE.contains(&name));
        for part in ["oneOf", "anyOf", "allOf"].iter().filter_map(|parts| schema[*parts].as_array()).flatten() {
            self.schema(part, at, seen);
        }
        let is = |kind: &str| {
            schema["type"] == kind || schema["type"].as_array().is_some_and(|all| all.iter().any(|one| one == kind))
        };
        let mut bound = |name: &str, value: &dyn Fn(u64) -> Value| match schema[name].as_u64() {
            Some(LONG) => {}
            Some(most) => self.found.push((at.to_vec(), value(most))),
            None => self.unbounded.push(format!("{at:?} has no {name}")),
        };
        if schema.get("enum").is_some() {
            return;
        }
        if is("string") {
            bound("maxLength", &|most| "x".repeat(usize::try_from(most).unwrap_or(0) + 1).into());
        }
        if is("array") {
            let item = || Value::from(0);
            bound("maxItems", &|most| (0..=most).map(|_| item()).collect::<Vec<_>>().into());
            self.schema(&schema["items"], &[at, &[Step::Item]].concat(), seen);
        }
        if is("integer") || is("number") {
            for (name, beyond) in [("minimum", -1.0), ("maximum", 1.0)] {
                match schema[name].as_f64() {
                    Some(most) => self.found.push((at.to_vec(), json!(most + beyond))),
                    None => self.unbounded.push(format!("{at:?} has no {name}")),
                }
            }
        }
        if schema["additionalProperties"].is_object() && !is_free {
            bound_map(schema, at, self);
            self.schema(&schema["additionalProperties"], &[at, &[Step::Any]].concat(), seen);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            self.schema(property, &[at, &[Step::Field(name.clone())]].concat(), seen);
        }
        let says_nothing =
            ["properties", "additionalProperties", "maxProperties"].iter().all(|name| schema.get(*name).is_none());
        if is("object") && says_nothing && !is_free {
            self.unbounded.push(format!("{at:?} may be of any form"));
        }
    }
}

fn bound_map(schema: &Value, at: &[Step], walk: &mut Walk<'_>) {
    match schema["maxProperties"].as_u64() {
        Some(most) => {
            let all = (0..=most).map(|n| (format!("k{n}"), Value::Null)).collect::<serde_json::Map<_, _>>();
            walk.found.push((at.to_vec(), all.into()));
        }
        None => walk.unbounded.push(format!("{at:?} has no maxProperties")),
    }
}

/// `value` at that place of a body that holds nothing else.
fn nested(at: &[Step], value: Value) -> Value {
    at.iter().rev().fold(value, |inner, step| match step {
        Step::Field(name) => json!({ name.as_str(): inner }),
        Step::Item => json!([inner]),
        Step::Any => json!({ "1": inner }),
    })
}

fn excesses(document: &Value) -> Result<(Vec<Excess>, Vec<String>), Failed> {
    let (mut all, mut unbounded) = (Vec::new(), Vec::new());
    for (path, item) in document["paths"].as_object().ok_or("paths")? {
        for (method, operation) in item.as_object().ok_or("an item")? {
            let excess = |query: Option<String>, body: Value, at: String| Excess {
                operation: format!("{method} {path}"),
                method: method.to_uppercase(),
                path: path.replace("{app_id}", "acme").replace("{endpoint_id}", "hook").replace(['{', '}'], ""),
                query,
                body,
                at,
            };
            let schema =
                operation.pointer("/requestBody/content/application~1json/schema").cloned().unwrap_or_default();
            let mut walk = Walk { document, found: Vec::new(), unbounded: Vec::new() };
            walk.schema(&schema, &[], &[]);
            unbounded.extend(walk.unbounded.iter().map(|what| format!("{method} {path}: {what}")));
            for (at, value) in walk.found {
                all.push(excess(None, nested(&at, value), format!("{at:?}")));
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap_or_default();
                if parameter["in"] != "query" {
                    continue;
                }
                let mut walk = Walk { document, found: Vec::new(), unbounded: Vec::new() };
                walk.schema(&parameter["schema"], &[Step::Field(name.to_owned())], &[]);
                unbounded.extend(walk.unbounded.iter().map(|what| format!("{method} {path}?: {what}")));
                for (at, value) in walk.found {
                    let text = match &value {
                        Value::String(text) => text.clone(),
                        Value::Array(items) => vec!["a"; items.len()].join(","),
                        other => other.to_string(),
                    };
                    all.push(excess(Some(format!("{name}={text}")), Value::Null, format!("{at:?}")));
                }
            }
        }
    }
    Ok((all, unbounded))
}

#[tokio::test]
async fn every_part_of_a_request_has_a_bound_that_is_kept_before_anything_is_done() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let (world, engine) = World::over(&medium).await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    world.post("/app/acme/endpoint", json!({ "url": "http://127.0.0.1:9/", "uid": "hook" })).await?;
    let document = world.get("/openapi.json").await?.1;
    let (all, unbounded) = excesses(&document)?;
    assert!(unbounded.is_empty(), "without a bound: {unbounded:#?}");
    assert!(all.len() > 300, "{} bounds", all.len());
    let before = engine.metrics().groups_committed();
    for Excess { operation, method, path, query, body, at } in all {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let answer = world.at(&world.token, &method, &format!("{path}{query}"), body.to_string()).await?;
        assert_eq!(answer.0, StatusCode::UNPROCESSABLE_ENTITY, "{operation} {at}: {}", answer.1);
    }
    assert_eq!(engine.metrics().groups_committed(), before, "nothing was stored");
    let left = ListRequest::first(postrider::Order::Ascending, std::num::NonZeroUsize::MIN.saturating_add(9));
    assert_eq!(engine.organisation(OrganisationId::DEFAULT).applications().list(&left).items.len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_may_be_of_any_form_is_bounded_by_its_bytes() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let payload = json!({ "a": "x".repeat(2 << 20) });
    let large = world.post("/app/acme/msg", json!({ "eventType": "a", "payload": payload })).await?;
    assert!(large.0.is_client_error(), "{}", large.0);
    let larger = json!({ "eventType": "a", "payloadText": "x".repeat(4 << 20) });
    assert_eq!(world.post("/app/acme/msg", larger).await?.0, StatusCode::PAYLOAD_TOO_LARGE);
    let schemas = json!({ "name": "a", "description": "", "schemas": { "1": { "title": "x".repeat(600 << 10) } } });
    assert_eq!(world.post("/event-type", schemas).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}
