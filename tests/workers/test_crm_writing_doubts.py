"""Write-backs by a CRM's API in doubt: nothing is doubled, and one costs the others nothing."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from support import LONGEST_S, SECRETS, notification, route, zoho_notification
from support.draining import MakeSettings, OpenWeb, RunDrain, found
from support.telling import due_now, ends

from schemas.crm_api import CrmRequest, Told
from schemas.delivery import Delivery
from schemas.settings import Settings
from schemas.write_back import CallKey
from simulator import Simulator
from store import Store
from workers import crm, crm_writing
from workers.crm import CrmClient
from workers.http import HttpClient
from workers.write_back import WriteBacks

WRITE_BACK = """[route.write_back]
on = ["outcome"]
[route.write_back.fields]
{field} = "outcome.result"

"""
ROUTES = (
    route(
        "call contacts",
        source="hubspot",
        event="contact.created",
        request={"to_number": '"properties.phone"', "agent_id": '{ value = "a" }'},
    )
    + WRITE_BACK.format(field="hs_lead_status")
    + route("call leads", source="zoho", event="lead.*")
    + WRITE_BACK.format(field="Lead_Status")
)
CALLS = "/crm/objects/2026-03/calls/batch"
CREATE = f"{CALLS}/create"
CONTACTS = "/crm/objects/2026-03/contacts"
CallAll = Callable[..., list[Delivery]]


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator, store: Store) -> Settings:
    login = {"ACCESS_TOKEN": "a-token", "API_URL": simulator.url, "API_VERSION": "2026-03"}
    plain = make_settings(ROUTES)
    store.note_write_back_routes({"call contacts": ["outcome"], "call leads": ["outcome"]})
    return make_settings(
        ROUTES,
        variables={**plain.variables, "hubspot": login},
        secrets={**plain.secrets, "hubspot": (SECRETS["hubspot"],)},
        crm_rates={"hubspot": 90},
    )


@pytest.fixture
def call_all(
    settings: Settings, open_web: OpenWeb, simulator: Simulator, store: Store, run_drain: RunDrain
) -> CallAll:
    """Call HubSpot's contacts, and return their accepted calls, in the same order."""
    web = open_web(settings)

    def call(*contacts: str) -> list[Delivery]:
        for n, contact in enumerate(contacts):
            record = {"phone": f"+9198765{n:05}"}
            simulator.state.put_record("hubspot", "contacts", contact, record)
        sent = web.send("hubspot", [notification(one) for one in contacts])
        run_drain(settings)
        return [found(store, one) for one in sent]

    return call


def calls(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.state.find_records("hubspot", "calls").values())


def statuses(store: Store, told: list[Delivery]) -> list[str]:
    return [str(found(store, one.id).status) for one in told]


def test_a_429_created_nothing_so_nothing_is_looked_for(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    told = [ends(store, one) for one in call_all("101", "102", "103")]
    simulator.state.behave(429, path=CREATE, times=1)
    run_drain(settings)
    assert set(statuses(store, told)) == {"retrying"}
    due_now(store, *told)
    run_drain(settings)
    assert set(statuses(store, told)) == {"delivered"}
    assert len(calls(simulator)) == 3
    assert not [one for one in told if simulator.state.requests_to(f"{CONTACTS}/{one.subject}")]


def test_what_was_looked_for_is_written_even_if_there_is_no_time_for_the_others(
    call_all: CallAll,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = [ends(store, one) for one in call_all("101", "102", "103")]
    simulator.state.behave(502, path=CREATE, times=1)
    run_drain(settings)
    monkeypatch.setattr(crm_writing, "LOOK_S", 0.0)
    for written in (1, 2, 3):
        waiting = [one for one in told if found(store, one.id).status == "retrying"]
        due_now(store, *waiting)
        run_drain(settings)
        assert statuses(store, told).count("delivered") == written
    assert len(calls(simulator)) == 3


def test_a_look_whose_answer_cannot_be_read_does_not_create_the_call_again(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    (call,) = call_all("101")
    simulator.state.behave(path=CREATE, cut="after", times=1)
    one = ends(store, call)
    run_drain(settings)
    simulator.state.behave(200, path=f"{CONTACTS}/101", body="<html>", times=1)
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "retrying"
    assert len(calls(simulator)) == 1
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(calls(simulator)) == 1


def test_a_refusal_that_names_one_costs_its_neighbours_no_attempt(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    told = [ends(store, one) for one in call_all("101", "102", "103")]
    about = {"objectWriteTraceId": [told[0].id]}
    errors = [{"message": "No such owner", "category": "VALIDATION_ERROR", "context": about}]
    body = json.dumps({"status": "error", "message": "Invalid input", "errors": errors})
    simulator.state.behave(400, path=CREATE, body=body, times=1)
    run_drain(settings)
    assert statuses(store, told) == ["failed", "delivered", "delivered"]
    assert found(store, told[0].id).message == "HubSpot refused it: No such owner"
    assert len(calls(simulator)) == 2
    assert [len(found(store, one.id).attempts) for one in told] == [1, 1, 1]


def test_a_call_that_ended_in_the_year_1_is_told_as_all_others_are(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    first, second = call_all("101", "102")
    told = [
        ends(store, first, ended_at=datetime(1, 1, 1, tzinfo=UTC), duration_s=61),
        ends(store, second),
    ]
    run_drain(settings)
    assert statuses(store, told) == ["delivered", "delivered"]


def test_one_that_raises_an_error_costs_the_others_nothing(
    call_all: CallAll,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    told = [ends(store, one) for one in call_all("101", "102", "103")]
    routes = settings.routes
    source = routes.sources["hubspot"]
    writer = source.kind.write_back
    assert writer is not None

    def raises_for_one(some: Sequence[Told]) -> CrmRequest:
        if any(one.subject == "102" for one in some):
            raise ValueError("unreadable")
        return writer.create_calls(some)

    kind = replace(source.kind, write_back=replace(writer, create_calls=raises_for_one))
    sources = {**routes.sources, "hubspot": replace(source, kind=kind)}
    run_drain(replace(settings, routes=replace(routes, sources=sources)))
    assert statuses(store, told) == ["delivered", "retrying", "delivered"]
    assert len(calls(simulator)) == 2


def test_a_zoho_record_that_is_locked_now_is_told_again(
    settings: Settings, open_web: OpenWeb, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.put_record("zoho", "Leads", "501", {"Phone": "+919876500001"})
    (sent,) = open_web(settings).send("zoho", zoho_notification("501"))
    run_drain(settings)
    one = ends(store, found(store, sent))
    entry = {"code": "RECORD_LOCKED", "details": {}, "message": "locked", "status": "error"}
    simulator.state.behave(400, path="/crm/v8/Leads", body=json.dumps({"data": [entry]}), times=1)
    run_drain(settings)
    assert found(store, one.id).status == "retrying"
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"


class _EnoughError(Exception):
    """The write-back waits."""


def test_a_write_back_that_waits_for_its_turn_holds_up_no_read(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(60):
        assert store.may_ask_crm("hubspot", rate=90, patience_s=0.5, is_write=True) is not None
    reads: list[float | None] = []

    def read_meanwhile(_: float) -> None:
        reads.append(store.may_ask_crm("hubspot", rate=90, patience_s=5.0))
        raise _EnoughError

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=read_meanwhile)
    monkeypatch.setattr(crm, "time", clock)
    client = CrmClient(HttpClient(timeout_s=5), store, settings)
    request = CrmRequest(method="GET", path="/nothing")
    with pytest.raises(_EnoughError):
        client.write(settings.routes.sources["hubspot"], request, begin_until=2e9, has_turn=False)
    assert reads == [0.0]


def test_a_drain_that_ends_begins_no_further_request_of_a_batch(
    call_all: CallAll,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (call,) = call_all("101")
    one = ends(store, call)
    is_created, is_ending = threading.Event(), threading.Event()
    keep, cut_overdue = Store.keep_crm_calls, WriteBacks.cut_overdue

    def keep_and_wait(self: Store, ids: Mapping[CallKey, str | None]) -> None:
        keep(self, ids)
        is_created.set()
        assert is_ending.wait(LONGEST_S)

    def after_a_step(self: WriteBacks) -> None:
        if self.is_ending:
            is_ending.set()
        cut_overdue(self)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "keep_crm_calls", keep_and_wait)
        patched.setattr(WriteBacks, "cut_overdue", after_a_step)
        run_drain(settings, should_stop=is_created.is_set, jitter=lambda: 0.99)
    assert not simulator.state.requests_to(f"{CONTACTS}/batch/update")
    assert found(store, one.id).status == "retrying"
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(calls(simulator)) == 1
