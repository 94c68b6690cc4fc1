//! Removes, a piece at a time, what was cut off: ready and due rows and their indexes, dead letters, soft state. Attempts and events stay
//! until their partition goes.

use std::num::NonZeroUsize;

use postrider_core::{Delivery, Effect, EndpointId, Generation, More};

use super::{Stop, Transaction};
use crate::kv::{
    Partition,
    keys::{self, ID_BYTES, Key, table},
    rows::{self, Cut, CutRow},
};

/// In which order: by table, so that the last key removed says where to go on.
const TABLES: [u8; 5] = [table::DUE, table::DEAD_LETTER, table::URGENT, table::READY, table::SOFT];

impl Transaction<'_> {
    pub(super) fn purge(&mut self, endpoint: EndpointId, rows_max: NonZeroUsize) -> Result<Effect, Stop> {
        let Some(mut cut) = self.rows.get::<CutRow>(&Key::Cut(endpoint))? else { return Ok(Effect::Purged(More::No)) };
        let mut left = rows_max.get();
        for table in TABLES {
            let prefix = keys::under(table, endpoint.to_bytes());
            let (start, end) = range(&prefix, &cut.what, table);
            let from = start.max(keys::after(&cut.after));
            let Some(limit) = NonZeroUsize::new(left) else { break };
            for (key, value) in self.rows.scan(Partition::LASTING, &from, &end, limit)? {
                if is_dead(table, &cut.what, &value) {
                    self.rows.delete_found(Partition::LASTING, &key);
                    if let Some(needing) = needing(table, endpoint, &key, &value)
                        && (table == table::DEAD_LETTER || self.may_need(&needing))
                    {
                        self.is_needed_no_more(needing.event, needing.id)?;
                    }
                }
                // A letter that stays was looked at: it counts, so that the piece stays small.
                left -= 1;
                cut.after = key.to_vec();
            }
        }
        if left > 0 {
            self.rows.delete(&Key::Cut(endpoint));
            return Ok(Effect::Purged(More::No));
        }
        self.rows.put(&Key::Cut(endpoint), &cut);
        Ok(Effect::Purged(More::Yes))
    }
}

/// The delivery for which the event of a row that is purged may be kept.
fn needing(table: u8, of: EndpointId, key: &[u8], value: &[u8]) -> Option<Delivery> {
    let suffix = key.get(1 + ID_BYTES + size_of::<Generation>()..).unwrap_or_default();
    match table {
        table::DEAD_LETTER => rows::letter(value).ok().map(|letter| letter.last),
        table::READY => rows::decode_ready(of, Generation(0), suffix, value).ok(),
        table::DUE => rows::decode_due(of, Generation(0), suffix, value).ok(),
        _ => None,
    }
}

fn range(prefix: &[u8], cut: &Cut, table: u8) -> (Vec<u8>, Vec<u8>) {
    let start = prefix.to_vec();
    match (cut, table) {
        (Cut::Whole, _) | (Cut::Before(_), table::DEAD_LETTER) => (start, keys::end_of(prefix)),
        (Cut::Before(Generation(kept)), table::READY | table::DUE | table::URGENT) => {
            let end = [&prefix[..=ID_BYTES], &kept.to_be_bytes()].concat();
            (start, end)
        }
        // Soft state speaks of the receiver, not of the rows that were cut off.
        (Cut::Before(_), _) => (start.clone(), start),
    }
}

fn is_dead(table: u8, cut: &Cut, value: &[u8]) -> bool {
    match (cut, table) {
        // One that cannot be read stays: a person must look.
        (Cut::Before(kept), table::DEAD_LETTER) => {
            rows::letter(value).is_ok_and(|letter| letter.last.generation < *kept)
        }
        (Cut::Before(_) | Cut::Whole, _) => true,
    }
}
