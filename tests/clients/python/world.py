"""The daemon, by the SDK's own client, and a receiver. Needs SERVER_URL and SERVER_TOKEN."""

import json
import os
import urllib.request
from datetime import datetime, timedelta, timezone

from svix.api import Svix, SvixOptions

from receiver import Receiver

URL = os.environ["SERVER_URL"]
TOKEN = os.environ["SERVER_TOKEN"]
BEGAN = datetime.now(timezone.utc) - timedelta(minutes=1)
client = Svix(TOKEN, SvixOptions(server_url=URL))
receiver = Receiver()


def raw(method, path, body=None, agent=None):
    """What no SDK of Svix knows, or as another client."""
    request = urllib.request.Request(f"{URL}/api/v1{path}", method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    request.add_header("Content-Type", "application/json")
    if agent is not None:
        request.add_header("User-Agent", agent)
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request, data) as answer:
        text = answer.read()
        return json.loads(text) if text else None
