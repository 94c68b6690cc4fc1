//! Endpoints, their headers and secrets, and examples.

use std::collections::{BTreeMap, BTreeSet};

use js_option::JsOption;
use serde_json::json;
use svix::{
    Webhook,
    api::EndpointListOptions,
    models::{
        EndpointHeadersIn, EndpointHeadersPatchIn, EndpointIn, EndpointOut, EndpointPatch, EndpointSecretRotateIn,
        EndpointUpsertIn, EventExampleIn, Ordering,
    },
};

use crate::{
    Failed, World,
    check::{all_of, fails, invalid, same},
    receiver::Received,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn set<const N: usize>(names: [&str; N]) -> Option<BTreeSet<String>> {
    Some(names.into_iter().map(str::to_owned).collect())
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub fn endpoint(url: String, uid: &str) -> EndpointIn {
    EndpointIn { uid: Some(uid.to_owned()), ..EndpointIn::new(url) }
}

fn uids(endpoints: Vec<EndpointOut>) -> Vec<String> {
    endpoints.into_iter().filter_map(|endpoint| endpoint.uid).collect()
}

pub async fn endpoints(world: &World) -> Result<(), Failed> {
    let (api, url) = (world.client.endpoint(), |path: &str| world.receiver.url(path));
    let one = || "one".to_owned();
    let main = || "main".to_owned();
    let asked = EndpointIn {
        description: Some("The main one".into()),
        throttle_rate: Some(100),
        event_types: set(["invoice.paid", "invoice.sent"]),
        channels: set(["eu"]),
        metadata: Some(map([("team", "billing")])),
        headers: Some(map([("X-Team", "billing")])),
        secret: Some(SECRET.into()),
        ..endpoint(url("/main"), "main")
    };
    let made = api.create(one(), asked, None).await?;
    same("made", (&made.url, made.uid.as_deref(), &*made.description), (&url("/main"), Some("main"), "The main one"))?;
    same("its filters", (&made.event_types, &made.channels), (&set(["invoice.paid", "invoice.sent"]), &set(["eu"])))?;
    same("the rest of it", (made.throttle_rate, made.disabled), (Some(100), Some(false)))?;
    same("its metadata", &made.metadata, &map([("team", "billing")]))?;
    same("read by id", api.get(one(), made.id.clone()).await?, made.clone())?;
    same("read by uid", api.get(one(), main()).await?, made.clone())?;
    same("its headers", api.get_headers(one(), main()).await?.headers, map([("X-Team", "billing")]))?;
    same("its secret", api.get_secret(one(), main()).await?.key, SECRET)?;
    invalid("no url", api.create(one(), EndpointIn::new("nowhere".into()), None).await, ["body", "url"])?;
    let nowhere = api.create("none".into(), EndpointIn::new(url("/none")), None).await;
    fails("no application", nowhere, 404, "not_found")?;
    let mut all_made = vec![made];
    for uid in ["second", "third"] {
        all_made.push(api.create(one(), endpoint(url(&format!("/{uid}")), uid), None).await?);
    }
    all_made.sort_by(|one, other| one.id.cmp(&other.id));
    let mut all_uids = uids(all_made);
    let listed = async |order| {
        let list = async |iterator| {
            let page = api.list(one(), Some(EndpointListOptions { limit: Some(2), iterator, order })).await?;
            Ok((page.data, page.iterator, page.done))
        };
        all_of(list).await.map(uids)
    };
    same("list, oldest first", &listed(Some(Ordering::Ascending)).await?, &all_uids)?;
    all_uids.reverse();
    same("list", listed(None).await?, all_uids)?;

    let (uid, description) = (Some("second".into()), Some("Changed".into()));
    let asked = EndpointUpsertIn { uid, description, ..EndpointUpsertIn::new(url("/changed")) };
    let changed = api.upsert(one(), "second".into(), asked).await?;
    same("replaced", (changed.url, &*changed.description), (url("/changed"), "Changed"))?;
    let asked = EndpointUpsertIn { disabled: Some(true), ..EndpointUpsertIn::new(url("/fourth")) };
    let put = api.upsert(one(), "fourth".into(), asked).await?;
    same("made by its uid", (put.uid.as_deref(), put.disabled), (Some("fourth"), Some(true)))?;
    let patch = EndpointPatch {
        description: Some("Main".into()),
        event_types: JsOption::from_option(set(["invoice.paid"])),
        channels: JsOption::Null,
        ..EndpointPatch::new()
    };
    let patched = api.patch(one(), main(), patch).await?;
    same("patched", (&*patched.description, patched.event_types), ("Main", set(["invoice.paid"])))?;
    same("what was cleared", patched.channels, None)?;
    same("what was not patched", (patched.url, patched.throttle_rate), (url("/main"), Some(100)))?;
    for uid in ["second", "third", "fourth"] {
        api.delete(one(), uid.into()).await?;
        fails("gone", api.get(one(), uid.into()).await, 404, "not_found")?;
    }
    headers(world).await?;
    secrets(world).await
}

async fn headers(world: &World) -> Result<(), Failed> {
    let api = world.client.endpoint();
    let (one, main) = (|| "one".to_owned(), || "main".to_owned());
    api.set_headers(one(), main(), EndpointHeadersIn::new(map([("X-A", "1"), ("X-B", "2")]))).await?;
    same("what was set", api.get_headers(one(), main()).await?.headers, map([("X-A", "1"), ("X-B", "2")]))?;
    let patch = EndpointHeadersPatchIn {
        delete_headers: Some(vec!["X-A".into()]),
        ..EndpointHeadersPatchIn::new(map([("X-C", "3")]))
    };
    api.patch_headers(one(), main(), patch).await?;
    same("what is left", api.get_headers(one(), main()).await?.headers, map([("X-B", "2"), ("X-C", "3")]))?;
    api.set_headers(one(), main(), EndpointHeadersIn::new(map([("Authorization", "Bearer hidden")]))).await?;
    let hidden = api.get_headers(one(), main()).await?;
    same("what is hidden", (hidden.headers, Vec::from_iter(hidden.sensitive)), (map([]), vec!["Authorization".into()]))
}

/// Rotates the secret twice, and sends examples that all of them verify.
async fn secrets(world: &World) -> Result<(), Failed> {
    let api = world.client.endpoint();
    let (one, main) = (|| "one".to_owned(), || "main".to_owned());
    let asked = EndpointSecretRotateIn { key: Some(OTHER_SECRET.into()), ..EndpointSecretRotateIn::new() };
    same("rotated", api.rotate_secret(one(), main(), asked, None).await?.key, OTHER_SECRET)?;
    let made_here = api.rotate_secret(one(), main(), EndpointSecretRotateIn::new(), None).await?.key;
    same("rotated to one that is made", api.get_secret(one(), main()).await?.key, made_here.clone())?;

    let example = api.send_example(one(), main(), EventExampleIn::new("invoice.paid".into()), None).await?;
    same("example", (&*example.event_type, example.payload["invoice"].is_i64()), ("invoice.paid", true))?;
    let ping = api.send_example(one(), main(), EventExampleIn::new("svix.ping".into()), None).await?;
    same("ping", ping.payload, json!({ "success": true }))?;
    let came = world.receiver.wait_for("/main", 2).await?;
    let ids = came.iter().filter_map(|one| one.headers["webhook-id"].to_str().ok());
    same("what came", ids.collect::<BTreeSet<_>>(), BTreeSet::from([&*example.id, &*ping.id]))?;
    for secret in [SECRET, OTHER_SECRET, &made_here] {
        verify(&came[0], secret)?;
    }
    same("its header", &came[0].headers["authorization"], "Bearer hidden")
}

pub fn verify(received: &Received, secret: &str) -> Result<(), Failed> {
    let webhook = Webhook::new(secret)?;
    webhook.verify(&received.body, &received.headers)?;
    let other = [&received.body[..], b" "].concat();
    match webhook.verify(&other, &received.headers) {
        Err(_) => Ok(()),
        Ok(()) => Err("another body was verified".into()),
    }
}
