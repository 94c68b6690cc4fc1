//! Settings that belong together: one that would silently not hold is a mistake.

use super::{
    Config, TokenAlgorithm,
    key::{Shown, Value},
    mistake::{Mistake, Origin},
};

/// What is wrong between settings that are each right.
pub(super) fn mistakes(config: &Config, place: &dyn Fn(&str) -> Origin) -> Vec<Mistake> {
    let mut found = Vec::new();
    if config.general.jwt_secret.is_some() && config.general.jwt_secret_file.is_some() {
        let (first, second) = ("jwt_secret", "jwt_secret_file");
        found.push(Mistake::Both { first, first_place: place(first), second, second_place: place(second) });
    }
    let (cert, key) = ("tls.cert_file", "tls.key_file");
    match (&config.tls.cert_file, &config.tls.key_file) {
        (Some(_), None) => found.push(Mistake::Needs { first: cert, first_place: place(cert), second: key }),
        (None, Some(_)) => found.push(Mistake::Needs { first: key, first_place: place(key), second: cert }),
        (Some(_), Some(_)) | (None, None) => {}
    }
    sizes(config, place, &mut found);
    tokens(config, place, &mut found);
    let (delivery, lower, than) =
        (&config.delivery, "delivery.breaker_max_cooldown_seconds", "delivery.breaker_cooldown_seconds");
    if delivery.breaker_max_cooldown_seconds < delivery.breaker_cooldown_seconds {
        found.push(Mistake::TooLow { lower, lower_place: place(lower), than, than_place: place(than) });
    }
    found
}

/// What may come must fit into what it comes in.
fn sizes(config: &Config, place: &dyn Fn(&str) -> Origin, found: &mut Vec<Mistake>) {
    let limits = &config.limits;
    let (payload, body, batch) = ("limits.payload_bytes", "limits.body_bytes", "limits.batch_bytes");
    let pairs = [
        (body, limits.body_bytes, payload, limits.payload_bytes),
        (batch, limits.batch_bytes, body, limits.body_bytes),
    ];
    for (lower, _, than, _) in pairs.into_iter().filter(|(_, one, _, other)| one < other) {
        found.push(Mistake::TooLow { lower, lower_place: place(lower), than, than_place: place(than) });
    }
}

fn tokens(config: &Config, place: &dyn Fn(&str) -> Origin, found: &mut Vec<Mistake>) {
    let (general, tokens) = (&config.general, &config.tokens);
    let of_secret = [
        ("jwt_secret", general.jwt_secret.is_some()),
        ("jwt_secret_file", general.jwt_secret_file.is_some()),
        ("jwt_previous_secret_file", general.jwt_previous_secret_file.is_some()),
    ];
    let of_pair = [
        ("tokens.public_key_file", tokens.public_key_file.is_some()),
        ("tokens.private_key_file", tokens.private_key_file.is_some()),
        ("tokens.previous_public_key_file", tokens.previous_public_key_file.is_some()),
    ];
    let is_pair = match tokens.algorithm {
        TokenAlgorithm::Hs256 | TokenAlgorithm::Hs384 | TokenAlgorithm::Hs512 => false,
        TokenAlgorithm::Rs256 | TokenAlgorithm::Rs384 | TokenAlgorithm::Rs512 | TokenAlgorithm::EdDsa => true,
    };
    if is_pair && tokens.public_key_file.is_none() {
        let (first, second) = ("tokens.algorithm", "tokens.public_key_file");
        found.push(Mistake::Needs { first, first_place: place(first), second });
    }
    let with = match tokens.algorithm.show() {
        Shown::Toml(word) => format!("tokens.algorithm = {word}"),
        Shown::Hidden | Shown::Unset => "tokens.algorithm".to_owned(),
    };
    let other = if is_pair { of_secret } else { of_pair };
    for (key, _) in other.into_iter().filter(|(_, is_set)| *is_set) {
        found.push(Mistake::OfNoUse { key, place: place(key), with: with.clone() });
    }
}
