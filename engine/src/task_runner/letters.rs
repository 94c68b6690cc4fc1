//! Puts dead letters back into their queues, or forgets them.
//!
//! What finds no room is passed over, with all that follows at its endpoint: where the first of that lies is noted, and
//! the task goes on there once it has been to the end. So a queue that stays full keeps only its own letters waiting.

use std::collections::BTreeSet;

use postrider_core::{
    Batch, DeadLetter, DeliveryId, Endpoint, EndpointId, GotOn, Seq, Task, TaskStatus, task::Letters,
};
use postrider_storage::DeadLetterQuery;

use super::{Piece, Stop, page};
use crate::{DeadLetterError, dead_letters::refused, inner::Inner};

/// Bytes of the place of one letter.
const PLACE: usize = 28;

/// Where a task stands among dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// It goes on behind this one.
    pub(super) after: Option<DeliveryId>,
    /// Behind this one lies the first that found no room.
    pub(super) left: Option<DeliveryId>,
}

impl Place {
    /// As it is stored. One that cannot be read is the beginning.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let (after, left) = bytes.split_at(bytes.len().min(PLACE));
        Self { after: letter_at(after), left: letter_at(left) }
    }

    /// None for the end.
    fn written(self) -> Option<Vec<u8>> {
        let written = |at: DeliveryId| [&at.endpoint.to_bytes()[..], &at.seq.0.to_be_bytes()].concat();
        let after = written(self.after?);
        Some(after.into_iter().chain(self.left.map(written).unwrap_or_default()).collect())
    }
}

fn letter_at(place: &[u8]) -> Option<DeliveryId> {
    let (endpoint, seq) = place.split_first_chunk()?;
    let seq = Seq(u64::from_be_bytes(seq.try_into().ok()?));
    Some(DeliveryId { endpoint: EndpointId::from_bytes(*endpoint), seq })
}

/// What became of the letters of a piece.
struct Changed {
    /// By us, or maybe by us.
    changed: u64,
    /// Those that found no room.
    left: BTreeSet<DeliveryId>,
}

impl Inner {
    pub(super) async fn change_letters(
        &self,
        task: &Task,
        next: &mut Task,
        letters: &Letters,
        change: impl Fn(&Endpoint, DeliveryId) -> Batch,
    ) -> Result<Piece, Stop> {
        let owner = letters.application;
        let endpoints = match letters.endpoint {
            Some(endpoint) => vec![endpoint],
            None => self.registry.endpoint_ids(owner),
        };
        // What dies later is none of its business: what it puts back and dies again is not met twice.
        let before = letters.before.map_or(task.created_at, |before| before.min(task.created_at));
        let query = DeadLetterQuery { endpoints, before: Some(before), after: letters.after, oldest_first: true };
        let place = Place::read(task.place.as_deref().unwrap_or_default());
        let store = self.store.opened().await;
        let found = store.reads().dead_letters(&query, &page(place.after)).await?;
        let (behind, seen) = (found.next.filter(|_| !found.is_last), found.items.len());
        let mut wanted: Vec<DeadLetter> = Vec::new();
        for letter in found.items {
            let is_wanted = letters.event_types.is_empty() || {
                let event = store.reads().event(owner, letter.last.event).await?;
                event.is_some_and(|event| letters.event_types.contains(&event.event.event_type))
            };
            if is_wanted {
                wanted.push(letter);
            }
        }
        drop(store);
        let Changed { changed, left } = self.change_each(wanted, change).await?;
        next.progress.seen += (seen - left.len()) as u64;
        next.progress.done += changed;
        let place = goes_on(place, behind, &left);
        let waits = behind_the_last(letters, &place) || place.after.is_some_and(|after| Some(after) == place.left);
        let place = if waits { Place { after: place.left, left: None } } else { place };
        (next.place, next.status) = (place.written(), TaskStatus::Running);
        let got_on = if changed > 0 { GotOn::Yes } else { GotOn::No };
        if waits && next.place == task.place && next.progress == task.progress {
            return Ok(Piece::Waits(got_on));
        }
        self.note(task, next, Vec::new(), None).await?;
        Ok(if waits { Piece::Waits(got_on) } else { Piece::Goes(got_on) })
    }

    /// Each in a commit of its own guards, all of them together.
    async fn change_each(
        &self,
        letters: Vec<DeadLetter>,
        change: impl Fn(&Endpoint, DeliveryId) -> Batch,
    ) -> Result<Changed, Stop> {
        let mut pending = Vec::with_capacity(letters.len());
        for letter in letters {
            // A letter whose endpoint is gone went with it.
            let Some(endpoint) = self.registry.endpoint(letter.last.id.endpoint) else { continue };
            self.lifecycle.gate()?;
            let answer = self.commits.submit(endpoint.application, change(&endpoint, letter.last.id))?;
            pending.push((letter.last.id, answer));
        }
        let mut of_all = Changed { changed: 0, left: BTreeSet::new() };
        for (letter, answer) in pending {
            match answer.answer().await?.map_err(refused) {
                Ok(_) => of_all.changed += 1,
                Err(DeadLetterError::QueueFull) => drop(of_all.left.insert(letter)),
                Err(_) => {}
            }
        }
        Ok(of_all)
    }
}

/// Where a task stands after a page: at the end, it stands where the first lies that found no room.
fn goes_on(at: Place, behind: Option<DeliveryId>, left: &BTreeSet<DeliveryId>) -> Place {
    let first = left.first().map(|first| DeliveryId { seq: Seq(first.seq.0.saturating_sub(1)), ..*first });
    let first = at.left.or(first);
    let is_full = |endpoint: EndpointId| left.iter().any(|letter| letter.endpoint == endpoint);
    match behind {
        Some(behind) if is_full(behind.endpoint) => {
            Place { after: Some(DeliveryId { seq: Seq::MAX, ..behind }), left: first }
        }
        Some(behind) => Place { after: Some(behind), left: first },
        None => Place { after: first, left: first },
    }
}

/// Nothing lies beyond the one endpoint that it is about.
fn behind_the_last(letters: &Letters, place: &Place) -> bool {
    letters.endpoint.is_some() && place.after.is_some_and(|after| after.seq == Seq::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(endpoint: u8, seq: u64) -> DeliveryId {
        DeliveryId { endpoint: EndpointId::from_bytes([endpoint; 20]), seq: Seq(seq) }
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        for place in [
            Place { after: Some(letter(1, 2)), left: None },
            Place { after: Some(letter(3, u64::MAX)), left: Some(letter(1, 7)) },
        ] {
            assert_eq!(place.written().map(|bytes| Place::read(&bytes)), Some(place));
        }
        assert_eq!(Place::default().written(), None);
        // As an earlier program wrote it, and what none wrote.
        let bytes = [&[7; 20][..], &9_u64.to_be_bytes()].concat();
        assert_eq!(Place::read(&bytes), Place { after: Some(letter(7, 9)), left: None });
        for damaged in [&[][..], &[7; 19], &[7; 27]] {
            assert_eq!(Place::read(damaged), Place::default());
        }
    }

    #[test]
    fn what_finds_no_room_is_passed_over_and_come_back_to() {
        let nothing = BTreeSet::new();
        let (start, full) = (Place::default(), BTreeSet::from([letter(1, 5), letter(1, 9)]));
        let passed = goes_on(start, Some(letter(1, 10)), &full);
        assert_eq!(passed, Place { after: Some(letter(1, u64::MAX)), left: Some(letter(1, 4)) });
        let on = goes_on(passed, Some(letter(2, 3)), &BTreeSet::from([letter(3, 1)]));
        assert_eq!(on, Place { after: Some(letter(2, 3)), left: Some(letter(1, 4)) }, "the first of all is kept");
        let again = goes_on(on, None, &nothing);
        assert_eq!((again.after, again.left), (Some(letter(1, 4)), Some(letter(1, 4))), "from there, later");
        assert_eq!(goes_on(start, Some(letter(1, 10)), &nothing).after, Some(letter(1, 10)));
        assert_eq!(goes_on(start, None, &nothing), Place::default(), "that was all");
    }
}
