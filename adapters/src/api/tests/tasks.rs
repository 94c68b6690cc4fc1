//! Long-running tasks: begun by replays, watched, listed, called off.

use super::*;

const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// An application whose second endpoint was made after three messages for the first.
async fn missed() -> Result<(World, Value), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let first = world.publish("a", "1").await?;
    world.publish("b", "2").await?;
    world.publish("a", "3").await?;
    world.receiver.wait_for(3).await;
    let late = json!({ "url": "http://127.0.0.1:9/late", "uid": "late", "delivery": { "ordering": "fifo" } });
    assert_eq!(world.post("/app/acme/endpoint", late).await?.0, StatusCode::CREATED);
    Ok((world, json!({ "since": first["timestamp"] })))
}

#[tokio::test]
async fn what_an_endpoint_missed_is_replayed_by_a_task_that_shows_how_far_it_is() -> Result<(), Failed> {
    let (world, since) = missed().await?;
    let begun = world.post("/app/acme/endpoint/late/replay-missing", since).await?;
    assert_eq!((begun.0, &begun.1["task"]), (StatusCode::ACCEPTED, &json!("endpoint.replay")), "{}", begun.1);
    let id = begun.1["id"].as_str().unwrap_or_default();
    let task = world.until(&format!("/background-task/{id}"), |task| task["status"] == "finished").await?;
    assert_eq!((&task["data"]["seen"], &task["data"]["done"]), (&json!(3), &json!(3)), "{task}");
    assert_eq!(task["data"]["messagesSent"], json!(3), "as Svix names it");
    let received = world.receiver.wait_for(6).await;
    let ids = |from: usize| received[from..from + 3].iter().map(|sent| sent.headers["webhook-id"].clone());
    assert!(ids(0).eq(ids(3)), "the same ids in the same order");
    let listed = world.get("/background-task?status=finished&task=endpoint.replay").await?.1;
    assert_eq!(listed["data"][0]["id"], id, "{listed}");
    assert_eq!(world.get("/background-task?status=failed").await?.1["data"], json!([]));
    let over = world.send("POST", &format!("/background-task/{id}/cancel"), String::new()).await?;
    assert_eq!(over.0, StatusCode::CONFLICT, "{}", over.1);
    Ok(())
}

#[tokio::test]
async fn a_bulk_replay_keeps_to_its_filter() -> Result<(), Failed> {
    let (world, since) = missed().await?;
    let mut filter = since.clone();
    filter["eventTypes"] = json!(["a"]);
    filter["status"] = json!(0);
    filter["statusCodeClass"] = json!(200);
    let begun = world.post("/app/acme/endpoint/hook/bulk-replay", filter).await?;
    assert_eq!((begun.0, &begun.1["task"]), (StatusCode::ACCEPTED, &json!("endpoint.bulk-replay")), "{}", begun.1);
    let id = begun.1["id"].as_str().unwrap_or_default();
    let task = world.until(&format!("/background-task/{id}"), |task| task["status"] == "finished").await?;
    assert_eq!((&task["data"]["seen"], &task["data"]["done"]), (&json!(2), &json!(2)), "{task}");
    world.receiver.wait_for(5).await;
    Ok(())
}

#[tokio::test]
async fn messages_are_counted_by_application_and_by_type() -> Result<(), Failed> {
    let (world, since) = missed().await?;
    world.post("/app", json!({ "name": "Idle", "uid": "idle" })).await?;
    let counts = async |begun: (StatusCode, Value)| -> Result<Value, Failed> {
        assert_eq!(begun.0, StatusCode::ACCEPTED, "{}", begun.1);
        let id = begun.1["id"].as_str().unwrap_or_default();
        let task = world.until(&format!("/background-task/{id}"), |task| task["status"] == "finished").await?;
        Ok(task["data"]["counts"].clone())
    };
    let id = async |uid: &str| -> Result<String, Failed> {
        Ok(world.get(&format!("/app/{uid}")).await?.1["id"].as_str().unwrap_or_default().to_owned())
    };
    let until = times::written(Timestamp::from_nanos(now().as_nanos() + 60_000_000_000));
    let since = times::written(
        times::read(since["since"].as_str().unwrap_or_default()).ok_or("a time")?.earlier_by(Duration::from_secs(1)),
    );
    let range = json!({ "since": since, "until": until });
    let by_application = counts(world.post("/stats/usage/app", range.clone()).await?).await?;
    assert_eq!(by_application, json!({ id("acme").await?: 3, id("idle").await?: 0 }));
    let mut named = range.clone();
    named["appIds"] = json!(["acme", "nobody"]);
    let begun = world.post("/stats/usage/app", named).await?;
    assert_eq!(begun.1["unresolvedAppIds"], json!(["nobody"]));
    assert_eq!(counts(begun).await?, json!({ id("acme").await?: 3 }));
    let by_type = counts(world.send("PUT", "/stats/usage/event-types", String::new()).await?).await?;
    assert_eq!(by_type, json!({ "a": 2, "b": 1 }));
    Ok(())
}

#[tokio::test]
async fn a_task_that_cannot_be_is_refused_in_words() -> Result<(), Failed> {
    let (world, since) = missed().await?;
    let path = "/app/acme/endpoint/late/replay-missing";
    let refused = async |path: &str, body: Value, part: &str| -> Result<(), Failed> {
        let answer = world.post(path, body).await?;
        assert!(answer.0.is_client_error() && answer.1.to_string().contains(part), "{}: {}", answer.0, answer.1);
        Ok(())
    };
    refused(path, json!({ "since": LONG_AGO }), "14 days").await?;
    refused(path, json!({ "since": since["since"], "until": LONG_AGO }), "before until").await?;
    refused(path, json!({}), "since").await?;
    refused("/app/acme/endpoint/none/replay-missing", since.clone(), "not_found").await?;
    let wrong = json!({ "since": since["since"], "status": 1 });
    refused("/app/acme/endpoint/hook/bulk-replay", wrong, "status").await?;
    assert_eq!(world.get("/background-task/qtask_1").await?.0, StatusCode::NOT_FOUND);
    Ok(())
}
