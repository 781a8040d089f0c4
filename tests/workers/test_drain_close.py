"""The contact or the lead of a Close opportunity, from the signed webhook to the call."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable

import pytest
from support import ROOT, make_due
from support.draining import CALLS, MakeSettings, OpenWeb, RunDrain, counts, found

from schemas.settings import Settings
from simulator import Simulator
from store import Store

KEY = "00112233445566778899aabbccddeeff" * 2
CONTACT, LEAD = "/api/v1/contact/", "/api/v1/lead/"
Send = Callable[[str], list[str]]


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator) -> Settings:
    """The routes are those of the example, without their limit of age: samples are from 2026."""
    routes = (ROOT / "examples/close/routes.toml").read_text("utf-8")
    return make_settings(
        routes.replace('max_age  = "6h"', ""),
        secrets={"close": (KEY,)},
        variables={"close": {"API_KEY": "a-key", "API_URL": simulator.url}},
    )


@pytest.fixture
def send(open_web: OpenWeb, settings: Settings) -> Send:
    client = open_web(settings).client

    def send(name: str) -> list[str]:
        body = json.loads((ROOT / f"tests/payloads/close/{name}.body.json").read_text("utf-8"))
        raw, at = json.dumps(body).encode(), str(int(time.time()))
        digest = hmac.new(bytes.fromhex(KEY), at.encode() + raw, hashlib.sha256).hexdigest()
        headers = {"close-sig-hash": digest, "close-sig-timestamp": at}
        answer = client.post(
            "/webhooks/close", data=raw, content_type="application/json", headers=headers
        )
        assert answer.status_code == 202, answer.text
        return [one["id"] for event in answer.json["events"] for one in event["deliveries"]]

    return send


def test_an_opportunitys_contact_or_lead_is_fetched_by_itself_and_called(
    settings: Settings, send: Send, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    contact = {"name": "Sample Lead", "phones": [{"phone": "+919876543210"}]}
    lead = {
        "name": "Sample Company",
        "contacts": [{"name": "Another", "phones": [{"phone": "+919876543211"}]}],
    }
    simulator.state.put_record("close", "contact", "cont_sample1", contact)
    simulator.state.put_record("close", "lead", "lead_sample1", lead)
    send("contact_created")
    send("opportunity_created")
    send("opportunity_without_contact")
    run_drain(settings)

    assert len(simulator.state.requests_to(CONTACT)) == 1
    assert len(simulator.state.requests_to(LEAD)) == 1
    called = {
        request.body["to_number"]: request.body["metadata"]["name"]
        for request in simulator.state.requests_to(CALLS)
    }
    assert called == {
        "+911234500001": "Sample Lead",
        "+919876543210": "Sample Lead",
        "+919876543211": "Another",
    }
    assert counts(store) == {"delivered": 3}


def test_a_404_says_that_there_is_no_contact_yet(
    settings: Settings, send: Send, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.records["close", "contact"].clear()
    [delivery] = send("opportunity_created")
    run_drain(settings)
    kept = found(store, delivery)
    assert (kept.lookup_failures, kept.message) == (1, "The CRM does not have the record yet.")

    contact = {"name": "Sample Lead", "phones": [{"phone": "+919876543210"}]}
    simulator.state.put_record("close", "contact", "cont_sample1", contact)
    make_due(store, delivery)
    run_drain(settings)

    assert found(store, delivery).status == "delivered"


def test_a_key_that_close_refuses_is_a_matter_of_the_account(
    settings: Settings, send: Send, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(path=CONTACT, status=401)
    [delivery] = send("opportunity_created")
    run_drain(settings)

    kept = found(store, delivery)
    assert kept.status == "queued"
    assert kept.message.startswith("Close answered 401 when asked for the record.")
    assert simulator.state.calls == []
