//! Operational webhooks: what operators of an organisation hear.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use svix::models::{
    OperationalWebhookEndpointHeadersIn, OperationalWebhookEndpointIn, OperationalWebhookEndpointSecretIn,
    OperationalWebhookEndpointUpsertIn,
};

use crate::{
    Failed, World,
    check::{fails, same},
    endpoints::{endpoint, verify},
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn one_header(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

pub async fn operational_webhooks(world: &World) -> Result<(), Failed> {
    let operational = world.client.operational_webhook();
    let (api, url) = (operational.endpoint(), world.receiver.url("/operator"));
    let operator = || "operator".to_owned();
    let created = Some(BTreeSet::from(["endpoint.created".to_owned()]));
    let asked = OperationalWebhookEndpointIn {
        uid: Some(operator()),
        event_types: created.clone(),
        headers: Some(one_header("X-A", "1")),
        ..OperationalWebhookEndpointIn::new(url.clone())
    };
    let made = api.create(asked, None).await?;
    same("made", (&made.url, made.uid.as_deref(), &made.event_types), (&url, Some("operator"), &created))?;
    same("read", &api.get(operator()).await?, &made)?;
    same("list", api.list(None).await?.data, [made.clone()])?;
    same("its headers", api.get_headers(operator()).await?.headers, one_header("X-A", "1"))?;
    let headers = OperationalWebhookEndpointHeadersIn::new(one_header("X-B", "2"));
    api.set_headers(operator(), headers).await?;
    same("other headers", api.get_headers(operator()).await?.headers, one_header("X-B", "2"))?;
    let key = OperationalWebhookEndpointSecretIn { key: Some(SECRET.into()), ..Default::default() };
    api.rotate_secret(operator(), key, None).await?;
    same("its secret", api.get_secret(operator()).await?.key, SECRET)?;
    let heard = endpoint(world.receiver.url("/heard"), "heard");
    let heard = world.client.endpoint().create("one".into(), heard, None).await?;
    let came = world.receiver.wait_for("/operator", 1).await?.remove(0);
    verify(&came, SECRET)?;
    let told: Value = serde_json::from_slice(&came.body)?;
    let of = (told["type"].as_str(), told["data"]["endpointId"].as_str());
    same("what is told", of, (Some("endpoint.created"), Some(&*heard.id)))?;
    let asked = OperationalWebhookEndpointUpsertIn {
        uid: Some(operator()),
        description: Some("Ours".into()),
        ..OperationalWebhookEndpointUpsertIn::new(url)
    };
    let changed = api.upsert(operator(), asked).await?;
    same("replaced", (changed.id, &*changed.description), (made.id, "Ours"))?;
    api.delete(operator()).await?;
    fails("gone", api.get(operator()).await, 404, "not_found")
}
