//! Decides what one endpoint does next.

mod command;
mod input;

pub use command::{AttemptPlan, Command, CommandId, LoadId};
pub use input::{Ended, Finished, Input, Moved, Nudge, Unreadable};
