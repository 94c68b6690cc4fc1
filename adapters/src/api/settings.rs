//! The `delivery` object: how an endpoint is delivered to, as asked and as it comes out.

use std::{num::NonZeroU32, time::Duration};

use postrider::{
    BreakerPolicy, BreakerSetting, DeliveryPolicy, DeliverySettings, OnExhausted, OrderingMode, Proof, Rate, RetryOn,
    RetryPolicy, SignatureStyle, core::WhenFull,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{body::given, error::ApiError, openapi::Seconds};

/// Attempts per second that clients of this protocol can read.
const RATE_MAX: u32 = u16::MAX as u32;

/// The `delivery` object. Every part is optional; an unknown one is a mistake.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DeliverySettings)]
pub(super) struct Delivery {
    #[serde(skip_serializing_if = "Option::is_none")]
    ordering: Option<Ordering>,
    /// What becomes of those behind a delivery that is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_exhausted: Option<Exhausted>,
    /// Seconds before each attempt after the first; none for one attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Seconds>>, max_items = 64)]
    retry_schedule: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_on: Option<Retried>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    max_in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 300)]
    timeout_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2147483647)]
    max_queued: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when_full: Option<Full>,
    /// `null` switches it off.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    breaker: Option<Option<Breaker>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Style>,
    /// An endpoint that only fails for as long as this is disabled; 0 is never, else at least an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 31536000)]
    disable_after_seconds: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Ordering {
    Concurrent,
    PerKey,
    Fifo,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OnExhausted)]
enum Exhausted {
    Continue,
    Hold,
}

/// What becomes of an event for which there is no room.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhenFull)]
enum Full {
    DeadLetter,
    Refuse,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RetryOn)]
enum Retried {
    Default,
    AnyFailure,
    ServerErrors,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SignatureStyle)]
enum Style {
    Standard,
    Svix,
    GitHub,
    Stripe,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = BreakerSettings)]
struct Breaker {
    #[schema(minimum = 1, maximum = 2147483647)]
    consecutive_failures: u32,
    #[schema(minimum = 0.01, maximum = 1)]
    failure_ratio: f64,
    #[schema(minimum = 1, maximum = 2147483647)]
    min_attempts: u32,
    #[schema(minimum = 1, maximum = 3600)]
    window_seconds: f64,
    #[schema(minimum = 0.01, maximum = 86400)]
    cooldown_seconds: f64,
    /// Not less than `cooldownSeconds`.
    #[schema(minimum = 0.01, maximum = 86400)]
    max_cooldown_seconds: f64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::shown(&BreakerPolicy::default())
    }
}

impl Breaker {
    fn shown(policy: &BreakerPolicy) -> Self {
        Self {
            consecutive_failures: policy.consecutive_failures.get(),
            failure_ratio: f64::from(policy.failure_ratio) / 100.0,
            min_attempts: policy.min_attempts.get(),
            window_seconds: policy.window.as_secs_f64(),
            cooldown_seconds: policy.cool_down.as_secs_f64(),
            max_cooldown_seconds: policy.cool_down_max.as_secs_f64(),
        }
    }

    fn read(self) -> Result<BreakerPolicy, ApiError> {
        if !(0.0..=1.0).contains(&self.failure_ratio) {
            return Err(wrong("breaker.failureRatio must be 0 to 1"));
        }
        let count = |number| count(number, "breaker counts");
        Ok(BreakerPolicy {
            consecutive_failures: count(self.consecutive_failures)?,
            failure_ratio: (self.failure_ratio * 100.0).round() as u8,
            min_attempts: count(self.min_attempts)?,
            window: seconds(self.window_seconds)?,
            cool_down: seconds(self.cooldown_seconds)?,
            cool_down_max: seconds(self.max_cooldown_seconds)?,
        })
    }
}

impl Delivery {
    /// As the engine understands it; the engine checks the limits.
    pub(super) fn read(self) -> Result<DeliverySettings, ApiError> {
        let then = match self.on_exhausted {
            Some(Exhausted::Hold) => OnExhausted::Hold,
            Some(Exhausted::Continue) | None => OnExhausted::Continue,
        };
        let mut settings = DeliverySettings::default();
        settings.ordering = match (self.ordering, self.on_exhausted) {
            (Some(Ordering::Concurrent), _) => Some(OrderingMode::Concurrent),
            (Some(Ordering::PerKey), _) => Some(OrderingMode::PerKey(then)),
            (Some(Ordering::Fifo), _) => Some(OrderingMode::Fifo(then)),
            (None, Some(_)) => return Err(wrong("onExhausted needs ordering perKey or fifo beside it")),
            (None, None) => None,
        };
        let delays = self.retry_schedule.map(|delays| delays.into_iter().map(seconds).collect::<Result<Vec<_>, _>>());
        settings.retry = delays.transpose()?.map(RetryPolicy::delays);
        settings.retry_on = self.retry_on.map(|kind| match kind {
            Retried::Default => RetryOn::Default,
            Retried::AnyFailure => RetryOn::AnyFailure,
            Retried::ServerErrors => RetryOn::ServerErrors,
        });
        settings.max_in_flight = self.max_in_flight.map(|number| count(number, "maxInFlight")).transpose()?;
        settings.max_queued = self.max_queued.map(|number| count(number, "maxQueued")).transpose()?;
        settings.when_full = self.when_full.map(|what| match what {
            Full::DeadLetter => WhenFull::DeadLetter,
            Full::Refuse => WhenFull::Refuse,
        });
        settings.timeout = self.timeout_seconds.map(seconds).transpose()?;
        settings.breaker = match self.breaker {
            None => BreakerSetting::Inherit,
            Some(None) => BreakerSetting::Off,
            Some(Some(breaker)) => BreakerSetting::On(breaker.read()?),
        };
        settings.signature = self.signature.map(|style| match style {
            Style::Standard => SignatureStyle::Standard,
            Style::Svix => SignatureStyle::Svix,
            Style::GitHub => SignatureStyle::GitHub,
            Style::Stripe => SignatureStyle::Stripe,
        });
        settings.disable_after = match self.disable_after_seconds {
            None => None,
            Some(0.0) => Some(Duration::MAX),
            Some(after) => Some(seconds(after)?),
        };
        Ok(settings)
    }

    /// The effective values.
    pub(super) fn shown(policy: &DeliveryPolicy) -> Self {
        Self::of(&whole(policy))
    }

    /// What is asked for; none if that is nothing.
    pub(super) fn asked(settings: &DeliverySettings) -> Option<Self> {
        (*settings != DeliverySettings::default()).then(|| Self::of(settings))
    }

    fn of(settings: &DeliverySettings) -> Self {
        let shown = |then| match then {
            OnExhausted::Continue => Some(Exhausted::Continue),
            OnExhausted::Hold => Some(Exhausted::Hold),
        };
        let (ordering, on_exhausted) = match settings.ordering {
            None => (None, None),
            Some(OrderingMode::Concurrent) => (Some(Ordering::Concurrent), None),
            Some(OrderingMode::PerKey(then)) => (Some(Ordering::PerKey), shown(then)),
            Some(OrderingMode::Fifo(then)) => (Some(Ordering::Fifo), shown(then)),
        };
        let schedule = |retry: &RetryPolicy| retry.schedule().iter().map(Duration::as_secs_f64).collect();
        Self {
            ordering,
            on_exhausted,
            retry_schedule: settings.retry.as_ref().map(schedule),
            retry_on: settings.retry_on.map(|kind| match kind {
                RetryOn::Default => Retried::Default,
                RetryOn::AnyFailure => Retried::AnyFailure,
                RetryOn::ServerErrors => Retried::ServerErrors,
            }),
            max_in_flight: settings.max_in_flight.map(NonZeroU32::get),
            max_queued: settings.max_queued.map(NonZeroU32::get),
            when_full: settings.when_full.map(|what| match what {
                WhenFull::DeadLetter => Full::DeadLetter,
                WhenFull::Refuse => Full::Refuse,
            }),
            timeout_seconds: settings.timeout.map(|timeout| timeout.as_secs_f64()),
            breaker: match &settings.breaker {
                BreakerSetting::Inherit => None,
                BreakerSetting::Off => Some(None),
                BreakerSetting::On(breaker) => Some(Some(Breaker::shown(breaker))),
            },
            signature: settings.signature.map(|style| match style {
                SignatureStyle::Standard => Style::Standard,
                SignatureStyle::Svix => Style::Svix,
                SignatureStyle::GitHub => Style::GitHub,
                SignatureStyle::Stripe => Style::Stripe,
            }),
            disable_after_seconds: settings.disable_after.map(|after| match after {
                Duration::MAX => 0.0,
                after => after.as_secs_f64(),
            }),
        }
    }
}

/// A policy as settings that leave nothing open.
fn whole(policy: &DeliveryPolicy) -> DeliverySettings {
    let mut settings = DeliverySettings::default();
    settings.ordering = Some(policy.ordering);
    settings.retry = Some(policy.retry.clone());
    settings.retry_on = Some(policy.retry_on);
    settings.max_in_flight = Some(policy.max_in_flight);
    settings.timeout = Some(policy.timeout);
    settings.breaker = policy.breaker.map_or(BreakerSetting::Off, BreakerSetting::On);
    settings.signature = Some(policy.signature);
    settings.max_queued = Some(policy.queue.deliveries);
    settings.when_full = Some(policy.queue.when_full);
    settings.disable_after = Some(policy.disable_after);
    settings
}

/// What replaces `old`, where that came to `policy`: a part that is sent back as it was shown stays inherited if it was.
pub(super) fn replaced(new: DeliverySettings, old: &DeliverySettings, policy: &DeliveryPolicy) -> DeliverySettings {
    let shown = whole(policy);
    // What is not a whole number of nanoseconds comes back a little different.
    let new_is_shown = Delivery::of(&new).retry_schedule == Delivery::of(&shown).retry_schedule;
    let mut kept = new;
    macro_rules! keep {
        ($($field:ident),+) => {$(
            if old.$field.is_none() && kept.$field == shown.$field {
                kept.$field = None;
            }
        )+};
    }
    keep!(ordering, retry_on, max_in_flight, timeout, signature, max_queued, when_full, disable_after);
    if old.retry.is_none() && new_is_shown {
        kept.retry = None;
    }
    if old.breaker == BreakerSetting::Inherit && kept.breaker == shown.breaker {
        kept.breaker = BreakerSetting::Inherit;
    }
    kept
}

/// What a receiver must prove before anything is sent to it: nothing; that it answers a GET with `?challenge=…` with that
/// value; that it grants our origin as CloudEvents has it; that it answers a signed `webhook.ping` with 2xx.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndpointProof)]
pub(super) enum ProofKind {
    None,
    Challenge,
    CloudEvents,
    Ping,
}

impl From<ProofKind> for Proof {
    fn from(kind: ProofKind) -> Self {
        match kind {
            ProofKind::None => Self::None,
            ProofKind::Challenge => Self::Challenge,
            ProofKind::CloudEvents => Self::CloudEvents,
            ProofKind::Ping => Self::Ping,
        }
    }
}

impl From<Proof> for ProofKind {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::None => Self::None,
            Proof::Challenge => Self::Challenge,
            Proof::CloudEvents => Self::CloudEvents,
            Proof::Ping => Self::Ping,
        }
    }
}

/// `throttleRate`, attempts per second.
pub(super) fn rate(per_second: Option<u32>) -> Result<Option<Rate>, ApiError> {
    let read = |number| {
        let wrong = || ApiError::field("body", "throttleRate", format!("must be 1 to {RATE_MAX}"));
        NonZeroU32::new(number).filter(|number| number.get() <= RATE_MAX).map(Rate::per_second).ok_or_else(wrong)
    };
    per_second.map(read).transpose()
}

/// At least one, and no more than fits into what clients take for an integer.
fn count(number: u32, name: &str) -> Result<NonZeroU32, ApiError> {
    let most = i32::MAX.unsigned_abs();
    let within = NonZeroU32::new(number).filter(|number| number.get() <= most);
    within.ok_or_else(|| wrong(&format!("{name} must be 1 to {most}")))
}

fn seconds(number: f64) -> Result<Duration, ApiError> {
    Duration::try_from_secs_f64(number).map_err(|_| wrong("times must be seconds, not negative"))
}

fn wrong(message: &str) -> ApiError {
    ApiError::field("body", "delivery", message)
}
