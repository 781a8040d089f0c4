"""Many drains at once, the end of a drain, and what one bad item costs the others."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
from support import AGENT, CALL_BACK, LONGEST_S, WEBSITE, Web, lead, route, until
from support.draining import CALLS, MakeSettings, OpenWeb, RunDrain, counts, found

from schemas.settings import Settings
from simulator import Simulator
from store import Store


def test_many_drains_at_once_send_each_call_once(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK, worker_threads=4)
    web = open_web(settings)
    web.send("website", [lead() for _ in range(200)])

    with ThreadPoolExecutor(6) as pool:
        tallies = list(pool.map(lambda _: run_drain(settings), range(6)))

    assert sum(stats.attempts for stats in tallies) == 200
    assert counts(store) == {"delivered": 200}
    assert len(simulator.state.requests_to(CALLS)) == 200
    assert simulator.state.doubled == {}


def test_the_rate_cap_holds_over_many_drains(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK, max_rate=20)
    open_web(settings).send("website", [lead() for _ in range(20)])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: run_drain(settings), range(2)))

    begun = sorted(
        change.at
        for delivery in simulator.state.calls
        for change in found(store, str(delivery.delivery_id)).timeline
        if change.status == "sending"
    )
    assert len(begun) == 20
    # Twenty calls are nineteen gaps of 50 ms; the cap gives 20 ms of slack once.
    assert begun[-1] - begun[0] >= timedelta(milliseconds=19 * 50 - 21)


@pytest.mark.parametrize("stop_at", [1, 2], ids=["campaign", "call"])
def test_a_drain_that_is_told_to_stop_gives_back_what_is_not_on_the_wire(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    stop_at: int,
) -> None:
    settings = make_settings(worker_threads=2)
    simulator.state.behave(path="/call", latency_ms=200)
    open_web(settings).send("website", [lead() for _ in range(12)])

    def should_stop() -> bool:
        return len(simulator.state.requests_to("/call")) >= stop_at

    run_drain(settings, should_stop=should_stop)

    calls = len(simulator.state.requests_to(CALLS))
    assert calls <= 2
    assert counts(store) == {
        status: count for status, count in (("delivered", calls), ("queued", 12 - calls)) if count
    }
    assert store.redis.zcard("bridge:leased") == 0
    assert store.due_count() == 12 - calls
    run_drain(settings)
    assert counts(store) == {"delivered": 12}
    assert len(simulator.state.campaigns) == 1
    assert simulator.state.doubled == {}


def test_a_drain_whose_slice_is_over_leaves_the_rest_to_the_next(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK, worker_threads=1)
    simulator.state.behave(path=CALLS, latency_ms=300)
    open_web(settings).send("website", [lead() for _ in range(8)])

    run_drain(settings, slice_s=0.5)

    assert counts(store)["queued"] > 0
    assert "sending" not in counts(store)
    simulator.state.behave_normally()
    run_drain(settings)
    assert counts(store) == {"delivered": 8}
    assert len(simulator.state.requests_to(CALLS)) == 8


POISON: dict[str, Any] = {
    "an object": {"phone": {"a": 1}},
    "a long number": {"phone": 10**300},
    "a control character": {"phone": "+91\x009876543210"},
    "a deep name": {"name": json.loads("[" * 60 + "]" * 60)},
    "a long name": {"name": "x" * 300_000},
    "no number": {"age": {"b": []}},
    "a half emoji": {"name": "\ufffd"},
    "a count that is too long": {"count": "9" * 30},
    "no count": {"count": "NaN"},
    "a gap that is too long": {"gap": "9" * 30},
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
def test_one_poisoned_item_does_not_cost_its_neighbours(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    poison: dict[str, Any],
) -> None:
    request = {
        "to_number": '"phone"',
        "agent_id": f'{{ value = "{AGENT}" }}',
        "metadata": '{ name = "name", count = "to_number(count)" }',
        "gap_between_retries": '"to_number(gap)"',
    }
    routes = WEBSITE + route(when='"age == null || abs(age) > `0`"', request=request)
    settings = make_settings(routes)
    good = [lead(f"+91987654321{number}") for number in range(5)]
    ids = open_web(settings).send("website", [*good[:2], lead(**poison), *good[2:]])

    run_drain(settings)

    del ids[2]
    assert {found(store, one).status for one in ids} == {"delivered"}
    assert not {"queued", "sending"} & counts(store).keys()
    assert store.redis.zcard("bridge:leased") == 0


def test_one_record_that_can_not_be_read_does_not_cost_its_neighbours(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ids = form.send("website", [lead() for _ in range(5)])
    store.redis.hset(f"bridge:event:{found(store, ids[2]).event_id}", "record", "{")

    run_drain(plain)

    del ids[2]
    assert {found(store, one).status for one in ids} == {"delivered"}


@contextlib.contextmanager
def endless_script(store: Store) -> Iterator[Callable[[], None]]:
    """Have Redis run a script without an end, from when it is asked to until the block's end.

    To everybody else Redis says BUSY then.
    """
    endless = store.redis.register_script("while true do end")

    def run() -> None:
        with contextlib.suppress(redis.ResponseError):  # it was killed
            endless()

    def is_busy() -> bool:
        try:
            store.redis.ping()
        except redis.ResponseError as error:
            return "BUSY" in str(error)
        return False

    script = threading.Thread(target=run)

    def begin() -> None:
        script.start()
        until(is_busy, what="a Redis that says BUSY")

    store.redis.config_set("busy-reply-threshold", 100)
    try:
        yield begin
    finally:
        with contextlib.suppress(redis.ResponseError):  # it did not begin
            store.redis.script_kill()
        if script.ident:
            script.join()
        store.redis.config_set("busy-reply-threshold", 5000)


def test_a_mistake_of_ours_in_one_step_loses_no_answer_that_was_on_the_wire(
    form: Web,
    plain: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A Redis error of a kind nobody thought of is an outage, not the end of the drain."""
    sent = [form.send("website", lead(f"+9198765{place:05}"))[0] for place in range(6)]
    simulator.state.behave(path=CALLS, latency_ms=60_000)
    with ThreadPoolExecutor(1) as pool, endless_script(store) as make_busy:
        drained = pool.submit(run_drain, plain, should_stop=lambda: False)
        assert simulator.state.wait_for_calls(6, timeout_s=LONGEST_S)
        make_busy()
        # Closing ends the wait: the answers go out, and meet a Redis that takes no word of them.
        simulator.close()
        until(lambda: "store.away" in caplog.text, what="the drain's notice of it")
    drained.result(LONGEST_S)

    assert {found(store, one).status for one in sent} == {"delivered"}
