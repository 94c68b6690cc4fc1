//! Makes signing secrets, and lets old ones sign until their grace is over.

use std::time::Duration;

use postrider_core::{SECRETS_MAX, Secret, SecretKind, SigningSecret, Timestamp};

use crate::EndpointError;

const GRACE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A secret out of the operating system's randomness: the engine's own dice repeat, and are never asked for this.
pub(crate) fn new_secret(kind: SecretKind) -> Result<Secret, EndpointError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| EndpointError::NoRandomness)?;
    Ok(match kind {
        SecretKind::Symmetric => Secret::from_random(bytes),
        SecretKind::Ed25519 => Secret::private_from_random(bytes),
    })
}

/// `new` in front; the one before it signs until `grace` is over, and those whose grace is over are dropped.
pub(crate) fn rotated(
    old: &[SigningSecret],
    new: Secret,
    grace: Duration,
    now: Timestamp,
) -> Result<Vec<SigningSecret>, EndpointError> {
    if grace > GRACE_MAX {
        return Err(EndpointError::GraceTooLong);
    }
    let until = now + grace;
    let ending = old
        .iter()
        .map(|held| SigningSecret { secret: held.secret.clone(), expires: Some(held.expires.unwrap_or(until)) });
    let still = ending.filter(|held| held.secret != new && held.expires.is_some_and(|expires| now < expires));
    let secrets: Vec<_> = [SigningSecret { secret: new.clone(), expires: None }].into_iter().chain(still).collect();
    if secrets.len() > SECRETS_MAX {
        return Err(EndpointError::LimitReached);
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn secret(n: u8) -> Secret {
        Secret::from_random([n; 32])
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    // cases.md 20
    #[test]
    fn twelve_rotations_with_a_second_of_grace_leave_the_last_two() {
        let mut secrets = vec![SigningSecret { secret: secret(0), expires: None }];
        for n in 1..=12_u8 {
            let now = at(u64::from(n) * 2);
            secrets = rotated(&secrets, secret(n), Duration::from_secs(1), now).expect("the older ones have expired");
        }
        assert_eq!(secrets.len(), 2);
        assert_eq!(secrets[0], SigningSecret { secret: secret(12), expires: None });
        assert_eq!(secrets[1], SigningSecret { secret: secret(11), expires: Some(at(25)) });
    }

    // cases.md 20
    #[test]
    fn with_a_day_of_grace_the_eleventh_secret_is_refused() {
        let mut secrets = vec![SigningSecret { secret: secret(0), expires: None }];
        for n in 1..10 {
            secrets = rotated(&secrets, secret(n), DAY, at(u64::from(n))).expect("ten may sign");
        }
        assert!(matches!(rotated(&secrets, secret(99), DAY, at(99)), Err(EndpointError::LimitReached)));
    }

    #[test]
    fn grace_zero_ends_the_old_one_at_once_and_more_than_a_week_is_refused() {
        let secrets = vec![SigningSecret { secret: secret(0), expires: None }];
        assert_eq!(rotated(&secrets, secret(1), Duration::ZERO, at(1)).expect("is allowed").len(), 1);
        assert!(matches!(rotated(&secrets, secret(1), DAY * 8, at(1)), Err(EndpointError::GraceTooLong)));
    }
}
