"""What a scenario asserts, in words."""

import time

import svix
from svix.api.errors.http_error import HttpError
from svix.api.errors.http_validation_error import HTTPValidationError

from receiver import PATIENCE_SECONDS


def same(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, not {wanted!r}")


def fails(what, call, status, code):
    try:
        found = call()
    except HttpError as error:
        same(what, (error.status_code, error.code), (status, code))
        return error
    raise AssertionError(f"{what}: {found!r}, not an error")


def invalid(what, call, loc):
    try:
        found = call()
    except HTTPValidationError as error:
        same(what, [wrong.loc for wrong in error.detail], [loc])
        return
    raise AssertionError(f"{what}: {found!r}, not an error")


def until(what, read, is_so):
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = read()
        if is_so(found):
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: still {found!r}")
        time.sleep(0.05)


def all_of(listing, options, **kept):
    """Walks over a list to its end, two at a time."""
    found, iterator = [], None
    while True:
        page = listing(options(limit=2, iterator=iterator, **kept))
        found += page.data
        if page.done:
            return found
        iterator = page.iterator


def verify(received, secret):
    webhook = svix.Webhook(secret)
    webhook.verify(received.body, received.headers)
    try:
        webhook.verify(received.body + b" ", received.headers)
    except svix.WebhookVerificationError:
        return
    raise AssertionError("another body was verified")
