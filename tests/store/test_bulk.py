"""Floods: what an import or too many matches at once bring waits for a person."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support import API_TOKEN, CALL_BACK, WEBSITE, Web, lead, notification, route

from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.base import P

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]

IMPORTS = route("call contacts", source="hubspot", event="contact.created")
FLOOD = WEBSITE + route(flood='{ over = 3, within = "5m" }') + route("call too")


def order(web: Web, path: str, body: object, *, status: int = 200) -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = web.client.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json


def stands(store: Store, ids: list[str]) -> Counter[str]:
    """Count what became of deliveries: "held bulk", "delivered"."""
    found = [store.delivery(one) for one in ids]
    return Counter(f"{one.status} {one.reason or ''}".strip() for one in found if one)


def put_contacts(simulator: Simulator, *ids: str) -> None:
    for place, contact in enumerate(ids):
        simulator.state.put_record(
            "hubspot", "contacts", contact, {"phone": f"+9198765432{place:02}"}
        )


def test_what_hubspot_marks_as_import_is_held_and_its_neighbours_are_called(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(IMPORTS)
    put_contacts(simulator, "101", "102", "103")
    body = [notification("101", changeSource="IMPORT"), notification("102"), notification("103")]
    answer = open_web(settings).post("hubspot", body).json

    run_drain(settings)

    ids = [one["id"] for event in answer["events"] for one in event["deliveries"]]
    assert [one["deliveries"][0]["status"] for one in answer["events"]] == ["held"] + ["queued"] * 2
    assert stands(store, ids) == {"held bulk": 1, "delivered": 2}
    held = store.delivery(ids[0])
    assert held is not None
    assert (held.next_attempt_at, held.message) == (
        None,
        "The CRM marks it as part of an import. Release or cancel them.",
    )
    [read] = simulator.state.requests_to("/crm/objects/2026-03/contacts/batch/read")
    assert len(read.body["inputs"]) == 2, "what is held costs the CRM nothing"


def test_what_is_more_than_a_route_takes_is_held(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    settings = make_settings(FLOOD)
    web = open_web(settings)
    ids = [one for _ in range(5) for one in web.send("website", lead())]

    run_drain(settings)

    assert stands(store, ids) == {"held bulk": 2, "delivered": 8}
    found = [store.delivery(one) for one in ids]
    assert {one.route for one in found if one and one.reason == "bulk"} == {"call back"}


def test_a_flood_within_one_request_is_one_too(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    flood = IMPORTS.replace("to = ", 'flood = { over = 3, within = "5m" }\nto = ')
    settings = make_settings(flood)

    ids = open_web(settings).send("hubspot", [notification(str(one)) for one in range(201, 211)])

    assert stands(store, ids) == {"queued": 3, "held bulk": 7}


def test_resends_are_no_flood(make_settings: MakeSettings, open_web: OpenWeb, store: Store) -> None:
    web = open_web(make_settings(FLOOD))
    body = lead()
    for _ in range(5):
        ids = web.send("website", body)
    last = web.send("website", lead())

    assert stands(store, ids + last) == {"queued": 4}


def test_a_flood_is_over_when_its_time_is(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store
) -> None:
    web = open_web(make_settings(FLOOD))
    for _ in range(4):
        web.send("website", lead())
    ago_us = int((time.time() - 301) * 1e6)
    index = f"{P}deliveries:route:call back"
    for place, one in enumerate(store.redis.zrange(index, 0, -1)):
        store.redis.zadd(index, {one: ago_us + place})

    assert stands(store, web.send("website", lead())) == {"queued": 2}


def test_nothing_wakes_it_but_a_person(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    settings = make_settings(IMPORTS)
    [one] = open_web(settings).send("hubspot", [notification("101", changeSource="IMPORT")])

    store.audit((0, 0), lease_s=60)
    store.sweep()
    run_drain(settings)

    assert stands(store, [one]) == {"held bulk": 1}
    assert store.next_due_s() is None


@pytest.fixture
def held(
    make_settings: MakeSettings, open_web: OpenWeb, simulator: Simulator
) -> tuple[Settings, Web, list[str]]:
    """Five contacts of an import, held."""
    settings = make_settings(IMPORTS + CALL_BACK)
    web = open_web(settings)
    numbers = [str(one) for one in range(101, 106)]
    put_contacts(simulator, *numbers)
    return (
        settings,
        web,
        web.send("hubspot", [notification(one, changeSource="IMPORT") for one in numbers]),
    )


def test_a_person_releases_a_part_and_then_the_rest(
    held: tuple[Settings, Web, list[str]], store: Store, run_drain: RunDrain
) -> None:
    settings, web, ids = held
    which = {"route": "call contacts"}
    assert web.get("/api/status").json["bulk"] == 5

    counted = order(web, "/api/deliveries/release", {**which, "dry_run": True})
    part = order(web, "/api/deliveries/release", {**which, "limit": 2})
    run_drain(settings)

    assert (counted["matched"], counted["released"], counted["dry_run"]) == (5, 5, True)
    assert (part["matched"], part["released"], part["next_cursor"]) == (2, 2, None)
    assert stands(store, ids) == {"delivered": 2, "held bulk": 3}
    rest = order(web, "/api/deliveries/release", which)
    run_drain(settings)
    assert rest["released"] == 3
    assert stands(store, ids) == {"delivered": 5}
    assert web.get("/api/status").json["bulk"] == 0


def test_a_person_cancels_all_of_it_and_nothing_else(
    held: tuple[Settings, Web, list[str]], store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    settings, web, ids = held
    [waits] = web.send("website", lead())

    done = order(web, "/api/deliveries/cancel", {"reason": "bulk"})
    run_drain(settings)

    assert (done["matched"], done["cancelled"], done["refused"]) == (5, 5, 0)
    assert stands(store, ids) == {"cancelled by_person": 5}
    assert stands(store, [waits]) == {"delivered": 1}
    assert web.get("/api/status").json["bulk"] == 0


def test_a_release_lets_nothing_else_go(
    held: tuple[Settings, Web, list[str]], store: Store
) -> None:
    _, web, ids = held
    order(web, f"/api/deliveries/{ids[0]}/cancel", {})

    done = order(web, "/api/deliveries/release", {"source": "hubspot"})

    assert done["matched"] == 4
    assert stands(store, ids) == {"cancelled by_person": 1, "queued by_person": 4}


@pytest.mark.parametrize(
    "filters", [{"reason": "paused"}, {"reason": "outside_hours"}, {"status": "retrying"}]
)
def test_the_dashboard_releases_no_bulk_where_something_else_is_chosen(
    held: tuple[Settings, Web, list[str]], store: Store, filters: dict[str, str]
) -> None:
    _, web, ids = held
    assert web.client.post("/sign-in", data={"token": API_TOKEN}).status_code == 302
    csrf = web.client.get("/").text.split('name="csrf" value="')[1].split('"')[0]
    form = {"csrf": csrf, "do": "release", "source": "hubspot", **filters}

    for answer in (
        web.client.post("/deliveries/many", data=form),
        web.client.get("/deliveries/many", query_string={**form, "csrf": ""}),
    ):
        assert answer.status_code == 400
        assert "Only deliveries that are held as bulk can be released" in answer.text
    assert stands(store, ids) == {"held bulk": 5}
    order(web, "/api/deliveries/release", {"source": "hubspot", **filters}, status=400)


@pytest.mark.parametrize("body", [{}, {"limit": 2}, {"route": ""}, {"route": "x", "limit": 0}])
def test_what_is_to_be_released_must_be_said(
    held: tuple[Settings, Web, list[str]], body: dict[str, Any]
) -> None:
    order(held[1], "/api/deliveries/release", body, status=400)


def test_the_list_finds_it_by_its_reason(held: tuple[Settings, Web, list[str]]) -> None:
    _, web, ids = held
    web.send("website", lead())

    found = web.get("/api/deliveries?reason=bulk&limit=2").json
    more = web.get(f"/api/deliveries?reason=bulk&cursor={found['next_cursor']}").json

    assert sorted(one["id"] for one in found["items"] + more["items"]) == sorted(ids)
    assert web.get("/api/deliveries?reason=nonsense").status_code == 400


def test_time_held_as_bulk_makes_no_event_too_old(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(IMPORTS.replace("to = ", 'max_age = "1h"\nto = '))
    web = open_web(settings)
    put_contacts(simulator, "101")
    two_hours_ago = int((time.time() - 7200) * 1000)
    body = notification("101", changeSource="IMPORT", occurredAt=two_hours_ago + 60_000)
    [one] = web.send("hubspot", [body])
    store.redis.hset(f"{P}delivery:{one}", "held_since_ms", two_hours_ago)

    order(web, "/api/deliveries/release", {"route": "call contacts"})
    run_drain(settings)

    assert stands(store, [one]) == {"delivered": 1}
