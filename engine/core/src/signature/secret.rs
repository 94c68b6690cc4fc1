//! What an endpoint's attempts are signed with.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ed25519_dalek::{KEYPAIR_LENGTH, SECRET_KEY_LENGTH, SigningKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroizing;

/// Standard alphabet, padded when written, padded or not when read.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const SYMMETRIC: &str = "whsec_";
const PRIVATE: &str = "whsk_";
pub(super) const PUBLIC: &str = "whpk_";

const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// What an endpoint's attempts are signed with: 24 to 64 random bytes that its receiver knows as well, or an ed25519
/// private key whose public half the receiver knows.
///
/// `Debug` shows nothing of it, and its memory is wiped when it is dropped. It is stored as it is printed; sealing what
/// is stored is the store's part.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Key);

/// What is made where no secret is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretKind {
    /// Bytes that the receiver knows as well.
    #[default]
    Symmetric,
    /// A private key, whose public half the receiver gets.
    Ed25519,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Key {
    Symmetric(Zeroizing<Vec<u8>>),
    Ed25519(Box<SigningKey>),
}

impl Secret {
    /// A symmetric secret out of 32 bytes from a source fit for secrets.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Key::Symmetric(Zeroizing::new(bytes.to_vec())))
    }

    /// An ed25519 private key out of 32 bytes from a source fit for secrets.
    pub fn private_from_random(bytes: [u8; 32]) -> Self {
        Self(Key::Ed25519(Box::new(SigningKey::from_bytes(&bytes))))
    }

    /// Reads `whsec_…`, the same base64 without its prefix, or `whsk_…` (an ed25519 private key of 32 bytes, or of 64
    /// with its public half).
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        if text.is_empty() {
            return Err(InvalidSecret::Empty);
        }
        if text.starts_with(PUBLIC) {
            return Err(InvalidSecret::Public);
        }
        if let Some(base64) = text.strip_prefix(PRIVATE) {
            return decode(base64).and_then(|bytes| private_key(&bytes)).map(|key| Self(Key::Ed25519(key)));
        }
        let bytes = decode(text.strip_prefix(SYMMETRIC).unwrap_or(text))?;
        match bytes.len() {
            0 => Err(InvalidSecret::Empty),
            BYTES_MIN..=BYTES_MAX => Ok(Self(Key::Symmetric(bytes))),
            bytes => Err(InvalidSecret::Length { bytes }),
        }
    }

    /// The secret itself, as [`parse`](Self::parse) reads it: `whsec_…` or `whsk_…`. For storage and for its owner.
    pub fn reveal(&self) -> String {
        match &self.0 {
            Key::Symmetric(bytes) => format!("{SYMMETRIC}{}", BASE64.encode(bytes)),
            Key::Ed25519(key) => {
                format!("{PRIVATE}{}", BASE64.encode(Zeroizing::new(key.to_keypair_bytes())))
            }
        }
    }

    /// What a receiver needs to verify with: `whsec_…` or `whpk_…`.
    pub fn verifying(&self) -> String {
        match &self.0 {
            Key::Symmetric(_) => self.reveal(),
            Key::Ed25519(key) => format!("{PUBLIC}{}", BASE64.encode(key.verifying_key())),
        }
    }

    pub(super) const fn key(&self) -> &Key {
        &self.0
    }
}

pub(super) fn decode(base64: &str) -> Result<Zeroizing<Vec<u8>>, InvalidSecret> {
    BASE64.decode(base64).map(Zeroizing::new).map_err(|_| InvalidSecret::Form)
}

fn private_key(bytes: &[u8]) -> Result<Box<SigningKey>, InvalidSecret> {
    if let Ok(seed) = <&[u8; SECRET_KEY_LENGTH]>::try_from(bytes) {
        return Ok(Box::new(SigningKey::from_bytes(seed)));
    }
    let pair = <&[u8; KEYPAIR_LENGTH]>::try_from(bytes).map_err(|_| InvalidSecret::PrivateKey)?;
    SigningKey::from_keypair_bytes(pair).map(Box::new).map_err(|_| InvalidSecret::PrivateKey)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What is written in place of a secret where people may read it.
pub(crate) const HIDDEN: &str = "hidden";

/// For the store alone: a format that people read, such as JSON, gets no secret, or whoever shows or logs an endpoint as it
/// is would give it away.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(HIDDEN);
        }
        serializer.serialize_str(&Zeroizing::new(self.reveal()))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// Not a secret. Never shows what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// Leave it out to have one made, or give one.
    #[error("secret is empty; give `whsec_` and base64 of 24 to 64 random bytes, or leave it out to have one made")]
    Empty,
    /// Give it without quotes, blanks, line breaks and `v1,`.
    #[error(
        "secret must be `whsec_` and base64 of 24 to 64 random bytes, or `whsk_` and base64 of an ed25519 private key, \
         without quotes, blanks or `v1,`"
    )]
    Form,
    /// Give 24 to 64 bytes.
    #[error("secret has {bytes} bytes; give `whsec_` and base64 of {BYTES_MIN} to {BYTES_MAX} random bytes")]
    Length {
        /// Of the secret given, decoded.
        bytes: usize,
    },
    /// Give `whsk_` and base64 of 32 bytes, or of 64 with its own public half.
    #[error("private key must be `whsk_` and base64 of the 32 bytes of an ed25519 seed, or of 64 with its public key")]
    PrivateKey,
    /// Give the private key: a public one cannot sign.
    #[error("`whpk_` is a public key, which can only verify; give `whsk_` and base64 of its private key")]
    Public,
}
