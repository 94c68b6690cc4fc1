//! The records of applications and endpoints, and what a restart must not forgive of an endpoint.

use std::time::Duration;

use postrider_core::{
    Application, BreakerState, Endpoint, PerPriority, Priority, Proof, Rate, SchemaCheck, Seq, SoftState, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    StoreError,
    kv::codec::{decode_later, decode_more, decode_with_more, encode_more, encode_with_more},
};

/// What not every application has: behind its record, only if there is any of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ApplicationMore {
    schema_check: Option<SchemaCheck>,
}

/// What came later: behind [`ApplicationMore`], only if there is any of it, so that records without it stay as they are.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ApplicationLater {
    payload_kept: Option<Duration>,
}

/// Appends an application's record.
pub(in crate::kv) fn encode_application(application: &Application, out: &mut Vec<u8>) {
    let more = ApplicationMore { schema_check: application.spec.schema_check };
    let later = ApplicationLater { payload_kept: application.spec.payload_kept };
    if later == ApplicationLater::default() {
        encode_more(application, &more, out);
    } else {
        encode_with_more(application, &(more, later), &[], out);
    }
}

/// An application's record.
pub(in crate::kv) fn application(value: &[u8]) -> Result<Application, StoreError> {
    let (mut application, more, tail) = decode_with_more::<Application, ApplicationMore>(value)?;
    let later: ApplicationLater = decode_later(tail)?;
    (application.spec.schema_check, application.spec.payload_kept) = (more.schema_check, later.payload_kept);
    Ok(application)
}

/// What not every endpoint has: behind its record, only if there is any of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct EndpointMore {
    proof: Proof,
    granted: Option<Rate>,
}

/// What came later: behind [`EndpointMore`], only if there is any of it, so that records without it stay as they are.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct EndpointLater {
    /// None is 1.
    version: Option<u16>,
}

/// Appends an endpoint's record.
pub(in crate::kv) fn encode_endpoint(endpoint: &Endpoint, out: &mut Vec<u8>) {
    let more = EndpointMore { proof: endpoint.spec.proof, granted: endpoint.granted };
    let later = EndpointLater { version: Some(endpoint.spec.version).filter(|version| *version != 1) };
    if later == EndpointLater::default() {
        encode_more(endpoint, &more, out);
    } else {
        encode_with_more(endpoint, &(more, later), &[], out);
    }
}

/// An endpoint's record.
pub(in crate::kv) fn endpoint(value: &[u8]) -> Result<Endpoint, StoreError> {
    let (mut endpoint, more, tail) = decode_with_more::<Endpoint, EndpointMore>(value)?;
    let later: EndpointLater = decode_later(tail)?;
    (endpoint.spec.proof, endpoint.granted) = (more.proof, more.granted);
    endpoint.spec.version = later.version.unwrap_or(1);
    Ok(endpoint)
}

/// What a restart must not forgive of an endpoint.
#[derive(Serialize, Deserialize)]
struct SoftRow {
    breaker: BreakerState,
    throttled_until: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    /// Of the normal class.
    head: Seq,
    oldest: Option<Timestamp>,
}

/// The heads of the other classes: behind the row, once there was something of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OtherHeads {
    high: Seq,
    low: Seq,
}

/// Appends what a restart must not forgive.
pub(in crate::kv) fn encode_soft(soft: &SoftState, out: &mut Vec<u8>) {
    let SoftState { breaker, throttled_until, failing_since, heads, oldest } = *soft;
    let head = heads[Priority::Normal];
    let others = OtherHeads { high: heads[Priority::High], low: heads[Priority::Low] };
    encode_more(&SoftRow { breaker, throttled_until, failing_since, head, oldest }, &others, out);
}

/// What a restart must not forgive.
pub(in crate::kv) fn soft(value: &[u8]) -> Result<SoftState, StoreError> {
    let (SoftRow { breaker, throttled_until, failing_since, head, oldest }, others) = decode_more(value)?;
    let OtherHeads { high, low } = others;
    let heads = PerPriority::from_fn(|priority| match priority {
        Priority::High => high,
        Priority::Normal => head,
        Priority::Low => low,
    });
    Ok(SoftState { breaker, throttled_until, failing_since, heads, oldest })
}

#[cfg(test)]
mod tests;
