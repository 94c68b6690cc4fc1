//! An event's row: what was published, and who is to have it; its payload is the rest of the value.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use postrider_core::{
    Acceptance, ApplicationId, EndpointId, Event, EventId, Generation, IdempotencyKey, LaneId, Lease, OrderingKey,
    Priority, Recipient, RecipientLane, Seq, StoredEvent, Timestamp, Uid,
};
use serde::{Deserialize, Serialize};

use crate::{
    StoreError,
    kv::codec::{decode_with_more, encode_with, encode_with_more},
};

/// Recipients that lie in an event's own row. Those of an event that has more lie in rows of their own: whoever wants what
/// was published, which all of them do, reads as much for each however many they are.
const RECIPIENTS_INSIDE: usize = 16;
/// Recipients of one such row.
const RECIPIENTS_OF_ROW: usize = 128;

/// An event without its payload, which is the rest of the value.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::kv) struct EventRow<'v> {
    pub(in crate::kv) id: EventId,
    pub(in crate::kv) seq: Seq,
    pub(in crate::kv) accepted_at: Timestamp,
    pub(in crate::kv) event_type: &'v str,
    content_type: Option<&'v str>,
    pub(in crate::kv) uid: Option<&'v str>,
    #[serde(borrow)]
    pub(in crate::kv) channels: Vec<&'v str>,
    pub(in crate::kv) ordering_key: Option<&'v str>,
    idempotency_key: Option<&'v str>,
    /// None if they are many, or there are none.
    pub(in crate::kv) recipients: Vec<RecipientRow>,
}

/// What is asked of an event again and again while a group is applied: read once for all that ask.
#[derive(Clone, Debug)]
pub(in crate::kv) struct EventHead {
    pub(in crate::kv) id: EventId,
    pub(in crate::kv) seq: Seq,
    pub(in crate::kv) accepted_at: Timestamp,
    /// Of its payload.
    pub(in crate::kv) bytes: u32,
    pub(in crate::kv) is_expunged: bool,
    pub(in crate::kv) priority: Priority,
    pub(in crate::kv) ordering_key: Option<OrderingKey>,
    /// None if they are many, or there are none.
    recipients: Vec<RecipientRow>,
}

impl EventHead {
    pub(in crate::kv) fn of(value: &[u8]) -> Result<Self, StoreError> {
        let (row, more, payload) = event_row(value)?;
        Ok(Self {
            id: row.id,
            seq: row.seq,
            accepted_at: row.accepted_at,
            bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            is_expunged: more.marks.is_expunged(),
            priority: more.marks.priority(),
            ordering_key: row.ordering_key.map(|key| OrderingKey(key.into())),
            recipients: row.recipients,
        })
    }

    /// The recipient at this endpoint, if it lies in the event's own row; and whether none lies anywhere else.
    pub(in crate::kv) fn recipient(&self, at: EndpointId) -> (Option<RecipientRow>, bool) {
        (recipient(&self.recipients, at), !self.recipients.is_empty())
    }
}

/// What not every event has: behind the row, only if there is any of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::kv) struct EventMore<'v> {
    #[serde(borrow)]
    pub(in crate::kv) tags: Vec<&'v str>,
    deliver_at: Option<Timestamp>,
    payload_kept: Option<Duration>,
    pub(in crate::kv) marks: Marks,
}

/// What is true of an event or not, in one byte: its lowest bit says that its payload was forgotten before its time, the
/// two above it how urgent it is (0: normal, 1: high, 2: low).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::kv) struct Marks(u8);

impl Marks {
    const EXPUNGED: u8 = 1;

    const fn of(priority: Priority) -> Self {
        match priority {
            Priority::Normal => Self(0),
            Priority::High => Self(1 << 1),
            Priority::Low => Self(2 << 1),
        }
    }

    pub(in crate::kv) const fn is_expunged(self) -> bool {
        self.0 & Self::EXPUNGED != 0
    }

    pub(in crate::kv) const fn priority(self) -> Priority {
        match self.0 >> 1 {
            1 => Priority::High,
            2 => Priority::Low,
            _ => Priority::Normal,
        }
    }
}

/// An event's row, what not every event has, and its payload.
pub(in crate::kv) fn event_row(value: &[u8]) -> Result<(EventRow<'_>, EventMore<'_>, &[u8]), StoreError> {
    decode_with_more(value)
}

/// Appends an event's row without its payload.
pub(in crate::kv) fn encode_expunged(row: &EventRow<'_>, more: EventMore<'_>, out: &mut Vec<u8>) {
    let marks = Marks(more.marks.0 | Marks::EXPUNGED);
    encode_with_more(row, &EventMore { marks, ..more }, &[], out);
}

/// Where the delivery of one recipient began.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::kv) struct RecipientRow {
    pub(in crate::kv) endpoint: EndpointId,
    pub(in crate::kv) generation: Generation,
    lane: LaneRow,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum LaneRow {
    Unordered,
    In(LaneId),
    Alone,
}

impl RecipientRow {
    const fn of(to: &Recipient) -> Self {
        let lane = match to.lane {
            RecipientLane::Unordered => LaneRow::Unordered,
            RecipientLane::In(lane) => LaneRow::In(lane),
            RecipientLane::Alone => LaneRow::Alone,
        };
        Self { endpoint: to.endpoint, generation: to.generation, lane }
    }

    /// Among the rows of which lane it began.
    pub(in crate::kv) fn lane(&self, seq: Seq, priority: Priority) -> LaneId {
        match self.lane {
            LaneRow::Unordered => LaneId::unordered(priority),
            LaneRow::In(lane) => lane,
            LaneRow::Alone => LaneId::alone(seq),
        }
    }
}

/// The recipient at this endpoint.
pub(in crate::kv) fn recipient(all: &[RecipientRow], at: EndpointId) -> Option<RecipientRow> {
    all.iter().find(|recipient| recipient.endpoint == at).copied()
}

/// The recipients that lie in rows of their own, in the order of their endpoints: none unless they are many.
pub(in crate::kv) fn recipients_outside(acceptance: &Acceptance) -> Vec<Vec<RecipientRow>> {
    if acceptance.recipients.len() <= RECIPIENTS_INSIDE {
        return Vec::new();
    }
    let mut all: Vec<_> = acceptance.recipients.iter().map(RecipientRow::of).collect();
    all.sort_unstable_by_key(|recipient| recipient.endpoint);
    all.chunks(RECIPIENTS_OF_ROW).map(<[_]>::to_vec).collect()
}

/// Appends the value of an accepted event's row.
pub(in crate::kv) fn encode_event(acceptance: &Acceptance, id: EventId, seq: Seq, out: &mut Vec<u8>) {
    let Acceptance { accepted_at, event, recipients, .. } = acceptance;
    let inside = if recipients.len() <= RECIPIENTS_INSIDE { &recipients[..] } else { &[] };
    let row = EventRow {
        id,
        seq,
        accepted_at: *accepted_at,
        event_type: &event.event_type,
        content_type: event.content_type.as_deref(),
        uid: event.uid.as_ref().map(Uid::as_str),
        channels: event.channels.iter().map(|channel| &**channel).collect(),
        ordering_key: event.ordering_key.as_ref().map(|key| &*key.0),
        idempotency_key: event.idempotency_key.as_ref().map(|key| &*key.0),
        recipients: inside.iter().map(RecipientRow::of).collect(),
    };
    let Event { tags, deliver_at, payload_kept, .. } = &**event;
    let tags = tags.iter().map(|tag| &**tag).collect();
    let marks = Marks::of(event.priority);
    let more = EventMore { tags, deliver_at: *deliver_at, payload_kept: *payload_kept, marks };
    if more == EventMore::default() {
        encode_with(&row, &event.payload, out);
    } else {
        encode_with_more(&row, &more, &event.payload, out);
    }
}

/// The event of a row, its payload a part of `value`, not a copy.
pub(in crate::kv) fn decode_event(application: ApplicationId, value: &Bytes) -> Result<StoredEvent, StoreError> {
    let (row, more, payload) = event_row(value)?;
    let mut event = Event::new(row.event_type, value.slice_ref(payload));
    event.content_type = row.content_type.map(Into::into);
    event.uid = row.uid.map(Into::into);
    event.channels = row.channels.into_iter().map(Into::into).collect();
    event.ordering_key = row.ordering_key.map(|key| OrderingKey(key.into()));
    event.idempotency_key = row.idempotency_key.map(|key| IdempotencyKey(key.into()));
    event.tags = more.tags.into_iter().map(Into::into).collect();
    (event.deliver_at, event.payload_kept) = (more.deliver_at, more.payload_kept);
    event.priority = more.marks.priority();
    Ok(StoredEvent {
        id: row.id,
        application,
        accepted_at: row.accepted_at,
        event: Arc::new(event),
        is_expunged: more.marks.is_expunged(),
        lease: Lease::default(),
    })
}
