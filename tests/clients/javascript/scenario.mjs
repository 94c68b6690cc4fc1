// Every resource of the official SDK for JavaScript, unmodified, against a running daemon.
//
// Svix for JavaScript 2.5.0 (package.json), the newest one on npm; it asks for Node.js 22, and runs with 20.
// Needs SERVER_URL and SERVER_TOKEN: an organisation with nothing in it.

import { Svix, messageInRaw } from "svix";
import { allOf, fails, invalid, of, same, uidsById, verify } from "./check.mjs";
import { Receiver, until } from "./receiver.mjs";

const VERSION = "2.5.0";
const { SERVER_URL, SERVER_TOKEN } = process.env;
const BEGAN = new Date(Date.now() - 60_000);

const client = new Svix(SERVER_TOKEN, { serverUrl: SERVER_URL });
const receiver = await Receiver.start();

async function health() {
  await client.health.get();
}

async function applications() {
  const api = client.application;
  const list = (options) => api.list(options);
  const made = await api.create({ name: "One", uid: "one", throttleRate: 70, metadata: { plan: "gold" } });
  same("made", [made.name, made.uid, made.throttleRate, made.metadata], ["One", "one", 70, { plan: "gold" }]);
  same("its times", made.createdAt, made.updatedAt);
  same("read by id", await api.get(made.id), made);
  same("read by uid", await api.get("one"), made);
  same("found", await api.getOrCreate({ name: "Other", uid: "one" }), made);
  await fails("taken", () => api.create({ name: "Other", uid: "one" }), 409, "conflict");
  await invalid("a bad uid", () => api.create({ name: "Other", uid: "no blanks" }), ["body", "uid"]);
  const allMade = [made];
  for (const uid of ["two", "three", "four", "five"]) allMade.push(await api.getOrCreate({ name: uid, uid }));
  const uids = uidsById(allMade);
  same("list", (await allOf(list)).map(of("uid")), uids);
  same("list, newest first", (await allOf(list, { order: "descending" })).map(of("uid")), uids.toReversed());
  const first = await api.list({ limit: 2 });
  const second = await api.list({ limit: 2, iterator: first.iterator });
  const before = await api.list({ limit: 2, iterator: second.prevIterator });
  same("the page before", before.data.map(of("uid")), uids.slice(0, 2));

  const changed = await api.upsert("one", { name: "One more", uid: "one", metadata: { plan: "iron" } });
  same("replaced", [changed.id, changed.name, changed.metadata], [made.id, "One more", { plan: "iron" }]);
  same("its rate is gone", changed.throttleRate ?? null, null);
  const put = await api.upsert("six", { name: "Six", uid: "six" });
  same("made by its uid", [put.uid, put.name], ["six", "Six"]);
  const patched = await api.patch("one", { name: "Acme", throttleRate: null, metadata: {} });
  same("patched", [patched.name, patched.uid, patched.throttleRate ?? null, patched.metadata], ["Acme", "one", null, {}]);
  for (const uid of ["two", "three", "four", "five", "six"]) {
    await api.delete(uid);
    await fails("gone", () => api.get(uid), 404, "not_found");
  }
  same("list of what is left", (await api.list()).data.map(of("uid")), ["one"]);
}

async function eventTypes() {
  const api = client.eventType;
  const list = (options) => api.list(options);
  const schemas = { 1: { type: "object", properties: { invoice: { type: "integer" } }, required: ["invoice"] } };
  const made = await api.create({ name: "invoice.paid", description: "Paid", schemas, groupName: "invoices" });
  same("made", [made.name, made.description, made.groupName], ["invoice.paid", "Paid", "invoices"]);
  same("its schemas", made.schemas, schemas);
  same("its flags", [made.archived, made.deprecated], [false, false]);
  same("read", await api.get("invoice.paid"), made);
  await fails("taken", () => api.create({ name: "invoice.paid", description: "" }), 409, "event_type_exists");
  const flagged = await api.create({ name: "invoice.beta", description: "Soon", featureFlags: ["beta"] });
  same("its feature flags", flagged.featureFlags, ["beta"]);
  for (const name of ["invoice.sent", "user.created"]) await api.create({ name, description: name });
  const names = ["invoice.beta", "invoice.paid", "invoice.sent", "user.created"];
  same("list", (await allOf(list)).map(of("name")), names);
  same("list without schemas", (await allOf(list)).map((one) => one.schemas ?? null), [null, null, null, null]);
  same("list with schemas", (await api.list({ withContent: true })).data[1].schemas, schemas);

  const changed = await api.upsert("invoice.sent", { description: "Sent", schemas });
  same("replaced", [changed.description, changed.schemas], ["Sent", schemas]);
  same("made by name", (await api.upsert("user.deleted", { description: "Gone" })).name, "user.deleted");
  const patched = await api.patch("invoice.sent", { deprecated: true });
  same("patched", [patched.description, patched.deprecated, patched.schemas], ["Sent", true, schemas]);
  await api.delete("user.deleted");
  same("it is archived", (await api.get("user.deleted")).archived, true);
  same("list without it", (await api.list()).data.map(of("name")), names);
  same("list with it", (await api.list({ includeArchived: true })).data.map(of("name")), [...names, "user.deleted"]);
  const again = await api.create({ name: "user.deleted", description: "Back" });
  same("taken back", [again.archived, again.description], [false, "Back"]);
  await api.delete("user.deleted", { expunge: true });
  await fails("gone", () => api.get("user.deleted"), 404, "not_found");
}

async function endpoints() {
  const api = client.endpoint;
  const asked = {
    url: receiver.url("/main"),
    uid: "main",
    description: "The main one",
    throttleRate: 100,
    eventTypes: ["invoice.paid", "invoice.sent"],
    channels: ["eu"],
    metadata: { team: "billing" },
    headers: { "X-Team": "billing" },
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  };
  const made = await api.create("one", asked);
  same("made", [made.url, made.uid, made.description], [asked.url, "main", "The main one"]);
  same("its filters", [made.eventTypes, made.channels], [asked.eventTypes, asked.channels]);
  same("the rest of it", [made.throttleRate, made.metadata, made.disabled], [100, asked.metadata, false]);
  same("read by id", await api.get("one", made.id), made);
  same("read by uid", await api.get("one", "main"), made);
  same("its headers", (await api.getHeaders("one", "main")).headers, asked.headers);
  same("its secret", (await api.getSecret("one", "main")).key, asked.secret);
  await invalid("no url", () => api.create("one", { url: "nowhere" }), ["body", "url"]);
  await fails("no application", () => api.create("none", { url: asked.url }), 404, "not_found");
  const allMade = [made];
  for (const uid of ["second", "third"]) allMade.push(await api.create("one", { url: receiver.url(`/${uid}`), uid }));
  const uids = uidsById(allMade);
  const list = (options) => api.list("one", options);
  same("list", (await allOf(list)).map(of("uid")), uids.toReversed());
  same("list, oldest first", (await allOf(list, { order: "ascending" })).map(of("uid")), uids);

  const changed = await api.upsert("one", "second", { url: receiver.url("/changed"), description: "Changed" });
  same("replaced", [changed.url, changed.description], [receiver.url("/changed"), "Changed"]);
  same("its uid is not in what replaces it", changed.uid ?? null, null);
  const put = await api.upsert("one", "fourth", { url: receiver.url("/fourth"), disabled: true });
  same("made by its uid", [put.uid, put.disabled], ["fourth", true]);
  const patched = await api.patch("one", "main", { description: "Main", eventTypes: ["invoice.paid"], channels: null });
  same("patched", [patched.description, patched.eventTypes, patched.channels ?? null], ["Main", ["invoice.paid"], null]);
  same("what was not patched", [patched.url, patched.throttleRate], [asked.url, 100]);
  for (const name of [changed.id, "third", "fourth"]) {
    await api.delete("one", name);
    await fails("gone", () => api.get("one", name), 404, "not_found");
  }

  await api.setHeaders("one", "main", { headers: { "X-A": "1", "X-B": "2" } });
  same("what was set", (await api.getHeaders("one", "main")).headers, { "X-A": "1", "X-B": "2" });
  await api.patchHeaders("one", "main", { headers: { "X-C": "3" }, deleteHeaders: ["X-A"] });
  same("what is left", (await api.getHeaders("one", "main")).headers, { "X-B": "2", "X-C": "3" });
  await api.setHeaders("one", "main", { headers: { Authorization: "Bearer hidden" } });
  const hidden = await api.getHeaders("one", "main");
  same("what is hidden", [hidden.headers, hidden.sensitive], [{}, ["Authorization"]]);

  const old = (await api.getSecret("one", "main")).key;
  const key = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
  await api.rotateSecret("one", "main", { key });
  same("rotated", (await api.getSecret("one", "main")).key, key);
  await api.rotateSecret("one", "main");
  const madeHere = (await api.getSecret("one", "main")).key;
  same("rotated to one that is made", [old, key].includes(madeHere), false);

  const example = await api.sendExample("one", "main", { eventType: "invoice.paid" });
  same("example", [example.eventType, typeof example.payload.invoice], ["invoice.paid", "number"]);
  const ping = await api.sendExample("one", "main", { eventType: "svix.ping" });
  same("ping", ping.payload, { success: true });
  const came = await receiver.waitFor("/main", 2);
  same("what came", came.map((one) => one.headers["webhook-id"]).sort(), [example.id, ping.id].sort());
  for (const secret of [old, key, madeHere]) verify(came[0], secret);
  same("its header", came[0].headers.authorization, "Bearer hidden");
}

async function messages() {
  const api = client.message;
  const asked = { eventType: "invoice.paid", eventId: "paid-1", payload: { invoice: 1 }, channels: ["eu"] };
  const sent = await api.create("one", asked, { withContent: true });
  same("sent", [sent.eventType, sent.eventId, sent.payload, sent.channels], ["invoice.paid", "paid-1", { invoice: 1 }, ["eu"]]);
  const came = (await receiver.waitFor("/main", 3))[2];
  same("what came", [came.headers["webhook-id"], JSON.parse(came.body)], [sent.id, { invoice: 1 }]);
  verify(came, (await client.endpoint.getSecret("one", "main")).key);
  await fails("taken", () => api.create("one", asked), 409, "conflict");
  const again = { eventType: "invoice.paid", eventId: "paid-2", payload: { invoice: 2 } };
  const bare = await api.create("one", again, { idempotencyKey: "key-2" });
  same("sent, without its content", [bare.eventId, bare.payload], ["paid-2", {}]);
  same("sent again with its key", (await api.create("one", again, { idempotencyKey: "key-2" })).id, bare.id);
  await invalid("a bad name", () => api.create("one", { eventType: "no blanks", payload: {} }), ["body", "eventType"]);
  const full = { withContent: true };
  same("read", await api.get("one", sent.id, full), sent);
  same("read by eventId", (await api.get("one", "paid-2", full)).payload, { invoice: 2 });
  same("read without content", (await api.get("one", "paid-2")).payload, {});
  await fails("none", () => api.get("one", "paid-3"), 404, "not_found");

  const list = (options) => api.list("one", options);
  const listed = await allOf(list);
  same("list", [listed.length, ...listed.slice(0, 2).map(of("eventId"))], [4, "paid-2", "paid-1"]);
  const eu = await allOf(list, { channel: "eu", withContent: true });
  same("list of a channel", eu.map((one) => [one.eventId, one.payload]), [["paid-1", { invoice: 1 }]]);
  const pings = await allOf(list, { eventTypes: ["svix.ping", "user.created"] });
  same("list of types", pings.map(of("eventType")), ["svix.ping"]);
  same("list of a time", (await api.list("one", { before: BEGAN })).data, []);
  same("list since", (await api.list("one", { after: BEGAN, limit: 250 })).data.map(of("id")), listed.map(of("id")));
  same("wanted", (await api.precheck("one", { eventType: "invoice.paid" })).active, true);
  same("not wanted", (await api.precheck("one", { eventType: "user.created" })).active, false);
  return sent;
}

async function attempts(sent) {
  const [api, main] = [client.messageAttempt, await client.endpoint.get("one", "main")];
  const ofMessage = (options) => api.listByMsg("one", "paid-1", options);
  const read = async () => (await ofMessage({ withContent: true })).data;
  const [attempt] = await until("attempts", read, (found) => found.length > 0);
  same("of a message", [attempt.msgId, attempt.endpointId, attempt.url], [sent.id, main.id, main.url]);
  same("its answer", [attempt.response, attempt.responseStatusCode], ["thank you", 200]);
  same("its status", [attempt.status, attempt.statusText, attempt.triggerType], [0, "success", 0]);
  same("read", await api.get("one", sent.id, attempt.id), attempt);
  const bare = (await ofMessage()).data;
  same("without content", [bare[0].id, bare[0].response], [attempt.id, ""]);
  same("failed ones", (await ofMessage({ status: 2 })).data, []);
  same("canceled ones", (await ofMessage({ status: 4 })).data, []);
  const chosen = await ofMessage({ statusCodeClass: 200, endpointId: "main", eventTypes: ["invoice.paid"] });
  same("chosen ones", chosen.data.map(of("id")), [attempt.id]);

  same("resent", await api.resend("one", sent.id, "main"), {});
  await receiver.waitFor("/main", 5);
  const both = await until("both", async () => (await ofMessage()).data, (found) => found.length === 2);
  same("by hand", both.map(of("triggerType")).sort(), [0, 1]);

  const ofEndpoint = (options) => api.listByEndpoint("one", "main", options);
  await until("attempts", () => allOf(ofEndpoint), (found) => found.length === 5);
  const eu = await allOf(ofEndpoint, { channel: "eu", withMsg: true });
  same("of an endpoint and a channel", [...new Set(eu.map(of("msgId")))], [sent.id]);
  const tried = await allOf((options) => api.listAttemptedMessages("one", "main", options), { withContent: true });
  const paid = tried.filter(of("eventId")).map((one) => [one.eventId, one.payload, one.status, one.statusText]);
  const wanted = [["paid-1", { invoice: 1 }, 0, "success"], ["paid-2", { invoice: 2 }, 0, "success"]];
  same("messages", paid.sort(), wanted);
  const [where, ...others] = (await api.listAttemptedDestinations("one", sent.id)).data;
  same("destinations", [where.id, where.uid, where.url, others.length], [main.id, "main", main.url, 0]);
  same("how it stands there", [where.status, where.statusText], [0, "success"]);
}

/** What no SDK of Svix knows. */
async function raw(method, path, body) {
  const headers = { authorization: `Bearer ${SERVER_TOKEN}`, "content-type": "application/json" };
  const answer = await fetch(`${SERVER_URL}/api/v1${path}`, { method, headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
}

async function tasks() {
  const [api, hooks] = [client.backgroundTask, client.endpoint];
  await hooks.create("one", { url: receiver.url("/flaky"), uid: "flaky", eventTypes: ["user.created"] });
  // One attempt, so that it is given up at once: a setting that SDKs of Svix do not know.
  await raw("PATCH", "/app/one/endpoint/flaky", { delivery: { retrySchedule: [] } });
  receiver.fail("/flaky", true);
  // A payload of one's own bytes, by the SDK's own means.
  const bytes = '{"user":  1.50}';
  const lost = await client.message.create("one", messageInRaw("user.created", bytes));
  const failed = async () => (await client.messageAttempt.listByMsg("one", lost.id, { status: 2, withContent: true })).data;
  const [attempt] = await until("failed", failed, (found) => found.length > 0);
  same("its answer", [attempt.response, attempt.responseStatusCode, attempt.statusText], ["not today", 500, "fail"]);
  receiver.fail("/flaky", false);
  const app = (await client.application.get("one")).id;

  const stats = await hooks.getStats("one", "flaky", { since: BEGAN });
  same("stats", stats, { success: 0, pending: 0, sending: 0, fail: 1, canceled: 0 });
  // Older SDKs have one kind of statistics only.
  const tried = await hooks.getAttemptStats?.("one", "flaky", { since: BEGAN });
  if (tried) same("stats of attempts", tried, { success: 0, fail: 1, canceled: 0 });

  async function ended(begun, name) {
    same("begun", begun.task, name);
    const task = await until("task", () => api.get(begun.id), (task) => task.status !== "running");
    same("task", [task.id, task.status, task.task, task.data.appId], [begun.id, "finished", name, app]);
    return task.data.messagesSent;
  }

  same("recovered", await ended(await hooks.recover("one", "flaky", { since: BEGAN }), "endpoint.recover"), 1);
  const came = await receiver.waitFor("/flaky", 2);
  same("the same message", came.map((one) => one.headers["webhook-id"]), [lost.id, lost.id]);
  same("the same bytes", came.map((one) => one.body.toString()), [bytes, bytes]);

  await hooks.create("one", { url: receiver.url("/late"), uid: "late", eventTypes: ["invoice.paid"] });
  same("replayed", await ended(await hooks.replayMissing("one", "late", { since: BEGAN }), "endpoint.replay"), 3);
  await receiver.waitFor("/late", 3);
  const asked = { since: BEGAN, eventTypes: ["invoice.paid"], channel: "eu", status: 0 };
  same("replayed once more", await ended(await hooks.bulkReplay("one", "late", asked), "endpoint.bulk-replay"), 1);
  await receiver.waitFor("/late", 4);

  const names = ["endpoint.bulk-replay", "endpoint.recover", "endpoint.replay"];
  same("list", (await allOf((options) => api.list(options))).map(of("task")).sort(), names);
  for (const task of names) {
    same("list of a kind", (await api.list({ task, status: "finished" })).data.map(of("task")), [task]);
  }
  same("list of what runs", (await api.list({ status: "running" })).data, []);
  await fails("none", () => api.get("qtask_none"), 404, "not_found");
}

async function forgetting() {
  const [api, tries] = [client.message, client.messageAttempt];
  const full = { withContent: true };
  const ids = [];
  for (const number of [7, 8, 9]) {
    const payload = { invoice: number };
    const asked = { eventType: "invoice.paid", eventId: `secret-${number}`, payload, tags: ["card", `n${number}`] };
    ids.push((await api.create("one", asked)).id);
  }
  const shown = await api.get("one", "secret-7", full);
  same("its tags", [shown.tags, shown.payload], [["card", "n7"], { invoice: 7 }]);
  const listed = async (tag) => (await api.list("one", { tag })).data.map(of("eventId"));
  same("list of a tag", await listed("card"), ["secret-9", "secret-8", "secret-7"]);
  same("list of another", await listed("n8"), ["secret-8"]);
  const later = new Date(Date.now() + 3600_000);
  const ahead = await api.create("one", { eventType: "svix.later", payload: {}, deliverAt: later });
  same("when it is to be delivered", ahead.deliverAt, later);

  await api.expungeContent("one", "secret-7");
  same("what is left", (await api.get("one", "secret-7", full)).payload, { expired: true });
  const several = await api.bulkExpungeContent("one", { ids: ["secret-8", "none"] });
  same("several", several.results, { "secret-8": "expunged", none: "not-found" });
  await fails("no payload to send", () => tries.resend("one", "secret-8", "main"), 400, "missing_payload");
  const read = async () => (await tries.listByMsg("one", "secret-9", full)).data;
  const [attempt] = await until("attempts", read, (found) => found.length > 0);
  same("an answer", attempt.response, "thank you");
  await tries.expungeContent("one", ids[2], attempt.id);
  same("what is left of it", (await tries.get("one", ids[2], attempt.id)).response, "EXPUNGED");
  const begun = await api.expungeAllContents("one");
  same("all, begun", begun.task, "application.purge_content");
  const task = await until("all", () => client.backgroundTask.get(begun.id), (task) => task.status !== "running");
  same("all", [task.status, task.data.messagesPurged > 0], ["finished", true]);
  same("nothing is left", (await api.get("one", "secret-9", full)).payload, { expired: true });
}

async function operationalWebhooks() {
  const api = client.operationalWebhook.endpoint;
  const asked = { url: receiver.url("/operator"), uid: "operator", eventTypes: ["endpoint.created"], headers: { "X-A": "1" } };
  const made = await api.create(asked);
  same("made", [made.url, made.uid, made.eventTypes], [asked.url, "operator", ["endpoint.created"]]);
  same("read", await api.get("operator"), made);
  same("list", (await api.list()).data.map(of("id")), [made.id]);
  same("its headers", (await api.getHeaders("operator")).headers, { "X-A": "1" });
  await api.setHeaders("operator", { headers: { "X-B": "2" } });
  same("other headers", (await api.getHeaders("operator")).headers, { "X-B": "2" });
  const key = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
  await api.rotateSecret("operator", { key });
  same("its secret", (await api.getSecret("operator")).key, key);
  const heard = await client.endpoint.create("one", { url: receiver.url("/heard"), uid: "heard" });
  const [came] = await receiver.waitFor("/operator", 1);
  verify(came, key);
  const told = JSON.parse(came.body);
  same("what is told", [told.type, told.data.endpointId], ["endpoint.created", heard.id]);
  const changed = await api.upsert("operator", { url: asked.url, uid: "operator", description: "Ours" });
  same("replaced", [changed.id, changed.description], [made.id, "Ours"]);
  await api.delete("operator");
  await fails("gone", () => api.get("operator"), 404, "not_found");
}

async function authentication() {
  const api = client.authentication;
  const given = await api.appPortalAccess("one", { expiry: 3600 });
  const portal = new Svix(given.token, { serverUrl: SERVER_URL });
  same("its application", (await portal.application.get("one")).id, (await client.application.get("one")).id);
  same("its endpoints", (await portal.endpoint.list("one")).data.map(of("uid")), ["heard", "late", "flaky", "main"]);
  await fails("others", () => portal.application.list(), 403, "insufficient access");
  const asked = { application: { name: "Portal", uid: "portal" }, featureFlags: ["beta"] };
  const made = await api.appPortalAccess("portal", asked);
  await fails("another application", () => portal.application.get("portal"), 404, "not_found");
  const other = new Svix(made.token, { serverUrl: SERVER_URL });
  same("one that was made", (await other.application.get("portal")).name, "Portal");
  const nobody = new Svix("nonsense", { serverUrl: SERVER_URL });
  await fails("no token", () => nobody.application.list(), 401, "authentication_failed");
}

let sent;
const resources = [health, applications, eventTypes, endpoints, messages, attempts, tasks, forgetting];
for (const resource of [...resources, operationalWebhooks, authentication]) {
  try {
    sent = (await resource(sent)) ?? sent;
  } catch (error) {
    console.error(error);
    console.log(`javascript ${VERSION}: ${resource.name}: FAILED: ${error.message}`);
    process.exit(1);
  }
  console.log(`javascript ${VERSION}: ${resource.name}: ok`);
}
receiver.stop();
