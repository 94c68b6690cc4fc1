//! Lists of what is held in memory, by id, in both directions.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    ops::Bound::{Excluded, Unbounded},
};

use postrider_storage::Part;

/// In which order a list runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    #[default]
    Ascending,
    /// Newest first.
    Descending,
}

/// What to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListRequest<I> {
    /// In which order.
    pub order: Order,
    /// Which part.
    pub part: Part<I>,
    /// At most so many items.
    pub limit: NonZeroUsize,
}

impl<I> ListRequest<I> {
    /// The first `limit` in this order.
    pub const fn first(order: Order, limit: NonZeroUsize) -> Self {
        Self { order, part: Part::First, limit }
    }

    /// The same, by another kind of id.
    pub fn map<J>(self, to: impl FnOnce(I) -> J) -> ListRequest<J> {
        let Self { order, part, limit } = self;
        ListRequest { order, part: part.map(to), limit }
    }
}

impl<I> Default for ListRequest<I> {
    /// The 50 oldest.
    fn default() -> Self {
        Self::first(Order::Ascending, NonZeroUsize::MIN.saturating_add(49))
    }
}

/// Part of a list, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Nothing lies beyond, in the direction in which was looked.
    pub is_last: bool,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { items: Vec::new(), is_last: true }
    }
}

/// The part that was asked for.
pub(crate) fn part_of<I: Ord + Clone, T: Clone>(all: &BTreeMap<I, T>, request: &ListRequest<I>) -> Listing<T> {
    part_where(all, request, |_| true)
}

/// The part that was asked for, of those that are shown.
pub(crate) fn part_where<I: Ord + Clone, T: Clone>(
    all: &BTreeMap<I, T>,
    request: &ListRequest<I>,
    is_shown: impl Fn(&T) -> bool,
) -> Listing<T> {
    let shown = |(_, item): &(&I, &T)| is_shown(item);
    let upwards = |after| all.range((after, Unbounded)).filter(shown).map(|(_, item)| item);
    let downwards = |before| all.range((Unbounded, before)).rev().filter(shown).map(|(_, item)| item);
    let limit = request.limit.get();
    match (request.order, request.part.clone()) {
        (Order::Ascending, Part::First) => cut(upwards(Unbounded), limit),
        (Order::Descending, Part::First) => cut(downwards(Unbounded), limit),
        (Order::Ascending, Part::After(id)) => cut(upwards(Excluded(id)), limit),
        (Order::Descending, Part::After(id)) => cut(downwards(Excluded(id)), limit),
        (Order::Ascending, Part::Before(id)) => turned(cut(downwards(Excluded(id)), limit)),
        (Order::Descending, Part::Before(id)) => turned(cut(upwards(Excluded(id)), limit)),
        (Order::Ascending, Part::Last) => turned(cut(downwards(Unbounded), limit)),
        (Order::Descending, Part::Last) => turned(cut(upwards(Unbounded), limit)),
    }
}

fn cut<'t, T: Clone + 't>(mut found: impl Iterator<Item = &'t T>, limit: usize) -> Listing<T> {
    let items = found.by_ref().take(limit).cloned().collect();
    Listing { items, is_last: found.next().is_none() }
}

fn turned<T>(mut listing: Listing<T>) -> Listing<T> {
    listing.items.reverse();
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(order: Order, part: Part<u32>, limit: usize) -> (Vec<u32>, bool) {
        let all: BTreeMap<u32, u32> = (1..=5).map(|id| (id, id)).collect();
        let limit = NonZeroUsize::new(limit).expect("not zero");
        let listing = part_of(&all, &ListRequest { order, part, limit });
        (listing.items, listing.is_last)
    }

    #[test]
    fn a_list_runs_forward_and_back_in_both_orders() {
        assert_eq!(list(Order::Ascending, Part::First, 2), (vec![1, 2], false));
        assert_eq!(list(Order::Ascending, Part::After(2), 3), (vec![3, 4, 5], true));
        assert_eq!(list(Order::Ascending, Part::Before(4), 2), (vec![2, 3], false));
        assert_eq!(list(Order::Descending, Part::First, 2), (vec![5, 4], false));
        assert_eq!(list(Order::Descending, Part::After(4), 9), (vec![3, 2, 1], true));
        assert_eq!(list(Order::Descending, Part::Before(2), 2), (vec![4, 3], false));
        assert_eq!(list(Order::Ascending, Part::After(5), 2), (vec![], true));
        assert_eq!(list(Order::Ascending, Part::Last, 2), (vec![4, 5], false));
        assert_eq!(list(Order::Descending, Part::Last, 5), (vec![5, 4, 3, 2, 1], true));
    }
}
