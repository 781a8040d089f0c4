"""HubSpot and Zoho are told of calls by their APIs: one record a call, on the right person."""

from datetime import UTC, datetime
from typing import Any

import pytest
from support import SECRETS, as_bytes, notification, route, signed
from support.draining import MakeSettings, OpenWeb, RunDrain, found

from schemas.delivery import Delivery
from schemas.outcome import Outcome, Result
from schemas.records import Filters
from schemas.settings import Settings
from simulator import Simulator
from store import Store

WRITE_BACK = """[route.write_back]
on = ["outcome"]
[route.write_back.fields]
{field} = "outcome.result"
"""
HUBSPOT = route(
    "call contacts",
    source="hubspot",
    event="contact.created",
    request={"to_number": '"properties.phone"', "agent_id": '{ value = "a" }'},
) + WRITE_BACK.format(field="hs_lead_status")
CALLS = "/crm/objects/2026-03/calls/batch"


@pytest.fixture
def hubspot(make_settings: MakeSettings, simulator: Simulator, store: Store) -> Settings:
    """Settings whose only route tells HubSpot of outcomes."""
    login = {"ACCESS_TOKEN": "a-token", "API_URL": simulator.url, "API_VERSION": "2026-03"}
    settings = make_settings(
        HUBSPOT,
        variables={"hubspot": login},
        secrets={"hubspot": (SECRETS["hubspot"],)},
        crm_rates={"hubspot": 90},
    )
    store.note_write_back_routes({"call contacts": ["outcome"]})
    return settings


@pytest.fixture
def called(
    hubspot: Settings, open_web: OpenWeb, simulator: Simulator, store: Store, run_drain: RunDrain
) -> Delivery:
    """The accepted call of HubSpot's contact 101."""
    simulator.state.put_record("hubspot", "contacts", "101", {"phone": "+919876543210"})
    raw = as_bytes([notification("101")])
    headers = signed("hubspot", raw, "http://localhost/webhooks/hubspot")
    web = open_web(hubspot)
    assert web.client.post("/webhooks/hubspot", data=raw, headers=headers).status_code == 202
    run_drain(hubspot)
    (call,) = store.deliveries(Filters(), before=None, limit=2).items
    return found(store, call.id)


def ends(store: Store, call: Delivery, try_count: int = 0, **more: Any) -> Delivery:
    """Let a dial of a call end, and return the write-back that tells of it."""
    fields: dict[str, Any] = {"result": Result.CONNECTED, "is_final": True, **more}
    store.keep_outcome(
        Outcome(
            call_sid=call.call_sid,
            delivery_id=call.id,
            try_count=try_count,
            ended_at=datetime.now(UTC),
            **fields,
        )
    )
    return store.write_backs_of(call.id)[-1]


def again(store: Store, write_back: Delivery) -> None:
    assert store.redis.zadd("bridge:due:write_back", {write_back.id: 1}, xx=True, ch=True) == 1


def calls(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.state.find_records("hubspot", "calls").values())


def lead_status(simulator: Simulator) -> Any:
    contact = simulator.state.find_record("hubspot", "contacts", "101")
    return (contact or {}).get("hs_lead_status")


def test_a_redial_updates_the_one_call_of_the_contact(
    called: Delivery, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ends(store, called, 0, result=Result.NOT_REACHED, is_final=False)
    run_drain(hubspot)
    (call,) = calls(simulator)
    assert (call["hs_call_status"], lead_status(simulator)) == ("NO_ANSWER", "not_reached")
    ends(store, called, 1, duration_s=62)
    run_drain(hubspot)
    (call,) = calls(simulator)
    assert (call["hs_call_status"], call["hs_call_duration"]) == ("COMPLETED", "62000")
    assert lead_status(simulator) == "connected"
    assert store.write_back_counts()["delivered"] == 2
    assert len(simulator.state.hubspot_calls_of("101")) == 1


def test_after_a_cut_the_call_that_arrived_is_found_and_not_created_again(
    called: Delivery, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(path=CALLS, cut="after", times=1)
    one = ends(store, called)
    run_drain(hubspot)
    assert found(store, one.id).status == "retrying"
    again(store, one)
    run_drain(hubspot)
    assert found(store, one.id).status == "delivered"
    assert len(calls(simulator)) == 1
    assert lead_status(simulator) == "connected"


@pytest.mark.parametrize("code", [429, 500])
def test_what_may_pass_is_tried_again(
    code: int,
    called: Delivery,
    hubspot: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.behave(code, path=CALLS, times=1)
    one = ends(store, called)
    run_drain(hubspot)
    assert found(store, one.id).status == "retrying"
    again(store, one)
    run_drain(hubspot)
    assert found(store, one.id).status == "delivered"
    assert len(calls(simulator)) == 1


def test_a_refusal_has_hubspots_sentence(
    called: Delivery, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(400, path=CALLS, times=1)
    one = ends(store, called)
    run_drain(hubspot)
    now = found(store, one.id)
    assert now.status == "failed"
    assert "Invalid input JSON" in (now.message or "")


def test_a_token_that_may_not_write_pauses_the_crm(
    called: Delivery, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(403, path=CALLS, times=1)
    one = ends(store, called)
    run_drain(hubspot)
    assert found(store, one.id).status in ("queued", "held", "retrying")
    (pause,) = store.pauses()
    assert pause.scope == "crm:hubspot"
    assert "HUBSPOT_ACCESS_TOKEN" in pause.message
