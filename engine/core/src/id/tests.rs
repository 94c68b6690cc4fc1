//! Ids sort by time, read back as printed, and are told apart from names.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::SplitMix;

/// 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

#[test]
fn ids_read_as_ksuids_with_milliseconds_do() {
    let check = |text: &str, bytes: [u8; 20]| {
        let id: EventId = text.parse().expect("is an id");
        assert_eq!(id.to_bytes(), bytes, "{text}");
        assert_eq!(id.to_string(), text);
        assert_eq!(EventId::from_bytes(bytes), id);
    };
    check("msg_000000000000000000000000000", [0; 20]);
    check("msg_aWgEPTl1tmebfsQzFP4bxwgy80V", [0xff; 20]);
    // The example of the KSUID project: 2014-05-13T16:53:20Z + 107608047 s.
    let example = "0669F7EFB5A1CD34B5F99D1154FB6853345C9735";
    let mut bytes = [0; 20];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&example[2 * at..2 * at + 2], 16).expect("is hex");
    }
    check("msg_0ujtsYcgvSTl8PAuAdqWYSMnLOv", bytes);
}

#[test]
fn the_default_organisation_is_the_one_that_tokens_name() {
    assert_eq!(OrganisationId::DEFAULT.to_string(), "org_23rb8YdGqMT0qIzpgGwdXfHirMu");
}

#[test]
fn only_what_was_printed_reads_as_an_id() {
    let check = |text: &str| {
        assert_eq!(text.parse::<EventId>(), Err(InvalidName::Id { prefix: "msg_" }), "{text}");
        assert_eq!(IdOr::<EventId>::from(text), IdOr::Uid(text.into()));
    };
    check("");
    check("msg_");
    check("0ujtsYcgvSTl8PAuAdqWYSMnLOv");
    check("ep_0ujtsYcgvSTl8PAuAdqWYSMnLOv");
    check("MSG_0ujtsYcgvSTl8PAuAdqWYSMnLOv");
    check("msg_0ujtsYcgvSTl8PAuAdqWYSMnLO");
    check("msg_0ujtsYcgvSTl8PAuAdqWYSMnLOvv");
    check("msg_0ujtsYcgvSTl8PAuAdqWYSMnLO-");
    check("msg_0ujtsYcgvSTl8PAuAdqWYSMnLé");
    check(" msg_0ujtsYcgvSTl8PAuAdqWYSMnLOv");
    // One more than 160 bits hold, and the largest 27 digits.
    check("msg_aWgEPTl1tmebfsQzFP4bxwgy80W");
    check("msg_zzzzzzzzzzzzzzzzzzzzzzzzzzz");
}

#[test]
fn times_that_do_not_fit_become_the_first_and_the_last_that_do() {
    let time_of = |nanos| EventId::new(Timestamp::from_nanos(nanos), &mut SplitMix::new(1)).time().as_nanos();
    assert_eq!(time_of(0), 1_400_000_000_000_000_000);
    assert_eq!(time_of(u64::MAX) / 1_000_000_000, 1_400_000_000 + u64::from(u32::MAX));
}

#[test]
fn the_last_id_of_all_does_not_wrap_around() {
    let last = EventId::from_bytes([0xff; 20]);
    assert_eq!(EventId::after(Some(last), NOW, 1), last);
}

#[test]
fn debug_shows_the_printed_form_and_width_pads_it() {
    let id: EndpointId = "ep_0ujtsYcgvSTl8PAuAdqWYSMnLOv".parse().expect("is an id");
    assert_eq!(format!("{id:?}"), id.to_string());
    assert_eq!(format!("{id:>32}"), format!("  {id}"));
}

#[test]
fn a_uid_is_a_short_plain_name_that_is_no_id() {
    let check = |text: &str, expected: Result<(), InvalidName>| {
        assert_eq!(Uid::new(text).validate(ApplicationId::PREFIX), expected, "{text:?}");
    };
    check("customer-1.eu_x", Ok(()));
    check("ep_1", Ok(()));
    check(&"x".repeat(256), Ok(()));
    for text in ["", "a b", "a/b", "a\n", "é", "a:b", "a\0"] {
        check(text, Err(InvalidName::Characters));
    }
    check(&"x".repeat(257), Err(InvalidName::Characters));
    for text in ["app_", "app_1", "app_0ujtsYcgvSTl8PAuAdqWYSMnLOv"] {
        check(text, Err(InvalidName::LooksLikeId { prefix: "app_".into() }));
    }
}

#[test]
fn an_id_is_stored_in_its_twenty_bytes() {
    let id = EventId::new(NOW, &mut SplitMix::new(1));
    let stored = postcard::to_stdvec(&id).expect("ids can be stored");
    assert_eq!(stored, id.to_bytes());
    assert_eq!(postcard::from_bytes(&stored), Ok(id));
}

proptest! {
    #[test]
    fn an_id_reads_back_as_printed_and_stored(bytes: [u8; 20]) {
        let id = AttemptId::from_bytes(bytes);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(AttemptId::from_bytes(id.to_bytes()), id);
        prop_assert_eq!(id.to_string().len(), "atmpt_".len() + 27);
    }

    #[test]
    fn text_sorts_as_bytes_do(one: [u8; 20], other: [u8; 20]) {
        let (one, other) = (EventId::from_bytes(one), EventId::from_bytes(other));
        prop_assert_eq!(one.cmp(&other), one.to_bytes().cmp(&other.to_bytes()));
        prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
    }

    #[test]
    fn ids_sort_by_time(millis in 0..u64::from(u32::MAX) * 1000, later in 4..10_000_000_u64, seed: u64) {
        let at = Timestamp::from_nanos(1_400_000_000_000_000_000) + Duration::from_millis(millis);
        let mut dice = SplitMix::new(seed);
        let one = EventId::new(at, &mut dice);
        let other = EventId::new(at + Duration::from_millis(later), &mut dice);
        prop_assert!(one < other);
        prop_assert!(at.since(one.time()) < Duration::from_millis(4));
        prop_assert!(one.time() <= at);
    }

    #[test]
    fn ids_given_out_one_after_another_sort_so(clock in prop::collection::vec((0..50_u64, any::<u64>()), 1..50)) {
        let mut last = None;
        for (millis, entropy) in clock {
            let next = EventId::after(last, NOW + Duration::from_millis(millis), entropy);
            prop_assert!(last < Some(next), "{:?} then {:?}", last, next);
            last = Some(next);
        }
    }
}
