//! What tests of other servers for this API found.

use super::*;

/// The newest message was the place before a page that ended at an older time, so that going back found nothing.
#[tokio::test]
async fn a_page_before_a_time_leads_back_to_what_came_after() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    for n in 0..6 {
        world.publish("a", &n.to_string()).await?;
    }
    let all = world.until("/app/acme/attempt/endpoint/hook", |page| page["data"][5].is_object()).await?;
    for (path, name) in [("/app/acme/msg", "timestamp"), ("/app/acme/attempt/endpoint/hook", "timestamp")] {
        let all = if path == "/app/acme/msg" { world.get(path).await?.1 } else { all.clone() };
        let ids = |page: &Value| -> Vec<Value> {
            page["data"].as_array().into_iter().flatten().map(|one| one["id"].clone()).collect()
        };
        let all_ids = ids(&all);
        let time = all["data"][2][name].as_str().ok_or("a time")?.to_owned();
        let page = world.get(&format!("{path}?before={time}&limit=2")).await?.1;
        assert_eq!(ids(&page), all_ids[3..5], "{path}: {page}");
        let iterator = |name: &str| page[name].as_str().unwrap_or_default().to_owned();
        let newer = world.get(&format!("{path}?iterator={}", iterator("prevIterator"))).await?.1;
        assert_eq!(ids(&newer), all_ids[..3], "{path}: {newer}");
        let older = world.get(&format!("{path}?iterator={}", iterator("iterator"))).await?.1;
        assert_eq!(ids(&older), all_ids[5..], "{path}: {older}");
    }
    Ok(())
}

#[tokio::test]
async fn endpoints_made_at_once_are_listed_in_the_order_in_which_they_were_made() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let made: Vec<_> = (0..30).map(|n| format!("e{n}")).collect();
    for uid in &made {
        world.post("/app/acme/endpoint", json!({ "url": "http://127.0.0.1:9/", "uid": uid })).await?;
        world.post("/app", json!({ "name": uid, "uid": uid })).await?;
    }
    for path in ["/app/acme/endpoint?order=ascending&limit=250", "/app?limit=250"] {
        let listed = world.get(path).await?.1;
        let uids: Vec<_> = listed["data"].as_array().ok_or("a list")?.iter().map(|one| one["uid"].clone()).collect();
        assert_eq!(uids[1..], made, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_version_of_ones_own_is_kept() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let hook = "/app/acme/endpoint/hook";
    assert_eq!(world.get(hook).await?.1["version"], 1);
    assert_eq!(world.send("PATCH", hook, json!({ "version": 2 }).to_string()).await?.1["version"], 2);
    let put = world.send("PUT", hook, json!({ "url": "http://127.0.0.1:9/" }).to_string()).await?;
    assert_eq!(put.1["version"], 2);
    Ok(())
}

/// Clouds and proxies believe what such headers say.
#[tokio::test]
async fn headers_that_others_on_the_way_set_are_reserved() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    for name in ["x-svix-foo", "X-Amzn-Foo", "x-amz-date", "X-Goog-Foo", "x-gfe-a", "Svix-Id", "webhook-id", "Host"] {
        let body = json!({ "headers": { name: "1" } }).to_string();
        let refused = world.send("PUT", "/app/acme/endpoint/hook/headers", body).await?;
        assert_eq!((refused.0.as_u16(), &refused.1["detail"][0]["loc"][1]), (422, &json!("headers")), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn lists_of_event_types_and_of_their_schemas_say_what_was_said() -> Result<(), Failed> {
    let world = World::new().await?;
    for bad in ["BAD-$$$ITERATOR", "-BAD-$$$", ".."] {
        let refused = world.get(&format!("/event-type?limit=6&iterator={bad}")).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}: {}", refused.1);
    }
    world.post("/event-type", json!({ "name": "a", "description": "", "schemas": { "1": {} } })).await?;
    for (schemas, shown) in [(json!({}), json!({})), (Value::Null, Value::Null)] {
        let patched = world.send("PATCH", "/event-type/a", json!({ "schemas": schemas }).to_string()).await?;
        assert_eq!((&patched.1["schemas"], &world.get("/event-type/a").await?.1["schemas"]), (&shown, &shown));
    }
    Ok(())
}

/// Whoever writes a receiver for operators looks here.
#[tokio::test]
async fn operational_events_are_described_in_their_organisation() -> Result<(), Failed> {
    let world = World::new().await?;
    let token = world.key.issue_organisation(OrganisationId::MANAGEMENT, now())?;
    let listed = world.with(&token, "GET", "/event-type?limit=250", String::new()).await?.1;
    let names: Vec<_> = listed["data"].as_array().ok_or("a list")?.iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names.len(), postrider::OPERATIONAL_EVENT_TYPES.len());
    for name in postrider::OPERATIONAL_EVENT_TYPES {
        assert!(names.contains(&json!(name)), "{name}");
        let path = format!("/event-type/{name}/documentation");
        let shown = world.with(&token, "GET", &path, String::new()).await?.1;
        assert_eq!(shown["example"]["type"], name);
        assert!(shown["schemas"]["1"]["properties"]["data"]["properties"]["appId"].is_object(), "{shown}");
        assert!(shown["description"].as_str().is_some_and(|text| text.ends_with('.')), "{shown}");
    }
    let path = "/event-type/endpoint.created";
    let patched = world.with(&token, "PATCH", path, json!({ "description": "mine" }).to_string()).await?;
    assert_eq!(patched.1["description"], "mine", "{}", patched.1);
    world.with(&token, "DELETE", &format!("{path}?expunge=true"), String::new()).await?;
    assert_eq!(world.with(&token, "GET", path, String::new()).await?.1["description"], "An endpoint was created.");
    let unknown = json!({ "url": "http://127.0.0.1:9/", "eventTypes": ["endpoint.craeted"] });
    assert_eq!(world.post("/operational-webhook/endpoint", unknown).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

/// Pages that a filter emptied told to go on, a hundred times.
#[tokio::test]
async fn a_page_is_empty_only_at_the_end() -> Result<(), Failed> {
    let world = World::with_hook(&[400; 150], json!({ "retrySchedule": [] })).await?;
    world.publish("rare", "rare").await?;
    for n in 0..120 {
        let body = json!({ "eventType": "common", "payload": {}, "eventId": n.to_string(), "tags": ["t"] });
        world.post("/app/acme/msg", body).await?;
    }
    world.until("/app/acme/dead-letter?limit=250", |page| page["data"][120].is_object()).await?;
    for path in [
        "dead-letter?event_types=rare",
        "attempt/endpoint/hook?event_types=rare",
        "msg?event_types=rare",
        "endpoint/hook/msg?event_types=rare",
    ] {
        let page = world.get(&format!("/app/acme/{path}&limit=10")).await?.1;
        assert_eq!((page["data"].as_array().map(Vec::len), &page["done"]), (Some(1), &json!(true)), "{path}: {page}");
    }
    Ok(())
}

#[tokio::test]
async fn the_portals_address_is_whole() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let asked = |headers: &[(&str, &str)]| {
        let mut request = Request::builder().method("POST").uri("/api/v1/auth/app-portal-access/acme");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.header(header::AUTHORIZATION, format!("Bearer {}", world.token)).body(Body::empty())
    };
    let limits = RequestLimits { public_url: Some("https://hooks.example.com/pr/".into()), ..RequestLimits::default() };
    let public = limited_router(world.engine.clone(), world.key.clone(), limits);
    for (router, headers, origin) in [
        (&world.router, vec![("host", "a.example:8071")], "http://a.example:8071"),
        (&world.router, vec![("host", "a.example"), ("x-forwarded-proto", "https")], "https://a.example"),
        (&world.router, vec![("host", "evil@a.example")], "http://localhost"),
        (&public, vec![("host", "a.example")], "https://hooks.example.com/pr"),
    ] {
        let answer = router.clone().oneshot(asked(&headers)?).await?;
        let given: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 16).await?)?;
        let url = given["url"].as_str().unwrap_or_default();
        assert!(url.starts_with(&format!("{origin}/api/v1/app/app_")), "{url}");
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_explains_itself_and_a_url_is_shown_as_it_is_called() -> Result<(), Failed> {
    let replies = [Reply::With(302, "location", "https://example.com/moved"), Reply::Status(307)];
    let world = World::replying(replies).await?.and_hook(json!({ "retrySchedule": [] })).await?;
    for (event, words) in [
        ("1", "redirect to https://example.com/moved: redirects are not followed"),
        ("2", "redirect without a Location"),
    ] {
        world.publish("a", event).await?;
        let tried = world.until(&format!("/app/acme/attempt/msg/{event}"), |page| page["data"][0].is_object()).await?;
        let said = tried["data"][0]["response"].as_str().unwrap_or_default();
        assert!(said.contains(words), "{tried}");
    }
    let odd = json!({ "url": "http://127.0.0.1:9/x/../`y?z='1" });
    let made = world.post("/app/acme/endpoint", odd).await?.1;
    assert_eq!(made["url"], "http://127.0.0.1:9/%60y?z=%271");
    Ok(())
}
