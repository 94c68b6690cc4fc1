//! Which endpoints are in trouble: of one application by their status, of all by how they are doing.

use super::*;

/// Names of your own, in the order of the list.
fn uids<'v>(list: &'v Value, name: &str) -> Vec<&'v str> {
    list["data"].as_array().into_iter().flatten().filter_map(|item| item[name].as_str()).collect()
}

/// The filter was ignored: which of ten thousand endpoints are disabled, only all of them told.
#[tokio::test]
async fn endpoints_are_listed_by_their_status() -> Result<(), Failed> {
    let world = World::answering(&[500; 50]).await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    for uid in ["on-1", "off-1", "held", "off-2", "on-2", "owes"] {
        let proof = if uid == "owes" { "ping" } else { "none" };
        let hook =
            json!({ "url": "http://127.0.0.1:9/", "uid": uid, "disabled": uid.starts_with("off"), "proof": proof });
        let made = world.post("/app/acme/endpoint", hook).await?;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    }
    world.send("POST", "/app/acme/endpoint/held/pause", String::new()).await?;
    for (status, expected) in [
        ("active", ["on-1", "on-2"].as_slice()),
        ("disabled", &["off-1", "off-2"]),
        ("paused", &["held"]),
        ("unverified", &["owes"]),
    ] {
        let path = format!("/app/acme/endpoint?order=ascending&status={status}");
        let list = world.get(&path).await?.1;
        assert_eq!((uids(&list, "uid"), &list["done"]), (expected.to_vec(), &json!(true)), "{status}");
    }
    let first = world.get("/app/acme/endpoint?order=ascending&status=disabled&limit=1").await?.1;
    assert_eq!((uids(&first, "uid"), &first["done"]), (vec!["off-1"], &json!(false)));
    let next = first["iterator"].as_str().unwrap_or_default();
    let next =
        world.get(&format!("/app/acme/endpoint?order=ascending&status=disabled&limit=1&iterator={next}")).await?.1;
    assert_eq!((uids(&next, "uid"), &next["done"]), (vec!["off-2"], &json!(true)));
    for wrong in ["", "off", "Disabled", "breakerOpen"] {
        let refused = world.get(&format!("/app/acme/endpoint?status={wrong}")).await?;
        assert_eq!(
            (refused.0.as_u16(), &refused.1["detail"][0]["loc"]),
            (422, &json!(["query", "status"])),
            "{wrong:?}"
        );
    }
    Ok(())
}

/// A list for each application, and a request for the state of each endpoint: a thousand requests to find one in trouble.
#[tokio::test]
async fn endpoints_of_all_applications_are_listed_the_worst_first() -> Result<(), Failed> {
    let world = World::answering(&[&[410, 500][..], &[500; 50]].concat()).await?;
    for app in ["one", "two"] {
        world.post("/app", json!({ "name": app, "uid": app })).await?;
    }
    let make = async |app: &str, uid: &str, more: Value| -> Result<(), Failed> {
        let mut hook = json!({ "url": format!("http://127.0.0.1:9/{uid}"), "uid": uid, "eventTypes": [uid] });
        hook.as_object_mut().ok_or("object")?.extend(more.as_object().cloned().unwrap_or_default());
        let made = world.post(&format!("/app/{app}/endpoint"), hook).await?;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
        Ok(())
    };
    make("one", "well", json!({})).await?;
    make("two", "held", json!({})).await?;
    make("one", "off", json!({ "disabled": true })).await?;
    let breaker = json!({ "consecutiveFailures": 1, "cooldownSeconds": 3600, "maxCooldownSeconds": 3600 });
    make("two", "failing", json!({ "delivery": { "retrySchedule": [3600], "breaker": breaker } })).await?;
    make("one", "gone", json!({})).await?;
    world.send("POST", "/app/two/endpoint/held/pause", String::new()).await?;
    for (app, event_type, level) in [("one", "gone", "disabled"), ("two", "failing", "breakerOpen")] {
        let sent = world.post(&format!("/app/{app}/msg"), json!({ "eventType": event_type, "payload": {} })).await?;
        assert_eq!(sent.0, StatusCode::ACCEPTED, "{}", sent.1);
        world
            .until(&format!("/endpoint-health?status={level}"), |list| uids(list, "endpointUid") == [event_type])
            .await?;
    }
    make("two", "owes", json!({ "proof": "ping" })).await?;
    world.post("/app/two/msg", json!({ "eventType": "held", "payload": {} })).await?;

    let all = world.get("/endpoint-health").await?.1;
    let names = ["gone", "failing", "owes", "off", "held", "well"];
    assert_eq!((uids(&all, "endpointUid"), &all["done"]), (names.to_vec(), &json!(true)), "{all}");
    let levels = ["disabled", "breakerOpen", "unverified", "disabledByPerson", "paused", "active"];
    assert_eq!(uids(&all, "status"), levels);
    assert_eq!(uids(&all, "appUid"), ["one", "two", "two", "one", "two", "one"]);
    assert_eq!((&all["data"][4]["url"], &all["data"][5]["reason"]), (&json!("http://127.0.0.1:9/held"), &Value::Null));

    let (mut found, mut path) = (Vec::new(), "/endpoint-health?limit=4".to_owned());
    let last = loop {
        let page = world.get(&path).await?.1;
        found.extend(uids(&page, "endpointUid").into_iter().map(str::to_owned));
        if page["done"] == json!(true) {
            break page;
        }
        path = format!("/endpoint-health?limit=4&iterator={}", page["iterator"].as_str().unwrap_or_default());
    };
    assert_eq!(found, names);
    let back = format!("/endpoint-health?limit=3&iterator={}", last["prevIterator"].as_str().unwrap_or_default());
    let back = world.get(&back).await?.1;
    assert_eq!((uids(&back, "endpointUid"), &back["done"]), (names[1..4].to_vec(), &json!(false)));

    world.delete("/app/two/endpoint/failing").await?;
    assert!(uids(&world.get("/endpoint-health?status=breakerOpen").await?.1, "endpointUid").is_empty());
    for wrong in ["status=well", "status=", "iterator=well", "iterator=paused.x", "limit=0"] {
        assert_eq!(
            world.get(&format!("/endpoint-health?{wrong}")).await?.0,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{wrong}"
        );
    }
    let other = world.key.issue_organisation(OrganisationId::from_bytes([9; 20]), now())?;
    let others = world.with(&other, "GET", "/endpoint-health", String::new()).await?;
    assert_eq!((others.0, &others.1["data"]), (StatusCode::OK, &json!([])));
    let app = world.get("/app/one").await?.1["id"].as_str().unwrap_or_default().parse()?;
    let portal = world.key.issue_application(app, OrganisationId::DEFAULT, now())?;
    assert_eq!(world.with(&portal, "GET", "/endpoint-health", String::new()).await?.0, StatusCode::FORBIDDEN);
    Ok(())
}
