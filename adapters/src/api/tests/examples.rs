//! A message to try an endpoint with, whether anybody wants one, and tokens for an application's own people.

use axum::http::StatusCode;
use serde_json::json;

use super::{Failed, World};

#[tokio::test]
async fn an_example_goes_to_one_endpoint_alone_whatever_it_wants() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    for (uid, types) in [("all", None), ("other", Some(["invoice.paid"])), ("off", None)] {
        let url = format!("http://127.0.0.1:9/{uid}");
        let hook = json!({ "url": url, "uid": uid, "eventTypes": types, "disabled": uid == "off" });
        let made = world.post("/app/acme/endpoint", hook).await?;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    }
    let ping = json!({ "eventType": "svix.ping" });
    let sent = world.post("/app/acme/endpoint/other/send-example", ping.clone()).await?;
    assert_eq!((sent.0, &sent.1["payload"]), (StatusCode::OK, &json!({ "success": true })), "{}", sent.1);
    let received = world.receiver.wait_for(1).await;
    assert_eq!((received[0].url.path(), &received[0].body[..]), ("/other", &br#"{"success":true}"#[..]));
    let kinds: Vec<_> = received[0].headers.get_all("content-type").iter().collect();
    assert_eq!(kinds, ["application/json"], "row 37");
    let listed = world.get("/app/acme/msg").await?;
    assert_eq!(listed.1["data"][0]["id"], sent.1["id"]);

    let off = world.post("/app/acme/endpoint/off/send-example", ping.clone()).await?;
    assert_eq!((off.0, &off.1["code"]), (StatusCode::BAD_REQUEST, &json!("endpoint_disabled")), "{}", off.1);
    let none = world.post("/app/acme/endpoint/none/send-example", ping).await?;
    assert_eq!(none.0, StatusCode::NOT_FOUND);
    let unknown = world.post("/app/acme/endpoint/all/send-example", json!({ "eventType": "invoice.paid" })).await?;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND, "{}", unknown.1);
    assert_eq!(world.receiver.count(), 1, "nobody else got anything");
    Ok(())
}

#[tokio::test]
async fn a_publisher_can_ask_whether_anybody_wants_a_message() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let active = async |event_type: &str, channels: Option<&str>| {
        let asked = json!({ "eventType": event_type, "channels": channels.map(|channel| [channel]) });
        let answer = world.post("/app/acme/msg/precheck/active", asked).await?;
        assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
        Ok::<_, Failed>(answer.1["active"] == json!(true))
    };
    assert!(!active("invoice.paid", None).await?, "there is no endpoint");
    let hook = json!({ "url": "http://127.0.0.1:9/hook", "eventTypes": ["invoice.paid"], "channels": ["eu"] });
    world.post("/app/acme/endpoint", hook).await?;
    assert!(active("invoice.paid", Some("eu")).await?);
    assert!(!active("invoice.paid", Some("us")).await?);
    assert!(!active("invoice.sent", Some("eu")).await?);
    let wrong = world.post("/app/acme/msg/precheck/active", json!({ "eventType": "no blanks" })).await?;
    assert_eq!(wrong.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", wrong.1);
    Ok(())
}

#[tokio::test]
async fn a_portal_token_opens_its_own_application_and_no_more() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    world.post("/app", json!({ "name": "Other", "uid": "other" })).await?;
    for path in ["/auth/app-portal-access/acme", "/auth/dashboard-access/acme"] {
        let given = world.send("POST", path, String::new()).await?;
        assert_eq!(given.0, StatusCode::OK, "{}", given.1);
        let token = given.1["token"].as_str().unwrap_or_default().to_owned();
        let own = world.with(&token, "GET", "/app/acme", String::new()).await?;
        assert_eq!(own.0, StatusCode::OK, "{}", own.1);
        let own_id = own.1["id"].as_str().unwrap_or_default();
        assert_eq!(given.1["url"], json!(format!("http://localhost/api/v1/app/{own_id}")));
        assert_eq!(world.with(&token, "GET", "/app/other", String::new()).await?.0, StatusCode::NOT_FOUND);
        assert_eq!(world.with(&token, "POST", path, String::new()).await?.0, StatusCode::FORBIDDEN);
        let ping = json!({ "eventType": "svix.ping" }).to_string();
        let tried = world.with(&token, "POST", "/app/acme/endpoint/hook/send-example", ping).await?;
        assert_eq!(tried.0, StatusCode::FORBIDDEN);
    }
    let made = json!({ "application": { "name": "New", "uid": "new" }, "expiry": 3600 });
    assert_eq!(world.post("/auth/app-portal-access/new", made.clone()).await?.0, StatusCode::OK);
    assert_eq!(world.get("/app/new").await?.0, StatusCode::OK, "it was made");
    assert_eq!(world.post("/auth/app-portal-access/newer", made).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.post("/auth/app-portal-access/none", json!({})).await?.0, StatusCode::NOT_FOUND);
    for wrong in [json!({ "expiry": 10 }), json!({ "capabilities": ["ViewBase", "ViewAll"] })] {
        let refused = world.post("/auth/app-portal-access/acme", wrong.clone()).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {}", refused.1);
    }
    Ok(())
}
