//! What waits at an endpoint, for people who look.

use std::num::NonZeroUsize;

use bytes::Bytes;
use postrider_core::{Delivery, EndpointId, Generation, LaneId, Place, Seq, Timestamp};

use super::{PASSED_OVER_MAX, View};
use crate::{
    Backlog, Cursor, Page, PageRequest, StoreError,
    kv::{
        Partition,
        keys::{self, table},
        rows,
    },
};

/// Rows read at once while counting.
const COUNTED_AT_ONCE: usize = 256;

impl View<'_> {
    pub(in crate::kv) fn queue(
        self,
        of: EndpointId,
        generation: Generation,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, StoreError> {
        let Some((table, suffix)) = place_of(page) else { return Ok(Page::default()) };
        if !self.is_current(of, generation)? {
            return Ok(Page::default());
        }
        let limit = page.limit.get();
        let (mut items, mut passed_over, mut last) = (Vec::new(), 0, None);
        for part in [table::READY, table::DUE].into_iter().skip_while(|part| *part != table) {
            let prefix = keys::queue(part, of, generation);
            let end = keys::end_of(&prefix);
            let mut from = match suffix {
                Some(suffix) if part == table => keys::after(&[&prefix[..], suffix].concat()),
                Some(_) | None => prefix.clone(),
            };
            loop {
                let ahead = NonZeroUsize::MIN.saturating_add(limit - items.len());
                let rows = self.scan(Partition::LASTING, &from, &end, ahead)?;
                for (key, value) in &rows {
                    let suffix = &key[prefix.len()..];
                    match unfinished(part, of, generation, suffix, value)? {
                        Some(delivery) if items.len() < limit => items.push(delivery),
                        None if passed_over < PASSED_OVER_MAX => passed_over += 1,
                        Some(_) | None => return Ok(Page { items, next: last.map(Cursor) }),
                    }
                    last = Some(Bytes::from([&[part][..], suffix].concat()));
                }
                match rows.last() {
                    Some((key, _)) if rows.len() == ahead.get() => from = keys::after(key),
                    Some(_) | None => break,
                }
            }
        }
        Ok(Page { items, next: None })
    }

    pub(in crate::kv) fn ahead(self, delivery: &Delivery) -> Result<Option<Delivery>, StoreError> {
        let Delivery { id, generation, lane, .. } = *delivery;
        match delivery.place {
            Place::Ready | Place::Due(_) | Place::Manual { .. } => return Ok(None),
            Place::Lane { .. } => {}
        }
        let prefix = keys::lane(id.endpoint, generation, lane);
        let own = [&prefix[..], &id.seq.0.to_be_bytes()].concat();
        let first = self.scan(Partition::LASTING, &prefix, &own, NonZeroUsize::MIN)?;
        let decode = |(key, value): &(Bytes, Bytes)| {
            let queue = keys::queue(table::READY, id.endpoint, generation).len();
            rows::decode_ready(id.endpoint, generation, &key[queue..], value)
        };
        first.first().map(decode).transpose()
    }

    pub(in crate::kv) fn backlog(
        self,
        of: EndpointId,
        generation: Generation,
        at_most: NonZeroUsize,
    ) -> Result<Backlog, StoreError> {
        let (mut queued, mut oldest) = (0, None::<Timestamp>);
        if !self.is_current(of, generation)? {
            return Ok(Backlog::default());
        }
        for part in [table::READY, table::DUE] {
            let prefix = keys::queue(part, of, generation);
            let (end, mut from) = (keys::end_of(&prefix), prefix.clone());
            while let Some(at_once) = NonZeroUsize::new((at_most.get() - queued).min(COUNTED_AT_ONCE)) {
                let rows = self.scan(Partition::LASTING, &from, &end, at_once)?;
                let is_last = rows.len() < at_once.get();
                from = rows.last().map(|(key, _)| keys::after(key)).unwrap_or_default();
                for (key, value) in &rows {
                    let Some(delivery) = unfinished(part, of, generation, &key[prefix.len()..], value)? else {
                        continue;
                    };
                    match delivery.place {
                        // A try beside what waits is not one more that waits.
                        Place::Manual { .. } => continue,
                        Place::Ready | Place::Due(_) | Place::Lane { .. } => {}
                    }
                    queued += 1;
                    oldest = Some(oldest.map_or(delivery.since, |oldest| oldest.min(delivery.since)));
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(Backlog { queued, oldest })
    }
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

/// In which table a page goes on, after which row; none if its cursor is none of ours.
fn place_of(page: &PageRequest) -> Option<(u8, Option<&[u8]>)> {
    const READY: usize = size_of::<LaneId>() + size_of::<Seq>();
    const DUE: usize = size_of::<Timestamp>() + size_of::<Seq>() + size_of::<u32>();
    let Some(Cursor(bytes)) = &page.after else { return Some((table::READY, None)) };
    match bytes.split_first()? {
        (&table::READY, suffix) if suffix.len() == READY => Some((table::READY, Some(suffix))),
        (&table::DUE, suffix) if suffix.len() == DUE => Some((table::DUE, Some(suffix))),
        _ => None,
    }
}
