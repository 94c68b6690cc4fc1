//! The shell obeys the machine: committer, slots, supervision, stall, wakes, shutdown. Real engine, paused time, scripted
//! receivers; stores in memory and on disk, and stores that fail on purpose.

mod answers;
mod begun;
mod bounds;
mod breaker;
mod counting;
mod crowd;
mod delivering;
mod disabling;
mod ending;
mod expired_tokens;
mod expiring;
mod fairness;
mod fanout;
mod hostile;
mod load;
mod many;
mod moved;
mod observers;
mod operational;
mod order;
mod proofs;
mod publishing;
mod reading;
mod records;
mod retention;
mod sendable;
mod stalling;
mod support;
mod tasks;
mod timing;
