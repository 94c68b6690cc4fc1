//! What a machine asks for: a bounded part of its queue, in the order that it needs, from where it stopped reading.

use std::{num::NonZeroUsize, sync::Arc};

use bytes::Bytes;
use postrider_core::{
    Aged, Ask, Delivery, DueKey, EndpointId, EventId, Found, Generation, LaneId, PerPriority, Rows, Seq, SoftState,
    StoredEvent, WindowShare,
};

use super::View;
use crate::{
    StoreError,
    kv::{
        Direction, Partition,
        codec::corrupt,
        keys::{self, Key, table},
        rows::{self, QueueRow},
        starts::Start,
    },
};

impl View<'_> {
    pub(in crate::kv) fn window(
        self,
        of: EndpointId,
        generation: Generation,
        ask: Ask,
        share: WindowShare,
        start: &Start,
    ) -> Result<Found, StoreError> {
        let queue = self.get::<QueueRow>(&Key::Queue(of))?.filter(|queue| queue.generation == generation);
        let Some(queue) = queue else { return Ok(nothing(ask)) };
        let (deliveries, is_last) = match ask {
            Ask::Soft => return Ok(Found::Soft(self.soft(of)?)),
            Ask::Ready(after) => self.classes(of, generation, &after, share.rows, start)?,
            Ask::Lane(lane, after) => self.lane(of, generation, lane, after, share.rows, start)?,
            Ask::Lanes(after) => self.heads((of, generation, table::READY), after, share.rows, start)?,
            Ask::Urgent(after) => self.heads((of, generation, table::URGENT), after, share.rows, start)?,
            Ask::Due(after) => self.due(of, generation, after, share.rows, start)?,
            Ask::Aged(before, after) => {
                return Ok(Found::Aged(self.aged((of, generation), before, after, share.rows, start)?));
            }
        };
        Ok(Found::Rows(Rows { rows: self.with_events(&queue, deliveries, share)?, is_last }))
    }

    pub(in crate::kv) fn soft(self, of: EndpointId) -> Result<SoftState, StoreError> {
        Ok(self.value(&Key::Soft(of))?.as_deref().map(rows::soft).transpose()?.unwrap_or_default())
    }

    /// What was never attempted, class after class.
    fn classes(
        self,
        of: EndpointId,
        generation: Generation,
        after: &PerPriority<Option<Seq>>,
        rows: NonZeroUsize,
        start: &Start,
    ) -> Result<(Vec<Delivery>, bool), StoreError> {
        let mut found = Vec::new();
        for (priority, after) in after.iter().filter_map(|(priority, after)| Some((priority, (*after)?))) {
            let Some(left) = NonZeroUsize::new(rows.get() - found.len()) else {
                // Whether there is one more, and not which.
                let (next, _) =
                    self.lane(of, generation, LaneId::unordered(priority), after, NonZeroUsize::MIN, start)?;
                if next.is_empty() { continue } else { return Ok((found, false)) }
            };
            let (class, is_last) = self.lane(of, generation, LaneId::unordered(priority), after, left, start)?;
            found.extend(class);
            if !is_last {
                return Ok((found, false));
            }
        }
        Ok((found, true))
    }

    /// The deliveries of a lane behind a position.
    fn lane(
        self,
        of: EndpointId,
        generation: Generation,
        lane: LaneId,
        after: Seq,
        rows: NonZeroUsize,
        start: &Start,
    ) -> Result<(Vec<Delivery>, bool), StoreError> {
        let Some(next) = after.0.checked_add(1) else { return Ok((Vec::new(), true)) };
        let next = start.of_lane(lane).max(Seq(next));
        let prefix = keys::lane(of, generation, lane);
        let from = [&prefix[..], &next.0.to_be_bytes()].concat();
        let found = self.scan(Partition::LASTING, &from, &keys::end_of(&prefix), rows.saturating_add(1))?;
        let is_last = found.len() <= rows.get();
        let found = &found[..found.len().min(rows.get())];
        Ok((ready(of, generation, found)?, is_last))
    }

    /// The heads of the lanes that have a row in this table: a seek for each, and one more where the row is not the head,
    /// however many rows wait behind it.
    fn heads(
        self,
        (of, generation, table): (EndpointId, Generation, u8),
        after: Option<LaneId>,
        rows: NonZeroUsize,
        start: &Start,
    ) -> Result<(Vec<Delivery>, bool), StoreError> {
        let prefix = keys::queue(table, of, generation);
        let end = keys::end_of(&prefix);
        let mut heads = Vec::new();
        let mut next = after.map_or(Some(0), |LaneId(lane)| lane.checked_add(1));
        while let Some(lane) = next {
            let from = [&prefix[..], &lane.to_be_bytes()].concat();
            let found = self.scan_lanes(start, &prefix, (&from, &end), Direction::Forward, NonZeroUsize::MIN)?;
            let Some((key, _)) = found.first() else { break };
            if heads.len() == rows.get() {
                return Ok((heads, false));
            }
            let lane = keys::Suffix(&key[prefix.len()..]).u64().ok_or_else(|| corrupt("its key is cut short"))?;
            heads.extend(match table {
                table::READY => ready(of, generation, &found)?,
                _ => self.lane(of, generation, LaneId(lane), Seq(0), NonZeroUsize::MIN, start)?.0,
            });
            next = lane.checked_add(1);
        }
        Ok((heads, true))
    }

    /// What waits for a time. Rows that share time and position are not parted, for a machine could not ask for the
    /// second of them alone; so there may be a few more rows than asked for, if all of them do.
    fn due(
        self,
        of: EndpointId,
        generation: Generation,
        after: DueKey,
        rows: NonZeroUsize,
        start: &Start,
    ) -> Result<(Vec<Delivery>, bool), StoreError> {
        let prefix = keys::queue(table::DUE, of, generation);
        let from = [&prefix[..], &after.at.as_nanos().to_be_bytes(), &after.seq.0.to_be_bytes()].concat();
        let from = if after == DueKey::START { start.of_due(&prefix) } else { keys::end_of(&from) };
        let (from, end) =
            if from.starts_with(&prefix) { (from, keys::end_of(&prefix)) } else { (Vec::new(), Vec::new()) };
        let mut limit = rows.saturating_add(1);
        loop {
            let found = self.scan(Partition::LASTING, &from, &end, limit)?;
            let found = found.iter().map(|(key, value)| rows::decode_due(of, generation, &key[prefix.len()..], value));
            let mut found = found.collect::<Result<Vec<_>, _>>()?;
            let exhausted = found.len() < limit.get();
            let Some(beyond) = found.get(rows.get()).map(moment) else { return Ok((found, true)) };
            let whole = found[..rows.get()].iter().rposition(|row| moment(row) != beyond).map(|last| last + 1);
            match whole.or_else(|| found.iter().position(|row| moment(row) != beyond)) {
                Some(whole) => {
                    found.truncate(whole);
                    return Ok((found, false));
                }
                None if exhausted => return Ok((found, true)),
                None => limit = limit.saturating_add(limit.get()),
            }
        }
    }

    /// Each delivery with its event, in this order, as long as the bytes for that last, without the one that is at hand.
    fn with_events(
        self,
        queue: &QueueRow,
        deliveries: Vec<Delivery>,
        share: WindowShare,
    ) -> Result<Vec<WithEvent>, StoreError> {
        let mut bytes = share.event_bytes;
        let with_event = |delivery: Delivery| {
            if share.at_hand == Some(delivery.event) {
                return Ok((delivery, None));
            }
            let payload = delivery.bytes as usize;
            if payload > bytes {
                // The first that does not fit ends it: those behind it are not wanted sooner.
                bytes = 0;
            }
            let event = if bytes == 0 { None } else { self.readable_event(queue, delivery.event)? };
            bytes -= event.as_ref().map_or(0, |_| payload);
            Ok((delivery, event))
        };
        deliveries.into_iter().map(with_event).collect()
    }

    /// An event that cannot be read does not hide its delivery: whoever attempts it reads it again, and hears why.
    fn readable_event(self, queue: &QueueRow, event: EventId) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let Some(value) = self.event_value(queue.application, event)? else { return Ok(None) };
        let event = rows::decode_event(queue.application, &value).ok();
        Ok(event.filter(|event| !event.is_expunged).map(Arc::new))
    }
}

type WithEvent = (Delivery, Option<Arc<StoredEvent>>);

/// Of a queue that is empty; or was cut off: its rows are dead, whether they are purged yet or not.
pub(in crate::kv) fn nothing(ask: Ask) -> Found {
    match ask {
        Ask::Soft => Found::Soft(SoftState::default()),
        Ask::Aged(..) => Found::Aged(Aged::default()),
        Ask::Ready(_) | Ask::Due(_) | Ask::Lanes(_) | Ask::Lane(..) | Ask::Urgent(_) => {
            Found::Rows(Rows { rows: Vec::new(), is_last: true })
        }
    }
}

fn ready(of: EndpointId, generation: Generation, found: &[(Bytes, Bytes)]) -> Result<Vec<Delivery>, StoreError> {
    let prefix = keys::queue(table::READY, of, generation).len();
    found.iter().map(|(key, value)| rows::decode_ready(of, generation, &key[prefix..], value)).collect()
}

/// When a delivery is due, and where it stands.
pub(super) fn moment(delivery: &Delivery) -> DueKey {
    DueKey { at: delivery.due().unwrap_or(DueKey::START.at), seq: delivery.id.seq }
}
