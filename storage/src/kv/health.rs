//! Whether a database can still be trusted: after a failed change or a panic it answers `Poisoned` until opened anew.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{StoreError, StoreErrorKind};

/// Shared by everything that uses one open database.
#[derive(Debug, Default)]
pub(super) struct Health {
    poisoned: AtomicBool,
}

/// Why nothing is tried any more.
#[derive(Debug, thiserror::Error)]
#[error("an earlier write or sync failed")]
struct Stopped;

/// A library that should not panic did.
#[derive(Debug, thiserror::Error)]
#[error("the database library panicked: {0}")]
pub(super) struct Panicked(String);

impl Health {
    /// An error if nothing may be tried any more.
    pub(super) fn check(&self, op: &'static str) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::new(StoreErrorKind::Poisoned, op, Stopped));
        }
        Ok(())
    }

    /// Reads. A failure says nothing about the next read, a panic does.
    pub(super) fn reading<T>(
        &self,
        op: &'static str,
        read: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check(op)?;
        caught(read).unwrap_or_else(|panic| {
            self.poisoned.store(true, Ordering::Release);
            Err(StoreError::new(StoreErrorKind::Poisoned, op, panic))
        })
    }

    /// Changes. Any failure leaves open what is stored.
    pub(super) fn changing<T>(
        &self,
        op: &'static str,
        change: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.reading(op, change).inspect_err(|_| self.poisoned.store(true, Ordering::Release))
    }
}

/// Does `work`, or says with which words it panicked. What `work` touched must not be trusted after that.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked(words(&*panic).to_owned()))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    panic.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("without a word")
}

#[cfg(test)]
mod tests;
