"""A broken route pauses itself, and does not burn its leads in silence."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support import AGENT, API_TOKEN, WEBSITE, lead, route
from support.draining import CALLS, MakeSettings, OpenWeb, RunDrain, found

from schemas.delivery import Status
from schemas.records import Filters
from simulator import Simulator
from store import Store

OTHER = "6803fa770b666a64ab1694c1f"
TWO = (
    WEBSITE
    + route("broken", match="\"kind != 'fine'\"")
    + route(
        "fine",
        match="\"kind == 'fine'\"",
        request={"to_number": '"phone"', "agent_id": f'{{ value = "{OTHER}" }}'},
    )
)


@pytest.fixture
def gone(simulator: Simulator) -> Iterator[set[str]]:
    """The agents that CallKaro does not have any more."""
    simulator.state.unknown_agents.add(AGENT)
    yield simulator.state.unknown_agents
    simulator.state.unknown_agents.discard(AGENT)


def statuses(store: Store, ids: list[str]) -> Counter[tuple[str, str | None]]:
    return Counter((str(one.status), one.reason) for one in (found(store, i) for i in ids))


def numbers(count: int, start: int = 0) -> list[str]:
    return [f"+9198765{n:05}" for n in range(start, start + count)]


def refuse(simulator: Simulator, message: str, **more: Any) -> None:
    body = json.dumps({"status": "error", "message": message})
    simulator.state.behave(400, path=CALLS, body=body, **more)


def test_a_broken_route_is_paused_fixed_tried_and_resumed(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    gone: set[str],
) -> None:
    settings = make_settings(TWO, worker_threads=4)
    web = open_web(settings)
    broken = [web.send("website", lead(one))[0] for one in numbers(100)]
    fine = [web.send("website", lead(one, kind="fine"))[0] for one in numbers(20, 500)]

    with ThreadPoolExecutor(2) as workers:
        for done in [workers.submit(run_drain, settings) for _ in range(2)]:
            done.result()
    run_drain(settings)

    failed = statuses(store, broken)["failed", "refused"]
    assert 5 <= failed <= 5 + 2 * 4
    assert statuses(store, fine) == {("delivered", None): 20}
    assert statuses(store, broken)["held", "paused"] == 100 - failed
    assert len(simulator.state.requests_to(CALLS)) == failed + 20
    [pause] = store.pauses()
    assert (pause.scope, pause.reason) == ("route:broken", "failing")
    assert "Agent does not exist. Fix the route" in pause.message
    [warning] = [one for one in web.get("/api/status").json["warnings"] if "route:broken" in one]
    assert "failing" in warning
    assert 'callkaro_bridge_route_failing{route="broken"} 1.0' in web.get("/metrics").text
    assert store.look_for_alerts(backlog_age_s=900, sources=["website"]) >= 1
    alerts = {}
    while alert := store.claim_alert(lease_s=60):
        alerts[alert.type] = alert
        store.end_alert(alert.id)
    assert alerts["route.failing"].facts["route"] == "broken"
    assert "Agent does not exist" in alerts["route.failing"].facts["message"]
    assert "destination.paused" not in alerts

    gone.clear()
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    tried = web.client.post(
        "/api/routes/broken/call-me",
        headers=headers,
        json={"to_number": "+919811111111", "record": {"phone": "+919811111111"}},
    )
    assert tried.status_code == 202, tried.text
    run_drain(settings)
    assert found(store, tried.json["id"]).status == "delivered"
    assert statuses(store, broken)["held", "paused"] == 100 - failed

    path = "/api/pauses/route:broken"
    would = web.client.delete(path, headers=headers, json={"dry_run": True}).json
    assert would == {
        "scope": "route:broken",
        "released": 100 - failed,
        "too_old": 0,
        "dry_run": True,
    }
    assert web.client.delete(path, headers=headers).json["released"] == 100 - failed
    run_drain(settings)
    again = web.client.post(
        "/api/deliveries/retry", headers=headers, json={"reason": "refused", "route": "broken"}
    )
    assert again.json["retried"] == failed
    run_drain(settings)

    assert statuses(store, broken) == {("delivered", None): 100}
    called = Counter(call.to_number for call in simulator.state.calls)
    assert called == Counter([*numbers(100), *numbers(20, 500), "+919811111111"])
    assert store.pauses() == []


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("DND_NUMBER", "dnd_number"),
        ("Call blocked: dnd_number", "dnd_number"),
        ("VERIFICATION_REQUIRED", "not_verified"),
        ("Invalid phone number", "refused"),
        ("to_number is not valid", "refused"),
        ("Invalid to_number format", "refused"),
    ],
)
def test_refusals_about_a_person_pause_nothing(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    message: str,
    reason: str,
) -> None:
    settings = make_settings(TWO)
    web = open_web(settings)
    ids = [web.send("website", lead(one))[0] for one in numbers(6)]
    refuse(simulator, message)

    run_drain(settings)

    assert statuses(store, ids) == {("failed", reason): 6}
    assert store.pauses() == []
    run_drain(settings)
    suppressed = 6 if reason == "dnd_number" else 0
    assert store.suppression_count() == suppressed


@pytest.mark.parametrize("message", ["Missing required field: to_number", "Agent does not exist"])
def test_refusals_of_the_route_pause_it(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    message: str,
) -> None:
    settings = make_settings(TWO, worker_threads=1, route_failing_after=3)
    web = open_web(settings)
    ids = [web.send("website", lead(one))[0] for one in numbers(6)]
    refuse(simulator, message)

    run_drain(settings)

    kept = statuses(store, ids)
    assert 3 <= kept["failed", "refused"] <= 4
    assert kept["held", "paused"] == 6 - kept["failed", "refused"]


def test_what_is_not_sent_fails_no_further_once_its_route_is_paused(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    """Calls that no request was made for (`bad_request`) count too, and exactly so many fail."""
    settings = make_settings(
        WEBSITE + route("broken", request={"to_number": '"phone"', "agent_id": '"agent"'})
    )
    web = open_web(settings)
    ids = [web.send("website", lead(one))[0] for one in numbers(40)]

    run_drain(settings)

    assert statuses(store, ids) == {("failed", "bad_request"): 5, ("held", "paused"): 35}


@pytest.mark.parametrize("most", [0, 1, 2])
def test_an_accepted_call_ends_the_row_and_the_limit_can_be_set(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    most: int,
) -> None:
    settings = make_settings(TWO, route_failing_after=most)
    web = open_web(settings)
    for n, one in enumerate(numbers(6)):
        if n % 2 == 0:
            refuse(simulator, "Agent does not exist", times=1)
        web.send("website", lead(one))
        run_drain(settings)

    assert [pause.reason for pause in store.pauses()] == (["failing"] if most == 1 else [])


def test_a_persons_own_pause_stays_and_stops_test_calls(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    gone: set[str],
) -> None:
    settings = make_settings(TWO, route_failing_after=1, worker_threads=1)
    web = open_web(settings)
    [first] = web.send("website", lead())
    store.pause("route:broken", reason="person", message="by hand")
    run_drain(settings)
    assert found(store, first).status == "held"
    store.redis.hset("bridge:failing", "broken", 9)

    [pause] = store.pauses()
    assert (pause.reason, pause.message) == ("person", "by hand")
    tried = web.client.post(
        "/api/routes/broken/call-me",
        headers={"Authorization": f"Bearer {API_TOKEN}"},
        json={"to_number": "+919811111111", "record": {"phone": "+919811111111"}},
    )
    run_drain(settings)
    assert found(store, tried.json["id"]).status == "held"
    assert simulator.state.requests_to(CALLS) == []


def test_the_latest_failure_is_kept_among_successes_of_one_second(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(TWO, worker_threads=1)
    web = open_web(settings)
    for one in numbers(3):
        web.send("website", lead(one))
    simulator.state.behave(503, path=CALLS, times=1)

    run_drain(settings)

    health = store.callkaro()
    assert health["failed_at"] is not None
    assert health["answered_at"] is not None
    assert health["failed_at"] < health["answered_at"]
    assert health["message"] == "CallKaro accepted it."
    assert health["failed_message"] == "CallKaro is busy (503)."
    web.client.post("/sign-in", data={"token": API_TOKEN})
    assert "CallKaro is busy (503)." in web.client.get("/").text


def test_a_refusal_is_no_good_answer(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    gone: set[str],
) -> None:
    settings = make_settings(TWO)
    open_web(settings).send("website", lead())

    run_drain(settings)

    health = store.callkaro()
    assert health["answered_at"] is None
    assert health["failed_at"] is not None


def test_every_page_says_that_a_route_fails_and_what_a_resume_does(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    gone: set[str],
) -> None:
    settings = make_settings(TWO, route_failing_after=1, worker_threads=1)
    web = open_web(settings)
    for one in numbers(9):
        web.send("website", lead(one))
    run_drain(settings)
    held = store.counts()["held"]
    [old, *_] = store.deliveries(Filters(status=(Status.HELD,)), before=None, limit=1).items
    record = json.loads(store.redis.hget(f"bridge:event:{old.event_id}", "record"))
    record["received_at"] = record["time"] = "2020-01-01T00:00:00+00:00"
    store.redis.hset(f"bridge:event:{old.event_id}", "record", json.dumps(record))
    aged = open_web(make_settings(TWO.replace('to = "call"', 'to = "call"\nmax_age = "1h"')))
    aged.client.post("/sign-in", data={"token": API_TOKEN})

    for path in ("/", "/deliveries", "/events", "/suppressions", "/routes"):
        page = aged.client.get(path).text
        assert "<strong>route:broken</strong> is paused: its calls failed." in page
        assert "Agent does not exist" in page
    text = aged.client.get("/").text
    assert f"{held - 1} calls go out, and 1 are too old" in text, text[text.find("If you") :][:200]
    path = "/api/pauses/route:broken"
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    would = aged.client.delete(path, headers=headers, json={"dry_run": True}).json
    assert (would["released"], would["too_old"]) == (held, 1)


def test_a_test_call_neither_counts_nor_ends_the_row(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(TWO, route_failing_after=3)
    web = open_web(settings)

    def try_it(number: str) -> None:
        web.client.post(
            "/api/routes/broken/call-me",
            headers={"Authorization": f"Bearer {API_TOKEN}"},
            json={"to_number": number, "record": {"phone": number}},
        )
        run_drain(settings)

    refuse(simulator, "Agent does not exist")
    for one in numbers(4):
        try_it(one)
    assert store.redis.hget("bridge:failing", "broken") is None
    for one in numbers(2, 10):
        web.send("website", lead(one))
    run_drain(settings)
    simulator.state.behave_normally()
    try_it("+919811111111")
    assert store.redis.hget("bridge:failing", "broken") == "2"
