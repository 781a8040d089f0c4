"""HubSpot is told of calls by its API: one record a call, on the right person, in batches."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from support import API_TOKEN, SECRETS, notification, route
from support.draining import MakeSettings, OpenWeb, RunDrain, found
from support.telling import due_now, ends

from schemas.delivery import Delivery
from schemas.outcome import Result
from schemas.settings import Settings
from schemas.write_back import CallKey
from simulator import Simulator
from store import Store

WRITE_BACK = """[route.write_back]
on = ["outcome"]
[route.write_back.fields]
hs_lead_status = "outcome.result"
city = "outcome.variables.city"
"""
HUBSPOT = (
    route(
        "call contacts",
        source="hubspot",
        event="contact.created",
        request={"to_number": '"properties.phone"', "agent_id": '{ value = "a" }'},
    )
    + WRITE_BACK
)
TOKEN = {"Authorization": f"Bearer {API_TOKEN}"}
CallAll = Callable[..., list[Delivery]]
CALLS = "/crm/objects/2026-03/calls/batch"
CONTACTS = "/crm/objects/2026-03/contacts/batch/update"


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
def call_all(
    hubspot: Settings, open_web: OpenWeb, simulator: Simulator, store: Store, run_drain: RunDrain
) -> CallAll:
    """Call HubSpot's contacts, and return their accepted calls, in the same order."""
    web = open_web(hubspot)

    def call(*contacts: str) -> list[Delivery]:
        for n, contact in enumerate(contacts):
            phone = f"+9198765{n:05}"
            simulator.state.put_record("hubspot", "contacts", contact, {"phone": phone})
        sent = [
            id_
            for start in range(0, len(contacts), 100)
            for id_ in web.send("hubspot", [notification(one) for one in contacts[start:][:100]])
        ]
        run_drain(hubspot)
        return [found(store, one) for one in sent]

    return call


@pytest.fixture
def called(call_all: CallAll) -> Delivery:
    """The accepted call of HubSpot's contact 101."""
    (call,) = call_all("101")
    return call


def calls(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.state.find_records("hubspot", "calls").values())


def lead_status(simulator: Simulator, contact: str = "101") -> Any:
    record = simulator.state.find_record("hubspot", "contacts", contact)
    return (record or {}).get("hs_lead_status")


def asked(simulator: Simulator, path: str) -> int:
    return len(simulator.state.requests_to(path))


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
    due_now(store, one)
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
    due_now(store, one)
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


# --- several at once ------------------------------------------------------------------------------


def test_one_request_tells_of_a_hundred_calls(
    call_all: CallAll, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    contacts = [str(200 + n) for n in range(130)]
    for call in call_all(*contacts):
        ends(store, call)
    run_drain(hubspot)
    assert store.write_back_counts()["delivered"] == 130
    assert asked(simulator, f"{CALLS}/create") == 2
    assert asked(simulator, CONTACTS) == 2
    for contact in contacts:
        assert len(simulator.state.hubspot_calls_of(contact)) == 1
        assert lead_status(simulator, contact) == "connected"


def test_what_hubspot_refuses_of_one_costs_the_others_nothing(
    call_all: CallAll, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.refuse_field("hubspot", "contacts", "city", 'Property "city" does not exist')
    deleted, wrong, *good = call_all("201", "202", "203", "204", "205")
    simulator.state.drop_record("hubspot", "contacts", "201")
    told = [ends(store, one) for one in (deleted, *good)]
    told.append(ends(store, wrong, post_call={"city": "Pune"}))
    run_drain(hubspot)

    now = {one.subject: found(store, one.id) for one in told}
    assert {id_: str(one.status) for id_, one in now.items()} == {
        "201": "failed",
        "202": "failed",
        "203": "delivered",
        "204": "delivered",
        "205": "delivered",
    }
    assert now["201"].message == "HubSpot refused it: resource not found: 201"
    assert "does not exist" in (now["202"].message or "")
    assert {one.reason for one in now.values()} == {"refused", None}
    assert len(calls(simulator)) == 5, "the calls themselves were written"
    before = len(simulator.state.requests)
    run_drain(hubspot)
    assert len(simulator.state.requests) == before, "a refusal is not repeated"


def test_a_call_that_hubspot_refuses_is_created_when_a_person_says_so(
    called: Delivery,
    hubspot: Settings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.refuse_field("hubspot", "calls", "hs_call_to_number", "It is read only.")
    one = ends(store, called)
    run_drain(hubspot)
    now = found(store, one.id)
    assert now.message == "HubSpot refused it: Property values were not valid: It is read only."
    assert calls(simulator) == []
    assert lead_status(simulator) == "connected"
    simulator.state.accept_all_fields()
    answer = open_web(hubspot).client.post(f"/api/deliveries/{one.id}/retry", headers=TOKEN)
    assert answer.status_code == 200
    run_drain(hubspot)
    assert found(store, one.id).status == "delivered"
    assert len(calls(simulator)) == 1
    assert asked(simulator, "/crm/objects/2026-03/contacts/101") == 0, "there was no doubt"


def test_the_answer_to_a_batch_is_not_kept_with_each_of_its_calls(
    call_all: CallAll, hubspot: Settings, store: Store, run_drain: RunDrain
) -> None:
    told = [ends(store, call) for call in call_all("201", "202")]
    run_drain(hubspot)
    for one in told:
        (attempt,) = found(store, one.id).attempts
        assert (attempt["status_code"], attempt["answer"]) == (200, "")


# --- once -----------------------------------------------------------------------------------------


def test_a_newer_outcome_updates_the_call_that_an_older_one_created_unanswered(
    called: Delivery, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(path=CALLS, cut="after", times=1)
    older = ends(store, called, 0, result=Result.NOT_REACHED, is_final=False)
    run_drain(hubspot)
    newer = ends(store, called, 1)
    due_now(store, older)
    run_drain(hubspot)
    assert found(store, older.id).reason == "superseded"
    assert found(store, newer.id).status == "delivered"
    (call,) = calls(simulator)
    assert call["hs_call_status"] == "COMPLETED"
    assert lead_status(simulator) == "connected"


def test_an_older_call_of_the_contact_overwrites_no_newer_one(
    call_all: CallAll, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    (first,) = call_all("101")
    (second,) = call_all("101")
    ends(store, second, ended_at=datetime.now(UTC))
    run_drain(hubspot)
    ends(store, first, result=Result.NOT_REACHED, ended_at=datetime(2026, 1, 1, tzinfo=UTC))
    run_drain(hubspot)
    assert {one["hs_call_status"] for one in calls(simulator)} == {"COMPLETED", "NO_ANSWER"}
    assert lead_status(simulator) == "connected"


def test_a_newer_call_hides_nothing_that_it_did_not_tell_itself(
    call_all: CallAll, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    (first,) = call_all("101")
    (second,) = call_all("101")
    city = {"city": "Pune"}  # the newer call ended without one
    older = ends(store, first, result=Result.NOT_REACHED, post_call=city)
    store.redis.zadd("bridge:due:write_back", {older.id: 9e15})  # HubSpot did not answer
    ends(store, second)
    run_drain(hubspot)
    assert lead_status(simulator) == "connected"
    due_now(store, older)
    run_drain(hubspot)
    contact = simulator.state.find_record("hubspot", "contacts", "101") or {}
    assert (contact["hs_lead_status"], contact.get("city")) == ("connected", "Pune")


def test_of_a_person_who_is_erased_in_the_middle_nothing_more_is_written(
    called: Delivery,
    hubspot: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep = Store.keep_crm_calls

    def keep_and_erase(self: Store, ids: Mapping[CallKey, str | None]) -> None:
        keep(self, ids)
        self.erase_deliveries([called.id])

    monkeypatch.setattr(Store, "keep_crm_calls", keep_and_erase)
    one = ends(store, called)
    run_drain(hubspot)
    assert len(calls(simulator)) == 1, "the call was written before"
    assert lead_status(simulator) is None
    due_now(store, one)
    run_drain(hubspot)
    assert found(store, one.id).status == "cancelled"
    assert asked(simulator, CONTACTS) == 0


# --- the rate -------------------------------------------------------------------------------------


def test_reads_and_writes_share_the_rate_and_calls_do_not_wait(
    call_all: CallAll, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    (first,) = call_all("201")
    narrow = replace(hubspot, crm_rates={"hubspot": 6})
    written = ends(store, first)
    run_drain(narrow)  # with the read before, three turns; write-backs may have four of six
    assert found(store, written.id).status == "delivered"
    (second,) = call_all("202")
    assert second.status == "delivered", "there is a turn for the read of a lead"
    waiting = ends(store, second)
    run_drain(narrow)
    assert found(store, waiting.id).status == "queued"


def test_hubspots_own_count_of_what_remains_stops_all_requests(
    called: Delivery, hubspot: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    headers = {
        "X-HubSpot-RateLimit-Remaining": "0",
        "X-HubSpot-RateLimit-Interval-Milliseconds": "60000",
    }
    simulator.state.behave(path=CALLS, accept=True, body="{}", headers=headers, times=1)
    one = ends(store, called)
    run_drain(hubspot)
    assert found(store, one.id).status == "retrying"
    assert asked(simulator, CONTACTS) == 0
    assert store.may_ask_crm("hubspot", rate=90, patience_s=30) is None


def test_a_retry_after_a_refusal_sets_the_property_that_was_corrected(
    called: Delivery,
    hubspot: Settings,
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    misspelt = HUBSPOT.replace("hs_lead_status", "hs_lead_statsu")
    simulator.state.set_field("hubspot", "contacts", "hs_lead_statsu", "missing")
    one = ends(store, called)
    run_drain(replace(hubspot, routes=make_settings(misspelt).routes))
    assert found(store, one.id).reason == "refused"
    answer = open_web(hubspot).client.post(f"/api/deliveries/{one.id}/retry", headers=TOKEN)
    assert answer.status_code == 200
    run_drain(hubspot)
    assert found(store, one.id).status == "delivered"
    assert lead_status(simulator) == "connected"
    assert len(calls(simulator)) == 1
