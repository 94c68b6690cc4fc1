//! x
/// x
#[macro_export]
macro_rules! check_invariant {
    ($name:ident, $holds:expr, $($message:tt)+) => {
        debug_assert!($holds, concat!(stringify!($name), ": {}"), format_args!($($message)+))
    };
}
