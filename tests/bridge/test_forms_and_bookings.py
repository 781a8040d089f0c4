"""Forms and bookings through the web process: what vendors send, and what it becomes."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jwt
import pytest
from support import Web
from support.draining import MakeSettings, OpenWeb
from support.samples import PAYLOADS

from store import Store

SECRET = "a-made-up-secret-of-these-tests-1"
ROUTES = """
[[route]]
name   = "call"
source = "{source}"
event  = "{event}"
to     = "call"

[route.request]
to_number = "{number}"
agent_id  = {{ value = "6803fa770b666a64ab1694c1e" }}
"""
Opened = Callable[..., Web]


@pytest.fixture
def opened(make_settings: MakeSettings, open_web: OpenWeb) -> Opened:
    """Open the web process with a route for a source, whose secret is SECRET."""

    def made(source: str, event: str, number: str) -> Web:
        settings = make_settings(ROUTES.format(source=source, event=event, number=number))
        return open_web(replace(settings, secrets={**settings.secrets, source: (SECRET,)}))

    return made


def body(kind: str, name: str) -> bytes:
    return (PAYLOADS / kind / f"{name}.body.json").read_bytes()


def calls(store: Store) -> int:
    return sum(store.counts().values())


def posted(web: Web, source: str, data: bytes, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.client.post(
        f"/webhooks/{source}", data=data, headers=sent, content_type="application/json"
    )


# --- monday -----------------------------------------------------------------------------------


def test_monday_asks_first_and_then_sends_a_token_with_each_event(
    opened: Opened, store: Store
) -> None:
    web = opened("monday", "item.created", "event.columnValues.*.phone")
    asked = b'{"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}'
    answer = posted(web, "monday", asked)
    assert (answer.status_code, answer.json) == (200, json.loads(asked))
    assert calls(store) == 0

    event = body("monday", "create_pulse")
    token = jwt.encode({"exp": int(time.time()) + 300, "accountId": 1}, SECRET, "HS256")
    first = posted(web, "monday", event, Authorization=token)
    assert (first.status_code, first.json["accepted"]) == (200, 1)
    assert posted(web, "monday", event, Authorization=token).json["duplicates"] == 1
    assert calls(store) == 1


@pytest.mark.parametrize("headers", [{}, {"Authorization": "x"}, {"Authorization": "Basic eDp5"}])
def test_monday_without_a_good_token_is_refused(
    opened: Opened, store: Store, headers: dict[str, str]
) -> None:
    web = opened("monday", "item.created", "event.columnValues.*.phone")
    assert posted(web, "monday", body("monday", "create_pulse"), **headers).status_code == 401
    expired = jwt.encode({"exp": int(time.time()) - 300}, SECRET, "HS256")
    forged = jwt.encode({"exp": int(time.time()) + 300}, SECRET[::-1], "HS256")
    unsigned = jwt.encode({"exp": int(time.time()) + 300}, None, "none")
    for token in (expired, forged, unsigned):
        answer = posted(web, "monday", body("monday", "create_pulse"), Authorization=token)
        assert answer.status_code == 401
    assert calls(store) == 0


# --- Jotform ----------------------------------------------------------------------------------


def test_jotform_posts_a_multipart_form_to_a_url_with_our_token(
    opened: Opened, store: Store
) -> None:
    web = opened("jotform", "form.submitted", "answers.phoneNumber")
    sent = {
        "formID": "23",
        "submissionID": "53",
        "webhookURL": f"https://bridge.example/webhooks/jotform?token={SECRET}",
        "rawRequest": json.dumps({"q5_phoneNumber": {"full": "+91 12345 00023"}}),
    }
    for counted in ("accepted", "duplicates"):
        answer = web.client.post(
            f"/webhooks/jotform?token={SECRET}", data=sent, content_type="multipart/form-data"
        )
        assert answer.json[counted] == 1
    assert calls(store) == 1
    [event] = answer.json["events"]
    seen = store.event(event["id"])
    assert seen
    assert SECRET not in json.dumps(seen.event.data)


# --- Shopify ----------------------------------------------------------------------------------


def test_shopifys_body_is_one_event_under_any_topic(opened: Opened, store: Store) -> None:
    web = opened("shopify", "customer.created", "phone")
    sent = body("shopify", "customer")
    digest = hmac.digest(SECRET.encode(), sent, hashlib.sha256)
    signature = base64.b64encode(digest).decode()

    def post(topic: str, **more: str) -> Any:
        proof = {"X_Shopify_Hmac_SHA256": signature, "X_Shopify_Topic": topic}
        return posted(web, "shopify", sent, **proof, **more).json

    assert post("customers/create")["accepted"] == 1
    for topic in ("customers/create", "customers/update", "orders/create"):
        assert post(topic, X_Shopify_Webhook_Id="another")["duplicates"] == 1
    assert calls(store) == 1


def test_a_test_notification_of_shopify_calls_nobody(opened: Opened, store: Store) -> None:
    web = opened("shopify", "customer.created", "phone")
    sent = body("shopify", "test_notification")
    digest = base64.b64encode(hmac.digest(SECRET.encode(), sent, hashlib.sha256)).decode()
    proof = {"X_Shopify_Hmac_SHA256": digest, "X_Shopify_Topic": "customers/create"}
    assert posted(web, "shopify", sent, **proof, X_Shopify_Test="true").json["unrouted"] == 1
    assert calls(store) == 0
