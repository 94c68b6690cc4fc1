//! The routes through the real router, over an engine in memory and a scripted receiver.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use postrider::{
    Engine, OrganisationId, TargetRules, Timestamp,
    storage::MemoryStore,
    testing::{Reply, ScriptedTransport},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

mod bodies;
mod bounds;
mod clients;
mod dead_letters;
mod deliveries;
mod endpoint_health;
mod endpoints;
mod envelope;
mod environment;
mod errors;
mod event_type_import;
mod event_types;
mod examples;
mod filters;
mod forgetting;
mod from_others;
mod front_door;
mod idempotency;
mod kept_rules;
mod memory;
mod messages;
mod openapi;
mod operational;
mod paging;
mod portal;
mod proofs;
mod round_trips;
mod shown_urls;
mod simple;
mod stats;
mod tasks;
mod tenant_limits;
mod tenants;
mod wire;

type Failed = Box<dyn std::error::Error>;

#[tokio::test]
async fn a_message_arrives_byte_for_byte_and_its_attempt_is_shown() -> Result<(), Failed> {
    let world = World::new().await?;
    let app = world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    assert_eq!(app.0, StatusCode::CREATED, "{}", app.1);
    let hook = json!({ "url": "http://127.0.0.1:9/hook", "uid": "hook", "delivery": { "ordering": "perKey" } });
    let made = world.post("/app/acme/endpoint", hook).await?;
    assert_eq!((made.0, &made.1["delivery"]["ordering"]), (StatusCode::CREATED, &json!("perKey")), "{}", made.1);

    let payload = r#"{"z":1, "a":2,"n":1.50,"u":"\ud83d\ude0a \u2028"}"#;
    let body = format!(r#"{{"eventType":"invoice.paid","payload":{payload},"orderingKey":"7","eventId":"paid-7"}}"#);
    let sent = world.send("POST", "/app/acme/msg/", body.clone()).await?;
    assert_eq!(sent.0, StatusCode::ACCEPTED, "{}", sent.1);
    let received = world.receiver.wait_for(1).await;
    assert_eq!(received[0].body, payload.as_bytes());
    assert_eq!(received[0].headers["webhook-id"].to_str()?, sent.1["id"].as_str().unwrap_or_default());

    let again = world.send("POST", "/app/acme/msg", body).await?;
    assert_eq!((again.0, &again.1["code"]), (StatusCode::CONFLICT, &json!("conflict")), "row 138");
    let shown = world.get("/app/acme/msg/paid-7").await?;
    assert_eq!((shown.0, &shown.1["orderingKey"]), (StatusCode::OK, &json!("7")));

    let resent = world.send("POST", "/app/acme/msg/paid-7/endpoint/hook/resend", String::new()).await?;
    assert_eq!(resent.0, StatusCode::ACCEPTED, "{}", resent.1);
    let received = world.receiver.wait_for(2).await;
    assert_eq!(received[0].headers["webhook-id"], received[1].headers["webhook-id"], "row 17");
    Ok(())
}

#[tokio::test]
async fn get_or_create_gives_the_same_application_unchanged() -> Result<(), Failed> {
    let world = World::new().await?;
    let path = "/app?get_if_exists=true";
    let made = world.post(path, json!({ "name": "Acme", "uid": "acme" })).await?;
    let found = world.post(path, json!({ "name": "Other", "uid": "acme" })).await?;
    assert_eq!((made.0, found.0), (StatusCode::CREATED, StatusCode::OK), "row 139");
    assert_eq!(made.1, found.1);
    let taken = world.post("/app", json!({ "name": "Other", "uid": "acme" })).await?;
    assert_eq!(taken.0, StatusCode::CONFLICT);
    Ok(())
}

#[tokio::test]
async fn another_tenants_things_do_not_exist_and_a_portal_sees_its_own_only() -> Result<(), Failed> {
    let world = World::new().await?;
    let app = world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let app: postrider::ApplicationId = app.1["id"].as_str().unwrap_or_default().parse()?;
    let other = world.key.issue_organisation(OrganisationId::from_bytes([9; 20]), now())?;
    assert_eq!(world.with(&other, "GET", "/app/acme", String::new()).await?.0, StatusCode::NOT_FOUND);
    assert_eq!(world.with("nonsense", "GET", "/app/acme", String::new()).await?.0, StatusCode::UNAUTHORIZED);
    let portal = world.key.issue_application(app, OrganisationId::DEFAULT, now())?;
    assert_eq!(world.with(&portal, "GET", "/app/acme", String::new()).await?.0, StatusCode::OK);
    assert_eq!(world.with(&portal, "GET", "/app", String::new()).await?.0, StatusCode::FORBIDDEN);
    world.post("/app", json!({ "name": "Other", "uid": "other" })).await?;
    assert_eq!(world.with(&portal, "GET", "/app/other", String::new()).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn bad_input_is_told_in_words_and_in_its_shape() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let check = async |path: &str, body: &str, status: u16, part: &str| -> Result<(), Failed> {
        let answer = world.send("POST", path, body.to_owned()).await?;
        assert_eq!(answer.0.as_u16(), status, "{body}: {}", answer.1);
        assert!(answer.1.to_string().contains(part), "{body}: {}", answer.1);
        Ok(())
    };
    let endpoint = "/app/acme/endpoint";
    check("/app", "{\"name\":", 422, "value_error.jsondecode").await?;
    check("/app", "{}", 422, "name").await?;
    check("/app/acme/msg", r#"{"eventType":"a","payload":[1]}"#, 422, "must be a JSON object").await?;
    check("/app/acme/msg", r#"{"eventType":"a b","payload":{}}"#, 422, "event type").await?;
    check("/app/none/msg", r#"{"eventType":"a","payload":{}}"#, 404, "not_found").await?;
    for url in ["ftp://h/", "http:/x", "http://", "//host/x", " https://h/", "http://10.0.0.1/", "http://0x0a000001/"] {
        check(endpoint, &json!({ "url": url }).to_string(), 422, r#"["body","url"]"#).await?;
    }
    for secret in ["v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "", "whsec_"] {
        let body = json!({ "url": "http://127.0.0.1/", "secret": secret }).to_string();
        check(endpoint, &body, 422, "whsec_").await?;
    }
    check(endpoint, r#"{"url":"http://127.0.0.1/","delivery":{"retrys":[1]}}"#, 422, "unknown field").await?;
    check(endpoint, r#"{"url":"http://127.0.0.1/","headers":{"Host":"x"}}"#, 422, "headers").await?;
    let listed = world.get("/app?limit=251").await?;
    assert_eq!(listed.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.get("/no/such/path").await?.1["code"], "not_found");
    Ok(())
}

#[tokio::test]
async fn lists_are_walked_to_their_end_and_the_last_iterator_leads_to_an_empty_page() -> Result<(), Failed> {
    let world = World::new().await?;
    for n in 0..5 {
        world.post("/app", json!({ "name": format!("app {n}") })).await?;
    }
    let mut path = "/app?limit=2".to_owned();
    let mut names = Vec::new();
    for _ in 0..4 {
        let page = world.get(&path).await?.1;
        let data = page["data"].as_array().cloned().unwrap_or_default();
        names.extend(data.iter().map(|app| app["name"].to_string()));
        if page["done"] == json!(true) && data.is_empty() {
            break;
        }
        path = format!("/app?limit=2&iterator={}", page["iterator"].as_str().unwrap_or_default());
    }
    assert_eq!(names.len(), 5, "row 150");
    Ok(())
}

struct World {
    engine: Engine,
    router: Router,
    key: TokenKey,
    token: String,
    receiver: ScriptedTransport,
}

impl World {
    async fn new() -> Result<Self, Failed> {
        Self::answering(&[]).await
    }

    /// The receiver answers so, and then always with 200.
    async fn answering(answers: &[u16]) -> Result<Self, Failed> {
        Self::replying(answers.iter().copied()).await
    }

    /// As [`answering`](Self::answering), or not at all.
    async fn replying<R: Into<Reply>>(replies: impl IntoIterator<Item = R>) -> Result<Self, Failed> {
        let receiver = ScriptedTransport::new(replies);
        let builder = Engine::builder(MemoryStore::new(), receiver.clone()).targets(TargetRules::dev());
        let builder = builder.grant_at(format!("https://hooks.example.com{GRANT_PATH}").parse()?);
        let key = TokenKey::for_development("a secret for tests, and for nothing else")?;
        let token = key.issue_organisation(OrganisationId::DEFAULT, now())?;
        let engine = builder.start().await?;
        let router = router(engine.clone(), key.clone());
        Ok(Self { engine, router, key, token, receiver })
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Value), Failed> {
        self.send("GET", path, String::new()).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<(StatusCode, Value), Failed> {
        self.send("POST", path, body.to_string()).await
    }

    async fn send(&self, method: &str, path: &str, body: String) -> Result<(StatusCode, Value), Failed> {
        self.with(&self.token, method, path, body).await
    }

    /// With the headers of the answer.
    async fn answer(&self, method: &str, path: &str, body: &Value) -> Result<((StatusCode, Value), HeaderMap), Failed> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Body::from(body.to_string()))?;
        let response = self.router.clone().oneshot(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 1 << 20).await?;
        Ok(((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)), headers))
    }

    async fn delete(&self, path: &str) -> Result<StatusCode, Failed> {
        Ok(self.send("DELETE", path, String::new()).await?.0)
    }

    /// An application `acme` with an endpoint `hook` that tries as often as `schedule` has delays, and once more.
    async fn with_hook(answers: &[u16], delivery: Value) -> Result<Self, Failed> {
        Self::answering(answers).await?.and_hook(delivery).await
    }

    async fn and_hook(self, delivery: Value) -> Result<Self, Failed> {
        let world = self;
        world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
        let hook = json!({ "url": "http://127.0.0.1:9/hook", "uid": "hook", "delivery": delivery });
        let made = world.post("/app/acme/endpoint", hook).await?;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
        Ok(world)
    }

    async fn publish(&self, event_type: &str, event_id: &str) -> Result<Value, Failed> {
        let body = json!({ "eventType": event_type, "eventId": event_id, "payload": { "of": event_id } });
        let sent = self.post("/app/acme/msg", body).await?;
        assert_eq!(sent.0, StatusCode::ACCEPTED, "{}", sent.1);
        Ok(sent.1)
    }

    /// Asks until the answer is as it should be; a few seconds at most.
    async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        let mut last = Value::Null;
        for _ in 0..500 {
            last = self.get(path).await?.1;
            if is_so(&last) {
                return Ok(last);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(format!("never came: {last}").into())
    }

    /// With the organisation's token, under another base than the rest.
    async fn under(&self, base: &str, method: &str, path: &str, body: Value) -> Result<(StatusCode, Value), Failed> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(if body.is_null() { Body::empty() } else { Body::from(body.to_string()) })?;
        let response = self.router.clone().oneshot(request).await?;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    async fn with(&self, token: &str, method: &str, path: &str, body: String) -> Result<(StatusCode, Value), Failed> {
        self.at(token, method, &format!("/api/v1{path}"), body).await
    }

    /// At a whole path.
    async fn at(&self, token: &str, method: &str, path: &str, body: String) -> Result<(StatusCode, Value), Failed> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))?;
        let response = self.router.clone().oneshot(request).await?;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(0) + since
}
