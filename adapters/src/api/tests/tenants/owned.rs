//! What a tenant has: one of each thing that a path can name.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Things that all applications of an organisation share.
const OF_ORGANISATION: [&str; 3] = ["event_type_name", "operator_id", "webhook_id"];

pub(super) struct Owned {
    /// By their names in paths: an id, and a name that was given.
    things: BTreeMap<&'static str, [String; 2]>,
    /// Written into all of its application.
    text: String,
    /// Written into what belongs to its organisation.
    organisation_text: String,
}

impl Owned {
    /// An endpoint of operators; two endpoints; a message that was given up at the first of them and one that was not; both sent to the second by
    /// a task; an event type of the organisation, which may be there already.
    pub(super) async fn make(world: &World, token: &str, mark: &str, organisation_mark: &str) -> Result<Self, Failed> {
        let ask = async |method: &str, path: &str, body: Value| {
            let answer = world.with(token, method, path, body.to_string()).await?;
            if answer.0.is_success() {
                Ok(answer.1)
            } else {
                Err(Failed::from(format!("{path}: {} {}", answer.0, answer.1)))
            }
        };
        let id = |thing: &Value| thing["id"].as_str().unwrap_or_default().to_owned();
        let before = world.receiver.count();
        let name = |kind: &str| format!("{mark}-{kind}");
        let (text, organisation_text) = (format!("private to {mark}"), format!("private to {organisation_mark}"));
        let app = json!({ "name": text, "uid": name("app"), "metadata": { "of": text } });
        let app = id(&ask("POST", "/app", app).await?);
        let event_type = format!("{organisation_mark}.paid");
        let described = json!({ "description": organisation_text, "schemas": { "1": { "type": "object" } } });
        ask("PUT", &format!("/event-type/{event_type}"), described).await?;
        let hook = |kind: &str| {
            let delivery = json!({ "retrySchedule": [], "breaker": null });
            let headers = json!({ "X-Of": text });
            let url = format!("http://127.0.0.1:9/{}", name(kind));
            json!({ "url": url, "uid": name(kind), "description": text, "headers": headers, "delivery": delivery })
        };
        let first = id(&ask("POST", &format!("/app/{app}/endpoint"), hook("hook")).await?);
        let message = |kind: &str| json!({ "eventType": event_type, "eventId": name(kind), "payload": { "of": text } });
        let sent = id(&ask("POST", &format!("/app/{app}/msg"), message("msg")).await?);
        world.receiver.wait_for(before + 1).await;
        ask("POST", &format!("/app/{app}/msg"), message("msg-2")).await?;
        world.receiver.wait_for(before + 2).await;
        let late = id(&ask("POST", &format!("/app/{app}/endpoint"), hook("late")).await?);
        let replay = format!("/app/{app}/endpoint/{late}/replay-missing");
        let task = id(&ask("POST", &replay, json!({ "since": requests::an_hour_ago() })).await?);
        world.receiver.wait_for(before + 4).await;

        let until = async |path: &str, is_so: fn(&Value) -> bool| {
            for _ in 0..500 {
                let found = ask("GET", path, Value::Null).await?;
                if is_so(&found) {
                    return Ok(found);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(Failed::from(format!("{path} never came to be")))
        };
        until(&format!("/background-task/{task}"), |task| task["status"] == "finished").await?;
        let is_there = |list: &Value| list["data"][0].is_object();
        let dead = id(&until(&format!("/app/{app}/dead-letter"), is_there).await?["data"][0]);
        for endpoint in [&first, &late] {
            let at_rest = |state: &Value| state["queued"] == 0 && state["inFlight"] == 0;
            until(&format!("/app/{app}/endpoint/{endpoint}/state"), at_rest).await?;
            let both = |list: &Value| list["data"].as_array().is_some_and(|attempts| attempts.len() == 2);
            until(&format!("/app/{app}/attempt/endpoint/{endpoint}"), both).await?;
        }
        let attempt =
            id(&until(&format!("/app/{app}/attempt/msg/{sent}?endpoint_id={first}"), is_there).await?["data"][0]);
        let operator = json!({
            "url": "http://127.0.0.1:9/operator", "uid": name("operator"), "description": organisation_text,
            "eventTypes": ["endpoint.disabled"], "headers": { "X-Of": organisation_text },
        });
        let operator = id(&ask("POST", "/operational-webhook/endpoint", operator).await?);
        let url = format!("http://127.0.0.1:9/{}", name("webhook"));
        let webhook = json!({ "url": url, "events": [event_type] }).to_string();
        let webhook = id(&world.at(token, "POST", "/api/webhooks", webhook).await?.1);
        let alone = |id: &str| [id.to_owned(), id.to_owned()];
        let things = BTreeMap::from([
            ("app_id", [app, name("app")]),
            ("endpoint_id", [first, name("hook")]),
            ("msg_id", [sent, name("msg")]),
            ("attempt_id", alone(&attempt)),
            ("task_id", alone(&task)),
            ("dead_letter_id", alone(&dead)),
            ("event_type_name", alone(&event_type)),
            ("webhook_id", alone(&webhook)),
            ("operator_id", [operator, name("operator")]),
        ]);
        Ok(Self { things, text, organisation_text })
    }

    /// The id of one of its things, by its name in paths.
    pub(super) fn id(&self, name: &str) -> &str {
        self.both(name).map_or("unknown", |[id, _]| id)
    }

    pub(super) fn both(&self, name: &str) -> Option<&[String; 2]> {
        self.things.get(name)
    }

    /// The name that was given to one of its things.
    pub(super) fn given(&self, name: &str) -> String {
        self.both(name).map_or_else(String::new, |[_, given]| given.clone())
    }

    /// Whether others may give this name to things of theirs.
    pub(super) fn is_given(&self, text: &str) -> bool {
        self.things.iter().any(|(name, [id, given])| given == text && (given != id || *name == "event_type_name"))
    }

    /// What other applications of its organisation may not see, and what only others outside of it may not.
    pub(super) fn secrets(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (of_organisation, of_application): (Vec<_>, Vec<_>) =
            self.things.iter().partition(|(name, _)| OF_ORGANISATION.contains(name));
        let all = |things: Vec<(_, &[String; 2])>, text: &String| {
            things.into_iter().flat_map(|(_, both)| both.clone()).chain([text.clone()]).collect()
        };
        (all(of_application, &self.text), all(of_organisation, &self.organisation_text))
    }
}
