//! How tokens are signed: with a secret that signs and verifies, or with a pair of keys.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    errors::{Error as JwtError, ErrorKind},
};

/// Signs and verifies with one secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// Signs with a private key, and verifies with the public one that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PairAlgorithm {
    /// RSA (PKCS #1, 2048 bits at least) with SHA-256.
    Rs256,
    /// RSA with SHA-384.
    Rs384,
    /// RSA with SHA-512.
    Rs512,
    /// Ed25519.
    EdDsa,
}

impl SecretAlgorithm {
    /// The shortest secret, in bytes: as long as the digest, as RFC 7518 asks.
    pub const fn secret_bytes_min(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }

    pub(super) const fn jwt(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Hs384 => Algorithm::HS384,
            Self::Hs512 => Algorithm::HS512,
        }
    }
}

impl fmt::Display for SecretAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        })
    }
}

impl PairAlgorithm {
    pub(super) const fn jwt(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Rs384 => Algorithm::RS384,
            Self::Rs512 => Algorithm::RS512,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }

    /// Fewer bytes cannot hold a key that verifies anything: the modulus of RSA alone has 256.
    pub(super) const fn public_key_bytes_min(self) -> usize {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 => 256,
            Self::EdDsa => 32,
        }
    }

    pub(super) fn decoding(self, public_pem: &str) -> Result<DecodingKey, JwtError> {
        // A certificate would be searched for something that looks like a key.
        if !public_pem.contains("-----BEGIN PUBLIC KEY-----") {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 => DecodingKey::from_rsa_pem(public_pem.as_bytes()),
            Self::EdDsa => DecodingKey::from_ed_pem(public_pem.as_bytes()),
        }
    }

    pub(super) fn encoding(self, private_pem: &str) -> Result<EncodingKey, JwtError> {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 => EncodingKey::from_rsa_pem(private_pem.as_bytes()),
            Self::EdDsa => EncodingKey::from_ed_pem(private_pem.as_bytes()),
        }
    }
}

/// What signs, if there is something that does.
#[derive(Clone)]
pub(super) struct Signing {
    pub(super) algorithm: Algorithm,
    pub(super) key: Option<EncodingKey>,
}

impl Signing {
    pub(super) const fn new(algorithm: Algorithm, key: Option<EncodingKey>) -> Self {
        Self { algorithm, key }
    }

    /// The signature of this text.
    pub(super) fn sign(&self, text: &str) -> Option<Result<String, JwtError>> {
        let key = self.key.as_ref()?;
        Some(jsonwebtoken::crypto::sign(text.as_bytes(), key, self.algorithm))
    }
}

/// About how many bytes a PEM file holds.
pub(super) fn pem_bytes(pem: &str) -> usize {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.map(|line| line.trim().len()).sum::<usize>() / 4 * 3
}
