//! Event types: kept, listed, checked against, and shown.

use super::*;

const SCHEMA: &str = r#"{"type":"object","required":["id"],"properties":{"id":{"type":"integer","examples":[7]}}}"#;

async fn world() -> Result<World, Failed> {
    World::with_hook(&[], json!({})).await
}

fn described(name: &str, schema: &str, check: &str) -> Result<Value, Failed> {
    let schema: Value = serde_json::from_str(schema)?;
    Ok(json!({ "name": name, "description": "An invoice was paid.", "schemas": { "1": schema }, "schemaCheck": check }))
}

#[tokio::test]
async fn an_event_type_is_made_changed_archived_and_made_again() -> Result<(), Failed> {
    let world = world().await?;
    let made = world.post("/event-type", described("invoice.paid", SCHEMA, "off")?).await?;
    assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    assert_eq!(made.1["schemas"]["1"]["properties"]["id"]["type"], "integer");
    let taken = world.post("/event-type", described("invoice.paid", SCHEMA, "off")?).await?;
    assert_eq!((taken.0, &taken.1["code"]), (StatusCode::CONFLICT, &json!("event_type_exists")));
    let changed = world.send("PATCH", "/event-type/invoice.paid", json!({ "deprecated": true }).to_string()).await?;
    assert_eq!((changed.0, &changed.1["deprecated"]), (StatusCode::OK, &json!(true)), "{}", changed.1);
    assert_eq!(changed.1["description"], "An invoice was paid.");
    let put = world.send("PUT", "/event-type/invoice.sent", json!({ "description": "Sent." }).to_string()).await?;
    assert_eq!(put.0, StatusCode::CREATED, "{}", put.1);
    assert_eq!(world.delete("/event-type/invoice.paid").await?, StatusCode::NO_CONTENT);
    let names = async |query: &str| -> Result<Vec<Value>, Failed> {
        let page = world.get(&format!("/event-type{query}")).await?.1;
        Ok(page["data"].as_array().into_iter().flatten().map(|found| found["name"].clone()).collect())
    };
    assert_eq!(names("").await?, ["invoice.sent"]);
    assert_eq!(names("?include_archived=true").await?, ["invoice.paid", "invoice.sent"]);
    assert_eq!(names("?include_archived=true&iterator=invoice.paid").await?, ["invoice.sent"]);
    assert_eq!(names("?include_archived=true&iterator=-invoice.sent").await?, ["invoice.paid"]);
    let again = world.post("/event-type", described("invoice.paid", SCHEMA, "off")?).await?;
    assert_eq!((again.0, &again.1["archived"]), (StatusCode::CREATED, &json!(false)));
    assert_eq!(world.delete("/event-type/invoice.paid?expunge=true").await?, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/event-type/invoice.paid").await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn a_payload_is_held_against_the_schema_if_the_type_asks_for_it() -> Result<(), Failed> {
    let world = world().await?;
    let message = json!({ "eventType": "invoice.paid", "payload": { "id": "seven" } });
    for (check, status) in [("off", 202), ("warn", 202), ("enforce", 422)] {
        let mut body = described("invoice.paid", SCHEMA, check)?;
        body.as_object_mut().map(|fields| fields.remove("name"));
        world.send("PUT", "/event-type/invoice.paid", body.to_string()).await?;
        let sent = world.post("/app/acme/msg", message.clone()).await?;
        assert_eq!(sent.0.as_u16(), status, "{check}: {}", sent.1);
        match check {
            "off" => assert!(sent.1.get("schemaVersion").is_none(), "{}", sent.1),
            "warn" => assert_eq!(sent.1["schemaWarnings"][0]["path"], "/id", "{}", sent.1),
            _ => assert_eq!(sent.1["detail"][0]["loc"], json!(["body", "payload", "id"]), "{}", sent.1),
        }
    }
    let right = json!({ "eventType": "invoice.paid", "payload": { "id": 7 } });
    let sent = world.post("/app/acme/msg", right).await?;
    assert_eq!((sent.0, &sent.1["schemaVersion"]), (StatusCode::ACCEPTED, &json!(1)), "{}", sent.1);
    Ok(())
}

#[tokio::test]
async fn an_application_asks_for_what_its_types_do_not_say() -> Result<(), Failed> {
    let world = world().await?;
    let schema: Value = serde_json::from_str(SCHEMA)?;
    let body = json!({ "name": "invoice.paid", "description": "", "schemas": { "1": schema } });
    world.post("/event-type", body).await?;
    let message = json!({ "eventType": "invoice.paid", "payload": {} });
    for (check, status) in [(Value::Null, 202), (json!("enforce"), 422), (json!("off"), 202)] {
        let changed = world.send("PATCH", "/app/acme", json!({ "schemaCheck": check }).to_string()).await?;
        assert_eq!(changed.1.get("schemaCheck").cloned().unwrap_or_default(), check, "{}", changed.1);
        let sent = world.post("/app/acme/msg", message.clone()).await?;
        assert_eq!(sent.0.as_u16(), status, "{check}: {}", sent.1);
    }
    Ok(())
}

#[tokio::test]
async fn an_example_is_shown_and_sent() -> Result<(), Failed> {
    let world = world().await?;
    world.post("/event-type", described("invoice.paid", SCHEMA, "off")?).await?;
    let page = world.get("/event-type/invoice.paid/documentation").await?.1;
    assert_eq!(page["request"]["body"], r#"{"id":7}"#, "{page}");
    let example = world.post("/app/acme/endpoint/hook/send-example", json!({ "eventType": "invoice.paid" })).await?;
    assert_eq!((example.0, &example.1["payload"]), (StatusCode::OK, &json!({ "id": 7 })), "{}", example.1);
    assert_eq!(world.receiver.wait_for(1).await[0].body, br#"{"id":7}"#[..]);
    let listed = json!({ "type": "object", "examples": [{ "n": 1 }, { "n": 2 }] });
    world.post("/event-type", json!({ "name": "listed", "description": "", "schemas": { "1": listed } })).await?;
    let send = async |event_type: &str, index: Value| {
        let asked = json!({ "eventType": event_type, "exampleIndex": index });
        world.post("/app/acme/endpoint/hook/send-example", asked).await
    };
    for (index, n) in [(json!(0), 1), (json!(1), 2), (json!(null), 1)] {
        let sent = send("listed", index).await?;
        assert_eq!((sent.0, &sent.1["payload"]), (StatusCode::OK, &json!({ "n": n })), "{}", sent.1);
    }
    assert_eq!(send("svix.ping", json!(0)).await?.0, StatusCode::OK);
    for (event_type, index, part) in [
        ("listed", json!(2), "less than 2"),
        ("invoice.paid", json!(1), "less than 1"),
        ("svix.ping", json!(1), "less than 1"),
        ("listed", json!(-1), "exampleIndex"),
    ] {
        let refused = send(event_type, index).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{event_type}: {}", refused.1);
        assert!(refused.1.to_string().contains(part), "{event_type}: {}", refused.1);
    }
    world.post("/event-type", json!({ "name": "bare", "description": "" })).await?;
    let none = world.post("/app/acme/endpoint/hook/send-example", json!({ "eventType": "bare" })).await?;
    assert_eq!((none.0, &none.1["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_scheme")));
    Ok(())
}

#[tokio::test]
async fn a_payload_is_sent_byte_for_byte_in_place_of_an_example_and_is_held_against_the_schema() -> Result<(), Failed> {
    let world = world().await?;
    world.post("/event-type", described("invoice.paid", SCHEMA, "enforce")?).await?;
    world.post("/event-type", json!({ "name": "bare", "description": "" })).await?;
    let send = async |event_type: &str, payload: &str| {
        let body = format!(r#"{{"eventType":"{event_type}","payload":{payload},"exampleIndex":7}}"#);
        world.send("POST", "/app/acme/endpoint/hook/send-example", body).await
    };
    for (n, event_type) in ["invoice.paid", "bare", "svix.ping"].into_iter().enumerate() {
        let sent = send(event_type, r#"{ "id": 7,"x":1.50 }"#).await?;
        assert_eq!(sent.0, StatusCode::OK, "{event_type}: {}", sent.1);
        assert_eq!(world.receiver.wait_for(n + 1).await[n].body, br#"{ "id": 7,"x":1.50 }"#[..]);
    }
    for (event_type, payload, status) in
        [("invoice.paid", r#"{"id":"x"}"#, 422), ("bare", "[1]", 422), ("bare", r#""x""#, 422), ("none", "{}", 404)]
    {
        let refused = send(event_type, payload).await?;
        assert_eq!(refused.0.as_u16(), status, "{event_type} {payload}: {}", refused.1);
    }
    Ok(())
}

#[tokio::test]
async fn an_endpoint_asks_only_for_types_that_are_described_once_any_is() -> Result<(), Failed> {
    let world = world().await?;
    let hook = |name: &str| json!({ "url": "http://127.0.0.1:9/", "eventTypes": [name] });
    assert_eq!(world.post("/app/acme/endpoint", hook("anything")).await?.0, StatusCode::CREATED);
    world.post("/event-type", described("invoice.paid", SCHEMA, "off")?).await?;
    assert_eq!(world.post("/app/acme/endpoint", hook("invoice.paid")).await?.0, StatusCode::CREATED);
    let unknown = world.post("/app/acme/endpoint", hook("invoice.payed")).await?;
    assert_eq!(unknown.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", unknown.1);
    assert!(unknown.1.to_string().contains("invoice.payed"), "{}", unknown.1);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_an_event_type_is_told_where() -> Result<(), Failed> {
    let world = world().await?;
    let no_schema = r#"{"type":"objekt"}"#;
    for (body, part) in [
        (described("a b", SCHEMA, "off")?, r#"["body","name"]"#),
        (described("bad", no_schema, "off")?, r#"["body","schemas"]"#),
        (json!({ "name": "a", "description": "", "schemas": { "x": {} } }), "versions"),
        (json!({ "name": "a" }), "description"),
    ] {
        let answer = world.post("/event-type", body).await?;
        assert_eq!(answer.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.1);
        assert!(answer.1.to_string().contains(part), "{part}: {}", answer.1);
    }
    world.post("/event-type", json!({ "name": "known", "description": "" })).await?;
    for (wrong, field) in [
        (json!({ "schemas": { "x": {} } }), "schemas"),
        (json!({ "schemas": { "1": 5 } }), "schemas"),
        (json!({ "schemas": { "1": { "type": "objekt" } } }), "schemas"),
        (json!({ "featureFlag": "a", "featureFlags": ["b"] }), "featureFlags"),
        (json!({ "featureFlag": "no blanks" }), "featureFlag"),
        (json!({ "description": "x".repeat(4_097) }), "description"),
    ] {
        let mut whole = json!({ "name": "new", "description": "" });
        whole
            .as_object_mut()
            .into_iter()
            .for_each(|whole| whole.extend(wrong.as_object().cloned().unwrap_or_default()));
        for (method, path, body) in [
            ("POST", "/event-type", &whole),
            ("PUT", "/event-type/new", &whole),
            ("PATCH", "/event-type/known", &wrong),
        ] {
            let refused = world.send(method, path, body.to_string()).await?;
            let told = (refused.0.as_u16(), &refused.1["detail"][0]["loc"]);
            assert_eq!(told, (422, &json!(["body", field])), "{method} {wrong}: {}", refused.1);
        }
    }
    Ok(())
}
