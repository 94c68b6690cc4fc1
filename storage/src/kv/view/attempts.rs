//! Attempts: those of one delivery a few at a time, a page of those of an event, and those of an endpoint counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    ops::ControlFlow,
};

use postrider_core::{
    ApplicationId, AttemptId, AttemptNumber, DeliveryId, EndpointId, EventId, Life, Outcome, Seq, Then, Timestamp,
};

use super::{
    View,
    pages::{cut, direction},
    records::LivesAt,
    stations::Stations,
    walk::{Place, Walk},
};
use crate::{
    AttemptCounts, AttemptEnd, AttemptFilter, AttemptRecord, CountedTime, EventAttemptQuery, Page, PageRequest,
    Responses, StoreError,
    kv::{
        Direction, codec,
        keys::{self, Key, Suffix, table, week},
        rows::{self, AttemptRow, LifeRow},
    },
};

/// Position, life and number.
pub(super) const OF_DELIVERY: usize = size_of::<Seq>() + size_of::<Life>() + size_of::<AttemptNumber>();
/// Rows read at once by who counts.
const COUNTED_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// Rows read at once by who looks for some: each may have an answer behind it.
const AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

impl View<'_> {
    /// The attempts of an event lie by endpoint, and come by time: all are looked at, a few at a time, and no more are
    /// kept than the page has.
    pub(in crate::kv) fn attempts_of_event(
        self,
        query: &EventAttemptQuery,
        page: &PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord, AttemptId>, StoreError> {
        let mut nearest = Nearest::new(page);
        self.each_attempt_of_event((query.application, query.event), query.endpoint, |place, row| {
            if is_wanted(&query.filter, (row.started, &row.outcome, row.then)) {
                nearest.take(row.id, place);
            }
            ControlFlow::Continue(())
        })?;
        let (found, is_last) = nearest.found();
        let read =
            |(delivery, life, number)| self.attempt_at(delivery, life, number, query.event, query.filter.responses);
        let items: Vec<_> = found.into_iter().map(read).filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let place = |record: &AttemptRecord| record.attempt.id;
        Ok(Page { previous: items.first().map(place), next: items.last().map(place), items, is_last })
    }

    /// One attempt of an event.
    pub(in crate::kv) fn attempt_of_event(
        self,
        owner: ApplicationId,
        event: EventId,
        wanted: AttemptId,
    ) -> Result<Option<AttemptRecord>, StoreError> {
        let mut found = None;
        self.each_attempt_of_event((owner, event), None, |place, row| {
            if row.id != wanted {
                return ControlFlow::Continue(());
            }
            found = Some(place);
            ControlFlow::Break(())
        })?;
        let Some((delivery, life, number)) = found else { return Ok(None) };
        self.attempt_at(delivery, life, number, event, Responses::Read)
    }

    fn each_attempt_of_event(
        self,
        of: (ApplicationId, EventId),
        at: Option<EndpointId>,
        mut see: impl FnMut(Where, &AttemptRow<Outcome>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut see_all = |lives: Vec<LifeRow>| {
            let positions: BTreeSet<_> =
                lives.iter().map(|life| DeliveryId { endpoint: life.endpoint, seq: life.seq }).collect();
            for delivery in positions {
                if self.each_attempt(delivery, of.1, None, &mut see)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        };
        if let Some(endpoint) = at {
            return see_all(self.lives_at(of, endpoint, LivesAt::All)?).map(drop);
        }
        let Some(mut stations) = Stations::of(self, of, Direction::Forward, None)? else { return Ok(()) };
        while let Some((_, lives)) = stations.next()? {
            if see_all(lives)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Every attempt at one position, of one life there or of all, by life and number.
    pub(super) fn each_attempt(
        self,
        delivery: DeliveryId,
        event: EventId,
        of: Option<Life>,
        mut see: impl FnMut(Where, &AttemptRow<Outcome>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut prefix = keys::attempts(delivery);
        let endpoint = prefix.len() - size_of::<Seq>();
        prefix.extend(of.iter().flat_map(|life| life.0.to_be_bytes()));
        let partition = Key::Attempt(delivery, Life::FIRST, keys::SCHEDULED, event).partition();
        let mut range = (prefix.clone(), keys::end_of(&prefix));
        loop {
            let found = self.scan(partition, &range.0, &range.1, AT_ONCE)?;
            for (key, value) in &found {
                let place = place_of(delivery.endpoint, &key[endpoint..])?;
                if see(place, &rows::attempt_row(value)?).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            match found.last() {
                Some((last, _)) if found.len() == AT_ONCE.get() => cut(&mut range, Direction::Forward, last),
                Some(_) | None => return Ok(ControlFlow::Continue(())),
            }
        }
    }

    /// The attempt that lies there, unless it went with its week.
    pub(super) fn attempt_at(
        self,
        delivery: DeliveryId,
        life: Life,
        number: AttemptNumber,
        event: EventId,
        responses: Responses,
    ) -> Result<Option<AttemptRecord>, StoreError> {
        let Some(value) = self.value(&Key::Attempt(delivery, life, number, event))? else { return Ok(None) };
        let (attempt, event) = rows::decode_attempt(number, &value, responses)?;
        Ok(Some(AttemptRecord { delivery, event, life, attempt }))
    }

    pub(in crate::kv) fn attempt_counts(
        self,
        of: EndpointId,
        time: CountedTime,
        at_most: NonZeroUsize,
    ) -> Result<Option<AttemptCounts>, StoreError> {
        let CountedTime { since, until, age_max } = time;
        let (oldest, prefix) = (week(since.earlier_by(age_max)), keys::under(table::ATTEMPT, of.to_bytes()));
        let newest = self.newest(Some(until))?.map(tried_by);
        let mut walk = Walk::new(self, Direction::Backward, prefix, newest, oldest, COUNTED_AT_ONCE);
        let (mut counts, mut left) = (AttemptCounts::default(), at_most.get());
        while let Some(row) = walk.next()? {
            let Some(fewer) = left.checked_sub(1) else { return Ok(None) };
            left = fewer;
            let attempt = rows::attempt_row(&row.value)?;
            if !(since..until).contains(&attempt.started) {
                continue;
            }
            match attempt.outcome {
                Outcome::Success { .. } => counts.succeeded += 1,
                Outcome::Failure(_) => counts.failed += 1,
            }
            counts.given_up += u64::from(matches!(attempt.then, Then::GivenUp(_)));
        }
        Ok(Some(counts))
    }
}

/// Which attempt: its delivery, life and number.
pub(super) type Where = (DeliveryId, Life, AttemptNumber);

/// The attempts of a page in the making: those nearest to its place in its direction, and one more, which says that they
/// are not the last.
struct Nearest {
    direction: Direction,
    place: Option<AttemptId>,
    limit: usize,
    found: BTreeMap<(AttemptId, DeliveryId), Where>,
}

impl Nearest {
    fn new(page: &PageRequest<AttemptId>) -> Self {
        let (direction, place) = (direction(false, &page.part), page.part.place().copied());
        Self { direction, place, limit: page.limit.get(), found: BTreeMap::new() }
    }

    fn take(&mut self, id: AttemptId, at: Where) {
        let is_beyond = self.place.is_none_or(|place| match self.direction {
            Direction::Forward => place < id,
            Direction::Backward => id < place,
        });
        if is_beyond {
            self.found.insert((id, at.0), at);
        }
        if self.found.len() > self.limit.saturating_add(1) {
            self.drop_farthest();
        }
    }

    fn drop_farthest(&mut self) {
        match self.direction {
            Direction::Forward => self.found.pop_last(),
            Direction::Backward => self.found.pop_first(),
        };
    }

    /// Newest first, and whether nothing lies beyond.
    fn found(mut self) -> (Vec<Where>, bool) {
        let is_last = self.found.len() <= self.limit;
        if !is_last {
            self.drop_farthest();
        }
        (self.found.into_values().rev().collect(), is_last)
    }
}

/// Whether a filter wants an attempt.
pub(super) fn is_wanted(filter: &AttemptFilter, (started, outcome, then): (Timestamp, &Outcome, Then)) -> bool {
    let AttemptFilter { before, after, end, status_class, responses: _ } = filter;
    let ended = match then {
        Then::Delivered => AttemptEnd::Delivered,
        Then::RetryAt(_) | Then::GivenUp(_) | Then::Nothing => AttemptEnd::Failed,
    };
    is_in_time(*before, *after, started)
        && end.is_none_or(|end| end == ended)
        && status_class.is_none_or(|class| class == outcome.status_code() / 100 * 100)
}

/// Whether an attempt began between two times, both left out.
pub(super) fn is_in_time(before: Option<Timestamp>, after: Option<Timestamp>, started: Timestamp) -> bool {
    before.is_none_or(|before| started < before) && after.is_none_or(|after| after < started)
}

/// The place behind which lies every attempt that was begun by then: no event is tried before it is accepted.
pub(super) fn tried_by(newest: Timestamp) -> Place {
    Place { partition: week(newest), suffix: vec![u8::MAX; OF_DELIVERY] }
}

/// Whose row it is whose key ends in `suffix` after its endpoint.
pub(super) fn place_of(endpoint: EndpointId, suffix: &[u8]) -> Result<Where, StoreError> {
    let mut suffix = Suffix(suffix);
    let (Some(seq), Some(life), Some(number)) = (suffix.u64(), suffix.u32(), suffix.u32()) else {
        return Err(codec::corrupt("its key is cut short"));
    };
    Ok((DeliveryId { endpoint, seq: Seq(seq) }, Life(life), AttemptNumber(number)))
}

/// An attempt's row, whose key ends in `suffix` after its endpoint.
pub(super) fn of_delivery(
    endpoint: EndpointId,
    suffix: &[u8],
    value: &[u8],
    responses: Responses,
) -> Result<AttemptRecord, StoreError> {
    let (delivery, life, number) = place_of(endpoint, suffix)?;
    let (attempt, event) = rows::decode_attempt(number, value, responses)?;
    Ok(AttemptRecord { delivery, event, life, attempt })
}
