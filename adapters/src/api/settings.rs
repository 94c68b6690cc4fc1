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
    ordering: Option<Ordering>,
    /// What becomes of those behind a delivery that is given up.
    on_exhausted: Option<Exhausted>,
    /// Seconds before each attempt after the first; none for one attempt.
    #[schema(value_type = Option<Vec<Seconds>>, max_items = 64)]
    retry_schedule: Option<Vec<f64>>,
    retry_on: Option<Retried>,
    #[schema(minimum = 1, maximum = 1000)]
    max_in_flight: Option<u32>,
    #[schema(minimum = 1, maximum = 300)]
    timeout_seconds: Option<f64>,
    #[schema(minimum = 1, maximum = 2147483647)]
    max_queued: Option<u32>,
    when_full: Option<Full>,
    /// `null` switches it off.
    #[serde(default, deserialize_with = "given")]
    breaker: Option<Option<Breaker>>,
    signature: Option<Style>,
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
        Ok(settings)
    }

    /// The effective values.
    pub(super) fn shown(policy: &DeliveryPolicy) -> Self {
        let shown = |then| match then {
            OnExhausted::Continue => Some(Exhausted::Continue),
            OnExhausted::Hold => Some(Exhausted::Hold),
        };
        let (ordering, on_exhausted) = match policy.ordering {
            OrderingMode::Concurrent => (Ordering::Concurrent, None),
            OrderingMode::PerKey(then) => (Ordering::PerKey, shown(then)),
            OrderingMode::Fifo(then) => (Ordering::Fifo, shown(then)),
        };
        Self {
            ordering: Some(ordering),
            on_exhausted,
            retry_schedule: Some(policy.retry.schedule().iter().map(Duration::as_secs_f64).collect()),
            retry_on: Some(match policy.retry_on {
                RetryOn::Default => Retried::Default,
                RetryOn::AnyFailure => Retried::AnyFailure,
                RetryOn::ServerErrors => Retried::ServerErrors,
            }),
            max_in_flight: Some(policy.max_in_flight.get()),
            max_queued: Some(policy.queue.deliveries.get()),
            when_full: Some(match policy.queue.when_full {
                WhenFull::DeadLetter => Full::DeadLetter,
                WhenFull::Refuse => Full::Refuse,
            }),
            timeout_seconds: Some(policy.timeout.as_secs_f64()),
            breaker: Some(policy.breaker.as_ref().map(Breaker::shown)),
            signature: Some(match policy.signature {
                SignatureStyle::Standard => Style::Standard,
                SignatureStyle::Svix => Style::Svix,
                SignatureStyle::GitHub => Style::GitHub,
                SignatureStyle::Stripe => Style::Stripe,
            }),
        }
    }
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
