//! Removes, a piece at a time, what was cut off: ready and due rows and their indexes, dead letters, soft state. Attempts and events stay
//! until their partition goes.

use std::num::NonZeroUsize;

use postrider_core::{Delivery, Effect, EndpointId, Generation, More};

use super::{Stop, Transaction};
use crate::kv::{
    Partition,
    cut_off::CutPiece,
    keys::{ID_BYTES, Key, table},
    rows::{self, Cut, CutRow},
};

impl Transaction<'_> {
    pub(super) fn purge(&mut self, endpoint: EndpointId, rows_max: NonZeroUsize) -> Result<Effect, Stop> {
        let Some(mut cut) = self.rows.get::<CutRow>(&Key::Cut(endpoint))? else { return Ok(Effect::Purged(More::No)) };
        let piece = match self.cut_off.take_if(|piece| piece.is_next(&cut, rows_max)) {
            Some(found) => found,
            None => CutPiece::find(cut.clone(), rows_max, |from, to, limit| {
                self.rows.scan(Partition::LASTING, from, to, limit)
            })?,
        };
        // A letter that stays was looked at: it counts, so that the piece stays small.
        cut.after = piece.rows.last().map_or(cut.after, |(_, key, _)| key.to_vec());
        for (table, key, value) in piece.rows {
            if is_dead(table, &cut.what, &value) {
                self.rows.delete_found(Partition::LASTING, &key);
                if let Some(needing) = needing(table, endpoint, &key, &value)
                    && (table == table::DEAD_LETTER || self.may_need(&needing))
                {
                    self.is_needed_no_more(needing.event, needing.id)?;
                }
            }
        }
        if piece.is_last {
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

fn is_dead(table: u8, cut: &Cut, value: &[u8]) -> bool {
    match (cut, table) {
        // One that cannot be read stays: a person must look.
        (Cut::Before(kept), table::DEAD_LETTER) => {
            rows::letter(value).is_ok_and(|letter| letter.last.generation < *kept)
        }
        (Cut::Before(_) | Cut::Whole, _) => true,
    }
}
