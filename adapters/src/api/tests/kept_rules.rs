//! Rules that the document tells, kept for requests that were made of it, right and wrong.

use super::*;

async fn status_of(world: &World, method: &str, path: &str, body: &Value) -> Result<u16, Failed> {
    Ok(world.send(method, path, body.to_string()).await?.0.as_u16())
}

#[tokio::test]
async fn a_key_that_is_good_for_nothing_is_refused_by_everything_that_may_have_one() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let long = "k".repeat(257);
    for (key, status) in [("k", 200), ("", 422), ("ä", 422), ("a\tb", 422), (&*long, 422)] {
        let request = Request::post("/api/v1/app/acme/endpoint/hook/pause").header("idempotency-key", key.as_bytes());
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", world.token)).body(Body::empty())?;
        let answer = world.router.clone().oneshot(request).await?;
        assert_eq!(answer.status().as_u16(), status, "{key:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_value_is_no_time_and_no_number() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    for (query, status) in [
        ("msg?before=", 422),
        ("msg?limit=", 422),
        ("endpoint?order=", 422),
        ("attempt/endpoint/hook?status_code_class=", 422),
        ("msg?iterator=", 200),
        // Both lie beyond what we can keep, and mean no more than the first and the last time.
        ("msg?after=0844-01-18T16:44:52Z&before=9999-12-31T23:59:59Z", 200),
    ] {
        let answer = world.get(&format!("/app/acme/{query}")).await?;
        assert_eq!(answer.0.as_u16(), status, "{query}: {}", answer.1);
    }
    Ok(())
}

#[tokio::test]
async fn null_asks_for_nothing_where_nothing_will_do() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    for (path, status) in [("/app/acme/endpoint/hook/secret/rotate", 204), ("/auth/app-portal-access/acme", 200)] {
        assert_eq!(status_of(&world, "POST", path, &Value::Null).await?, status, "{path}");
    }
    assert_eq!(status_of(&world, "POST", "/app", &Value::Null).await?, 422);
    Ok(())
}

#[tokio::test]
async fn an_id_that_nobody_has_is_nobodys_uid() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let app = "/app/app_2KWPBgLlAfxdpx2AI54pPJ85f4W";
    assert_eq!(status_of(&world, "PUT", app, &json!({ "name": "Acme" })).await?, 404);
    let hook = "/app/acme/endpoint/ep_2KWPBgLlAfxdpx2AI54pPJ85f4W";
    assert_eq!(status_of(&world, "PUT", hook, &json!({ "url": "http://127.0.0.1:9/" })).await?, 404);
    Ok(())
}

/// The application was there already, and so what else was said of it went unread.
#[tokio::test]
async fn what_is_not_needed_is_checked_all_the_same() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let path = "/auth/app-portal-access/acme";
    let wrong = json!({ "application": { "name": " ", "uid": "acme" } });
    assert_eq!(status_of(&world, "POST", path, &wrong).await?, 422);
    let both = json!({ "description": "", "featureFlag": "a", "featureFlags": ["b"] });
    assert_eq!(status_of(&world, "PUT", "/event-type/a", &both).await?, 422);
    let raw = json!({ "rawPayload": "x" });
    for body in [
        json!({ "eventType": "a", "transformationsParams": raw, "payloadText": "y" }),
        json!({ "eventType": "a", "transformationsParams": raw, "payload": { "y": 1 } }),
        json!({ "eventType": "a", "payload": {}, "application": { "name": " ", "uid": "acme" } }),
    ] {
        assert_eq!(status_of(&world, "POST", "/app/acme/msg", &body).await?, 422, "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn numbers_stay_within_what_clients_can_read() -> Result<(), Failed> {
    let world = World::new().await?;
    let breaker = |count: u64| json!({ "name": "a", "delivery": { "breaker": { "minAttempts": count } } });
    for (body, status) in [
        (json!({ "name": "a", "throttleRate": 65_535 }), 201),
        (json!({ "name": "a", "throttleRate": 65_536 }), 422),
        (breaker(2_147_483_647), 201),
        (breaker(2_147_483_648), 422),
    ] {
        assert_eq!(status_of(&world, "POST", "/app", &body).await?, status, "{body}");
    }
    let schema = json!({ "description": "", "schemas": { "1": false } });
    assert_eq!(status_of(&world, "PUT", "/event-type/a", &schema).await?, 422, "clients read objects");
    Ok(())
}

/// A name with an escape in it could not be borrowed, and so no field at all was told.
#[tokio::test]
async fn a_wrong_field_is_told_beside_a_name_with_an_escape() -> Result<(), Failed> {
    let world = World::new().await?;
    let refused = world.send("POST", "/app", r#"{"\u00e4\n": 1, "name": 7, "uid": 8}"#.to_owned()).await?;
    let places: Vec<_> = refused.1["detail"].as_array().into_iter().flatten().map(|wrong| &wrong["loc"]).collect();
    assert_eq!(places, [&json!(["body", "name"]), &json!(["body", "uid"])], "{}", refused.1);
    Ok(())
}
