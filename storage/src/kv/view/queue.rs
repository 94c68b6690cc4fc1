//! What waits at an endpoint, for people who look.

use std::num::NonZeroUsize;

use bytes::Bytes;
use postrider_core::{Delivery, EndpointId, Generation, LaneId, Place, Seq, Timestamp};

use super::{
    View,
    pages::{Gathered, Met, cut, direction},
};
use crate::{
    Backlog, Cursor, Page, PageRequest, StoreError,
    kv::{
        Direction, Partition,
        keys::{self, table},
        rows,
        starts::Start,
    },
};

/// Rows read at once.
const READ_AT_ONCE: usize = 256;
/// Rows that are looked at for the oldest, where it is known how many there are.
const LOOKED_AT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

impl View<'_> {
    pub(in crate::kv) fn queue(
        self,
        of: EndpointId,
        generation: Generation,
        page: &PageRequest,
        start: &Start,
    ) -> Result<Page<Delivery>, StoreError> {
        let Ok(reached) = page.part.place().map(row_at).transpose() else { return Ok(Page::default()) };
        if !self.is_current(of, generation)? {
            return Ok(Page::default());
        }
        let (direction, at_once) = (direction(true, &page.part), page.limit.saturating_add(1));
        let mut parts = [table::READY, table::DUE];
        if page.part.is_back() {
            parts.reverse();
        }
        let mut gathered = Gathered::new(page.limit);
        'page: for part in parts.into_iter().skip_while(|part| reached.is_some_and(|(table, _)| table != *part)) {
            let prefix = keys::queue(part, of, generation);
            let mut range = (begin(part, &prefix, start), keys::end_of(&prefix));
            if let Some((_, suffix)) = reached.filter(|(table, _)| *table == part) {
                cut(&mut range, direction, &[&prefix[..], suffix].concat());
            }
            loop {
                let rows = self.part(part, &prefix, (&range.0, &range.1), direction, at_once, start)?;
                for (key, value) in &rows {
                    let suffix = &key[prefix.len()..];
                    let place = Cursor(Bytes::from([&[part][..], suffix].concat()));
                    if !gathered.take(place, Met::new(true, unfinished(part, of, generation, suffix, value)?)) {
                        break 'page;
                    }
                }
                match rows.last() {
                    Some((key, _)) if rows.len() == at_once.get() => cut(&mut range, direction, key),
                    Some(_) | None => break,
                }
            }
        }
        Ok(gathered.page(&page.part))
    }

    /// Rows of one table of a queue.
    fn part(
        self,
        table: u8,
        prefix: &[u8],
        (from, to): (&[u8], &[u8]),
        direction: Direction,
        limit: NonZeroUsize,
        start: &Start,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        match table {
            table::READY => self.scan_lanes(start, prefix, (from, to), direction, limit),
            _ => self.directed(Partition::LASTING, from, to, direction, limit),
        }
    }

    pub(in crate::kv) fn ahead(self, delivery: &Delivery, start: &Start) -> Result<Option<Delivery>, StoreError> {
        let Delivery { id, generation, lane, .. } = *delivery;
        match delivery.place {
            Place::Ready | Place::Due(_) | Place::Manual { .. } => return Ok(None),
            Place::Lane { .. } => {}
        }
        let prefix = keys::lane(id.endpoint, generation, lane);
        let own = [&prefix[..], &id.seq.0.to_be_bytes()].concat();
        let from = [&prefix[..], &start.of_lane(lane).0.to_be_bytes()].concat();
        let first = self.scan(Partition::LASTING, &from, &own, NonZeroUsize::MIN)?;
        let decode = |(key, value): &(Bytes, Bytes)| {
            let queue = keys::queue(table::READY, id.endpoint, generation).len();
            rows::decode_ready(id.endpoint, generation, &key[queue..], value)
        };
        first.first().map(decode).transpose()
    }

    /// How much waits: as many as are known to, or else as many as are among the first `rows_max` rows.
    pub(in crate::kv) fn backlog(
        self,
        of: EndpointId,
        generation: Generation,
        known: Option<u64>,
        rows_max: NonZeroUsize,
        start: &Start,
    ) -> Result<Backlog, StoreError> {
        if known == Some(0) || !self.is_current(of, generation)? {
            return Ok(Backlog::default());
        }
        let rows_max = if known.is_some() { rows_max.min(LOOKED_AT) } else { rows_max };
        let (mut left, mut found, mut oldest) = (rows_max.get(), 0, None::<Timestamp>);
        for part in [table::READY, table::DUE] {
            let prefix = keys::queue(part, of, generation);
            let (end, mut from) = (keys::end_of(&prefix), begin(part, &prefix, start));
            while let Some(at_once) = NonZeroUsize::new(left.min(READ_AT_ONCE)) {
                let rows = self.part(part, &prefix, (&from, &end), Direction::Forward, at_once, start)?;
                left -= rows.len();
                from = rows.last().map(|(key, _)| keys::after(key)).unwrap_or_default();
                for (key, value) in &rows {
                    if let Some(delivery) = unfinished(part, of, generation, &key[prefix.len()..], value)? {
                        found += 1;
                        oldest = Some(oldest.map_or(delivery.since, |oldest| oldest.min(delivery.since)));
                    }
                }
                if rows.len() < at_once.get() {
                    break;
                }
            }
        }
        let known = known.map(|known| usize::try_from(known).unwrap_or(usize::MAX));
        let (queued, is_at_least) = known.map_or((found, left == 0), |known| (known, false));
        Ok(Backlog { queued, is_at_least, oldest })
    }
}

/// Where the rows of a table begin, whose keys begin so.
fn begin(table: u8, prefix: &[u8], start: &Start) -> Vec<u8> {
    if table == table::READY { prefix.to_vec() } else { start.of_due(prefix) }
}

/// The delivery of a row, if it is not only found by it.
fn unfinished(
    table: u8,
    of: EndpointId,
    generation: Generation,
    suffix: &[u8],
    value: &[u8],
) -> Result<Option<Delivery>, StoreError> {
    if table == table::READY {
        return rows::decode_ready(of, generation, suffix, value).map(Some);
    }
    let delivery = rows::decode_due(of, generation, suffix, value)?;
    Ok(match delivery.place {
        Place::Lane { .. } => None,
        Place::Ready | Place::Due(_) | Place::Manual { .. } => Some(delivery),
    })
}

/// The table and the end of the key of the row at which a cursor lies. It has exactly the length of these: any other one
/// is none of ours.
fn row_at(cursor: &Cursor) -> Result<(u8, &[u8]), NotOurs> {
    const READY: usize = size_of::<LaneId>() + size_of::<Seq>();
    const DUE: usize = size_of::<Timestamp>() + size_of::<Seq>() + size_of::<u32>();
    match cursor.0.split_first() {
        Some((&table::READY, suffix)) if suffix.len() == READY => Ok((table::READY, suffix)),
        Some((&table::DUE, suffix)) if suffix.len() == DUE => Ok((table::DUE, suffix)),
        Some(_) | None => Err(NotOurs),
    }
}

/// A cursor that this list did not make.
struct NotOurs;
