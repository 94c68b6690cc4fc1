//! Every algorithm, and that a token does not choose it.

use super::{
    super::{IssueError, PairAlgorithm, SecretAlgorithm},
    *,
};

// Made for these tests, and used nowhere else.
const RSA: Pair = Pair { public: include_str!("rsa_public.pem"), private: include_str!("rsa_private.pem") };
const ED: Pair = Pair { public: include_str!("ed_public.pem"), private: include_str!("ed_private.pem") };
const OTHER_ED: &str = include_str!("other_ed_private.pem");
const SHORT_RSA: &str = include_str!("rsa_short_public.pem");
const PAIRS: [(PairAlgorithm, Algorithm, &Pair); 4] = [
    (PairAlgorithm::Rs256, Algorithm::RS256, &RSA),
    (PairAlgorithm::Rs384, Algorithm::RS384, &RSA),
    (PairAlgorithm::Rs512, Algorithm::RS512, &RSA),
    (PairAlgorithm::EdDsa, Algorithm::EdDSA, &ED),
];
const SECRETS: [(SecretAlgorithm, Algorithm, usize); 3] = [
    (SecretAlgorithm::Hs256, Algorithm::HS256, 32),
    (SecretAlgorithm::Hs384, Algorithm::HS384, 48),
    (SecretAlgorithm::Hs512, Algorithm::HS512, 64),
];

struct Pair {
    public: &'static str,
    private: &'static str,
}

#[test]
fn every_algorithm_takes_its_own_tokens_and_those_of_no_other() -> Result<(), Failed> {
    let secret = "x".repeat(64);
    let mut keys: Vec<(TokenKey, Algorithm)> = Vec::new();
    for (algorithm, jwt, _) in SECRETS {
        keys.push((TokenKey::of_secret(algorithm, &secret)?, jwt));
    }
    for (algorithm, jwt, pair) in PAIRS {
        keys.push((TokenKey::of_pair(algorithm, pair.public, pair.private)?, jwt));
    }
    for (signs, signed_with) in &keys {
        let token = signs.issue_organisation(OrganisationId::DEFAULT, NOW)?;
        assert_eq!(jsonwebtoken::decode_header(&token)?.alg, *signed_with);
        for (verifies, algorithm) in &keys {
            let verified = verifies.verify(&token, NOW);
            if algorithm == signed_with {
                assert_eq!(verified?, Caller::Organisation(OrganisationId::DEFAULT));
            } else {
                let refused = format!("{verified:?}");
                assert!(refused.contains("InvalidAlgorithm"), "{signed_with:?} as {algorithm:?}: {refused}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_public_key_verifies_and_signs_nothing() -> Result<(), Failed> {
    for (algorithm, _, pair) in PAIRS {
        let token = TokenKey::of_pair(algorithm, pair.public, pair.private)?.issue_application(
            application()?,
            OrganisationId::DEFAULT,
            NOW,
        )?;
        let verifies = TokenKey::of_public_key(algorithm, pair.public)?;
        let caller = Caller::Application { application: application()?, organisation: OrganisationId::DEFAULT };
        assert_eq!(verifies.verify(&token, NOW)?, caller);
        let refused = verifies.issue_organisation(OrganisationId::DEFAULT, NOW);
        assert!(matches!(refused, Err(IssueError::NoPrivateKey)), "{refused:?}");
        let mut changed = token;
        changed.push('x');
        assert!(matches!(verifies.verify(&changed, NOW), Err(TokenError::Invalid(_))));
    }
    Ok(())
}

/// The classic: whoever knows the public key signs with it as if it were a secret, and says that it is one.
#[test]
fn a_public_key_is_no_secret_and_an_unsigned_token_is_none() -> Result<(), Failed> {
    let claims = json!({ "iat": 1_700_000_000, "exp": 1_800_000_000, "iss": "svix-server", "sub": organisation() });
    for (algorithm, _, pair) in PAIRS {
        let verifies = TokenKey::of_public_key(algorithm, pair.public)?;
        for secret in [pair.public, pair.public.trim_end()] {
            for (_, hmac, _) in SECRETS {
                let refused = format!("{:?}", verifies.verify(&encode(hmac, secret, &claims)?, NOW));
                assert!(refused.contains("InvalidAlgorithm"), "{refused}");
            }
        }
        let token = encode(Algorithm::HS256, SECRET, &claims)?;
        let claims = token.split('.').nth(1).ok_or("three parts")?;
        // {"alg":"none"}, {"alg":"None"}
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIn0"] {
            let refused = verifies.verify(&format!("{header}.{claims}."), NOW);
            assert!(matches!(refused, Err(TokenError::Invalid(_))), "{refused:?}");
        }
    }
    Ok(())
}

#[test]
fn a_secret_is_as_long_as_its_digest() {
    for (algorithm, _, min) in SECRETS {
        let made = |bytes: usize| TokenKey::of_secret(algorithm, &"x".repeat(bytes)).map(drop);
        assert!(made(min).is_ok());
        let refused = made(min - 1).map_or_else(|error| error.to_string(), |()| String::new());
        let expected = format!("has {} bytes, and {algorithm} needs at least {min}", min - 1);
        assert!(refused.contains(&expected), "{refused}");
    }
}

#[test]
fn a_key_that_cannot_do_its_work_is_refused_at_once() -> Result<(), Failed> {
    use PairAlgorithm::{EdDsa, Rs256};
    let refused = |made: Result<TokenKey, TokenKeyError>| format!("{:?}", made.map(drop));
    let public = |algorithm, pem| refused(TokenKey::of_public_key(algorithm, pem));
    assert_eq!(public(EdDsa, ED.private), "Err(PrivateInPublic)");
    assert_eq!(public(Rs256, SHORT_RSA), "Err(PublicKeyTooShort)");
    let certificate = ED.public.replace("PUBLIC KEY", "CERTIFICATE");
    for (algorithm, pem) in [(Rs256, ED.public), (EdDsa, RSA.public), (EdDsa, "nonsense"), (Rs256, &certificate)] {
        assert!(public(algorithm, pem).starts_with("Err(PublicKey("), "{pem}");
    }
    let pair = |algorithm, public, private| refused(TokenKey::of_pair(algorithm, public, private));
    assert_eq!(pair(EdDsa, ED.public, OTHER_ED), "Err(NotAPair)");
    assert!(pair(EdDsa, ED.public, RSA.private).starts_with("Err(PrivateKey("));
    assert!(pair(EdDsa, ED.public, ED.public).starts_with("Err(PrivateKey("));
    assert!(pair(Rs256, RSA.public, RSA.public).starts_with("Err(Trial("));
    assert_eq!(format!("{:?}", TokenKey::of_pair(EdDsa, ED.public, ED.private)?), "TokenKey { .. }");
    Ok(())
}
