//! What this process asks of the operating system.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that are open beside connections to endpoints: the store's, listeners, connections to the API.
const OTHER_FILES: u64 = 1024;

/// Refuses huge pages. One is zeroed as a whole when it is first touched, which made deliveries up to twice as dear,
/// and erratic. The allocator is built not to ask for them; this is for systems that hand them out unasked.
pub(crate) fn refuse_huge_pages() {
    #[cfg(target_os = "linux")]
    // A kernel that does not know the request has no huge pages to refuse.
    let _unknown = rustix::thread::disable_transparent_huge_pages(true);
}

/// Raises the number of files that may be open as far as is allowed without privileges, because many systems begin
/// with 1,024 and each request in flight needs one.
pub(crate) fn raise_open_files(in_flight_requests: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, "could not raise the number of files that may be open");
    }
    // No number means no limit.
    let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if open_files < in_flight_requests.saturating_add(OTHER_FILES) {
        warn!(
            open_files,
            in_flight_requests,
            "fewer files may be open than requests in flight need: raise `ulimit -n`, or lower limits.in_flight_requests"
        );
    }
}
