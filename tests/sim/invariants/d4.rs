//! D4: one idempotency key, one event. Judged where keys are stored (`ledger.rs`) and where publishers are answered
//! (`people.rs`); here once more over all of them.

use std::collections::BTreeSet;

use crate::ledger::Ledger;

pub(super) fn one_key_one_event(ledger: &Ledger) -> Result<(), String> {
    let events: BTreeSet<_> = ledger.keys.values().collect();
    if events.len() == ledger.keys.len() { Ok(()) } else { Err("two keys have one event".to_owned()) }
}
