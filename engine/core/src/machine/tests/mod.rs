//! The machine without a runtime, a clock or a store: by hand, and in a small world where every answer comes late.

pub(in crate::machine) mod by_hand;
mod model;
mod priority;
mod world;
