//! Parts of lists: `limit`, `iterator`, `order` in; `data`, `iterator`, `prevIterator`, `done` out.

use std::{fmt::Display, num::NonZeroUsize, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postrider::{Cursor, ListRequest, Listing, Order, Page, PageRequest, Part};
use serde::Serialize;
use utoipa::ToSchema;

use super::{error::ApiError, query::Params};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 250;
/// What the iterators of lists begin with whose places have no name: none of them is taken for one that leads back.
const CURSOR_PREFIX: &str = "pos_";

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<T> {
    data: Vec<T>,
    iterator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_iterator: Option<String>,
    done: bool,
}

impl Params {
    /// For lists by id.
    pub(super) fn by_id<I: FromStr>(&self, default: Order) -> Result<ListRequest<I>, ApiError> {
        let order = match self.stated("order") {
            None => default,
            Some("ascending") => Order::Ascending,
            Some("descending") => Order::Descending,
            Some(_) => return Err(ApiError::field("query", "order", "must be ascending or descending")),
        };
        let PageRequest { part, limit } = self.paged(|text| text.parse().ok())?;
        Ok(ListRequest { order, part, limit })
    }

    /// For lists of one order, whose places are read so.
    pub(super) fn paged<C>(&self, read: impl Fn(&str) -> Option<C>) -> Result<PageRequest<C>, ApiError> {
        let part = match self.one("iterator") {
            None => Part::First,
            Some(text) => match text.strip_prefix('-') {
                Some(place) => Part::Before(read(place).ok_or_else(bad_iterator)?),
                None => Part::After(read(text).ok_or_else(bad_iterator)?),
            },
        };
        Ok(PageRequest { part, limit: self.limit()? })
    }

    /// For lists that come newest first: with `after` alone, the first page is the one that begins at that time.
    pub(super) fn newest_first<C>(&self, read: impl Fn(&str) -> Option<C>) -> Result<PageRequest<C>, ApiError> {
        let PageRequest { part, limit } = self.paged(read)?;
        let begins_at_time = self.stated("after").is_some() && self.stated("before").is_none();
        let part = match part {
            Part::First if begins_at_time => Part::Last,
            part => part,
        };
        Ok(PageRequest { part, limit })
    }

    fn limit(&self) -> Result<NonZeroUsize, ApiError> {
        let limit = self.stated("limit").map_or(Ok(LIMIT_DEFAULT), |text| text.parse());
        let within = limit.ok().filter(|limit| *limit <= LIMIT_MAX).and_then(NonZeroUsize::new);
        within.ok_or_else(|| ApiError::field("query", "limit", format!("must be 1 to {LIMIT_MAX}")))
    }
}

/// Pages of a list that a filter may empty before an answer is given, with an iterator to go on; and items, where pages are
/// small.
const PAGES_LOOKED_AT_MAX: usize = 20;
const ITEMS_LOOKED_AT_MAX: usize = 2_000;
/// A page ends after 4 MiB of payloads, however few items that are: all of it is in memory until the client has taken it.
const CONTENT_BYTES_MAX: usize = 4 << 20;

/// A page as long as was asked for, of a list of which a page may hold less and not be the last: goes on looking, within a
/// bound.
#[derive(Debug)]
pub(super) struct Filling<T, C> {
    request: Option<PageRequest<C>>,
    limit: usize,
    at_once_max: NonZeroUsize,
    content_bytes: usize,
    is_back: bool,
    looks_left: usize,
    whole: Page<T, C>,
}

impl<T, C: Clone> Filling<T, C> {
    pub(super) fn new(request: PageRequest<C>) -> Self {
        Self::in_pieces(request, NonZeroUsize::MAX)
    }

    /// Reads no more than so many items at once: each is looked up by itself, and may be large.
    pub(super) fn in_pieces(request: PageRequest<C>, at_once_max: NonZeroUsize) -> Self {
        let (limit, is_back) = (request.limit.get(), request.part.is_back());
        let request = PageRequest { limit: request.limit.min(at_once_max), ..request };
        let looks_left = PAGES_LOOKED_AT_MAX.max(ITEMS_LOOKED_AT_MAX / request.limit);
        Self {
            request: Some(request),
            limit,
            at_once_max,
            content_bytes: 0,
            is_back,
            looks_left,
            whole: Page::default(),
        }
    }

    /// What is to be read next, if anything.
    pub(super) const fn next(&self) -> Option<&PageRequest<C>> {
        self.request.as_ref()
    }

    /// As [`take`](Self::take), of items with so many bytes of payloads.
    pub(super) fn take_with(&mut self, page: Page<T, C>, content_bytes: usize) {
        self.content_bytes += content_bytes;
        self.take(page);
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, page: Page<T, C>) {
        let Some(mut request) = self.request.take() else { return };
        let (goes_on, is_last) = (request.turn(&page), page.is_last);
        let before = std::mem::take(&mut self.whole);
        self.whole = if self.is_back { joined(page, before) } else { joined(before, page) };
        self.whole.is_last = is_last;
        self.looks_left -= 1;
        let goes_on = goes_on && self.looks_left > 0 && self.content_bytes < CONTENT_BYTES_MAX;
        let left = NonZeroUsize::new(self.limit.saturating_sub(self.whole.items.len()));
        let next = |left: NonZeroUsize| PageRequest { limit: left.min(self.at_once_max), ..request };
        self.request = left.filter(|_| goes_on).map(next);
    }

    pub(super) fn page(self) -> Page<T, C> {
        self.whole
    }
}

/// Two pages, one after the other, as one.
fn joined<T, C>(mut first: Page<T, C>, second: Page<T, C>) -> Page<T, C> {
    first.items.extend(second.items);
    (first.previous, first.next) = (first.previous.or(second.previous), second.next.or(first.next));
    first
}

fn bad_iterator() -> ApiError {
    ApiError::field("query", "iterator", "must be the iterator of another page of this list")
}

/// A place that has no name.
pub(super) fn cursor(text: &str) -> Option<Cursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(CURSOR_PREFIX)?).ok()?;
    Some(Cursor(bytes.into()))
}

/// A place that has no name, as its iterator.
pub(super) fn cursor_shown(Cursor(bytes): &Cursor) -> String {
    format!("{CURSOR_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

impl<T> List<T> {
    /// Of a list by id.
    pub(super) fn by_id<S, I: Display>(listing: Listing<S>, id: impl Fn(&S) -> I, out: impl Fn(S) -> T) -> Self {
        let iterator = listing.items.last().map(|item| id(item).to_string());
        let prev_iterator = listing.items.first().map(|item| format!("-{}", id(item)));
        let done = listing.is_last;
        Self { data: listing.items.into_iter().map(out).collect(), iterator, prev_iterator, done }
    }

    /// Of a list out of the store, with its places as they are shown.
    pub(super) fn paged<S, C>(page: Page<S, C>, place: impl Fn(&C) -> String, out: impl Fn(S) -> T) -> Self {
        let Page { items, previous, next, is_last } = page;
        let prev_iterator = previous.map(|previous| format!("-{}", place(&previous)));
        let iterator = next.map(|next| place(&next));
        Self { data: items.into_iter().map(out).collect(), iterator, prev_iterator, done: is_last }
    }
}
