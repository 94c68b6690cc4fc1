//! Pages of lists: what is looked at in one direction becomes a page in the order of its list. Records in the order of
//! their ids.

use std::num::NonZeroUsize;

use postrider_core::{ApplicationId, Endpoint, EndpointId};

use super::{PASSED_OVER_MAX, View};
use crate::{
    Page, PageRequest, Part, Routed, StoreError,
    kv::{
        Direction, Partition,
        codec::corrupt,
        keys::{self, ID_BYTES, Key, table},
        rows,
    },
};

/// A page in the making: rows as a walk meets them, each with its place.
///
/// Rows outside the time that is asked for are met at its ends, because rows lie by id. The page does not reach over them:
/// whoever goes on from it without that time finds them.
pub(super) struct Gathered<T, C> {
    items: Vec<T>,
    limit: NonZeroUsize,
    passed_over: usize,
    /// Of the first row in time and of the last one.
    ends: Option<(C, C)>,
    /// Of the last row, in time or not.
    seen: Option<C>,
    is_last: bool,
}

/// A row that a walk met.
pub(super) enum Met<T> {
    Wanted(T),
    Unwanted,
    /// Nor is it in the time that is asked for.
    OutOfTime,
}

impl<T> Met<T> {
    pub(super) fn new(is_in_time: bool, wanted: Option<T>) -> Self {
        match wanted {
            _ if !is_in_time => Self::OutOfTime,
            Some(item) => Self::Wanted(item),
            None => Self::Unwanted,
        }
    }
}

impl<T, C: Clone> Gathered<T, C> {
    pub(super) const fn new(limit: NonZeroUsize) -> Self {
        Self { items: Vec::new(), limit, passed_over: 0, ends: None, seen: None, is_last: true }
    }

    /// Whether one more fits.
    pub(super) const fn has_room(&self) -> bool {
        self.items.len() < self.limit.get()
    }

    /// Takes in the next row. Where there is no room for it, the page ends before it, and this is false.
    pub(super) fn take(&mut self, place: C, row: Met<T>) -> bool {
        let has_room = match row {
            Met::Wanted(_) => self.has_room(),
            Met::Unwanted | Met::OutOfTime => self.passed_over < PASSED_OVER_MAX,
        };
        if !has_room {
            self.end_early();
            return false;
        }
        self.seen = Some(place.clone());
        match row {
            Met::Wanted(item) => self.items.push(item),
            Met::Unwanted => self.passed_over += 1,
            Met::OutOfTime => {
                self.passed_over += 1;
                return true;
            }
        }
        match &mut self.ends {
            Some((_, last)) => *last = place,
            None => self.ends = Some((place.clone(), place)),
        }
        true
    }

    /// The page ends here, and more lies beyond.
    pub(super) const fn end_early(&mut self) {
        self.is_last = false;
    }

    /// The page, as the part that was asked for.
    pub(super) fn page(mut self, part: &Part<C>) -> Page<T, C> {
        let (first, last) = self.ends.unzip();
        // Whoever asks for the rest goes on behind all that was looked at.
        let last = if self.is_last { last } else { self.seen };
        let (previous, next) = if part.is_back() { (last, first) } else { (first, last) };
        if part.is_back() {
            self.items.reverse();
        }
        Page { items: self.items, previous, next, is_last: self.is_last }
    }
}

/// In which direction the rows of a part are read, where its list begins with the first one or the last.
pub(super) const fn direction<C>(begins_with_first: bool, part: &Part<C>) -> Direction {
    if begins_with_first != part.is_back() { Direction::Forward } else { Direction::Backward }
}

/// The rest of a range of keys behind one of them.
pub(super) fn cut(range: &mut (Vec<u8>, Vec<u8>), direction: Direction, behind: &[u8]) {
    let (start, end) = range;
    match direction {
        Direction::Forward => *start = keys::after(behind),
        Direction::Backward => *end = behind.to_vec(),
    }
}

impl View<'_> {
    pub(in crate::kv) fn applications(
        self,
        page: &PageRequest<ApplicationId>,
    ) -> Result<Page<Routed, ApplicationId>, StoreError> {
        let part = page.part.map(ApplicationId::to_bytes);
        let found = self.records(table::APPLICATION, part, page.limit, |value| {
            let application = rows::application(value)?;
            let routing = self.get(&Key::Routing(application.id))?.unwrap_or_default();
            Ok(Routed { application, routing })
        });
        Ok(found?.by(ApplicationId::from_bytes))
    }

    pub(in crate::kv) fn endpoints(
        self,
        page: &PageRequest<EndpointId>,
    ) -> Result<Page<Endpoint, EndpointId>, StoreError> {
        let part = page.part.map(EndpointId::to_bytes);
        Ok(self.records(table::ENDPOINT, part, page.limit, rows::endpoint)?.by(EndpointId::from_bytes))
    }

    fn records<T>(
        self,
        table: u8,
        part: Part<[u8; ID_BYTES]>,
        limit: NonZeroUsize,
        read: impl Fn(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Page<T, [u8; ID_BYTES]>, StoreError> {
        let (prefix, direction) = (keys::all(table), direction(true, &part));
        let mut range = (prefix.clone(), keys::end_of(&prefix));
        if let Some(id) = part.place() {
            cut(&mut range, direction, &keys::under(table, *id));
        }
        let mut gathered = Gathered::new(limit);
        let rows = self.directed(Partition::LASTING, &range.0, &range.1, direction, limit.saturating_add(1))?;
        for (key, value) in &rows {
            let id = key[prefix.len()..].try_into().map_err(|_| corrupt("its key is not an id"))?;
            if !gathered.take(id, Met::Wanted(read(value)?)) {
                break;
            }
        }
        Ok(gathered.page(&part))
    }
}
