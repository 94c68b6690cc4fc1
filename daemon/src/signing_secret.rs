//! What signs tokens and verifies them: a pair of keys, or a secret, from the settings, or for development from the
//! data folder.

use std::{
    fs::{self, DirBuilder},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use postrider_adapters::token::{PairAlgorithm, SecretAlgorithm, TokenKey, TokenKeyError};
use tempfile::NamedTempFile;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::config::{Config, General, Storage, TokenAlgorithm, Tokens};

const DEVELOPMENT_FILE: &str = "dev-jwt-secret";
/// How often key files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A fresh secret: 64 random bytes in base64, as much as the longest digest takes.
pub(crate) fn fresh() -> Result<String, KeyError> {
    let mut bytes = [0; 64];
    getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
    Ok(BASE64_STANDARD_NO_PAD.encode(bytes))
}

/// The key that the settings name. With `dev` and no secret set, it is made once and kept in the data folder, so that
/// tokens outlive a restart; with storage in memory it is made for this run.
pub(crate) fn token_key(config: &Config) -> Result<TokenKey, KeyError> {
    let key = current_key(config)?;
    let key = match previous_key(config)? {
        Some(previous) => key.with_previous(&previous),
        None => key,
    };
    Ok(if config.tokens.require_expiry { key.demanding_expiry() } else { key })
}

/// Puts into `key` what the files of the settings hold, as they change, for as long as it is waited for. What is wrong with
/// them is logged once, and the key stays as it is.
pub(crate) async fn renew(config: Config, key: TokenKey) {
    let files = files(&config);
    let read = || files.iter().map(|path| fs::read(path).ok()).collect::<Vec<_>>();
    let mut known = read();
    while !files.is_empty() {
        sleep(LOOK_EVERY).await;
        // Some hundred bytes each.
        let now = read();
        if now == known {
            continue;
        }
        known = now;
        match token_key(&config) {
            Ok(new) => {
                key.replace(&new);
                info!("tokens are verified with what their key files hold now");
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "key files have changed and are not used; the keys stay"
                );
            }
        }
    }
}

fn files(config: &Config) -> Vec<PathBuf> {
    let (general, tokens) = (&config.general, &config.tokens);
    let all = [
        &general.jwt_secret_file,
        &general.jwt_previous_secret_file,
        &tokens.public_key_file,
        &tokens.private_key_file,
        &tokens.previous_public_key_file,
    ];
    all.into_iter().flatten().cloned().collect()
}

/// What only verifies.
fn previous_key(config: &Config) -> Result<Option<TokenKey>, KeyError> {
    let of_secret = |algorithm: SecretAlgorithm| {
        let Some(path) = &config.general.jwt_previous_secret_file else { return Ok(None) };
        let made = if config.general.dev { TokenKey::of_short_secret } else { TokenKey::of_secret };
        made(algorithm, &read(path)?).map(Some).map_err(KeyError::Key)
    };
    let of_file = |algorithm: PairAlgorithm| {
        let Some(path) = &config.tokens.previous_public_key_file else { return Ok(None) };
        let setting = "tokens.previous_public_key_file";
        let public =
            fs::read_to_string(path).map_err(|error| KeyError::File { path: path.to_owned(), setting, error })?;
        TokenKey::of_public_key(algorithm, &public).map(Some).map_err(KeyError::Key)
    };
    match config.tokens.algorithm {
        TokenAlgorithm::Hs256 => of_secret(SecretAlgorithm::Hs256),
        TokenAlgorithm::Hs384 => of_secret(SecretAlgorithm::Hs384),
        TokenAlgorithm::Hs512 => of_secret(SecretAlgorithm::Hs512),
        TokenAlgorithm::Rs256 => of_file(PairAlgorithm::Rs256),
        TokenAlgorithm::Rs384 => of_file(PairAlgorithm::Rs384),
        TokenAlgorithm::Rs512 => of_file(PairAlgorithm::Rs512),
        TokenAlgorithm::EdDsa => of_file(PairAlgorithm::EdDsa),
    }
}

fn current_key(config: &Config) -> Result<TokenKey, KeyError> {
    match config.tokens.algorithm {
        TokenAlgorithm::Hs256 => of_secret(SecretAlgorithm::Hs256, &config.general),
        TokenAlgorithm::Hs384 => of_secret(SecretAlgorithm::Hs384, &config.general),
        TokenAlgorithm::Hs512 => of_secret(SecretAlgorithm::Hs512, &config.general),
        TokenAlgorithm::Rs256 => of_files(PairAlgorithm::Rs256, &config.tokens),
        TokenAlgorithm::Rs384 => of_files(PairAlgorithm::Rs384, &config.tokens),
        TokenAlgorithm::Rs512 => of_files(PairAlgorithm::Rs512, &config.tokens),
        TokenAlgorithm::EdDsa => of_files(PairAlgorithm::EdDsa, &config.tokens),
    }
}

/// As [`token_key`], for a token that another process is to take: a key of one run only is of no use.
pub(crate) fn lasting_token_key(config: &Config) -> Result<TokenKey, KeyError> {
    if makes_its_own(config) && config.general.storage == Storage::Memory {
        return Err(KeyError::OnlyOfOneRun);
    }
    token_key(config)
}

/// As [`lasting_token_key`], for a token that a running daemon is to take: a secret that is made now is not that daemon's.
pub(crate) fn known_token_key(config: &Config) -> Result<TokenKey, KeyError> {
    let path = config.general.data.join(DEVELOPMENT_FILE);
    if makes_its_own(config) && config.general.storage != Storage::Memory && !path.exists() {
        return Err(KeyError::NoDaemonHere { path });
    }
    lasting_token_key(config)
}

/// Whether the secret is one that `dev` makes, because none is set.
fn makes_its_own(config: &Config) -> bool {
    let Config { general, tokens, .. } = config;
    let is_set = general.jwt_secret.is_some() || general.jwt_secret_file.is_some() || tokens.public_key_file.is_some();
    general.dev && !is_set
}

fn of_secret(algorithm: SecretAlgorithm, general: &General) -> Result<TokenKey, KeyError> {
    let secret = if let Some(secret) = &general.jwt_secret {
        secret.expose().to_owned()
    } else if let Some(path) = &general.jwt_secret_file {
        read(path)?
    } else if !general.dev {
        return Err(KeyError::Missing);
    } else if general.storage == Storage::Memory {
        fresh()?
    } else {
        development(&general.data)?
    };
    let made = if general.dev { TokenKey::of_short_secret } else { TokenKey::of_secret };
    made(algorithm, &secret).map_err(KeyError::Key)
}

fn of_files(algorithm: PairAlgorithm, tokens: &Tokens) -> Result<TokenKey, KeyError> {
    let read = |path: &Path, setting| {
        fs::read_to_string(path).map_err(|error| KeyError::File { path: path.to_owned(), setting, error })
    };
    let public = tokens.public_key_file.as_deref().ok_or(KeyError::NoPublicKey)?;
    let public = read(public, "tokens.public_key_file")?;
    let key = match &tokens.private_key_file {
        None => TokenKey::of_public_key(algorithm, &public),
        Some(path) => TokenKey::of_pair(algorithm, &public, &read(path, "tokens.private_key_file")?),
    };
    key.map_err(KeyError::Key)
}

fn read(path: &Path) -> Result<String, KeyError> {
    let text = fs::read_to_string(path).map_err(|error| KeyError::Unreadable { path: path.to_owned(), error })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn development(data: &Path) -> Result<String, KeyError> {
    let path = data.join(DEVELOPMENT_FILE);
    if !path.exists() {
        let secret = fresh()?;
        keep(data, &path, &secret).map_err(|error| KeyError::NotKept { path: path.clone(), error })?;
    }
    read(&path)
}

/// Writes the file whole or not at all, for its owner only. Of two that do this at once, the first one's stays.
fn keep(data: &Path, path: &Path, secret: &str) -> io::Result<()> {
    make_folder(data)?;
    let mut draft = NamedTempFile::new_in(data)?;
    draft.write_all(secret.as_bytes())?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(path) {
        Err(refused) if refused.error.kind() != io::ErrorKind::AlreadyExists => Err(refused.error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Makes a folder that only we can look into, unless it is there.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// Set one.
    #[error(
        "no secret is set that signs tokens: make one with `postrider token secret`, put it into a file, and name the \
         file as `jwt_secret_file` (POSTRIDER_JWT_SECRET_FILE); to try things out, start with --dev"
    )]
    Missing,
    /// Take the token that `serve` prints, or another storage.
    #[error(
        "with --dev and storage in memory, the secret lives only as long as the daemon: use the token that \
         `postrider serve` prints, or set `jwt_secret_file`"
    )]
    OnlyOfOneRun,
    /// Give `--data` as the daemon has it.
    #[error("no development secret is in {}: name the data folder of the running daemon with --data", path.display())]
    NoDaemonHere { path: PathBuf },
    /// Correct the name or the permissions.
    #[error("could not read the signing secret in {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// Make the data folder writable.
    #[error("could not keep the development secret in {}: `data` must name a folder that may be written to", path.display())]
    NotKept {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// Name a file that holds one.
    #[error("tokens.public_key_file is not set, and this tokens.algorithm verifies with a public key")]
    NoPublicKey,
    /// Correct the name or the permissions.
    #[error("could not read {}, which {setting} names", path.display())]
    File {
        path: PathBuf,
        setting: &'static str,
        #[source]
        error: io::Error,
    },
    /// Take another secret, or other keys.
    #[error(transparent)]
    Key(TokenKeyError),
    /// The operating system gives no randomness.
    #[error("could not get randomness from the operating system")]
    Random(#[source] getrandom::Error),
}

#[cfg(test)]
mod tests;
