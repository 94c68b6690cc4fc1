//! Takes an event: its position, its id, its row, and one ready row for each recipient whose queue has room for it.

use postrider_core::{
    Acceptance, ApplicationId, DeadLetter, Delivery, Effect, EventId, GiveUpReason, KEY_REMEMBERED, KeyClaim, Refused,
    SameBody, Timestamp, Uid, WhenFull,
};

use super::{Stop, Transaction};
use crate::{
    StoreError,
    kv::{
        keys::{Key, week},
        rows::{self, EndRow, KeyRow, LastEvent, NeededBy},
    },
};

impl Transaction<'_> {
    pub(super) fn accept(&mut self, acceptance: &Acceptance) -> Result<Effect, Stop> {
        let Acceptance { application, accepted_at, entropy, event, key, recipients } = acceptance;
        if let Some(claim) = key {
            self.refuse_used_key(acceptance, claim)?;
        }
        if let Some(uid) = &event.uid {
            self.refuse_taken_uid(acceptance, uid)?;
        }
        self.has_been(*accepted_at);
        let LastEvent { id: last, ahead } = self.given_out.last_event;
        let id = EventId::after(last, *accepted_at, *entropy);
        self.partitions.insert(week(id.time()));
        let ahead = ahead.max(id.time().since(*accepted_at));
        self.given_out.last_event = LastEvent { id: Some(id), ahead };
        let seq = self.draw_seq();

        if let Some(KeyClaim { key, body }) = key {
            let row = KeyRow { event: id, body: *body, at: *accepted_at };
            self.rows.put(&Key::Idempotency(*application, key, week(*accepted_at)), &row);
        }
        if let Some(uid) = &event.uid {
            self.rows.put(&Key::EventUid(*application, uid, week(id.time())), &id);
        }
        self.rows.put_with(&Key::Event(*application, id), |value| rows::encode_event(acceptance, id, seq, value));
        for some in rows::recipients_outside(acceptance) {
            if let Some(last) = some.last() {
                self.rows.put(&Key::Recipients(id, last.endpoint), &some);
            }
        }
        for item in acceptance.agenda(id) {
            self.rows.put(&Key::Agenda(item), application);
        }
        let mut full = Vec::new();
        for to in recipients {
            let delivery = acceptance.delivery(to, seq, id);
            let is_full = self.counts.is_full(to.endpoint, to.generation, to.queue.deliveries);
            match to.queue.when_full {
                WhenFull::DeadLetter if is_full => {
                    self.put_dead(*application, delivery, *accepted_at)?;
                    full.push(to.endpoint);
                }
                WhenFull::Refuse if is_full => return Err(Refused::QueueFull(to.endpoint).into()),
                WhenFull::DeadLetter | WhenFull::Refuse => self.put_delivery(Some(*application), &delivery),
            }
        }
        Ok(Effect::Accepted(seq, id, full))
    }

    /// A delivery that never waits. It holds no lane: a queue that is full would grow by it.
    pub(super) fn put_dead(&mut self, owner: ApplicationId, last: Delivery, at: Timestamp) -> Result<(), StoreError> {
        let reason = GiveUpReason::QueueFull;
        self.rows.put(&Key::End(last.id, last.life, last.event), &EndRow::GaveUp { reason, at });
        let key = Key::DeadLetter(last.id);
        let dead = DeadLetter { last, reason, dead_at: at, first_attempt_at: None, last_status: None };
        self.rows.put_with(&key, |value| rows::encode_letter(&dead, value));
        self.is_needed(owner, &dead.last, NeededBy::Letter)
    }

    /// A key counts from its acceptance for [`KEY_REMEMBERED`], whatever partition it lies in; one that was accepted
    /// later by a clock that has been set back since counts as well.
    fn refuse_used_key(&mut self, by: &Acceptance, claim: &KeyClaim) -> Result<(), Stop> {
        let mut weeks = [by.accepted_at.earlier_by(KEY_REMEMBERED), by.accepted_at, by.accepted_at + KEY_REMEMBERED]
            .map(week)
            .to_vec();
        weeks.dedup();
        for week in weeks {
            let stored = self.rows.get::<KeyRow>(&Key::Idempotency(by.application, &claim.key, week))?;
            let Some(stored) = stored.filter(|stored| by.accepted_at.since(stored.at) < KEY_REMEMBERED) else {
                continue;
            };
            let same = if stored.body == claim.body { SameBody::Yes } else { SameBody::No };
            return Err(Refused::KeyUsed(stored.event, same).into());
        }
        Ok(())
    }

    /// A uid belongs to its event as long as that is kept, so every partition is asked.
    fn refuse_taken_uid(&mut self, by: &Acceptance, uid: &Uid) -> Result<(), Stop> {
        for partition in self.partitions.iter().copied().collect::<Vec<_>>() {
            if let Some(owner) = self.rows.get::<EventId>(&Key::EventUid(by.application, uid, partition))? {
                return Err(Refused::EventUidTaken(owner).into());
            }
        }
        Ok(())
    }
}
