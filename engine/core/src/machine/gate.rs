//! What holds the whole endpoint: status, the receiver's wish to wait, breaker, rate limit; and what outcomes say of it.

use std::{sync::Arc, time::Duration};

use super::Waiting;
use crate::{
    Breaker, BreakerState, DisableReason, Endpoint, EndpointStatus, Failure, Gate as BreakerGate, Outcome, PerPriority,
    RateLimit, Seq, SoftState, Timestamp, Trigger,
};

/// How long an endpoint waits after our own machine could not send.
const NOT_SENT_WAIT: Duration = Duration::from_secs(1);
/// A stored wish to wait is believed only so far ahead: a clock may have been wrong.
const THROTTLE_MAX: Duration = crate::RETRY_AFTER_MAX;

/// Our own machine could not send: until when it is not tried again, and why.
#[derive(Debug)]
struct NotSent {
    until: Timestamp,
    why: Box<str>,
}

/// What holds the whole endpoint.
#[derive(Debug)]
pub(super) struct Gate {
    endpoint: Arc<Endpoint>,
    breaker: Breaker,
    rate: Option<RateLimit>,
    rate_refused_until: Option<Timestamp>,
    throttled_until: Option<Timestamp>,
    not_sent: Option<NotSent>,
    failing_since: Option<Timestamp>,
    /// A disabling is on its way to the store.
    disabling: bool,
    /// What is stored of it was read.
    is_restored: bool,
    /// It was judged anew before what is stored of it was read: that may be of before.
    forgiven_unread: bool,
    /// What the store knows; none if that is uncertain.
    stored: Option<SoftState>,
}

impl Gate {
    pub(super) fn new(endpoint: Arc<Endpoint>, now: Timestamp) -> Self {
        Self {
            breaker: Breaker::new(endpoint.policy.breaker),
            rate: endpoint.policy.rate.map(|rate| RateLimit::new(rate, now)),
            endpoint,
            rate_refused_until: None,
            throttled_until: None,
            not_sent: None,
            failing_since: None,
            disabling: false,
            is_restored: false,
            forgiven_unread: false,
            stored: None,
        }
    }

    /// What a restart must not forgive. Times are clamped: the clock may have been wrong when they were written.
    /// `running` are attempts that an earlier actor sent and that have not ended, `probe` is the one among them that it sent
    /// as the breaker's probe.
    pub(super) fn restore(&mut self, soft: SoftState, running: &[Seq], probe: Option<Seq>, now: Timestamp) {
        self.is_restored = true;
        if std::mem::take(&mut self.forgiven_unread) {
            return;
        }
        self.breaker = Breaker::restore(self.endpoint.policy.breaker, soft.breaker, running, now);
        if let Some(probe) = probe.filter(|probe| running.contains(probe)) {
            self.breaker.inherit_probe(probe, now);
        }
        self.throttled_until = soft.throttled_until.map(|until| until.min(now + THROTTLE_MAX));
        self.failing_since = soft.failing_since.map(|since| since.min(now));
        self.stored = Some(soft);
    }

    /// The record changed. A changed rate is a fresh, empty bucket. Says whether the endpoint is judged anew.
    pub(super) fn reconfigure(&mut self, endpoint: Arc<Endpoint>, now: Timestamp) -> bool {
        if endpoint.policy.rate != self.endpoint.policy.rate {
            self.rate = endpoint.policy.rate.map(|rate| RateLimit::new(rate, now));
            self.rate_refused_until = None;
        }
        if endpoint.policy.breaker != self.endpoint.policy.breaker {
            self.breaker.replace_policy(endpoint.policy.breaker, now);
        }
        self.disabling = false;
        let is_judged_anew = endpoint.is_judged_anew(&self.endpoint);
        self.endpoint = endpoint;
        if is_judged_anew {
            self.judge_anew();
        }
        is_judged_anew
    }

    /// What was held against it would hold the new target, or disable it again with the next failure.
    fn judge_anew(&mut self) {
        self.forgiven_unread = !self.is_restored;
        self.breaker = Breaker::new(self.endpoint.policy.breaker);
        self.throttled_until = None;
        self.failing_since = None;
        self.stored = None;
    }

    pub(super) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// What holds the whole endpoint, but for the number in flight and the rate. A try by hand may be the probe of a breaker
    /// that is open.
    pub(super) fn holds(&self, trigger: Trigger, now: Timestamp) -> Option<Waiting> {
        match self.endpoint.status {
            EndpointStatus::Active => {}
            EndpointStatus::Paused => return Some(Waiting::Paused),
            EndpointStatus::Disabled(reason) => return Some(Waiting::Disabled(reason)),
            EndpointStatus::Unproven => return Some(Waiting::Unproven),
        }
        if self.disabling {
            return Some(Waiting::Queued);
        }
        // What the receiver asked for first: it is the longer wait, and the owner can do something about it.
        if let Some(until) = self.throttled_until.filter(|until| now < *until) {
            return Some(Waiting::ReceiverAskedToWait(until));
        }
        if let Some(not_sent) = self.not_sent.as_ref().filter(|not_sent| now < not_sent.until) {
            return Some(Waiting::CouldNotSend(not_sent.until));
        }
        match (self.breaker.gate(now), trigger) {
            (BreakerGate::Pass, _) | (BreakerGate::Wait(_), Trigger::Manual) => None,
            (BreakerGate::Wait(until), Trigger::Scheduled) => Some(Waiting::BreakerOpen(Some(until))),
            (BreakerGate::Probing, _) => Some(Waiting::BreakerOpen(None)),
        }
    }

    /// What the bucket said when it was last asked. It cannot be asked without taking.
    pub(super) fn rate_holds(&self, now: Timestamp) -> Option<Waiting> {
        self.rate_refused_until.filter(|until| now < *until).map(Waiting::RateLimited)
    }

    /// Takes a token, if there is one. Last of all, so that nothing else wastes it.
    pub(super) fn take_token(&mut self, now: Timestamp) -> bool {
        match self.rate.as_mut().map(|rate| rate.take(now)) {
            None | Some(Ok(())) => true,
            Some(Err(until)) => {
                self.rate_refused_until = Some(until);
                false
            }
        }
    }

    pub(super) const fn is_rated(&self) -> bool {
        self.rate.is_some()
    }

    /// When the bucket is full again: a new one begins empty, so leaving earlier would take from the endpoint.
    pub(super) fn full_at(&self) -> Option<Timestamp> {
        self.rate.as_ref().map(RateLimit::full_at)
    }

    /// Whether this one, in flight, is the breaker's probe.
    pub(super) fn is_probe(&self, seq: Seq) -> bool {
        matches!(self.breaker.state(), BreakerState::HalfOpen { probe, .. } if probe == seq)
    }

    /// Whether the next attempt is the breaker's probe.
    pub(super) fn is_probe_due(&self, now: Timestamp) -> bool {
        self.breaker.is_probe_due(now)
    }

    /// The probe takes another delivery than the one that failed last, where there is one.
    pub(super) fn avoided(&self, now: Timestamp) -> Option<Seq> {
        self.breaker.last_failed().filter(|_| self.is_probe_due(now))
    }

    pub(super) fn begins(&mut self, seq: Seq, trigger: Trigger, now: Timestamp) {
        match trigger {
            Trigger::Scheduled => self.breaker.begin(seq, now),
            Trigger::Manual => self.breaker.begin_by_hand(seq, now),
        }
    }

    /// Our own machine could not send: nothing is held against the endpoint, and all of it waits a little.
    pub(super) fn was_not_sent(&mut self, seq: Seq, why: &str, now: Timestamp) {
        self.breaker.forget(seq, now);
        self.not_sent = Some(NotSent { until: now + NOT_SENT_WAIT, why: why.into() });
    }

    /// Why our own machine could not send the last time; none once something was sent.
    pub(super) fn could_not_send(&self) -> Option<&str> {
        self.not_sent.as_ref().map(|not_sent| &*not_sent.why)
    }

    /// What an outcome says of the endpoint. Answers whether it is to be disabled.
    pub(super) fn learn(&mut self, seq: Seq, outcome: &Outcome, now: Timestamp) -> Option<DisableReason> {
        self.not_sent = None;
        let failure = match outcome {
            Outcome::Success { .. } => {
                self.breaker.succeed(seq, now);
                self.failing_since = None;
                return None;
            }
            Outcome::Failure(failure) => failure,
        };
        match failure {
            Failure::Blocked(_) | Failure::NotSent(_) => self.breaker.forget(seq, now),
            _ if failure.speaks_of_endpoint() => self.breaker.fail(seq, now),
            Failure::Status { .. } | Failure::TimedOut | Failure::Network(_) | Failure::Lost => {
                self.breaker.answered(seq, now);
            }
        }
        if let Some(wait) = failure.slows_endpoint() {
            self.throttled_until = self.throttled_until.max(Some(now + wait));
        }
        // What says nothing of the endpoint neither begins the time for which it only failed, nor ends it.
        if self.disabling || self.endpoint.status != EndpointStatus::Active || !failure.speaks_of_endpoint() {
            return None;
        }
        let failing_since = *self.failing_since.get_or_insert(now);
        let is_long = now.since(failing_since) >= self.endpoint.policy.disable_after;
        let reason = if failure.status_code() == 410 {
            DisableReason::Gone
        } else if is_long && self.breaker.has_failed_for_several() {
            DisableReason::FailingTooLong
        } else {
            return None;
        };
        self.disabling = true;
        Some(reason)
    }

    /// The disabling was refused: somebody changed the endpoint meanwhile, and it is judged anew.
    pub(super) const fn disabling_refused(&mut self) {
        self.disabling = false;
    }

    /// What is to be stored along with an outcome, if it changed; `heads` and `oldest` alone are no reason.
    pub(super) fn soft_change(
        &mut self,
        heads: PerPriority<Seq>,
        oldest: Option<Timestamp>,
        they_matter: bool,
    ) -> Option<SoftState> {
        let soft = SoftState {
            breaker: self.breaker.state(),
            throttled_until: self.throttled_until,
            failing_since: self.failing_since,
            heads,
            oldest,
        };
        let same = |stored: &SoftState| {
            stored.breaker == soft.breaker
                && stored.throttled_until == soft.throttled_until
                && stored.failing_since == soft.failing_since
        };
        let unchanged = self.stored.as_ref().is_some_and(same);
        (!unchanged || they_matter).then(|| {
            self.stored = Some(soft.clone());
            soft
        })
    }

    /// What was to be stored was refused, or nobody knows.
    pub(super) fn soft_uncertain(&mut self) {
        self.stored = None;
    }

    pub(super) fn breaker_state(&self) -> BreakerState {
        self.breaker.state()
    }
}

#[cfg(test)]
mod tests;
