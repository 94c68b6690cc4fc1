//! How many messages and attempts ended how.

use super::*;

#[tokio::test]
async fn what_became_of_messages_and_attempts_is_counted() -> Result<(), Failed> {
    let world = World::with_hook(&[500, 200, 404], json!({ "retrySchedule": [0.01], "breaker": null })).await?;
    world.publish("a", "1").await?;
    world.until("/app/acme/msg/1/endpoint/hook", |shown| shown["status"] == json!(0)).await?;
    world.send("PATCH", "/app/acme/endpoint/hook", json!({ "delivery": { "retrySchedule": [] } }).to_string()).await?;
    world.publish("a", "2").await?;
    world.until("/app/acme/msg/2/endpoint/hook", |shown| shown["status"] == json!(2)).await?;
    world.send("POST", "/app/acme/endpoint/hook/pause", String::new()).await?;
    world.publish("a", "3").await?;
    let stats = world.get("/app/acme/endpoint/hook/stats").await?;
    let expected = json!({ "success": 1, "pending": 1, "sending": 0, "fail": 1, "canceled": 0 });
    assert_eq!((stats.0, stats.1), (StatusCode::OK, expected));
    let attempts = world.get("/app/acme/endpoint/hook/attempt-stats").await?.1;
    assert_eq!(attempts, json!({ "success": 1, "fail": 2, "canceled": 0 }));
    Ok(())
}

/// 15,000 were waiting, and 10,000 were shown as if that were all.
#[tokio::test]
async fn what_is_not_counted_to_its_end_is_told_as_at_least() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let organisation = world.engine.organisation(OrganisationId::DEFAULT);
    let app = organisation.applications().get("acme")?.id;
    let endpoints = organisation.endpoints(app);
    let mut state = endpoints.state("hook").await?;
    let mut stats = endpoints.stats("hook", now().earlier_by(Duration::from_secs(60)), now()).await?;
    for is_at_least in [false, true] {
        (state.backlog.is_at_least, stats.is_at_least) = (is_at_least, is_at_least);
        let expected = is_at_least.then_some(json!(true));
        for shown in [
            serde_json::to_value(states::state_shown(&state))?,
            serde_json::to_value(super::super::stats::counted(&stats))?,
        ] {
            assert_eq!(shown.get("atLeast"), expected.as_ref(), "{shown}");
        }
    }
    Ok(())
}

/// Row 155: a time that ends a little ahead of our clock is fine; one that is none is told so.
#[tokio::test]
async fn a_time_may_end_ahead_of_us_and_must_be_one() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let at = |seconds: i64| {
        let nanos = now().as_nanos().saturating_add_signed(seconds * 1_000_000_000);
        times::written(Timestamp::from_nanos(nanos))
    };
    let ask = async |query: String| world.get(&format!("/app/acme/endpoint/hook/stats?{query}")).await;
    for ahead in [1, 3600] {
        let answer = ask(format!("until={}", at(ahead))).await?;
        assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    }
    for query in [
        format!("since={}&until={}", at(0), at(-60)),
        format!("since={}&until={}", at(-29 * 24 * 3600), at(0)),
        format!("since={}", at(60)),
    ] {
        let answer = ask(query.clone()).await?;
        assert_eq!((answer.0, &answer.1["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_range")), "{query}");
    }
    Ok(())
}
