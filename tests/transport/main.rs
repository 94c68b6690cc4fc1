//! The transport over real loopback.
fn main() {}
