//! What an organisation describes is taken to another one.

use super::*;

#[tokio::test]
async fn an_environment_is_taken_to_another_organisation() -> Result<(), Failed> {
    let world = World::new().await?;
    let schema = json!({ "1": { "type": "object" }, "2": { "type": "object", "required": ["id"] } });
    let paid = json!({ "name": "invoice.paid", "description": "Paid.", "schemas": schema, "groupName": "invoices" });
    world.post("/event-type", paid).await?;
    world.post("/event-type", json!({ "name": "old", "description": "Old.", "archived": true })).await?;
    let taken = world.send("POST", "/environment/export", String::new()).await?;
    assert_eq!(taken.0, StatusCode::OK, "{}", taken.1);
    let of = |part: &str| &taken.1[part];
    assert_eq!((of("version"), of("settings"), of("connectors")), (&json!(1), &Value::Null, &json!([])));
    assert!(times::read(of("createdAt").as_str().unwrap_or_default()).is_some());
    assert_eq!(of("eventTypes")[0]["schemas"], schema);

    let other = world.key.issue_organisation(OrganisationId::from_bytes([9; 20]), now())?;
    let known = json!({ "name": "invoice.paid", "description": "Of ours." }).to_string();
    world.with(&other, "POST", "/event-type", known).await?;
    world.with(&other, "POST", "/event-type", json!({ "name": "own", "description": "x" }).to_string()).await?;
    let brought = world.with(&other, "POST", "/environment/import", taken.1.to_string()).await?;
    assert_eq!(brought.0, StatusCode::NO_CONTENT, "{}", brought.1);
    let shown = world.with(&other, "POST", "/environment/export", String::new()).await?.1;
    let without_times = |environment: &Value| -> Vec<Value> {
        let mut all = environment["eventTypes"].as_array().cloned().unwrap_or_default();
        for time in ["createdAt", "updatedAt"] {
            all.iter_mut().filter_map(Value::as_object_mut).for_each(|one| drop(one.remove(time)));
        }
        all
    };
    let (theirs, ours) = (without_times(&shown), without_times(&taken.1));
    assert_eq!((theirs.len(), &theirs[..2]), (3, &ours[..]), "what is not named stays");
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_an_environment_is_told_by_its_place_and_nothing_is_changed() -> Result<(), Failed> {
    let world = World::new().await?;
    let good = json!({ "name": "good", "description": "x" });
    let check = async |body: Value, parts: &[&str]| -> Result<(), Failed> {
        let answer = world.post("/environment/import", body.clone()).await?;
        assert_eq!(answer.0, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", answer.1);
        for part in parts {
            assert!(answer.1.to_string().contains(part), "{part} in {}", answer.1);
        }
        assert_eq!(world.get("/event-type").await?.1["data"], json!([]));
        Ok(())
    };
    let with = |wrong: Value| json!({ "eventTypes": [good, wrong] });
    check(with(json!({ "description": "x" })), &[r#"["body","eventTypes","1","name"]"#]).await?;
    check(with(json!({ "name": "a b", "description": "x" })), &[r#"["body","eventTypes","1","name"]"#]).await?;
    check(with(json!({ "name": "a", "description": "x", "schemas": { "one": {} } })), &[r#""1","schemas"]"#]).await?;
    check(with(json!({ "name": "a", "description": "x", "schemas": { "1": { "type": 7 } } })), &[r#""1","schemas"]"#])
        .await?;
    check(with(good.clone()), &[r#"["body","eventTypes","1","name"]"#, "twice"]).await?;
    let two = json!([{ "name": "a b", "description": "x" }, good, { "name": "c d", "description": "x" }]);
    check(json!({ "eventTypes": two }), &[r#""0","name"]"#, r#""2","name"]"#]).await?;
    check(json!({ "eventTypes": [good], "settings": { "color": "red" } }), &["settings"]).await?;
    check(json!({ "eventTypes": [good], "connectors": [{}] }), &["connectors"]).await?;
    for nothing in [json!({}), json!({ "eventTypes": null, "settings": {}, "connectors": [] })] {
        assert_eq!(world.post("/environment/import", nothing).await?.0, StatusCode::NO_CONTENT);
    }
    Ok(())
}
