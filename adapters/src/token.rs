//! Bearer tokens of the API: a signed claim about the organisation or the application that calls.
//!
//! A token is a JWT signed with HS256, with the claims that the SDKs of this protocol know: `iat`, `nbf`, `exp`,
//! `iss` (always `svix-server`) and `sub`, the caller. A token of an application names its organisation in `org`.
//! Nothing is stored: whoever holds the secret can make tokens for any organisation.

use std::{fmt, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::Error as JwtError};
use postrider::{ApplicationId, OrganisationId, Timestamp};
use serde::{Deserialize, Serialize};

const ISSUER: &str = "svix-server";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far the clocks of two machines may be apart.
const LEEWAY_SECONDS: u64 = 60;

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// May do everything to what belongs to this organisation, and sees nothing else.
    Organisation(OrganisationId),
    /// May look after its own endpoints and deliveries.
    Application {
        /// The one that calls.
        application: ApplicationId,
        /// The one that owns it.
        organisation: OrganisationId,
    },
}

/// Signs tokens and verifies them, with one secret. `Debug` does not show it.
#[derive(Clone)]
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    /// Signature of the secret itself: tells whether a bearer is the secret, and comparing takes the same time
    /// wherever they differ.
    of_secret: String,
}

impl TokenKey {
    /// The shortest secret that [`Self::new`] takes, in bytes: as long as the digest, as RFC 7518 asks.
    pub const SECRET_BYTES_MIN: usize = 32;
    /// How long a token of an organisation is good: ten years.
    pub const ORGANISATION_TTL: Duration = DAY.saturating_mul(3650);
    /// How long a token of an application is good: 28 days.
    pub const APPLICATION_TTL: Duration = DAY.saturating_mul(28);

    /// A key over the bytes of this secret. Fails if it is shorter than [`Self::SECRET_BYTES_MIN`]: a short one can be
    /// guessed from any token.
    pub fn new(secret: &str) -> Result<Self, SecretError> {
        if secret.len() < Self::SECRET_BYTES_MIN {
            return Err(SecretError::TooShort { bytes: secret.len() });
        }
        Self::for_development(secret)
    }

    /// As [`Self::new`], and takes a short secret, too. Fails if it is empty.
    pub fn for_development(secret: &str) -> Result<Self, SecretError> {
        if secret.is_empty() {
            return Err(SecretError::TooShort { bytes: 0 });
        }
        let encoding = EncodingKey::from_secret(secret.as_bytes());
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // Times are compared with the caller's clock, in `verify`; an audience says nothing to us.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Ok(Self {
            of_secret: sign(&encoding, secret).map_err(SecretError::Sign)?,
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            encoding,
            validation,
        })
    }

    /// A token for this organisation, good for [`Self::ORGANISATION_TTL`] from `now`.
    pub fn issue_organisation(&self, organisation: OrganisationId, now: Timestamp) -> Result<String, SecretError> {
        self.issue(&Claims::new(&organisation, None, now, Self::ORGANISATION_TTL))
    }

    /// A token for this application of this organisation, good for [`Self::APPLICATION_TTL`] from `now`.
    pub fn issue_application(
        &self,
        application: ApplicationId,
        organisation: OrganisationId,
        now: Timestamp,
    ) -> Result<String, SecretError> {
        self.issue_application_for(application, organisation, now, Self::APPLICATION_TTL)
    }

    /// As [`Self::issue_application`], good for so long.
    pub fn issue_application_for(
        &self,
        application: ApplicationId,
        organisation: OrganisationId,
        now: Timestamp,
        good_for: Duration,
    ) -> Result<String, SecretError> {
        self.issue(&Claims::new(&application, Some(organisation.to_string()), now, good_for))
    }

    /// Who is meant by this bearer, if we signed it and it is good at `now`, give or take a minute.
    pub fn verify(&self, bearer: &str, now: Timestamp) -> Result<Caller, TokenError> {
        let claims = match jsonwebtoken::decode::<Claims>(bearer, &self.decoding, &self.validation) {
            Ok(token) => token.claims,
            Err(_) if sign(&self.encoding, bearer).is_ok_and(|signed| signed == self.of_secret) => {
                return Err(TokenError::IsSecret);
            }
            Err(error) => return Err(TokenError::Invalid(error)),
        };
        let now = seconds(now);
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf.is_some_and(|from| from > now.saturating_add(LEEWAY_SECONDS)) {
            return Err(TokenError::NotYetGood);
        }
        claims.caller()
    }

    fn issue(&self, claims: &Claims) -> Result<String, SecretError> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(SecretError::Sign)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").finish_non_exhaustive()
    }
}

/// A key could not be made of a secret, or could not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Take a longer one, at random.
    #[error(
        "the signing secret has {bytes} bytes, and fewer than {} can be guessed; make one with `postrider token secret`",
        TokenKey::SECRET_BYTES_MIN
    )]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// A fault of ours or of the cryptography package.
    #[error("could not sign with the secret")]
    Sign(#[source] JwtError),
}

/// Why a bearer token is refused. The caller has to bring another one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The secret that signs tokens was sent in place of a token. It is known to more than it should be: change it.
    #[error("the signing secret cannot be used as a token; make a token with `postrider token create`")]
    IsSecret,
    /// Not a token, of another issuer or algorithm, changed, or signed with another secret.
    #[error("the token is not valid")]
    Invalid(#[source] JwtError),
    /// Issue a new one.
    #[error("the token has expired")]
    Expired,
    /// Wait, or compare the clocks of the two machines.
    #[error("the token is not good yet")]
    NotYetGood,
    /// Its subject is neither an organisation, nor an application with the organisation that owns it.
    #[error("the token does not name an organisation or an application of one")]
    NoCaller,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    exp: u64,
    iss: String,
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
}

impl Claims {
    fn new(subject: &dyn fmt::Display, org: Option<String>, now: Timestamp, ttl: Duration) -> Self {
        let now = seconds(now);
        let (iss, sub, exp) = (ISSUER.to_owned(), subject.to_string(), now.saturating_add(ttl.as_secs()));
        Self { iat: now, nbf: Some(now), exp, iss, sub, org }
    }

    fn caller(&self) -> Result<Caller, TokenError> {
        let organisation = |text: &str| text.parse::<OrganisationId>().map_err(|_| TokenError::NoCaller);
        if let Ok(id) = organisation(&self.sub) {
            return Ok(Caller::Organisation(id));
        }
        let application = self.sub.parse().map_err(|_| TokenError::NoCaller)?;
        let organisation = organisation(self.org.as_deref().ok_or(TokenError::NoCaller)?)?;
        Ok(Caller::Application { application, organisation })
    }
}

fn sign(key: &EncodingKey, text: &str) -> Result<String, JwtError> {
    jsonwebtoken::crypto::sign(text.as_bytes(), key, Algorithm::HS256)
}

const fn seconds(time: Timestamp) -> u64 {
    time.as_nanos() / 1_000_000_000
}

#[cfg(test)]
mod tests;
