//! Tenants are kept apart: every operation that the document tells of is asked with the wrong token and the names of
//! things that are another's. Nothing of them comes back, and nothing of them changes.
//!
//! A new route is covered by being written about. If a name in its path is not known here, or a field that it requires,
//! `the_owner_reaches_all_of_it` says so. Run one seed again with
//! `TENANT_SEED=<seed> cargo test -p postrider-adapters --all-features tenants`; go on with more of them for a while with
//! `TENANT_SECONDS=60`.

mod owned;
mod requests;

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postrider::core::SplitMix;

use self::{
    owned::Owned,
    requests::{Asked, Operation, operations},
};
use super::*;

const SEEDS: u64 = 3;
/// Requests of each seed, for each operation and each wrong token.
const ROUNDS: usize = 4;

/// Who asks for what is not theirs.
struct Stranger {
    who: &'static str,
    token: String,
    own: Owned,
    /// What it must not see, but for names that it gave to things of its own.
    hidden: BTreeSet<String>,
}

#[tokio::test]
async fn nothing_of_a_tenant_is_shown_to_others_or_changed_by_them() -> Result<(), Failed> {
    let one = std::env::var("TENANT_SEED").ok().and_then(|seed| seed.parse().ok());
    let lasts = std::env::var("TENANT_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    let began = std::time::Instant::now();
    for seed in one.map_or(0..u64::MAX, |seed: u64| seed..seed + 1) {
        if seed >= SEEDS && one.is_none() && began.elapsed().as_secs() >= lasts {
            break;
        }
        println!("run again with TENANT_SEED={seed} cargo test -p postrider-adapters --all-features tenants");
        apart(seed).await?;
    }
    Ok(())
}

async fn apart(seed: u64) -> Result<(), Failed> {
    // The first message of each is given up at its first endpoint; then all goes well until the next one's.
    let world = World::answering(&[500, 200, 200, 200].repeat(3)).await?;
    let (ours, theirs) = (OrganisationId::DEFAULT, OrganisationId::from_bytes([9; 20]));
    let owner = world.key.issue_organisation(ours, now())?;
    let other = world.key.issue_organisation(theirs, now())?;
    let owned = Owned::make(&world, &owner, "0wner", "0rganisation").await?;
    let sibling = Owned::make(&world, &owner, "sibling", "0rganisation").await?;
    let foreign = Owned::make(&world, &other, "foreign", "elsewhere").await?;
    let of_sibling = sibling.id("app_id").to_owned();
    let portal = world.key.issue_application(of_sibling.parse()?, ours, now())?;
    let (of_application, of_organisation) = owned.secrets();
    let mut strangers = [
        Stranger {
            who: "another organisation",
            token: other,
            own: foreign,
            hidden: of_application.union(&of_organisation).cloned().collect(),
        },
        Stranger { who: "another application", token: portal, own: sibling, hidden: of_application },
    ];

    let operations = operations(&world).await?;
    let before = seen(&world, &owner, &owned, &of_sibling, &operations).await?;
    let sent = to(&world, &owned).await;
    let mut dice = SplitMix::new(seed);
    for _ in 0..ROUNDS {
        for operation in requests::shuffled(&operations, &mut dice) {
            for stranger in &mut strangers {
                let asked = operation.ask(&owned, Some(&stranger.own), &mut dice);
                let told = ask(&world, &stranger.token, &asked).await?;
                let leaked = stranger.hidden.iter().find(|secret| told.1.contains(*secret) && !asked.contains(secret));
                let leaked = leaked.cloned();
                if told.0.is_success() && asked.method != "GET" {
                    stranger.hidden.retain(|secret| !owned.is_given(secret) || !asked.contains(secret));
                }
                if let Some(secret) = leaked {
                    return Err(format!("{} was shown {secret} by {asked}: {} {}", stranger.who, told.0, told.1).into());
                }
            }
        }
    }
    let after = seen(&world, &owner, &owned, &of_sibling, &operations).await?;
    for ((path, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before, after, "{path} was changed");
    }
    assert_eq!(to(&world, &owned).await, sent, "nothing was sent to the owner's endpoints");
    Ok(())
}

/// Without this, the other test could pass because nothing that it asks for is there.
#[tokio::test]
async fn the_owner_reaches_all_of_it() -> Result<(), Failed> {
    let mut left = Vec::new();
    for operation in operations(&World::new().await?).await? {
        // Anew for each, because some take away what others ask for.
        let world = World::answering(&[500, 200, 200, 200]).await?;
        let owned = Owned::make(&world, &world.token, "0wner", "0rganisation").await?;
        let asked = operation.ask(&owned, None, &mut SplitMix::new(0));
        let told = ask(&world, &world.token, &asked).await?;
        if matches!(told.0.as_u16(), 401 | 403 | 404 | 405 | 415 | 422) {
            left.push(format!("{asked}: {} {}", told.0, told.1));
        }
    }
    assert!(left.is_empty(), "teach tenants/owned.rs and tenants/requests.rs what these need: {left:#?}");
    Ok(())
}

/// All that the owner sees, by every way to read it, without what is its other application's.
async fn seen(
    world: &World,
    token: &str,
    owned: &Owned,
    sibling: &str,
    operations: &[Operation],
) -> Result<Vec<(String, String)>, Failed> {
    let mut all = Vec::new();
    for operation in operations.iter().filter(|operation| operation.method == "GET") {
        let Asked { path, .. } = operation.ask(owned, None, &mut SplitMix::new(0));
        let (status, mut told) = world.at(token, "GET", &path, String::new()).await?;
        assert!(status.is_success(), "{path}: {status} {told}");
        if let Some(items) = told["data"].as_array() {
            let its_own = items.iter().filter(|item| !item.to_string().contains(sibling));
            told = its_own.cloned().collect();
        }
        all.push((path, told.to_string()));
    }
    Ok(all)
}

/// How many requests went to the owner's endpoints.
async fn to(world: &World, owned: &Owned) -> usize {
    world
        .receiver
        .wait_for(0)
        .await
        .iter()
        .filter(|request| request.url.path().contains(&owned.given("endpoint_id")))
        .count()
}

/// The answer, with what is written in tokens.
async fn ask(world: &World, token: &str, asked: &Asked) -> Result<(StatusCode, String), Failed> {
    let (status, told) = world.at(token, &asked.method, &asked.path, asked.body.clone()).await?;
    let mut text = told.to_string();
    if let Some(token) = told["token"].as_str() {
        let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        text.push_str(&String::from_utf8(claims.ok_or("a token has claims")?)?);
    }
    Ok((status, text))
}
