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
