//! Applications and event types.

use std::collections::{BTreeMap, BTreeSet};

use js_option::JsOption;
use serde_json::json;
use svix::{
    api::{ApplicationListOptions, EventTypeDeleteOptions, EventTypeListOptions},
    models::{
        ApplicationIn, ApplicationOut, ApplicationPatch, EventTypeIn, EventTypeOut, EventTypePatch, EventTypeUpsertIn,
        Ordering,
    },
};

use crate::{
    Failed, World,
    check::{all_of, fails, invalid, same},
};

fn application(name: &str, uid: &str) -> ApplicationIn {
    ApplicationIn { uid: Some(uid.to_owned()), ..ApplicationIn::new(name.to_owned()) }
}

fn uids(applications: Vec<ApplicationOut>) -> Vec<String> {
    applications.into_iter().filter_map(|application| application.uid).collect()
}

pub async fn applications(world: &World) -> Result<(), Failed> {
    let api = world.client.application();
    let plan = |plan: &str| BTreeMap::from([("plan".to_owned(), plan.to_owned())]);
    let asked = ApplicationIn { throttle_rate: Some(70), metadata: Some(plan("gold")), ..application("One", "one") };
    let made = api.create(asked, None).await?;
    same("made", (&*made.name, made.uid.as_deref(), made.throttle_rate), ("One", Some("one"), Some(70)))?;
    same("its metadata", &made.metadata, &plan("gold"))?;
    same("its times", made.created_at, made.updated_at)?;
    same("read by id", api.get(made.id.clone()).await?, made.clone())?;
    same("read by uid", api.get("one".into()).await?, made.clone())?;
    same("found", api.get_or_create(application("Other", "one"), None).await?, made.clone())?;
    fails("taken", api.create(application("Other", "one"), None).await, 409, "conflict")?;
    invalid("a bad uid", api.create(application("Other", "no blanks"), None).await, ["body", "uid"])?;
    let mut all_made = vec![made.clone()];
    for uid in ["two", "three", "four", "five"] {
        all_made.push(api.get_or_create(application(uid, uid), None).await?);
    }
    // Lists are by id; ids of the same 4 ms have no order, as Svix's have none.
    all_made.sort_by(|one, other| one.id.cmp(&other.id));
    let mut all_uids = uids(all_made);
    let listed = async |order| {
        let list = async |iterator| {
            let options = ApplicationListOptions { limit: Some(2), iterator, order, ..Default::default() };
            let page = api.list(Some(options)).await?;
            Ok((page.data, page.iterator, page.done))
        };
        all_of(list).await.map(uids)
    };
    same("list", &listed(None).await?, &all_uids)?;
    let part = async |iterator| {
        api.list(Some(ApplicationListOptions { limit: Some(2), iterator, ..Default::default() })).await
    };
    let second = part(part(None).await?.iterator).await?;
    same("the page before", &uids(part(second.prev_iterator).await?.data)[..], &all_uids[..2])?;
    all_uids.reverse();
    same("list, newest first", listed(Some(Ordering::Descending)).await?, all_uids)?;

    let asked = ApplicationIn { metadata: Some(plan("iron")), ..application("One more", "one") };
    let changed = api.upsert("one".into(), asked).await?;
    same("replaced", (&changed.id, &*changed.name, changed.metadata), (&made.id, "One more", plan("iron")))?;
    same("its rate is gone", changed.throttle_rate, None)?;
    let put = api.upsert("six".into(), application("Six", "six")).await?;
    same("made by its uid", (put.uid.as_deref(), &*put.name), (Some("six"), "Six"))?;
    let patch = ApplicationPatch {
        name: Some("Acme".into()),
        throttle_rate: JsOption::Null,
        metadata: Some(BTreeMap::new()),
        ..ApplicationPatch::new()
    };
    let patched = api.patch("one".into(), patch).await?;
    same("patched", (&*patched.name, patched.uid.as_deref()), ("Acme", Some("one")))?;
    same("what was cleared", (patched.throttle_rate, patched.metadata), (None, BTreeMap::new()))?;
    for uid in ["two", "three", "four", "five", "six"] {
        api.delete(uid.into()).await?;
        fails("gone", api.get(uid.into()).await, 404, "not_found")?;
    }
    same("list of what is left", uids(api.list(None).await?.data), ["one"])
}

fn names(event_types: Vec<EventTypeOut>) -> Vec<String> {
    event_types.into_iter().map(|event_type| event_type.name).collect()
}

pub async fn event_types(world: &World) -> Result<(), Failed> {
    let api = world.client.event_type();
    let described = |name: &str, text: &str| EventTypeIn::new(name.to_owned(), text.to_owned());
    let schemas = json!({
        "1": { "type": "object", "properties": { "invoice": { "type": "integer" } }, "required": ["invoice"] }
    });
    let made = api
        .create(
            EventTypeIn {
                schemas: Some(schemas.clone()),
                group_name: Some("invoices".into()),
                ..described("invoice.paid", "Paid")
            },
            None,
        )
        .await?;
    same("made", (&*made.name, &*made.description), ("invoice.paid", "Paid"))?;
    same("its schemas", (&made.schemas, made.group_name.as_deref()), (&Some(schemas.clone()), Some("invoices")))?;
    same("its flags", (made.archived, made.deprecated), (Some(false), false))?;
    same("read", api.get("invoice.paid".into()).await?, made)?;
    fails("taken", api.create(described("invoice.paid", ""), None).await, 409, "event_type_exists")?;
    let beta = BTreeSet::from(["beta".to_owned()]);
    let asked = EventTypeIn { feature_flags: Some(beta.clone()), ..described("invoice.beta", "Soon") };
    same("its feature flags", api.create(asked, None).await?.feature_flags, Some(beta))?;
    for name in ["invoice.sent", "user.created"] {
        api.create(described(name, name), None).await?;
    }
    let list = async |iterator| {
        let page = api.list(Some(EventTypeListOptions { limit: Some(2), iterator, ..Default::default() })).await?;
        Ok((page.data, page.iterator, page.done))
    };
    let listed = all_of(list).await?;
    same("list without schemas", listed.iter().filter(|one| one.schemas.is_some()).count(), 0)?;
    let all = ["invoice.beta", "invoice.paid", "invoice.sent", "user.created"];
    same("list", names(listed), all)?;
    let with_content = EventTypeListOptions { with_content: Some(true), ..Default::default() };
    same("list with schemas", &api.list(Some(with_content)).await?.data[1].schemas, &Some(schemas.clone()))?;

    let asked = EventTypeUpsertIn { schemas: Some(schemas.clone()), ..EventTypeUpsertIn::new("Sent".into()) };
    let changed = api.upsert("invoice.sent".into(), asked).await?;
    same("replaced", (&*changed.description, changed.schemas), ("Sent", Some(schemas.clone())))?;
    let put = api.upsert("user.deleted".into(), EventTypeUpsertIn::new("Gone".into())).await?;
    same("made by name", put.name, "user.deleted")?;
    let patch = EventTypePatch { deprecated: Some(true), ..EventTypePatch::new() };
    let patched = api.patch("invoice.sent".into(), patch).await?;
    same("patched", (&*patched.description, patched.deprecated, patched.schemas), ("Sent", true, Some(schemas)))?;
    api.delete("user.deleted".into(), None).await?;
    same("it is archived", api.get("user.deleted".into()).await?.archived, Some(true))?;
    same("list without it", names(api.list(None).await?.data), all)?;
    let archived = EventTypeListOptions { include_archived: Some(true), ..Default::default() };
    same("list with it", names(api.list(Some(archived)).await?.data).len(), 5)?;
    let again = api.create(described("user.deleted", "Back"), None).await?;
    same("taken back", (again.archived, &*again.description), (Some(false), "Back"))?;
    api.delete("user.deleted".into(), Some(EventTypeDeleteOptions { expunge: Some(true) })).await?;
    fails("gone", api.get("user.deleted".into()).await, 404, "not_found")
}
