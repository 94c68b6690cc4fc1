use proptest::prelude::*;

use super::*;
use crate::{EndpointSpec, machine::tests::by_hand::endpoint_of};

const DAY: Duration = Duration::from_secs(24 * 3600);
const BEGIN: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

fn outcome() -> impl Strategy<Value = Outcome> {
    let status = |code| Outcome::Failure(Failure::Status { code, retry_after: None });
    prop_oneof![
        1 => Just(Outcome::Success { status: 200 }),
        8 => Just(status(500)),
        2 => Just(Outcome::Failure(Failure::TimedOut)),
        3 => Just(status(422)),
        2 => Just(Outcome::Failure(Failure::Blocked("by a rule".into()))),
        1 => Just(Outcome::Failure(Failure::Lost)),
    ]
}

proptest! {
    /// Two events in a week that a receiver did not understand disabled its endpoint. Only failures that speak of the
    /// endpoint count, for as long as is asked, without a success in between, and of three different deliveries.
    #[test]
    fn it_is_disabled_when_it_only_failed_for_long_and_for_several(
        steps in prop::collection::vec((0_u64..6, outcome(), 0_u64..60), 1..60),
        breaker in any::<bool>(),
    ) {
        let mut spec = EndpointSpec::new("https://receiver.example/");
        if !breaker {
            spec.delivery.breaker = crate::BreakerSetting::Off;
        }
        let endpoint = endpoint_of(spec, BEGIN);
        let (mut gate, mut now) = (Gate::new(endpoint, BEGIN), BEGIN);
        let (mut since, mut failed) = (None, std::collections::BTreeSet::new());
        for (seq, outcome, hours) in steps {
            now = now + Duration::from_secs(3600 * hours);
            if gate.holds(Trigger::Scheduled, now).is_some() {
                continue;
            }
            gate.begins(Seq(seq), Trigger::Scheduled, now);
            let is_probe = gate.is_probe(Seq(seq));
            let disabled = gate.learn(Seq(seq), &outcome, now);
            let counts = match &outcome {
                Outcome::Success { .. } => {
                    (since, failed) = (None, std::collections::BTreeSet::new());
                    false
                }
                Outcome::Failure(failure) => failure.speaks_of_endpoint(),
            };
            if counts {
                failed.insert(seq);
            } else if is_probe && outcome.status_code() != 0 {
                // It answers its probe: what failed before the breaker opened is over.
                failed.clear();
            }
            let failing_since = if counts { Some(*since.get_or_insert(now)) } else { None };
            let is_long = failing_since.is_some_and(|since| now.since(since) >= 5 * DAY);
            let expected = (is_long && failed.len() >= 3).then_some(DisableReason::FailingTooLong);
            prop_assert_eq!(disabled, expected, "after {:?} of {:?}", now.since(BEGIN), failed);
            if disabled.is_some() {
                break;
            }
        }
    }
}
