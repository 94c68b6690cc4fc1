//! What a seed decides before anything happens: limits, and how endpoints are delivered to.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use postrider_core::{
    BreakerPolicy, BreakerSetting, Dice, EndpointSpec, GroupLimits, OnExhausted, OrderingMode, Rate, RetryPolicy,
    SplitMix, WindowLimits,
};

/// A number from `0..most`.
pub(crate) fn below(dice: &mut SplitMix, most: u64) -> u64 {
    dice.roll() % most.max(1)
}

/// True `percent` times in a hundred.
pub(crate) fn chance(dice: &mut SplitMix, percent: u64) -> bool {
    below(dice, 100) < percent
}

fn few(dice: &mut SplitMix, most: u64) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(usize::try_from(below(dice, most)).unwrap_or_default())
}

/// Limits of the process, small enough to be met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) window: WindowLimits,
    pub(crate) group: GroupLimits,
    pub(crate) in_flight: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) active: usize,
}

impl Limits {
    pub(crate) fn of(dice: &mut SplitMix) -> Self {
        let window = WindowLimits {
            ready_deliveries: few(dice, 6),
            waiting_deliveries: few(dice, 4),
            lanes: few(dice, 4),
            uncommitted_attempts: 1 + few(dice, 6).get(),
            linger: Duration::from_millis(200 + below(dice, 3_000)),
            ..WindowLimits::default()
        };
        let group = GroupLimits {
            batches: 2 + few(dice, 12).get(),
            bytes: 1 << 16,
            rows: 256,
            waiting: 8 + few(dice, 64).get(),
            waiting_bytes: 1 << 20,
        };
        let payload_bytes = [0, 64, 1 << 20][usize::try_from(below(dice, 3)).unwrap_or_default()];
        Self { window, group, in_flight: 2 + few(dice, 12).get(), payload_bytes, active: 1 + few(dice, 8).get() }
    }
}

/// How an endpoint wants its deliveries.
pub(crate) fn endpoint(dice: &mut SplitMix) -> EndpointSpec {
    let ordering = match below(dice, 6) {
        0 | 1 => OrderingMode::Concurrent,
        2 | 3 => OrderingMode::PerKey(OnExhausted::Continue),
        4 => OrderingMode::PerKey(OnExhausted::Hold),
        _ => OrderingMode::Fifo(if chance(dice, 70) { OnExhausted::Continue } else { OnExhausted::Hold }),
    };
    let delays = [1, 3, 20].into_iter().take(few(dice, 3).get()).map(Duration::from_secs);
    let mut spec =
        EndpointSpec::new("https://receiver.example/hook").ordering(ordering).retry(RetryPolicy::delays(delays));
    spec.delivery.max_in_flight = NonZeroU32::new(1 + u32::try_from(below(dice, 5)).unwrap_or_default());
    if chance(dice, 30) {
        let per_second = NonZeroU32::MIN.saturating_add(u32::try_from(below(dice, 20)).unwrap_or_default());
        let burst = NonZeroU32::MIN.saturating_add(u32::try_from(below(dice, 4)).unwrap_or_default());
        spec.rate = Some(Rate::per_second(per_second).burst(burst));
    }
    spec.delivery.breaker = match below(dice, 3) {
        0 => BreakerSetting::Off,
        _ => BreakerSetting::On(BreakerPolicy {
            cool_down: Duration::from_secs(2),
            cool_down_max: Duration::from_secs(10),
            ..BreakerPolicy::default()
        }),
    };
    if chance(dice, 20) {
        spec.delivery.max_queued = NonZeroU32::new(2 + u32::try_from(below(dice, 6)).unwrap_or_default());
    }
    if chance(dice, 30) {
        spec.event_types = vec!["a".into()];
    }
    spec
}
