//! What one application may take of what all share.

use std::num::{NonZeroU32, NonZeroUsize};

use super::*;

impl World {
    pub(super) async fn limited(limits: RequestLimits, pending: Option<NonZeroUsize>) -> Result<Self, Failed> {
        let receiver = ScriptedTransport::new(std::iter::repeat_n(500_u16, 9));
        let builder = Engine::builder(MemoryStore::new(), receiver.clone()).targets(TargetRules::dev());
        let builder = builder.limits(|limits| limits.pending_deliveries_per_application = pending);
        let key = TokenKey::for_development("a secret for tests, and for nothing else")?;
        let token = key.issue_organisation(OrganisationId::DEFAULT, now())?;
        let engine = builder.start().await?;
        let router = limited_router(engine.clone(), key.clone(), limits);
        Ok(Self { engine, router, key, token, receiver })
    }

    async fn ask_for(&self, token: &str, path: &str) -> Result<(u16, Option<String>, Value), Failed> {
        let request = Request::builder().uri(format!("/api/v1{path}"));
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty())?;
        let answer = self.router.clone().oneshot(request).await?;
        let wait =
            answer.headers().get(header::RETRY_AFTER).map(|wait| wait.to_str().map(str::to_owned)).transpose()?;
        let status = answer.status().as_u16();
        Ok((status, wait, serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await?)?))
    }
}

#[tokio::test]
async fn a_body_has_the_size_that_the_limits_say() -> Result<(), Failed> {
    let limits = RequestLimits { body_bytes: 1_000, batch_bytes: 3_000, ..RequestLimits::default() };
    let world = World::limited(limits, None).await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let message = |bytes: usize| json!({ "eventType": "t", "payload": { "x": "x".repeat(bytes) } });
    for (path, body, status) in [
        ("/app/acme/msg", message(900), 202),
        ("/app/acme/msg", message(1_000), 413),
        ("/app/acme/msg/batch", json!([message(1_000), message(1_000)]), 202),
        ("/app/acme/msg/batch", json!([message(1_000), message(2_000)]), 413),
    ] {
        assert_eq!(world.post(path, body).await?.0.as_u16(), status, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn an_application_that_is_asked_about_too_often_is_refused_alone() -> Result<(), Failed> {
    let limits = RequestLimits { application_requests_per_second: NonZeroU32::new(2), ..RequestLimits::default() };
    let world = World::limited(limits, None).await?;
    for uid in ["acme", "other"] {
        world.post("/app", json!({ "name": uid, "uid": uid })).await?;
    }
    let mut statuses = Vec::new();
    let refused = loop {
        let answer = world.ask_for(&world.token, "/app/acme/endpoint").await?;
        statuses.push(answer.0);
        // At two a second, nobody is so slow.
        assert!(statuses.len() < 100, "{statuses:?}");
        if answer.0 != 200 {
            break answer;
        }
    };
    assert!(2 < statuses.len(), "the second's worth goes at once: {statuses:?}");
    assert_eq!((refused.0, refused.1.as_deref(), &refused.2["code"]), (429, Some("1"), &json!("rate_limit_exceeded")));
    let of = |shown: Value| Ok::<_, Failed>(shown["id"].as_str().unwrap_or_default().parse()?);
    assert_eq!(world.ask_for(&world.token, "/app/other").await?.0, 200, "the other one has its own");
    let other = world.ask_for(&world.token, "/app/other").await?.2;
    let portal = world.key.issue_application(of(other)?, OrganisationId::DEFAULT, now())?;
    let mut last = 200;
    for _ in 0..100 {
        last = world.ask_for(&portal, "/event-type").await?.0;
        if last != 200 {
            break;
        }
    }
    assert_eq!(last, 429, "its own people count, too");
    assert_eq!(world.ask_for(&world.token, "/app").await?.0, 200, "what names no application is free");
    Ok(())
}

#[tokio::test]
async fn an_application_with_too_many_waiting_deliveries_is_told_to_wait() -> Result<(), Failed> {
    let world = World::limited(RequestLimits::default(), NonZeroUsize::new(1)).await?;
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    let hook = json!({ "url": "http://127.0.0.1:9/", "delivery": { "retrySchedule": [3600] } });
    world.post("/app/acme/endpoint", hook).await?;
    let message = json!({ "eventType": "a", "payload": {} });
    assert_eq!(world.post("/app/acme/msg", message.clone()).await?.0, StatusCode::ACCEPTED);
    let refused = world.post("/app/acme/msg", message).await?;
    assert_eq!((refused.0.as_u16(), &refused.1["code"]), (429, &json!("rate_limit_exceeded")), "{}", refused.1);
    Ok(())
}
