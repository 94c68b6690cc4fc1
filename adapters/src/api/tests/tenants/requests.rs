//! Requests made of what the document tells, about things of one tenant, or of two.

use std::fmt;

use postrider::core::{Dice, SplitMix};

use super::*;

/// An operation, as the document tells of it.
pub(super) struct Operation {
    pub(super) method: String,
    path: String,
    told: Value,
    document: Arc<Value>,
}

/// A request that is made of one.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: String,
}

pub(super) async fn operations(world: &World) -> Result<Vec<Operation>, Failed> {
    let document = Arc::new(world.get("/openapi.json").await?.1);
    let paths = document["paths"].as_object().into_iter().flatten();
    let all: Vec<_> = paths
        // No tenant's token opens it: its address is the secret, and belongs to a receiver.
        .filter(|(path, _)| !path.starts_with(GRANT_PATH))
        .flat_map(|(path, item)| {
            let methods = item.as_object().into_iter().flatten();
            methods.map(move |(method, told)| (method.to_uppercase(), path.clone(), told.clone()))
        })
        .map(|(method, path, told)| Operation { method, path, told, document: document.clone() })
        .collect();
    if all.len() < 50 { Err("the document tells of too few".into()) } else { Ok(all) }
}

pub(super) fn shuffled<'o>(operations: &'o [Operation], dice: &mut SplitMix) -> Vec<&'o Operation> {
    let mut all: Vec<_> = operations.iter().map(|operation| (dice.roll(), operation)).collect();
    all.sort_by_key(|(roll, _)| *roll);
    all.into_iter().map(|(_, operation)| operation).collect()
}

pub(super) fn an_hour_ago() -> String {
    let seconds = now().as_nanos() / 1_000_000_000 - 3600;
    times::written(Timestamp::from_nanos(seconds * 1_000_000_000))
}

impl Operation {
    /// About things of `owned`; with `own`, some names in the path are of that, and whatever may be said is.
    pub(super) fn ask(&self, owned: &Owned, own: Option<&Owned>, dice: &mut SplitMix) -> Asked {
        let mut maker = Maker { document: &self.document, owned, own, dice };
        let mut path = String::new();
        for part in self.path.split('/').skip(1) {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            let is_operators = self.path.starts_with("/api/v1/operational-webhook/");
            let name = name.map(|name| if is_operators { "operator_id" } else { name });
            path.push('/');
            path.push_str(&name.map_or_else(|| part.to_owned(), |name| maker.named(name)));
        }
        let parameters = self.told["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.filter(|parameter| parameter["in"] == "query");
        let mut query = Vec::new();
        for (name, parameter) in parameters.filter_map(|parameter| Some((parameter["name"].as_str()?, parameter))) {
            if parameter["required"] == json!(true) || own.is_some() && maker.one_in(3) {
                query.push((name, maker.value(name, &parameter["schema"])));
            }
        }
        for (place, (name, value)) in query.iter().enumerate() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            path.push(if place == 0 { '?' } else { '&' });
            path.push_str(&format!("{name}={}", text.trim_matches(['[', ']', '"'])));
        }
        let body = match &self.told["requestBody"]["content"]["application/json"]["schema"] {
            Value::Null => String::new(),
            schema => maker.value("", schema).to_string(),
        };
        Asked { method: self.method.clone(), path, body }
    }
}

impl Asked {
    pub(super) fn contains(&self, text: &str) -> bool {
        self.path.contains(text) || self.body.contains(text)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.path, self.body)
    }
}

/// Makes names and values.
struct Maker<'m> {
    document: &'m Value,
    owned: &'m Owned,
    own: Option<&'m Owned>,
    dice: &'m mut SplitMix,
}

impl Maker<'_> {
    fn one_in(&mut self, count: u64) -> bool {
        self.dice.roll().is_multiple_of(count)
    }

    /// A thing by its name in paths. The owner asks by ids.
    fn named(&mut self, name: &str) -> String {
        let (is_own, by_uid) = (self.one_in(3), self.own.is_some() && self.one_in(2));
        let whose = self.own.filter(|_| is_own).unwrap_or(self.owned);
        let both = whose.both(name);
        both.map_or_else(|| format!("unknown-{name}"), |[id, uid]| if by_uid { uid.clone() } else { id.clone() })
    }

    /// A value of this name and schema: what it requires, and some of the rest if a stranger asks.
    fn value(&mut self, name: &str, schema: &Value) -> Value {
        if let Some(known) = self.known(name) {
            return if schema["type"].as_str() == Some("array") { json!([known]) } else { known };
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null);
            return self.value(name, target);
        }
        if let Some(all) = schema["allOf"].as_array() {
            let mut whole = serde_json::Map::new();
            for part in all {
                if let Value::Object(fields) = self.value(name, part) {
                    whole.extend(fields);
                }
            }
            return Value::Object(whole);
        }
        let choices = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
        if let Some(choice) = choices.and_then(|all| all.iter().find(|part| part["type"] != "null")) {
            return self.value(name, choice);
        }
        if let Some(values) = schema["enum"].as_array() {
            return values[self.dice.roll() as usize % values.len()].clone();
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default();
        match kind {
            "object" => self.object(schema),
            "array" => json!([self.value("", &schema["items"])]),
            "string" => json!("attack"),
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(1)),
            "boolean" => json!(self.own.is_some() && self.one_in(2)),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &Value) -> Value {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut fields = serde_json::Map::new();
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            // It is one of three, none of which is required.
            let is_needed = required.contains(&json!(name)) || name == "payload";
            if is_needed || self.own.is_some() && self.one_in(4) {
                fields.insert(name.clone(), self.value(name, part));
            }
        }
        Value::Object(fields)
    }

    /// Fields that mean things, or that not any text will do for.
    fn known(&mut self, name: &str) -> Option<Value> {
        let named = match name {
            "endpointId" | "endpoint_id" | "endpointIds" => self.named("endpoint_id"),
            "appId" | "app_id" | "appIds" => self.named("app_id"),
            "msgId" | "msg_id" | "ids" => self.named("msg_id"),
            "taskId" | "task_id" => self.named("task_id"),
            "eventType" | "eventTypes" | "event_types" => self.named("event_type_name"),
            "iterator" => {
                let names = ["app_id", "endpoint_id", "msg_id", "attempt_id", "task_id", "event_type_name"];
                let one = names[self.dice.roll() as usize % names.len()];
                self.named(one)
            }
            "uid" => self.owned.given("app_id"),
            "eventId" => self.owned.given("msg_id"),
            "url" => "http://127.0.0.1:9/attack".to_owned(),
            "since" | "after" => an_hour_ago(),
            "until" | "before" => "2100-01-01T00:00:00Z".to_owned(),
            "key" | "secret" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            _ => return None,
        };
        Some(json!(named))
    }
}
