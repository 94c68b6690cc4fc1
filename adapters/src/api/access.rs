//! What a route asks of a portal token that may not do all.

use axum::http::Method;

use super::error::ApiError;
use crate::token::{Access, Capability};

/// Routes that have messages sent again, by how they end.
const ATTEMPTS: [&str; 5] = ["resend", "recover", "replay-missing", "bulk-replay", "redrive"];

/// Whether a token may use this method of the route with this path. Whatever changes something and is not named here
/// takes the right to manage endpoints.
pub(super) fn check(access: Access, method: &Method, path: &str) -> Result<(), ApiError> {
    let reads = [Method::GET, Method::HEAD].contains(method);
    if (access.is_read_only() && !reads) || !access.has(needed(reads, path)) {
        return Err(ApiError::forbidden());
    }
    Ok(())
}

fn needed(reads: bool, path: &str) -> Capability {
    match (reads, path.rsplit('/').next().unwrap_or_default()) {
        (true, "secret") => Capability::ViewEndpointSecret,
        (true, _) => Capability::ViewBase,
        // It only asks.
        (false, "active") => Capability::ViewBase,
        (false, "rotate") => Capability::ManageEndpointSecret,
        (false, last) if ATTEMPTS.contains(&last) => Capability::CreateAttempts,
        (false, _) => Capability::ManageEndpoint,
    }
}
