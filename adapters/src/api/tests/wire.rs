//! What every route has in common: methods, paths, health, other origins.

use super::*;

/// Row 143: a trailing slash in the server URL gave a bare 404 that told nothing.
#[tokio::test]
async fn a_path_may_end_in_a_slash_and_a_wrong_one_gets_json() -> Result<(), Failed> {
    let world = World::new().await?;
    assert_eq!(world.get("/app/").await?.0, StatusCode::OK);
    for wrong in ["/nothing", "//app", "/APP"] {
        let answer = world.get(wrong).await?;
        assert_eq!((answer.0, &answer.1["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_method_is_told_which_ones_there_are() -> Result<(), Failed> {
    let world = World::new().await?;
    for (method, path, expected) in [
        ("PATCH", "/api/v1/app", "GET,HEAD,POST"),
        ("PATCH", "/api/v1/app/", "GET,HEAD,POST"),
        ("POST", "/api/v1/app/acme", "DELETE,GET,HEAD,PATCH,PUT"),
        ("GET", "/api/v1/app/acme/msg/batch", "POST"),
        ("DELETE", "/api/v1/health", "GET,HEAD"),
        ("TRACE", "/api/v1/auth/app-portal-access/acme", "POST"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty())?;
        let response = world.router.clone().oneshot(request).await?;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        let mut allowed: Vec<_> = response.headers()[header::ALLOW].to_str()?.split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), expected, "{method} {path}");
        let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 1 << 10).await?)?;
        assert_eq!(body["code"], "method_not_allowed", "{method} {path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_query_that_does_not_decode_is_refused() -> Result<(), Failed> {
    let world = World::new().await?;
    assert_eq!(world.get("/app?unknown=%C3%A9&x").await?.0, StatusCode::OK);
    for query in ["limit=%", "iterator=%zz", "%ff=1"] {
        let refused = world.get(&format!("/app?{query}")).await?;
        assert_eq!((refused.0, &refused.1["code"]), (StatusCode::BAD_REQUEST, &json!("generic_error")), "{query}");
        assert!(refused.1["detail"].as_str().unwrap_or_default().contains("query string"), "{}", refused.1);
    }
    Ok(())
}

#[tokio::test]
async fn health_needs_no_token_and_browsers_may_call_from_anywhere() -> Result<(), Failed> {
    let world = World::new().await?;
    for (method, path, status) in
        [("GET", "health", 200), ("HEAD", "health", 200), ("GET", "health/ping", 204), ("HEAD", "health/ping", 204)]
    {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header(header::ORIGIN, "https://a.example");
        let response = world.router.clone().oneshot(request.body(Body::empty())?).await?;
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }
    let asks = Request::builder().method("OPTIONS").uri("/api/v1/app").header(header::ORIGIN, "https://a.example");
    let asks = asks.header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST").body(Body::empty())?;
    assert_eq!(world.router.clone().oneshot(asks).await?.status(), StatusCode::OK);
    let health = world.get("/health").await?.1;
    assert_eq!(health["database"]["status"], json!("Ok"));
    Ok(())
}

/// Row 137: a thing broke once it passed some size that nobody had written down.
#[tokio::test]
async fn what_is_too_large_is_refused_with_its_limit() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let large = "x".repeat(1 << 20);
    let url = "http://127.0.0.1:9/";
    for endpoint in [
        json!({ "url": url, "description": large }),
        json!({ "url": url, "metadata": { "k": large } }),
        json!({ "url": url, "eventTypes": (0..10_000).map(|n| format!("t{n}")).collect::<Vec<_>>() }),
    ] {
        let answer = world.post("/app/acme/endpoint", endpoint).await?;
        assert_eq!(answer.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.1);
        assert!(answer.1.to_string().len() < 1_000, "what was sent does not come back whole");
    }
    let body = json!({ "eventType": "a", "payload": { "k": "x".repeat(3 << 20) } });
    assert_eq!(world.post("/app/acme/msg", body).await?.0, StatusCode::PAYLOAD_TOO_LARGE);
    let body = json!({ "eventType": "a", "payload": { "k": "x".repeat(5 << 20) } });
    assert_eq!(world.post("/app/acme/msg", body).await?.0, StatusCode::PAYLOAD_TOO_LARGE);
    Ok(())
}

/// A form had three wrong fields, and told of one at a time.
#[tokio::test]
async fn every_wrong_field_of_a_body_is_told_at_once() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let locs = async |path: &str, body: &str| {
        let refused = world.send("POST", path, body.to_owned()).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", refused.1);
        let detail = refused.1["detail"].as_array().cloned().unwrap_or_default();
        for wrong in &detail {
            let message = wrong["msg"].as_str().unwrap_or_default();
            assert!(!message.is_empty() && !message.contains(" line "), "{wrong}");
            assert_eq!(wrong["type"], "value_error", "{wrong}");
        }
        Ok::<_, Failed>(Value::from(detail.iter().map(|wrong| wrong["loc"].clone()).collect::<Vec<_>>()))
    };
    let app = r#"{"name": 7, "uid": ["x"], "metadata": {"a": "1", "b": 2}, "throttleRate": 5}"#;
    assert_eq!(locs("/app", app).await?, json!([["body", "name"], ["body", "uid"], ["body", "metadata", "b"]]));
    assert_eq!(locs("/app", "{}").await?, json!([["body", "name"]]));
    let endpoint = r#"{"url": "http://127.0.0.1:9/", "channels": "x", "delivery": {"retrySchedule": [1, "2"]}}"#;
    let expected = json!([["body", "channels"], ["body", "delivery", "retrySchedule", "1"]]);
    assert_eq!(locs("/app/acme/endpoint", endpoint).await?, expected);
    let message = r#"{"eventType": 1, "payload": {"kept": 1.0}, "channels": [2], "eventId": "fine"}"#;
    assert_eq!(locs("/app/acme/msg", message).await?, json!([["body", "eventType"], ["body", "channels", "0"]]));
    for no_object in ["[]", r#"["Acme",null,null,{},null]"#, "7", "null"] {
        assert_eq!(locs("/app", no_object).await?, json!([["body"]]), "{no_object}");
    }
    Ok(())
}
