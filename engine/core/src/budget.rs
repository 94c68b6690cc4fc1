//! Bounds the payload bytes that wait in memory: over the budget, an event is left to the store and read again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A number of bytes, shared by everything that holds payloads. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct ByteBudget {
    left: Arc<AtomicUsize>,
}

impl ByteBudget {
    /// So many bytes in all.
    pub fn new(bytes: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// Takes `bytes`, if so many are left.
    pub fn lease(&self, bytes: usize) -> Option<Lease> {
        let take = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Lease { from: Some(Arc::clone(&self.left)), bytes })
    }

    /// Bytes that nobody holds.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

/// Bytes taken out of a [`ByteBudget`], given back on drop. The default one holds none.
#[derive(Debug, Default)]
pub struct Lease {
    from: Option<Arc<AtomicUsize>>,
    bytes: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(from) = &self.from {
            from.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }
}

/// A copy holds nothing: what was leased is given back once.
impl Clone for Lease {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Events are equal whoever pays for them.
impl PartialEq for Lease {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lease {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_gives_back_what_it_took_once() {
        let budget = ByteBudget::new(100);
        let lease = budget.lease(60).expect("60 of 100 are left");
        assert!(budget.lease(41).is_none(), "40 are left");
        drop(lease.clone());
        assert_eq!(budget.left(), 40, "a copy holds nothing");
        drop(lease);
        assert_eq!(budget.left(), 100);
    }
}
