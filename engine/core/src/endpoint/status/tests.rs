use std::collections::BTreeSet;

use super::*;

const GONE: EndpointStatus = EndpointStatus::Disabled(DisableReason::Gone);
const BY_PERSON: EndpointStatus = EndpointStatus::Disabled(DisableReason::ByPerson);
const ALL: [EndpointStatus; 4] = [EndpointStatus::Active, EndpointStatus::Paused, EndpointStatus::Unproven, GONE];

/// One way to change a status: its name, what it does, and what it makes of each of [`ALL`] without and with a proof.
type Way = (&'static str, fn(EndpointStatus, Proof) -> EndpointStatus, [[EndpointStatus; 4]; 2]);

const fn of_caller(wanted: EndpointStatus, before: EndpointStatus, proof: Proof) -> EndpointStatus {
    EndpointStatus::asked(wanted, Some(before), proof)
}

fn ways() -> [Way; 10] {
    use EndpointStatus::{Active, Paused, Unproven};
    [
        (
            "pause",
            |s, p| of_caller(s.paused(), s, p),
            [[Paused, Paused, Active, GONE], [Paused, Paused, Unproven, GONE]],
        ),
        (
            "resume",
            |s, p| of_caller(s.resumed(), s, p),
            [[Active, Active, Active, GONE], [Active, Active, Unproven, GONE]],
        ),
        (
            "enable",
            |s, p| of_caller(s.enabled(), s, p),
            [[Active, Paused, Active, Active], [Active, Paused, Unproven, Unproven]],
        ),
        (
            "disable",
            |s, p| of_caller(s.disabled(DisableReason::ByPerson), s, p),
            [[BY_PERSON, BY_PERSON, BY_PERSON, GONE], [BY_PERSON, BY_PERSON, BY_PERSON, GONE]],
        ),
        ("ask for active", |s, p| of_caller(Active, s, p), [[Active; 4], [Active, Active, Unproven, Unproven]]),
        ("ask for paused", |s, p| of_caller(Paused, s, p), [[Paused; 4], [Paused, Paused, Unproven, Unproven]]),
        ("ask for unproven", |s, p| of_caller(Unproven, s, p), [[Active; 4], [Unproven; 4]]),
        (
            "ask for disabled",
            |s, p| of_caller(BY_PERSON, s, p),
            [[BY_PERSON, BY_PERSON, BY_PERSON, GONE], [BY_PERSON, BY_PERSON, BY_PERSON, GONE]],
        ),
        (
            "move",
            |s, p| EndpointStatus::asked(s, None, p),
            [[Active, Paused, Active, GONE], [Unproven, Unproven, Unproven, GONE]],
        ),
        ("prove", |s, _| s.proved(), [[Active, Paused, Active, GONE], [Active, Paused, Active, GONE]]),
    ]
}

#[test]
fn every_way_leads_where_the_table_says() {
    for (name, way, becomes) in ways() {
        for (proof, becomes) in [Proof::None, Proof::Ping].into_iter().zip(becomes) {
            for (before, after) in ALL.into_iter().zip(becomes) {
                assert_eq!(way(before, proof), after, "{name} of {before:?} with {proof:?}");
            }
        }
    }
}

/// Disabled and enabled again, paused and resumed, asked for by name: an endpoint came out without its proof.
#[test]
fn no_way_leads_past_a_proof() {
    for proof in [Proof::Challenge, Proof::CloudEvents, Proof::Ping] {
        let mut seen = vec![EndpointStatus::asked(EndpointStatus::Active, None, proof)];
        let mut known: BTreeSet<String> = BTreeSet::new();
        while let Some(status) = seen.pop() {
            assert!(
                matches!(status, EndpointStatus::Unproven | EndpointStatus::Disabled(_)),
                "{status:?} by {known:?}"
            );
            if known.insert(format!("{status:?}")) {
                seen.extend(
                    ways().into_iter().filter(|(name, ..)| *name != "prove").map(|(_, way, _)| way(status, proof)),
                );
            }
        }
        assert_eq!(known.len(), 2, "unproven, and disabled by a person");
    }
}

#[test]
fn what_was_proved_is_proved_until_it_moves_or_is_disabled() {
    for (name, way, _) in ways().into_iter().filter(|(name, ..)| ["pause", "resume", "enable"].contains(name)) {
        let proved = EndpointStatus::Unproven.proved();
        assert_ne!(way(proved, Proof::Ping), EndpointStatus::Unproven, "{name}");
    }
    for (name, way, _) in ways().into_iter().filter(|(name, ..)| *name == "move" || *name == "ask for unproven") {
        assert_eq!(way(EndpointStatus::Active, Proof::Ping), EndpointStatus::Unproven, "{name}");
    }
}
