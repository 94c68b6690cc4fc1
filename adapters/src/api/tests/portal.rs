//! Tokens for an application's own people.

use super::*;
use crate::token::PairAlgorithm::EdDsa;

#[tokio::test]
async fn where_tokens_are_only_verified_the_portal_is_told_what_to_do() -> Result<(), Failed> {
    let public = include_str!("../../token/tests/ed_public.pem");
    let both = TokenKey::of_pair(EdDsa, public, include_str!("../../token/tests/ed_private.pem"))?;
    let engine = Engine::builder(MemoryStore::new(), ScriptedTransport::new([200_u16])).start().await?;
    let world = World {
        router: router(engine, TokenKey::of_public_key(EdDsa, public)?),
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
    let sessions = world.post("/auth/app/acme/expire-all", json!({ "sessionIds": ["s"] })).await?;
    assert_eq!(sessions.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(sessions.1.to_string().contains("carry no sessions"), "{}", sessions.1);
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

impl World {
    /// A token for the people of an application.
    async fn portal(&self, app: &str, asked: Value) -> Result<String, Failed> {
        let body = if asked.is_null() { String::new() } else { asked.to_string() };
        let given = self.send("POST", &format!("/auth/app-portal-access/{app}"), body).await?;
        assert_eq!(given.0, StatusCode::OK, "{}", given.1);
        Ok(given.1["token"].as_str().unwrap_or_default().to_owned())
    }
}
