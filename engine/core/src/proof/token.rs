//! The secret part of the address at which a receiver may grant later: it names the endpoint and when it was asked, and only
//! who has the key can make one.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use url::Url;

use crate::{EndpointId, Timestamp};

/// So long an address is good: somebody may have to find it in a log.
pub const GRANT_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Nothing else is ever authenticated under this name.
const DOMAIN: &[u8] = b"postrider/grant/1";
const ID: usize = 20;
const TIME: usize = 8;
const CODE: usize = 32;

/// What tokens are made and checked with. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct GrantKey([u8; 32]);

/// What somebody brings who grants; whether it is ours is seen with the endpoint that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantToken {
    /// Whose deliveries are to be granted.
    pub endpoint: EndpointId,
    asked_at: Timestamp,
    code: [u8; CODE],
}

impl fmt::Debug for GrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantKey(…)")
    }
}

impl GrantKey {
    /// Out of bytes from a source fit for secrets.
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As it is stored.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// From what [`to_text`](Self::to_text) gave.
    pub fn from_text(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().map(Self).ok()
    }

    /// The token of an endpoint whose receiver is asked now: one of its own each time.
    pub fn token(&self, endpoint: EndpointId, target: &Url, now: Timestamp) -> String {
        let code = self.code(endpoint, now, target).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&endpoint.to_bytes()[..], &now.as_nanos().to_be_bytes(), &code].concat())
    }

    /// Whether a token was made for its endpoint when that posted to `target`, and is not too old.
    pub fn allows(&self, token: &GrantToken, target: &Url, now: Timestamp) -> bool {
        let GrantToken { endpoint, asked_at, code } = *token;
        let is_ours = self.code(endpoint, asked_at, target).verify_slice(&code).is_ok();
        is_ours && now.since(asked_at) < GRANT_WITHIN
    }

    /// Where it posts is a part of it: a receiver speaks for itself alone.
    fn code(&self, endpoint: EndpointId, asked_at: Timestamp, target: &Url) -> Hmac<Sha256> {
        let mut code = Hmac::new_from_slice(&self.0).expect("hmac takes keys of any length");
        let (id, at) = (endpoint.to_bytes(), asked_at.as_nanos().to_be_bytes());
        [DOMAIN, &id, &at, target.as_str().as_bytes()].into_iter().for_each(|part| code.update(part));
        code
    }
}

impl GrantToken {
    /// What a text says; none if it can be none of ours.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == ID + TIME + CODE)?;
        let (id, rest) = bytes.split_first_chunk::<ID>()?;
        let (at, code) = rest.split_first_chunk::<TIME>()?;
        Some(Self {
            endpoint: EndpointId::from_bytes(*id),
            asked_at: Timestamp::from_nanos(u64::from_be_bytes(*at)),
            code: code.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EndpointId = EndpointId::from_bytes([1; 20]);
    const NOW: Timestamp = Timestamp::from_nanos(1_795_600_000_000_000_000);

    fn target(text: &str) -> Url {
        text.parse().expect("it is a URL")
    }

    #[test]
    fn a_token_is_good_for_its_endpoint_at_its_address_for_a_week() {
        let (key, hook) = (GrantKey::from_random([7; 32]), target("https://receiver.example/hook"));
        let text = key.token(ONE, &hook, NOW);
        let token = GrantToken::read(&text).expect("it is one");
        assert_eq!(token.endpoint, ONE);
        let is_good = |key: &GrantKey, target: &Url, after| key.allows(&token, target, NOW + after);
        assert!(is_good(&key, &hook, Duration::ZERO) && is_good(&key, &hook, GRANT_WITHIN - Duration::from_nanos(1)));
        assert!(!is_good(&key, &hook, GRANT_WITHIN), "it is too old");
        assert!(!is_good(&key, &target("https://receiver.example/other"), Duration::ZERO));
        assert!(!is_good(&GrantKey::from_random([8; 32]), &hook, Duration::ZERO), "somebody else made it");
        assert_ne!(text, key.token(ONE, &hook, NOW + Duration::from_nanos(1)), "each time another one");
        assert_eq!(GrantKey::from_text(&key.to_text()), Some(key));
    }

    #[test]
    fn whatever_is_changed_in_a_token_makes_it_none() {
        let (key, hook) = (GrantKey::from_random([7; 32]), target("https://receiver.example/hook"));
        let bytes = URL_SAFE_NO_PAD.decode(key.token(ONE, &hook, NOW)).expect("it is base64");
        for n in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[n] ^= 1;
            let token = GrantToken::read(&URL_SAFE_NO_PAD.encode(changed)).expect("it looks like one");
            assert!(!key.allows(&token, &hook, NOW), "byte {n}");
        }
        for none in ["", "token", "../../app", &URL_SAFE_NO_PAD.encode(&bytes[1..])] {
            assert_eq!(GrantToken::read(none), None, "{none}");
        }
    }
}
