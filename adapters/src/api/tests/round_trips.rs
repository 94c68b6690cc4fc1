//! What is shown can be sent back, and changes nothing.

use super::*;

/// The answer to a GET was refused as a PUT: it has two names of one field.
#[tokio::test]
async fn what_get_shows_put_takes_and_changes_nothing() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let app = json!({
        "name": "Full", "uid": "full", "throttleRate": 7, "metadata": { "a": "b" }, "schemaCheck": "warn",
        "payloadRetentionHours": 5, "delivery": { "maxInFlight": 3, "breaker": null, "retrySchedule": [0.1, 2.3] },
    });
    let endpoint = json!({
        "url": "http://127.0.0.1:9/x", "uid": "full", "description": "d", "eventTypes": ["a"], "channels": ["c"],
        "throttleRate": 9, "metadata": { "k": "v" }, "version": 3, "proof": "none", "disabled": true,
        "delivery": { "ordering": "perKey", "onExhausted": "hold", "disableAfterSeconds": 0, "timeoutSeconds": 1.7 },
        "headers": { "X-Open": "1", "Authorization": "Bearer secret" },
    });
    let mut operational = endpoint.clone();
    operational["eventTypes"] = json!(["endpoint.disabled"]);
    let event_type = json!({
        "name": "full", "description": "d", "featureFlag": "beta", "groupName": "g", "schemaCheck": "enforce",
        "schemas": { "1": { "type": "object" } }, "deprecated": true,
    });
    for (path, body) in [
        ("/app", app),
        ("/app/full/endpoint", endpoint),
        ("/app/full/endpoint", json!({ "url": "http://127.0.0.1:9/", "uid": "plain" })),
        ("/operational-webhook/endpoint", operational),
        ("/event-type", event_type),
        ("/event-type", json!({ "name": "plain", "description": "" })),
        ("/app", json!({ "name": "Plain", "uid": "plain" })),
    ] {
        let made = world.post(path, body).await?;
        assert_eq!(made.0, StatusCode::CREATED, "{path}: {}", made.1);
    }
    for path in [
        "/app/full",
        "/app/plain",
        "/app/full/endpoint/full",
        "/app/full/endpoint/plain",
        "/app/full/endpoint/full/headers",
        "/operational-webhook/endpoint/full",
        "/operational-webhook/endpoint/full/headers",
        "/event-type/full",
        "/event-type/plain",
    ] {
        let mut before = world.get(path).await?.1;
        let put = world.send("PUT", path, before.to_string()).await?;
        assert!(matches!(put.0, StatusCode::OK | StatusCode::NO_CONTENT), "{path}: {} of {before}", put.1);
        assert_eq!(put.1["warnings"], Value::Null, "{path}: {}", put.1);
        let mut after = world.get(path).await?.1;
        for shown in [&mut before, &mut after] {
            shown.as_object_mut().ok_or("an object")?.remove("updatedAt");
        }
        assert_eq!(before, after, "{path}");
    }
    Ok(())
}

/// Sent back, what an endpoint inherits became its own: a change of its application did not reach it any more.
#[tokio::test]
async fn an_endpoint_that_is_sent_back_inherits_as_before() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({ "maxInFlight": 2 })).await?;
    let hook = "/app/acme/endpoint/hook";
    let shown = world.get(hook).await?.1;
    assert_eq!(world.send("PUT", hook, shown.to_string()).await?.0, StatusCode::OK);
    let delivery =
        json!({ "delivery": { "timeoutSeconds": 3, "maxInFlight": 5, "retrySchedule": [1], "breaker": null } });
    assert_eq!(world.send("PATCH", "/app/acme", delivery.to_string()).await?.0, StatusCode::OK);
    // What is inherited is read when an endpoint is changed.
    let patched = world.send("PATCH", hook, json!({ "description": "x" }).to_string()).await?;
    let delivery = patched.1["delivery"].clone();
    assert_eq!((&delivery["timeoutSeconds"], &delivery["retrySchedule"]), (&json!(3.0), &json!([1.0])), "inherited");
    assert_eq!((&delivery["breaker"], &delivery["maxInFlight"]), (&Value::Null, &json!(2)), "{delivery}");
    Ok(())
}

#[tokio::test]
async fn an_environment_that_was_exported_is_imported() -> Result<(), Failed> {
    let world = World::new().await?;
    let full = json!({ "name": "full", "description": "d", "featureFlag": "beta", "schemas": { "1": {} } });
    world.post("/event-type", full).await?;
    world.post("/event-type", json!({ "name": "none", "description": "", "schemas": {} })).await?;
    let exported = world.post("/environment/export", json!({})).await?.1;
    let imported = world.post("/environment/import", exported.clone()).await?;
    assert_eq!(imported.0, StatusCode::NO_CONTENT, "{}", imported.1);
    let again = world.post("/environment/export", json!({})).await?.1;
    let types = |exported: &Value| {
        let mut types = exported["eventTypes"].clone();
        types.as_array_mut().into_iter().flatten().for_each(|one| one["updatedAt"] = Value::Null);
        types
    };
    assert_eq!(types(&again), types(&exported));
    Ok(())
}
