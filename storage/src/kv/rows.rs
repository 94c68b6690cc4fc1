//! What is stored under each key, and how it becomes a delivery, an event or an attempt again. What is in the key is not
//! repeated, but for ids that a list must show.

mod attempts;
mod events;
mod records;

use std::time::Duration;

use postrider_core::{
    ApplicationId, AttemptNumber, DeadLetter, Delivery, DeliveryId, EndpointId, EventId, Generation, GiveUpReason,
    LaneId, Life, OrderingMode, Place, Priority, Seq, Timestamp,
};
use serde::{Deserialize, Serialize};

pub(super) use self::attempts::{AttemptRow, attempt_row, decode_attempt, encode_attempt};
pub(super) use self::events::{
    EventHead, EventMore, EventRow, RecipientRow, decode_event, encode_event, encode_expunged, event_row, recipient,
    recipients_outside,
};
pub(super) use self::records::{application, encode_application, encode_endpoint, encode_soft, endpoint, soft};
use super::{
    codec::{corrupt, decode_more, encode_more},
    keys::{SCHEDULED, Suffix},
};
use crate::StoreError;

/// What guards ask of an endpoint, so that they need not read all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueueRow {
    pub(super) application: ApplicationId,
    pub(super) generation: Generation,
    /// Rows of generations before this one were cut off. A generation that was left empty was not.
    pub(super) kept_from: Generation,
    pub(super) ordering: OrderingMode,
}

/// What is to be purged of an endpoint's queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CutRow {
    pub(super) endpoint: EndpointId,
    pub(super) what: Cut,
    /// The last key that was removed: the purge goes on after it, not over what it has removed.
    pub(super) after: Vec<u8>,
}

/// How much of a queue was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Cut {
    /// Generations before this one.
    Before(Generation),
    /// All: the endpoint is gone.
    Whole,
}

/// A delivery, but for what is in its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    event: EventId,
    since: Timestamp,
    bytes: u32,
    life: Life,
    attempts: u32,
}

impl Waiting {
    const fn of(delivery: &Delivery) -> Self {
        let Delivery { event, since, bytes, life, attempts, .. } = *delivery;
        Self { event, since, bytes, life, attempts }
    }

    const fn delivery(
        self,
        id: DeliveryId,
        generation: Generation,
        lane: LaneId,
        place: Place,
        urgency: Urgency,
    ) -> Delivery {
        let Self { event, since, bytes, life, attempts } = self;
        let priority = urgency.priority;
        Delivery { id, event, generation, lane, place, attempts, life, since, bytes, priority }
    }
}

/// How urgent a delivery is: behind its row, unless it is as any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Urgency {
    priority: Priority,
}

impl Urgency {
    const fn of(delivery: &Delivery) -> Self {
        Self { priority: delivery.priority }
    }
}

/// How a delivery waits among the ready rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ReadyPlace {
    Ready,
    Lane { due: Option<Timestamp>, held: bool },
}

#[derive(Serialize, Deserialize)]
struct ReadyRow {
    waiting: Waiting,
    place: ReadyPlace,
}

#[derive(Serialize, Deserialize)]
struct DueRow {
    waiting: Waiting,
    /// Of the lane whose head it is; then the delivery itself is among the ready rows.
    lane: LaneId,
}

/// Appends the value of the row in which a delivery waits.
pub(super) fn encode_delivery(delivery: &Delivery, out: &mut Vec<u8>) {
    let (waiting, urgency) = (Waiting::of(delivery), Urgency::of(delivery));
    match delivery.place {
        Place::Ready => encode_more(&ReadyRow { waiting, place: ReadyPlace::Ready }, &urgency, out),
        Place::Lane { due, held } => {
            encode_more(&ReadyRow { waiting, place: ReadyPlace::Lane { due, held } }, &urgency, out);
        }
        Place::Due(_) | Place::Manual { .. } => encode_due_index(delivery, out),
    }
}

/// Appends the value of a row that finds a delivery by its time.
pub(super) fn encode_due_index(delivery: &Delivery, out: &mut Vec<u8>) {
    encode_more(&DueRow { waiting: Waiting::of(delivery), lane: delivery.lane }, &Urgency::of(delivery), out);
}

/// A ready row, whose key ends in `suffix` after its generation.
pub(super) fn decode_ready(
    of: EndpointId,
    generation: Generation,
    suffix: &[u8],
    value: &[u8],
) -> Result<Delivery, StoreError> {
    let mut suffix = Suffix(suffix);
    let (Some(lane), Some(seq)) = (suffix.u64(), suffix.u64()) else { return Err(corrupt("its key is cut short")) };
    ready(DeliveryId { endpoint: of, seq: Seq(seq) }, generation, LaneId(lane), value)
}

/// The ready row of a delivery in a lane.
pub(super) fn ready(
    id: DeliveryId,
    generation: Generation,
    lane: LaneId,
    value: &[u8],
) -> Result<Delivery, StoreError> {
    let (ReadyRow { waiting, place }, urgency) = decode_more(value)?;
    let place = match place {
        ReadyPlace::Ready => Place::Ready,
        ReadyPlace::Lane { due, held } => Place::Lane { due, held },
    };
    Ok(waiting.delivery(id, generation, lane, place, urgency))
}

/// A due row, whose key ends in `suffix` after its generation.
pub(super) fn decode_due(
    of: EndpointId,
    generation: Generation,
    suffix: &[u8],
    value: &[u8],
) -> Result<Delivery, StoreError> {
    let mut suffix = Suffix(suffix);
    let (Some(at), Some(seq), Some(number)) = (suffix.u64(), suffix.u64(), suffix.u32()) else {
        return Err(corrupt("its key is cut short"));
    };
    let id = DeliveryId { endpoint: of, seq: Seq(seq) };
    due(id, generation, Timestamp::from_nanos(at), AttemptNumber(number), value)
}

/// The due row of a delivery. The head of a waiting lane comes as what it is: a delivery in its lane.
pub(super) fn due(
    id: DeliveryId,
    generation: Generation,
    at: Timestamp,
    number: AttemptNumber,
    value: &[u8],
) -> Result<Delivery, StoreError> {
    let (DueRow { waiting, lane }, urgency) = decode_more(value)?;
    let place = match number {
        SCHEDULED if lane.is_keyed() => Place::Lane { due: Some(at), held: false },
        SCHEDULED => Place::Due(at),
        number => Place::Manual { at, number },
    };
    Ok(waiting.delivery(id, generation, lane, place, urgency))
}

/// Appends a dead letter.
pub(super) fn encode_letter(letter: &DeadLetter, out: &mut Vec<u8>) {
    encode_more(letter, &Urgency::of(&letter.last), out);
}

/// A dead letter.
pub(super) fn letter(value: &[u8]) -> Result<DeadLetter, StoreError> {
    let (mut letter, urgency) = decode_more::<DeadLetter, Urgency>(value)?;
    letter.last.priority = urgency.priority;
    Ok(letter)
}

/// Why an event is needed when its week is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NeededRow {
    pub(super) application: ApplicationId,
    pub(super) by: NeededBy,
}

/// Who needs an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NeededBy {
    /// A dead letter at this position.
    Letter,
    /// A life after the first one, which waits at this position; or one that was given up and holds its lane there.
    Life,
}

/// What an idempotency key stands for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct KeyRow {
    pub(super) event: EventId,
    pub(super) body: [u8; 32],
    pub(super) at: Timestamp,
}

/// How a life ended without an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EndRow {
    GaveUp { reason: GiveUpReason, at: Timestamp },
    Cancelled(Timestamp),
}

/// Where a life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LifeRow {
    pub(super) endpoint: EndpointId,
    pub(super) life: Life,
    pub(super) seq: Seq,
    pub(super) generation: Generation,
    pub(super) lane: LaneId,
    pub(super) begun_by: BegunBy,
    /// Manual attempts asked for so far.
    pub(super) manuals: u32,
}

/// What began a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum BegunBy {
    /// Publishing, or a redrive.
    Schedule,
    /// A person, for an endpoint that was no recipient.
    Hand,
}

/// Where an attempt is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct IndexRow {
    pub(super) event: EventId,
    pub(super) seq: Seq,
    pub(super) life: Life,
    pub(super) number: AttemptNumber,
}

/// The newest event id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastEvent {
    pub(super) id: Option<EventId>,
    /// How far ids ever ran ahead of the time of acceptance, because a clock was set back.
    pub(super) ahead: Duration,
}

/// Rows written by a clock that ran ahead are being moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SetBackRow {
    /// Times after this are moved.
    pub(super) now: Timestamp,
    /// By how much.
    pub(super) by: Duration,
    /// The last key that was looked at.
    pub(super) after: Vec<u8>,
}

/// Which format wrote the rows, and which may read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FormatRow {
    pub(super) written_by: u16,
    pub(super) readable_from: u16,
}

/// Whether a stored row says what is expected of the delivery. Equal values have equal bytes, so as a rule nothing is
/// decoded.
///
/// # Errors
/// The stored row makes no sense.
pub(super) fn is_row_of(delivery: &Delivery, stored: &[u8]) -> Result<bool, StoreError> {
    let mut expected = Vec::with_capacity(64);
    encode_delivery(delivery, &mut expected);
    if stored == expected {
        return Ok(true);
    }
    match delivery.place {
        Place::Ready | Place::Lane { .. } => decode_more::<ReadyRow, Urgency>(stored).map(drop)?,
        Place::Due(_) | Place::Manual { .. } => decode_more::<DueRow, Urgency>(stored).map(drop)?,
    }
    Ok(false)
}

impl LifeRow {
    /// The life that publishing began for a recipient.
    pub(super) fn first(of: &RecipientRow, seq: Seq, priority: Priority) -> Self {
        let RecipientRow { endpoint, generation, .. } = *of;
        let (life, lane, begun_by) = (Life::FIRST, of.lane(seq, priority), BegunBy::Schedule);
        Self { endpoint, life, seq, generation, lane, begun_by, manuals: 0 }
    }

    /// The life that is tried by hand.
    pub(super) fn tried(by_hand: &Delivery) -> Self {
        let Delivery { id: DeliveryId { endpoint, seq }, generation, lane, life, .. } = *by_hand;
        let manuals = by_hand.next_attempt().count();
        Self { endpoint, life, seq, generation, lane, begun_by: BegunBy::Hand, manuals }
    }
}
