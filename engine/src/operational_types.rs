//! What operational events look like, for those who write receivers: an event type for each, with schema and example, in the
//! organisation of operators.

use postrider_core::{EventType, EventTypeSpec, Timestamp};
use serde_json::{Map, Value, json};

/// When they were first described: 2026-01-01.
const DESCRIBED_AT: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);
const GROUP: &str = "operational";
const APP: &str = "app_2srOrx2ZWZBpBUvZwXKQmoEYga2";
const ENDPOINT: &str = "ep_2srOrx2ZWZBpBUvZwXKQmoEYga2";
const MESSAGE: &str = "msg_2srOrx2ZWZBpBUvZwXKQmoEYga2";
const ATTEMPT: &str = "atmpt_2srOrx2ZWZBpBUvZwXKQmoEYga2";
const TASK: &str = "qtask_2srOrx2ZWZBpBUvZwXKQmoEYga2";
const TIME: &str = "2026-01-02T03:04:05Z";

/// All of them; nothing is stored of them until somebody changes one.
pub(crate) fn described() -> impl Iterator<Item = EventType> {
    crate::OPERATIONAL_EVENT_TYPES.into_iter().map(|name| {
        let (description, data) = described_as(name);
        let data = data.into_iter().collect();
        let mut spec = EventTypeSpec::new(description).schema(1, schema(name, &data).to_string());
        spec.group = Some(GROUP.into());
        EventType { name: name.into(), spec, created_at: DESCRIBED_AT, updated_at: DESCRIBED_AT, revision: 0 }
    })
}

/// What it says, and an example of each part of its data.
fn described_as(name: &str) -> (&'static str, Vec<(String, Value)>) {
    let endpoint = || [("appId", json!(APP)), ("endpointId", json!(ENDPOINT))];
    let attempt = || {
        let last = json!({ "id": ATTEMPT, "timestamp": TIME, "responseStatusCode": 500 });
        [("msgId", json!(MESSAGE)), ("lastAttempt", last)]
    };
    let (description, data): (_, Vec<(&str, Value)>) = match name {
        "endpoint.created" => ("An endpoint was created.", endpoint().into()),
        "endpoint.updated" => ("An endpoint was changed.", endpoint().into()),
        "endpoint.deleted" => ("An endpoint was deleted.", endpoint().into()),
        "endpoint.enabled" => ("An endpoint that was disabled gets events again.", endpoint().into()),
        "endpoint.secret.rotated" => ("An endpoint has a new signing secret.", endpoint().into()),
        "endpoint.breaker.opened" => ("An endpoint keeps failing: its deliveries wait.", endpoint().into()),
        "endpoint.breaker.closed" => ("An endpoint answers again: its deliveries go on.", endpoint().into()),
        "endpoint.disabled" => {
            let why = [("failSince", json!(TIME)), ("reason", json!("the receiver answered 410"))];
            let all = endpoint().into_iter().chain(why).chain([("trigger", json!("automatic"))]);
            ("An endpoint gets no events any more.", all.collect())
        }
        "endpoint.backlog.old" => {
            let old = [("msgId", json!(MESSAGE)), ("waitedSeconds", json!(3600))];
            ("Events have waited long for an endpoint.", endpoint().into_iter().chain(old).collect())
        }
        "message.attempt.failing" => {
            ("A delivery has failed four times, and is tried again.", endpoint().into_iter().chain(attempt()).collect())
        }
        "message.attempt.exhausted" => {
            ("A delivery was given up after its last attempt.", endpoint().into_iter().chain(attempt()).collect())
        }
        "message.attempt.recovered" => {
            ("A delivery that kept failing has succeeded.", endpoint().into_iter().chain(attempt()).collect())
        }
        "message.dead_lettered" => {
            let dead = [("msgId", json!(MESSAGE)), ("reason", json!("Exhausted")), ("attempts", json!(8))];
            let all = endpoint().into_iter().chain(dead).chain([("lastStatusCode", json!(500))]);
            ("A delivery became a dead letter, or several did because a queue was full.", all.collect())
        }
        _ => {
            let task = [("taskId", json!(TASK)), ("task", json!("endpoint.replay")), ("status", json!("finished"))];
            let counts = [("appId", json!(APP)), ("seen", json!(7)), ("done", json!(7))];
            ("A background task has ended.", task.into_iter().chain(counts).collect())
        }
    };
    (description, data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Of the payload of an event like this one. What is not in the example may be there as well.
fn schema(name: &str, data: &Map<String, Value>) -> Value {
    let example = json!({ "type": name, "data": data });
    json!({
        "type": "object",
        "required": ["type", "data"],
        "properties": { "type": { "const": name }, "data": object(data) },
        "examples": [example],
    })
}

fn object(example: &Map<String, Value>) -> Value {
    let properties: Map<_, _> = example.iter().map(|(name, value)| (name.clone(), part(name, value))).collect();
    let required: Vec<_> = example.keys().collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn part(name: &str, example: &Value) -> Value {
    match (name, example) {
        ("lastStatusCode", _) => json!({ "type": ["integer", "null"] }),
        (_, Value::Object(fields)) => object(fields),
        (_, Value::Number(_)) => json!({ "type": "integer" }),
        ("timestamp" | "failSince", _) => json!({ "type": "string", "format": "date-time" }),
        _ => json!({ "type": ["string", "null"] }),
    }
}
