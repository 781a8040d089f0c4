"""A CRM that was told that nobody knows of a call is told how the call ended, whenever it did."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from support import API_TOKEN, WEBSITE, lead, route
from support.draining import CALLS, MakeSettings, OpenWeb, RunDrain, found
from support.receiver import Receiver, serving

from schemas.outcome import Outcome, Result
from schemas.settings import Settings, WebhookOut
from simulator import Call, Simulator
from store import Store

KEY = "whsec_" + base64.b64encode(b"a made-up key of write-backs").decode()
TOLD = (
    WEBSITE
    + route()
    + """[route.write_back]
on = ["unknown", "outcome"]
[route.write_back.fields]
status = "delivery.status"
result = "outcome.result"
"""
)
CONNECTED = {"result": "connected"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving() as receiver:
        yield receiver


@pytest.fixture
def told(make_settings: MakeSettings, receiver: Receiver, store: Store) -> Settings:
    """Settings whose only route tells its CRM of outcomes, and of calls that are unknown."""
    out = WebhookOut(url=receiver.url, secrets=(KEY,))
    store.note_write_back_routes({"call back": ["unknown", "outcome"]})
    return make_settings(TOLD, webhooks_out={"website": out})


def ends(store: Store, call: Call) -> None:
    """Tell the bridge that a call ended half a minute ago."""
    store.keep_outcome(
        Outcome(
            call_sid=call.call_sid,
            delivery_id=call.delivery_id,
            result=Result.CONNECTED,
            ended_at=datetime.now(UTC) - timedelta(seconds=30),
        )
    )


def test_the_outcome_of_a_call_that_ended_before_it_was_unknown_is_written_to_the_fields(
    told: Settings,
    open_web: OpenWeb,
    receiver: Receiver,
    run_drain: RunDrain,
    simulator: Simulator,
    store: Store,
) -> None:
    simulator.state.behave(path=CALLS, cut="after", times=1)
    [delivery] = open_web(told).send("website", lead())
    run_drain(told)
    assert found(store, delivery).status == "unknown"

    [call] = simulator.state.calls
    ends(store, call)
    run_drain(told)

    got = [json.loads(body) for _, body in receiver.got]
    assert [one["moment"] for one in got] == ["unknown", "outcome"]
    assert [one["fields"] for one in got] == [
        {"status": "unknown"},
        {"status": "delivered"} | CONNECTED,
    ]


def test_of_the_call_before_it_only_what_it_did_not_tell_itself(
    told: Settings,
    open_web: OpenWeb,
    receiver: Receiver,
    run_drain: RunDrain,
    simulator: Simulator,
    store: Store,
) -> None:
    web = open_web(told)
    [delivery] = web.send("website", lead())
    run_drain(told)
    simulator.state.behave(path=CALLS, cut="after", times=1)
    path, token = f"/api/deliveries/{delivery}/retry", {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.post(path, json={"call_again": True}, headers=token)
    assert answer.status_code in (200, 202), answer.text
    run_drain(told)
    assert found(store, delivery).status == "unknown"

    first, _ = simulator.state.calls
    ends(store, first)
    run_drain(told)

    got = [json.loads(body) for _, body in receiver.got]
    assert [one["moment"] for one in got] == ["unknown", "outcome"]
    assert got[1]["delivery"]["call_sid"] == first.call_sid
    assert [one["fields"] for one in got] == [{"status": "unknown"}, CONNECTED]
