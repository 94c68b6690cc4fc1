use std::collections::BTreeSet;

use postrider_core::SplitMix;

use super::*;

const AT: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

#[test]
fn every_table_has_a_tag_of_its_own() {
    let (app, ep, msg) = (ApplicationId::new(AT, &mut SplitMix::new(1)), endpoint(), event());
    let (uid, key) = (Uid::from("name"), IdempotencyKey("name".into()));
    let id = DeliveryId { endpoint: ep, seq: Seq(1) };
    let keys = [
        Key::Application(app),
        Key::ApplicationUid(OrganisationId::DEFAULT, &uid),
        Key::Routing(app),
        Key::Endpoint(ep),
        Key::EndpointUid(app, &uid),
        Key::Queue(ep),
        Key::Cut(ep),
        Key::Ready(ep, Generation(0), LaneId(1), Seq(1)),
        Key::Due(ep, Generation(0), AT, Seq(1), SCHEDULED),
        Key::Urgent(ep, Generation(0), LaneId(9), Seq(1)),
        Key::DeadLetter(id),
        Key::Soft(ep),
        Key::Document(&DocumentId::new(DocumentKind::Task, OrganisationId::DEFAULT, "name")),
        Key::Needed(msg, id),
        Key::Kept(app, msg),
        Key::Agenda(AgendaItem { at: AT, what: AgendaKind::Deliver, application: app, event: msg }),
        Key::Wake(AT, ep),
        Key::Meta(meta::FORMAT),
        Key::Event(app, msg),
        Key::EventUid(app, &uid, week(AT)),
        Key::Idempotency(app, &key, week(AT)),
        Key::Attempt(id, Life::FIRST, SCHEDULED, msg),
        Key::End(id, Life::FIRST, msg),
        Key::Life(msg, ep, Life::FIRST),
        Key::AttemptIndex(ep, AttemptId::new(AT, &mut SplitMix::new(4))),
    ];
    let tags: BTreeSet<u8> = keys.iter().map(|key| key.bytes()[0]).collect();
    assert_eq!(tags.len(), keys.len());
    assert!(keys.iter().all(|key| key.bytes().len() <= 400), "what a backend must be able to take");
}

#[test]
fn byte_order_is_the_order_of_a_queue() {
    let ready = |generation, lane, seq| Key::Ready(endpoint(), Generation(generation), LaneId(lane), Seq(seq)).bytes();
    let due = |at, seq, number| {
        Key::Due(endpoint(), Generation(0), Timestamp::from_nanos(at), Seq(seq), AttemptNumber(number)).bytes()
    };
    let rows = [ready(0, 0, 255), ready(0, 0, 256), ready(0, 1, 0), ready(0, u64::MAX, 0), ready(1, 0, 0)];
    assert!(rows.is_sorted());
    let rows = [due(255, 9, 0), due(256, 1, 0), due(256, 1, AttemptNumber::manual(1).0), due(256, 2, 0)];
    assert!(rows.is_sorted());
}

#[test]
fn the_end_of_a_prefix_is_behind_all_its_keys() {
    assert_eq!(end_of(b"ab"), b"ac");
    assert_eq!(end_of(&[b'a', u8::MAX, u8::MAX]), b"b");
    assert_eq!(end_of(&[u8::MAX]), b"", "there is nothing behind it");
    let lane = lane(endpoint(), Generation(u32::MAX), LaneId(u64::MAX));
    assert!(end_of(&lane) > [&lane[..], &[u8::MAX; 8]].concat());
}

#[test]
fn no_name_reaches_into_the_rows_of_another() {
    let app = ApplicationId::new(AT, &mut SplitMix::new(1));
    let keys: BTreeSet<_> = ["a", "a\0", "ab", "", "\u{ff}"]
        .map(|name| Key::Idempotency(app, &IdempotencyKey(name.into()), week(AT)).bytes())
        .into();
    assert_eq!(keys.len(), 5);
    assert!(keys.iter().all(|key| key.len() == 1 + ID_BYTES + 16), "they are hashed");
}

fn endpoint() -> EndpointId {
    EndpointId::new(AT, &mut SplitMix::new(2))
}

fn event() -> EventId {
    EventId::new(AT, &mut SplitMix::new(3))
}
