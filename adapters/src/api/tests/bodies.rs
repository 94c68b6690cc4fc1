//! What bodies may hold: nulls, two names of one field, slips of the pen, and many mistakes at once.

use super::*;

/// An SDK sends `null` for whatever its caller leaves out, and `POST /app {"metadata": null}` was refused. Every field that
/// is not required may be null, in every body that there is, and says the same as if it were not there.
#[tokio::test]
async fn null_is_an_absent_field_in_every_body() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    world.publish("invoice.paid", "1").await?;
    world.post("/event-type", json!({ "name": "invoice.paid", "description": "" })).await?;
    world.post("/operational-webhook/endpoint", json!({ "url": "http://127.0.0.1:9/", "uid": "hook" })).await?;
    let document = world.under("", "GET", "/api/v1/openapi.json", Value::Null).await?.1;
    let mut bodies = 0;
    for (path, item) in document["paths"].as_object().ok_or("paths")? {
        for method in ["post", "put", "patch"] {
            let schema = &item[method]["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() || path.ends_with("/msg/batch") {
                continue;
            }
            let path = path.replace("{app_id}", "acme").replace("{endpoint_id}", "hook").replace("{msg_id}", "1");
            let path = path.replace("{event_type_name}", "invoice.paid");
            let mut with_nulls = Vec::new();
            let plain = required(&document, schema, &mut with_nulls, 0);
            for (field, body) in with_nulls {
                let plain = world.under("", &method.to_uppercase(), &path, plain.clone()).await?;
                let answer = world.under("", &method.to_uppercase(), &path, body.clone()).await?;
                assert_ne!(answer.0, StatusCode::UNPROCESSABLE_ENTITY, "{method} {path} {field}: {body} {}", answer.1);
                assert!(!answer.0.is_server_error(), "{method} {path} {field}: {}", answer.1);
                assert_ne!(plain.0, StatusCode::UNPROCESSABLE_ENTITY, "{method} {path}: {}", plain.1);
                bodies += 1;
            }
        }
    }
    assert!(bodies > 100, "only {bodies} bodies were tried");
    Ok(())
}

/// A body with all that is required, and such bodies each with one more field that is null.
fn required(document: &Value, schema: &Value, with_nulls: &mut Vec<(String, Value)>, depth: usize) -> Value {
    let schema = resolved(document, schema);
    let is_required = |name: &str| schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
    let properties = || schema["properties"].as_object().into_iter().flatten();
    let mut body = json!({});
    for (name, _) in properties().filter(|(name, _)| is_required(name)) {
        body[name] = sample(name);
    }
    for (name, part) in properties().filter(|(name, _)| !is_required(name)) {
        let mut with = |value: Value, field: String| {
            let mut whole = body.clone();
            // A message needs a payload of some kind.
            if whole.get("eventType").is_some()
                && properties().any(|(name, _)| name == "payloadText")
                && name != "payload"
            {
                whole["payload"] = json!({});
            }
            if name == "payload" {
                whole["payloadText"] = json!("text");
            }
            whole[name] = value;
            with_nulls.push((field, whole));
        };
        with(Value::Null, name.clone());
        let mut inner = Vec::new();
        if depth < 2 && !resolved(document, part)["properties"].is_null() {
            let plain = required(document, part, &mut inner, depth + 1);
            // What belongs to a path has its name.
            if name != "application" {
                with(plain, name.clone());
            }
        }
        for (field, mut value) in inner.into_iter().filter(|(field, _)| name != "application" || field != "uid") {
            // What is made with something else has the uid of the path.
            if name == "application" {
                value["uid"] = json!("acme");
            }
            with(value, format!("{name}.{field}"));
        }
    }
    if body.get("eventType").is_some() && properties().any(|(name, _)| name == "payloadText") {
        body["payload"] = json!({});
    }
    if properties().any(|(name, _)| name == "specRaw") {
        body["specRaw"] = json!("openapi: 3.1.0\nwebhooks: {}");
        for (_, whole) in with_nulls.iter_mut() {
            if whole["spec"].is_null() {
                whole["specRaw"] = json!("openapi: 3.1.0\nwebhooks: {}");
            }
        }
    }
    body
}

/// What stands behind references and choices with null.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    if let Some(place) = schema["$ref"].as_str() {
        return resolved(document, document.pointer(place.trim_start_matches('#')).unwrap_or(&Value::Null));
    }
    let choices = ["oneOf", "anyOf"].into_iter().find_map(|how| schema[how].as_array());
    match choices.into_iter().flatten().find(|choice| choice["type"] != "null") {
        Some(choice) => resolved(document, choice),
        None => schema,
    }
}

/// A value that will do under this name.
fn sample(name: &str) -> Value {
    match name {
        "url" => json!("http://127.0.0.1:9/"),
        "name" => json!("invoice.paid"),
        "uid" => json!("acme"),
        "eventType" | "type" => json!("svix.ping"),
        "since" => json!(times::written(now())),
        "until" => json!(times::written(now() + Duration::from_secs(1))),
        "headers" | "data" | "payload" => json!({}),
        _ => json!("text"),
    }
}

/// One letter too few, and order was lost without a word.
#[tokio::test]
async fn a_field_that_is_not_known_is_named_with_the_nearest_known_one() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let message = json!({ "eventType": "a", "payload": {}, "orderinKey": "x" });
    let endpoint = json!({ "url": "http://127.0.0.1:9/", "filtertypes": ["a"], "flavour": 1 });
    for (path, body, status, warnings) in [
        ("/app/acme/msg", message.clone(), 202, json!([["orderinKey", "orderingKey"]])),
        ("/app/acme/endpoint", endpoint, 201, json!([["filtertypes", "filterTypes"], ["flavour", null]])),
        ("/app/acme/msg", json!({ "eventType": "a", "payload": { "orderinKey": 1 } }), 202, json!([])),
        ("/app/acme/endpoint/hook/secret/rotate", json!({ "keyy": 1 }), 204, json!([])),
    ] {
        let (answer, headers) = world.answer("POST", path, &body).await?;
        assert_eq!(answer.0.as_u16(), status, "{}", answer.1);
        let told = answer.1["warnings"].as_array().into_iter().flatten();
        let told: Vec<_> = told.map(|warning| json!([warning["loc"][1], warning["nearest"]])).collect();
        assert_eq!(Value::from(told), warnings, "{body}");
        let header = headers.get_all(header::WARNING).iter().filter_map(|header| header.to_str().ok());
        let header: Vec<_> = header.collect();
        for name in body.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| name.contains("eyy")) {
            assert!(header.iter().any(|header| header.contains(name)), "{header:?}");
        }
        assert!(header.iter().all(|header| header.starts_with("299 - \"body.")), "{header:?}");
        assert!(header.len() >= warnings.as_array().map_or(0, Vec::len), "{header:?}");
    }
    let many = json!([{ "eventType": "a", "payload": {}, "tag": "x" }, { "eventType": "a", "payload": {} }]);
    let listed = world.post("/app/acme/msg/batch", many).await?.1;
    assert_eq!((&listed[0]["warnings"][0]["nearest"], &listed[1]["warnings"]), (&json!("tags"), &Value::Null));
    Ok(())
}

#[tokio::test]
async fn a_setting_refuses_fields_that_are_not_known() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let limits = RequestLimits { refuse_unknown_fields: true, ..RequestLimits::default() };
    let world = World { router: limited_router(world.engine.clone(), world.key.clone(), limits), ..world };
    let body =
        json!({ "eventType": "a", "payload": {}, "orderinKey": "x", "application": { "name": "n", "uuid": "acme" } });
    let refused = world.post("/app/acme/msg", body).await?;
    assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.1);
    let locs: Vec<_> = refused.1["detail"].as_array().into_iter().flatten().map(|wrong| wrong["loc"].clone()).collect();
    assert_eq!(Value::from(locs), json!([["body", "application", "uuid"], ["body", "orderinKey"]]));
    assert!(refused.1["detail"][1]["msg"].as_str().is_some_and(|text| text.contains("orderingKey")), "{}", refused.1);
    let many = json!([{ "eventType": "a", "payload": {}, "orderinKey": "x" }]);
    assert_eq!(world.post("/app/acme/msg/batch", many).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

/// Each of two names may be given, and both if they agree; what is given twice and differs is nobody's guess.
#[tokio::test]
async fn two_names_of_one_field_are_one() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let both = json!({ "name": "n", "rateLimit": 5, "throttleRate": 5 });
    let made = world.post("/app", both).await?;
    assert_eq!((made.0, &made.1["throttleRate"], &made.1["rateLimit"]), (StatusCode::CREATED, &json!(5), &json!(5)));
    let one = json!({ "name": "n", "rateLimit": 6, "throttleRate": null });
    assert_eq!(world.post("/app", one).await?.1["throttleRate"], 6);
    let two = json!({ "name": "n", "rateLimit": 5, "throttleRate": 6 });
    let refused = world.post("/app", two).await?;
    assert_eq!((refused.0.as_u16(), &refused.1["detail"][0]["loc"]), (422, &json!(["body", "throttleRate"])));
    let cleared = json!({ "rateLimit": null, "throttleRate": null });
    let hook = "/app/acme/endpoint/hook";
    assert_eq!(world.send("PATCH", hook, json!({ "throttleRate": 5 }).to_string()).await?.1["rateLimit"], 5);
    assert_eq!(world.send("PATCH", hook, cleared.to_string()).await?.1["throttleRate"], Value::Null);
    let twice = r#"{"name": "n", "uid": "twice", "name": "n"}"#;
    assert_eq!(world.send("POST", "/app", twice.to_owned()).await?.0, StatusCode::CREATED);
    let differs = r#"{"name": "n", "name": "m"}"#;
    assert_eq!(world.send("POST", "/app", differs.to_owned()).await?.1["detail"][0]["loc"], json!(["body", "name"]));
    Ok(())
}

/// A body of half a megabyte with forty thousand names that nobody knows took a thread for seventeen seconds, and one of four
/// megabytes for half an hour: each name was looked for among all before it.
#[tokio::test]
async fn an_object_has_a_bounded_number_of_fields() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let with = |fields: usize| {
        let mut message = json!({ "eventType": "a", "payload": { "a": 1 } });
        for n in 0..fields - 2 {
            message[format!("x{n}")] = json!(n);
        }
        message
    };
    assert_eq!(world.post("/app/acme/msg", with(1_000)).await?.0, StatusCode::ACCEPTED);
    let many = with(1_001);
    for (path, body) in [
        ("/app/acme/msg", many.clone()),
        ("/app/acme/msg/batch", json!([many])),
        ("/environment/import", json!({ "eventTypes": [many] })),
        ("/app/acme/msg", json!({ "eventType": "a", "payload": {}, "transformationsParams": many })),
    ] {
        let refused = world.post(path, body).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {}", refused.1);
        assert!(refused.1.to_string().contains("at most 1000 fields"), "{path}: {}", refused.1);
    }
    Ok(())
}

/// A new event type with three mistakes was told of one, without its place.
#[tokio::test]
async fn every_wrong_field_is_told_with_its_place_wherever_something_is_made() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let locs = async |path: &str, body: Value| {
        let refused = world.post(path, body.clone()).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", refused.1);
        let detail = refused.1["detail"].as_array().cloned().unwrap_or_default();
        let locs = detail.iter().map(|wrong| wrong["loc"].as_array().into_iter().flatten().skip(1).cloned().collect());
        Ok::<Value, Failed>(Value::Array(locs.map(Value::Array).collect()))
    };
    let event_type = json!({ "name": "a", "description": 5, "archived": "no", "featureFlags": [1] });
    let wrong = locs("/event-type", event_type.clone()).await?;
    assert_eq!(wrong, json!([["archived"], ["description"], ["featureFlags", "0"]]));
    let wrong =
        locs("/environment/import", json!({ "eventTypes": [{ "name": "b", "description": "" }, event_type] })).await?;
    assert_eq!(wrong[1], json!(["eventTypes", "1", "description"]));
    let message =
        json!({ "eventType": 1, "payload": {}, "application": { "name": 2, "metadata": { "a": 3, "b": 4 } } });
    let wrong = locs("/app/acme/msg", message).await?;
    let application = [["application", "metadata", "a"], ["application", "metadata", "b"]];
    assert!(wrong.as_array().is_some_and(|all| all.contains(&json!(["eventType"]))), "{wrong}");
    assert!(application.iter().all(|place| wrong.as_array().is_some_and(|all| all.contains(&json!(place)))), "{wrong}");
    let replay = json!({ "since": 1, "eventTypes": 2, "status": "x" });
    let wrong = locs("/app/acme/endpoint/hook/bulk-replay", replay).await?;
    assert_eq!(wrong, json!([["eventTypes"], ["since"], ["status"]]));
    assert_eq!(
        locs("/app/acme/endpoint", json!({ "url": "http://127.0.0.1:9/", "channels": [] })).await?,
        json!([["channels"]])
    );
    // Large bodies are not read for ever.
    let long = json!({ "url": 1, "eventTypes": (0..200_000).collect::<Vec<_>>() });
    assert_eq!(locs("/app/acme/endpoint", long).await?[0], json!(["eventTypes"]));
    Ok(())
}

#[tokio::test]
async fn an_empty_body_is_told_to_be_one() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let refused = world.send("POST", "/app/acme/dead-letter/redrive", String::new()).await?;
    assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.1["detail"][0]["msg"].as_str().is_some_and(|text| text.contains("is empty")), "{}", refused.1);
    Ok(())
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_accepted_fails() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let refused = world.post("/app/acme/msg/batch", json!([{ "eventType": "a" }, { "payload": {} }])).await?;
    assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.1);
    let locs: Vec<_> = refused.1["detail"].as_array().into_iter().flatten().map(|wrong| wrong["loc"].clone()).collect();
    assert_eq!(Value::from(locs), json!([["body", "0", "payload"], ["body", "1", "eventType"]]));
    Ok(())
}

/// `.` and `..` are steps in a path to every program that calls URLs: what was named so could not be called, and who deleted
/// it deleted what stood above.
#[tokio::test]
async fn no_name_is_a_step_in_a_path() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let url = "http://127.0.0.1:9/";
    for step in [".", ".."] {
        for (method, path, body) in [
            ("POST", "/app", json!({ "name": "n", "uid": step })),
            ("PATCH", "/app/acme", json!({ "uid": step })),
            ("POST", "/app/acme/endpoint", json!({ "url": url, "uid": step })),
            ("PATCH", "/app/acme/endpoint/hook", json!({ "uid": step })),
            ("POST", "/app/acme/endpoint", json!({ "url": url, "eventTypes": [step] })),
            ("POST", "/app/acme/msg", json!({ "eventType": "a", "payload": {}, "eventId": step })),
            ("POST", "/app/acme/msg", json!({ "eventType": step, "payload": {} })),
            ("POST", "/event-type", json!({ "name": step, "description": "" })),
            ("POST", "/operational-webhook/endpoint", json!({ "url": url, "uid": step })),
            ("PUT", &format!("/app/%2E{}", &step[1..]), json!({ "name": "n" })),
            ("PUT", &format!("/app/acme/endpoint/{step}"), json!({ "url": url })),
        ] {
            let refused = world.send(method, path, body.to_string()).await?;
            assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{method} {path} {body}: {}", refused.1);
        }
    }
    for tidied in ["/app/acme/", "/app/acme/endpoint/hook/"] {
        assert_eq!(world.delete(tidied).await?, StatusCode::NOT_FOUND, "{tidied}");
        assert_eq!(world.get(tidied).await?.0, StatusCode::OK, "{tidied}");
    }
    Ok(())
}
