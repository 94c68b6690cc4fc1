"""What `schemathesis` cannot know: things that are there, and rules that a schema cannot tell.

Requests that are to be accepted are changed so that they are about something, and keep those rules; requests that are to
be refused stay wrong. Needs SERVER_URL and SERVER_TOKEN: an organisation with nothing in it.
"""

import itertools
import json
import os
import time
from datetime import datetime, timedelta, timezone

import requests
import schemathesis
from schemathesis import GenerationMode

BASE = os.environ["SERVER_URL"] + "/api/v1"
HEADERS = {"Authorization": f"Bearer {os.environ['SERVER_TOKEN']}"}


def ask(method, path, body=None):
    answer = requests.request(method, BASE + path, json=body, headers=HEADERS, timeout=10)
    answer.raise_for_status()
    return answer.json()


def things():
    """One of each, by the names that paths have for them."""
    app = ask("POST", "/app", {"name": "Acme"})["id"]
    # Nobody listens there, so that the message is given up at once.
    settings = {"retrySchedule": [], "breaker": None}
    hook = ask("POST", f"/app/{app}/endpoint", {"url": "http://127.0.0.1:9/hook", "delivery": settings})["id"]
    event_type = {"name": "invoice.paid", "description": "Paid", "schemas": {"1": {"type": "object"}}}
    ask("POST", "/event-type", event_type)
    sent = ask("POST", f"/app/{app}/msg", {"eventType": "invoice.paid", "payload": {"invoice": 1}})["id"]
    began = time.monotonic()
    while not (dead := ask("GET", f"/app/{app}/dead-letter")["data"]):
        assert time.monotonic() - began < 20, "the message was not given up"
        time.sleep(0.05)
    attempt = ask("GET", f"/app/{app}/attempt/msg/{sent}")["data"][0]["id"]
    since = (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()
    task = ask("POST", f"/app/{app}/endpoint/{hook}/replay-missing", {"since": since})["id"]
    names = {"app_id": app, "endpoint_id": hook, "msg_id": sent, "attempt_id": attempt, "task_id": task}
    webhook = requests.post(
        BASE.removesuffix("/v1") + "/webhooks", json={"url": "http://127.0.0.1:9/"}, headers=HEADERS, timeout=10
    ).json()["id"]
    return {**names, "webhook_id": webhook, "event_type_name": "invoice.paid", "dead_letter_id": dead[0]["id"]}


THINGS = things()
# They stay for those who come later.
KEPT = ["/app/{app_id}", "/api/webhooks/{webhook_id}", "/app/{app_id}/endpoint/{endpoint_id}", "/event-type/{event_type_name}"]
turns = itertools.cycle([True, False])


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return "\n".join(json.dumps(line) for line in (value if isinstance(value, list) else [value])).encode()


def has_null(value):
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return value is None
    return any(has_null(part) for part in value)


@schemathesis.hook
def filter_case(context, case):
    """Null is taken for an absent field, though the document does not say so: what is wrong may be only that."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.NEGATIVE:
        return True
    return not has_null(case.body)


@schemathesis.hook
def before_call(context, case, **kwargs):
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    path = case.operation.path.removeprefix("/api/v1")
    is_kept = case.method == "DELETE" and path in KEPT
    # Steps that follow each other are about what the first of them made.
    is_alone = case.meta.phase.name != "stateful"
    if case.path_parameters and is_alone and not is_kept and next(turns):
        case.path_parameters.update({name: THINGS[name] for name in case.path_parameters if name in THINGS})
    if case.query:
        # Of another page of the same list: nobody can guess one.
        case.query.pop("iterator", None)
        if path.endswith("stats"):
            # At most 28 days.
            case.query.pop("since", None)
            case.query.pop("until", None)
    if not is_alone and case.headers:
        # A key that was used before is answered as then, about what may be gone.
        case.headers.pop("idempotency-key", None)
    if not isinstance(case.body, (dict, list)):
        return
    body = whole(case.body)
    if path.endswith("/msg"):
        body = message(body)
    elif path.endswith("/msg/batch"):
        body = [message(part) if isinstance(part, dict) else part for part in body] if isinstance(body, list) else message(body)
    elif path.endswith("/import/openapi"):
        # One of the two ways to give a document, and not every object is one.
        body.pop("specRaw", None)
        body["spec"] = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "webhooks": {}}
        # Or it archives what all others are about.
        body["replaceAll"] = False
    elif path.startswith("/event-type"):
        body = event_type(body)
        if case.method == "PUT":
            # Only the name in the path may stand there.
            body.pop("name", None)
    else:
        body = other(body)
        if path.startswith("/operational-webhook/") and "url" in body:
            # Or each of them is told of all that happens, and nobody listens.
            body["disabled"] = True
        if path.endswith(("/bulk-replay", "/dead-letter/redrive")):
            # Not of all that are there, again and again.
            body["eventTypes"] = ["invoice.paid"]
        if path.endswith("/send-example"):
            # There are not so many.
            body.pop("exampleIndex", None)
            if next(turns):
                body["eventType"] = "invoice.paid"
    case.body = body


def whole(value):
    """`1.0` is an integer to JSON Schema, and none to whoever reads it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [whole(part) for part in value]
    if isinstance(value, dict):
        value = {name: whole(part) for name, part in value.items()}
        wait = value.get("disableAfterSeconds")
        if isinstance(wait, (int, float)) and 0 < wait < 3600:
            # Never, or an hour at least.
            value["disableAfterSeconds"] = 3600
        return value
    return value


def message(body):
    # Exactly one of three, or a raw one beside an empty one; and no name that was taken before.
    body["payload"] = body.get("payload") or {}
    if body["payload"]:
        body.pop("transformationsParams", None)
    # A time that lies ahead, but not too far; one of two ways to say how long it is kept.
    # Its application would be one that nobody asked for.
    for name in ["payloadText", "payloadBase64", "eventId", "deliverAt", "payloadRetentionHours", "application"]:
        body.pop(name, None)
    return body


def event_type(body):
    if body.get("featureFlags"):
        # One flag, in either spelling.
        body.pop("featureFlag", None)
    if body.get("schemas"):
        # Not every object is a JSON Schema.
        body["schemas"] = {version: {} for version in body["schemas"]}
    return body


def other(body):
    # Names that are taken, that must be the one in the path, or of event types that nobody has described.
    for name in ["uid", "application", "eventTypes", "events", "id"]:
        body.pop(name, None)
    if body.get("url"):
        # Not every text with the right beginning is a target that may be called.
        body["url"] = "http://127.0.0.1:9/hook"
    if "since" in body:
        # At most 14 days ago, and before its end. Of all that was ever sent it would be more work than all the rest.
        body["since"] = (datetime.now(timezone.utc) - timedelta(seconds=2)).isoformat()
        body.pop("until", None)
    for name in ["before", "after"]:
        if body.get(name) == "":
            # The generator forgets the format of a text that may be null.
            body[name] = None
    if body.get("delivery"):
        delivery(body["delivery"])
    return body


def delivery(settings):
    if not settings.get("ordering"):
        # What becomes of those behind a delivery means something only where there is an order.
        settings.pop("onExhausted", None)
    breaker = settings.get("breaker")
    if breaker:
        low, high = breaker.get("cooldownSeconds", 10), breaker.get("maxCooldownSeconds", 600)
        breaker["cooldownSeconds"], breaker["maxCooldownSeconds"] = min(low, high), max(low, high)
