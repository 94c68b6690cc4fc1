//! The store in memory: for tests, and for those who need no durability.

use std::sync::Arc;

use async_trait::async_trait;

use super::{KvStore, MemoryKv};
use crate::{OpenStore, Store, StoreError};

/// A store in memory, and its own opener. Cheap to clone; clones share their rows, and are one store.
pub type MemoryStore = KvStore<MemoryKv>;

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::over(MemoryKv::default()).expect("there is nothing in an empty map that could not be read")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// Opens over the same rows: positions and ids go on where they were, and nothing else is remembered.
#[async_trait]
impl OpenStore for MemoryStore {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.reopen()?;
        Ok(Arc::new(self.clone()))
    }
}
