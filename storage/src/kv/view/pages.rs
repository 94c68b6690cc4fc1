//! Pages of records in the order of their ids, and what a cursor may be.
//!
//! A cursor is the part of a key behind the prefix of its list, so that it cannot name a row of another list, and it
//! has exactly the length of that part: any other one is not ours, and its page is empty.

use bytes::Bytes;
use postrider_core::Endpoint;

use super::View;
use crate::{
    Cursor, Page, PageRequest, Routed, StoreError,
    kv::{
        Partition,
        keys::{self, ID_BYTES, Key, table},
        rows,
    },
};

/// From where a page goes on.
pub(super) enum From<'p, const N: usize> {
    Start,
    After(&'p [u8; N]),
    /// The cursor is none of ours.
    Nowhere,
}

/// From where a page of a list goes on whose cursors have `N` bytes.
pub(super) fn from<const N: usize>(page: &PageRequest) -> From<'_, N> {
    match page.after.as_ref().map(|Cursor(bytes)| <&[u8; N]>::try_from(&bytes[..])) {
        None => From::Start,
        Some(Ok(after)) => From::After(after),
        Some(Err(_)) => From::Nowhere,
    }
}

impl View<'_> {
    pub(in crate::kv) fn applications(self, page: &PageRequest) -> Result<Page<Routed>, StoreError> {
        let Page { items, next } = self.records(table::APPLICATION, page, rows::application)?;
        let routed = items.into_iter().map(|application| {
            let routing = self.get(&Key::Routing(application.id))?.unwrap_or_default();
            Ok(Routed { application, routing })
        });
        Ok(Page { items: routed.collect::<Result<_, StoreError>>()?, next })
    }

    pub(in crate::kv) fn endpoints(self, page: &PageRequest) -> Result<Page<Endpoint>, StoreError> {
        self.records(table::ENDPOINT, page, rows::endpoint)
    }

    fn records<T>(
        self,
        table: u8,
        page: &PageRequest,
        read: impl Fn(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let prefix = keys::all(table);
        let start = match from::<ID_BYTES>(page) {
            From::Start => prefix.clone(),
            From::After(id) => keys::after(&keys::under(table, *id)),
            From::Nowhere => return Ok(Page::default()),
        };
        let ahead = page.limit.saturating_add(1);
        let mut rows = self.scan(Partition::LASTING, &start, &keys::end_of(&prefix), ahead)?;
        let has_more = rows.len() > page.limit.get();
        rows.truncate(page.limit.get());
        let next = rows.last().filter(|_| has_more).map(|(key, _)| Cursor(key.slice(prefix.len()..)));
        let items = rows.iter().map(|(_, value): &(Bytes, Bytes)| read(value)).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }
}
