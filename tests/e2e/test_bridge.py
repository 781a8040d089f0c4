"""The whole bridge as it is run: gunicorn, `python -m workers`, and processes that die."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from support import (
    LONGEST_S,
    SECRETS,
    Bridge,
    Valkey,
    end,
    end_lease,
    lead,
    notification,
    runs,
    until,
)

from simulator import Simulator
from store import Store, connect

StartBridge = Callable[..., Bridge]
CALLS = "/call/outbound"
MANY = 40  # calls, of a second each: more than are made while processes are looked up and killed


def requests_for(simulator: Simulator, delivery_id: str) -> int:
    """Return how many requests CallKaro got for a delivery, accepted or not."""
    return sum(delivery_id.encode() in one.raw for one in simulator.state.requests_to(CALLS))


def taken_in(bridge: Bridge, body: object) -> dict[str, Any] | None:
    """Post a webhook of the website's and return the answer; None: it is to be sent again."""
    answer = bridge.post("website", body)
    if answer.status_code == 503:
        return None
    assert answer.status_code == 202, answer.text
    taken: dict[str, Any] = answer.json()
    return taken


def test_leads_of_three_sources_become_calls_in_campaigns_once(
    bridge: Bridge, simulator: Simulator
) -> None:
    hubspot = [notification(contact) for contact in ("101", "102", "103")]
    zoho = urlencode({"id": "5725767000000411001", "Phone": "+91 98765 43213"}).encode()
    website = lead("+919876543219")
    sent: list[tuple[str, Any, dict[str, str]]] = [
        ("hubspot", hubspot, {}),
        ("zoho", zoho, {"content_type": "application/x-www-form-urlencoded"}),
        ("website", website, {}),
    ]

    ids = [one for source, body, how in sent for one in bridge.send(source, body, **how)]
    for source, body, how in sent:
        assert bridge.post(source, body, **how).json()["accepted"] == 0

    shown = [bridge.await_status(one, "delivered", "skipped") for one in ids]
    assert [one["status"] for one in shown] == [
        "delivered",
        "delivered",
        "skipped",
        "delivered",
        "delivered",
    ]
    assert shown[2]["reason"] == "no_number"
    calls = {call.delivery_id: call for call in simulator.state.calls}
    names = {campaign.batch_id: campaign.name for campaign in simulator.state.campaigns}
    assert sorted(names.values()) == ["HubSpot leads", "Website", "Zoho leads"]
    assert {(calls[one].to_number, names[str(calls[one].batch_id)]) for one in calls} == {
        ("+919876543210", "HubSpot leads"),
        ("+919876543211", "HubSpot leads"),
        ("+919876543213", "Zoho leads"),
        ("+919876543219", "Website"),
    }
    for one in shown:
        if one["status"] == "delivered":
            assert one["call_sid"] == calls[one["id"]].call_sid
    assert len(simulator.state.requests_to(CALLS)) == 4
    overview = bridge.get("/api/status")
    assert overview["deliveries"]["delivered"] == 4
    assert [worker["state"] for worker in overview["workers"]]
    assert overview["warnings"] == []
    logged = bridge.log("web") + bridge.log("worker")
    for secret in ("9876543", "98765 43", "Asha", "Vikram", *SECRETS.values()):
        assert secret not in logged, secret
    assert "Traceback" not in logged
    assert "Warning" not in logged


def test_the_same_batch_from_eight_threads_at_once_is_one_delivery_and_one_request(
    bridge: Bridge, simulator: Simulator
) -> None:
    batch = [notification("101")] * 3

    def post(_: int) -> dict[str, Any]:
        answer: dict[str, Any] = bridge.post("hubspot", batch).json()
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))

    events = [event for answer in answers for event in answer["events"]]
    ids = {one["id"] for event in events for one in event["deliveries"]}
    assert sum(answer["accepted"] for answer in answers) == 1
    assert sum(answer["duplicates"] for answer in answers) == 23
    [delivery] = ids
    bridge.await_status(delivery, "delivered")
    assert len(bridge.get("/api/deliveries")["items"]) == 1
    assert len(simulator.state.requests_to(CALLS)) == 1
    assert simulator.state.doubled == {}


def test_a_work_horse_killed_mid_call_leaves_unknown_and_nothing_is_sent_twice(
    start_bridge: StartBridge, store: Store, simulator: Simulator
) -> None:
    bridge = start_bridge()
    simulator.state.behave(path=CALLS, times=1, latency_ms=30_000)
    [hit] = bridge.send("website", lead())
    until(lambda: requests_for(simulator, hit), what="the request")
    horse = bridge.horse()
    assert horse

    os.kill(horse, signal.SIGKILL)

    until(lambda: not runs(horse), what="the horse's end")
    assert bridge.status(hit) == "sending"
    [next_one] = bridge.send("website", lead())
    bridge.await_status(next_one, "delivered")
    assert bridge.status(hit) == "sending"
    end_lease(store, hit)
    shown = bridge.await_status(hit, "unknown")
    assert shown["reason"] == "worker_died"
    assert [one["status"] for one in shown["timeline"]] == ["queued", "sending", "unknown"]
    [last_one] = bridge.send("website", lead())
    bridge.await_status(last_one, "delivered")
    assert bridge.status(hit) == "unknown"
    assert requests_for(simulator, hit) == 1
    assert simulator.state.doubled == {}


@pytest.fixture(params=[pytest.param("the supervisor", marks=pytest.mark.slow), "every process"])
def asked(request: pytest.FixtureRequest) -> str:
    """Whom a platform asks to stop: Docker the first process, Heroku all of them."""
    who: str = request.param
    return who


def test_a_worker_that_is_asked_to_stop_finishes_what_is_on_the_wire_and_gives_back_the_rest(
    start_bridge: StartBridge, store: Store, simulator: Simulator, asked: str
) -> None:
    bridge = start_bridge(WORKER_THREADS="2")
    simulator.state.behave(path=CALLS, latency_ms=1000)
    ids = bridge.send("website", [lead() for _ in range(MANY)])
    until(lambda: len(simulator.state.requests_to(CALLS)) >= 2, what="the first requests")
    worker = bridge.worker
    assert worker is not None
    rq_worker, horse = bridge.rq_worker(), bridge.horse()
    assert rq_worker
    assert horse
    others = [rq_worker, horse] if asked == "every process" else []

    for pid in (worker.pid, *others):
        os.kill(pid, signal.SIGTERM)

    assert worker.wait(LONGEST_S) == 0
    assert not runs(rq_worker)
    assert not runs(horse)
    counts = {status: count for status, count in store.counts().items() if count}
    calls = len(simulator.state.requests_to(CALLS))
    assert counts == {"delivered": calls, "queued": MANY - calls}
    assert calls < MANY
    assert store.redis.zcard("bridge:leased") == 0
    assert store.due_count() == MANY - calls

    simulator.state.behave_normally()
    bridge.start_worker()
    for one in ids:
        bridge.await_status(one, "delivered")
    assert len(simulator.state.requests_to(CALLS)) == MANY


def test_being_asked_to_stop_again_and_again_cuts_no_call_off(
    start_bridge: StartBridge, store: Store, simulator: Simulator
) -> None:
    """RQ takes a second SIGTERM, a second after the first, for an order to kill its work-horse."""
    bridge = start_bridge(WORKER_THREADS="2")
    simulator.state.behave(path=CALLS, latency_ms=3500)
    bridge.send("website", [lead(), lead()])
    until(lambda: len(simulator.state.calls) == 2, what="both calls are on the wire")
    worker, rq_worker, horse = bridge.worker, bridge.rq_worker(), bridge.horse()
    assert worker is not None
    assert rq_worker
    assert horse

    for _ in range(3):
        asked_at = time.monotonic()
        for pid in (worker.pid, rq_worker, horse):
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.kill(pid, signal.SIGTERM)
        until(lambda since=asked_at: time.monotonic() - since > 1.1, what="more than a second")

    assert worker.wait(LONGEST_S) == 0
    assert {status: count for status, count in store.counts().items() if count} == {"delivered": 2}


def test_an_rq_worker_that_dies_is_started_again(bridge: Bridge, simulator: Simulator) -> None:
    first = bridge.rq_worker()
    assert first
    os.kill(first, signal.SIGKILL)

    second = until(lambda: (bridge.rq_worker() or first) != first and bridge.rq_worker())

    [delivery] = bridge.send("website", lead())
    bridge.await_status(delivery, "delivered")
    assert second
    assert runs(second)
    assert "worker.died" in bridge.log("worker")
    assert len(simulator.state.calls) == 1


def test_the_children_of_a_killed_supervisor_end_and_finish_what_is_on_the_wire(
    start_bridge: StartBridge, store: Store, simulator: Simulator
) -> None:
    bridge = start_bridge(WORKER_THREADS="1")
    simulator.state.behave(path=CALLS, latency_ms=1000)
    bridge.send("website", [lead() for _ in range(MANY)])
    until(lambda: simulator.state.requests_to(CALLS), what="the first request")
    worker, rq_worker, horse = bridge.worker, bridge.rq_worker(), bridge.horse()
    assert worker is not None
    assert rq_worker
    assert horse

    end(worker, by=signal.SIGKILL)

    until(lambda: not runs(horse), what="the horse's end")
    until(lambda: not runs(rq_worker), what="the RQ worker's end")
    counts = {status: count for status, count in store.counts().items() if count}
    assert set(counts) == {"delivered", "queued"}
    assert counts["delivered"] == len(simulator.state.requests_to(CALLS))
    assert store.redis.zcard("bridge:leased") == 0


def test_the_child_of_a_killed_supervisor_that_has_nothing_to_do_ends_too(bridge: Bridge) -> None:
    rq_worker = bridge.rq_worker()
    assert rq_worker
    assert bridge.worker is not None
    until(lambda: bridge.get("/api/status")["workers"], what="the RQ worker's registration")

    end(bridge.worker, by=signal.SIGKILL)

    until(lambda: not runs(rq_worker), what="the RQ worker's end")


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey that a test may kill."""
    folder = tmp_path / "valkey"
    folder.mkdir()
    server = Valkey(folder)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.mark.slow
def test_redis_may_be_killed_and_come_back_while_all_goes_on(
    own_valkey: Valkey, start_bridge: StartBridge, simulator: Simulator
) -> None:
    bridge = start_bridge(own_web=True, REDIS_URL=own_valkey.url)
    web, worker = bridge.web, bridge.worker
    assert web is not None
    assert worker is not None
    simulator.state.behave(path=CALLS, times=1, latency_ms=1500)
    body = lead()
    [under_way] = bridge.send("website", body)
    until(lambda: requests_for(simulator, under_way), what="the request")

    own_valkey.stop(by=signal.SIGKILL)
    away = bridge.post("website", lead())
    assert away.status_code == 503
    assert away.headers["Retry-After"]
    assert bridge.session.get(f"{bridge.url}/healthz", timeout=LONGEST_S).status_code == 200
    assert bridge.session.get(f"{bridge.url}/readyz", timeout=LONGEST_S).status_code == 503
    until(lambda: simulator.state.calls, what="the call that was on the wire")
    own_valkey.start()

    # After a failure, each web process waits a second before it asks Redis again; a CRM, too.
    body_after = lead()
    assert until(lambda: taken_in(bridge, body), what="an answer")["duplicates"] == 1
    answer = until(lambda: taken_in(bridge, body_after), what="an answer")
    [after] = [one["id"] for event in answer["events"] for one in event["deliveries"]]
    bridge.await_status(after, "delivered")
    bridge.await_status(under_way, "delivered")
    assert (web.poll(), worker.poll()) == (None, None)
    assert requests_for(simulator, under_way) == 1
    assert simulator.state.doubled == {}
    with connect(own_valkey.url) as client:
        assert Store(client).counts()["sending"] == 0


def test_a_worker_that_starts_finds_what_came_in_without_one(
    start_bridge: StartBridge, simulator: Simulator
) -> None:
    bridge = start_bridge()
    assert bridge.worker is not None
    end(bridge.worker, by=signal.SIGTERM)
    [delivery] = bridge.send("website", lead())
    with connect(bridge.environment["REDIS_URL"]) as client:
        # The wake-up and the RQ job are hints: without them nothing is lost.
        client.delete("bridge:wakeup", "rq:queue:callkaro-bridge")

    bridge.start_worker()

    bridge.await_status(delivery, "delivered")
    assert len(simulator.state.calls) == 1


def test_what_falls_due_later_is_sent_without_anything_else_happening(
    start_bridge: StartBridge, simulator: Simulator
) -> None:
    bridge = start_bridge()
    simulator.state.behave(429, path=CALLS, times=1, retry_after="1")
    [delivery] = bridge.send("website", lead())

    shown = bridge.await_status(delivery, "delivered")

    assert [one["status_code"] for one in shown["attempts"]] == [429, 200]


@pytest.mark.parametrize("module", [["gunicorn", "bridge.app:create_app()"], ["workers"]], ids=str)
def test_wrong_settings_stop_the_boot_with_one_message_that_names_them_all(
    tmp_path: Path, module: list[str]
) -> None:
    bridge = Bridge(tmp_path, {"ROUTES_TOML": "[[route]]\nname = 'a'", "CALLING_HOURS": "nights"})
    process = bridge.run("boot", *module)

    assert process.wait(LONGEST_S) != 0

    said = bridge.log("boot")
    for name in ("REDIS_URL", "CALLKARO_API_KEY", "CALLING_HOURS", "ROUTES_TOML", "request"):
        assert name in said
    bridge.stop()
