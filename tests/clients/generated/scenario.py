"""The client that openapi-python-client makes of the document creates, publishes and lists."""

import os

from postrider_client import AuthenticatedClient
from postrider_client.api.application import v1_application_create
from postrider_client.api.endpoint import v1_endpoint_create, v1_endpoint_list
from postrider_client.api.message import v1_message_create, v1_message_list
from postrider_client.models import AnyObject, ApplicationIn, EndpointIn, MessageIn


def same(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, not {wanted!r}")


client = AuthenticatedClient(base_url=os.environ["SERVER_URL"], token=os.environ["SERVER_TOKEN"])
made = v1_application_create.sync_detailed(client=client, body=ApplicationIn(name="Generated", uid="py"))
same("an application", (made.status_code, made.parsed.name), (201, "Generated"))
hook = EndpointIn(url="http://127.0.0.1:9/", uid="hook", disabled=True)
endpoint = v1_endpoint_create.sync_detailed("py", client=client, body=hook)
same("an endpoint", (endpoint.status_code, endpoint.parsed.url), (201, "http://127.0.0.1:9/"))
payload = {"invoice": 7, "lines": [{"sum": 1.5}]}
message = MessageIn(event_type="invoice.paid", payload=AnyObject.from_dict(payload), channels=["eu"])
sent = v1_message_create.sync_detailed("py", client=client, body=message, with_content=True)
same("a message", (sent.status_code, sent.parsed.payload.to_dict()), (202, payload))
listed = v1_message_list.sync_detailed("py", client=client, limit=10, channel="eu", with_content=False)
same("messages", [one.id for one in listed.parsed.data], [sent.parsed.id])
endpoints = v1_endpoint_list.sync("py", client=client)
same("endpoints", [(one.uid, one.disabled) for one in endpoints.data], [("hook", True)])
taken = v1_application_create.sync_detailed(client=client, body=ApplicationIn(name="Generated", uid="py"))
same("taken", (taken.status_code, taken.parsed.code), (409, "conflict"))
print("generated python: ok")
