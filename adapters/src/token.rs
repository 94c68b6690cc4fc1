//! Bearer tokens of the API: a signed claim about the organisation or the application that calls.
//!
//! A token is a signed JWT, with the claims that the SDKs of this protocol know: `iat`, `nbf`, `exp`, `iss` (always
//! `svix-server`) and `sub`, the caller. A token of an application names its organisation in `org`. Nothing is stored:
//! whoever holds the secret, or the private key, can make tokens for any organisation.
//!
//! A key has one algorithm, and the token does not get to choose another: a public key, which anybody may know, would
//! do as a secret otherwise.

mod access;
mod algorithm;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey, EncodingKey, Header, Validation,
    errors::{Error as JwtError, ErrorKind},
};
use postrider::{ApplicationId, ExpiredTokens, InvalidSession, OrganisationId, SessionId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use self::access::AccessClaims;
pub use self::access::{Access, Capability};
pub use self::algorithm::{PairAlgorithm, SecretAlgorithm};
use self::algorithm::{Signing, pem_bytes};

const ISSUER: &str = "svix-server";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far the clocks of two machines may be apart.
const LEEWAY: Duration = Duration::from_secs(60);
const NANOS: u64 = 1_000_000_000;

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

impl Caller {
    /// The one that calls, or that owns the application that does.
    pub const fn organisation(self) -> OrganisationId {
        match self {
            Self::Organisation(organisation) | Self::Application { organisation, .. } => organisation,
        }
    }
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// Who calls.
    pub caller: Caller,
    /// When it was issued, as far as it says.
    pub issued_at: Timestamp,
    /// What it is good for; an organisation's is good for all, or for reading all.
    pub grant: Grant,
}

/// What the token of an application is good for. All that the application may, unless it says less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// What it may do.
    pub access: Access,
    /// Which event types it sees beside those that have no flag.
    pub feature_flags: BTreeSet<Box<str>>,
    /// The session that it belongs to, by which it can be made to stop working.
    pub session: Option<SessionId>,
}

impl From<Access> for Grant {
    fn from(access: Access) -> Self {
        Self { access, ..Self::default() }
    }
}

/// Verifies tokens, and signs them if it has what that takes. `Debug` shows neither secret nor key. Clones are one key:
/// what [`replace`](Self::replace) says holds for all of them.
#[derive(Clone)]
pub struct TokenKey(Arc<RwLock<Arc<Keys>>>);

#[derive(Clone)]
struct Keys {
    current: One,
    /// These only verify: tokens that they signed are good until they expire.
    previous: Vec<One>,
    demands_expiry: bool,
}

/// One key.
#[derive(Clone)]
struct One {
    decoding: DecodingKey,
    validation: Validation,
    signing: Signing,
    /// Signature of the secret itself: tells whether a bearer is the secret, and comparing takes the same time
    /// wherever they differ.
    of_secret: Option<String>,
}

impl TokenKey {
    /// How long a token of an organisation is good: ten years.
    pub const ORGANISATION_TTL: Duration = DAY.saturating_mul(3650);
    /// How long a token of an application is good: 28 days.
    pub const APPLICATION_TTL: Duration = DAY.saturating_mul(28);

    /// A key over the bytes of this secret, with HS256.
    pub fn new(secret: &str) -> Result<Self, TokenKeyError> {
        Self::of_secret(SecretAlgorithm::Hs256, secret)
    }

    /// As [`Self::new`], and takes a short secret, too. Fails if it is empty.
    pub fn for_development(secret: &str) -> Result<Self, TokenKeyError> {
        Self::of_short_secret(SecretAlgorithm::Hs256, secret)
    }

    /// A key over the bytes of this secret. Fails if they are fewer than [`SecretAlgorithm::secret_bytes_min`]: a short
    /// one can be guessed from any token.
    pub fn of_secret(algorithm: SecretAlgorithm, secret: &str) -> Result<Self, TokenKeyError> {
        let min = algorithm.secret_bytes_min();
        if secret.len() < min {
            return Err(TokenKeyError::TooShort { bytes: secret.len(), algorithm, min });
        }
        Self::of_short_secret(algorithm, secret)
    }

    /// As [`Self::of_secret`], and takes a short one, too. Fails if it is empty.
    pub fn of_short_secret(algorithm: SecretAlgorithm, secret: &str) -> Result<Self, TokenKeyError> {
        if secret.is_empty() {
            return Err(TokenKeyError::TooShort { bytes: 0, algorithm, min: algorithm.secret_bytes_min() });
        }
        let signing = Signing::new(algorithm.jwt(), Some(EncodingKey::from_secret(secret.as_bytes())));
        let of_secret = signing.sign(secret).transpose().map_err(TokenKeyError::Trial)?;
        Ok(Self::of(One::new(DecodingKey::from_secret(secret.as_bytes()), signing, of_secret)))
    }

    /// A key that only verifies, with a public key as PEM (`BEGIN PUBLIC KEY`). It issues nothing.
    pub fn of_public_key(algorithm: PairAlgorithm, public_pem: &str) -> Result<Self, TokenKeyError> {
        One::public(algorithm, public_pem).map(Self::of)
    }

    /// A key that verifies with the public key and signs with the private one, both as PEM. Fails unless they belong
    /// together.
    pub fn of_pair(algorithm: PairAlgorithm, public_pem: &str, private_pem: &str) -> Result<Self, TokenKeyError> {
        const TRIAL: &str = "trial";
        let verifies = One::public(algorithm, public_pem)?;
        let private = algorithm.encoding(private_pem).map_err(TokenKeyError::PrivateKey)?;
        let signing = Signing::new(algorithm.jwt(), Some(private));
        let signature = signing.sign(TRIAL).transpose().map_err(TokenKeyError::Trial)?.unwrap_or_default();
        match jsonwebtoken::crypto::verify(&signature, TRIAL.as_bytes(), &verifies.decoding, algorithm.jwt()) {
            Ok(true) => Ok(Self::of(One { signing, ..verifies })),
            Ok(false) | Err(_) => Err(TokenKeyError::NotAPair),
        }
    }

    /// As this key, and takes what `previous` signed, too, which signs nothing any more: while a secret is changed.
    #[must_use]
    pub fn with_previous(self, previous: &Self) -> Self {
        let mut keys = Keys::clone(&self.keys());
        keys.previous.push(previous.keys().current.clone());
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }

    /// As this key, and refuses tokens that say no end.
    #[must_use]
    pub fn demanding_expiry(self) -> Self {
        let keys = Keys { demands_expiry: true, ..Keys::clone(&self.keys()) };
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }

    /// From now on this and all its clones are as `other` is.
    pub fn replace(&self, other: &Self) {
        let keys = other.keys();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Whether it issues tokens, and does not only verify them.
    pub fn signs(&self) -> bool {
        self.keys().current.signing.key.is_some()
    }

    /// A token for this organisation, good for [`Self::ORGANISATION_TTL`] from `now`.
    pub fn issue_organisation(&self, organisation: OrganisationId, now: Timestamp) -> Result<String, IssueError> {
        self.issue_organisation_for(organisation, Access::ALL, now, Self::ORGANISATION_TTL)
    }

    /// As [`Self::issue_organisation`], good for so long; of `access` it only matters whether it is for reading alone.
    pub fn issue_organisation_for(
        &self,
        organisation: OrganisationId,
        access: Access,
        now: Timestamp,
        good_for: Duration,
    ) -> Result<String, IssueError> {
        let access = if access.is_read_only() { Access::ALL.read_only() } else { Access::ALL };
        self.issue(&Claims { access: access.claims(), ..Claims::new(&organisation, None, now, now, good_for) })
    }

    /// A token for this application of this organisation, good for [`Self::APPLICATION_TTL`] from `now`.
    pub fn issue_application(
        &self,
        application: ApplicationId,
        organisation: OrganisationId,
        now: Timestamp,
    ) -> Result<String, IssueError> {
        self.issue_application_for(application, organisation, now, Self::APPLICATION_TTL)
    }

    /// As [`Self::issue_application`], good for so long.
    pub fn issue_application_for(
        &self,
        application: ApplicationId,
        organisation: OrganisationId,
        now: Timestamp,
        good_for: Duration,
    ) -> Result<String, IssueError> {
        self.issue_restricted(application, organisation, &Grant::default(), now, good_for)
    }

    /// As [`Self::issue_application_for`], and it is good for no more than this.
    pub fn issue_restricted(
        &self,
        application: ApplicationId,
        organisation: OrganisationId,
        grant: &Grant,
        now: Timestamp,
        good_for: Duration,
    ) -> Result<String, IssueError> {
        self.issue_behind(application, organisation, grant, now, now, good_for)
    }

    /// As [`Self::issue_restricted`], and says that it was issued at `issued`, behind tokens that were expired, should the
    /// clock have been set back since. It is good from `now` on all the same.
    pub fn issue_behind(
        &self,
        application: ApplicationId,
        organisation: OrganisationId,
        grant: &Grant,
        issued: Timestamp,
        now: Timestamp,
        good_for: Duration,
    ) -> Result<String, IssueError> {
        let claims = Claims::new(&application, Some(organisation.to_string()), issued, now, good_for);
        let session_id = grant.session.as_ref().map(|session| session.as_str().to_owned());
        let (access, feature_flags) = (grant.access.claims(), grant.feature_flags.clone());
        self.issue(&Claims { access, feature_flags, session_id, ..claims })
    }

    /// Who is meant by this bearer, if we signed it and it is good at `now`, give or take a minute.
    pub fn verify(&self, bearer: &str, now: Timestamp) -> Result<Caller, TokenError> {
        self.read(bearer, now).map(|token| token.caller)
    }

    /// As [`Self::verify`], and all else that it says.
    pub fn read(&self, bearer: &str, now: Timestamp) -> Result<Token, TokenError> {
        let keys = self.keys();
        let claims = keys.claims(bearer)?;
        if keys.demands_expiry && claims.exp.is_none() {
            return Err(TokenError::NeverExpires);
        }
        if claims.exp.is_some_and(|Moment(end)| end + LEEWAY <= now) {
            return Err(TokenError::Expired);
        }
        if claims.nbf.is_some_and(|Moment(from)| now + LEEWAY < from) {
            return Err(TokenError::NotYetGood);
        }
        let (caller, grant) = (claims.caller()?, claims.grant()?);
        let grant = match caller {
            Caller::Organisation(_) if grant.access.is_read_only() => Access::ALL.read_only().into(),
            Caller::Organisation(_) => Grant::default(),
            Caller::Application { .. } => grant,
        };
        let issued_at = claims.issued_at();
        if grant.session.is_some() && issued_at + ExpiredTokens::SESSION_LIFE + LEEWAY <= now {
            return Err(TokenError::Expired);
        }
        Ok(Token { caller, issued_at, grant })
    }

    fn of(current: One) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(Keys { current, previous: Vec::new(), demands_expiry: false }))))
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn issue(&self, claims: &Claims) -> Result<String, IssueError> {
        let keys = self.keys();
        let signing = &keys.current.signing;
        let key = signing.key.as_ref().ok_or(IssueError::NoPrivateKey)?;
        jsonwebtoken::encode(&Header::new(signing.algorithm), claims, key).map_err(IssueError::Sign)
    }
}

impl Keys {
    /// What the bearer says, if one of these signed it.
    fn claims(&self, bearer: &str) -> Result<Said, TokenError> {
        if has_critical_header(bearer) {
            // It says that we must understand what we do not.
            return Err(TokenError::Invalid(ErrorKind::InvalidToken.into()));
        }
        let refused = match self.current.claims(bearer) {
            Ok(claims) => return Ok(claims),
            Err(refused) => refused,
        };
        if let Some(claims) = self.previous.iter().find_map(|previous| previous.claims(bearer).ok()) {
            return Ok(claims);
        }
        let is_secret = self.current.is_secret(bearer) || self.previous.iter().any(|one| one.is_secret(bearer));
        Err(if is_secret { TokenError::IsSecret } else { TokenError::Invalid(refused) })
    }
}

impl One {
    fn new(decoding: DecodingKey, signing: Signing, of_secret: Option<String>) -> Self {
        let mut validation = Validation::new(signing.algorithm);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["iss", "sub"]);
        // Times are compared with the caller's clock, in `read`; an audience says nothing to us.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self { decoding, validation, signing, of_secret }
    }

    fn public(algorithm: PairAlgorithm, public_pem: &str) -> Result<Self, TokenKeyError> {
        if public_pem.contains("PRIVATE KEY-----") {
            return Err(TokenKeyError::PrivateInPublic);
        }
        let decoding = algorithm.decoding(public_pem).map_err(TokenKeyError::PublicKey)?;
        if pem_bytes(public_pem) < algorithm.public_key_bytes_min() {
            return Err(TokenKeyError::PublicKeyTooShort);
        }
        Ok(Self::new(decoding, Signing::new(algorithm.jwt(), None), None))
    }

    fn claims(&self, bearer: &str) -> Result<Said, JwtError> {
        jsonwebtoken::decode::<Said>(bearer, &self.decoding, &self.validation).map(|token| token.claims)
    }

    fn is_secret(&self, bearer: &str) -> bool {
        let Some(of_secret) = &self.of_secret else { return false };
        matches!(self.signing.sign(bearer), Some(Ok(signed)) if signed == *of_secret)
    }
}

/// Whether its header names parts that whoever reads it must understand (RFC 7515): we know none of them.
fn has_critical_header(bearer: &str) -> bool {
    let header = bearer.split('.').next().and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let header = header.and_then(|header| serde_json::from_slice::<serde_json::Value>(&header).ok());
    header.is_some_and(|header| header.get("crit").is_some())
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").finish_non_exhaustive()
    }
}

/// There is no key of this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenKeyError {
    /// Take a longer one, at random.
    #[error(
        "the signing secret has {bytes} bytes, and {algorithm} needs at least {min}, because a shorter one can be \
         guessed; make one with `postrider token secret`"
    )]
    TooShort {
        /// Its length.
        bytes: usize,
        /// What it was to be used with.
        algorithm: SecretAlgorithm,
        /// What this algorithm needs, in bytes.
        min: usize,
    },
    /// Take the other half of the pair, and make a new pair if this one was where others could read it.
    #[error("the public key is a private key; make its public half with `openssl pkey -in private.pem -pubout`")]
    PrivateInPublic,
    /// Take a key of the right kind, as PEM.
    #[error("the public key is not one of this algorithm, as PEM that begins with `BEGIN PUBLIC KEY`")]
    PublicKey(#[source] JwtError),
    /// Make a longer pair.
    #[error("the public key has fewer than the 2048 bits that RSA needs; make a longer pair")]
    PublicKeyTooShort,
    /// Take a key of the right kind, as PEM and without a password.
    #[error(
        "the private key is not one of this algorithm, as PEM without a password that begins with `BEGIN PRIVATE KEY`"
    )]
    PrivateKey(#[source] JwtError),
    /// Take both of one pair.
    #[error("the private key does not belong to the public key")]
    NotAPair,
    /// Take another key: this one cannot sign.
    #[error("could not sign with the key")]
    Trial(#[source] JwtError),
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// Sign tokens where the private key is, or give it to this key, too.
    #[error(
        "tokens are verified here with a public key, and there is no private key to sign them with; sign them where \
         it is kept, or set `tokens.private_key_file`"
    )]
    NoPrivateKey,
    /// A fault of ours or of the cryptography package.
    #[error("could not sign the token")]
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
    /// Issue one that expires.
    #[error("the token says no end, and tokens without one are not taken here")]
    NeverExpires,
    /// Its session cannot be told from others.
    #[error("the token names no session that there can be")]
    Session(#[from] InvalidSession),
}

/// What a token is made to say.
#[derive(Debug, Serialize)]
struct Claims {
    iat: u64,
    /// Nanoseconds of that second: tokens of one second are told apart when some of them are expired.
    #[serde(skip_serializing_if = "is_zero")]
    iat_ns: u64,
    nbf: u64,
    exp: u64,
    iss: String,
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    feature_flags: BTreeSet<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(flatten)]
    access: AccessClaims,
}

impl Claims {
    fn new(
        subject: &dyn fmt::Display,
        org: Option<String>,
        issued: Timestamp,
        now: Timestamp,
        good_for: Duration,
    ) -> Self {
        let (iat, iat_ns) = (seconds(issued), issued.as_nanos() % NANOS);
        let (nbf, exp) = (seconds(now), seconds(now).saturating_add(good_for.as_secs()));
        let (iss, sub, feature_flags) = (ISSUER.to_owned(), subject.to_string(), BTreeSet::new());
        Self { iat, iat_ns, nbf, exp, iss, sub, org, feature_flags, session_id: None, access: AccessClaims::default() }
    }
}

/// What a token says, of whoever's making.
#[derive(Debug, Deserialize)]
struct Said {
    iat: Option<Moment>,
    #[serde(default)]
    iat_ns: u64,
    nbf: Option<Moment>,
    exp: Option<Moment>,
    sub: String,
    org: Option<String>,
    #[serde(default)]
    feature_flags: BTreeSet<Box<str>>,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(flatten)]
    access: AccessClaims,
}

impl Said {
    /// At the very first moment if it does not say: then it is expired with the first that are.
    fn issued_at(&self) -> Timestamp {
        let Moment(iat) = self.iat.unwrap_or(Moment(Timestamp::from_nanos(0)));
        iat + Duration::from_nanos(self.iat_ns.min(NANOS - 1))
    }

    fn grant(&self) -> Result<Grant, TokenError> {
        let session = self.session_id.as_deref().map(SessionId::new).transpose()?;
        Ok(Grant { access: self.access.access(), feature_flags: self.feature_flags.clone(), session })
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

/// A `NumericDate` (RFC 7519): seconds, which may have fractions.
#[derive(Clone, Copy, Debug)]
struct Moment(Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        Ok(Self(match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => Timestamp::from_nanos(whole.saturating_mul(NANOS)),
            (None, Some(float)) if float > 0.0 => {
                let since = Duration::try_from_secs_f64(float).unwrap_or(Duration::MAX);
                Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
            }
            (None, _) => Timestamp::from_nanos(0),
        }))
    }
}

const fn seconds(time: Timestamp) -> u64 {
    time.as_nanos() / NANOS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
