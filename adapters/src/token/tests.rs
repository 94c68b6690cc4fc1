use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postrider::{ApplicationId, OrganisationId, SessionId, Timestamp};
use serde_json::{Value, json};

use super::{Access, Caller, Capability, Grant, TokenError, TokenKey, TokenKeyError};

mod algorithms;

const SECRET: &str = "a secret of more than thirty-two bytes";
const NOW: Timestamp = at(1_700_000_000);
const DAY: u64 = 24 * 60 * 60;

type Failed = Box<dyn std::error::Error>;

#[test]
fn a_token_of_an_organisation_names_it_for_ten_years() -> Result<(), Failed> {
    let token = key()?.issue_organisation(OrganisationId::DEFAULT, NOW)?;
    let caller = Caller::Organisation(OrganisationId::DEFAULT);
    assert_eq!(key()?.verify(&token, NOW)?, caller);
    // The clocks may be a minute apart.
    assert_eq!(key()?.verify(&token, at(1_700_000_000 + 3650 * DAY + 59))?, caller);
    let late = key()?.verify(&token, at(1_700_000_000 + 3650 * DAY + 60));
    assert!(matches!(late, Err(TokenError::Expired)), "{late:?}");
    Ok(())
}

#[test]
fn a_token_of_an_application_names_it_and_its_organisation_for_28_days() -> Result<(), Failed> {
    let application = application()?;
    let token = key()?.issue_application(application, OrganisationId::DEFAULT, NOW)?;
    let caller = Caller::Application { application, organisation: OrganisationId::DEFAULT };
    assert_eq!(key()?.verify(&token, at(1_700_000_000 + 28 * DAY + 59))?, caller);
    let late = key()?.verify(&token, at(1_700_000_000 + 28 * DAY + 60));
    assert!(matches!(late, Err(TokenError::Expired)), "{late:?}");
    Ok(())
}

#[test]
fn the_claims_are_those_that_other_programs_know() -> Result<(), Failed> {
    let token = key()?.issue_application(application()?, OrganisationId::DEFAULT, NOW)?;
    let mut anything = jsonwebtoken::Validation::new(Algorithm::HS256);
    anything.validate_exp = false;
    let decoding = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    let claims = jsonwebtoken::decode::<Value>(&token, &decoding, &anything)?.claims;
    let expected = json!({
        "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 1_700_000_000 + 28 * DAY, "iss": "svix-server",
        "sub": application()?.to_string(), "org": OrganisationId::DEFAULT.to_string(),
    });
    assert_eq!(claims, expected);
    Ok(())
}

#[test]
fn a_token_says_what_it_may_do_and_one_that_says_nothing_may_do_all() -> Result<(), Failed> {
    let some = Access::ALL.only(&[Capability::ViewBase, Capability::CreateAttempts]);
    for access in [Access::ALL, Access::ALL.read_only(), some, some.read_only(), Access::ALL.only(&[])] {
        let day = std::time::Duration::from_secs(DAY);
        let token = key()?.issue_restricted(application()?, OrganisationId::DEFAULT, &access.into(), NOW, day)?;
        let read = key()?.read(&token, NOW)?;
        assert_eq!((read.grant, read.issued_at), (access.into(), NOW));
    }
    assert!(some.has(Capability::CreateAttempts) && !some.has(Capability::ManageEndpoint));
    let mut claims = json!({
        "iat": 1_700_000_000, "exp": 1_800_000_000, "iss": "svix-server", "sub": application()?.to_string(),
        "org": organisation(),
    });
    assert_eq!(key()?.read(&encode(Algorithm::HS256, SECRET, &claims)?, NOW)?.grant, Access::ALL.into());
    claims["capabilities"] = json!(["ViewBase", "of a later version"]);
    let read = key()?.read(&encode(Algorithm::HS256, SECRET, &claims)?, NOW)?;
    assert_eq!(read.grant, Access::ALL.only(&[Capability::ViewBase]).into());
    Ok(())
}

#[test]
fn a_session_ends_after_28_days_whatever_its_token_says() -> Result<(), Failed> {
    let mut claims = json!({
        "iat": 1_700_000_000, "exp": 1_800_000_000, "iss": "svix-server", "sub": application()?.to_string(),
        "org": organisation(),
    });
    let later = at(1_700_000_000 + 28 * DAY + 60);
    assert_eq!(key()?.read(&encode(Algorithm::HS256, SECRET, &claims)?, later)?.grant, Grant::default());
    claims["session_id"] = json!("laptop");
    let token = encode(Algorithm::HS256, SECRET, &claims)?;
    let session = key()?.read(&token, at(1_700_000_000 + 28 * DAY + 59))?.grant.session;
    assert_eq!(session, Some(SessionId::new("laptop")?));
    let late = key()?.read(&token, later);
    assert!(matches!(late, Err(TokenError::Expired)), "{late:?}");
    claims["session_id"] = json!("no blanks");
    let wrong = key()?.read(&encode(Algorithm::HS256, SECRET, &claims)?, NOW);
    assert!(matches!(wrong, Err(TokenError::Session(_))), "{wrong:?}");
    Ok(())
}

#[test]
fn a_token_carries_its_flags_and_its_session_by_the_names_that_other_programs_know() -> Result<(), Failed> {
    let grant = Grant {
        access: Access::ALL.read_only(),
        feature_flags: ["beta".into(), "eu".into()].into(),
        session: Some(SessionId::new("laptop")?),
    };
    let day = std::time::Duration::from_secs(DAY);
    let token = key()?.issue_restricted(application()?, OrganisationId::DEFAULT, &grant, NOW, day)?;
    assert_eq!(key()?.read(&token, NOW)?.grant, grant);
    let claims = json!({
        "iat": 1_700_000_000, "exp": 1_800_000_000, "iss": "svix-server", "sub": application()?.to_string(),
        "org": organisation(), "feature_flags": ["eu", "beta"], "session_id": "laptop", "readOnly": true,
    });
    assert_eq!(key()?.read(&encode(Algorithm::HS256, SECRET, &claims)?, NOW)?.grant, grant);
    Ok(())
}

#[test]
fn the_secret_sent_as_a_token_is_recognised() -> Result<(), Failed> {
    let refused = key()?.verify(SECRET, NOW);
    assert!(matches!(refused, Err(TokenError::IsSecret)), "{refused:?}");
    let refused = key()?.verify("another text of more than thirty-two bytes", NOW);
    assert!(matches!(refused, Err(TokenError::Invalid(_))), "{refused:?}");
    Ok(())
}

#[test]
fn a_token_of_another_secret_algorithm_or_issuer_is_refused() -> Result<(), Failed> {
    let good = json!({ "iat": 1_700_000_000, "exp": 1_800_000_000, "iss": "svix-server", "sub": organisation() });
    check(Algorithm::HS256, SECRET, &good, "Ok(Organisation")?;
    check(Algorithm::HS256, "not the secret, but as long as the secret", &good, "InvalidSignature")?;
    check(Algorithm::HS384, SECRET, &good, "InvalidAlgorithm")?;
    let mut other = good.clone();
    other["iss"] = json!("somebody-else");
    check(Algorithm::HS256, SECRET, &other, "InvalidIssuer")?;
    for claim in ["iss", "sub"] {
        let mut without = good.clone();
        without.as_object_mut().ok_or("an object")?.remove(claim);
        check(Algorithm::HS256, SECRET, &without, "Err(Invalid(")?;
    }
    // Nobody signed this one: {"alg":"none"} and the good claims.
    let token = encode(Algorithm::HS256, SECRET, &good)?;
    let claims = token.split('.').nth(1).ok_or("three parts")?;
    let refused = key()?.verify(&format!("eyJhbGciOiJub25lIn0.{claims}."), NOW);
    assert!(matches!(refused, Err(TokenError::Invalid(_))), "{refused:?}");
    Ok(())
}

#[test]
fn a_token_is_not_good_before_its_time() -> Result<(), Failed> {
    for (from, expected) in [(1_700_000_060, "Ok("), (1_700_000_061, "Err(NotYetGood)")] {
        let claims = json!({
            "iat": from, "nbf": from, "exp": 1_800_000_000, "iss": "svix-server", "sub": organisation()
        });
        check(Algorithm::HS256, SECRET, &claims, expected)?;
    }
    Ok(())
}

/// While others were expired, new tokens were dated ahead, and refused until then.
#[test]
fn a_token_that_says_that_it_was_issued_later_is_good_from_now_on() -> Result<(), Failed> {
    let (later, day) = (at(1_700_000_000 + 3_600), std::time::Duration::from_secs(DAY));
    let grant = Grant::default();
    let token = key()?.issue_behind(application()?, OrganisationId::DEFAULT, &grant, later, NOW, day)?;
    assert_eq!(key()?.read(&token, NOW)?.issued_at, later);
    let late = key()?.verify(&token, at(1_700_000_000 + DAY + 60));
    assert!(matches!(late, Err(TokenError::Expired)), "a day from now, not from then: {late:?}");
    Ok(())
}

#[test]
fn a_token_must_name_a_caller() -> Result<(), Failed> {
    let application = application()?.to_string();
    let subjects = [
        json!({ "sub": "org_" }),
        json!({ "sub": "somebody" }),
        json!({ "sub": application }),
        json!({ "sub": application, "org": application }),
        json!({ "sub": application, "org": "" }),
    ];
    for mut claims in subjects {
        claims["iat"] = json!(1_700_000_000);
        claims["exp"] = json!(1_800_000_000);
        claims["iss"] = json!("svix-server");
        check(Algorithm::HS256, SECRET, &claims, "Err(NoCaller)")?;
    }
    Ok(())
}

#[test]
fn a_short_secret_is_only_for_development() -> Result<(), Failed> {
    let refused = TokenKey::new(&SECRET[..31]);
    assert!(matches!(refused, Err(TokenKeyError::TooShort { bytes: 31, min: 32, .. })), "{refused:?}");
    TokenKey::new(&SECRET[..32])?;
    TokenKey::for_development("x")?;
    let refused = TokenKey::for_development("");
    assert!(matches!(refused, Err(TokenKeyError::TooShort { bytes: 0, .. })), "{refused:?}");
    Ok(())
}

#[test]
fn debug_hides_the_secret() -> Result<(), Failed> {
    assert_eq!(format!("{:?}", key()?), "TokenKey { .. }");
    Ok(())
}

fn check(algorithm: Algorithm, secret: &str, claims: &Value, expected: &str) -> Result<(), Failed> {
    let verified = format!("{:?}", key()?.verify(&encode(algorithm, secret, claims)?, NOW));
    assert!(verified.contains(expected), "{verified} for {claims}");
    Ok(())
}

fn encode(algorithm: Algorithm, secret: &str, claims: &Value) -> Result<String, Failed> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(algorithm), claims, &key)?)
}

fn key() -> Result<TokenKey, TokenKeyError> {
    TokenKey::new(SECRET)
}

fn organisation() -> String {
    OrganisationId::DEFAULT.to_string()
}

/// Made of the digits of an organisation, so that it does not matter how ids are printed.
fn application() -> Result<ApplicationId, Failed> {
    Ok(organisation().replace("org_", "app_").parse::<ApplicationId>()?)
}

const fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

/// Tokens of clients that follow RFC 7519 were refused: `iat` and `exp` are optional there, and times may have fractions.
#[test]
fn times_are_optional_and_may_have_fractions() -> Result<(), Failed> {
    let mut claims = json!({ "iss": "svix-server", "sub": organisation() });
    check(Algorithm::HS256, SECRET, &claims, "Ok(Organisation")?;
    let token = encode(Algorithm::HS256, SECRET, &claims)?;
    assert_eq!(key()?.read(&token, NOW)?.issued_at, Timestamp::from_nanos(0), "expired with the first that are");
    let refused = key()?.demanding_expiry().read(&token, NOW);
    assert!(matches!(refused, Err(TokenError::NeverExpires)), "{refused:?}");
    (claims["iat"], claims["exp"]) = (json!(1_699_999_999.25), json!(1_700_000_000.5));
    let token = encode(Algorithm::HS256, SECRET, &claims)?;
    assert_eq!(key()?.demanding_expiry().read(&token, NOW)?.issued_at.as_nanos(), 1_699_999_999_250_000_000);
    check(
        Algorithm::HS256,
        SECRET,
        &json!({ "iss": "svix-server", "sub": organisation(), "exp": -1 }),
        "Err(Expired)",
    )?;
    check(Algorithm::HS256, SECRET, &json!({ "iss": "svix-server", "sub": organisation(), "exp": 1e300 }), "Ok(")?;
    // A session must come to its end.
    let mut claims = json!({ "iss": "svix-server", "sub": application()?.to_string(), "org": organisation() });
    claims["session_id"] = json!("laptop");
    check(Algorithm::HS256, SECRET, &claims, "Err(Expired)")?;
    Ok(())
}

#[test]
fn tokens_of_one_second_say_when_they_were_issued_to_the_moment() -> Result<(), Failed> {
    let issued = Timestamp::from_nanos(1_700_000_000_000_000_007);
    let token = key()?.issue_application(application()?, OrganisationId::DEFAULT, issued)?;
    assert_eq!(key()?.read(&token, NOW)?.issued_at, issued);
    Ok(())
}

#[test]
fn a_token_that_demands_to_be_understood_is_refused() -> Result<(), Failed> {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT","crit":["b64"],"b64":false}"#);
    let good = key()?.issue_organisation(OrganisationId::DEFAULT, NOW)?;
    let claims = good.split('.').nth(1).ok_or("three parts")?;
    let text = format!("{header}.{claims}");
    let signature =
        jsonwebtoken::crypto::sign(text.as_bytes(), &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256)?;
    let refused = key()?.verify(&format!("{text}.{signature}"), NOW);
    assert!(matches!(refused, Err(TokenError::Invalid(_))), "{refused:?}");
    Ok(())
}

#[test]
fn a_secret_is_changed_without_a_gap() -> Result<(), Failed> {
    let (old, serving) = (key()?, key()?);
    let token = old.issue_organisation(OrganisationId::DEFAULT, NOW)?;
    let new = TokenKey::new("another secret of more than thirty-two bytes")?;
    let clone = serving.clone();
    serving.replace(&new.clone().with_previous(&old));
    assert!(clone.verify(&token, NOW).is_ok(), "clones are one key");
    let newer = clone.issue_organisation(OrganisationId::DEFAULT, NOW)?;
    assert!(new.verify(&newer, NOW).is_ok() && old.verify(&newer, NOW).is_err(), "the new one signs");
    let refused = clone.verify(SECRET, NOW);
    assert!(matches!(refused, Err(TokenError::IsSecret)), "{refused:?}");
    serving.replace(&new);
    assert!(clone.verify(&token, NOW).is_err());
    Ok(())
}

#[test]
fn a_token_of_an_organisation_may_be_for_reading_alone() -> Result<(), Failed> {
    let day = std::time::Duration::from_secs(DAY);
    let organisation = OrganisationId::DEFAULT;
    let token = key()?.issue_organisation_for(organisation, Access::ALL.read_only(), NOW, day)?;
    assert!(key()?.read(&token, NOW)?.grant.access.is_read_only());
    assert!(key()?.read(&token, at(1_700_000_000 + DAY + 61)).is_err());
    Ok(())
}
