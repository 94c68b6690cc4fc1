//! Applications and endpoints: made, changed, raced for, renamed, inherited from, and seen by nobody else.

use std::time::Duration;

use postrider::{
    ApplicationError, ApplicationSpec, BreakerSetting, CustomHeader, DeliverySettings, EndpointDraft, EndpointError,
    EndpointStatus, Engine, EventTypeError, EventTypeSpec, ListRequest, OnExhausted, Order, OrderingMode,
    OrganisationId, RetryPolicy, TargetRules,
    storage::MemoryStore,
    testing::{Reply, ScriptedTransport},
};
use tokio::time::sleep;

use crate::support::{Failed, Knobbed, Knobs, always_ok, event, hook, notice, resumed, start};

#[tokio::test(start_paused = true)]
async fn upserts_of_one_uid_at_once_both_succeed() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), hook()).await?;
    let endpoints = engine.endpoints("acme");
    let (one, other) = tokio::join!(endpoints.upsert("new", hook()), endpoints.upsert("new", hook()));
    assert_eq!(one?.id, other?.id, "safe to call at every start");
    let applications = engine.applications();
    let (one, other) = tokio::join!(
        applications.upsert("new", ApplicationSpec::new("New")),
        applications.upsert("new", ApplicationSpec::new("New"))
    );
    assert_eq!(one?.id, other?.id);
    Ok(())
}

/// An endpoint that was shown or logged as JSON gave its signing secret away, and the headers that let us in.
#[tokio::test(start_paused = true)]
async fn an_endpoint_as_json_holds_no_secret() -> Result<(), Failed> {
    let header = |name: &str, value: &str| CustomHeader { name: name.into(), value: value.into() };
    let mut spec = hook();
    spec.headers = vec![header("Authorization", "Bearer open-sesame"), header("x-api-key", "open-sesame")];
    spec.headers.push(header("x-tenant", "acme"));
    let engine = start(MemoryStore::new(), &always_ok(), spec).await?;
    engine.endpoints("acme").rotate_secret("hook", None, Duration::from_secs(60)).await?;
    let endpoint = engine.endpoints("acme").get("hook")?;
    assert_eq!(endpoint.secrets.len(), 2, "one in its grace period");
    let shown = [serde_json::to_string(&*endpoint)?, format!("{endpoint:?}")];
    for shown in &shown {
        assert!(!shown.contains("open-sesame"), "{shown}");
        for secret in &endpoint.secrets {
            let secret = secret.secret.reveal();
            assert!(!shown.contains(&*secret) && !shown.contains(secret.trim_start_matches("whsec_")), "{shown}");
        }
    }
    assert!(shown[0].contains(r#"{"name":"x-tenant","value":"acme"}"#), "{}", shown[0]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_change_is_lost_when_many_change_one_endpoint() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), hook()).await?;
    let endpoints = engine.endpoints("acme");
    let add = |name: &'static str| {
        let change = move |spec: &mut postrider::EndpointSpec| spec.event_types.push(name.into());
        endpoints.update("hook", change)
    };
    let (a, b, c) = tokio::join!(add("a"), add("b"), add("c"));
    a?;
    b?;
    c?;
    let mut types = endpoints.get("hook")?.spec.event_types.clone();
    types.sort();
    assert_eq!(types.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "c"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_uid_that_was_given_up_is_free_and_names_nobody() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), hook()).await?;
    let endpoints = engine.endpoints("acme");
    endpoints.update("hook", |spec| spec.uid = Some("renamed".into())).await?;
    assert!(endpoints.get("hook").is_err());
    let other = endpoints.upsert("hook", hook().event_types(["other"])).await?;
    assert_ne!(other.id, endpoints.get("renamed")?.id);
    let taken = endpoints.update("hook", |spec| spec.uid = Some("renamed".into())).await;
    assert!(matches!(taken, Err(EndpointError::UidTaken)), "{taken:?}");
    endpoints.delete("renamed").await?;
    endpoints.update("hook", |spec| spec.uid = Some("renamed".into())).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_of_another_tenant_can_be_named() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), hook()).await?;
    let receipt = engine.publish("acme", event("1")).await?;
    let (acme, endpoint) = (engine.applications().get("acme")?.id, engine.endpoints("acme").get("hook")?.id);
    let stranger = engine.organisation("org_23rb8YdGqMT0qIzpgGwdXfHirMv".parse()?);
    assert!(stranger.applications().get(acme).is_err());
    assert!(stranger.endpoints(acme).get(endpoint).is_err());
    assert!(stranger.events(acme).get(receipt.event).await.is_err());
    assert!(stranger.deliveries(acme).of_event(receipt.event, &Default::default()).await.is_err());
    assert!(stranger.publish(acme, event("1")).await.is_err());
    assert!(stranger.applications().list(&ListRequest::default()).items.is_empty());
    // Nor of another application of the same tenant.
    engine.applications().upsert("other", ApplicationSpec::new("Other")).await?;
    assert!(engine.endpoints("other").get(endpoint).is_err());
    assert!(engine.events("other").get(receipt.event).await.is_err());
    assert!(engine.deliveries("other").resend(receipt.event, endpoint).await.is_err());
    // A uid is free in every organisation.
    stranger.applications().upsert("acme", ApplicationSpec::new("Mine")).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn settings_are_inherited_part_by_part() -> Result<(), Failed> {
    let mut engine_wide = DeliverySettings::default();
    engine_wide.timeout = Some(Duration::from_secs(7));
    engine_wide.retry = Some(RetryPolicy::delays([Duration::from_secs(1)]));
    let engine = Engine::builder(MemoryStore::new(), always_ok()).defaults(engine_wide).start().await?;
    let mut of_application = DeliverySettings::default();
    of_application.retry = Some(RetryPolicy::delays([Duration::from_secs(2)]));
    of_application.breaker = BreakerSetting::Off;
    let acme = ApplicationSpec::new("Acme").delivery(of_application);
    engine.applications().upsert("acme", acme).await?;
    let own = hook().ordering(OrderingMode::Fifo(OnExhausted::Hold));
    let policy = engine.endpoints("acme").upsert("hook", own).await?.policy.clone();
    assert_eq!(policy.timeout, Duration::from_secs(7));
    assert_eq!(policy.retry, RetryPolicy::delays([Duration::from_secs(2)]));
    assert_eq!(policy.breaker, None);
    assert_eq!(policy.ordering, OrderingMode::Fifo(OnExhausted::Hold));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ordering_changes_only_with_an_empty_queue() -> Result<(), Failed> {
    let receiver = ScriptedTransport::new([Reply::Status(503)]);
    let spec = hook().retry(RetryPolicy::delays([Duration::from_secs(60)]));
    let engine = start(MemoryStore::new(), &receiver, spec.clone()).await?;
    engine.publish("acme", event("1")).await?;
    receiver.wait_for(1).await;
    let fifo = |old: &mut postrider::EndpointSpec| {
        old.delivery.ordering = Some(OrderingMode::Fifo(OnExhausted::Continue));
    };
    let refused = engine.endpoints("acme").update("hook", fifo).await;
    assert!(matches!(refused, Err(EndpointError::QueueNotEmpty)), "{refused:?}");
    receiver.wait_for(2).await;
    sleep(Duration::from_secs(1)).await;
    engine.endpoints("acme").update("hook", fifo).await?;
    engine.publish("acme", event("2")).await?;
    receiver.wait_for(3).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_url_that_may_not_be_called_is_refused_when_the_endpoint_is_made() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), hook()).await?;
    let endpoints = engine.endpoints("acme");
    for url in ["http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "ftp://x/"] {
        let refused = endpoints.create(postrider::EndpointSpec::new(url)).await;
        assert!(matches!(refused, Err(EndpointError::Invalid(_))), "{url}: {refused:?}");
        let moved = endpoints.update("hook", |spec| spec.url = url.into()).await;
        assert!(matches!(moved, Err(EndpointError::Invalid(_))), "{url}: {moved:?}");
    }
    let builder = Engine::builder(MemoryStore::new(), always_ok()).targets(TargetRules::dev());
    let dev = builder.start().await?;
    dev.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    dev.endpoints("acme").create(postrider::EndpointSpec::new("http://127.0.0.1:3000/")).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_disabled_endpoint_receives_nothing_new_until_it_is_enabled() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let off = EndpointDraft { status: engine.endpoints("acme").disable("hook").await?.status, spec: hook() };
    engine.endpoints("acme").create(off).await?;
    assert_eq!(engine.publish("acme", event("1")).await?.deliveries, 0);
    assert_eq!(engine.endpoints("acme").enable("hook").await?.status, EndpointStatus::Active);
    assert_eq!(engine.publish("acme", event("2")).await?.deliveries, 1);
    assert_eq!(receiver.wait_for(1).await[0].body, "2");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_410_disables_the_endpoint_and_says_so() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &ScriptedTransport::new([410_u16]), hook()).await?;
    let mut notices = engine.notices();
    engine.publish("acme", event("1")).await?;
    let reason = notice(&mut notices, |notice| match notice {
        postrider::Notice::EndpointDisabled { reason, .. } => Some(reason),
        _ => None,
    })
    .await?;
    assert_eq!(reason, postrider::DisableReason::Gone);
    assert_eq!(engine.endpoints("acme").get("hook")?.status, EndpointStatus::Disabled(reason));
    assert_eq!(engine.publish("acme", event("2")).await?.deliveries, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn lists_run_in_both_directions() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), hook()).await?;
    for n in 1..=4 {
        sleep(Duration::from_millis(5)).await;
        engine.endpoints("acme").upsert(format!("more-{n}"), hook()).await?;
    }
    let mut request = ListRequest::first(Order::Descending, std::num::NonZeroUsize::MIN.saturating_add(2));
    let newest = engine.endpoints("acme").list(&request)?;
    assert!(!newest.is_last);
    assert_eq!(newest.items[0].spec.uid.as_ref().map(postrider::Uid::as_str), Some("more-4"));
    request.part = postrider::Part::After(newest.items[2].id);
    let rest = engine.endpoints("acme").list(&request)?;
    assert_eq!((rest.items.len(), rest.is_last), (2, true));
    request.part = postrider::Part::Before(rest.items[0].id);
    assert_eq!(engine.endpoints("acme").list(&request)?.items, newest.items);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_application_has_at_most_so_many_endpoints() -> Result<(), Failed> {
    let one = std::num::NonZeroUsize::MIN;
    let builder = Engine::builder(MemoryStore::new(), always_ok());
    let engine = builder.limits(|limits| limits.endpoints_per_application = one).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    engine.endpoints("acme").create(hook()).await?;
    let refused = engine.endpoints("acme").create(hook()).await;
    assert!(matches!(refused, Err(EndpointError::TooManyEndpoints { endpoints_max: 1 })), "{refused:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_organisation_has_at_most_so_many_applications_and_event_types() -> Result<(), Failed> {
    let two = std::num::NonZeroUsize::MIN.saturating_add(1);
    let builder = Engine::builder(MemoryStore::new(), always_ok()).limits(|limits| {
        (limits.applications_per_organisation, limits.event_types_per_organisation) = (Some(two), two);
    });
    let engine = builder.start().await?;
    for uid in ["a", "b", "b"] {
        engine.applications().upsert(uid, ApplicationSpec::new(uid)).await?;
        engine.event_types().upsert(uid, EventTypeSpec::new(uid)).await?;
    }
    let refused = engine.applications().create(ApplicationSpec::new("c")).await;
    assert!(matches!(refused, Err(ApplicationError::TooManyApplications { applications_max: 2 })), "{refused:?}");
    let refused = engine.event_types().create("c", EventTypeSpec::new("c")).await;
    assert!(matches!(refused, Err(EventTypeError::TooManyEventTypes { event_types_max: 2 })), "{refused:?}");
    let more = [("a".into(), EventTypeSpec::new("anew")), ("c".into(), EventTypeSpec::new("c"))].into();
    let refused = engine.event_types().upsert_all(&more).await;
    assert!(matches!(refused, Err(EventTypeError::TooManyEventTypes { .. })), "{refused:?}");
    assert_eq!(&*engine.event_types().get("a")?.spec.description, "a", "none of them was changed");
    engine.applications().delete("a").await?;
    engine.event_types().delete("a").await?;
    engine.applications().create(ApplicationSpec::new("c")).await?;
    engine.event_types().create("c", EventTypeSpec::new("c")).await?;
    let other = engine.organisation("org_23rb8YdGqMT0qIzpgGwdXfHirMv".parse()?);
    other.applications().create(ApplicationSpec::new("theirs")).await?;
    Ok(())
}

/// The answer to a change was lost: it was stored, but the engine did not know, and planned every publish of the
/// application with an old routing version, for ever.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_configuration_change_stops_no_publish() -> Result<(), Failed> {
    let receiver = always_ok();
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &receiver, hook()).await?;
    let mut notices = engine.notices();
    Knobs::set(&store.knobs.loses);
    assert!(engine.endpoints("acme").upsert("second", hook()).await.is_err(), "its answer was lost");
    notice(&mut notices, resumed).await?;
    assert!(engine.endpoints("acme").get("second").is_ok(), "it is stored, and known");
    assert_eq!(engine.publish("acme", event("1")).await?.deliveries, 2);
    receiver.wait_for(2).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_publish_is_planned_for_the_endpoints_that_stand_when_it_is_committed() -> Result<(), Failed> {
    let receiver = always_ok();
    let engine = start(MemoryStore::new(), &receiver, hook()).await?;
    let (endpoints, name) = (engine.endpoints("acme"), ApplicationSpec::new("Acme & Sons"));
    // All in one group: the publish was planned for one endpoint, and is planned again for two.
    let (made, renamed, published) =
        tokio::join!(endpoints.upsert("second", hook()), engine.applications().upsert("acme", name), async {
            tokio::task::yield_now().await;
            engine.publish("acme", event("1")).await
        });
    made?;
    renamed?;
    let deliveries = published?.deliveries;
    let later = engine.publish("acme", event("2")).await?.deliveries;
    assert_eq!(later, 2);
    receiver.wait_for(deliveries + later).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_application_is_deleted_with_all_it_has_and_its_uid_is_free() -> Result<(), Failed> {
    let engine = start(MemoryStore::new(), &always_ok(), hook()).await?;
    let old = engine.applications().get("acme")?.id;
    engine.applications().delete("acme").await?;
    assert!(matches!(engine.applications().delete("acme").await, Err(ApplicationError::NoSuchApplication)));
    assert!(engine.publish(old, event("1")).await.is_err());
    let again = engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    assert_ne!(again.id, old);
    assert_eq!(again.organisation, OrganisationId::DEFAULT);
    assert!(engine.endpoints("acme").list(&ListRequest::default())?.items.is_empty());
    Ok(())
}

/// A limit of one endpoint, four made at once: there were four.
#[tokio::test(start_paused = true)]
async fn no_limit_is_passed_by_those_who_come_at_once() -> Result<(), Failed> {
    let three = std::num::NonZeroUsize::MIN.saturating_add(2);
    let builder = Engine::builder(MemoryStore::new(), always_ok()).seed(7).limits(|limits| {
        limits.endpoints_per_application = three;
        (limits.applications_per_organisation, limits.event_types_per_organisation) = (Some(three), three);
    });
    let engine = builder.start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let mut making = tokio::task::JoinSet::new();
    for n in 0..10 {
        let (engine, name) = (engine.clone(), format!("n{n}"));
        making.spawn(async move {
            let all = [(name.clone().into(), EventTypeSpec::new("more"))].into();
            let organisation = engine.organisation("org_23rb8YdGqMT0qIzpgGwdXfHirMv".parse().expect("it is one"));
            tokio::join!(
                async { engine.endpoints("acme").create(hook()).await.is_ok() },
                async { engine.applications().create(ApplicationSpec::new("more")).await.is_ok() },
                async { organisation.event_types().create(name.clone(), EventTypeSpec::new("more")).await.is_ok() },
                async { organisation.event_types().upsert_all(&all).await.is_ok() },
            );
        });
    }
    while making.join_next().await.is_some() {}
    let page = &ListRequest::default();
    assert_eq!(engine.endpoints("acme").list(page)?.items.len(), 3);
    assert_eq!(engine.applications().list(&ListRequest::default()).items.len(), 3);
    let organisation = engine.organisation("org_23rb8YdGqMT0qIzpgGwdXfHirMv".parse()?);
    let types =
        organisation.event_types().list(true, &ListRequest::first(Order::Ascending, std::num::NonZeroUsize::MAX));
    assert_eq!(types.items.len(), 3);
    Ok(())
}

/// Where the last place is being taken, another one waits for what becomes of it: refused only if it is made.
#[tokio::test(start_paused = true)]
async fn the_last_place_is_not_refused_for_what_is_never_made() -> Result<(), Failed> {
    let two = std::num::NonZeroUsize::MIN.saturating_add(1);
    let builder = Engine::builder(MemoryStore::new(), always_ok()).seed(7);
    let engine = builder.limits(|limits| limits.endpoints_per_application = two).start().await?;
    engine.applications().upsert("acme", ApplicationSpec::new("Acme")).await?;
    let endpoints = engine.endpoints("acme");
    endpoints.upsert("hook", hook()).await?;
    let mut taken = hook();
    taken.uid = Some("hook".into());
    let (refused, made) = tokio::join!(endpoints.create(taken), endpoints.create(hook()));
    assert!(matches!(refused, Err(EndpointError::UidTaken)), "{refused:?}");
    endpoints.delete(made?.id).await?;
    let (one, other) = tokio::join!(endpoints.upsert("new", hook()), endpoints.upsert("new", hook()));
    assert_eq!(one?.id, other?.id, "and whoever asks for the same gets it");
    Ok(())
}

/// One queue that was cut off and could not be purged, because a row of it made no sense, was tried again and again before all
/// others: what was left of every endpoint that was deleted after it stayed on the disk.
#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_be_purged_keeps_no_other() -> Result<(), Failed> {
    let store = Knobbed::new(MemoryStore::new());
    let engine = start(store.clone(), &always_ok(), hook()).await?;
    let first = engine.endpoints("acme").get("hook")?.id;
    *store.knobs.keeps_queue_of.lock().expect("nobody panics with it") = Some(first);
    let mut others = Vec::new();
    for n in 0..20 {
        sleep(Duration::from_secs(1)).await;
        others.push(engine.endpoints("acme").upsert(format!("other-{n}"), hook()).await?.id);
    }
    engine.applications().delete("acme").await?;
    sleep(Duration::from_secs(3600)).await;
    let mut purged = store.knobs.purged.lock().expect("nobody panics with it").clone();
    purged.sort_unstable();
    assert_eq!(purged, others, "each once, and the first one not");
    Ok(())
}
