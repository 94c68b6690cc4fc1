"""Tags, messages for later, and payloads and answers that are forgotten; and what operators hear."""

import json
from datetime import datetime, timedelta, timezone

from svix.api import (
    BulkExpungeContentsIn,
    EndpointIn,
    MessageAttemptListByMsgOptions,
    MessageGetOptions,
    MessageIn,
    MessageListOptions,
    OperationalWebhookEndpointHeadersIn,
    OperationalWebhookEndpointIn,
    OperationalWebhookEndpointSecretIn,
    OperationalWebhookEndpointUpsertIn,
)

from check import fails, same, until, verify
from world import client, receiver


def forgetting():
    api, attempts = client.message, client.message_attempt
    full = MessageGetOptions(with_content=True)
    tagged = lambda number: MessageIn(
        event_type="invoice.paid", event_id=f"secret-{number}", payload={"invoice": number}, tags=["card", f"n{number}"]
    )
    ids = [api.create("one", tagged(number)).id for number in [7, 8, 9]]
    shown = api.get("one", "secret-7", full)
    same("its tags", (shown.tags, shown.payload), (["card", "n7"], {"invoice": 7}))
    listed = api.list("one", MessageListOptions(tag="card")).data
    same("list of a tag", [one.event_id for one in listed], ["secret-9", "secret-8", "secret-7"])
    same("list of another", [one.event_id for one in api.list("one", MessageListOptions(tag="n8")).data], ["secret-8"])
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    ahead = api.create("one", MessageIn(event_type="svix.later", payload={}, deliver_at=later))
    same("when it is to be delivered", ahead.deliver_at, later)

    same("forgotten", api.expunge_content("one", "secret-7"), None)
    same("what is left", api.get("one", "secret-7", full).payload, {"expired": True})
    several = api.bulk_expunge_content("one", BulkExpungeContentsIn(ids=["secret-8", "none"]))
    same("several", {name: str(became) for name, became in several.results.items()}, {"secret-8": "expunged", "none": "not-found"})
    fails("no payload to send", lambda: attempts.resend("one", "secret-8", "main"), 400, "missing_payload")
    listing = lambda: attempts.list_by_msg("one", "secret-9", MessageAttemptListByMsgOptions(with_content=True)).data
    attempt = until("attempts", listing, bool)[0]
    same("an answer", attempt.response, "thank you")
    same("an answer forgotten", attempts.expunge_content("one", ids[2], attempt.id), None)
    same("what is left of it", attempts.get("one", ids[2], attempt.id).response, "EXPUNGED")
    begun = api.expunge_all_contents("one")
    same("all, begun", str(begun.task), "application.purge_content")
    task = until("all", lambda: client.background_task.get(begun.id), lambda task: task.status != "running")
    same("all", (str(task.status), task.data["messagesPurged"] > 0), ("finished", True))
    same("nothing is left", api.get("one", "secret-9", full).payload, {"expired": True})


def operational_webhooks():
    api = client.operational_webhook.endpoint
    asked = OperationalWebhookEndpointIn(
        url=receiver.url("/operator"), uid="operator", event_types=["endpoint.created"], headers={"X-A": "1"}
    )
    made = api.create(asked)
    same("made", (made.url, made.uid, made.event_types), (asked.url, "operator", ["endpoint.created"]))
    same("read", api.get("operator"), made)
    same("list", [one.id for one in api.list().data], [made.id])
    same("its headers", api.get_headers("operator").headers, {"X-A": "1"})
    api.set_headers("operator", OperationalWebhookEndpointHeadersIn(headers={"X-B": "2"}))
    same("other headers", api.get_headers("operator").headers, {"X-B": "2"})
    key = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    same("rotated", api.rotate_secret("operator", OperationalWebhookEndpointSecretIn(key=key)), None)
    same("its secret", api.get_secret("operator").key, key)
    heard = client.endpoint.create("one", EndpointIn(url=receiver.url("/heard"), uid="heard"))
    came = receiver.wait_for("/operator", 1)[0]
    verify(came, key)
    told = json.loads(came.body)
    same("what is told", (told["type"], told["data"]["endpointId"]), ("endpoint.created", heard.id))
    changed = api.upsert("operator", OperationalWebhookEndpointUpsertIn(url=asked.url, uid="operator", description="Ours"))
    same("replaced", (changed.id, changed.description), (made.id, "Ours"))
    api.delete("operator")
    fails("gone", lambda: api.get("operator"), 404, "not_found")
