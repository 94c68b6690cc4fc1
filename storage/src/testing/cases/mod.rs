//! What every backend must do, one sentence a case, by topic. Each gets an opener for a medium of its own.

pub mod accept;
pub mod aged;
pub mod begun;
pub mod cursors;
pub mod documents;
pub mod full;
pub mod keys;
pub mod lanes;
pub mod lists;
pub mod of_event;
pub mod outcomes;
pub mod paging;
pub mod priority;
pub mod purge;
pub mod records;
pub mod redrive;
pub mod replay;
pub mod resend;
pub mod retention;
pub mod set_back;
pub mod wakes;
