//! Endpoints whose receivers have something to prove.

use super::*;

#[tokio::test]
async fn an_endpoint_says_what_it_waits_for_until_its_receiver_proves_it() -> Result<(), Failed> {
    let world = World::answering(&[500]).await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let hook = json!({ "url": "http://127.0.0.1:9/hook", "uid": "hook", "proof": "ping" });
    let made = world.post("/app/acme/endpoint", hook).await?;
    assert_eq!((made.0, &made.1["proof"]), (StatusCode::CREATED, &json!("ping")), "{}", made.1);
    let sent = world.publish("a", "1").await?;
    let state =
        world.until("/app/acme/endpoint/hook/state", |state| state["reason"].to_string().contains("500")).await?;
    assert_eq!(
        (&state["status"], &state["waiting"]["reason"]),
        (&json!("unverified"), &json!("unverified")),
        "{state}"
    );
    let delivery = world.get("/app/acme/msg/1/endpoint/hook").await?.1;
    assert_eq!(delivery["waiting"]["reason"], "unverified", "{delivery}");
    // It is asked again, answers well, and gets what waited.
    let received = world.receiver.wait_for(3).await;
    assert_eq!(received[2].headers["webhook-id"].to_str()?, sent["id"].as_str().unwrap_or_default());
    let shown = world.until("/app/acme/endpoint/hook/state", |state| state["status"] == "active").await?;
    assert_eq!(shown["reason"], Value::Null);
    let wrong = json!({ "url": "http://127.0.0.1:9/hook", "proof": "oath" });
    assert_eq!(world.post("/app/acme/endpoint", wrong).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

/// What a stranger gets who asks so, and how it begins.
async fn stranger(world: &World, method: &str, path: &str, rate: Option<&str>) -> Result<(StatusCode, String), Failed> {
    let request = Request::builder().method(method).uri(path).header("idempotency-key", "one");
    let request = rate.into_iter().fold(request, |request, rate| request.header("WebHook-Allowed-Rate", rate));
    let answer = world.router.clone().oneshot(request.body(Body::empty())?).await?;
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 20).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[tokio::test]
async fn a_receiver_grants_by_callback_without_a_token_of_the_api() -> Result<(), Failed> {
    for method in ["GET", "POST"] {
        let world = World::new().await?;
        world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
        let hook = json!({ "url": "http://127.0.0.1:9/hook", "uid": "hook", "proof": "cloudEvents" });
        world.post("/app/acme/endpoint", hook).await?;
        let asked = world.receiver.wait_for(1).await;
        let address = asked[0].headers["webhook-request-callback"].to_str()?;
        let path = address.strip_prefix("https://hooks.example.com").ok_or("it is below ours")?;
        let other = if path.ends_with('A') { 'B' } else { 'A' };
        let guess = format!("{}{other}", &path[..path.len() - 1]);
        for unknown in [&guess, &format!("{GRANT_PATH}guess")] {
            for asks in ["GET", "POST", "HEAD"] {
                let (status, body) = stranger(&world, asks, unknown, Some("wrong")).await?;
                assert_eq!(status, StatusCode::NOT_FOUND, "{asks} {unknown}: {body}");
            }
        }
        assert_eq!(stranger(&world, "HEAD", path, None).await?.0, StatusCode::OK);
        let (status, body) = stranger(&world, method, path, Some("many")).await?;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(world.get("/app/acme/endpoint/hook/state").await?.1["status"], "unverified", "{method}");
        for _ in 0..2 {
            let (status, body) = stranger(&world, method, path, Some("120")).await?;
            assert_eq!((status, &*body), (StatusCode::OK, "{\"granted\":true}"), "{method}");
        }
        assert_eq!(world.get("/app/acme/endpoint/hook/state").await?.1["status"], "active", "{method}");
    }
    Ok(())
}
