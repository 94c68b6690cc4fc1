"""Every resource of the official Python SDK, unmodified, against a running daemon.

Svix for Python 2.9.1 (../requirements.txt). Needs SERVER_URL and SERVER_TOKEN: an organisation with nothing in it.
"""

import asyncio
import json
import sys
import traceback

import svix
from svix.api import (
    AppPortalAccessIn,
    ApplicationIn,
    ApplicationListOptions,
    ApplicationPatch,
    ApplicationTokenExpireIn,
    BackgroundTaskListOptions,
    BulkReplayIn,
    EndpointGetAttemptStatsOptions,
    EndpointHeadersIn,
    EndpointHeadersPatchIn,
    EndpointIn,
    EndpointListOptions,
    EndpointPatch,
    EndpointSecretRotateIn,
    EndpointUpsertIn,
    EventExampleIn,
    EventTypeDeleteOptions,
    EventTypeIn,
    EventTypeListOptions,
    EventTypePatch,
    EventTypeUpsertIn,
    MessageAttemptListAttemptedMessagesOptions,
    MessageAttemptListByEndpointOptions,
    MessageAttemptListByMsgOptions,
    MessageCreateOptions,
    MessageGetOptions,
    MessageIn,
    MessageListOptions,
    MessagePrecheckIn,
    Ordering,
    RecoverIn,
    ReplayIn,
    Svix,
    SvixAsync,
    SvixOptions,
)
from svix.api.message import message_in_raw

from check import all_of, fails, invalid, same, until, verify
from forgetting import forgetting, operational_webhooks
from world import BEGAN, TOKEN, URL, client, raw, receiver

def health():
    same("health", client.health.get(), None)


def applications():
    api = client.application
    made = api.create(ApplicationIn(name="One", uid="one", throttle_rate=70, metadata={"plan": "gold"}))
    same("made", (made.name, made.uid, made.throttle_rate, made.metadata), ("One", "one", 70, {"plan": "gold"}))
    same("its times", made.created_at, made.updated_at)
    same("read by id", api.get(made.id), made)
    same("read by uid", api.get("one"), made)
    same("found", api.get_or_create(ApplicationIn(name="Other", uid="one")), made)
    fails("taken", lambda: api.create(ApplicationIn(name="Other", uid="one")), 409, "conflict")
    invalid("a bad uid", lambda: api.create(ApplicationIn(name="Other", uid="no blanks")), ["body", "uid"])
    all_made = [made]
    for uid in ["two", "three", "four", "five"]:
        all_made.append(api.get_or_create(ApplicationIn(name=uid, uid=uid)))
    # Lists are by id, which is the order in which they were made.
    uids = [app.uid for app in all_made]
    same("list", [app.uid for app in all_of(api.list, ApplicationListOptions)], uids)
    backwards = all_of(api.list, ApplicationListOptions, order=Ordering.DESCENDING)
    same("list, newest first", [app.uid for app in backwards], uids[::-1])
    second = api.list(ApplicationListOptions(limit=2, iterator=api.list(ApplicationListOptions(limit=2)).iterator))
    before = api.list(ApplicationListOptions(limit=2, iterator=second.prev_iterator))
    same("the page before", [app.uid for app in before.data], uids[:2])

    changed = api.upsert("one", ApplicationIn(name="One more", uid="one", metadata={"plan": "iron"}))
    same("replaced", (changed.id, changed.name, changed.metadata), (made.id, "One more", {"plan": "iron"}))
    same("its rate is gone", changed.throttle_rate, None)
    put = api.upsert("six", ApplicationIn(name="Six", uid="six"))
    same("made by its uid", (put.uid, put.name), ("six", "Six"))
    patched = api.patch("one", ApplicationPatch(name="Acme", throttle_rate=None, metadata={}))
    same("patched", (patched.name, patched.uid, patched.throttle_rate, patched.metadata), ("Acme", "one", None, {}))
    for uid in ["two", "three", "four", "five", "six"]:
        same("deleted", api.delete(uid), None)
        fails("gone", lambda: api.get(uid), 404, "not_found")
    same("list of what is left", [app.uid for app in api.list().data], ["one"])
    # The other client of the same SDK.
    listed = asyncio.run(SvixAsync(TOKEN, SvixOptions(server_url=URL)).application.list())
    same("list, asynchronous", [app.id for app in listed.data], [made.id])


def nulls():
    """Whatever its caller leaves out this SDK may send as null, and does so for `None`."""
    app = ApplicationIn(name="Nulls", uid="nulls", metadata=None, throttle_rate=None)
    same("an application", client.application.create(app).metadata, {})
    same("replaced", client.application.upsert("nulls", app).metadata, {})
    everything = {"uid": "nulls", "description": None, "disabled": None, "event_types": None, "channels": None}
    everything |= {"metadata": None, "headers": None, "secret": None, "throttle_rate": None}
    made = client.endpoint.create("nulls", EndpointIn(url=receiver.url("/nulls"), **everything))
    same("an endpoint", (made.description, made.disabled, made.event_types, made.metadata), ("", False, None, {}))
    some = {name: None for name in everything if name in EndpointUpsertIn.model_fields} | {"uid": "nulls"}
    put = client.endpoint.upsert("nulls", "nulls", EndpointUpsertIn(url=receiver.url("/nulls"), **some))
    same("an endpoint, replaced", (put.description, put.metadata), ("", {}))
    some = {name: None for name in EventTypeIn.model_fields if name not in ["name", "description"]}
    made = client.event_type.create(EventTypeIn(name="null", description="", **some))
    same("an event type", (made.archived, made.schemas), (False, None))
    some = {name: None for name in EventTypeUpsertIn.model_fields if name != "description"}
    same("replaced", client.event_type.upsert("null", EventTypeUpsertIn(description="", **some)).archived, False)
    client.event_type.delete("null", EventTypeDeleteOptions(expunge=True))
    some = {name: None for name in MessageIn.model_fields if name not in ["event_type", "payload", "application"]}
    sent = client.message.create("nulls", MessageIn(event_type="null", payload={}, application=app, **some))
    same("a message", (sent.channels, sent.tags), (None, None))
    some = {name: None for name in AppPortalAccessIn.model_fields if name != "application"}
    given = client.authentication.app_portal_access("nulls", AppPortalAccessIn(application=app, **some))
    same("an address", given.url.startswith(URL), True)
    client.endpoint.rotate_secret("nulls", "nulls", EndpointSecretRotateIn(key=None))
    client.endpoint.recover("nulls", "nulls", RecoverIn(since=BEGAN, until=None))
    client.application.delete("nulls")
    # As the SDKs for C#, Kotlin and Java want it: those in other languages get no body.
    path = "/app/one/endpoint/main/secret/rotate"
    same("rotated by others", raw("POST", path, {}, agent="svix-libs/1.0.0/kotlin"), None)


def event_types():
    api = client.event_type
    schemas = {"1": {"type": "object", "properties": {"invoice": {"type": "integer"}}, "required": ["invoice"]}}
    made = api.create(
        EventTypeIn(name="invoice.paid", description="Paid", schemas=schemas, group_name="invoices", deprecated=False)
    )
    same("made", (made.name, made.description, made.schemas, made.group_name), ("invoice.paid", "Paid", schemas, "invoices"))
    same("its flags", (made.archived, made.deprecated), (False, False))
    same("read", api.get("invoice.paid"), made)
    fails("taken", lambda: api.create(EventTypeIn(name="invoice.paid", description="")), 409, "event_type_exists")
    flagged = api.create(EventTypeIn(name="invoice.beta", description="Soon", feature_flags=["beta"]))
    same("its feature flags", flagged.feature_flags, ["beta"])
    for name in ["invoice.sent", "user.created"]:
        api.create(EventTypeIn(name=name, description=name))
    names = ["invoice.beta", "invoice.paid", "invoice.sent", "user.created"]
    listed = all_of(api.list, EventTypeListOptions)
    same("list", [one.name for one in listed], names)
    same("list without schemas", [one.schemas for one in listed], [None] * 4)
    with_content = api.list(EventTypeListOptions(with_content=True)).data
    same("list with schemas", with_content[1].schemas, schemas)

    changed = api.upsert("invoice.sent", EventTypeUpsertIn(description="Sent", schemas=schemas))
    same("replaced", (changed.description, changed.schemas), ("Sent", schemas))
    same("made by name", api.upsert("user.deleted", EventTypeUpsertIn(description="Gone")).name, "user.deleted")
    patched = api.patch("invoice.sent", EventTypePatch(deprecated=True))
    same("patched", (patched.description, patched.deprecated, patched.schemas), ("Sent", True, schemas))
    same("archived", api.delete("user.deleted"), None)
    same("it is archived", api.get("user.deleted").archived, True)
    same("list without it", [one.name for one in api.list().data], names)
    everything = api.list(EventTypeListOptions(include_archived=True)).data
    same("list with it", [one.name for one in everything], [*names, "user.deleted"])
    again = api.create(EventTypeIn(name="user.deleted", description="Back"))
    same("taken back", (again.archived, again.description), (False, "Back"))
    api.delete("user.deleted", EventTypeDeleteOptions(expunge=True))
    fails("gone", lambda: api.get("user.deleted"), 404, "not_found")


def endpoints():
    api = client.endpoint
    asked = EndpointIn(
        url=receiver.url("/main"),
        uid="main",
        description="The main one",
        throttle_rate=100,
        event_types=["invoice.paid", "invoice.sent"],
        channels=["eu"],
        metadata={"team": "billing"},
        headers={"X-Team": "billing"},
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    made = api.create("one", asked)
    same("made", (made.url, made.uid, made.description), (asked.url, "main", "The main one"))
    same("its filters", (made.event_types, made.channels), (["invoice.paid", "invoice.sent"], ["eu"]))
    same("the rest of it", (made.throttle_rate, made.metadata, made.disabled), (100, {"team": "billing"}, False))
    same("read by id", api.get("one", made.id), made)
    same("read by uid", api.get("one", "main"), made)
    same("its headers", api.get_headers("one", "main").headers, {"X-Team": "billing"})
    same("its secret", api.get_secret("one", "main").key, asked.secret)
    invalid("no url", lambda: api.create("one", EndpointIn(url="nowhere")), ["body", "url"])
    fails("no application", lambda: api.create("none", EndpointIn(url=asked.url)), 404, "not_found")
    all_made = [made]
    for uid in ["second", "third"]:
        all_made.append(api.create("one", EndpointIn(url=receiver.url(f"/{uid}"), uid=uid)))
    uids = [one.uid for one in all_made]
    listing = lambda options: api.list("one", options)
    same("list", [one.uid for one in all_of(listing, EndpointListOptions)], uids[::-1])
    oldest = all_of(listing, EndpointListOptions, order=Ordering.ASCENDING)
    same("list, oldest first", [one.uid for one in oldest], uids)

    changed = api.upsert("one", "second", EndpointUpsertIn(url=receiver.url("/changed"), description="Changed"))
    same("replaced", (changed.url, changed.description), (receiver.url("/changed"), "Changed"))
    same("its uid is not in what replaces it", changed.uid, None)
    put = api.upsert("one", "fourth", EndpointUpsertIn(url=receiver.url("/fourth"), disabled=True))
    same("made by its uid", (put.uid, put.disabled), ("fourth", True))
    patched = api.patch("one", "main", EndpointPatch(description="Main", event_types=["invoice.paid"], channels=None))
    same("patched", (patched.description, patched.event_types, patched.channels), ("Main", ["invoice.paid"], None))
    same("what was not patched", (patched.url, patched.throttle_rate), (asked.url, 100))
    for name in [changed.id, "third", "fourth"]:
        same("deleted", api.delete("one", name), None)
        fails("gone", lambda: api.get("one", name), 404, "not_found")

    same("headers set", api.set_headers("one", "main", EndpointHeadersIn(headers={"X-A": "1", "X-B": "2"})), None)
    same("what was set", api.get_headers("one", "main").headers, {"X-A": "1", "X-B": "2"})
    same("headers changed", api.patch_headers("one", "main", EndpointHeadersPatchIn(headers={"X-C": "3"}, delete_headers=["X-A"])), None)
    same("what is left", api.get_headers("one", "main").headers, {"X-B": "2", "X-C": "3"})
    api.set_headers("one", "main", EndpointHeadersIn(headers={"Authorization": "Bearer hidden"}))
    hidden = api.get_headers("one", "main")
    same("what is hidden", (hidden.headers, hidden.sensitive), ({}, ["Authorization"]))

    old = api.get_secret("one", "main").key
    new = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    rotated = api.rotate_secret("one", "main", EndpointSecretRotateIn(key=new))
    same("rotated", (rotated.key, api.get_secret("one", "main").key), (new, new))
    made_here = api.rotate_secret("one", "main", EndpointSecretRotateIn()).key
    same("rotated to one that is made", api.get_secret("one", "main").key, made_here)

    example = api.send_example("one", "main", EventExampleIn(event_type="invoice.paid"))
    same("example", (example.event_type, type(example.payload["invoice"])), ("invoice.paid", int))
    beyond = EventExampleIn(event_type="svix.ping", example_index=1)
    invalid("no such example", lambda: api.send_example("one", "main", beyond), ["body", "exampleIndex"])
    ping = api.send_example("one", "main", EventExampleIn(event_type="svix.ping"))
    same("ping", ping.payload, {"success": True})
    came = receiver.wait_for("/main", 2)
    same("what came", sorted(one.headers["webhook-id"] for one in came), sorted([example.id, ping.id]))
    for secret in [old, new, made_here]:
        verify(came[0], secret)
    same("its header", came[0].headers["Authorization"], "Bearer hidden")


def messages():
    api = client.message
    asked = MessageIn(event_type="invoice.paid", event_id="paid-1", payload={"invoice": 1}, channels=["eu"])
    sent = api.create("one", asked, MessageCreateOptions(with_content=True))
    same("sent", (sent.event_type, sent.event_id, sent.payload), ("invoice.paid", "paid-1", {"invoice": 1}))
    same("its channels", sent.channels, ["eu"])
    came = receiver.wait_for("/main", 3)[2]
    same("what came", (came.headers["webhook-id"], json.loads(came.body)), (sent.id, {"invoice": 1}))
    verify(came, client.endpoint.get_secret("one", "main").key)
    fails("taken", lambda: api.create("one", asked), 409, "conflict")
    again = MessageIn(event_type="invoice.paid", event_id="paid-2", payload={"invoice": 2})
    bare = api.create("one", again, MessageCreateOptions(idempotency_key="key-2"))
    same("sent, without its content", (bare.event_id, bare.payload), ("paid-2", {}))
    same("sent again with its key", api.create("one", again, MessageCreateOptions(idempotency_key="key-2")).id, bare.id)
    invalid("not as its schema", lambda: api.create("one", MessageIn(event_type="no blanks", payload={})), ["body", "eventType"])
    new = MessageIn(event_type="invoice.paid", payload={}, application=ApplicationIn(name="New", uid="new"))
    invalid("its application, by another name", lambda: api.create("newer", new), ["body", "application", "uid"])
    api.create("new", new)
    same("its application", client.application.get("new").name, "New")
    own = EventExampleIn(event_type="invoice.paid", payload={"invoice": 70})
    client.endpoint.create("new", EndpointIn(url=receiver.url("/new"), uid="new"))
    same("a payload in place of an example", client.endpoint.send_example("new", "new", own).payload, {"invoice": 70})
    full = MessageGetOptions(with_content=True)
    same("read", api.get("one", sent.id, full), sent)
    same("read by eventId", api.get("one", "paid-2", full).payload, {"invoice": 2})
    same("read without content", api.get("one", "paid-2").payload, {})
    fails("none", lambda: api.get("one", "paid-3"), 404, "not_found")

    listing = lambda options: api.list("one", options)
    listed = all_of(listing, MessageListOptions)
    same("list", [one.event_id for one in listed[:2]], ["paid-2", "paid-1"])
    same("how many", len(listed), 4)
    paid = all_of(listing, MessageListOptions, channel="eu", with_content=True)
    same("list of a channel", [(one.event_id, one.payload) for one in paid], [("paid-1", {"invoice": 1})])
    pings = all_of(listing, MessageListOptions, event_types=["svix.ping", "user.created"])
    same("list of types", [one.event_type for one in pings], ["svix.ping"])
    same("list of a time", api.list("one", MessageListOptions(before=BEGAN)).data, [])
    since = api.list("one", MessageListOptions(after=BEGAN, limit=250)).data
    same("list since", [one.id for one in since], [one.id for one in listed])
    active = lambda **asked: api.precheck("one", MessagePrecheckIn(**asked)).active
    same("wanted", active(event_type="invoice.paid"), True)
    same("not wanted", active(event_type="user.created"), False)
    return sent


def attempts(sent):
    api, main = client.message_attempt, client.endpoint.get("one", "main")
    full = MessageAttemptListByMsgOptions(with_content=True)
    attempt = until("attempts", lambda: api.list_by_msg("one", "paid-1", full).data, bool)[0]
    same("of a message", (attempt.msg_id, attempt.endpoint_id, attempt.url), (sent.id, main.id, main.url))
    same("its answer", (attempt.response, attempt.response_status_code), ("thank you", 200))
    same("its status", (attempt.status, attempt.status_text, attempt.trigger_type), (0, "success", 0))
    same("read", api.get("one", sent.id, attempt.id), attempt)
    bare = api.list_by_msg("one", sent.id).data
    same("without content", (bare[0].id, bare[0].response), (attempt.id, ""))
    same("failed ones", api.list_by_msg("one", sent.id, MessageAttemptListByMsgOptions(status=2)).data, [])
    same("canceled ones", api.list_by_msg("one", sent.id, MessageAttemptListByMsgOptions(status=4)).data, [])
    chosen = MessageAttemptListByMsgOptions(status_code_class=200, endpoint_id="main", event_types=["invoice.paid"])
    same("chosen ones", [one.id for one in api.list_by_msg("one", sent.id, chosen).data], [attempt.id])

    resent = api.resend("one", sent.id, "main")
    same("resent", resent.model_dump(), {})
    receiver.wait_for("/main", 5)
    by_hand = lambda: api.list_by_msg("one", sent.id).data
    both = until("both", by_hand, lambda found: len(found) == 2)
    same("by hand", sorted(one.trigger_type for one in both), [0, 1])

    listing = lambda options: api.list_by_endpoint("one", "main", options)
    count = lambda: len(all_of(listing, MessageAttemptListByEndpointOptions))
    same("of an endpoint", until("attempts", count, lambda found: found == 5), 5)
    eu = all_of(listing, MessageAttemptListByEndpointOptions, channel="eu", with_msg=True)
    same("of an endpoint and a channel", {one.msg_id for one in eu}, {sent.id})
    listing = lambda options: api.list_attempted_messages("one", "main", options)
    tried = all_of(listing, MessageAttemptListAttemptedMessagesOptions, with_content=True)
    paid = [(one.event_id, one.payload, one.status, one.status_text) for one in tried if one.event_id]
    same("messages", sorted(paid), [("paid-1", {"invoice": 1}, 0, "success"), ("paid-2", {"invoice": 2}, 0, "success")])
    (where,) = api.list_attempted_destinations("one", sent.id).data
    same("destinations", (where.id, where.uid, where.url), (main.id, "main", main.url))
    same("how it stands there", (where.status, where.status_text), (0, "success"))


def tasks():
    api, endpoints = client.background_task, client.endpoint
    client.endpoint.create("one", EndpointIn(url=receiver.url("/flaky"), uid="flaky", event_types=["user.created"]))
    # One attempt, so that it is given up at once: a setting that SDKs of Svix do not know.
    raw("PATCH", "/app/one/endpoint/flaky", {"delivery": {"retrySchedule": []}})
    receiver.fail("/flaky", True)
    # A payload that keeps its bytes, by the SDK's own means.
    raw_bytes = '{"user":  1.50}'
    lost = client.message.create("one", message_in_raw("user.created", raw_bytes))
    failed = MessageAttemptListByMsgOptions(status=2, with_content=True)
    attempt = until("failed", lambda: client.message_attempt.list_by_msg("one", lost.id, failed).data, bool)[0]
    same("its answer", (attempt.response, attempt.response_status_code, attempt.status_text), ("not today", 500, "fail"))
    receiver.fail("/flaky", False)

    def ended(begun, name):
        same("begun", str(begun.task), name)
        task = until("task", lambda: api.get(begun.id), lambda task: task.status != "running")
        same("task", (task.id, str(task.status), str(task.task)), (begun.id, "finished", name))
        same("its endpoint", task.data["appId"], client.application.get("one").id)
        return task.data

    stats = endpoints.get_stats("one", "flaky")
    same("stats", (stats.success, stats.pending, stats.sending, stats.fail, stats.canceled), (0, 0, 0, 1, 0))
    tried = endpoints.get_attempt_stats("one", "flaky", EndpointGetAttemptStatsOptions(since=BEGAN))
    same("stats of attempts", (tried.success, tried.fail, tried.canceled), (0, 1, 0))
    data = ended(endpoints.recover("one", "flaky", RecoverIn(since=BEGAN)), "endpoint.recover")
    same("recovered", (data["done"], data["messagesSent"]), (1, 1))
    came = receiver.wait_for("/flaky", 2)
    same("the same message", {one.headers["webhook-id"] for one in came}, {lost.id})
    same("the same bytes", {one.body for one in came}, {raw_bytes.encode()})

    endpoints.create("one", EndpointIn(url=receiver.url("/late"), uid="late", event_types=["invoice.paid"]))
    data = ended(endpoints.replay_missing("one", "late", ReplayIn(since=BEGAN)), "endpoint.replay")
    same("replayed", data["messagesSent"], 3)
    receiver.wait_for("/late", 3)
    asked = BulkReplayIn(since=BEGAN, event_types=["invoice.paid"], channel="eu", status=0)
    data = ended(endpoints.bulk_replay("one", "late", asked), "endpoint.bulk-replay")
    same("replayed once more", data["messagesSent"], 1)
    receiver.wait_for("/late", 4)

    listed = all_of(api.list, BackgroundTaskListOptions)
    names = ["endpoint.bulk-replay", "endpoint.recover", "endpoint.replay"]
    same("list", sorted(str(task.task) for task in listed), names)
    for name in names:
        chosen = api.list(BackgroundTaskListOptions(task=name, status="finished")).data
        same("list of a kind", [str(task.task) for task in chosen], [name])
    same("list of what runs", api.list(BackgroundTaskListOptions(status="running")).data, [])
    fails("none", lambda: api.get("qtask_none"), 404, "not_found")


def authentication():
    given = client.authentication.app_portal_access("one", AppPortalAccessIn(expiry=3600))
    portal = Svix(given.token, SvixOptions(server_url=URL))
    same("its application", portal.application.get("one").id, client.application.get("one").id)
    same("its endpoints", {one.uid for one in portal.endpoint.list("one").data}, {"main", "flaky", "late", "heard"})
    fails("others", portal.application.list, 403, "insufficient access")
    made = client.authentication.app_portal_access(
        "portal", AppPortalAccessIn(application=ApplicationIn(name="Portal", uid="portal"), feature_flags=["beta"])
    )
    fails("another application", lambda: portal.application.get("portal"), 404, "not_found")
    portal = Svix(made.token, SvixOptions(server_url=URL))
    same("one that was made", portal.application.get("portal").name, "Portal")
    client.event_type.create(EventTypeIn(name="invoice.hidden", description="Soon", feature_flags=["beta"]))
    same("seen with its flag", portal.event_type.get("invoice.hidden").name, "invoice.hidden")
    given = client.authentication.app_portal_access("one", AppPortalAccessIn(session_id="laptop"))
    portal = Svix(given.token, SvixOptions(server_url=URL))
    fails("hidden without it", lambda: portal.event_type.get("invoice.hidden"), 404, "not_found")
    hidden = EndpointIn(url="http://127.0.0.1:9/", event_types=["invoice.hidden"])
    invalid("asked for what is hidden", lambda: portal.endpoint.create("one", hidden), ["body", "eventTypes"])
    client.authentication.expire_all("one", ApplicationTokenExpireIn(session_ids=["phone"]))
    same("another session", portal.application.get("one").uid, "one")
    client.authentication.expire_all("one", ApplicationTokenExpireIn(session_ids=["laptop"]))
    fails("a session that was expired", lambda: portal.application.get("one"), 401, "authentication_failed")
    nobody = Svix("nonsense", SvixOptions(server_url=URL))
    fails("no token", nobody.application.list, 401, "authentication_failed")


def main():
    sent = None
    resources = [health, applications, event_types, endpoints, messages, attempts, tasks, forgetting]
    for resource in [*resources, operational_webhooks, authentication, nulls]:
        try:
            if resource is attempts:
                resource(sent)
            else:
                sent = resource() or sent
        except Exception as error:
            traceback.print_exc(chain=False)
            print(f"python {svix.__version__}: {resource.__name__}: FAILED: {error!r}")
            sys.exit(1)
        print(f"python {svix.__version__}: {resource.__name__}: ok", flush=True)


main()
