//! A `POST` with an idempotency key is carried out once.

use std::pin::pin;

use super::*;

type Answered = (StatusCode, Option<String>, String);

impl World {
    /// Over this store.
    pub(super) async fn over(medium: &MemoryStore) -> Result<(Self, Engine), Failed> {
        let receiver = ScriptedTransport::new([0_u16; 0]);
        let engine = Engine::builder(medium.clone(), receiver.clone()).targets(TargetRules::dev()).start().await?;
        let key = TokenKey::for_development("a secret for tests, and for nothing else")?;
        let token = key.issue_organisation(OrganisationId::DEFAULT, now())?;
        Ok((Self { engine: engine.clone(), router: router(engine.clone(), key.clone()), key, token, receiver }, engine))
    }

    async fn keyed(&self, token: &str, key: &str, path: &str, body: Value) -> Result<Answered, Failed> {
        let request = Request::builder().method("POST").uri(format!("/api/v1{path}")).header("idempotency-key", key);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))?;
        let answer = self.router.clone().oneshot(request).await?;
        let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        let body = String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await?.to_vec())?;
        Ok((status, kind.map(|kind| kind.to_str().map(str::to_owned)).transpose()?, body))
    }

    async fn post_keyed(&self, key: &str, path: &str, body: Value) -> Result<Answered, Failed> {
        self.keyed(&self.token, key, path, body).await
    }

    async fn count(&self, path: &str) -> Result<usize, Failed> {
        Ok(self.get(path).await?.1["data"].as_array().map_or(0, Vec::len))
    }
}

#[tokio::test]
async fn a_repeated_post_gets_the_first_answer_also_after_a_restart() -> Result<(), Failed> {
    let medium = MemoryStore::new();
    let (world, engine) = World::over(&medium).await?;
    let acme = json!({ "name": "Acme" });
    let first = world.post_keyed("k1", "/app", acme.clone()).await?;
    assert_eq!((first.0, first.1.as_deref()), (StatusCode::CREATED, Some("application/json")), "{}", first.2);
    assert_eq!(world.post_keyed("k1", "/app/", acme.clone()).await?, first);
    assert_ne!(world.post_keyed("k2", "/app", acme.clone()).await?.2, first.2);
    let id = serde_json::from_str::<Value>(&first.2)?["id"].as_str().unwrap_or_default().to_owned();
    let hook = json!({ "url": "http://127.0.0.1:9/", "uid": "hook" });
    let made = world.post_keyed("k1", &format!("/app/{id}/endpoint"), hook).await?;
    assert_eq!(made.0, StatusCode::CREATED, "the same key on another path is another: {}", made.2);
    let rotate = format!("/app/{id}/endpoint/hook/secret/rotate");
    let rotated = world.post_keyed("r", &rotate, json!({})).await?;
    assert!(rotated.0.is_success(), "{}", rotated.2);
    let secret = world.get(&format!("/app/{id}/endpoint/hook/secret")).await?.1;
    engine.shutdown(Duration::from_secs(1)).await;

    let (world, _engine) = World::over(&medium).await?;
    assert_eq!(world.post_keyed("k1", "/app", acme).await?, first);
    assert_eq!(world.post_keyed("r", &rotate, json!({})).await?, rotated);
    assert_eq!(world.get(&format!("/app/{id}/endpoint/hook/secret")).await?.1, secret, "it is not rotated again");
    assert_eq!(world.count("/app").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_key_stands_for_one_body_and_query_and_belongs_to_one_caller() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let made = world.post_keyed("k", "/app", json!({ "name": "One" })).await?;
    for (path, body) in [("/app", json!({ "name": "Two" })), ("/app?get_if_exists=true", json!({ "name": "One" }))] {
        let refused = world.post_keyed("k", path, body).await?;
        assert_eq!(refused.0, StatusCode::CONFLICT, "{}", refused.2);
        assert!(refused.2.contains(r#""conflict""#) && refused.2.contains("another body or query"), "{}", refused.2);
    }
    assert_eq!(world.count("/app").await?, 2);
    // Another organisation, and an application of ours: each with the same key, path and body.
    let other = world.key.issue_organisation(OrganisationId::from_bytes([9; 20]), now())?;
    let others = world.keyed(&other, "k", "/app", json!({ "name": "One" })).await?;
    assert!(others.0 == StatusCode::CREATED && others.2 != made.2, "{}", others.2);
    let acme = world.get("/app/acme").await?.1["id"].as_str().unwrap_or_default().parse()?;
    let portal = world.key.issue_application(acme, OrganisationId::DEFAULT, now())?;
    let hook = json!({ "url": "http://127.0.0.1:9/" });
    let ours = world.post_keyed("h", "/app/acme/endpoint", hook.clone()).await?;
    let theirs = world.keyed(&portal, "h", "/app/acme/endpoint", hook.clone()).await?;
    assert!(theirs.0 == StatusCode::CREATED && theirs.2 != ours.2, "{}", theirs.2);
    assert_eq!(world.keyed(&portal, "h", "/app/acme/endpoint", hook).await?, theirs);
    assert_eq!(world.keyed("nonsense", "k", "/app", json!({ "name": "One" })).await?.0, StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn messages_have_keys_of_their_own_which_two_callers_do_not_share() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let other = world.key.issue_organisation(OrganisationId::from_bytes([9; 20]), now())?;
    world.with(&other, "POST", "/app", json!({ "name": "Acme", "uid": "acme" }).to_string()).await?;
    let message = |n: u32| json!({ "eventType": "a", "payload": { "n": n } });
    let id = |answer: &Answered| serde_json::from_str::<Value>(&answer.2).map(|message| message["id"].clone());
    let first = world.post_keyed("k", "/app/acme/msg", message(1)).await?;
    assert_eq!(first.0, StatusCode::ACCEPTED, "{}", first.2);
    let others = world.keyed(&other, "k", "/app/acme/msg", message(2)).await?;
    assert_eq!(others.0, StatusCode::ACCEPTED, "{}", others.2);
    assert_ne!(id(&first)?, id(&others)?);
    assert_eq!(id(&world.post_keyed("k", "/app/acme/msg", message(1)).await?)?, id(&first)?);
    assert_eq!(world.post_keyed("k", "/app/acme/msg", message(3)).await?.0, StatusCode::CONFLICT);
    assert_eq!(world.count("/app/acme/msg").await?, 1);
    Ok(())
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again_with_its_key() -> Result<(), Failed> {
    let world = World::new().await?;
    let hook = json!({ "url": "http://127.0.0.1:9/" });
    assert_eq!(world.post_keyed("k", "/app/acme/endpoint", hook.clone()).await?.0, StatusCode::NOT_FOUND);
    world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
    assert_eq!(world.post_keyed("k", "/app/acme/endpoint", hook).await?.0, StatusCode::CREATED);
    for wrong in ["", "a\tb", &"x".repeat(257)] {
        let refused = world.post_keyed(wrong, "/app", json!({ "name": "x" })).await?;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
        assert!(refused.2.contains("visible ASCII"), "{}", refused.2);
    }
    assert_eq!(world.post_keyed(&"x".repeat(256), "/app", json!({ "name": "x" })).await?.0, StatusCode::CREATED);
    Ok(())
}

#[tokio::test]
async fn two_at_once_are_carried_out_once() -> Result<(), Failed> {
    let world = World::new().await?;
    let post = || world.post_keyed("k", "/app", json!({ "name": "Acme" }));
    let (one, two, three) = tokio::join!(post(), post(), post());
    let one = one?;
    assert_eq!(one.0, StatusCode::CREATED);
    assert_eq!((&one, &one), (&two?, &three?));
    assert_eq!(world.count("/app").await?, 1);
    Ok(())
}

/// A caller that loses its patience must not leave behind what was done, without its answer.
#[tokio::test]
async fn a_request_comes_to_its_end_though_its_caller_has_gone() -> Result<(), Failed> {
    let world = World::new().await?;
    for patience in 0..40 {
        let key = format!("k{patience}");
        let post = || world.post_keyed(&key, "/app", json!({ "name": key }));
        let impatient = async {
            for _ in 0..patience {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            answered = pin!(post()) => drop(answered?),
            () = impatient => {}
        }
        assert_eq!(post().await?.0, StatusCode::CREATED);
    }
    assert_eq!(world.count("/app?limit=250").await?, 40);
    Ok(())
}

#[tokio::test]
async fn an_answer_without_a_body_is_repeated_without_one() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let first = world.post_keyed("k", "/auth/app/acme/expire-all", json!({})).await?;
    assert_eq!(first, (StatusCode::NO_CONTENT, None, String::new()));
    world.delete("/app/acme").await?;
    assert_eq!(world.post_keyed("k", "/auth/app/acme/expire-all", json!({})).await?, first);
    assert_eq!(world.post_keyed("l", "/auth/app/acme/expire-all", json!({})).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

/// A key of full length got its place put behind it, was too long then, and every message was refused.
#[tokio::test]
async fn messages_of_a_batch_have_keys_of_their_own_however_long_the_key_is() -> Result<(), Failed> {
    let world = World::with_hook(&[], json!({})).await?;
    let message = |n: usize| json!({ "eventType": "a", "payload": { "n": n } });
    let batch: Value = (0..11).map(message).collect();
    let ids = |answer: &Answered| -> Result<Vec<Value>, Failed> {
        assert_eq!(answer.0, StatusCode::ACCEPTED, "{}", answer.2);
        let all: Vec<Value> = serde_json::from_str(&answer.2)?;
        assert!(all.iter().all(|one| one["id"].is_string()), "{}", answer.2);
        Ok(all.iter().map(|one| one["id"].clone()).collect())
    };
    let mut met = std::collections::BTreeSet::new();
    // Of the second one the first ten keep their key, and the last one does not.
    for (count, last) in [(256, "x"), (254, "x"), (256, "y"), (3, "x")] {
        let key = "k".repeat(count - 1) + last;
        let first = ids(&world.post_keyed(&key, "/app/acme/msg/batch", batch.clone()).await?)?;
        assert_eq!(ids(&world.post_keyed(&key, "/app/acme/msg/batch", batch.clone()).await?)?, first);
        met.extend(first.iter().map(ToString::to_string));
    }
    assert_eq!((met.len(), world.count("/app/acme/msg?limit=250").await?), (44, 44));
    // As they have been, so that a batch may be sent again to a later version.
    let alone = world.post_keyed("kkx#7", "/app/acme/msg", message(7)).await?;
    assert!(met.contains(&serde_json::from_str::<Value>(&alone.2)?["id"].to_string()), "{}", alone.2);
    Ok(())
}

/// A key that is used again gets the first answer, be what it names there or not: it says what was done then, and is no
/// reason to do it once more.
#[tokio::test]
async fn a_kept_answer_may_name_what_was_deleted_since() -> Result<(), Failed> {
    let world = World::new().await?;
    for path in ["/operational-webhook/endpoint", "/app/acme/endpoint"] {
        world.post("/app", json!({ "name": "Acme", "uid": "acme" })).await?;
        let hook = json!({ "url": "http://127.0.0.1:9/" });
        let made = world.post_keyed("k", path, hook.clone()).await?;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.2);
        let id = serde_json::from_str::<Value>(&made.2)?["id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(world.delete(&format!("{path}/{id}")).await?, StatusCode::NO_CONTENT);
        assert_eq!(world.post_keyed("k", path, hook.clone()).await?, made);
        assert_eq!(world.delete(&format!("{path}/{id}")).await?, StatusCode::NOT_FOUND, "it was not made again");
        assert_eq!(world.post_keyed("l", path, hook).await?.0, StatusCode::CREATED, "another key makes another one");
    }
    Ok(())
}
