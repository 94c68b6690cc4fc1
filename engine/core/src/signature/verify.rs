//! Verifies what a sender signed: for receivers, and for tests that stand in for them.

use std::{fmt, time::Duration};

use base64::Engine as _;
use ed25519_dalek::{PUBLIC_KEY_LENGTH, Signature, VerifyingKey};
use hmac::Mac as _;

use super::{
    InvalidSecret, Secret, hmac,
    secret::{BASE64, Key, PUBLIC, decode},
    unix_seconds,
};
use crate::Timestamp;

/// How old, or how far ahead, an attempt's timestamp may be.
const TOLERANCE: Duration = Duration::from_secs(300);

/// Entries of a signature list that are looked at: a longer list is not worth the arithmetic.
const ENTRIES_MAX: usize = 32;

/// What a receiver verifies with. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Verifier(VerifyKey);

#[derive(Clone)]
enum VerifyKey {
    Symmetric(Secret),
    Ed25519(Box<VerifyingKey>),
}

impl Verifier {
    /// Reads `whsec_…`, the same base64 without its prefix, or `whpk_…`.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let Some(base64) = text.strip_prefix(PUBLIC) else {
            return Secret::parse(text).map(|secret| Self::of(&secret));
        };
        let bytes = decode(base64)?;
        let bytes = <&[u8; PUBLIC_KEY_LENGTH]>::try_from(bytes.as_slice()).map_err(|_| InvalidSecret::Form)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidSecret::Form)?;
        Ok(Self(VerifyKey::Ed25519(Box::new(key))))
    }

    /// What verifies signatures of `secret`.
    pub fn of(secret: &Secret) -> Self {
        match secret.key() {
            Key::Symmetric(_) => Self(VerifyKey::Symmetric(secret.clone())),
            Key::Ed25519(key) => Self(VerifyKey::Ed25519(Box::new(key.verifying_key()))),
        }
    }

    fn has_signed(&self, entry: &str, signed: &[&[u8]]) -> bool {
        let Some((version, base64)) = entry.split_once(',') else { return false };
        let Ok(signature) = BASE64.decode(base64) else { return false };
        match (&self.0, version) {
            (VerifyKey::Symmetric(secret), "v1") => match secret.key() {
                // Compares in constant time.
                Key::Symmetric(key) => hmac(key, signed).verify_slice(&signature).is_ok(),
                Key::Ed25519(_) => false,
            },
            (VerifyKey::Ed25519(key), "v1a") => Signature::from_slice(&signature)
                .is_ok_and(|signature| key.verify_strict(&signed.concat(), &signature).is_ok()),
            (VerifyKey::Symmetric(_) | VerifyKey::Ed25519(_), _) => false,
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// The headers of an attempt as received, by their Standard Webhooks names or Svix's own.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`: a list; one entry that verifies is enough.
    pub signature: &'a str,
}

/// Whether one of `verifiers` vouches for `received` and `body`, the bytes exactly as they came. `wall` is the time of
/// day; timestamps up to 5 minutes away from it are accepted.
///
/// A receiver drops what it has seen already by its id: within those minutes, what was signed once can be sent again.
pub fn verify(verifiers: &[Verifier], received: &Received<'_>, body: &[u8], wall: Timestamp) -> Result<(), Unverified> {
    let Received { id, timestamp, signature } = *received;
    let is_number = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = timestamp.parse().ok().filter(|_| is_number).ok_or(Unverified::Timestamp)?;
    if seconds.abs_diff(unix_seconds(wall)) > TOLERANCE.as_secs() {
        return Err(Unverified::TooFarOff);
    }
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let mut entries = signature.split(' ').take(ENTRIES_MAX);
    let is_signed = entries.any(|entry| verifiers.iter().any(|verifier| verifier.has_signed(entry, &signed)));
    if is_signed { Ok(()) } else { Err(Unverified::Signature) }
}

/// Why what was received is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// The header is missing or garbled.
    #[error("timestamp is not a number of seconds")]
    Timestamp,
    /// It was sent again by somebody, or a clock is wrong.
    #[error("timestamp is more than {} s away from now", TOLERANCE.as_secs())]
    TooFarOff,
    /// It was signed with another secret, or changed on its way; verify the bytes of the body before parsing them.
    #[error("no signature verifies")]
    Signature,
}
