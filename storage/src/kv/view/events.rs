//! Events: one, one by its publisher's name, and those of an application from either end.

use std::{num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use postrider_core::{ApplicationId, EventId, StoredEvent, Timestamp, Uid};

use super::{
    PASSED_OVER_MAX, View,
    pages::{self, From},
    walk::{Before, Walk},
};
use crate::{
    Cursor, EventQuery, Page, PageRequest, StoreError,
    kv::{
        Partition,
        keys::{self, ID_BYTES, Key, meta, table, week},
        rows::{self, EventMore, EventRow, LastEvent},
    },
};

/// Rows read at once: each may be as large as a payload.
const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
/// A page ends after so many payload bytes, however few events that are.
const PAGE_BYTES: usize = 16 << 20;
/// A cursor: partition and id.
const CURSOR: usize = size_of::<Partition>() + ID_BYTES;

impl View<'_> {
    pub(in crate::kv) fn event(self, owner: ApplicationId, event: EventId) -> Result<Option<StoredEvent>, StoreError> {
        self.event_value(owner, event)?.map(|value| rows::decode_event(owner, &value)).transpose()
    }

    /// The row of an event, wherever it lies.
    pub(super) fn event_value(self, owner: ApplicationId, event: EventId) -> Result<Option<Bytes>, StoreError> {
        match self.value(&Key::Event(owner, event))? {
            Some(value) => Ok(Some(value)),
            None => self.value(&Key::Kept(owner, event)),
        }
    }

    pub(in crate::kv) fn event_named(self, owner: ApplicationId, uid: &Uid) -> Result<Option<EventId>, StoreError> {
        for partition in self.partitions {
            if let Some(event) = self.get(&Key::EventUid(owner, uid, *partition))? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    pub(in crate::kv) fn events(self, query: &EventQuery, page: &PageRequest) -> Result<Page<StoredEvent>, StoreError> {
        let owner = query.application;
        // Ids are never older than the acceptance of their events, but for their rounding.
        let oldest = query.after.map_or(Timestamp::from_nanos(0), |after| after.earlier_by(Duration::from_secs(1)));
        let newest = self.newest(query)?;
        let start = match pages::from::<CURSOR>(page) {
            From::Start if query.oldest_first => query.after.map(|_| first_of(oldest)),
            From::Start => newest.map(first_of),
            From::After(cursor) => Some(Before::decode(cursor)),
            From::Nowhere => return Ok(Page::default()),
        };
        let prefix = keys::under(table::EVENT, owner.to_bytes());
        let at_once = AT_ONCE.min(page.limit.saturating_add(1));
        let mut walk = if query.oldest_first {
            Walk::forward(self, prefix, start, week(oldest), at_once)
        } else {
            Walk::new(self, prefix, start, week(oldest), at_once)
        };
        let (mut items, mut bytes, mut passed_over, mut last) = (Vec::new(), 0, 0, None);
        while let Some(row) = walk.peek()? {
            let (seen, more, _) = rows::event_row(&row.value)?;
            let is_behind = match query.oldest_first {
                true => newest.is_some_and(|newest| newest < seen.id.time()),
                false => seen.id.time() < oldest,
            };
            if is_behind {
                break;
            }
            match wants(query, &seen, &more) {
                true if items.len() < page.limit.get() && bytes < PAGE_BYTES => {
                    let event = rows::decode_event(owner, &row.value)?;
                    bytes += event.event.payload.len();
                    items.push(event);
                }
                false if passed_over < PASSED_OVER_MAX => passed_over += 1,
                true | false => return Ok(Page { items, next: last.map(cursor) }),
            }
            last = walk.next()?.map(|row| Before::of(&row));
        }
        Ok(Page { items, next: None })
    }

    /// Up to which time ids of events lie that were accepted before a time: they run ahead of it by no more than the
    /// store has seen.
    fn newest(self, query: &EventQuery) -> Result<Option<Timestamp>, StoreError> {
        let Some(before) = query.before else { return Ok(None) };
        let LastEvent { ahead, .. } = self.get(&Key::Meta(meta::LAST_EVENT))?.unwrap_or_default();
        Ok(Some(before + ahead + Duration::from_secs(1)))
    }
}

/// The place of the first id of a time.
fn first_of(time: Timestamp) -> Before {
    Before { partition: week(time), suffix: keys::first_event(time).to_bytes().to_vec() }
}

fn wants(query: &EventQuery, event: &EventRow<'_>, more: &EventMore<'_>) -> bool {
    let EventQuery { application: _, event_types, channel, tag, before, after, oldest_first: _ } = query;
    let tagged = tag.as_ref().is_none_or(|tag| more.tags.contains(&&**tag));
    let typed = event_types.is_empty() || event_types.iter().any(|wanted| **wanted == *event.event_type);
    let heard = channel.as_ref().is_none_or(|channel| event.channels.contains(&&**channel));
    let in_time =
        before.is_none_or(|before| event.accepted_at < before) && after.is_none_or(|after| after < event.accepted_at);
    typed && heard && tagged && in_time
}

fn cursor(last: Before) -> Cursor {
    let mut bytes = Vec::with_capacity(CURSOR);
    last.encode(&mut bytes);
    Cursor(Bytes::from(bytes))
}
