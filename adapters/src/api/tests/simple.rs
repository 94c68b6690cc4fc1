//! The simplest way in, and that it is the same resources.

use super::*;

#[tokio::test]
async fn a_webhook_is_registered_and_gets_what_it_wants() -> Result<(), Failed> {
    let world = World::new().await?;
    let ask = async |method: &str, path: &str, body: Value| world.under("/api", method, path, body).await;
    assert_eq!(ask("GET", "/webhooks", Value::Null).await?.1["data"], json!([]));
    let hook = json!({ "url": "http://127.0.0.1:9/hook", "events": ["invoice.paid"] });
    let made = ask("POST", "/webhooks", hook).await?;
    assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    assert!(made.1["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{}", made.1);
    let id = made.1["id"].as_str().unwrap_or_default();
    let sent = ask("POST", "/events", json!({ "type": "invoice.paid", "data": [1, 2] })).await?;
    assert_eq!((sent.0, &sent.1["webhooks"]), (StatusCode::ACCEPTED, &json!(1)), "{}", sent.1);
    let other = ask("POST", "/events", json!({ "event": "invoice.sent", "payload": {} })).await?;
    assert_eq!((other.0, &other.1["webhooks"]), (StatusCode::ACCEPTED, &json!(0)), "{}", other.1);
    assert_eq!(world.receiver.wait_for(1).await[0].body, b"[1,2]"[..]);
    assert_eq!(world.get("/app/default/endpoint").await?.1["data"][0]["id"], id, "the same resource");

    let one = format!("/webhooks/{id}");
    let shown = ask("GET", &one, Value::Null).await?.1;
    assert_eq!((&shown["active"], shown.get("secret")), (&json!(true), None), "{shown}");
    let changed = ask("PATCH", &one, json!({ "active": false, "events": [] })).await?;
    assert_eq!((&changed.1["active"], &changed.1["events"]), (&json!(false), &json!([])), "{}", changed.1);
    assert_eq!(ask("DELETE", &one, Value::Null).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(ask("GET", &one, Value::Null).await?.0, StatusCode::NOT_FOUND);
    for (path, body, part) in [
        ("/webhooks", json!({}), "url"),
        ("/webhooks", json!({ "url": "ftp://h/" }), "url"),
        ("/webhooks", json!({ "url": "http://127.0.0.1/", "event": ["a"] }), "unknown field"),
        ("/events", json!({ "type": "a" }), "data"),
    ] {
        let wrong = ask("POST", path, body).await?;
        assert_eq!(wrong.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", wrong.1);
        assert!(wrong.1.to_string().contains(part), "{part}: {}", wrong.1);
    }
    Ok(())
}
