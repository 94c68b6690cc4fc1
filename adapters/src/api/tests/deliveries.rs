//! One delivery: how it stands, why it waits, called off; and the attempts of it.

use super::*;

#[tokio::test]
async fn a_delivery_tells_what_it_waits_for_and_can_be_called_off() -> Result<(), Failed> {
    let delivery = json!({ "ordering": "fifo", "retrySchedule": [600] });
    let world = World::with_hook(&[500], delivery).await?;
    let first = world.publish("a", "first").await?;
    world.publish("a", "second").await?;
    let path = "/app/acme/msg/first/endpoint/hook";
    let shown = world.until(path, |shown| shown["attempts"] == json!(1)).await?;
    assert_eq!((&shown["status"], &shown["statusText"]), (&json!(3), &json!("sending")), "{shown}");
    assert_eq!(shown["waiting"]["reason"], json!("retryAt"), "{shown}");
    assert_eq!(shown["nextAttempt"], shown["waiting"]["until"]);
    for (status, found) in [(1, 0), (2, 0), (3, 1)] {
        let listed = world.get(&format!("/app/acme/endpoint/hook/msg?status={status}")).await?.1;
        assert_eq!(listed["data"].as_array().map(Vec::len), Some(found), "{status}: {listed}");
    }
    assert_eq!(shown["lastAttempt"]["responseStatusCode"], json!(500));
    let behind = world.get("/app/acme/msg/second/endpoint/hook").await?.1;
    assert_eq!((&behind["waiting"]["reason"], &behind["waiting"]["behindMsgId"]), (&json!("behind"), &first["id"]));

    assert_eq!(world.delete(path).await?, StatusCode::NO_CONTENT);
    assert_eq!(world.delete(path).await?, StatusCode::CONFLICT, "there is nothing more to call off");
    let second = world.until("/app/acme/msg/second/endpoint/hook", |shown| shown["status"] == json!(0)).await?;
    assert_eq!(second["waiting"], Value::Null, "the lane went on");
    assert_eq!(world.get(path).await?.1["statusText"], json!("canceled"));
    Ok(())
}

/// Row 148: a message matching an active and an inactive endpoint showed a wrong status.
#[tokio::test]
async fn destinations_show_each_endpoint_as_it_stands() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let other = json!({ "url": "http://127.0.0.1:9/other", "uid": "other" });
    world.post("/app/acme/endpoint", other).await?;
    let picky = json!({ "url": "http://127.0.0.1:9/picky", "uid": "picky", "eventTypes": ["b"] });
    world.post("/app/acme/endpoint", picky).await?;
    world.send("POST", "/app/acme/endpoint/other/pause", String::new()).await?;
    world.publish("a", "1").await?;
    let path = "/app/acme/msg/1/endpoint";
    let of = |list: &Value, uid: &str| {
        let all = list["data"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|endpoint| endpoint["uid"] == json!(uid)).map(|endpoint| endpoint["status"].clone())
    };
    let list = world.until(path, |list| of(list, "hook") == Some(json!(0))).await?;
    assert_eq!((of(&list, "other"), of(&list, "picky")), (Some(json!(1)), None), "{list}");
    assert_eq!(list["done"], json!(true));
    Ok(())
}

#[tokio::test]
async fn an_attempt_is_found_by_its_id_and_by_the_older_paths() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    world.publish("a", "1").await?;
    let list = world.until("/app/acme/attempt/msg/1", |list| list["data"][0]["status"] == json!(0)).await?;
    let id = list["data"][0]["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(world.get(&format!("/app/acme/msg/1/attempt/{id}")).await?.1, list["data"][0]);
    assert_eq!(world.get("/app/acme/msg/1/attempt").await?.1, list);
    assert_eq!(world.get("/app/acme/msg/1/endpoint/hook/attempt").await?.1, list);
    assert_eq!(world.get("/app/acme/msg/1/attempt/atmpt_1").await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn what_was_tried_at_an_endpoint_is_listed_once_each_with_how_it_stands() -> Result<(), Failed> {
    let world = World::with_hook(&[500, 200, 404], json!({ "retrySchedule": [0.01], "breaker": null })).await?;
    world.publish("a", "1").await?;
    world.until("/app/acme/msg/1/endpoint/hook", |shown| shown["status"] == json!(0)).await?;
    world.send("PATCH", "/app/acme/endpoint/hook", json!({ "delivery": { "retrySchedule": [] } }).to_string()).await?;
    world.publish("b", "2").await?;
    world.until("/app/acme/msg/2/endpoint/hook", |shown| shown["status"] == json!(2)).await?;
    let list = world.get("/app/acme/endpoint/hook/msg").await?.1;
    let mut shown: Vec<_> =
        list["data"].as_array().into_iter().flatten().map(|item| (item["eventId"].as_str(), &item["status"])).collect();
    // Attempts of the same four milliseconds come in any order.
    shown.sort_by_key(|(id, _)| *id);
    assert_eq!(shown, [(Some("1"), &json!(0)), (Some("2"), &json!(2))], "{list}");
    assert_eq!(
        world.get("/app/acme/endpoint/hook/msg?status=2&event_types=b").await?.1["data"][0]["eventId"],
        json!("2")
    );
    assert_eq!(world.get("/app/acme/endpoint/hook/msg?event_types=x").await?.1["data"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_message_that_never_was_at_an_endpoint_says_why() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let picky = json!({ "url": "http://127.0.0.1:9/picky", "uid": "picky", "eventTypes": ["b"] });
    world.post("/app/acme/endpoint", picky).await?;
    let elsewhere = json!({ "url": "http://127.0.0.1:9/room", "uid": "room", "channels": ["room"] });
    world.post("/app/acme/endpoint", elsewhere).await?;
    world
        .post("/app/acme/endpoint", json!({ "url": "http://127.0.0.1:9/off", "uid": "off", "disabled": true }))
        .await?;
    world.publish("a", "1").await?;
    world.post("/app/acme/endpoint", json!({ "url": "http://127.0.0.1:9/late", "uid": "late" })).await?;
    for (endpoint, words) in
        [("picky", "eventTypes"), ("room", "channels"), ("off", "disabled"), ("late", "made after the message")]
    {
        let (status, told) = world.get(&format!("/app/acme/msg/1/endpoint/{endpoint}")).await?;
        assert_eq!((status.as_u16(), &told["code"]), (404, &json!("not_a_recipient")), "{endpoint}: {told}");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{endpoint}: {told}");
    }
    assert_eq!(world.get("/app/acme/msg/1/endpoint/none").await?.1["code"], json!("not_found"));
    Ok(())
}

/// A server without a name server showed that the receiver had asked to wait.
#[tokio::test]
async fn a_server_that_cannot_send_says_so_and_why() -> Result<(), Failed> {
    let replies = vec![Reply::NotSent("no name server answered"); 1_000];
    let world = World::replying(replies).await?.and_hook(json!({})).await?;
    world.publish("a", "1").await?;
    let state = world.until("/app/acme/endpoint/hook/state", |state| state["waiting"].is_object()).await?;
    assert_eq!(state["waiting"]["reason"], json!("couldNotSend"), "{state}");
    assert_eq!(state["waiting"]["detail"], json!("no name server answered"), "{state}");
    let shown = world.get("/app/acme/msg/1/endpoint/hook").await?.1;
    assert_eq!((&shown["waiting"]["reason"], &shown["attempts"]), (&json!("couldNotSend"), &json!(0)), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_deleted_endpoint_stays_among_those_of_a_message() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    world.publish("a", "1").await?;
    let path = "/app/acme/msg/1/endpoint";
    let before = world.until(path, |list| list["data"][0]["status"] == json!(0)).await?;
    assert_eq!(world.delete("/app/acme/endpoint/hook").await?, StatusCode::NO_CONTENT);
    let list = world.get(path).await?.1;
    let gone = &list["data"][0];
    assert_eq!((&gone["id"], &gone["status"]), (&before["data"][0]["id"], &json!(0)), "{list}");
    assert_eq!(gone["deleted"], json!(true));
    Ok(())
}

#[tokio::test]
async fn a_resend_to_a_paused_endpoint_waits_and_says_for_what() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    world.publish("a", "1").await?;
    let path = "/app/acme/msg/1/endpoint/hook";
    world.until(path, |shown| shown["status"] == json!(0)).await?;
    world.send("POST", "/app/acme/endpoint/hook/pause", String::new()).await?;
    world.send("POST", &format!("{path}/resend"), String::new()).await?;
    let state = world.get("/app/acme/endpoint/hook/state").await?.1;
    assert_eq!(state["queued"], json!(1), "{state}");
    assert_eq!(world.get(path).await?.1["waiting"]["reason"], json!("paused"));
    world.send("POST", "/app/acme/endpoint/hook/resume", String::new()).await?;
    world.until(path, |shown| shown["attempts"] == json!(2) && shown["waiting"] == Value::Null).await?;
    world.send("PATCH", "/app/acme/endpoint/hook", json!({ "disabled": true }).to_string()).await?;
    let (status, told) = world.post(&format!("{path}/resend"), json!({})).await?;
    assert_eq!(status, StatusCode::CONFLICT, "{told}");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("enable it first")), "{told}");
    Ok(())
}
