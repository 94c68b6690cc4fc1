//! Parts of lists: `limit`, `iterator`, `order` in; `data`, `iterator`, `prevIterator`, `done` out.

use std::{fmt::Display, num::NonZeroUsize, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postrider::{
    ListRequest, Listing, Order, Part,
    storage::{Cursor, Page, PageRequest},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{error::ApiError, query::Params};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 250;

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
        let part = match self.one("iterator") {
            None => Part::First,
            Some(text) => match text.strip_prefix('-') {
                Some(id) => Part::Before(id.parse().map_err(|_| bad_iterator())?),
                None => Part::After(text.parse().map_err(|_| bad_iterator())?),
            },
        };
        Ok(ListRequest { order, part, limit: self.limit()? })
    }

    /// For lists out of the store.
    pub(super) fn by_cursor(&self) -> Result<PageRequest, ApiError> {
        let after = match self.one("iterator") {
            None => None,
            Some(text) => Some(Cursor(URL_SAFE_NO_PAD.decode(text).map_err(|_| bad_iterator())?.into())),
        };
        Ok(PageRequest { after, limit: self.limit()? })
    }

    fn limit(&self) -> Result<NonZeroUsize, ApiError> {
        let limit = self.stated("limit").map_or(Ok(LIMIT_DEFAULT), |text| text.parse());
        let within = limit.ok().filter(|limit| *limit <= LIMIT_MAX).and_then(NonZeroUsize::new);
        within.ok_or_else(|| ApiError::field("query", "limit", format!("must be 1 to {LIMIT_MAX}")))
    }
}

fn bad_iterator() -> ApiError {
    ApiError::field("query", "iterator", "must be the iterator of another page of this list")
}

impl<T> List<T> {
    /// Of a list by id.
    pub(super) fn by_id<S, I: Display>(listing: Listing<S>, id: impl Fn(&S) -> I, out: impl Fn(S) -> T) -> Self {
        let iterator = listing.items.last().map(|item| id(item).to_string());
        let prev_iterator = listing.items.first().map(|item| format!("-{}", id(item)));
        let done = listing.is_last;
        Self { data: listing.items.into_iter().map(out).collect(), iterator, prev_iterator, done }
    }

    /// Of a list out of the store. Its iterators are opaque, and lead forward only.
    pub(super) fn by_cursor<S>(page: Page<S>, out: impl Fn(S) -> T) -> Self {
        let done = page.next.is_none();
        let iterator = page.next.map(|Cursor(bytes)| URL_SAFE_NO_PAD.encode(bytes));
        Self { data: page.items.into_iter().map(out).collect(), iterator, prev_iterator: None, done }
    }

    /// Of a list that was read whole, by the id of each item.
    pub(super) fn part_of(all: Vec<T>, params: &Params, id: impl Fn(&T) -> &str) -> Result<Self, ApiError> {
        let (limit, iterator) = (params.limit()?.get(), params.one("iterator"));
        let (is_back, from) = match iterator.map(|text| text.strip_prefix('-').map_or((false, text), |id| (true, id))) {
            None => (false, 0),
            Some((is_back, name)) => {
                let place = all.iter().position(|item| id(item) == name).ok_or_else(bad_iterator)?;
                (is_back, if is_back { place } else { place + 1 })
            }
        };
        let (start, end) =
            if is_back { (from.saturating_sub(limit), from) } else { (from, (from + limit).min(all.len())) };
        let done = if is_back { start == 0 } else { end == all.len() };
        let data: Vec<_> = all.into_iter().take(end).skip(start).collect();
        let iterator = data.last().map(|item| id(item).to_owned());
        let prev_iterator = data.first().map(|item| format!("-{}", id(item)));
        Ok(Self { data, iterator, prev_iterator, done })
    }
}
