//! A real daemon that is killed, stopped, starved: whatever was acknowledged arrives, in order.
//!
//! `CRASH_ROUNDS` kills more often than five times; `CRASH_REPLAYED` messages are replayed; `POSTRIDER_POWER_IMAGES` disks
//! of each of four models are made from what the daemon wrote.

mod daemon;
mod kill;
mod leave;
mod observers;
#[cfg(target_os = "linux")]
mod power;
mod receiver;
mod replay;
mod space;
mod stop;

type Failed = Box<dyn std::error::Error + Send + Sync>;
