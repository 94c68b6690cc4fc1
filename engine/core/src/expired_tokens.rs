//! Tokens of an application that stop working before their time: all that were issued until then, or those of some
//! sessions alone.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Cuts of an application that are still to come.
const CUTS_MAX: usize = 16;
/// The same of one session.
const SESSION_CUTS_MAX: usize = 2;
/// Sessions that are remembered.
const SESSIONS_MAX: usize = 1_000;
const SESSION_CHARS_MAX: usize = 256;
/// What lies between two moments that can be told apart.
const MOMENT: Duration = Duration::from_nanos(1);
/// By which the clocks of those who issue tokens may be apart.
const LEEWAY: Duration = Duration::from_secs(3600);

/// Which tokens of an application work no more, or will not. None, at first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiredTokens {
    cuts: Cuts,
    /// What is said of these alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sessions: BTreeMap<SessionId, Cuts>,
    /// Counts changes; a writer says which one it saw.
    pub revision: u64,
}

/// By when they were issued. The later ones are refused later: others would add nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cuts(Vec<Cut>);

/// All that were issued until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cut {
    issued_until: Timestamp,
    refused_from: Timestamp,
}

/// What a publisher calls a session of somebody who holds tokens. 1 to 256 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(Box<str>);

/// Choose another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id must have 1 to {SESSION_CHARS_MAX} visible ASCII characters")]
pub struct InvalidSession;

impl SessionId {
    /// The one that is written so.
    ///
    /// # Errors
    /// It may not be written so.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, InvalidSession> {
        let text = text.into();
        let is_good = (1..=SESSION_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_good { Ok(Self(text)) } else { Err(InvalidSession) }
    }

    /// As it is written.
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

/// No more sessions can be remembered. Expire all tokens of the application, which says it of every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no more than {SESSIONS_MAX} sessions can be expired within 28 days, each on its own; expire all tokens of the \
     application instead"
)]
pub struct TooManySessions;

impl ExpiredTokens {
    /// How long a session lasts at most, whatever its tokens say: what is known of older ones is forgotten.
    pub const SESSION_LIFE: Duration = Duration::from_secs(28 * 24 * 60 * 60);

    /// All that are issued until `now` stop working `after` that long, or sooner, if that was said before.
    pub fn expire(&mut self, now: Timestamp, after: Duration) {
        let of_sessions = self.sessions.values().map(|cuts| cuts.issue_at(now));
        let issued_until = of_sessions.fold(self.cuts.issue_at(now), Timestamp::max);
        self.cuts.add(Cut { issued_until, refused_from: now + after }, now, CUTS_MAX);
        self.forget(now);
    }

    /// As [`expire`](Self::expire), of the tokens of these sessions alone.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn expire_sessions(
        &mut self,
        sessions: &[SessionId],
        now: Timestamp,
        after: Duration,
    ) -> Result<(), TooManySessions> {
        self.forget(now);
        let mut all = self.sessions.clone();
        for session in sessions {
            let cut = Cut { issued_until: self.issue_at(Some(session), now), refused_from: now + after };
            all.entry(session.clone()).or_default().add(cut, now, SESSION_CUTS_MAX);
        }
        if all.len() > SESSIONS_MAX {
            return Err(TooManySessions);
        }
        self.sessions = all;
        Ok(())
    }

    /// Whether one that was issued then, in this session or in none, works no more.
    pub fn refuses(&self, issued: Timestamp, session: Option<&SessionId>, now: Timestamp) -> bool {
        let of_session = session.and_then(|session| self.sessions.get(session));
        self.cuts.refuses(issued, now) || of_session.is_some_and(|cuts| cuts.refuses(issued, now))
    }

    /// When a token that is issued now, in this session or in none, is to say that it was: now, but behind all that was
    /// expired, should the clock stand still or have been set back.
    pub fn issue_at(&self, session: Option<&SessionId>, now: Timestamp) -> Timestamp {
        let of_session = session.and_then(|session| self.sessions.get(session));
        of_session.map_or(now, |cuts| cuts.issue_at(now)).max(self.cuts.issue_at(now))
    }

    /// Lets go of sessions whose tokens have all come to their end, or of which all is said by what is said of all.
    fn forget(&mut self, now: Timestamp) {
        let all = &self.cuts;
        self.sessions.retain(|_, cuts| {
            let is_said = |cut: &Cut| all.say(Cut { refused_from: cut.refused_from.max(now), ..*cut });
            cuts.0.iter().any(|cut| now < cut.issued_until + Self::SESSION_LIFE + LEEWAY && !is_said(cut))
        });
    }
}

impl Cuts {
    fn add(&mut self, new: Cut, now: Timestamp, cuts_max: usize) {
        self.0.retain(|cut| cut.issued_until > new.issued_until || cut.refused_from < new.refused_from);
        if self.say(new) {
            return;
        }
        let is_full = cuts_max <= self.0.len();
        match self.0.last_mut().filter(|last| is_full && last.issued_until < new.issued_until) {
            // Rather too soon than too late.
            Some(last) => last.issued_until = new.issued_until,
            None => self.0.push(new),
        }
        self.0.sort_by_key(|cut| cut.issued_until);
        // Of those whose time has come the last one says it all.
        let passed = self.0.iter().rposition(|cut| cut.refused_from <= now).unwrap_or(0);
        self.0.drain(..passed);
    }

    /// Whether nothing is added by this one.
    fn say(&self, new: Cut) -> bool {
        self.0.iter().any(|cut| cut.issued_until >= new.issued_until && cut.refused_from <= new.refused_from)
    }

    fn refuses(&self, issued: Timestamp, now: Timestamp) -> bool {
        self.0.iter().any(|cut| issued <= cut.issued_until && cut.refused_from <= now)
    }

    fn issue_at(&self, now: Timestamp) -> Timestamp {
        self.0.last().map_or(now, |cut| now.max(cut.issued_until + MOMENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(second: u64) -> Timestamp {
        Timestamp::from_nanos(second * 1_000_000_000)
    }

    fn of(calls: &[(u64, u64)]) -> ExpiredTokens {
        let mut expired = ExpiredTokens::default();
        for (now, after) in calls {
            expired.expire(at(*now), Duration::from_secs(*after));
        }
        expired
    }

    /// Against the rule itself: a call at `c` that says `after` refuses what was issued until `c` from `c + after` on.
    #[test]
    fn a_token_is_refused_as_soon_as_any_call_says_so() {
        let histories: [&[(u64, u64)]; 7] = [
            &[],
            &[(10, 0)],
            &[(10, 5)],
            &[(10, 20), (12, 3)],
            &[(10, 3), (12, 20)],
            &[(10, 0), (11, 0), (12, 9)],
            &[(10, 20), (11, 15), (12, 30), (13, 0), (14, 4)],
        ];
        for history in histories {
            let expired = of(history);
            // Nobody asks for a time before the last call.
            let last = history.last().map_or(0, |(now, _)| *now);
            for (issued, now) in (0..50).flat_map(|issued| (last..50).map(move |now| (issued, now))) {
                let expected = history.iter().any(|(call, after)| issued <= *call && call + after <= now);
                let refused = expired.refuses(at(issued), None, at(now));
                assert_eq!(refused, expected, "issued at {issued}, now {now}, after {history:?}");
            }
        }
    }

    /// 150 calls within a second dated new tokens minutes ahead, and they were refused until then.
    #[test]
    fn tokens_of_one_moment_are_told_apart_and_none_is_dated_ahead() {
        let half = Timestamp::from_nanos(7_500_000_000);
        let mut expired = ExpiredTokens::default();
        let mut issued = Vec::new();
        for _ in 0..150 {
            issued.push(expired.issue_at(None, half));
            expired.expire(half, Duration::ZERO);
        }
        let last = expired.issue_at(None, half);
        assert!(issued.iter().all(|token| expired.refuses(*token, None, half)), "{issued:?}");
        assert!(!expired.refuses(last, None, half));
        assert!(last.since(half) < Duration::from_micros(1), "{last:?}");
        assert_eq!(expired.issue_at(None, half + Duration::from_micros(1)), half + Duration::from_micros(1));
        // The clock was set back by an hour.
        let back = Timestamp::from_nanos(0);
        assert!(!expired.refuses(expired.issue_at(None, back), None, back));
    }

    #[test]
    fn what_is_known_stays_small_and_is_rather_too_strict() {
        let mut expired = ExpiredTokens::default();
        for n in 1..1_000 {
            expired.expire(at(n), Duration::from_secs(10_000 + n));
            assert!(expired.cuts.0.len() <= CUTS_MAX);
        }
        assert!(expired.refuses(at(999), None, at(999 + 10_000 + 999)));
        assert!(!expired.refuses(at(1_000), None, Timestamp::MAX));
        expired.expire(at(20_000), Duration::ZERO);
        assert_eq!(expired.cuts.0.len(), 1, "it says all that the others did");
    }
    fn session(text: &str) -> SessionId {
        SessionId::new(text).expect("it is one")
    }

    /// Against the rule itself, with calls for one session, another one, and all.
    #[test]
    fn a_token_of_a_session_is_refused_as_soon_as_a_call_for_it_or_for_all_says_so() {
        let (a, b) = (session("a"), session("b"));
        let histories: [&[(u64, u64, Option<&SessionId>)]; 6] = [
            &[(10, 0, Some(&a))],
            &[(10, 5, Some(&a)), (12, 0, Some(&b))],
            &[(10, 20, Some(&a)), (12, 3, None)],
            &[(10, 3, None), (12, 20, Some(&a)), (13, 2, Some(&a))],
            &[(10, 9, Some(&a)), (11, 0, None), (12, 4, Some(&b)), (14, 0, Some(&a))],
            &[(10, 30, None), (11, 0, Some(&a)), (12, 0, Some(&b))],
        ];
        for history in histories {
            let mut expired = ExpiredTokens::default();
            for (call, after, of) in history {
                match of {
                    Some(of) => {
                        let done = expired.expire_sessions(&[(*of).clone()], at(*call), Duration::from_secs(*after));
                        assert_eq!(done, Ok(()));
                    }
                    None => expired.expire(at(*call), Duration::from_secs(*after)),
                }
            }
            let last = history.last().map_or(0, |(call, ..)| *call);
            for (issued, now) in (0..50).flat_map(|issued| (last..50).map(move |now| (issued, now))) {
                for token in [None, Some(&a), Some(&b)] {
                    let is_meant = |of: Option<&SessionId>| of.is_none() || of == token;
                    let expected =
                        history.iter().any(|(call, after, of)| is_meant(*of) && issued <= *call && call + after <= now);
                    let refused = expired.refuses(at(issued), token, at(now));
                    assert_eq!(refused, expected, "{token:?} issued at {issued}, now {now}, after {history:?}");
                }
            }
        }
    }

    #[test]
    fn tokens_of_sessions_are_told_apart_within_a_moment_by_calls_for_all_and_for_them() {
        let half = Timestamp::from_nanos(7_500_000_000);
        let a = session("a");
        let mut expired = ExpiredTokens::default();
        for round in 0..6 {
            let token = expired.issue_at(Some(&a), half);
            let other = expired.issue_at(Some(&session("b")), half);
            assert!(!expired.refuses(token, Some(&a), half), "round {round}");
            if round % 2 == 0 {
                assert_eq!(expired.expire_sessions(std::slice::from_ref(&a), half, Duration::ZERO), Ok(()));
                assert!(!expired.refuses(other, Some(&session("b")), half), "round {round}: another session's");
            } else {
                expired.expire(half, Duration::ZERO);
            }
            assert!(expired.refuses(token, Some(&a), half), "round {round}");
        }
    }

    #[test]
    fn sessions_are_forgotten_when_their_tokens_have_ended_or_all_are_expired_and_are_bounded() {
        let of = |n: usize| session(&format!("s{n}"));
        let mut expired = ExpiredTokens::default();
        for n in 0..SESSIONS_MAX {
            assert_eq!(expired.expire_sessions(&[of(n)], at(10), Duration::ZERO), Ok(()));
        }
        let before = expired.clone();
        let two = [of(0), of(SESSIONS_MAX)];
        assert_eq!(expired.expire_sessions(&two, at(11), Duration::ZERO), Err(TooManySessions));
        assert_eq!(expired, before);
        assert_eq!(expired.expire_sessions(&[of(0)], at(11), Duration::ZERO), Ok(()), "one that is known");
        let life = ExpiredTokens::SESSION_LIFE.as_secs();
        assert_eq!(expired.expire_sessions(&two, at(10 + life), Duration::ZERO), Err(TooManySessions));
        let mut later = expired.clone();
        assert_eq!(later.expire_sessions(&two, at(10 + life + 3600), Duration::ZERO), Ok(()));
        assert_eq!(later.sessions.len(), 2);
        // All are to be refused in an hour: that does not say what was said of these.
        expired.expire(at(20), Duration::from_secs(3600));
        assert_eq!(expired.sessions.len(), SESSIONS_MAX);
        expired.expire(at(21), Duration::ZERO);
        assert!(expired.sessions.is_empty());
        assert!(expired.refuses(at(10), Some(&of(7)), at(21)));
    }

    #[test]
    fn a_session_id_is_short_and_can_be_seen() {
        for good in ["a", "user:7/laptop", &"x".repeat(256)] {
            assert_eq!(SessionId::new(good).map(|id| id.as_str().to_owned()), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "a\n", "\u{e9}", &"x".repeat(257)] {
            assert_eq!(SessionId::new(bad), Err(InvalidSession), "{bad}");
        }
    }
}
