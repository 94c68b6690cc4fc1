//! Tags, messages for later, and payloads and answers that are forgotten.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use svix::{
    api::{MessageAttemptListByMsgOptions, MessageGetOptions, MessageListOptions},
    models::{BackgroundTaskStatus, BackgroundTaskType, BulkExpungeContentsIn, BulkExpungeStatus, MessageIn},
};

use crate::{
    Failed, World,
    check::{fails, same, until},
};

fn one() -> String {
    "one".to_owned()
}

fn secret(number: u32) -> String {
    format!("secret-{number}")
}

pub async fn forgetting(world: &World) -> Result<(), Failed> {
    let (api, tries) = (world.client.message(), world.client.message_attempt());
    let full = || Some(MessageGetOptions { with_content: Some(true) });
    let mut ids = Vec::new();
    for number in [7, 8, 9] {
        let asked = MessageIn {
            event_id: Some(secret(number)),
            tags: Some(BTreeSet::from(["card".to_owned(), format!("n{number}")])),
            ..MessageIn::new("invoice.paid".into(), json!({ "invoice": number }))
        };
        ids.push(api.create(one(), asked, None).await?.id);
    }
    let shown = api.get(one(), secret(7), full()).await?;
    same("its tags", shown.tags, Some(BTreeSet::from(["card".to_owned(), "n7".to_owned()])))?;
    let listed = async |tag: &str| {
        let options = MessageListOptions { tag: Some(tag.to_owned()), ..Default::default() };
        let page = api.list(one(), Some(options)).await?;
        Ok::<_, Failed>(page.data.into_iter().filter_map(|message| message.event_id).collect::<Vec<_>>())
    };
    same("list of a tag", listed("card").await?, ["secret-9", "secret-8", "secret-7"])?;
    same("list of another", listed("n8").await?, ["secret-8"])?;
    // To the second: what is finer need not come back the same.
    let later = DateTime::from_timestamp((Utc::now() + TimeDelta::hours(1)).timestamp(), 0);
    let asked = MessageIn { deliver_at: later, ..MessageIn::new("svix.later".into(), json!({})) };
    same("when it is to be delivered", api.create(one(), asked, None).await?.deliver_at, later)?;

    api.expunge_content(one(), secret(7)).await?;
    let expired = json!({ "expired": true });
    same("what is left", &api.get(one(), secret(7), full()).await?.payload, &expired)?;
    let asked = BulkExpungeContentsIn { ids: Some(BTreeSet::from([secret(8), "none".to_owned()])) };
    let results = api.bulk_expunge_content(one(), asked, None).await?.results;
    let wanted = [(secret(8), BulkExpungeStatus::Expunged), ("none".to_owned(), BulkExpungeStatus::NotFound)];
    same("several", results, BTreeMap::from(wanted))?;
    let resent = tries.resend(one(), secret(8), "main".into(), None).await;
    fails("no payload to send", resent, 400, "missing_payload")?;
    let read = async || {
        let options = MessageAttemptListByMsgOptions { with_content: Some(true), ..Default::default() };
        Ok(tries.list_by_msg(one(), secret(9), Some(options)).await?.data)
    };
    let attempt = until("attempts", read, |found| !found.is_empty()).await?.remove(0);
    same("an answer", &*attempt.response, "thank you")?;
    tries.expunge_content(one(), ids[2].clone(), attempt.id.clone()).await?;
    let left = tries.get(one(), ids[2].clone(), attempt.id, None).await?;
    same("what is left of it", left.response, "EXPUNGED")?;
    let begun = api.expunge_all_contents(one(), None).await?;
    same("all, begun", begun.task, BackgroundTaskType::ApplicationPurgeContent)?;
    let read = async || Ok(world.client.background_task().get(begun.id.clone()).await?);
    let task = until("all", read, |task| task.status != BackgroundTaskStatus::Running).await?;
    let purged = task.data["messagesPurged"].as_u64();
    same("all", (task.status, purged > Some(0)), (BackgroundTaskStatus::Finished, true))?;
    same("nothing is left", &api.get(one(), secret(9), full()).await?.payload, &expired)
}
