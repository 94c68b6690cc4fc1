//! Tokens of an application that stop working before their time: all that were issued until then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Cuts that are still to come.
const CUTS_MAX: usize = 16;
const SECOND: Duration = Duration::from_secs(1);

/// Which tokens of an application work no more, or will not. None, at first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiredTokens {
    /// By when they were issued. The later ones are refused later: others would add nothing.
    cuts: Vec<Cut>,
    /// Counts changes; a writer says which one it saw.
    pub revision: u64,
}

/// All that were issued until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cut {
    issued_until: Timestamp,
    refused_from: Timestamp,
}

impl ExpiredTokens {
    /// All that are issued until `now` stop working `after` that long, or sooner, if that was said before.
    pub fn expire(&mut self, now: Timestamp, after: Duration) {
        let issued_until = self.issue_at(now);
        let new = Cut { issued_until, refused_from: now + after };
        self.cuts.retain(|cut| cut.issued_until > new.issued_until || cut.refused_from < new.refused_from);
        if self.cuts.iter().any(|cut| cut.issued_until >= new.issued_until && cut.refused_from <= new.refused_from) {
            return;
        }
        let is_full = CUTS_MAX <= self.cuts.len();
        match self.cuts.last_mut().filter(|last| is_full && last.issued_until < new.issued_until) {
            // Rather too soon than too late.
            Some(last) => last.issued_until = new.issued_until,
            None => self.cuts.push(new),
        }
        self.cuts.sort_by_key(|cut| cut.issued_until);
        // Of those whose time has come the last one says it all.
        let passed = self.cuts.iter().rposition(|cut| cut.refused_from <= now).unwrap_or(0);
        self.cuts.drain(..passed);
    }

    /// Whether one that was issued then works no more.
    pub fn refuses(&self, issued: Timestamp, now: Timestamp) -> bool {
        self.cuts.iter().any(|cut| issued <= cut.issued_until && cut.refused_from <= now)
    }

    /// When a token that is issued now is to say that it was. Tokens tell that to the second: one of the very second in
    /// which others were expired says that it is of the next one, and lives.
    pub fn issue_at(&self, now: Timestamp) -> Timestamp {
        self.cuts.last().map_or(now, |cut| now.max(cut.issued_until + SECOND))
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
                let refused = expired.refuses(at(issued), at(now));
                assert_eq!(refused, expected, "issued at {issued}, now {now}, after {history:?}");
            }
        }
    }

    #[test]
    fn tokens_of_one_second_are_told_apart_by_what_lies_between_them() {
        let half = Timestamp::from_nanos(7_500_000_000);
        // As it is written in a token.
        let second = |time: Timestamp| at(time.as_nanos() / 1_000_000_000);
        let mut expired = ExpiredTokens::default();
        let mut issued = Vec::new();
        for _ in 0..3 {
            issued.push(second(expired.issue_at(half)));
            expired.expire(half, Duration::ZERO);
        }
        let last = second(expired.issue_at(half));
        assert!(issued.iter().all(|token| expired.refuses(*token, half)), "{issued:?}");
        assert!(!expired.refuses(last, half));
        assert_eq!(second(expired.issue_at(at(60))), at(60), "and no more of it a little later");
    }

    #[test]
    fn what_is_known_stays_small_and_is_rather_too_strict() {
        let mut expired = ExpiredTokens::default();
        for n in 1..1_000 {
            expired.expire(at(n), Duration::from_secs(10_000 + n));
            assert!(expired.cuts.len() <= CUTS_MAX);
        }
        assert!(expired.refuses(at(999), at(999 + 10_000 + 999)));
        assert!(!expired.refuses(at(1_000), Timestamp::MAX));
        expired.expire(at(20_000), Duration::ZERO);
        assert_eq!(expired.cuts.len(), 1, "it says all that the others did");
    }
}
