//! Messages, their attempts, and the tasks that send them once more.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use svix::{
    api::{
        BackgroundTaskListOptions, MessageAttemptListAttemptedMessagesOptions, MessageAttemptListByEndpointOptions,
        MessageAttemptListByMsgOptions, MessageCreateOptions, MessageGetOptions, MessageListOptions,
    },
    models::{
        BackgroundTaskStatus, BackgroundTaskType, BulkReplayIn, EndpointIn, MessageAttemptTriggerType, MessageIn,
        MessageOut, MessagePrecheckIn, MessageStatus, MessageStatusText, RecoverIn, ReplayIn, StatusCodeClass,
    },
};

use crate::{
    Failed, World,
    check::{all_of, fails, invalid, same, until},
    endpoints::{endpoint, verify},
};

fn one() -> String {
    "one".to_owned()
}

fn main() -> String {
    "main".to_owned()
}

fn types(names: &[&str]) -> Option<BTreeSet<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

fn paid(number: u32) -> MessageIn {
    let event_id = Some(format!("paid-{number}"));
    MessageIn { event_id, ..MessageIn::new("invoice.paid".into(), json!({ "invoice": number })) }
}

fn event_ids(messages: &[MessageOut]) -> Vec<&str> {
    messages.iter().filter_map(|message| message.event_id.as_deref()).collect()
}

async fn listed(world: &World, asked: MessageListOptions) -> svix::Result<Vec<MessageOut>> {
    let MessageListOptions { channel, before, after, with_content, tag, event_types, .. } = asked;
    let list = async |iterator| {
        let (limit, channel, tag) = (Some(2), channel.clone(), tag.clone());
        let event_types = event_types.clone();
        let options = MessageListOptions { limit, iterator, channel, before, after, with_content, tag, event_types };
        let page = world.client.message().list(one(), Some(options)).await?;
        Ok((page.data, page.iterator, page.done))
    };
    all_of(list).await
}

pub async fn messages(world: &World) -> Result<(), Failed> {
    let api = world.client.message();
    let asked = || MessageIn { channels: types(&["eu"]), ..paid(1) };
    let full = MessageCreateOptions { with_content: Some(true), ..Default::default() };
    let sent = api.create(one(), asked(), Some(full)).await?;
    same("sent", (&*sent.event_type, sent.event_id.as_deref()), ("invoice.paid", Some("paid-1")))?;
    same("its payload", (&sent.payload, &sent.channels), (&json!({ "invoice": 1 }), &types(&["eu"])))?;
    let came = world.receiver.wait_for("/main", 3).await?.remove(2);
    same("what came", (came.headers["webhook-id"].to_str()?, &came.body[..]), (&*sent.id, &br#"{"invoice":1}"#[..]))?;
    verify(&came, &world.client.endpoint().get_secret(one(), main()).await?.key)?;
    fails("taken", api.create(one(), asked(), None).await, 409, "conflict")?;
    let keyed = || Some(MessageCreateOptions { idempotency_key: Some("key-2".into()), ..Default::default() });
    let bare = api.create(one(), paid(2), keyed()).await?;
    same("sent, without its content", (bare.event_id.as_deref(), bare.payload), (Some("paid-2"), json!({})))?;
    same("sent again with its key", api.create(one(), paid(2), keyed()).await?.id, bare.id)?;
    let wrong = MessageIn::new("no blanks".into(), json!({}));
    invalid("a bad name", api.create(one(), wrong, None).await, ["body", "eventType"])?;
    let full = || Some(MessageGetOptions { with_content: Some(true) });
    same("read", api.get(one(), sent.id.clone(), full()).await?, sent)?;
    same("read by eventId", api.get(one(), "paid-2".into(), full()).await?.payload, json!({ "invoice": 2 }))?;
    same("read without content", api.get(one(), "paid-2".into(), None).await?.payload, json!({}))?;
    fails("none", api.get(one(), "paid-3".into(), None).await, 404, "not_found")?;

    let all = listed(world, MessageListOptions::default()).await?;
    same("list", (all.len(), event_ids(&all)), (4, vec!["paid-2", "paid-1"]))?;
    let eu = MessageListOptions { channel: Some("eu".into()), with_content: Some(true), ..Default::default() };
    let eu: Vec<_> = listed(world, eu).await?.into_iter().map(|message| message.payload).collect();
    same("list of a channel", eu, [json!({ "invoice": 1 })])?;
    let pings = types(&["svix.ping", "user.created"]);
    let pings = listed(world, MessageListOptions { event_types: pings, ..Default::default() }).await?;
    same("list of types", pings.iter().map(|ping| &*ping.event_type).collect::<Vec<_>>(), ["svix.ping"])?;
    let before = listed(world, MessageListOptions { before: Some(world.began), ..Default::default() }).await?;
    same("list of a time", before, [])?;
    // From a time on, a list is walked towards now.
    let (mut since, mut iterator) = (Vec::new(), None);
    loop {
        let asked = MessageListOptions { after: Some(world.began), limit: Some(2), iterator, ..Default::default() };
        let page = api.list(one(), Some(asked)).await?;
        since.splice(..0, page.data);
        if page.done {
            break;
        }
        iterator = page.prev_iterator;
    }
    same("list since", since, all)?;
    let active = async |event_type: &str| {
        Ok::<_, Failed>(api.precheck(one(), MessagePrecheckIn::new(event_type.to_owned()), None).await?.active)
    };
    same("wanted", active("invoice.paid").await?, true)?;
    same("not wanted", active("user.created").await?, false)
}

pub async fn attempts(world: &World) -> Result<(), Failed> {
    let api = world.client.message_attempt();
    let hook = world.client.endpoint().get(one(), main()).await?;
    let sent = world.client.message().get(one(), "paid-1".into(), None).await?;
    let of_message = async |options: MessageAttemptListByMsgOptions| {
        Ok::<_, Failed>(api.list_by_msg(one(), "paid-1".into(), Some(options)).await?.data)
    };
    let full = || MessageAttemptListByMsgOptions { with_content: Some(true), ..Default::default() };
    let attempt = until("attempts", async || of_message(full()).await, |found| !found.is_empty()).await?.remove(0);
    same("of a message", (&attempt.msg_id, &attempt.endpoint_id, &attempt.url), (&sent.id, &hook.id, &hook.url))?;
    same("its answer", (&*attempt.response, attempt.response_status_code), ("thank you", 200))?;
    same("its status", (attempt.status, attempt.status_text), (MessageStatus::Success, MessageStatusText::Success))?;
    same("its trigger", attempt.trigger_type, MessageAttemptTriggerType::Scheduled)?;
    same("read", &api.get(one(), sent.id.clone(), attempt.id.clone(), None).await?, &attempt)?;
    let bare = of_message(MessageAttemptListByMsgOptions::default()).await?;
    same("without content", (&bare[0].id, &*bare[0].response), (&attempt.id, ""))?;
    for status in [MessageStatus::Fail, MessageStatus::Canceled] {
        let options = MessageAttemptListByMsgOptions { status: Some(status), ..Default::default() };
        same("others", of_message(options).await?, [])?;
    }
    let chosen = MessageAttemptListByMsgOptions {
        status_code_class: Some(StatusCodeClass::Code2xx),
        endpoint_id: Some(main()),
        event_types: types(&["invoice.paid"]),
        ..full()
    };
    same("chosen ones", of_message(chosen).await?, [attempt])?;

    api.resend(one(), sent.id.clone(), main(), None).await?;
    world.receiver.wait_for("/main", 5).await?;
    let both = until("both", async || of_message(full()).await, |found| found.len() == 2).await?;
    let by_hand = both.iter().filter(|attempt| attempt.trigger_type == MessageAttemptTriggerType::Manual).count();
    same("by hand", by_hand, 1)?;

    let of_endpoint = async |channel: Option<&str>| {
        let list = async |iterator| {
            let (limit, channel, with_msg) = (Some(2), channel.map(str::to_owned), Some(true));
            let options =
                MessageAttemptListByEndpointOptions { limit, iterator, channel, with_msg, ..Default::default() };
            let page = api.list_by_endpoint(one(), main(), Some(options)).await?;
            Ok((page.data, page.iterator, page.done))
        };
        Ok::<_, Failed>(all_of(list).await?)
    };
    until("attempts", async || of_endpoint(None).await, |found| found.len() == 5).await?;
    let eu = of_endpoint(Some("eu")).await?;
    same("of a channel", eu.iter().map(|attempt| &*attempt.msg_id).collect::<Vec<_>>(), [&*sent.id, &*sent.id])?;
    let list = async |iterator| {
        let (limit, with_content) = (Some(2), Some(true));
        let options =
            MessageAttemptListAttemptedMessagesOptions { limit, iterator, with_content, ..Default::default() };
        let page = api.list_attempted_messages(one(), main(), Some(options)).await?;
        Ok((page.data, page.iterator, page.done))
    };
    let tried = all_of(list).await?.into_iter().filter(|message| message.event_id.is_some());
    let mut tried: Vec<_> = tried.map(|message| (message.event_id, message.payload, message.status)).collect();
    tried.sort_by(|one, other| one.0.cmp(&other.0));
    let wanted = [1, 2].map(|n| (Some(format!("paid-{n}")), json!({ "invoice": n }), MessageStatus::Success));
    same("messages", tried, wanted)?;
    let places = api.list_attempted_destinations(one(), sent.id, None).await?.data;
    let places: Vec<_> = places.into_iter().map(|place| (place.id, place.url, place.status)).collect();
    same("destinations", places, [(hook.id, hook.url, MessageStatus::Success)])
}

pub async fn tasks(world: &World) -> Result<(), Failed> {
    let (api, hooks, receiver) = (world.client.background_task(), world.client.endpoint(), &world.receiver);
    let hook = |path: &str, event_type: &str| EndpointIn {
        event_types: types(&[event_type]),
        ..endpoint(receiver.url(path), path.trim_start_matches('/'))
    };
    hooks.create(one(), hook("/flaky", "user.created"), None).await?;
    // One attempt, so that it is given up at once: a setting that SDKs of Svix do not know.
    world.patch_raw("/app/one/endpoint/flaky", r#"{"delivery":{"retrySchedule":[]}}"#)?;
    receiver.fail("/flaky", true);
    // A payload that keeps its bytes, by the SDK's own means.
    let bytes = r#"{"user":  1.50}"#;
    let raw = MessageIn::new_raw_payload("user.created".into(), bytes.into());
    let lost = world.client.message().create(one(), raw, None).await?;
    let failed = async || {
        let status = Some(MessageStatus::Fail);
        let options = MessageAttemptListByMsgOptions { status, with_content: Some(true), ..Default::default() };
        Ok(world.client.message_attempt().list_by_msg(one(), lost.id.clone(), Some(options)).await?.data)
    };
    let attempt = until("failed", failed, |found| !found.is_empty()).await?.remove(0);
    same("its answer", (&*attempt.response, attempt.response_status_code), ("not today", 500))?;
    receiver.fail("/flaky", false);

    let stats = hooks.get_stats(one(), "flaky".into(), None).await?;
    same("stats", (stats.success, stats.pending, stats.sending, stats.fail, stats.canceled), (0, 0, 0, 1, 0))?;
    let tried = hooks.get_attempt_stats(one(), "flaky".into(), None).await?;
    same("stats of attempts", (tried.success, tried.fail, tried.canceled), (0, 1, 0))?;
    let ended = async |id: String, kind: BackgroundTaskType| {
        let read = async || Ok(api.get(id.clone()).await?);
        let task = until("task", read, |task| task.status != BackgroundTaskStatus::Running).await?;
        same("task", (task.status, task.task), (BackgroundTaskStatus::Finished, kind))?;
        Ok::<Value, Failed>(task.data["messagesSent"].clone())
    };
    let begun = hooks.recover(one(), "flaky".into(), RecoverIn::new(world.began), None).await?;
    same("recovered", ended(begun.id, BackgroundTaskType::EndpointRecover).await?, 1)?;
    let came = receiver.wait_for("/flaky", 2).await?;
    for received in came {
        same("the same message", received.headers["webhook-id"].to_str()?, &*lost.id)?;
        same("the same bytes", received.body, bytes.as_bytes())?;
    }
    hooks.create(one(), hook("/late", "invoice.paid"), None).await?;
    let begun = hooks.replay_missing(one(), "late".into(), ReplayIn::new(world.began), None).await?;
    same("replayed", ended(begun.id, BackgroundTaskType::EndpointReplay).await?, 3)?;
    receiver.wait_for("/late", 3).await?;
    let asked = BulkReplayIn {
        event_types: types(&["invoice.paid"]),
        channel: Some("eu".into()),
        status: Some(MessageStatus::Success),
        ..BulkReplayIn::new(world.began)
    };
    let begun = hooks.bulk_replay(one(), "late".into(), asked, None).await?;
    same("replayed once more", ended(begun.id, BackgroundTaskType::EndpointBulkReplay).await?, 1)?;
    receiver.wait_for("/late", 4).await?;

    let list = async |iterator| {
        let options = BackgroundTaskListOptions { limit: Some(2), iterator, ..Default::default() };
        let page = api.list(Some(options)).await?;
        Ok((page.data, page.iterator, page.done))
    };
    let kinds: BTreeSet<_> = all_of(list).await?.into_iter().map(|task| task.task).collect();
    use BackgroundTaskType::{EndpointBulkReplay, EndpointRecover, EndpointReplay};
    same("list", &kinds, &BTreeSet::from([EndpointBulkReplay, EndpointReplay, EndpointRecover]))?;
    for kind in kinds {
        let status = Some(BackgroundTaskStatus::Finished);
        let options = BackgroundTaskListOptions { task: Some(kind), status, ..Default::default() };
        let found: Vec<_> = api.list(Some(options)).await?.data.into_iter().map(|task| task.task).collect();
        same("list of a kind", found, [kind])?;
    }
    let running = BackgroundTaskListOptions { status: Some(BackgroundTaskStatus::Running), ..Default::default() };
    same("list of what runs", api.list(Some(running)).await?.data, [])?;
    fails("none", api.get("qtask_none".into()).await, 404, "not_found")
}
