//! What the engine's errors become: damaged data is no trouble that passes, and trouble that passes is no damage.

use postrider::{
    AnswerError, ApplicationError, CommitError, DeadLetterError, DeliveryError, EndpointError, EventError,
    EventTypeError, PublishError, ReadError, StatsError, StoreError, StoreErrorKind, TaskError,
};

use super::*;

fn unread(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, "read a row", "by the test")
}

/// Damaged rows were told as "it keeps being changed by others, send the request again": for tasks and event types still when
/// it was mended for messages.
#[test]
fn damaged_data_is_never_told_as_something_to_try_again() {
    let damaged = || unread(StoreErrorKind::Corrupt);
    for (what, error) in [
        ("application", ApiError::from(ApplicationError::Corrupt)),
        ("endpoint", EndpointError::Corrupt.into()),
        ("publish", PublishError::Corrupt.into()),
        ("event type", EventTypeError::Corrupt.into()),
        ("event", EventError::Corrupt.into()),
        ("delivery", DeliveryError::Corrupt.into()),
        ("dead letter", DeadLetterError::Corrupt.into()),
        ("task", TaskError::Corrupt.into()),
        ("read", ReadError::from(damaged()).into()),
        ("event, unread", EventError::from(ReadError::from(damaged())).into()),
        ("delivery, unread", DeliveryError::from(damaged()).into()),
        ("dead letter, unread", DeadLetterError::from(damaged()).into()),
        ("task, unread", TaskError::from(damaged()).into()),
        ("answer, unread", AnswerError::from(damaged()).into()),
        ("stats, unread", StatsError::from(ReadError::from(damaged())).into()),
    ] {
        assert_eq!((error.status().as_u16(), error.code()), (500, Some("damaged_data")), "{what}");
    }
}

/// A store that was out of reach for a moment was told as damaged to whoever sent a message again.
#[test]
fn what_passes_is_told_as_something_to_try_again() {
    let away = || unread(StoreErrorKind::Unavailable);
    for (what, error, code) in [
        ("read", ApiError::from(ReadError::from(away())), "unavailable"),
        ("event", EventError::from(ReadError::from(away())).into(), "unavailable"),
        ("delivery", DeliveryError::from(away()).into(), "unavailable"),
        ("dead letter", DeadLetterError::from(away()).into(), "unavailable"),
        ("task", TaskError::from(away()).into(), "unavailable"),
        ("answer", AnswerError::from(away()).into(), "unavailable"),
        ("stats", StatsError::from(ReadError::from(away())).into(), "unavailable"),
        ("commit", CommitError::ShuttingDown.into(), "unavailable"),
        ("application", ApplicationError::Contended.into(), "conflict"),
        ("endpoint", EndpointError::Contended.into(), "conflict"),
        ("publish", PublishError::Contended.into(), "conflict"),
        ("event type", EventTypeError::Contended.into(), "conflict"),
        ("delivery, changing", DeliveryError::Contended.into(), "conflict"),
        ("task, changing", TaskError::Contended.into(), "conflict"),
    ] {
        let status = if code == "conflict" { 409 } else { 503 };
        assert_eq!((error.status().as_u16(), error.code()), (status, Some(code)), "{what}");
    }
}
