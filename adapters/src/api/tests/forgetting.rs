//! What is put off, tagged, and forgotten before its time.

use super::*;

#[tokio::test]
async fn a_message_carries_tags_and_a_time_and_is_found_by_them() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let at = Timestamp::from_nanos(now().as_nanos() + 3_600_000_000_000);
    let body = json!({
        "eventType": "a", "payload": {}, "eventId": "later", "tags": ["red", "big"], "deliverAt": times::written(at),
    });
    let sent = world.post("/app/acme/msg", body).await?;
    assert_eq!((sent.0, &sent.1["tags"]), (StatusCode::ACCEPTED, &json!(["red", "big"])), "{}", sent.1);
    world.publish("a", "now").await?;
    world.receiver.wait_for(1).await;
    let found = world.get("/app/acme/msg?tag=big").await?.1;
    assert_eq!((&found["data"][0]["eventId"], found["data"].as_array().map(Vec::len)), (&json!("later"), Some(1)));
    assert_eq!(found["data"][0]["deliverAt"], sent.1["deliverAt"]);
    assert_eq!(world.get("/app/acme/msg/later/endpoint").await?.1["data"], json!([]), "nobody has it yet");
    let check = async |body: Value, part: &str| -> Result<(), Failed> {
        let answer = world.post("/app/acme/msg", body).await?;
        assert_eq!(answer.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.1);
        assert!(answer.1.to_string().contains(part), "{part}: {}", answer.1);
        Ok(())
    };
    let with = |field: &str, value: Value| json!({ "eventType": "a", "payload": {}, field: value });
    check(with("deliverAt", json!("2099-01-01T00:00:00Z")), "24 hours").await?;
    check(with("tags", json!(["a b"])), "tags").await?;
    check(with("payloadRetentionPeriod", json!(4)), "5 to 90").await?;
    check(with("payloadRetentionHours", json!(0)), "1 to 2160").await?;
    let both = json!({ "eventType": "a", "payload": {}, "payloadRetentionHours": 5, "payloadRetentionPeriod": 5 });
    check(both, "not both").await
}

#[tokio::test]
async fn a_payload_and_a_response_are_forgotten_when_somebody_asks() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    for n in 1..=3 {
        world.publish("a", &n.to_string()).await?;
    }
    let list = world.until("/app/acme/attempt/msg/1", |list| list["data"][0]["status"] == json!(0)).await?;
    let attempt = list["data"][0]["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(world.delete(&format!("/app/acme/msg/1/attempt/{attempt}/content")).await?, StatusCode::NO_CONTENT);
    assert_eq!(world.get(&format!("/app/acme/msg/1/attempt/{attempt}")).await?.1["response"], "EXPUNGED");
    assert_eq!(world.delete("/app/acme/msg/1/content").await?, StatusCode::NO_CONTENT);
    let shown = world.get("/app/acme/msg/1").await?.1;
    assert_eq!((&shown["payload"], &shown["eventType"]), (&json!({ "expired": true }), &json!("a")), "{shown}");
    let resent = world.send("POST", "/app/acme/msg/1/endpoint/hook/resend", String::new()).await?;
    assert_eq!((resent.0, &resent.1["code"]), (StatusCode::BAD_REQUEST, &json!("missing_payload")), "{}", resent.1);

    let several = world.post("/app/acme/msg/bulk-expunge", json!({ "ids": ["2", "none"] })).await?;
    let expected = json!({ "2": "expunged", "none": "not-found" });
    assert_eq!((several.0, &several.1["results"]), (StatusCode::OK, &expected), "{}", several.1);
    let all = world.send("POST", "/app/acme/msg/expunge-all-contents", String::new()).await?;
    assert_eq!((all.0, &all.1["task"]), (StatusCode::ACCEPTED, &json!("application.purge_content")), "{}", all.1);
    world.until("/app/acme/msg/3", |shown| shown["payload"] == json!({ "expired": true })).await?;
    assert_eq!(world.delete("/app/acme/msg/none/content").await?, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn an_application_says_how_long_payloads_are_kept() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let (name, hours) = (json!("Acme"), json!(48));
    let app = json!({ "uid": "acme", "name": name, "payloadRetentionHours": hours });
    let replaced = world.send("PUT", "/app/acme", app.to_string()).await?;
    assert_eq!((replaced.0, &replaced.1["payloadRetentionHours"]), (StatusCode::OK, &hours), "{}", replaced.1);
    let other = world.send("PATCH", "/app/acme", json!({ "name": "Acme Ltd" }).to_string()).await?;
    assert_eq!(other.1["payloadRetentionHours"], hours, "what is not named stays");
    let cleared = world.send("PATCH", "/app/acme", json!({ "payloadRetentionHours": null }).to_string()).await?;
    assert_eq!((cleared.0, cleared.1.get("payloadRetentionHours")), (StatusCode::OK, None));
    for wrong in [0, 2161] {
        let app = json!({ "name": name, "payloadRetentionHours": wrong });
        let refused = world.post("/app", app).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.1);
        assert!(refused.1.to_string().contains("1 to 2160"), "{}", refused.1);
    }
    Ok(())
}
