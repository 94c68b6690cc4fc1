//! How urgent an event is: a higher class goes first at an endpoint, wherever order leaves a choice.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// How urgent an event is. Order is kept whatever it says: it chooses between deliveries of which none must wait for the
/// other. A class that always has something to send leaves nothing to those below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Priority {
    /// Before all others.
    High,
    /// Unless something else is said.
    #[default]
    Normal,
    /// When nothing else can be sent.
    Low,
}

impl Priority {
    /// The most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}

/// One of something for each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerPriority<T>([T; 3]);

impl<T> PerPriority<T> {
    /// What `make` makes for each.
    pub fn from_fn(make: impl FnMut(Priority) -> T) -> Self {
        Self(Priority::ALL.map(make))
    }

    /// Each class and what it has, the most urgent first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Priority, &T)> {
        Priority::ALL.into_iter().zip(&self.0)
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (Priority, &mut T)> {
        Priority::ALL.into_iter().zip(&mut self.0)
    }
}

impl<T> Index<Priority> for PerPriority<T> {
    type Output = T;

    fn index(&self, priority: Priority) -> &T {
        &self.0[priority as usize]
    }
}

impl<T> IndexMut<Priority> for PerPriority<T> {
    fn index_mut(&mut self, priority: Priority) -> &mut T {
        &mut self.0[priority as usize]
    }
}
