//! Formats that drafts 4 to 7 hold strings against; later ones take them for words to people.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    DateTime,
    Date,
    Time,
    Email,
    Hostname,
    Ipv4,
    Ipv6,
    Uri,
}

impl Format {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "date-time" => Self::DateTime,
            "date" => Self::Date,
            "time" => Self::Time,
            "email" => Self::Email,
            "hostname" => Self::Hostname,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "uri" => Self::Uri,
            _ => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Time => "time",
            Self::Email => "email",
            Self::Hostname => "hostname",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Uri => "uri",
        }
    }

    pub(super) fn is_of(self, text: &str) -> bool {
        match self {
            Self::DateTime => {
                text.is_char_boundary(10)
                    && text.len() > 11
                    && matches!(text.as_bytes()[10], b'T' | b't' | b' ')
                    && is_date(&text[..10])
                    && is_time(&text[11..])
            }
            Self::Date => is_date(text),
            Self::Time => is_time(text),
            Self::Email => text.rsplit_once('@').is_some_and(|(name, host)| {
                let is_quoted = name.len() > 2 && name.starts_with('"') && name.ends_with('"');
                let is_plain =
                    |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
                (is_quoted || name.split('.').all(is_plain)) && (is_hostname(host) || host.starts_with('['))
            }),
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Uri => {
                !text.contains(|c: char| !c.is_ascii_graphic() || "<>\"{}|\\^`".contains(c)) && Url::parse(text).is_ok()
            }
        }
    }
}

fn is_hostname(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// `part` of so many digits.
fn digits(part: &str, count: usize) -> Option<u32> {
    if part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse().ok() } else { None }
}

fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut next = |count| parts.next().and_then(|part| digits(part, count));
    let (Some(year), Some(month), Some(day)) = (next(4), next(2), next(2)) else { return false };
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn is_time(text: &str) -> bool {
    let (Some(clock), Some(rest)) = (text.get(..8), text.get(8..)) else { return false };
    let mut parts = clock.splitn(3, ':').map(|part| digits(part, 2));
    let mut within = |most: u32| parts.next().flatten().is_some_and(|part| part <= most);
    if !(within(23) && within(59) && within(60)) {
        return false;
    }
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => match fraction.trim_start_matches(|c: char| c.is_ascii_digit()) {
            zone if zone.len() < fraction.len() => zone,
            _ => return false,
        },
        None => rest,
    };
    let Some(offset) = zone.strip_prefix(['+', '-']) else { return matches!(zone, "Z" | "z") };
    let mut parts = offset.splitn(2, ':').map(|part| digits(part, 2));
    parts.next().flatten().is_some_and(|hours| hours <= 23)
        && parts.next().flatten().is_some_and(|minutes| minutes <= 59)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_their_documents_say() {
        for (format, good, bad) in [
            (
                "date-time",
                &["2026-01-31T12:00:00Z", "2024-02-29t23:59:60.5+01:30"][..],
                &["2026-02-29T12:00:00Z", "2026-01-31T12:00:00", "2026-01-31"][..],
            ),
            ("date", &["2026-01-31"], &["2026-1-31", "2026-13-01", "x"]),
            ("time", &["12:00:00Z"], &["25:00:00Z", "12:00:00.Z"]),
            ("email", &["person@example.com"], &["person", "@example.com", "a b@example.com"]),
            ("hostname", &["a-b.example"], &["-a.example", "a..b", ""]),
            ("ipv4", &["192.0.2.1"], &["192.0.2", "192.0.2.256"]),
            ("ipv6", &["::1"], &["::g"]),
            ("uri", &["https://example.com/a?b#c", "urn:x:y"], &["example.com", "https://a b"]),
        ] {
            let format = Format::named(format).expect("it is known");
            assert!(good.iter().all(|text| format.is_of(text)), "{} takes {good:?}", format.name());
            assert!(!bad.iter().any(|text| format.is_of(text)), "{} refuses {bad:?}", format.name());
        }
    }
}
