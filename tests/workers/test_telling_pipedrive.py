"""Pipedrive is told of calls by its API: an activity a call, on the person and the deal."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from support import Web, make_due, route
from support.draining import MakeSettings, OpenWeb, RunDrain, found
from support.pipedrive import SECRET, Send, deal, put_person, sample, sender
from support.telling import due_now
from support.telling import ends_at_a_known_time as ends

from schemas.delivery import Delivery
from schemas.outcome import Result
from schemas.settings import Settings
from simulator import Simulator
from simulator.pipedrive import USER
from store import Store

STATUS = "0123456789abcdef0123456789abcdef01234567"  # a field that the company made
NUMBER = "+919876543210"
ROUTES = (
    route(
        "call people",
        source="pipedrive",
        event="*",
        request={
            "to_number": '"(person || data).phones[].value"',
            "agent_id": '{ value = "a" }',
        },
    )
    + f"""[route.write_back]
on = ["outcome"]
[route.write_back.fields]
{STATUS} = "outcome.result"
name = "outcome.variables.name"
"""
)
ACTIVITIES, PERSONS, ME = "/api/v2/activities", "/api/v2/persons", "/v1/users/me"
CallAll = Callable[..., list[Delivery]]


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator, store: Store) -> Settings:
    store.note_write_back_routes({"call people": ["outcome"]})
    return make_settings(
        ROUTES,
        secrets={"pipedrive": (SECRET,)},
        variables={"pipedrive": {"API_TOKEN": "a-token", "API_URL": simulator.url}},
        crm_rates={"pipedrive": 80},
    )


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


@pytest.fixture
def send(web: Web) -> Send:
    return sender(web)


@pytest.fixture
def call_all(
    send: Send, settings: Settings, simulator: Simulator, store: Store, run_drain: RunDrain
) -> CallAll:
    """Call the persons of new deals, and return their accepted calls, in the same order."""

    def call(*persons: int) -> list[Delivery]:
        sent = []
        for person in persons:
            put_person(simulator, str(person), f"+91987654{person:04}")
            sent += send(deal(person + 300, person_id=person))
        run_drain(settings)
        return [found(store, one) for one in sent]

    return call


@pytest.fixture
def called(call_all: CallAll) -> Delivery:
    """The accepted call of the person 501, for the deal 801."""
    (call,) = call_all(501)
    return call


def activities(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.state.find_records("pipedrive", "activities").values())


def status_of(simulator: Simulator, person: str = "501") -> Any:
    record = simulator.state.find_record("pipedrive", "persons", person) or {}
    return record.get("custom_fields", {}).get(STATUS)


def asked(simulator: Simulator, method: str, path: str) -> int:
    return sum(one.method == method for one in simulator.state.requests_to(path))


def test_a_redial_updates_the_one_activity_of_the_person_and_the_deal(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ends(store, called, 0, result=Result.NOT_REACHED, is_final=False, duration_s=0)
    run_drain(settings)
    (activity,) = activities(simulator)
    assert activity["subject"].startswith("Call by CallKaro: not reached (bridge-")
    assert status_of(simulator) == "not_reached"
    ends(store, called, 1, transcription="Is it <free>?\nYes & no.")
    run_drain(settings)
    (activity,) = activities(simulator)
    assert activity["subject"].startswith("Call by CallKaro: connected (bridge-")
    assert (activity["type"], activity["done"]) == ("call", True)
    assert (activity["due_date"], activity["due_time"]) == ("2026-11-28", "09:59")
    assert activity["duration"] == "00:02"
    assert activity["note"].endswith("Is it &lt;free&gt;?<br>Yes &amp; no.")
    assert activity["participants"] == [{"person_id": 501, "primary": True}]
    assert activity["deal_id"] == 801
    assert status_of(simulator) == "connected"
    assert store.write_back_counts()["delivered"] == 2
    told = requests.get(f"{simulator.url}/simulator/told", timeout=10).json()["items"]
    assert [(one["what"], one["object"], one["record_id"]) for one in told] == [
        ("call created", "persons", "501"),
        ("record changed", "persons", "501"),
        ("call changed", "persons", "501"),
        ("record changed", "persons", "501"),
    ]
    assert told[-1]["fields"] == {STATUS: "connected"}


def test_the_call_of_a_lead_is_on_the_lead_and_that_of_a_person_on_the_person(
    send: Send, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    body, person = sample("v2_lead_created"), sample("v2_person_created")
    put_person(simulator, str(body["data"]["person_id"]), NUMBER)
    put_person(simulator, str(person["data"]["id"]), NUMBER)
    for one in (body, person):
        (sent,) = send(one)
        run_drain(settings)
        ends(store, found(store, sent))
        run_drain(settings)
    of_lead, of_person = activities(simulator)
    assert of_lead["lead_id"] == body["meta"]["entity_id"]
    assert {"lead_id", "deal_id"}.isdisjoint(of_person)
    assert store.write_back_counts()["delivered"] == 2


def test_after_a_cut_the_activity_that_arrived_is_found_and_not_created_again(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    first, second = call_all(501, 502)
    ends(store, second)
    run_drain(settings)
    simulator.state.behave(path=ACTIVITIES, cut="after", times=1)
    one = ends(store, first)
    run_drain(settings)
    assert found(store, one.id).status == "retrying"
    assert asked(simulator, "GET", ACTIVITIES) == 0, "there was no doubt before"
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(activities(simulator)) == 2
    assert asked(simulator, "PATCH", ACTIVITIES) == 1, "what was found is updated"
    assert status_of(simulator) == "connected"


@pytest.mark.parametrize("code", [429, 503])
def test_what_may_pass_is_tried_again(
    code: int,
    called: Delivery,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.behave(code, path=ACTIVITIES, times=1)
    one = ends(store, called)
    run_drain(settings)
    assert found(store, one.id).status == "retrying"
    assert status_of(simulator) is None, "after such an answer nothing more is asked"
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(activities(simulator)) == 1


def test_pipedrive_says_how_long_to_wait(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(429, path=ACTIVITIES, times=1, retry_after="120")
    one = ends(store, called)
    run_drain(settings)
    due_at_ms = store.redis.zscore("bridge:due:write_back", one.id)
    assert due_at_ms is not None
    assert due_at_ms / 1000 > datetime.now(UTC).timestamp() + 100


def test_a_field_that_is_refused_costs_neither_the_activity_nor_another_call(
    call_all: CallAll, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.refuse_field("pipedrive", "persons", "name", "It is locked")
    wrong, good, deleted = call_all(501, 502, 503)
    told = [
        ends(store, wrong, post_call={"name": "Another Name"}),
        ends(store, good),
        ends(store, deleted),
    ]
    simulator.state.drop_record("pipedrive", "persons", "503")
    run_drain(settings)
    now = [found(store, one.id) for one in told]
    assert [(one.status, one.reason) for one in now] == [
        ("failed", "refused"),
        ("delivered", None),
        ("failed", "refused"),
    ]
    assert now[0].message == "Pipedrive refused it: Validation failed: name: It is locked"
    assert now[2].message == "Pipedrive refused it: Entity not found"
    assert len(activities(simulator)) == 2
    assert (status_of(simulator), status_of(simulator, "502")) == (None, "connected")
    before = len(simulator.state.requests)
    run_drain(settings)
    assert len(simulator.state.requests) == before, "a refusal is not repeated"


def test_a_token_that_is_refused_pauses_the_crm(
    called: Delivery, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(401, path=ACTIVITIES, times=1)
    one = ends(store, called)
    run_drain(settings)
    (pause,) = store.pauses()
    assert (pause.scope, pause.reason) == ("crm:pipedrive", "credentials")
    assert "PIPEDRIVE_API_TOKEN" in pause.message
    store.resume("crm:pipedrive")
    due_now(store, one)
    run_drain(settings)
    assert found(store, one.id).status == "delivered"
    assert len(activities(simulator)) == 1


# --- no circle ------------------------------------------------------------------------------------


def changed(entity: str, number: int, record: dict[str, Any], **meta: Any) -> Any:
    """Return a change of a record, each an event of its own."""
    body = sample("v2_person_changed_before_created")
    body["meta"] |= {"id": f"change-{number}", "entity": entity, "entity_id": str(number), **meta}
    return {**body, "data": {"id": number, **record}}


BY_US = {"user_id": str(USER["id"]), "change_source": "api"}


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        (BY_US, "own_change"),
        ({**BY_US, "change_source": "app"}, None),
        ({**BY_US, "user_id": "9900002"}, None),
    ],
    ids=["ours", "of our user in Pipedrive", "of another app"],
)
def test_the_change_that_we_made_of_a_person_or_a_deal_rings_nobody(
    by: dict[str, str],
    reason: str | None,
    send: Send,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    put_person(simulator, "501", NUMBER)
    phones = [{"value": NUMBER, "primary": True}]
    for body in (
        changed("person", 501, {"phones": phones}, **by),
        changed("deal", 801, {"person_id": 501}, **by),
    ):
        (one,) = send(body)
        run_drain(settings)
        assert found(store, one).reason == reason
    assert len(simulator.state.calls) == (0 if reason else 2)
    assert asked(simulator, "GET", ME) == 1


def test_the_activity_that_we_made_rings_nobody(
    called: Delivery,
    send: Send,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    ends(store, called)
    run_drain(settings)
    (activity,) = activities(simulator)
    record = {"subject": activity["subject"], "person_id": 501}
    (ours,) = send(changed("activity", 901, record, action="create"))
    (other,) = send(changed("activity", 902, {**record, "subject": "Ask again"}, action="create"))
    run_drain(settings)
    assert found(store, ours).reason == "own_change"
    assert found(store, other).status == "delivered"


# 403: what shuts out our address for a while. Each change of ours would ring.
@pytest.mark.parametrize("status", [403, 503])
def test_while_the_user_is_not_known_a_complete_change_waits(
    status: int,
    send: Send,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    simulator.state.behave(status, path=ME, times=1)
    record = {"phones": [{"value": NUMBER, "primary": True}]}
    (one,) = send(changed("person", 501, record, **BY_US))
    run_drain(settings)
    now = found(store, one)
    assert (now.status, simulator.state.calls) == ("queued", [])
    assert "whose login" in (now.message or "")
    make_due(store, one)
    run_drain(settings)
    assert found(store, one).reason == "own_change"


def test_without_a_token_nothing_of_ours_comes_back_so_a_complete_change_rings(
    send: Send, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    variables = {"pipedrive": {"API_URL": simulator.url}}
    (one,) = send(changed("person", 501, {"phones": [{"value": NUMBER}]}, **BY_US))
    run_drain(replace(settings, variables=variables))
    assert found(store, one).status == "delivered"


def test_a_source_that_tells_nothing_asks_nothing_about_a_complete_change(
    send: Send,
    settings: Settings,
    make_settings: MakeSettings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    untold = make_settings(ROUTES.partition("[route.write_back]")[0]).routes
    (one,) = send(changed("person", 501, {"phones": [{"value": NUMBER}]}, **BY_US))
    run_drain(replace(settings, routes=untold))
    assert found(store, one).status == "delivered"
    assert simulator.state.requests_to(ME) == []
