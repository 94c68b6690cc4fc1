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
    use crate::config::{Flag, Layers};

    fn configured(settings: &[&str]) -> Config {
        let flags = settings.iter().map(|setting| Flag::Set(format!("delivery.{setting}"))).collect();
        Layers { flags, ..Layers::default() }.load().expect("they are settings").config
    }

    /// One of eleven could be set, and a setting that changes nothing would be seen by nobody.
    #[test]
    fn every_setting_changes_what_it_says_and_nothing_else() {
        use postrider::{
            BreakerPolicy, OnExhausted, OrderingMode, RetryOn, RetryPolicy, SignatureStyle, core::WhenFull,
        };

        type Change = fn(&mut DeliveryPolicy);
        fn breaker(policy: &mut DeliveryPolicy) -> &mut BreakerPolicy {
            policy.breaker.as_mut().expect("it has one")
        }

        fn number(number: u32) -> NonZeroU32 {
            NonZeroU32::new(number).expect("it is not 0")
        }

        let all: [(&[&str], Change); 20] = [
            (&["signature_style=svix"], |it| it.signature = SignatureStyle::Svix),
            (&["signature_style=stripe"], |it| it.signature = SignatureStyle::Stripe),
            (&["signature_style=github"], |it| it.signature = SignatureStyle::GitHub),
            (&["ordering=perKey"], |it| it.ordering = OrderingMode::PerKey(OnExhausted::Continue)),
            (&["ordering=fifo", "on_exhausted=hold"], |it| it.ordering = OrderingMode::Fifo(OnExhausted::Hold)),
            (&["retry_schedule_seconds=1, 2"], |it| it.retry = RetryPolicy::delays([1, 2].map(Duration::from_secs))),
            (&["retry_on=anyFailure"], |it| it.retry_on = RetryOn::AnyFailure),
            (&["retry_on=serverErrors"], |it| it.retry_on = RetryOn::ServerErrors),
            (&["max_in_flight=3"], |it| it.max_in_flight = number(3)),
            (&["timeout_seconds=3"], |it| it.timeout = Duration::from_secs(3)),
            (&["max_queued=3"], |it| it.queue.deliveries = number(3)),
            (&["when_full=refuse"], |it| it.queue.when_full = WhenFull::Refuse),
            (&["breaker=false"], |it| it.breaker = None),
            (&["breaker_consecutive_failures=3"], |it| breaker(it).consecutive_failures = number(3)),
            (&["breaker_failure_percent=3"], |it| breaker(it).failure_ratio = 3),
            (&["breaker_min_attempts=3"], |it| breaker(it).min_attempts = number(3)),
            (&["breaker_window_seconds=3"], |it| breaker(it).window = Duration::from_secs(3)),
            (&["breaker_cooldown_seconds=3"], |it| breaker(it).cool_down = Duration::from_secs(3)),
            (&["breaker_max_cooldown_seconds=13"], |it| breaker(it).cool_down_max = Duration::from_secs(13)),
            (&["disable_after_hours=3"], |it| it.disable_after = Duration::from_secs(3 * 3600)),
        ];
        for (settings, change) in all {
            let mut expected = DeliveryPolicy::default();
            change(&mut expected);
            assert_ne!(expected, DeliveryPolicy::default(), "{settings:?}");
            let found = DeliveryPolicy::default().with(&defaults(&configured(settings)));
            assert_eq!(found, expected, "{settings:?}");
        }
        let never = DeliveryPolicy::default().with(&defaults(&configured(&["disable_after_hours=0"])));
        assert_eq!(never.disable_after, Duration::MAX);
        assert!(matches!(secrets(&configured(&["secret_type=ed25519"])), SecretKind::Ed25519));
    }

    #[test]
    fn without_settings_all_is_as_the_engine_has_it() {
        assert_eq!(DeliveryPolicy::default().with(&defaults(&Config::default())), DeliveryPolicy::default());
    }
}
