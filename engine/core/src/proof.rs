//! Proof that a receiver wants what it is sent: asked once, before anything else is, and again when its address changes.

mod token;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use self::token::{GRANT_WITHIN, GrantKey, GrantToken};

/// How a receiver proves that it wants to be sent anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// Nothing is asked for.
    #[default]
    None,
    /// It answers a GET with `?challenge=…` with that value.
    Challenge,
    /// It grants our origin in answer to an OPTIONS request, and says at which rate: CloudEvents HTTP 1.1 Web Hooks 1.0.2,
    /// section 4. The status says nothing. Or later, at an address that it is told of, if there is one.
    CloudEvents,
    /// It answers a signed message of type `webhook.ping` with 2xx.
    Ping,
}

/// What a receiver that speaks CloudEvents allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many requests a minute.
    PerMinute(NonZeroU32),
    /// Any number.
    Unlimited,
    /// As many as were asked for: a receiver that grants by callback need not say.
    AsAsked,
}

/// Why a receiver has not proved it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotProved {
    /// It must answer with 2xx.
    #[error("it answered with {0}, not with 2xx")]
    Status(u16),
    /// It must answer with the challenge and nothing else, or with JSON that has it as `challenge`.
    #[error("it did not answer with the challenge")]
    Challenge,
    /// `WebHook-Allowed-Origin` must be our origin or `*`.
    #[error("it does not allow our origin")]
    Origin,
    /// `WebHook-Allowed-Rate` must be a number of requests a minute, at least 1, or `*`.
    #[error("it does not say at which rate it allows requests")]
    Rate,
}

/// Whether an answer to a challenge is one.
///
/// # Errors
/// What is missing.
pub fn challenge_is_met(challenge: &str, status: u16, body: &[u8]) -> Result<(), NotProved> {
    if !(200..300).contains(&status) {
        return Err(NotProved::Status(status));
    }
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let in_object = || {
        let (_, value) = text.strip_prefix('{')?.split_once("\"challenge\"")?;
        let value = value.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
        value.split('"').next()
    };
    let is_met = text == challenge || quoted == Some(challenge) || in_object() == Some(challenge);
    if is_met { Ok(()) } else { Err(NotProved::Challenge) }
}

/// What the headers of an answer allow for `origin`. Names of hosts are compared without case, and whole.
///
/// # Errors
/// What is missing.
pub fn grant(origin: &str, allowed_origin: Option<&str>, allowed_rate: Option<&str>) -> Result<Grant, NotProved> {
    let is_ours = |allowed: &str| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
    if !allowed_origin.is_some_and(is_ours) {
        return Err(NotProved::Origin);
    }
    rate(allowed_rate.ok_or(NotProved::Rate)?)
}

/// What the headers of a callback allow: who knows its address may, and a rate is not demanded.
///
/// # Errors
/// [`NotProved::Rate`].
pub fn granted_by_callback(allowed_rate: Option<&str>) -> Result<Grant, NotProved> {
    allowed_rate.map_or(Ok(Grant::AsAsked), rate)
}

fn rate(allowed: &str) -> Result<Grant, NotProved> {
    match allowed {
        "*" => Ok(Grant::Unlimited),
        number => number.parse().map(Grant::PerMinute).map_err(|_| NotProved::Rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "hooks.example.com";

    // cases.md 164
    #[test]
    fn only_our_origin_or_any_is_a_grant() {
        for allowed in ["*", ORIGIN, "HOOKS.example.COM"] {
            assert_eq!(grant(ORIGIN, Some(allowed), Some("*")), Ok(Grant::Unlimited), "{allowed}");
        }
        for refused in [
            "hooks.example.com.evil.example",
            "hooks.example",
            "hooks.example.co",
            "example.com",
            "*.example.com",
            "hooks.example.com ",
            " hooks.example.com",
            "https://hooks.example.com",
            "hooks.example.com, other.example",
            "**",
            "",
        ] {
            assert_eq!(grant(ORIGIN, Some(refused), Some("*")), Err(NotProved::Origin), "{refused}");
        }
        assert_eq!(grant(ORIGIN, None, Some("*")), Err(NotProved::Origin));
    }

    #[test]
    fn a_rate_is_a_number_of_requests_a_minute() {
        let hundred = NonZeroU32::new(100).map(Grant::PerMinute).ok_or(NotProved::Rate);
        assert_eq!(grant(ORIGIN, Some("*"), Some("100")), hundred);
        for wrong in [None, Some("0"), Some("-1"), Some("many"), Some("1.5"), Some("")] {
            assert_eq!(grant(ORIGIN, Some("*"), wrong), Err(NotProved::Rate), "{wrong:?}");
        }
    }

    #[test]
    fn a_callback_need_not_say_at_which_rate() {
        assert_eq!(granted_by_callback(None), Ok(Grant::AsAsked));
        assert_eq!(granted_by_callback(Some("*")), Ok(Grant::Unlimited));
        assert!(matches!(granted_by_callback(Some("7")), Ok(Grant::PerMinute(seven)) if seven.get() == 7));
        assert_eq!(granted_by_callback(Some("0")), Err(NotProved::Rate));
    }

    #[test]
    fn a_challenge_is_answered_by_its_value() {
        for body in ["abc", " abc\n", "\"abc\"", r#"{"challenge":"abc"}"#, r#"{"a":1, "challenge" : "abc"}"#] {
            assert_eq!(challenge_is_met("abc", 200, body.as_bytes()), Ok(()), "{body}");
        }
        for body in ["", "abcd", "ab", "url?challenge=abc", r#"{"challenge":"abcd"}"#, "\"abc"] {
            assert_eq!(challenge_is_met("abc", 200, body.as_bytes()), Err(NotProved::Challenge), "{body}");
        }
        assert_eq!(challenge_is_met("abc", 404, b"abc"), Err(NotProved::Status(404)));
    }
}
