//! How an endpoint is delivered to: order, retries, limits, breaker, signature; as asked, and as it comes out.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{BreakerPolicy, InvalidEndpoint, QueueLimit, Rate, RetryOn, RetryPolicy, SignatureStyle, WhenFull};

const MAX_IN_FLIGHT_DEFAULT: NonZeroU32 = NonZeroU32::MIN.saturating_add(15);
const MAX_IN_FLIGHT_MAX: u32 = 1_000;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
const DISABLE_AFTER_DEFAULT: Duration = Duration::from_secs(5 * 24 * 3600);
const DISABLE_AFTER_MIN: Duration = Duration::from_secs(3600);

/// Which deliveries wait for which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderingMode {
    /// First attempts start in order; a retry holds nobody.
    #[default]
    Concurrent,
    /// Deliveries with one ordering key go strictly one after another.
    PerKey(OnExhausted),
    /// The whole endpoint is one lane.
    Fifo(OnExhausted),
}

impl OrderingMode {
    /// Whether both keep their deliveries among the same rows, so that one can become the other with a queue.
    pub const fn same_rows(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Concurrent, Self::Concurrent) | (Self::PerKey(_), Self::PerKey(_)) | (Self::Fifo(_), Self::Fifo(_))
        )
    }
}

/// What a lane does when its head is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnExhausted {
    /// The next delivery goes on.
    #[default]
    Continue,
    /// The lane waits until a person redrives or cancels the head.
    Hold,
}

/// The breaker, as asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BreakerSetting {
    /// As the application says, or the default.
    #[default]
    Inherit,
    /// None.
    Off,
    /// This one.
    On(BreakerPolicy),
}

/// How to deliver, as asked: what is not set is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeliverySettings {
    /// Which deliveries wait for which.
    pub ordering: Option<OrderingMode>,
    /// The delays after failures.
    pub retry: Option<RetryPolicy>,
    /// Which failures use the whole schedule.
    pub retry_on: Option<RetryOn>,
    /// Attempts at once: 1 to 1,000.
    pub max_in_flight: Option<NonZeroU32>,
    /// Until the head of the answer is there: 1 s to 5 min.
    pub timeout: Option<Duration>,
    /// When to stop attempts to an endpoint that keeps failing.
    pub breaker: BreakerSetting,
    /// How requests are signed.
    pub signature: Option<SignatureStyle>,
    /// Deliveries that may wait.
    pub max_queued: Option<NonZeroU32>,
    /// What becomes of an event when so many wait.
    pub when_full: Option<WhenFull>,
    /// How long it may only fail before it is disabled: at least an hour; [`Duration::MAX`] is for ever. Counted are failures
    /// that [speak of the endpoint](crate::Failure::speaks_of_endpoint), of at least 3 different deliveries.
    pub disable_after: Option<Duration>,
}

impl DeliverySettings {
    /// What is wrong with them, if anything.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn validate(&self) -> Result<(), InvalidEndpoint> {
        if let Some(retry) = &self.retry {
            retry.validate().map_err(InvalidEndpoint::Retry)?;
        }
        if self.max_in_flight.is_some_and(|attempts| attempts.get() > MAX_IN_FLIGHT_MAX) {
            return Err(InvalidEndpoint::MaxInFlight);
        }
        if self.timeout.is_some_and(|timeout| !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout)) {
            return Err(InvalidEndpoint::Timeout);
        }
        if self.disable_after.is_some_and(|after| after < DISABLE_AFTER_MIN) {
            return Err(InvalidEndpoint::DisableAfter);
        }
        match self.breaker {
            BreakerSetting::Inherit | BreakerSetting::Off => Ok(()),
            BreakerSetting::On(breaker) => {
                breaker.validate().map_err(|wrong| InvalidEndpoint::Breaker(wrong.to_string().into()))
            }
        }
    }
}

/// How to deliver, as it comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryPolicy {
    /// Which deliveries wait for which.
    pub ordering: OrderingMode,
    /// The delays after failures.
    pub retry: RetryPolicy,
    /// Which failures use the whole schedule.
    pub retry_on: RetryOn,
    /// Attempts at once.
    pub max_in_flight: NonZeroU32,
    /// Attempts per time, the endpoint's own or its application's; none is no limit.
    pub rate: Option<Rate>,
    /// Until the head of the answer is there.
    pub timeout: Duration,
    /// When to stop attempts to an endpoint that keeps failing; none is never.
    pub breaker: Option<BreakerPolicy>,
    /// How requests are signed.
    pub signature: SignatureStyle,
    /// How many deliveries may wait, and what becomes of one more.
    pub queue: QueueLimit,
    /// How long it may only fail, for at least 3 different deliveries, before it is disabled.
    pub disable_after: Duration,
}

impl DeliveryPolicy {
    /// These settings over this policy.
    #[must_use]
    pub fn with(self, settings: &DeliverySettings) -> Self {
        Self {
            ordering: settings.ordering.unwrap_or(self.ordering),
            retry: settings.retry.clone().unwrap_or(self.retry),
            retry_on: settings.retry_on.unwrap_or(self.retry_on),
            max_in_flight: settings.max_in_flight.unwrap_or(self.max_in_flight),
            rate: self.rate,
            timeout: settings.timeout.unwrap_or(self.timeout),
            breaker: match settings.breaker {
                BreakerSetting::Inherit => self.breaker,
                BreakerSetting::Off => None,
                BreakerSetting::On(breaker) => Some(breaker),
            },
            signature: settings.signature.unwrap_or(self.signature),
            queue: QueueLimit {
                deliveries: settings.max_queued.unwrap_or(self.queue.deliveries),
                when_full: settings.when_full.unwrap_or(self.queue.when_full),
            },
            disable_after: settings.disable_after.unwrap_or(self.disable_after),
        }
    }
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self {
            ordering: OrderingMode::default(),
            retry: RetryPolicy::default(),
            retry_on: RetryOn::Default,
            max_in_flight: MAX_IN_FLIGHT_DEFAULT,
            rate: None,
            timeout: TIMEOUT_DEFAULT,
            breaker: Some(BreakerPolicy::default()),
            signature: SignatureStyle::Standard,
            queue: QueueLimit::default(),
            disable_after: DISABLE_AFTER_DEFAULT,
        }
    }
}
