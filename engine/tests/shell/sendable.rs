//! Every future of the facade can be awaited on any thread: compiled, not run.

use std::time::Duration;

use postrider::{
    ApplicationSpec, AttemptFilter, DeadLetterFilter, DeliveryId, EndpointId, EndpointSpec, Engine, Event, EventFilter,
    EventId, PageRequest, storage::MemoryStore, testing::NullTransport,
};

fn is_send<T: Send>(_: T) {}

#[test]
fn every_future_of_the_facade_is_send() {
    let _compiled = |engine: &Engine, event: EventId, endpoint: EndpointId, letter: DeliveryId| {
        is_send(Engine::builder(MemoryStore::new(), NullTransport::new()).start());
        is_send(engine.publish("acme", Event::new("t", "{}")));
        is_send(engine.organisation(postrider::OrganisationId::DEFAULT).publish_all("acme", [Event::new("t", "{}")]));
        is_send(engine.shutdown(Duration::ZERO));
        let applications = engine.applications();
        is_send(applications.create(ApplicationSpec::new("Acme")));
        is_send(applications.upsert("acme", ApplicationSpec::new("Acme")));
        is_send(applications.update("acme", |spec| spec.rate = None));
        is_send(applications.delete("acme"));
        let endpoints = engine.endpoints("acme");
        is_send(endpoints.create(EndpointSpec::new("https://example.com")));
        is_send(endpoints.upsert("hook", EndpointSpec::new("https://example.com")));
        is_send(endpoints.edit("hook", |draft| draft.spec.rate = None));
        is_send(endpoints.delete("hook"));
        is_send(endpoints.pause("hook"));
        is_send(endpoints.rotate_secret("hook", None, Duration::ZERO));
        is_send(endpoints.state("hook"));
        let events = engine.events("acme");
        is_send(events.get(event));
        is_send(events.list(EventFilter::default(), &PageRequest::default()));
        is_send(events.attempts(event, AttemptFilter::default(), &PageRequest::default()));
        let deliveries = engine.deliveries("acme");
        is_send(deliveries.of_event(event, &PageRequest::default()));
        is_send(deliveries.get(event, endpoint));
        is_send(deliveries.unfinished(endpoint, &PageRequest::default()));
        is_send(deliveries.cancel(event, endpoint));
        is_send(deliveries.resend(event, endpoint));
        is_send(deliveries.attempts(endpoint, AttemptFilter::default(), &PageRequest::default()));
        let letters = engine.dead_letters("acme");
        is_send(letters.list(&DeadLetterFilter::default(), &PageRequest::default()));
        is_send(letters.get(letter));
        is_send(letters.redrive(letter));
        is_send(letters.redrive_many(&DeadLetterFilter::default()));
        is_send(letters.purge(&DeadLetterFilter::default()));
        is_send(letters.forget(letter));
        is_send(letters.recover(endpoint, postrider::Timestamp::MAX, None));
        let tasks = engine.tasks();
        let id = postrider::TaskId::from_bytes([7; 20]);
        is_send(tasks.replay_missing("acme", endpoint, postrider::Timestamp::MAX, None));
        is_send(tasks.get(id));
        is_send(tasks.list(&postrider::TaskFilter::default(), &postrider::ListRequest::default()));
        is_send(tasks.cancel(id));
        is_send(tasks.ended(id));
        let types = engine.event_types();
        is_send(types.create("a", postrider::EventTypeSpec::default()));
        is_send(types.upsert("a", postrider::EventTypeSpec::default()));
        is_send(types.archive("a"));
        is_send(types.delete("a"));
    };
}
