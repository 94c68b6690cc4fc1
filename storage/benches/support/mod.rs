//! What the benches publish to: an application, its endpoints, and deliveries that end with the first attempt.

use std::{sync::Arc, time::Duration};

use postrider_core::{
    Application, ApplicationId, ApplicationSpec, Attempt, AttemptId, Delivery, DeliveryPolicy, Endpoint, EndpointId,
    EndpointSpec, EndpointStatus, Generation, OrganisationId, Outcome, SplitMix, Step, Then, Timestamp, Transition,
    Write,
};

pub(crate) type Failed = Box<dyn std::error::Error>;

/// When everything begins.
pub(crate) const BEGAN: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

pub(crate) fn application(dice: &mut SplitMix) -> Application {
    Application {
        id: ApplicationId::new(BEGAN, dice),
        organisation: OrganisationId::DEFAULT,
        spec: ApplicationSpec::new("bench"),
        created_at: BEGAN,
        updated_at: BEGAN,
        revision: 1,
    }
}

pub(crate) fn endpoint(
    application: &Application,
    policy: DeliveryPolicy,
    dice: &mut SplitMix,
) -> Result<Arc<Endpoint>, Failed> {
    let spec = EndpointSpec::new("https://receiver.example/hook");
    Ok(Arc::new(Endpoint {
        id: EndpointId::new(BEGAN, dice),
        application: application.id,
        target: spec.validate()?,
        spec,
        policy,
        secrets: Vec::new(),
        status: EndpointStatus::Active,
        created_at: BEGAN,
        updated_at: BEGAN,
        revision: 1,
        generation: Generation(0),
        granted: None,
    }))
}

/// The end of a delivery by an attempt at this time.
pub(crate) fn success(before: Delivery, now: Timestamp, dice: &mut SplitMix) -> Write {
    let attempt = Attempt {
        id: AttemptId::new(now, dice),
        number: before.next_attempt(),
        url: Default::default(),
        started: now,
        took: Duration::from_millis(12),
        outcome: Outcome::Success { status: 200 },
        response: b"ok".as_slice().into(),
        then: Then::Delivered,
    };
    Write::Outcome(Box::new(Transition { before, after: None, step: Step::Attempted(attempt), dead: None }))
}
