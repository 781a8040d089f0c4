"""Zoho is told of calls by its API: one record a call, on the right lead, with one shared token."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from support import CALL_BACK, Web, lead, route, zoho_notification
from support.draining import MakeSettings, OpenWeb, RunDrain, drain_at_once, found
from support.telling import due_now
from support.telling import ends_at_a_known_time as ends

from schemas.delivery import Delivery
from schemas.outcome import Result
from schemas.records import Filters
from schemas.settings import Settings
from simulator import Simulator
from store import Store

ROUTES = (
    route("call leads", source="zoho", event="lead.*")
    + """[route.write_back]
on = ["outcome"]
[route.write_back.fields]
Lead_Status = "outcome.result == 'connected' && 'Contacted' || 'Attempted'"
City = "outcome.variables.city"

"""
    + CALL_BACK
)
CallAll = Callable[..., list[Delivery]]
TOKEN, CALLS, LEADS = "/oauth/v2/token", "/crm/v8/Calls", "/crm/v8/Leads"


@pytest.fixture
def settings(make_settings: MakeSettings, store: Store) -> Settings:
    store.note_write_back_routes({"call leads": ["outcome"]})
    return make_settings(ROUTES)


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


@pytest.fixture
def call_all(
    web: Web, settings: Settings, simulator: Simulator, store: Store, run_drain: RunDrain
) -> CallAll:
    """Call Zoho's leads, and return their accepted calls, in the same order."""

    def call(*leads: str) -> list[Delivery]:
        for n, one in enumerate(leads):
            simulator.state.put_record("zoho", "Leads", one, {"Phone": f"+9198765{n:05}"})
        sent = web.send("zoho", zoho_notification(*leads))
        run_drain(settings)
        return [found(store, one) for one in sent]

    return call


def calls(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.state.find_records("zoho", "Calls").values())


def lead_status(simulator: Simulator, one: str) -> Any:
    return (simulator.state.find_record("zoho", "Leads", one) or {}).get("Lead_Status")


def test_a_redial_updates_the_one_call_of_the_lead(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    (called,) = call_all("501")
    ends(store, called, 0, result=Result.NOT_REACHED, is_final=False, duration_s=0)
    run_drain(settings)
    (call,) = calls(simulator)
    assert call["Call_Duration"] == "00:00"
    assert lead_status(simulator, "501") == "Attempted"
    ends(store, called, 1, recording_url="https://calls.example/1.mp3")
    run_drain(settings)
    (call,) = calls(simulator)
    assert call["Subject"].startswith("Call by CallKaro: connected (bridge-")
    assert (call["Call_Duration"], call["What_Id"]) == ("01:30", {"id": "501"})
    assert "https://calls.example/1.mp3" in call["Description"]
    assert lead_status(simulator, "501") == "Contacted"
    assert store.write_back_counts()["delivered"] == 2


def test_after_a_cut_the_call_that_arrived_is_found(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(path=CALLS, cut="after", times=1)
    told = [ends(store, one) for one in call_all("501", "502")]
    run_drain(settings)
    assert {found(store, one.id).status for one in told} == {"retrying"}
    due_now(store, *told)
    run_drain(settings)
    assert {found(store, one.id).status for one in told} == {"delivered"}
    assert len(calls(simulator)) == 2


def test_four_workers_with_an_expired_token_refresh_it_once(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    leads = [str(500 + n) for n in range(40)]
    called = call_all(*leads)
    before = simulator.state.zoho_refreshed
    simulator.state.expire_zoho_tokens()
    for one in called:
        ends(store, one)
    drain_at_once(run_drain, settings, 4)
    run_drain(settings)
    assert simulator.state.zoho_refreshed == before + 1
    assert store.write_back_counts()["delivered"] == 40
    assert len(calls(simulator)) == 40
    assert {lead_status(simulator, one) for one in leads} == {"Contacted"}


def test_a_login_that_zoho_refuses_pauses_the_crm_and_calls_go_on(
    web: Web,
    call_all: CallAll,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    (called,) = call_all("501")
    simulator.state.behave(401, path=CALLS)
    one = ends(store, called)
    run_drain(settings)
    assert len(simulator.state.requests_to(CALLS)) == 2, "once more with a new token"
    (pause,) = store.pauses()
    assert (pause.scope, pause.reason) == ("crm:zoho", "credentials")
    assert "ZOHO_REFRESH_TOKEN" in pause.message
    due_now(store, one)
    (other,) = web.send("website", lead("+919812300000"))
    run_drain(settings)
    assert found(store, other).status == "delivered"
    assert found(store, one.id).status == "held"
    simulator.state.behave_normally()
    store.resume("crm:zoho")
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(calls(simulator)) == 1


def test_what_zoho_refuses_of_one_costs_the_others_nothing(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.refuse_field("zoho", "Leads", "City", "the field is not updatable")
    good, wrong, deleted = call_all("501", "502", "503")
    simulator.state.drop_record("zoho", "Leads", "503")
    told = [
        ends(store, good),
        ends(store, wrong, post_call={"city": "Pune"}),
        ends(store, deleted),
    ]
    run_drain(settings)
    now = [found(store, one.id) for one in told]
    assert [(one.status, one.reason) for one in now] == [
        ("delivered", None),
        ("failed", "refused"),
        ("failed", "refused"),
    ]
    assert now[1].message == "Zoho CRM refused it: the field is not updatable (City)"
    assert now[2].message == "Zoho CRM refused it: the id given seems to be invalid (id)"
    assert len(simulator.state.requests_to(LEADS)) == 2, "one that reads, one that writes"


def test_the_change_that_we_made_comes_back_and_rings_nobody(
    call_all: CallAll,
    settings: Settings,
    hook: str,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    (called,) = call_all("501")
    channel = {"channel_id": "1", "events": ["Leads.edit"], "notify_url": f"{hook}/zoho"}
    channel["token"] = zoho_notification()["token"]
    token = simulator.state.new_zoho_token("a-refresh-token")
    made = requests.post(
        f"{simulator.url}/crm/v8/actions/watch",
        json={"watch": [channel]},
        headers={"Authorization": f"Zoho-oauthtoken {token}"},
        timeout=10,
    )
    assert made.status_code == 200
    ends(store, called)
    run_drain(settings)
    items = store.deliveries(Filters(), before=None, limit=9).items
    assert [(one.status, one.reason) for one in items] == [
        ("skipped", "own_change"),
        ("delivered", None),
    ]
    assert len(simulator.state.calls) == 1


@pytest.mark.parametrize("code", [400, 429])
def test_a_login_that_is_asked_too_often_pauses_nothing(
    code: int,
    call_all: CallAll,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    (called,) = call_all("501")
    store.redis.delete("bridge:token:zoho")
    body = '{"error": "Access Denied", "error_description": "Too many requests."}'
    simulator.state.behave(code, path=TOKEN, body=body, times=1)
    one = ends(store, called)
    run_drain(settings)
    assert found(store, one.id).status == "retrying"
    assert store.pauses() == []
