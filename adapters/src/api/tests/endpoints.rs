//! Endpoints and applications: parts changed, headers hidden.

use super::*;

#[tokio::test]
async fn a_patch_changes_what_it_names_and_null_clears() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({ "retrySchedule": [1, 2] })).await?;
    let hook = "/app/acme/endpoint/hook";
    let full = json!({ "description": "bills", "eventTypes": ["a.b"], "channels": ["c"], "throttleRate": 5,
        "metadata": { "k": "v" } });
    let changed = world.send("PATCH", hook, full.to_string()).await?;
    assert_eq!(changed.0, StatusCode::OK, "{}", changed.1);
    let shown = world.get(hook).await?.1;
    assert_eq!(shown, changed.1);
    for (field, value) in full.as_object().into_iter().flatten() {
        assert_eq!(&shown[field], value, "{field}");
    }
    assert_eq!(shown["delivery"]["retrySchedule"], json!([1.0, 2.0]), "what was not named stays");
    let cleared = json!({ "eventTypes": null, "channels": null, "throttleRate": null, "metadata": null, "uid": null });
    let shown = world.send("PATCH", hook, cleared.to_string()).await?.1;
    assert_eq!(
        (&shown["eventTypes"], &shown["channels"], &shown["metadata"]),
        (&Value::Null, &Value::Null, &json!({}))
    );
    assert_eq!((&shown["uid"], &shown["throttleRate"]), (&Value::Null, &Value::Null));
    let id = shown["id"].as_str().unwrap_or_default().to_owned();
    let off = world.send("PATCH", &format!("/app/acme/endpoint/{id}"), json!({ "disabled": true }).to_string()).await?;
    assert_eq!((off.1["disabled"].clone(), off.1["description"].clone()), (json!(true), json!("bills")));
    let wrong =
        world.send("PATCH", &format!("/app/acme/endpoint/{id}"), json!({ "eventTypes": [] }).to_string()).await?;
    assert_eq!(wrong.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

#[tokio::test]
async fn an_application_is_changed_in_parts() -> Result<(), Failed> {
    let world = World::new().await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme", "throttleRate": 7, "metadata": { "a": "b" } })).await?;
    let shown =
        world.send("PATCH", "/app/acme", json!({ "name": "Acme Ltd", "throttleRate": null }).to_string()).await?;
    assert_eq!((shown.0, &shown.1["name"]), (StatusCode::OK, &json!("Acme Ltd")), "{}", shown.1);
    assert_eq!((&shown.1["throttleRate"], &shown.1["metadata"]), (&Value::Null, &json!({ "a": "b" })));
    assert_eq!(world.send("PATCH", "/app/none", "{}".to_owned()).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

/// Row 32: sensitive headers were recognised in one casing only, and shown in others. Row 31: a bad header was accepted
/// on save and failed with every delivery.
#[tokio::test]
async fn headers_are_checked_when_saved_and_hidden_from_readers_in_every_case() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let path = "/app/acme/endpoint/hook/headers";
    let given = json!({ "headers": { "AUTHORIZATION": "Basic c2VjcmV0", "X-Api-Key": "hidden", "X-Team": "bills" } });
    assert_eq!(world.send("PUT", path, given.to_string()).await?.0, StatusCode::NO_CONTENT);
    let app = world.get("/app/acme").await?.1["id"].as_str().unwrap_or_default().parse()?;
    let portal = world.key.issue_application(app, OrganisationId::DEFAULT, now())?;
    for token in [&world.token, &portal] {
        let shown = world.with(token, "GET", path, String::new()).await?.1;
        assert_eq!(shown, json!({ "headers": { "X-Team": "bills" }, "sensitive": ["AUTHORIZATION", "X-Api-Key"] }));
    }
    let patch = json!({ "headers": { "x-team": "sales", "x-api-key": null } });
    assert_eq!(world.send("PATCH", path, patch.to_string()).await?.0, StatusCode::NO_CONTENT);
    let shown = world.get(path).await?.1;
    assert_eq!(shown, json!({ "headers": { "x-team": "sales" }, "sensitive": ["AUTHORIZATION"] }));
    world.publish("a", "1").await?;
    let sent = world.receiver.wait_for(1).await;
    assert_eq!(
        (&sent[0].headers["authorization"], &sent[0].headers["x-team"]),
        (&"Basic c2VjcmV0".parse()?, &"sales".parse()?)
    );
    for bad in [
        json!({ "X": "caf\u{e9}" }),
        json!({ "custom-header:": "x" }),
        json!({ "X": "  x" }),
        json!({ "Host": "x" }),
        json!({ "webhook-id": "x" }),
        json!({ "X": "1", "x": "2" }),
    ] {
        let refused = world.send("PUT", path, json!({ "headers": bad }).to_string()).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        assert_eq!(refused.1["detail"][0]["loc"], json!(["body", "headers"]), "{bad}");
    }
    Ok(())
}
