//! What holds for endpoints that do not say otherwise, as the settings say it.

use std::{num::NonZeroU32, time::Duration};

use postrider::{
    BreakerPolicy, BreakerSetting, DeliverySettings, OnExhausted, OrderingMode, RetryOn, RetryPolicy, SecretKind,
    SignatureStyle, core::WhenFull,
};

use crate::config::{self, Config};

pub(crate) fn defaults(config: &Config) -> DeliverySettings {
    let given = &config.delivery;
    let mut defaults = DeliverySettings::default();
    let then = match given.on_exhausted {
        config::OnExhausted::Continue => OnExhausted::Continue,
        config::OnExhausted::Hold => OnExhausted::Hold,
    };
    defaults.ordering = Some(match given.ordering {
        config::Ordering::Concurrent => OrderingMode::Concurrent,
        config::Ordering::PerKey => OrderingMode::PerKey(then),
        config::Ordering::Fifo => OrderingMode::Fifo(then),
    });
    defaults.retry = Some(RetryPolicy::delays(given.retry_schedule_seconds.delays()));
    defaults.retry_on = Some(match given.retry_on {
        config::RetryOn::Default => RetryOn::Default,
        config::RetryOn::AnyFailure => RetryOn::AnyFailure,
        config::RetryOn::ServerErrors => RetryOn::ServerErrors,
    });
    defaults.max_in_flight = Some(count(given.max_in_flight));
    defaults.timeout = Some(Duration::from_secs(given.timeout_seconds));
    defaults.max_queued = Some(count(given.max_queued));
    defaults.when_full = Some(match given.when_full {
        config::WhenFull::DeadLetter => WhenFull::DeadLetter,
        config::WhenFull::Refuse => WhenFull::Refuse,
    });
    defaults.breaker = if given.breaker { BreakerSetting::On(breaker(config)) } else { BreakerSetting::Off };
    defaults.signature = Some(match given.signature_style {
        config::SignatureStyle::Standard => SignatureStyle::Standard,
        config::SignatureStyle::Svix => SignatureStyle::Svix,
        config::SignatureStyle::Stripe => SignatureStyle::Stripe,
        config::SignatureStyle::Github => SignatureStyle::GitHub,
    });
    defaults.disable_after = Some(match given.disable_after_hours {
        0 => Duration::MAX,
        hours => Duration::from_secs(hours * 3600),
    });
    defaults
}

pub(crate) const fn secrets(config: &Config) -> SecretKind {
    match config.delivery.secret_type {
        config::SecretType::Hmac => SecretKind::Symmetric,
        config::SecretType::Ed25519 => SecretKind::Ed25519,
    }
}

fn breaker(config: &Config) -> BreakerPolicy {
    let given = &config.delivery;
    BreakerPolicy {
        consecutive_failures: count(given.breaker_consecutive_failures),
        failure_ratio: u8::try_from(given.breaker_failure_percent).unwrap_or(100),
        min_attempts: count(given.breaker_min_attempts),
        window: Duration::from_secs(given.breaker_window_seconds),
        cool_down: Duration::from_secs(given.breaker_cooldown_seconds),
        cool_down_max: Duration::from_secs(given.breaker_max_cooldown_seconds),
    }
}

fn count(number: u64) -> NonZeroU32 {
    u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use postrider::DeliveryPolicy;

    use super::*;

    #[test]
    fn without_settings_all_is_as_the_engine_has_it() {
        assert_eq!(DeliveryPolicy::default().with(&defaults(&Config::default())), DeliveryPolicy::default());
    }
}
