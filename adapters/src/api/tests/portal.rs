//! Tokens for an application's own people.

use super::*;
use crate::token::PairAlgorithm::EdDsa;

#[tokio::test]
async fn where_tokens_are_only_verified_the_portal_is_told_what_to_do() -> Result<(), Failed> {
    let public = include_str!("../../token/tests/ed_public.pem");
    let both = TokenKey::of_pair(EdDsa, public, include_str!("../../token/tests/ed_private.pem"))?;
    let engine = Engine::builder(MemoryStore::new(), ScriptedTransport::new([200_u16])).start().await?;
    let world = World {
        router: router(engine.clone(), TokenKey::of_public_key(EdDsa, public)?),
        engine,
        token: both.issue_organisation(OrganisationId::DEFAULT, now())?,
        key: both,
        receiver: ScriptedTransport::new([200_u16]),
    };
    let asked = json!({ "application": { "name": "Acme", "uid": "acme" } });
    let answer = world.post("/auth/app-portal-access/acme", asked).await?;
    assert_eq!((answer.0, &answer.1["code"]), (StatusCode::BAD_REQUEST, &json!("not_implemented")));
    assert!(answer.1["detail"].as_str().unwrap_or_default().contains("tokens.private_key_file"), "{}", answer.1);
    assert_eq!(world.get("/app/acme").await?.0, StatusCode::NOT_FOUND, "nothing is made for a token that is not given");
    Ok(())
}

#[tokio::test]
async fn tokens_of_an_application_stop_working_when_they_are_expired_also_after_a_restart() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let (world, engine) = World::over(&medium).await?;
    for uid in ["acme", "other"] {
        world.post("/app", json!({ "name": uid, "uid": uid })).await?;
    }
    let (old, others) = (world.portal("acme", Value::Null).await?, world.portal("other", Value::Null).await?);
    let later = world.post("/auth/app/acme/expire-all", json!({ "expiry": 3600 })).await?;
    assert_eq!(later.0, StatusCode::NO_CONTENT, "{}", later.1);
    assert_eq!(world.with(&old, "GET", "/app/acme", String::new()).await?.0, StatusCode::OK, "not yet");
    let newer = world.portal("acme", Value::Null).await?;
    assert_eq!(world.send("POST", "/auth/app/acme/expire-all", String::new()).await?.0, StatusCode::NO_CONTENT);
    // In the same second, and good all the same.
    let newest = world.portal("acme", Value::Null).await?;
    let check = async |world: &World| -> Result<(), Failed> {
        for (token, path, status) in [
            (&old, "/app/acme", StatusCode::UNAUTHORIZED),
            (&newer, "/app/acme", StatusCode::UNAUTHORIZED),
            (&newest, "/app/acme", StatusCode::OK),
            (&others, "/app/other", StatusCode::OK),
            (&world.token, "/app/acme", StatusCode::OK),
        ] {
            assert_eq!(world.with(token, "GET", path, String::new()).await?.0, status, "{path}");
        }
        Ok(())
    };
    check(&world).await?;
    engine.shutdown(Duration::from_secs(1)).await;
    let (world, _engine) = World::over(&medium).await?;
    check(&world).await?;

    assert_eq!(world.post("/auth/app/none/expire-all", json!({})).await?.0, StatusCode::NOT_FOUND);
    let own = world.with(&newest, "POST", "/auth/app/acme/expire-all", "{}".to_owned()).await?;
    assert_eq!(own.0, StatusCode::FORBIDDEN);
    let far = world.post("/auth/app/acme/expire-all", json!({ "expiry": 2_419_201 })).await?;
    assert_eq!(far.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", far.1);
    Ok(())
}

#[tokio::test]
async fn tokens_of_a_session_stop_working_alone_also_after_a_restart() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let (world, engine) = World::over(&medium).await?;
    for uid in ["acme", "other"] {
        world.post("/app", json!({ "name": uid, "uid": uid })).await?;
    }
    let of = |session: &str| json!({ "sessionId": session });
    let old = world.portal("acme", of("laptop")).await?;
    let (phone, none) = (world.portal("acme", of("phone")).await?, world.portal("acme", json!({})).await?);
    let others = world.portal("other", of("laptop")).await?;
    let later = json!({ "sessionIds": ["phone"], "expiry": 3600 });
    assert_eq!(world.post("/auth/app/acme/expire-all", later).await?.0, StatusCode::NO_CONTENT);
    let expired = world.post("/auth/app/acme/expire-all", json!({ "sessionIds": ["laptop", "unknown"] })).await?;
    assert_eq!(expired.0, StatusCode::NO_CONTENT, "{}", expired.1);
    // In the same second, and good all the same.
    let new = world.portal("acme", of("laptop")).await?;
    let check = async |world: &World, session: u16, rest: u16| -> Result<(), Failed> {
        for (token, path, status) in [
            (&old, "/app/acme", 401),
            (&new, "/app/acme", session),
            (&phone, "/app/acme", rest),
            (&none, "/app/acme", rest),
            (&others, "/app/other", 200),
        ] {
            assert_eq!(world.with(token, "GET", path, String::new()).await?.0.as_u16(), status, "{path}");
        }
        Ok(())
    };
    check(&world, 200, 200).await?;
    engine.shutdown(Duration::from_secs(1)).await;
    let (world, _engine) = World::over(&medium).await?;
    check(&world, 200, 200).await?;
    assert_eq!(world.post("/auth/app/acme/expire-all", json!({ "sessionIds": ["laptop"] })).await?.0.as_u16(), 204);
    check(&world, 401, 200).await?;
    // As the SDKs have it: none that are named are all that there are.
    assert_eq!(world.post("/auth/app/acme/expire-all", json!({ "sessionIds": [] })).await?.0.as_u16(), 204);
    check(&world, 401, 401).await?;

    for wrong in ["", "no blanks", &"x".repeat(257)] {
        let refused = world.post("/auth/app-portal-access/acme", of(wrong)).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        let refused = world.post("/auth/app/acme/expire-all", json!({ "sessionIds": ["a", wrong] })).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        assert!(refused.1.to_string().contains(r#"["body","sessionIds""#), "{}", refused.1);
    }
    let many: Vec<_> = (0..1_000).map(|n| format!("s{n}")).collect();
    let expired = world.post("/auth/app/acme/expire-all", json!({ "sessionIds": many })).await?;
    assert_eq!(expired.0, StatusCode::NO_CONTENT, "{}", expired.1);
    let refused = world.post("/auth/app/acme/expire-all", json!({ "sessionIds": ["more"] })).await?;
    assert_eq!((refused.0, &refused.1["code"]), (StatusCode::BAD_REQUEST, &json!("limit_reached")));
    assert!(refused.1.to_string().contains("expire all tokens of the application"), "{}", refused.1);
    Ok(())
}

#[tokio::test]
async fn a_restricted_token_may_do_what_it_names_and_nothing_else() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let other = json!({ "url": "http://127.0.0.1:9/", "uid": "other" });
    let hook = "/app/acme/endpoint/hook";
    world.publish("a", "sent").await?;
    let asks = [
        ("GET", hook.to_owned(), json!(null), "ViewBase"),
        ("GET", "/event-type".to_owned(), json!(null), "ViewBase"),
        ("HEAD", "/app/acme".to_owned(), json!(null), "ViewBase"),
        ("POST", "/app/acme/msg/precheck/active".to_owned(), json!({ "eventType": "a" }), "ViewBase"),
        ("GET", format!("{hook}/secret"), json!(null), "ViewEndpointSecret"),
        ("POST", format!("{hook}/secret/rotate"), json!({}), "ManageEndpointSecret"),
        ("POST", "/app/acme/msg/sent/endpoint/hook/resend".to_owned(), json!({}), "CreateAttempts"),
        ("POST", format!("{hook}/recover"), json!({ "since": "2020-01-01T00:00:00Z" }), "CreateAttempts"),
        ("POST", format!("{hook}/replay-missing"), json!({}), "CreateAttempts"),
        ("POST", format!("{hook}/bulk-replay"), json!({}), "CreateAttempts"),
        ("POST", "/app/acme/dead-letter/redrive".to_owned(), json!({}), "CreateAttempts"),
        ("POST", "/app/acme/dead-letter/x/redrive".to_owned(), json!({}), "CreateAttempts"),
        ("POST", format!("{hook}/pause"), json!({}), "ManageEndpoint"),
        ("POST", format!("{hook}/resume"), json!({}), "ManageEndpoint"),
        ("PATCH", hook.to_owned(), json!({ "description": "x" }), "ManageEndpoint"),
        ("PUT", format!("{hook}/headers"), json!({ "headers": {} }), "ManageEndpoint"),
        ("POST", "/app/acme/endpoint".to_owned(), other, "ManageEndpoint"),
        ("DELETE", "/app/acme/endpoint/other".to_owned(), json!(null), "ManageEndpoint"),
    ];
    let all = [
        "ViewBase",
        "ViewEndpointSecret",
        "ManageEndpointSecret",
        "ManageTransformations",
        "CreateAttempts",
        "ManageEndpoint",
    ];
    let is_let = async |token: &str, (method, path, body): (&str, &str, &Value)| -> Result<bool, Failed> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = world.with(token, method, path, body).await?;
        assert_ne!(answer.0, StatusCode::UNAUTHORIZED);
        Ok(answer.0 != StatusCode::FORBIDDEN)
    };
    for capability in all {
        let token = world.portal("acme", json!({ "capabilities": [capability] })).await?;
        let others: Vec<_> = all.iter().filter(|other| **other != capability).collect();
        let without = world.portal("acme", json!({ "capabilities": others })).await?;
        for (method, path, body, needed) in &asks {
            let ask = (*method, path.as_str(), body);
            assert_eq!(is_let(&token, ask).await?, *needed == capability, "{capability}: {method} {path}");
            assert_eq!(is_let(&without, ask).await?, *needed != capability, "all but {capability}: {method} {path}");
        }
    }
    let (reader, free) =
        (world.portal("acme", json!({ "readOnly": true })).await?, world.portal("acme", json!({})).await?);
    for (method, path, body, _) in &asks {
        let ask = (*method, path.as_str(), body);
        // A precheck only asks.
        let reads = ["GET", "HEAD"].contains(method) || path.ends_with("/precheck/active");
        assert_eq!(is_let(&reader, ask).await?, reads, "read only: {method} {path}");
        assert!(is_let(&free, ask).await?, "{method} {path}");
    }
    // Who may change a secret, and not see it, is not shown the new one, be it asked for by a client that reads it.
    for (capabilities, status) in
        [(json!(["ManageEndpointSecret"]), 204), (json!(["ManageEndpointSecret", "ViewEndpointSecret"]), 200)]
    {
        let token = world.portal("acme", json!({ "capabilities": capabilities })).await?;
        let request = Request::post(format!("/api/v1{hook}/secret/rotate"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::USER_AGENT, "svix-libs/2.9.1/python");
        let answer = world.router.clone().oneshot(request.body(Body::empty())?).await?;
        assert_eq!(answer.status().as_u16(), status, "{capabilities}");
        assert_eq!(to_bytes(answer.into_body(), 1 << 10).await?.is_empty(), status == 204, "{capabilities}");
    }
    // A secret that comes with something else.
    let manager = world.portal("acme", json!({ "capabilities": ["ViewBase", "ManageEndpoint"] })).await?;
    let secret = json!({ "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" });
    assert!(!is_let(&manager, ("PATCH", hook, &secret)).await?);
    assert!(is_let(&free, ("PATCH", hook, &secret)).await?);
    let wrong = world.post("/auth/app-portal-access/acme", json!({ "capabilities": ["ViewAll"] })).await?;
    assert_eq!(wrong.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.1.to_string().contains("ViewAll"), "{}", wrong.1);
    Ok(())
}

/// Whoever may do less must not be given what another one got with the same key.
#[tokio::test]
async fn two_tokens_of_one_application_that_may_do_different_things_share_no_answers() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let viewer = world.portal("acme", json!({ "capabilities": ["ViewBase"] })).await?;
    world.post("/event-type", json!({ "name": "beta", "description": "", "featureFlag": "beta" })).await?;
    let (free, flagged) =
        (world.portal("acme", json!({})).await?, world.portal("acme", json!({ "featureFlags": ["beta"] })).await?);
    for (token, status) in [(&flagged, 201), (&viewer, 403), (&free, 422)] {
        let request = Request::builder().method("POST").uri("/api/v1/app/acme/endpoint").header("idempotency-key", "k");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(Body::from(r#"{"url":"http://127.0.0.1:9/","eventTypes":["beta"]}"#))?;
        assert_eq!(world.router.clone().oneshot(request).await?.status().as_u16(), status);
    }
    Ok(())
}

#[tokio::test]
async fn a_portal_sees_event_types_with_a_flag_only_if_its_token_carries_it() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    for (name, flag) in
        [("a.open", json!(null)), ("b.beta", json!("beta")), ("c.eu", json!("eu")), ("d.open", json!(null))]
    {
        let made = world.post("/event-type", json!({ "name": name, "description": "", "featureFlag": flag })).await?;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    }
    let all = ["a.open", "b.beta", "c.eu", "d.open"];
    let none = world.portal("acme", Value::Null).await?;
    let beta = world.portal("acme", json!({ "featureFlags": ["beta", "other"] })).await?;
    for (token, seen) in [
        (&world.token, &all[..]),
        (&none, &["a.open", "d.open"]),
        (&beta, &["a.open", "b.beta", "d.open"]),
        (&world.portal("acme", json!({ "featureFlags": ["eu", "beta"] })).await?, &all[..]),
    ] {
        // A page is as long as was asked for, whatever was passed over.
        let page = world.with(token, "GET", "/event-type?limit=2", String::new()).await?.1;
        let rest = format!("/event-type?limit=2&iterator={}", page["iterator"].as_str().unwrap_or_default());
        let rest = world.with(token, "GET", &rest, String::new()).await?.1;
        let data = page["data"].as_array().into_iter().chain(rest["data"].as_array()).flatten();
        assert_eq!(data.map(|one| &one["name"]).collect::<Vec<_>>(), seen, "{page} {rest}");
        assert_eq!((&page["done"], &rest["done"]), (&json!(seen.len() == 2), &json!(true)));
        for name in all {
            let status = if seen.contains(&name) { 200 } else { 404 };
            for path in [format!("/event-type/{name}"), format!("/event-type/{name}/documentation")] {
                assert_eq!(world.with(token, "GET", &path, String::new()).await?.0.as_u16(), status, "{path}");
            }
        }
    }

    let hook = |types: &[&str]| json!({ "url": "http://127.0.0.1:9/", "eventTypes": types }).to_string();
    let endpoint = "/app/acme/endpoint";
    let unknown = world.with(&none, "POST", endpoint, hook(&["no.such"])).await?;
    let hidden = world.with(&none, "POST", endpoint, hook(&["a.open", "b.beta"])).await?;
    assert_eq!(hidden.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", hidden.1);
    assert_eq!(hidden.1.to_string().replace("b.beta", "no.such"), unknown.1.to_string(), "nothing tells them apart");
    for (method, path) in
        [("PUT", "/app/acme/endpoint/hook"), ("PATCH", "/app/acme/endpoint/hook"), ("PUT", "/app/acme/endpoint/new")]
    {
        let hidden = world.with(&none, method, path, hook(&["b.beta"])).await?;
        assert_eq!(hidden.0, StatusCode::UNPROCESSABLE_ENTITY, "{method} {path}: {}", hidden.1);
    }
    assert_eq!(world.with(&beta, "POST", endpoint, hook(&["b.beta"])).await?.0, StatusCode::CREATED);
    // By its id: a PUT without a uid clears that.
    let id = world.get("/app/acme/endpoint/hook").await?.1["id"].as_str().unwrap_or_default().to_owned();
    let of_hook = format!("{endpoint}/{id}");
    assert_eq!(world.send("PUT", &of_hook, hook(&["b.beta"])).await?.0, StatusCode::OK);
    // What its organisation asked for stays, and may be sent back.
    for (method, types, status) in
        [("PUT", &["b.beta", "a.open"][..], 200), ("PATCH", &["b.beta"], 200), ("PATCH", &["b.beta", "c.eu"], 422)]
    {
        let changed = world.with(&none, method, &of_hook, hook(types)).await?;
        assert_eq!(changed.0.as_u16(), status, "{method} {types:?}: {}", changed.1);
    }
    let many: Vec<_> = (0..=50).map(|n| format!("f{n}")).collect();
    for wrong in [json!(["no blanks"]), json!([""]), json!(many)] {
        let refused = world.post("/auth/app-portal-access/acme", json!({ "featureFlags": wrong })).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {}", refused.1);
    }
    Ok(())
}

impl World {
    /// A token for the people of an application.
    async fn portal(&self, app: &str, asked: Value) -> Result<String, Failed> {
        let body = if asked.is_null() { String::new() } else { asked.to_string() };
        let given = self.send("POST", &format!("/auth/app-portal-access/{app}"), body).await?;
        assert_eq!(given.0, StatusCode::OK, "{}", given.1);
        Ok(given.1["token"].as_str().unwrap_or_default().to_owned())
    }
}
