//! What an answer means.

use super::*;

/// 2026-01-01T00:00:00Z.
const WALL: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

fn status(code: u16, retry_after: Option<u64>) -> Failure {
    Failure::Status { code, retry_after: retry_after.map(Duration::from_secs) }
}

// Cases 65 and 82.
#[test]
fn every_2xx_is_success_whatever_retry_after_says() {
    for code in [200, 201, 202, 204, 226, 299] {
        assert_eq!(classify(code, &[], WALL), Outcome::Success { status: code });
        assert_eq!(classify(code, &["120"], WALL), Outcome::Success { status: code });
    }
}

// Case 75: a redirect is not followed, so nobody received the event.
#[test]
fn everything_else_is_a_failure_with_its_status() {
    for code in [0, 101, 199, 300, 301, 302, 303, 304, 307, 308, 400, 404, 410, 429, 500, 503, 599, 600, 999] {
        assert_eq!(classify(code, &[], WALL), Outcome::Failure(status(code, None)));
        assert_eq!(classify(code, &[], WALL).status_code(), code);
    }
}

// Cases 80 and 82.
#[test]
fn retry_after_is_whole_seconds_or_a_date_and_otherwise_ignored() {
    let check = |lines: &[&str], seconds: Option<u64>| {
        for code in [301, 400, 429, 500, 503] {
            assert_eq!(classify(code, lines, WALL), Outcome::Failure(status(code, seconds)), "{code} {lines:?}");
        }
    };
    check(&["1"], Some(1));
    check(&["007"], Some(7));
    check(&[" 3 "], Some(3));
    check(&["\t3"], Some(3));
    check(&["86400"], Some(86_400));
    check(&["86401"], Some(86_400));
    check(&["18446744073709551616"], Some(86_400));
    check(&["Thu, 01 Jan 2026 00:02:00 GMT"], Some(120));
    check(&["Thursday, 01-Jan-26 00:02:00 GMT"], Some(120));
    check(&["Thu Jan  1 00:02:00 2026"], Some(120));
    check(&["Fri, 31 Dec 9999 23:59:59 GMT"], Some(86_400));

    check(&[], None);
    for garbage in ["", " ", "0", "-0", "-5", "+5", "1.5", "1,5", "3, 9", "abc", "3s", "1e3", "0x10", "٣", "3 9"] {
        check(&[garbage], None);
    }
    check(&["Wed, 31 Dec 2025 23:59:00 GMT"], None);
    check(&["Thu, 01 Jan 2026 00:00:00 GMT"], None);
    check(&["Thu, 32 Jan 2026 00:02:00 GMT"], None);
    check(&["Thu, 01 Jan 2026 00:02:00 CET"], None);
    check(&["2026-01-01T00:02:00Z"], None);
    check(&["3", "9"], None);
    check(&["3", "3"], None);
}

// Cases 64, 83 and 85.
#[test]
fn failures_are_worth_as_much_of_the_schedule_as_time_may_help() {
    use RetryClass::{Brief, Never, NotCounted, Schedule};
    let check = |failure: Failure, by_default: RetryClass, any_failure: RetryClass, server_errors: RetryClass| {
        assert_eq!(failure.retry_class(RetryOn::Default), by_default, "{failure}");
        assert_eq!(failure.retry_class(RetryOn::AnyFailure), any_failure, "{failure}");
        assert_eq!(failure.retry_class(RetryOn::ServerErrors), server_errors, "{failure}");
    };
    for code in [101, 300, 301, 302, 304, 308, 408, 409, 423, 425, 429, 500, 501, 502, 503, 504, 505, 599, 600] {
        check(status(code, None), Schedule, Schedule, Schedule);
    }
    for code in [400, 401, 403, 404, 405, 411, 413, 415, 422, 451, 499] {
        check(status(code, None), Brief, Schedule, Never);
    }
    check(status(410, None), Never, Never, Never);
    check(Failure::TimedOut, Schedule, Schedule, Schedule);
    check(Failure::Network("connection refused".into()), Schedule, Schedule, Schedule);
    check(Failure::Lost, Schedule, Schedule, Schedule);
    check(Failure::Blocked("a loopback address".into()), Never, Never, Never);
    check(Failure::NotSent("no file descriptor".into()), NotCounted, NotCounted, NotCounted);
}

#[test]
fn what_speaks_of_the_event_or_of_us_does_not_feed_the_breaker() {
    let check = |failure: Failure, expected: bool| assert_eq!(failure.speaks_of_endpoint(), expected, "{failure}");
    for code in [400, 413, 415, 422] {
        check(status(code, None), false);
    }
    check(Failure::Blocked("a private address".into()), false);
    check(Failure::NotSent("no route".into()), false);
    for code in [301, 401, 403, 404, 410, 429, 500, 503] {
        check(status(code, None), true);
    }
    check(Failure::TimedOut, true);
    check(Failure::Network("reset".into()), true);
    check(Failure::Lost, true);
}

// Case 83: the endpoint is slowed, not only the delivery that was refused.
#[test]
fn a_busy_receiver_slows_its_endpoint_for_as_long_as_it_asks_or_a_second() {
    let check = |failure: Failure, seconds: Option<u64>| {
        assert_eq!(failure.slows_endpoint(), seconds.map(Duration::from_secs), "{failure}");
        let asked = if let Failure::Status { retry_after: Some(_), .. } = failure { seconds } else { None };
        assert_eq!(failure.retry_after(), asked.map(Duration::from_secs), "for the delivery, only what was asked");
    };
    for code in [429, 502, 503, 504] {
        check(status(code, None), Some(1));
        check(status(code, Some(7)), Some(7));
    }
    for code in [301, 400, 404, 408, 500] {
        check(status(code, None), None);
        check(status(code, Some(7)), Some(7));
    }
    // A thousand years held an endpoint for a thousand years.
    check(status(503, Some(31_536_000_000)), Some(86_400));
    for failure in [Failure::TimedOut, Failure::Network("reset".into()), Failure::Lost] {
        check(failure, None);
    }
    check(Failure::Blocked("a private address".into()), None);
    check(Failure::NotSent("no route".into()), None);
}

#[test]
fn failures_are_told_in_words_and_without_an_answer_their_status_is_zero() {
    let check = |failure: Failure, code: u16, words: &str| {
        assert_eq!(failure.to_string(), words);
        assert_eq!(Outcome::Failure(failure).status_code(), code);
    };
    check(status(500, None), 500, "answered with status 500");
    check(status(429, Some(30)), 429, "answered with status 429 and asked to wait 30 s");
    check(Failure::TimedOut, 0, "no answer within the time limit");
    check(Failure::Network("connection refused".into()), 0, "network error: connection refused");
    check(Failure::Blocked("a loopback address".into()), 0, "target is not allowed: a loopback address");
    check(Failure::NotSent("no route".into()), 0, "could not be sent from here: no route");
    check(Failure::Lost, 0, "attempt ended without an answer");
}
