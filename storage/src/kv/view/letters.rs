//! Dead letters, from the newest position of each endpoint.

use std::collections::BTreeSet;

use postrider_core::{DeadLetter, DeliveryId, EndpointId, Generation, Seq};

use super::{
    View,
    pages::{Gathered, Met, cut, direction},
};
use crate::{
    DeadLetterQuery, Page, PageRequest, StoreError,
    kv::{
        Partition, codec,
        keys::{self, Key, Suffix, table},
        rows::{self, QueueRow},
    },
};

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
        page: &PageRequest<DeliveryId>,
    ) -> Result<Page<DeadLetter, DeliveryId>, StoreError> {
        let (direction, place) = (direction(query.oldest_first, &page.part), page.part.place());
        // In order, so that a place says what lies beyond it also if its endpoint is gone.
        let mut endpoints: Vec<_> = query.endpoints.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        match (place, page.part.is_back()) {
            (Some(place), false) => endpoints.retain(|endpoint| place.endpoint <= *endpoint),
            (Some(place), true) => endpoints.retain(|endpoint| *endpoint <= place.endpoint),
            (None, _) => {}
        }
        if page.part.is_back() {
            endpoints.reverse();
        }
        let at_once = page.limit.saturating_add(1);
        let mut gathered = Gathered::new(page.limit);
        'page: for endpoint in endpoints {
            let Some(kept_from) = self.kept_from(endpoint)? else { continue };
            let prefix = keys::under(table::DEAD_LETTER, endpoint.to_bytes());
            let mut range = (prefix.clone(), keys::end_of(&prefix));
            if let Some(place) = place.filter(|place| place.endpoint == endpoint) {
                cut(&mut range, direction, &Key::DeadLetter(*place).bytes());
            }
            loop {
                let rows = self.directed(Partition::LASTING, &range.0, &range.1, direction, at_once)?;
                for (key, value) in &rows {
                    let letter = rows::letter(value)?;
                    let is_wanted = letter.last.generation >= kept_from;
                    let is_in_time = query.before.is_none_or(|before| letter.dead_at < before)
                        && query.after.is_none_or(|after| after < letter.dead_at);
                    let met = Met::new(is_in_time, is_wanted.then_some(letter));
                    let seq =
                        Suffix(&key[prefix.len()..]).u64().ok_or_else(|| codec::corrupt("its key is cut short"))?;
                    if !gathered.take(DeliveryId { endpoint, seq: Seq(seq) }, met) {
                        break 'page;
                    }
                }
                match rows.last() {
                    Some((key, _)) if rows.len() == at_once.get() => cut(&mut range, direction, key),
                    Some(_) | None => break,
                }
            }
        }
        Ok(gathered.page(&page.part))
    }
}
