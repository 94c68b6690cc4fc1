//! How the endpoints of an organisation are doing, the worst first: known from memory, one application after another.
//!
//! A breaker is known here from what was stored of it since the start, or was read for its actor since then: that of an
//! endpoint that has had nothing to send is taken for closed.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use postrider_core::{Application, DisableReason, Endpoint, EndpointId, EndpointStatus, SoftState};
use postrider_storage::{PageRequest, Part};

use crate::{Listing, Organisation, inner::Inner, metrics::is_open};

/// Applications looked at before others have their turn.
const AT_ONCE: usize = 64;

/// How an endpoint is doing; the worst is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthLevel {
    /// The engine disabled it: it gets no messages until a person enables it.
    Disabled,
    /// It keeps failing: attempts stop, and it is probed.
    BreakerOpen,
    /// Its receiver has not proved that it wants anything.
    Unproven,
    /// A person disabled it.
    DisabledByPerson,
    /// A person holds it.
    Paused,
    /// Nothing is known against it.
    Well,
}

/// Where an endpoint stands among the others: by how it is doing, and by age among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HealthPlace {
    /// How it is doing.
    pub level: HealthLevel,
    /// Which one.
    pub endpoint: EndpointId,
}

/// Which endpoints to list.
#[derive(Clone, Debug)]
pub struct HealthQuery {
    /// Those of one level only, if it is given.
    pub level: Option<HealthLevel>,
    /// Which part of them.
    pub page: PageRequest<HealthPlace>,
}

/// An endpoint, and how it is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointHealth {
    /// How it is doing.
    pub level: HealthLevel,
    /// Which one.
    pub endpoint: Arc<Endpoint>,
    /// Whose.
    pub application: Arc<Application>,
}

impl EndpointHealth {
    /// Where it stands among the others.
    pub fn place(&self) -> HealthPlace {
        HealthPlace { level: self.level, endpoint: self.endpoint.id }
    }
}

impl Organisation<'_> {
    /// Endpoints of all applications, the worst first, and among equals the oldest. Reads nothing from the store.
    pub async fn endpoint_health(self, query: &HealthQuery) -> Listing<EndpointHealth> {
        let inner = self.engine;
        let mut chosen = Chosen::new(query);
        for (n, application) in inner.registry.application_ids(self.id).into_iter().enumerate() {
            if n % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            inner.registry.each_endpoint(application, |application, endpoint| {
                let place = HealthPlace { level: inner.health_level(endpoint), endpoint: endpoint.id };
                if chosen.takes(place) {
                    let (endpoint, application) = (Arc::clone(endpoint), Arc::clone(application));
                    let health = EndpointHealth { level: place.level, endpoint, application };
                    chosen.take(place, health);
                }
            });
        }
        chosen.listing()
    }
}

impl Inner {
    fn health_level(&self, endpoint: &Endpoint) -> HealthLevel {
        match endpoint.status {
            EndpointStatus::Disabled(DisableReason::Gone | DisableReason::FailingTooLong) => HealthLevel::Disabled,
            EndpointStatus::Disabled(DisableReason::ByPerson) => HealthLevel::DisabledByPerson,
            EndpointStatus::Unproven => HealthLevel::Unproven,
            EndpointStatus::Paused => HealthLevel::Paused,
            EndpointStatus::Active if self.open_breakers.has(endpoint.id) => HealthLevel::BreakerOpen,
            EndpointStatus::Active => HealthLevel::Well,
        }
    }
}

/// The part that was asked for, of those that were seen so far, and one beyond it, which says that there is more.
struct Chosen<'q> {
    query: &'q HealthQuery,
    found: BTreeMap<HealthPlace, EndpointHealth>,
}

impl<'q> Chosen<'q> {
    const fn new(query: &'q HealthQuery) -> Self {
        Self { query, found: BTreeMap::new() }
    }

    fn limit(&self) -> NonZeroUsize {
        self.query.page.limit
    }

    fn takes(&self, place: HealthPlace) -> bool {
        let lies_within = match &self.query.page.part {
            Part::First | Part::Last => true,
            Part::After(after) => *after < place,
            Part::Before(before) => place < *before,
        };
        lies_within && self.query.level.is_none_or(|level| level == place.level)
    }

    fn take(&mut self, place: HealthPlace, health: EndpointHealth) {
        self.found.insert(place, health);
        if self.found.len() > self.limit().get().saturating_add(1) {
            self.drop_furthest();
        }
    }

    fn drop_furthest(&mut self) {
        let _furthest = match self.query.page.part.is_back() {
            false => self.found.pop_last(),
            true => self.found.pop_first(),
        };
    }

    fn listing(mut self) -> Listing<EndpointHealth> {
        let is_last = self.found.len() <= self.limit().get();
        if !is_last {
            self.drop_furthest();
        }
        Listing { items: self.found.into_values().collect(), is_last }
    }
}

/// Endpoints whose breaker is not closed, as far as is known.
#[derive(Debug, Default)]
pub(crate) struct OpenBreakers(Mutex<BTreeSet<EndpointId>>);

impl OpenBreakers {
    /// This is what is stored of it.
    pub(crate) fn seen(&self, endpoint: EndpointId, soft: &SoftState) {
        match is_open(&soft.breaker) {
            true => self.lock().insert(endpoint),
            false => self.lock().remove(&endpoint),
        };
    }

    /// It was deleted.
    pub(crate) fn forget(&self, endpoint: EndpointId) {
        self.lock().remove(&endpoint);
    }

    /// Only these endpoints are there.
    pub(crate) fn retain(&self, is_there: impl Fn(EndpointId) -> bool) {
        self.lock().retain(|endpoint| is_there(*endpoint));
    }

    fn has(&self, endpoint: EndpointId) -> bool {
        self.lock().contains(&endpoint)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<EndpointId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
