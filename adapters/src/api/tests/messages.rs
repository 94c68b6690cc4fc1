//! Messages of any content, alone and many at once.

use super::*;

/// Row 10: the signed body ended in a line break which one side dropped.
#[tokio::test]
async fn text_and_bytes_arrive_to_the_last_one_and_are_shown_as_they_were_given() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let texts = ["a\r\n", "b\n\n", "c ", "\n", "{\"json\": 1}\n"];
    for (n, text) in texts.into_iter().enumerate() {
        let body =
            json!({ "eventType": "t", "payloadText": text, "contentType": "text/plain", "eventId": format!("{n}") });
        let sent = world.post("/app/acme/msg", body).await?;
        assert_eq!((sent.0, &sent.1["payloadText"]), (StatusCode::ACCEPTED, &json!(text)), "{}", sent.1);
        let shown = world.get(&format!("/app/acme/msg/{n}")).await?.1;
        assert_eq!((&shown["payloadText"], &shown["contentType"]), (&json!(text), &json!("text/plain")));
        world.receiver.wait_for(n + 1).await;
    }
    let body =
        json!({ "eventType": "t", "payloadBase64": "AP8B", "contentType": "application/octet-stream", "eventId": "b" });
    assert_eq!(world.post("/app/acme/msg", body).await?.1["payloadBase64"], json!("AP8B"));
    let received = world.receiver.wait_for(texts.len() + 1).await;
    for (request, text) in received.iter().zip(texts) {
        assert_eq!((&request.body[..], &request.headers["content-type"]), (text.as_bytes(), &"text/plain".parse()?));
    }
    assert_eq!(&received[texts.len()].body[..], [0, 255, 1]);
    for wrong in [
        json!({ "eventType": "t" }),
        json!({ "eventType": "t", "payload": {}, "payloadText": "x" }),
        json!({ "eventType": "t", "payloadBase64": "%" }),
        json!({ "eventType": "t", "payload": {}, "transformationsParams": [null, null] }),
        json!({ "eventType": "t", "payloadText": "x", "contentType": "no type\n" }),
    ] {
        assert_eq!(world.post("/app/acme/msg", wrong.clone()).await?.0, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_more_urgent_goes_first() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({ "maxInFlight": 1 })).await?;
    world.post("/app/acme/endpoint/hook/pause", json!({})).await?;
    for (n, priority) in ["low", "normal", "high", "low", "high"].into_iter().enumerate() {
        let body =
            json!({ "eventType": "t", "payload": {}, "eventId": format!("{priority}-{n}"), "priority": priority });
        let sent = world.post("/app/acme/msg", body).await?;
        assert_eq!(sent.0, StatusCode::ACCEPTED, "{}", sent.1);
        let shown = world.get(&format!("/app/acme/msg/{priority}-{n}")).await?.1;
        let said = if priority == "normal" { json!(null) } else { json!(priority) };
        assert_eq!((&sent.1["priority"], &shown["priority"]), (&said, &said));
    }
    let list = json!([{ "eventType": "t", "payload": {}, "eventId": "high-5", "priority": "high" }]);
    assert_eq!(world.post("/app/acme/msg/batch", list).await?.0, StatusCode::ACCEPTED);
    world.post("/app/acme/endpoint/hook/resume", json!({})).await?;
    let received = world.receiver.wait_for(6).await;
    let mut order = Vec::new();
    for request in &received {
        let message = world.get(&format!("/app/acme/msg/{}", request.headers["webhook-id"].to_str()?)).await?.1;
        order.push(message["eventId"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(order, ["high-2", "high-4", "high-5", "normal-1", "low-0", "low-3"]);
    let wrong = json!({ "eventType": "t", "payload": {}, "priority": "urgent" });
    let refused = world.post("/app/acme/msg", wrong).await?;
    assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.1["detail"][0]["loc"], json!(["body", "priority"]), "{}", refused.1);
    Ok(())
}

#[tokio::test]
async fn many_messages_are_answered_in_their_order_each_on_its_own() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({ "ordering": "fifo" })).await?;
    let message = |n: usize| format!(r#"{{"eventType":"t","eventId":"e{n}","payload":{{"n":  {n}}}}}"#);
    let list = format!("[{},{{\"eventType\":\"t\"}},{},{}]", message(1), message(2), message(1));
    let answer = world.send("POST", "/app/acme/msg/batch", list).await?;
    assert_eq!(answer.0, StatusCode::ACCEPTED, "{}", answer.1);
    assert_eq!((&answer.1[0]["eventId"], &answer.1[2]["eventId"]), (&json!("e1"), &json!("e2")));
    assert_eq!((&answer.1[1]["status"], &answer.1[3]["status"]), (&json!(422), &json!(409)), "{}", answer.1);
    let received = world.receiver.wait_for(2).await;
    assert_eq!(received[0].body, r#"{"n":  1}"#.as_bytes(), "its bytes are its own");
    assert_eq!(received[1].headers["webhook-id"].to_str()?, answer.1[2]["id"]);

    let lines: Vec<_> = (3..=250).map(message).collect();
    let request = Request::builder().method("POST").uri("/api/v1/app/acme/msg/batch");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {}", world.token));
    let request =
        request.header(header::CONTENT_TYPE, "application/x-ndjson").body(Body::from(lines.join("\n") + "\n"))?;
    assert_eq!(world.router.clone().oneshot(request).await?.status(), StatusCode::ACCEPTED);
    let received = world.receiver.wait_for(250).await;
    assert_eq!(received[249].body, r#"{"n":  250}"#.as_bytes(), "in order");
    let too_many = format!("[{}]", vec!["{}"; 1001].join(","));
    assert_eq!(
        world.send("POST", "/app/acme/msg/batch", too_many).await?.0,
        StatusCode::UNPROCESSABLE_ENTITY,
        "row 137"
    );
    assert_eq!(world.send("POST", "/app/acme/msg/batch", "[]".to_owned()).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

#[tokio::test]
async fn a_message_brings_its_application_which_is_made_once_whoever_comes_first() -> Result<(), Failed> {
    let world = World::new().await?;
    let message = |event_id: &str, application: Value| {
        let (event_type, payload) = ("t", json!({}));
        json!({ "eventType": event_type, "eventId": event_id, "payload": payload, "application": application })
    };
    let acme = json!({ "name": "Acme", "uid": "acme", "metadata": { "plan": "pro" } });
    for (wrong, kind, place) in [
        (json!({ "name": "Acme" }), "application_uid_missing", "uid"),
        (json!({ "name": "Acme", "uid": "other" }), "application_uid_mismatch", "uid"),
        (json!({ "name": " ", "uid": "acme" }), "value_error", "name"),
    ] {
        for (path, body) in [
            ("/app/acme/msg", message("e", wrong.clone())),
            ("/auth/app-portal-access/acme", json!({ "application": wrong })),
        ] {
            let refused = world.post(path, body).await?;
            assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.1);
            let told = &refused.1["detail"][0];
            assert_eq!((&told["type"], &told["loc"]), (&json!(kind), &json!(["body", "application", place])));
        }
    }
    let no_event = json!({ "eventType": "no blanks", "payload": {}, "application": acme });
    assert_eq!(world.post("/app/acme/msg", no_event).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.post("/app/acme/msg", message("e", json!(null))).await?.0, StatusCode::NOT_FOUND);
    assert_eq!(world.get("/app").await?.1["data"], json!([]), "nothing is made for what is refused");

    let ids: Vec<_> = (0..20).map(|n| format!("e{n}")).collect();
    let send = |id: &String| {
        let body = message(id, acme.clone()).to_string();
        let (router, token) = (world.router.clone(), world.token.clone());
        tokio::spawn(async move {
            let request = Request::builder().method("POST").uri("/api/v1/app/acme/msg");
            let request = request.header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::from(body));
            router.oneshot(request.expect("it is one")).await.map(|answer| answer.status())
        })
    };
    for sent in ids.iter().map(send).collect::<Vec<_>>() {
        assert_eq!(sent.await??, StatusCode::ACCEPTED);
    }
    let made = world.get("/app").await?.1["data"].clone();
    assert_eq!((made.as_array().map(Vec::len), &made[0]["metadata"]["plan"]), (Some(1), &json!("pro")), "{made}");
    let messages = world.get("/app/acme/msg").await?.1["data"].clone();
    assert_eq!(messages.as_array().map(Vec::len), Some(20));

    // Whatever is said of one that exists is passed over.
    let other = json!({ "name": "Other", "uid": "other" });
    assert_eq!(world.post("/app/acme/msg", message("again", other)).await?.0, StatusCode::ACCEPTED);
    assert_eq!(world.get("/app/acme").await?.1["name"], "Acme");
    let app = made[0]["id"].as_str().unwrap_or_default().parse()?;
    let portal = world.key.issue_application(app, OrganisationId::DEFAULT, now())?;
    let own = world.with(&portal, "POST", "/app/acme/msg", message("own", acme).to_string()).await?;
    assert_eq!(own.0, StatusCode::FORBIDDEN);
    Ok(())
}
