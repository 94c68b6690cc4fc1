//! What the official SDKs of Svix found: each sends or reads something that their document does not tell of.

use super::*;

/// The SDK for Python, 2.9.1, reads the new secret from the answer and fails at an empty one; those for C#, Kotlin and Java
/// fail at any other.
#[tokio::test]
async fn a_rotated_secret_is_in_the_answer_for_those_who_read_it() -> Result<(), Failed> {
    let path = "/app/acme/endpoint/hook/secret";
    for (agent, reads) in [
        ("svix-libs/2.9.1/python", true),
        ("svix-libs/1.2.3-rc.1/python more", true),
        ("svix-libs/2.9.1/kotlin", false),
        ("svix-libs/2.9.1/csharp", false),
        ("python-requests/2", false),
        ("", false),
    ] {
        let world = World::with_hook(&[], json!({})).await?;
        let key = json!({ "key": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" }).to_string();
        for body in [String::new(), "{}".to_owned(), key] {
            let before = world.get(path).await?.1;
            let request = Request::builder()
                .method("POST")
                .uri(format!("/api/v1{path}/rotate"))
                .header(header::AUTHORIZATION, format!("Bearer {}", world.token))
                .header(header::USER_AGENT, agent);
            let response = world.router.clone().oneshot(request.body(Body::from(body.clone()))?).await?;
            let status = if reads { StatusCode::OK } else { StatusCode::NO_CONTENT };
            assert_eq!(response.status(), status, "{agent} {body}");
            let told = to_bytes(response.into_body(), 1 << 10).await?;
            let after = world.get(path).await?.1;
            assert_ne!(before, after, "{agent} {body}");
            assert_eq!(told, if reads { after.to_string() } else { String::new() }, "{agent} {body}");
        }
    }
    Ok(())
}

/// A form that shows each message beside its field had none for these; the SDK for Rust lost errors with a number in
/// their place.
#[tokio::test]
async fn the_field_that_breaks_a_rule_is_told_in_strings() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    for (path, body, place) in [
        ("/app", json!({ "name": " " }), vec!["body", "name"]),
        ("/app", json!({ "name": "a", "uid": "no blanks" }), vec!["body", "uid"]),
        ("/app/acme/msg", json!({ "eventType": "no blanks", "payload": {} }), vec!["body", "eventType"]),
        ("/app/acme/msg", json!({ "eventType": "a", "payload": {}, "channels": [""] }), vec!["body", "channels"]),
        ("/app/acme/msg", json!({ "eventType": "a", "payload": {}, "channels": [1] }), vec!["body", "channels", "0"]),
        ("/app/acme/msg", json!({ "eventType": "a", "payload": {}, "eventId": "msg_1" }), vec!["body", "eventId"]),
    ] {
        let refused = world.post(path, body.clone()).await?;
        assert_eq!((refused.0.as_u16(), &refused.1["detail"][0]["loc"]), (422, &json!(place)), "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_canceled_can_be_asked_for() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    world.publish("invoice.paid", "1").await?;
    world.until("/app/acme/attempt/endpoint/hook", |page| page["data"][0]["status"] == 0).await?;
    for path in ["/app/acme/attempt/endpoint/hook", "/app/acme/attempt/msg/1", "/app/acme/endpoint/hook/msg"] {
        let listed = world.get(&format!("{path}?status=4&expanded_statuses=true")).await?;
        assert_eq!((listed.0, &listed.1["data"]), (StatusCode::OK, &json!([])), "{path}");
    }
    Ok(())
}

/// SDKs from 2.9 write a list of flags, and their one flag was lost.
#[tokio::test]
async fn a_feature_flag_is_kept_in_either_spelling() -> Result<(), Failed> {
    let world = World::new().await?;
    let flags = |event_type: &Value| (event_type["featureFlag"].clone(), event_type["featureFlags"].clone());
    let made = json!({ "name": "a", "description": "", "featureFlags": ["beta"] });
    assert_eq!(flags(&world.post("/event-type", made).await?.1), (json!("beta"), json!(["beta"])));
    for (patch, kept) in [
        (json!({ "description": "b" }), (json!("beta"), json!(["beta"]))),
        (json!({ "featureFlag": "new" }), (json!("new"), json!(["new"]))),
        (json!({ "featureFlags": [] }), (Value::Null, Value::Null)),
    ] {
        let patched = world.send("PATCH", "/event-type/a", patch.to_string()).await?;
        assert_eq!((patched.0, flags(&patched.1)), (StatusCode::OK, kept), "{patch}");
    }
    let two = json!({ "name": "b", "description": "", "featureFlags": ["beta", "new"] });
    let refused = world.post("/event-type", two).await?;
    assert_eq!((refused.0.as_u16(), &refused.1["detail"][0]["loc"]), (422, &json!(["body", "featureFlags"])));
    Ok(())
}

/// SDKs from 2.0 name what is to go in a list beside the headers, because they cannot write `null`.
#[tokio::test]
async fn headers_are_taken_away_by_name() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let path = "/app/acme/endpoint/hook/headers";
    world.send("PUT", path, json!({ "headers": { "X-A": "1", "X-B": "2" } }).to_string()).await?;
    let patch = json!({ "headers": { "X-C": "3" }, "deleteHeaders": ["x-a"] });
    assert_eq!(world.send("PATCH", path, patch.to_string()).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(world.get(path).await?.1["headers"], json!({ "X-B": "2", "X-C": "3" }));
    Ok(())
}

/// The SDKs put a payload that is to keep its bytes beside an empty one, which went out in its place.
#[tokio::test]
async fn a_raw_payload_is_sent_as_it_came() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    for (raw, kind) in [(r#"{"invoice":  1.50}"#, None), ("<invoice/>", Some("application/xml"))] {
        let headers = kind.map(|kind| json!({ "content-type": kind }));
        let params = json!({ "rawPayload": raw, "headers": headers });
        let body = json!({ "eventType": "a", "payload": {}, "transformationsParams": params });
        let sent = world.post("/app/acme/msg", body).await?;
        assert_eq!(sent.0, StatusCode::ACCEPTED, "{}", sent.1);
        let received = world.receiver.wait_for(1 + usize::from(kind.is_some())).await;
        let last = received.last().ok_or("it came")?;
        assert_eq!(last.body, raw.as_bytes());
        assert_eq!(last.headers["content-type"], kind.unwrap_or("application/json"));
    }
    Ok(())
}
