//! Takes an event: its position, its id, its row, and one ready row for each recipient.

use std::time::Duration;

use postrider_core::{Acceptance, Effect, EventId, KEY_REMEMBERED, KeyClaim, Refused, SameBody, Timestamp, Uid};

use super::{Stop, Transaction};
use crate::kv::{
    keys::{Key, week},
    rows::{self, KeyRow, LastEvent},
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
        for to in recipients {
            self.put_delivery(&acceptance.delivery(to, seq, id));
        }
        Ok(Effect::Accepted(seq, id))
    }

    /// A key counts from its acceptance for [`KEY_REMEMBERED`], whatever partition it lies in; one that was accepted
    /// later by a clock that has been set back since counts as well.
    fn refuse_used_key(&mut self, by: &Acceptance, claim: &KeyClaim) -> Result<(), Stop> {
        let mut weeks = [before(by.accepted_at, KEY_REMEMBERED), by.accepted_at, by.accepted_at + KEY_REMEMBERED]
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

fn before(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos().saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}
