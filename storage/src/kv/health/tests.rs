use std::error::Error;

use super::*;

fn failed() -> Result<(), StoreError> {
    Err(StoreError::new(StoreErrorKind::Unavailable, "write", "the disk is full"))
}

#[test]
fn after_a_failed_change_every_later_call_answers_poisoned() {
    let health = Health::default();
    let kind = |done: Result<(), StoreError>| done.map_err(|error| error.kind());
    assert_eq!(kind(health.changing("write", failed)), Err(StoreErrorKind::Unavailable), "the first says why");
    assert_eq!(kind(health.changing("write", || unreachable!())), Err(StoreErrorKind::Poisoned));
    assert_eq!(kind(health.reading("read", || unreachable!())), Err(StoreErrorKind::Poisoned));
}

#[test]
fn a_failed_read_stops_nothing() {
    let health = Health::default();
    assert!(health.reading("read", failed).is_err());
    assert!(health.changing("write", || Ok(())).is_ok());
}

#[test]
fn a_panic_becomes_an_error_with_its_words_and_stops_everything() {
    let health = Health::default();
    let error = health.reading::<()>("read", || panic!("index {} out of range", 7)).expect_err("it panicked");
    assert_eq!(error.kind(), StoreErrorKind::Poisoned);
    let words = error.source().map(ToString::to_string);
    assert_eq!(words.as_deref(), Some("the database library panicked: index 7 out of range"));
    assert!(health.check("read").is_err());
}
