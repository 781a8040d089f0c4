"""A drain and what CallKaro may answer: every answer ends where it should."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from support import (
    CALL_BACK,
    LONGEST_S,
    WEBSITE,
    Web,
    end_lease,
    free_port,
    lead,
    make_due,
    move_back,
    route,
    until,
)
from support.draining import CALLS, MakeSettings, OpenWeb, RunDrain, found

from schemas.settings import Settings
from simulator import Simulator
from store import Store

HTML = {"status": 500, "html": True}
NO_JSON = {"body": "queued, thanks", "accept": True}
NO_ID = {"body": '{"status": "done", "message": "queued"}', "accept": True}
SAYS_NO = {"body": '{"status": "error", "message": "no credit"}'}
SLOW = {"latency_ms": 3000}


@pytest.mark.parametrize(
    ("answers", "status", "reason", "rings"),
    [
        ({}, "delivered", None, 1),
        ({"status": 400}, "failed", "refused", 0),
        ({"status": 404}, "failed", "refused", 0),
        ({"status": 422}, "failed", "refused", 0),
        (SAYS_NO, "failed", "refused", 0),
        ({"status": 401}, "retrying", "account", 0),
        ({"status": 402}, "retrying", "account", 0),
        ({"status": 403}, "retrying", "account", 0),
        ({"status": 429, "retry_after": "30"}, "retrying", "busy", 0),
        ({"status": 500}, "retrying", "busy", 0),
        ({"status": 503}, "retrying", "busy", 0),
        (HTML, "unknown", "no_answer", 0),
        ({"status": 500, "html": True, "accept": True}, "unknown", "no_answer", 1),
        ({"status": 502}, "unknown", "no_answer", 0),
        ({"status": 502, "accept": True}, "unknown", "no_answer", 1),
        ({"status": 504, "accept": True}, "unknown", "no_answer", 1),
        ({"status": 302, "headers": {"Location": "/call/outbound"}}, "unknown", "no_answer", 0),
        ({"cut": "before"}, "unknown", "no_answer", 0),
        ({"cut": "after"}, "unknown", "no_answer", 1),
        (NO_JSON, "unknown", "no_answer", 1),
        (NO_ID, "unknown", "no_answer", 1),
        (SLOW, "unknown", "no_answer", 1),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_every_answer_of_callkaro_ends_where_it_should(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answers: dict[str, Any],
    status: str,
    reason: str | None,
    rings: int,
) -> None:
    settings = make_settings(CALL_BACK, callkaro_timeout_s=0.3 if answers is SLOW else 20.0)
    simulator.state.behave(path=CALLS, **answers)
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == (status, reason)
    assert bool(kept.next_attempt_at) == (status == "retrying")
    assert kept.message or status == "delivered"
    # Who waits no longer for the answer may be ahead of the stand-in.
    simulator.state.wait_until(lambda state: state.requests_to(CALLS), timeout_s=LONGEST_S)
    assert len(simulator.state.calls) == rings
    assert len(simulator.state.requests_to(CALLS)) == 1
    assert [attempt["number"] for attempt in kept.attempts] == [1]
    answered = None if answers is SLOW or "cut" in answers else answers.get("status", 200)
    assert kept.attempts[0]["status_code"] == answered
    assert bool(kept.attempts[0]["error"]) == (answered is None)
    assert store.redis.zcard("bridge:leased") == 0
    assert store.due_count() == (status == "retrying")


def test_an_answer_that_drips_for_ever_is_unknown(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    """A read time-out is for each read; a stream of single bytes never meets it."""
    settings = make_settings(CALL_BACK, callkaro_timeout_s=0.5)
    simulator.state.behave(path=CALLS, drip_s=60)
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings)

    assert found(store, delivery).status == "unknown"
    assert simulator.state.wait_for_calls(1, timeout_s=LONGEST_S)
    assert len(simulator.state.calls) == 1


def test_a_refused_connection_surely_rang_nobody(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    settings = make_settings(CALL_BACK, callkaro_base_url=f"http://127.0.0.1:{free_port()}")
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("retrying", "unreachable")
    assert kept.attempts[0]["error"] == "ConnectionRefusedError"


@pytest.mark.parametrize("answers", [{"cut": "before"}, {"status": 502}, HTML], ids=str)
def test_a_route_may_say_that_an_unknown_calls_again(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answers: dict[str, Any],
) -> None:
    settings = make_settings(WEBSITE + route(on_unknown='"call_again"'))
    simulator.state.behave(path=CALLS, times=1, **answers)
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings, jitter=0)

    assert found(store, delivery).status == "delivered"
    assert len(simulator.state.requests_to(CALLS)) == 2
    assert len(simulator.state.calls) == 1


def test_attempts_are_counted_and_written_down_until_one_is_accepted(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    for status in (503, 500, 429):
        simulator.state.behave(status, path=CALLS, times=1)
    [delivery] = form.send("website", lead())

    run_drain(plain, jitter=0)

    kept = found(store, delivery)
    assert kept.status == "delivered"
    assert [one["number"] for one in kept.attempts] == [1, 2, 3, 4]
    assert [one["status_code"] for one in kept.attempts] == [503, 500, 429, 200]
    assert kept.spent == 4
    assert len(simulator.state.calls) == 1


def test_retry_after_is_honoured_to_the_second_and_a_little_more(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(429, path=CALLS, retry_after="300")
    [delivery] = form.send("website", lead())

    run_drain(plain, jitter=0.5)

    kept = found(store, delivery)
    assert kept.next_attempt_at is not None
    assert kept.next_attempt_at - kept.timeline[-1].at == timedelta(seconds=330)


def test_the_attempts_run_out(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(503, path=CALLS)
    [delivery] = form.send("website", lead())
    run_drain(plain)
    store.redis.hset(f"bridge:delivery:{delivery}", "spent", 39)
    make_due(store, delivery)

    run_drain(plain)

    assert (found(store, delivery).status, found(store, delivery).reason) == ("failed", "gave_up")


def test_the_time_for_attempts_runs_out(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(503, path=CALLS)
    [delivery] = form.send("website", lead())
    run_drain(plain)
    move_back(store, delivery, "first_ms", 86_400)
    make_due(store, delivery)

    run_drain(plain)

    assert found(store, delivery).reason == "gave_up"


def test_a_late_answer_settles_what_the_sweep_made_unknown(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(path=CALLS, latency_ms=60_000)
    [delivery] = form.send("website", lead())

    with ThreadPoolExecutor(1) as pool:
        drain = pool.submit(run_drain, plain)
        until(lambda: simulator.state.requests_to(CALLS), what="the request")
        end_lease(store, delivery)
        assert store.sweep() == (1, 0)
        assert found(store, delivery).status == "unknown"
        # Closing ends the wait: the answer goes out.
        simulator.close()
        drain.result(LONGEST_S)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("delivered", None)
    assert [change.status for change in kept.timeline] == [
        "queued",
        "sending",
        "unknown",
        "delivered",
    ]
