//! Dead letters: seen, redriven, forgotten; failures of a time range recovered.

use super::*;

const ONE_TRY: fn() -> Value = || json!({ "retrySchedule": [], "breaker": null });

async fn letters(world: &World, count: usize) -> Result<Vec<Value>, Failed> {
    let list =
        world.until("/app/acme/dead-letter", |list| list["data"].as_array().map(Vec::len) == Some(count)).await?;
    Ok(list["data"].as_array().cloned().unwrap_or_default())
}

/// Row 91: a 413 ended a delivery at once, and without a dead-letter store it was dropped.
#[tokio::test]
async fn what_is_given_up_is_kept_with_its_payload_and_can_be_redriven() -> Result<(), Failed> {
    let world = World::with_hook(&[413], ONE_TRY()).await?;
    let sent = world.publish("a.b", "1").await?;
    let letter = letters(&world, 1).await?.remove(0);
    assert_eq!((&letter["msgId"], &letter["eventType"]), (&sent["id"], &json!("a.b")), "{letter}");
    assert_eq!(
        (&letter["reason"], &letter["attempts"], &letter["lastStatusCode"]),
        (&json!("exhausted"), &json!(1), &json!(413))
    );
    let id = letter["id"].as_str().unwrap_or_default().to_owned();
    let whole = world.get(&format!("/app/acme/dead-letter/{id}")).await?.1;
    assert_eq!(whole["message"]["payload"], json!({ "of": "1" }), "{whole}");
    assert_eq!(whole["attemptList"][0]["responseStatusCode"], json!(413));

    let again = world.send("POST", &format!("/app/acme/dead-letter/{id}/redrive"), String::new()).await?;
    assert_eq!((again.0, &again.1["msgId"]), (StatusCode::ACCEPTED, &sent["id"]), "{}", again.1);
    let received = world.receiver.wait_for(2).await;
    assert_eq!(received[0].headers["webhook-id"], received[1].headers["webhook-id"], "row 17");
    assert_eq!(received[0].body, received[1].body, "row 15");
    assert!(letters(&world, 0).await?.is_empty());
    assert_eq!(world.get(&format!("/app/acme/dead-letter/{id}")).await?.0, StatusCode::NOT_FOUND);
    assert_eq!(world.get("/app/acme/dead-letter/nonsense").await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

/// The time of the first attempt was known only if it was the last one, too.
#[tokio::test]
async fn a_dead_letter_tells_when_the_first_attempt_of_its_life_was() -> Result<(), Failed> {
    let delivery = json!({ "retrySchedule": [0.01, 0.01], "breaker": null });
    let world = World::with_hook(&[500; 6], delivery).await?;
    world.publish("a", "1").await?;
    let mut before = String::new();
    for _life in 0..2 {
        let letter = letters(&world, 1).await?.remove(0);
        let id = letter["id"].as_str().unwrap_or_default().to_owned();
        let whole = world.get(&format!("/app/acme/dead-letter/{id}")).await?.1;
        let attempts = whole["attemptList"].as_array().cloned().unwrap_or_default();
        assert_eq!((&letter["attempts"], attempts.len()), (&json!(3), 3), "{whole}");
        let first = attempts.iter().filter_map(|attempt| attempt["timestamp"].as_str()).min().ok_or("attempts")?;
        assert_eq!(letter["firstAttemptAt"].as_str(), Some(first), "{whole}");
        assert!(*before < *first, "of this life, and not of the one before");
        before = first.to_owned();
        let again = world.send("POST", &format!("/app/acme/dead-letter/{id}/redrive"), String::new()).await?;
        assert_eq!(again.0, StatusCode::ACCEPTED, "{}", again.1);
        world.receiver.wait_for(6).await;
    }
    Ok(())
}

#[tokio::test]
async fn many_are_counted_first_then_redriven_or_forgotten() -> Result<(), Failed> {
    let world = World::with_hook(&[500; 4], ONE_TRY()).await?;
    for (n, event_type) in ["a", "a", "b", "b"].into_iter().enumerate() {
        world.publish(event_type, &n.to_string()).await?;
    }
    letters(&world, 4).await?;
    let of_a = world.get("/app/acme/dead-letter?event_types=a&endpoint_id=hook").await?.1;
    assert_eq!(of_a["data"].as_array().map(Vec::len), Some(2));
    let dry = json!({ "eventTypes": ["a"], "dryRun": true });
    let counted = world.post("/app/acme/dead-letter/redrive", dry).await?;
    assert_eq!((counted.0, &counted.1["matched"]), (StatusCode::ACCEPTED, &json!(2)));
    letters(&world, 4).await?;
    let done =
        world.post("/app/acme/dead-letter/redrive", json!({ "endpointId": "hook", "eventTypes": ["a"] })).await?;
    assert_eq!(done.1["matched"], json!(2));
    world.receiver.wait_for(6).await;
    let left = letters(&world, 2).await?;
    let id = left[0]["id"].as_str().unwrap_or_default();
    assert_eq!(world.delete(&format!("/app/acme/dead-letter/{id}")).await?, StatusCode::NO_CONTENT);
    assert_eq!(world.post("/app/acme/dead-letter/purge", json!({})).await?.1["matched"], json!(1));
    letters(&world, 0).await?;
    let wrong = world.post("/app/acme/dead-letter/purge", json!({ "endpoint": "hook" })).await?;
    assert_eq!(wrong.0, StatusCode::UNPROCESSABLE_ENTITY, "a filter that is not understood must not match all");
    Ok(())
}

/// Row 156: `until` of recover was ignored.
#[tokio::test]
async fn recover_sends_again_what_failed_in_its_time_once_each_and_in_order() -> Result<(), Failed> {
    let world =
        World::with_hook(&[500; 3], json!({ "retrySchedule": [], "breaker": null, "ordering": "fifo" })).await?;
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(world.publish("a", &n.to_string()).await?["id"].clone());
        letters(&world, n).await?;
    }
    let all = letters(&world, 3).await?;
    let died = |id: &Value| {
        let letter = all.iter().find(|letter| letter["msgId"] == *id);
        letter.map(|letter| letter["deadAt"].clone()).unwrap_or_default()
    };
    let range = json!({ "since": died(&ids[0]), "until": died(&ids[2]) });
    for _ in 0..2 {
        let task = world.post("/app/acme/endpoint/hook/recover", range.clone()).await?;
        assert_eq!((task.0, &task.1["task"]), (StatusCode::ACCEPTED, &json!("endpoint.recover")), "{}", task.1);
        assert!(task.1["id"].as_str().is_some_and(|id| id.starts_with("qtask_")));
    }
    let received = world.receiver.wait_for(5).await;
    let names: Vec<_> = received.iter().map(|sent| sent.headers["webhook-id"].to_str().unwrap_or_default()).collect();
    assert_eq!(names[3..], [ids[0].as_str().unwrap_or_default(), ids[1].as_str().unwrap_or_default()]);
    letters(&world, 1).await?;
    for wrong in [json!({}), json!({ "since": "then" }), json!({ "since": "2020-01-01T00:00:00Z" })] {
        let refused = world.post("/app/acme/endpoint/hook/recover", wrong.clone()).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn a_full_queue_makes_a_dead_letter_or_refuses_as_its_endpoint_says() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({ "maxQueued": 2 })).await?;
    world.send("POST", "/app/acme/endpoint/hook/pause", String::new()).await?;
    for n in 0..3 {
        world.publish("a", &n.to_string()).await?;
    }
    let letter = letters(&world, 1).await?.remove(0);
    assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("queueFull"), &json!(0)), "{letter}");
    let id = letter["id"].as_str().unwrap_or_default().to_owned();
    let refused = world.send("POST", &format!("/app/acme/dead-letter/{id}/redrive"), String::new()).await?;
    assert_eq!(refused.0, StatusCode::CONFLICT, "there is still no room: {}", refused.1);

    let strict = json!({ "delivery": { "maxQueued": 2, "whenFull": "refuse" } });
    let changed = world.send("PATCH", "/app/acme/endpoint/hook", strict.to_string()).await?;
    assert_eq!(changed.1["delivery"]["whenFull"], json!("refuse"), "{}", changed.1);
    let body = json!({ "eventType": "a", "payload": {} });
    let refused = world.post("/app/acme/msg", body).await?;
    assert_eq!((refused.0, &refused.1["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("queue_full")), "{}", refused.1);
    world.send("POST", "/app/acme/endpoint/hook/resume", String::new()).await?;
    world.receiver.wait_for(2).await;
    Ok(())
}
