//! What is too old in a queue, found without a row of its own: lives of one lane begin in the order of their positions, so
//! that of each lane only the first rows are looked at, and one that is young ends it.

use std::num::NonZeroUsize;

use postrider_core::{Aged, AgedKey, Delivery, DueKey, EndpointId, Generation, LaneId, Life, Place, Seq, Timestamp};

use super::{View, window::moment};
use crate::{
    StoreError,
    kv::{
        Direction, Partition,
        keys::{self, table},
        rows,
        starts::Start,
    },
};

/// Rows that are looked at in one search; then it ends, and the next one goes on.
const LOOKED_AT_MAX: usize = 4 * 1024;
/// Rows read at once.
const READ_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// Before the first delivery of the first lane.
const LANES: AgedKey = AgedKey::Lane(LaneId(0), Seq(0));

/// A search: whose life began by then, at most so many.
struct Search {
    before: Timestamp,
    rows: NonZeroUsize,
    found: Aged,
}

impl View<'_> {
    pub(super) fn aged(
        self,
        (of, generation): (EndpointId, Generation),
        before: Timestamp,
        after: AgedKey,
        rows: NonZeroUsize,
        start: &Start,
    ) -> Result<Aged, StoreError> {
        let mut search = Search { before, rows, found: Aged::default() };
        let lanes = match after {
            AgedKey::Start => {
                self.aged_due(&mut search, of, generation, DueKey::START, start)?.then_some((LaneId(0), Seq(0)))
            }
            AgedKey::Due(after) => {
                self.aged_due(&mut search, of, generation, after, start)?.then_some((LaneId(0), Seq(0)))
            }
            AgedKey::Lane(lane, seq) => Some((lane, seq)),
        };
        if let Some(after) = lanes {
            self.aged_ready(&mut search, of, generation, after, start)?;
        }
        Ok(search.found)
    }

    /// Those that wait for a time, in no order of age. Says whether it came to their end.
    fn aged_due(
        self,
        search: &mut Search,
        of: EndpointId,
        generation: Generation,
        after: DueKey,
        start: &Start,
    ) -> Result<bool, StoreError> {
        let prefix = keys::queue(table::DUE, of, generation);
        let end = keys::end_of(&prefix);
        let mut from = start.of_due(&prefix);
        if after != DueKey::START {
            let after = [&prefix[..], &after.at.as_nanos().to_be_bytes(), &after.seq.0.to_be_bytes()].concat();
            from = keys::end_of(&after);
        }
        let mut last = after;
        loop {
            let rows = self.scan(Partition::LASTING, &from, &end, READ_AT_ONCE)?;
            for (key, value) in &rows {
                let delivery = rows::decode_due(of, generation, &key[prefix.len()..], value)?;
                // Rows of one time and position are not parted: nobody could ask for the second of them alone.
                if search.is_full() && moment(&delivery) != last {
                    search.found.next = Some(AgedKey::Due(last));
                    return Ok(false);
                }
                last = moment(&delivery);
                match delivery.place {
                    // It only finds the head of a lane, which is met there.
                    Place::Lane { .. } => search.found.looked_at += 1,
                    Place::Ready | Place::Due(_) | Place::Manual { .. } => search.look_at(delivery),
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == READ_AT_ONCE.get() => from = keys::after(key),
                Some(_) | None => break,
            }
        }
        if search.is_full() {
            search.found.next = Some(LANES);
        }
        Ok(!search.is_full())
    }

    fn aged_ready(
        self,
        search: &mut Search,
        of: EndpointId,
        generation: Generation,
        (lane, seq): (LaneId, Seq),
        start: &Start,
    ) -> Result<(), StoreError> {
        let prefix = keys::queue(table::READY, of, generation);
        let end = keys::end_of(&prefix);
        let mut from = keys::after(&[&prefix[..], &lane.0.to_be_bytes(), &seq.0.to_be_bytes()].concat());
        let mut last = (lane, seq);
        let mut young = None;
        loop {
            let rows = self.scan_lanes(start, &prefix, (&from, &end), Direction::Forward, READ_AT_ONCE)?;
            let Some((key, _)) = rows.last() else { return Ok(()) };
            from = keys::after(key);
            for (key, value) in &rows {
                let delivery = rows::decode_ready(of, generation, &key[prefix.len()..], value)?;
                if search.is_full() {
                    search.found.next = Some(AgedKey::Lane(last.0, last.1));
                    return Ok(());
                }
                last = (delivery.lane, delivery.id.seq);
                if young == Some(delivery.lane) {
                    continue;
                }
                // A later life may have begun in an old place, before older ones.
                let is_first = delivery.life == Life::FIRST && !delivery.is_held();
                if is_first && delivery.since > search.before {
                    young = Some(delivery.lane);
                }
                search.look_at(delivery);
            }
            if rows.len() < READ_AT_ONCE.get() {
                return Ok(());
            }
            if young == Some(last.0) {
                from = keys::end_of(&keys::lane(of, generation, last.0));
            }
        }
    }
}

impl Search {
    const fn is_full(&self) -> bool {
        self.found.rows.len() >= self.rows.get() || self.found.looked_at >= LOOKED_AT_MAX
    }

    fn look_at(&mut self, delivery: Delivery) {
        self.found.looked_at += 1;
        if delivery.is_held() {
            return;
        }
        if delivery.since <= self.before {
            return self.found.rows.push(delivery);
        }
        let oldest = self.found.oldest.get_or_insert(delivery.since);
        *oldest = (*oldest).min(delivery.since);
    }
}
