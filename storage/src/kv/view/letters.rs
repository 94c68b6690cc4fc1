//! Dead letters, from the newest position of each endpoint.

use bytes::Bytes;
use postrider_core::{DeadLetter, DeliveryId, EndpointId, Generation, Seq};

use super::{
    PASSED_OVER_MAX, View,
    pages::{self, From},
};
use crate::{
    Cursor, DeadLetterQuery, Page, PageRequest, StoreError,
    kv::{
        Direction, Partition,
        keys::{self, ID_BYTES, Key, table},
        rows::{self, QueueRow},
    },
};

/// Endpoint and position.
const CURSOR: usize = ID_BYTES + size_of::<Seq>();

impl View<'_> {
    pub(in crate::kv) fn dead_letter(self, delivery: DeliveryId) -> Result<Option<DeadLetter>, StoreError> {
        let letter = self.value(&Key::DeadLetter(delivery))?.as_deref().map(rows::letter).transpose()?;
        let kept_from = self.kept_from(delivery.endpoint)?;
        Ok(letter.filter(|letter| kept_from.is_some_and(|kept_from| letter.last.generation >= kept_from)))
    }

    /// Letters of earlier generations are dead with their queue, though their rows may not be purged yet; without an
    /// endpoint, all are.
    fn kept_from(self, endpoint: EndpointId) -> Result<Option<Generation>, StoreError> {
        Ok(self.get::<QueueRow>(&Key::Queue(endpoint))?.map(|queue| queue.kept_from))
    }

    pub(in crate::kv) fn dead_letters(
        self,
        query: &DeadLetterQuery,
        page: &PageRequest,
    ) -> Result<Page<DeadLetter>, StoreError> {
        let after: Option<&[u8; CURSOR]> = match pages::from(page) {
            From::Start => None,
            From::After(cursor) => Some(cursor),
            From::Nowhere => return Ok(Page::default()),
        };
        let direction = if query.oldest_first { Direction::Forward } else { Direction::Backward };
        let is_reached = |endpoint: &EndpointId| after.is_none_or(|after| after.starts_with(&endpoint.to_bytes()));
        let at_once = page.limit.saturating_add(1);
        let (mut items, mut passed_over, mut last) = (Vec::new(), 0, None::<Bytes>);
        for endpoint in query.endpoints.iter().skip_while(|endpoint| !is_reached(endpoint)) {
            let Some(kept_from) = self.kept_from(*endpoint)? else { continue };
            let endpoint = endpoint.to_bytes();
            let prefix = keys::under(table::DEAD_LETTER, endpoint);
            let (mut start, mut end) = (prefix.clone(), keys::end_of(&prefix));
            if let Some(after) = after.filter(|after| after.starts_with(&endpoint)) {
                let after = [&[table::DEAD_LETTER][..], after].concat();
                match direction {
                    Direction::Forward => start = keys::after(&after),
                    Direction::Backward => end = after,
                }
            }
            loop {
                let rows = self.directed(Partition::LASTING, &start, &end, direction, at_once)?;
                for (key, value) in &rows {
                    let letter = rows::letter(value)?;
                    let wanted = letter.last.generation >= kept_from
                        && query.before.is_none_or(|before| letter.dead_at < before)
                        && query.after.is_none_or(|after| after < letter.dead_at);
                    match wanted {
                        true if items.len() < page.limit.get() => items.push(letter),
                        false if passed_over < PASSED_OVER_MAX => passed_over += 1,
                        true | false => return Ok(Page { items, next: last.map(Cursor) }),
                    }
                    last = Some(key.slice(1..));
                }
                match rows.last() {
                    Some((key, _)) if rows.len() == at_once.get() => match direction {
                        Direction::Forward => start = keys::after(key),
                        Direction::Backward => end = key.to_vec(),
                    },
                    Some(_) | None => break,
                }
            }
        }
        Ok(Page { items, next: None })
    }
}
