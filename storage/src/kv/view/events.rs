//! Events: one, one by its publisher's name, and those of an application from either end.

use std::{num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use postrider_core::{ApplicationId, EventId, StoredEvent, Timestamp, Uid};

use super::{
    View,
    pages::{Gathered, Met, direction},
    walk::{Place, Walk},
};
use crate::{
    EventQuery, Page, PageRequest, StoreError,
    kv::{
        Direction,
        keys::{self, Key, meta, table, week},
        rows::{self, EventMore, EventRow, LastEvent},
    },
};

/// Rows read at once: each may be as large as a payload.
const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
/// A page ends after so many payload bytes, however few events that are.
const PAGE_BYTES: usize = 4 << 20;

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

    pub(in crate::kv) fn events(
        self,
        query: &EventQuery,
        page: &PageRequest<EventId>,
    ) -> Result<Page<StoredEvent, EventId>, StoreError> {
        let owner = query.application;
        // Ids are never older than the acceptance of their events, but for their rounding.
        let oldest = query.after.map_or(Timestamp::from_nanos(0), |after| after.earlier_by(Duration::from_secs(1)));
        let newest = self.newest(query.before)?;
        let direction = direction(query.oldest_first, &page.part);
        let asked = page.part.place().map(|id| place(*id));
        // A place outside the time that is asked for is as good as the end of that.
        let start = match direction {
            Direction::Forward => asked.max(query.after.map(|_| place(keys::first_event(oldest)))),
            Direction::Backward => asked.into_iter().chain(newest.map(|newest| place(keys::first_event(newest)))).min(),
        };
        let prefix = keys::under(table::EVENT, owner.to_bytes());
        let at_once = AT_ONCE.min(page.limit.saturating_add(1));
        let mut walk = Walk::new(self, direction, prefix, start, week(oldest), at_once);
        let (mut gathered, mut bytes) = (Gathered::new(page.limit), 0);
        while let Some(row) = walk.next()? {
            let (seen, more, payload) = rows::event_row(&row.value)?;
            let is_behind = match direction {
                Direction::Forward => newest.is_some_and(|newest| newest < seen.id.time()),
                Direction::Backward => seen.id.time() < oldest,
            };
            if is_behind {
                break;
            }
            let is_in_time = query.before.is_none_or(|before| seen.accepted_at < before)
                && query.after.is_none_or(|after| after < seen.accepted_at);
            let is_wanted = is_in_time && wants(query, &seen, &more);
            if is_wanted && bytes >= PAGE_BYTES {
                gathered.end_early();
                break;
            }
            bytes += if is_wanted { payload.len() } else { 0 };
            let event = is_wanted.then(|| rows::decode_event(owner, &row.value)).transpose()?;
            if !gathered.take(seen.id, Met::new(is_in_time, event)) {
                break;
            }
        }
        Ok(gathered.page(&page.part))
    }

    /// Up to which time ids of events lie that were accepted before a time: they run ahead of it by no more than the
    /// store has seen.
    pub(super) fn newest(self, before: Option<Timestamp>) -> Result<Option<Timestamp>, StoreError> {
        let Some(before) = before else { return Ok(None) };
        let LastEvent { ahead, .. } = self.get(&Key::Meta(meta::LAST_EVENT))?.unwrap_or_default();
        Ok(Some(before + ahead + Duration::from_secs(1)))
    }
}

fn place(id: EventId) -> Place {
    Place { partition: week(id.time()), suffix: id.to_bytes().to_vec() }
}

fn wants(query: &EventQuery, event: &EventRow<'_>, more: &EventMore<'_>) -> bool {
    let EventQuery { application: _, event_types, channel, tag, before: _, after: _, oldest_first: _ } = query;
    let tagged = tag.as_ref().is_none_or(|tag| more.tags.contains(&&**tag));
    let typed = event_types.is_empty() || event_types.iter().any(|wanted| **wanted == *event.event_type);
    let heard = channel.as_ref().is_none_or(|channel| event.channels.contains(&&**channel));
    typed && heard && tagged
}
