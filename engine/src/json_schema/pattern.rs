//! Patterns as ECMA-262 writes them, in linear time where they can be; with few steps where they look around.

use regex::RegexBuilder;

/// Characters of one pattern.
const PATTERN_CHARS_MAX: usize = 4_096;
/// What a pattern may become, and what looking for it may keep.
const PROGRAM_BYTES_MAX: usize = 128 << 10;
/// About what one takes in memory.
pub(super) const PATTERN_BYTES: usize = 2 * PROGRAM_BYTES_MAX;
/// Ways that one is followed which looks ahead, behind, or at what it found before.
const WAYS_MAX: usize = 1_000;
/// Bytes of a text that such a pattern is held against.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Steps that it is taken for.
const WAYS_COST: u64 = 4_000;
/// Bytes that the smallest linear pattern reads in a step.
const BYTES_A_STEP: u64 = 16;
/// A program of so many bytes reads so many bytes fewer in a step: where each byte may be of many parts of a pattern, all of
/// them are followed at once.
const PROGRAMS: [(usize, u64); 4] = [(8 << 10, 1), (16 << 10, 16), (64 << 10, 64), (PROGRAM_BYTES_MAX, 128)];

/// A pattern.
#[derive(Debug)]
pub(super) enum Pattern {
    /// Its text counts so often.
    Linear(regex::Regex, u64),
    /// It looks around, or back.
    Looking(Box<fancy_regex::Regex>),
}

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if PATTERN_CHARS_MAX < text.chars().count() {
            return Err(format!("a pattern may have at most {PATTERN_CHARS_MAX} characters"));
        }
        let ours = translated(text);
        let within = |bytes| RegexBuilder::new(&ours).size_limit(bytes).dfa_size_limit(PROGRAM_BYTES_MAX).build();
        for (bytes, times) in PROGRAMS {
            match within(bytes) {
                Ok(linear) => return Ok(Self::Linear(linear, times)),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(_) => return Self::looking(text, &ours),
            }
        }
        Err(format!("pattern {text:?} is too large"))
    }

    fn looking(text: &str, ours: &str) -> Result<Self, String> {
        let looking = fancy_regex::RegexBuilder::new(ours)
            .backtrack_limit(WAYS_MAX)
            .delegate_size_limit(PROGRAM_BYTES_MAX)
            .delegate_dfa_size_limit(PROGRAM_BYTES_MAX)
            .build();
        looking.map(|looking| Self::Looking(Box::new(looking))).map_err(|_| format!("{text:?} is not a \"regex\""))
    }

    /// The steps that looking into this text takes.
    pub(super) fn steps(&self, text: &str) -> u64 {
        match self {
            Self::Linear(_, times) => 1 + times * text.len() as u64 / BYTES_A_STEP,
            Self::Looking(_) => WAYS_COST,
        }
    }

    /// Whether it is found in there; none if that cannot be said within its steps.
    pub(super) fn is_in(&self, text: &str) -> Option<bool> {
        match self {
            Self::Linear(linear, _) => Some(linear.is_match(text)),
            Self::Looking(_) if TEXT_BYTES_MAX < text.len() => None,
            Self::Looking(looking) => looking.is_match(text).ok(),
        }
    }
}

/// The same pattern in the words of our engines: classes of ECMA-262 are of ASCII, and `[` is a character in a class.
fn translated(text: &str) -> String {
    let (mut ours, mut is_class) = (String::with_capacity(text.len() + 16), false);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match (next, is_class) {
            ('\\', _) => rest = escaped(rest, is_class, &mut ours),
            ('[', false) => match rest {
                _ if rest.starts_with("^]") => {
                    ours.push_str(r"[\s\S]");
                    rest = &rest[2..];
                }
                _ if rest.starts_with(']') => {
                    ours.push_str(r"[^\s\S]");
                    rest = &rest[1..];
                }
                _ => {
                    is_class = true;
                    ours.push('[');
                }
            },
            ('[' | '&' | '~', true) => ours.extend(['\\', next]),
            ('-', true) if ours.ends_with('-') => ours.push_str(r"\-"),
            (']', true) => {
                is_class = false;
                ours.push(']');
            }
            ('.', false) => ours.push_str(r"[^\n\r\x{2028}\x{2029}]"),
            _ => ours.push(next),
        }
    }
    ours
}

/// What stands behind a backslash; what is left of the text.
fn escaped<'t>(text: &'t str, is_class: bool, ours: &mut String) -> &'t str {
    let Some(next) = text.chars().next() else {
        ours.push('\\');
        return text;
    };
    let rest = &text[next.len_utf8()..];
    let class = |ours: &mut String, within: &str| {
        if is_class { ours.push_str(within) } else { ours.extend(["[", within, "]"]) }
    };
    match next {
        'd' => class(ours, "0-9"),
        'w' => class(ours, "A-Za-z0-9_"),
        's' => class(ours, r"\s\x{FEFF}"),
        'D' => ours.push_str("[^0-9]"),
        'W' => ours.push_str("[^A-Za-z0-9_]"),
        'S' => ours.push_str(r"[^\s\x{FEFF}]"),
        'b' if is_class => ours.push_str(r"\x08"),
        '0' => ours.push_str(r"\x00"),
        'c' if rest.starts_with(|letter: char| letter.is_ascii_alphabetic()) => {
            ours.push_str(&format!(r"\x{:02x}", rest.as_bytes()[0] & 0x1f));
            return &rest[1..];
        }
        'u' if !rest.starts_with('{') => match unit(rest) {
            Some((high @ 0xD800..=0xDBFF, after)) => match after.strip_prefix(r"\u").and_then(unit) {
                Some((low @ 0xDC00..=0xDFFF, after)) => {
                    ours.push_str(&format!(r"\x{{{:x}}}", 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)));
                    return after;
                }
                _ => ours.push_str(r"\u"),
            },
            Some((one, after)) => {
                ours.push_str(&format!(r"\x{{{one:x}}}"));
                return after;
            }
            None => ours.push_str(r"\u"),
        },
        other => ours.extend(['\\', other]),
    }
    rest
}

/// Four hexadecimal digits.
fn unit(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(digits, 16).ok()?, &text[4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_ecma_262_says() {
        for (pattern, text, expected) in [
            (r"^\d+$", "42", true),
            (r"^\d+$", "٤", false),
            (r"^[\w.-]+$", "a_b.c-d", true),
            (r"^[[]x]$", "[x]", true),
            (r"^[a&&b]+$", "&a", true),
            (r"^\u0041\cA$", "A\u{1}", true),
            (r"^\uD83D\uDE00$", "😀", true),
            (r"^a\/b$", "a/b", true),
            (r"^.$", "\u{2028}", false),
            (r"^[^]$", "\n", true),
            (r"a[]", "a", false),
            (r"^(?!evt_)", "evt_1", false),
            (r"^(?!evt_)", "msg_1", true),
            (r"^(.)\1$", "aa", true),
        ] {
            let found = Pattern::new(pattern).expect(pattern).is_in(text);
            assert_eq!(found, Some(expected), "{pattern} in {text:?}");
        }
        for wrong in ["(", "[a", "a{1000}{1000}", &"a".repeat(PATTERN_CHARS_MAX + 1)] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }

    /// A pattern that goes back and forth took seconds for one string of thirty characters, on a thread that serves all.
    #[test]
    fn a_pattern_that_would_try_every_way_says_that_it_does_not_know() {
        let text = format!("{}!", "a".repeat(64));
        let linear = Pattern::new("^(a+)+$").expect("it is one");
        assert!(matches!(linear, Pattern::Linear(..)));
        assert_eq!(linear.is_in(&text), Some(false));
        let looking = Pattern::new(r"^(?=a)(a|a|a\1)+$").expect("it is one");
        assert!(matches!(looking, Pattern::Looking(_)));
        assert_eq!(looking.is_in(&text), None);
        assert_eq!(looking.is_in(&"a".repeat(TEXT_BYTES_MAX + 1)), None);
    }

    /// Six hundred parts of a pattern that each may have come to the next byte were followed for every one of them, at the price
    /// of one.
    #[test]
    fn a_pattern_with_many_parts_reads_fewer_bytes_in_a_step() {
        let text = "ab".repeat(8_000);
        let steps = |pattern: &str| Pattern::new(pattern).expect(pattern).steps(&text);
        assert_eq!(steps("^[a-z]+$"), 1 + 1_000);
        assert!(steps("[ab]*a[ab]{600}c") > 16 * 1_000, "{}", steps("[ab]*a[ab]{600}c"));
    }
}
