//! What follows from an attempt: delivered, another attempt, or a dead letter.

use std::time::Duration;

use crate::{
    Attempt, AttemptId, DeadLetter, Delivery, Dice, Endpoint, Finished, GiveUpReason, OnExhausted, OrderingMode,
    Outcome, Place, RetryClass, Step, Then, Timestamp, Transition,
};

/// Whose answer an attempt has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of the target which its endpoint has.
    This,
    /// That of a target which its endpoint had: it decides nothing but whether the delivery has arrived.
    Former,
}

/// The transition that an attempt amounts to. Never called for one that was not sent.
pub(super) fn settle(
    endpoint: &Endpoint,
    before: &Delivery,
    finished: Finished,
    whose: Whose,
    expires: Timestamp,
    now: Timestamp,
    dice: &mut dyn Dice,
) -> Transition {
    let id = AttemptId::new(finished.started, dice);
    let verdict = match &finished.outcome {
        Outcome::Success { .. } => Verdict::Delivered,
        Outcome::Failure(_) if before.next_attempt().is_manual() => Verdict::Nothing,
        Outcome::Failure(failure) => {
            let (class, wait) = match whose {
                Whose::This => (failure.retry_class(endpoint.policy.retry_on), failure.retry_after()),
                Whose::Former => (RetryClass::Schedule, None),
            };
            after_failure(endpoint, before, (class, wait), expires, now, dice)
        }
    };
    let last_status = Some(finished.outcome.status_code()).filter(|status| *status != 0);
    let first_attempt_at = (before.attempts == 0).then_some(finished.started);
    let (after, then, dead) = match verdict {
        Verdict::Delivered => (None, Then::Delivered, None),
        Verdict::Nothing => (None, Then::Nothing, None),
        Verdict::RetryAt(due) => (Some(waits(endpoint, before, due)), Then::RetryAt(due), None),
        Verdict::GiveUp(reason) => {
            let attempted = Delivery { attempts: before.attempts + 1, ..before.clone() };
            let (after, dead) = given_up(endpoint, &attempted, reason, now);
            (after, Then::GivenUp(reason), Some(DeadLetter { first_attempt_at, last_status, ..dead }))
        }
    };
    let attempt = Attempt {
        id,
        number: before.next_attempt(),
        url: finished.url,
        started: finished.started,
        took: finished.took,
        outcome: finished.outcome,
        response: finished.response,
        then,
    };
    Transition { before: before.clone(), after, step: Step::Attempted(attempt), dead }
}

/// The transition of a delivery that is given up without an attempt. A manual try leaves no letter: it was no life.
pub(super) fn give_up(endpoint: &Endpoint, before: &Delivery, reason: GiveUpReason, now: Timestamp) -> Transition {
    if before.next_attempt().is_manual() {
        return Transition { before: before.clone(), after: None, step: Step::GaveUp, dead: None };
    }
    let (after, dead) = given_up(endpoint, before, reason, now);
    Transition { before: before.clone(), after, step: Step::GaveUp, dead: Some(dead) }
}

enum Verdict {
    Delivered,
    Nothing,
    RetryAt(Timestamp),
    GiveUp(GiveUpReason),
}

fn after_failure(
    endpoint: &Endpoint,
    before: &Delivery,
    (class, wait): (RetryClass, Option<Duration>),
    expires: Timestamp,
    now: Timestamp,
    dice: &mut dyn Dice,
) -> Verdict {
    let policy = &endpoint.policy;
    match policy.retry.retry_at(before.attempts + 1, class, wait, now, dice) {
        Some(_) if expires <= now => Verdict::GiveUp(GiveUpReason::Expired),
        // Never due after its end, so that whoever is too old is found among those that are due.
        Some(due) => Verdict::RetryAt(due.min(expires)),
        None => match class {
            RetryClass::Never => Verdict::GiveUp(GiveUpReason::Refused),
            RetryClass::Schedule | RetryClass::Brief | RetryClass::NotCounted => {
                Verdict::GiveUp(GiveUpReason::Exhausted)
            }
        },
    }
}

fn waits(endpoint: &Endpoint, before: &Delivery, due: Timestamp) -> Delivery {
    let place = match endpoint.policy.ordering {
        OrderingMode::Concurrent => Place::Due(due),
        OrderingMode::PerKey(_) | OrderingMode::Fifo(_) => Place::Lane { due: Some(due), held: false },
    };
    Delivery { attempts: before.attempts + 1, place, ..before.clone() }
}

/// Gone with a dead letter; its row stays only if it holds its lane.
fn given_up(
    endpoint: &Endpoint,
    last: &Delivery,
    reason: GiveUpReason,
    now: Timestamp,
) -> (Option<Delivery>, DeadLetter) {
    let holds = match (endpoint.policy.ordering, last.place) {
        (OrderingMode::PerKey(OnExhausted::Hold) | OrderingMode::Fifo(OnExhausted::Hold), Place::Lane { .. }) => true,
        (OrderingMode::Concurrent | OrderingMode::PerKey(_) | OrderingMode::Fifo(_), _) => false,
    };
    let last =
        if holds { Delivery { place: Place::Lane { due: None, held: true }, ..last.clone() } } else { last.clone() };
    let after = holds.then(|| last.clone());
    (after, DeadLetter { last, reason, dead_at: now, first_attempt_at: None, last_status: None })
}
