//! The machine driven by hand: reads are answered when the test says so.

use std::sync::Arc;

use crate::{
    ApplicationId, DeliveryPolicy, Endpoint, EndpointId, EndpointSpec, EndpointStatus, Generation, SplitMix, Timestamp,
};

/// An endpoint as it is stored.
pub(super) fn endpoint_of(spec: EndpointSpec, now: Timestamp) -> Arc<Endpoint> {
    let mut dice = SplitMix::new(7);
    Arc::new(Endpoint {
        id: EndpointId::new(now, &mut dice),
        application: ApplicationId::new(now, &mut dice),
        target: spec.validate().expect("spec is valid"),
        policy: DeliveryPolicy::default().with(&spec.delivery),
        spec,
        secrets: vec![],
        status: EndpointStatus::Active,
        created_at: now,
        updated_at: now,
        revision: 1,
        generation: Generation(0),
    })
}
