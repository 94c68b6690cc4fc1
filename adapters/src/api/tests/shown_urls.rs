//! What is shown of an endpoint's URL: not what lets in whoever knows it; and of an attempt, what was called then.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use super::*;

const URL: &str = "http://user:hunter2@127.0.0.1:9/hook?api_key=hunter3&team=bills";
const SHOWN: &str = "http://user:***@127.0.0.1:9/hook?api_key=***&team=bills";

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn acme(answers: &[u16]) -> Result<World, Failed> {
    let world = World::answering(answers).await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let hook = json!({ "url": URL, "uid": "hook", "delivery": { "retrySchedule": [] } });
    let made = world.post("/app/acme/endpoint", hook).await?;
    assert_eq!((made.0, &made.1["url"]), (StatusCode::CREATED, &json!(SHOWN)), "{}", made.1);
    Ok(world)
}

/// Every route that reads was asked by nobody what it shows: a read-only token of a portal read passwords of receivers.
#[tokio::test]
async fn what_lets_in_who_knows_it_is_shown_nowhere() -> Result<(), Failed> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _logged = tracing::subscriber::set_default(subscriber.finish());
    let world = acme(&[500, 500]).await?;
    world.post("/operational-webhook/endpoint", json!({ "url": URL, "uid": "ops" })).await?;
    let made = world.under("/api", "POST", "/webhooks", json!({ "url": URL })).await?;
    assert_eq!(made.1["url"], SHOWN, "{}", made.1);
    let webhook = made.1["id"].as_str().unwrap_or_default().to_owned();
    let msg = world.publish("a.b", "m1").await?["id"].as_str().unwrap_or_default().to_owned();
    let dead = world.until("/app/acme/dead-letter", |page| !page["data"][0].is_null()).await?;
    let letter = dead["data"][0]["id"].as_str().unwrap_or_default().to_owned();
    let attempts = world.get(&format!("/app/acme/attempt/msg/{msg}")).await?.1;
    assert_eq!(attempts["data"][0]["url"], SHOWN, "{attempts}");
    let attempt = attempts["data"][0]["id"].as_str().unwrap_or_default().to_owned();
    let document = world.get("/openapi.json").await?.1;
    let names = [("app_id", "acme"), ("endpoint_id", "hook"), ("msg_id", &msg), ("attempt_id", &attempt)];
    let names = names.into_iter().chain([("dead_letter_id", &*letter), ("webhook_id", &*webhook)]);
    let (mut seen, mut shown) = (0, 0);
    for (path, item) in document["paths"].as_object().ok_or("it has paths")? {
        let of_operators = path.contains("/operational-webhook/");
        let named = names.clone().fold(path.clone(), |path, (name, value)| {
            let value = if of_operators && name == "endpoint_id" { "ops" } else { value };
            path.replace(&format!("{{{name}}}"), value)
        });
        for method in ["get", "post"].into_iter().filter(|method| item.get(method).is_some()) {
            // Only what is read: and the way to take all of it along.
            if method == "get" || path.ends_with("/export") {
                let answer = world.at(&world.token, &method.to_uppercase(), &named, String::new()).await?.1.to_string();
                assert!(!answer.contains("hunter"), "{method} {path}: {answer}");
                seen += 1;
                shown += usize::from(answer.contains("***"));
            }
        }
    }
    assert!(seen > 30 && shown >= 9, "{seen} routes read, {shown} of them show a url");
    for word in [
        format!("{:?}", world.engine.endpoints("acme").get("hook")?),
        format!("{:?}", world.receiver.wait_for(1).await),
    ] {
        assert!(!word.contains("hunter") && word.contains("***"), "{word}");
    }
    let logged = log.text();
    assert!(!logged.contains("hunter"), "{}", logged.lines().find(|line| line.contains("hunter")).unwrap_or_default());
    Ok(())
}

/// A client reads an endpoint, changes one thing, and sends all of it back.
#[tokio::test]
async fn a_url_that_comes_back_as_it_was_shown_stays_as_it_is() -> Result<(), Failed> {
    let world = acme(&[]).await?;
    let mut shown = world.get("/app/acme/endpoint/hook").await?.1;
    shown["description"] = json!("changed");
    let put = world.send("PUT", "/app/acme/endpoint/hook", shown.to_string()).await?;
    assert_eq!((put.0, &put.1["url"], &put.1["description"]), (StatusCode::OK, &json!(SHOWN), &json!("changed")));
    let patched = world.send("PATCH", "/app/acme/endpoint/hook", json!({ "url": SHOWN }).to_string()).await?;
    assert_eq!((patched.0, &patched.1["url"]), (StatusCode::OK, &json!(SHOWN)));
    world.publish("a.b", "m1").await?;
    assert_eq!(world.receiver.wait_for(1).await[0].url.as_str(), URL);

    for url in ["http://user:***@127.0.0.1:9/other", "http://***@127.0.0.1:9/", "http://127.0.0.1:9/?key=***"] {
        let body = json!({ "url": url });
        for (method, path) in [("PATCH", "/app/acme/endpoint/hook"), ("PUT", "/app/acme/endpoint/hook")] {
            let refused = world.send(method, path, body.to_string()).await?;
            assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{method} {url}: {}", refused.1);
            assert_eq!(refused.1["detail"][0]["loc"], json!(["body", "url"]), "{}", refused.1);
        }
        assert_eq!(world.post("/app/acme/endpoint", body).await?.0, StatusCode::UNPROCESSABLE_ENTITY, "{url}");
    }
    let made = world.under("/api", "POST", "/webhooks", json!({ "url": URL })).await?.1;
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap_or_default());
    let patched = world.under("/api", "PATCH", &path, json!({ "url": SHOWN, "events": ["c.d"] })).await?;
    assert_eq!((patched.0, &patched.1["url"]), (StatusCode::OK, &json!(SHOWN)), "{}", patched.1);
    world.post("/operational-webhook/endpoint", json!({ "url": URL, "uid": "ops" })).await?;
    let put = world.send("PUT", "/operational-webhook/endpoint/ops", json!({ "url": SHOWN }).to_string()).await?;
    assert_eq!((put.0, &put.1["url"]), (StatusCode::OK, &json!(SHOWN)), "{}", put.1);
    Ok(())
}

/// The list of attempts told today's address, and so that what had failed was called at an address that never was.
#[tokio::test]
async fn an_attempt_shows_what_was_called_then() -> Result<(), Failed> {
    let world = acme(&[]).await?;
    let msg = world.publish("a.b", "m1").await?["id"].as_str().unwrap_or_default().to_owned();
    let path = format!("/app/acme/attempt/msg/{msg}");
    world.until(&path, |page| !page["data"][0].is_null()).await?;
    let moved = json!({ "url": "http://127.0.0.1:9/moved" });
    assert_eq!(world.send("PATCH", "/app/acme/endpoint/hook", moved.to_string()).await?.0, StatusCode::OK);
    for path in [path.clone(), "/app/acme/attempt/endpoint/hook".to_owned()] {
        assert_eq!(world.get(&path).await?.1["data"][0]["url"], SHOWN, "{path}");
    }
    world.post(&format!("/app/acme/msg/{msg}/endpoint/hook/resend"), json!({})).await?;
    let both = world.until(&path, |page| page["data"].as_array().is_some_and(|all| all.len() == 2)).await?;
    assert_eq!((&both["data"][0]["url"], &both["data"][1]["url"]), (&moved["url"], &json!(SHOWN)));
    Ok(())
}
