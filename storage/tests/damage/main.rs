//! Files that rot, or that somebody removes: refused with words, or harmless. What was acknowledged is never lost in silence.
//!
//! `POSTRIDER_LONG=1` tries many more places; each prints its seed:
//! `POSTRIDER_SEED=… cargo test -p postrider-storage --features testing --test damage`.

mod files;
mod journals;
mod salvage;
mod written;
