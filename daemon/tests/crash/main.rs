//! A real daemon that is killed, stopped, starved: whatever was acknowledged arrives, in order.
//!
//! `CRASH_ROUNDS` kills more often than five times; `CRASH_REPLAYED` messages are replayed.

mod daemon;
mod kill;
mod leave;
mod observers;
mod receiver;
mod replay;
mod space;
mod stop;

type Failed = Box<dyn std::error::Error + Send + Sync>;
