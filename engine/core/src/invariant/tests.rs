//! Names and statements, and the check.

use std::collections::BTreeSet;

use super::*;

#[test]
fn each_is_listed_once_with_a_statement_of_its_own() {
    let names: BTreeSet<_> = Invariant::ALL.iter().map(|invariant| format!("{invariant:?}")).collect();
    let statements: BTreeSet<_> = Invariant::ALL.iter().map(|invariant| invariant.statement()).collect();
    assert_eq!((names.len(), statements.len()), (Invariant::ALL.len(), Invariant::ALL.len()));
    assert_eq!(Invariant::D4.to_string(), "D4 (one idempotency key, one event)");
}

#[test]
fn what_holds_passes() {
    check_invariant!(A1, 1 + 1 == 2, "arithmetic is broken");
}

#[test]
#[should_panic(
    expected = "invariant D3 (a life of a delivery ends exactly once, and a dead letter exists if and only if \
                           it ended by giving up) is broken: delivery 7 ended twice"
)]
fn what_does_not_hold_panics_with_its_name_and_what_was_found() {
    let seq = 7;
    check_invariant!(D3, seq != 7, "delivery {seq} ended twice");
}
