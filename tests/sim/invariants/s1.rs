//! S1: `webhook-id` is the same in every attempt of an event, and the signature verifies with a current secret.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_core::{
    AttemptPlan, EventId, StoredEvent, Timestamp,
    signature::{self, Received, SignedEvent, Verifier},
};

/// The bytes of each event, as they first came.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<EventId, Bytes>);

impl Seen {
    pub(super) fn request(&mut self, plan: &AttemptPlan, event: &StoredEvent, now: Timestamp) -> Result<(), String> {
        let payload = &event.event.payload;
        if event.id != plan.delivery.event {
            return Err(format!("{:?} is sent as {}", plan.delivery.event, event.id));
        }
        let first = self.0.entry(event.id).or_insert_with(|| payload.clone());
        if first != payload {
            return Err(format!("{} came with other bytes than before", event.id));
        }
        let secrets: Vec<_> = plan.endpoint.secrets_at(now).collect();
        let signed = SignedEvent { id: event.id, event_type: &event.event.event_type };
        let headers = signature::sign(plan.endpoint.policy.signature, &secrets, &signed, now, payload);
        let of = |name: &str| headers.iter().find(|(given, _)| *given == name).map_or("", |(_, value)| value.as_str());
        let received =
            Received { id: of("webhook-id"), timestamp: of("webhook-timestamp"), signature: of("webhook-signature") };
        let current = plan.endpoint.secrets.first().map(|current| Verifier::of(&current.secret));
        let current: Vec<_> = current.into_iter().collect();
        signature::verify(&current, &received, payload, now).map_err(|why| format!("{}: {why}", event.id))
    }
}
