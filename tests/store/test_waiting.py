"""What counts as late: what could have been sent, and was not."""

from collections.abc import Callable
from typing import Any

import pytest
from support import WEBSITE, Web, lead, make_due, move_back, route

from schemas.settings import Settings
from simulator import Simulator
from store import Store
from store.base import P

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]
HOUR_S = 3600


def late_s(store: Store, web: Web) -> float:
    """Return the figure, and see that API and metric show the same."""
    found = store.oldest_waiting_s()
    shown = web.get("/api/status").json["oldest_waiting_s"]
    assert (shown is None) == (found is None)
    [line] = [
        one
        for one in web.get("/metrics").text.splitlines()
        if one.startswith("callkaro_bridge_oldest_waiting_seconds ")
    ]
    assert float(line.split()[1]) == pytest.approx(found or 0, abs=60)
    return found or 0


@pytest.mark.parametrize("delay", ["1h", "90s", "2d"])
def test_a_delay_of_its_route_is_not_late(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, delay: str
) -> None:
    web = open_web(make_settings(WEBSITE + route(delay=f'"{delay}"')))
    [delivery] = web.send("website", lead())
    assert late_s(store, web) == 0

    store.redis.zincrby(f"{P}due", -4 * 24 * HOUR_S * 1000, delivery)
    move_back(store, delivery, "next_ms", 4 * 24 * HOUR_S)
    assert late_s(store, web) > 24 * HOUR_S


@pytest.mark.parametrize(
    ("status", "retry_after", "is_late"),
    [(429, "7200", False), (503, "600", False), (503, None, True), (500, None, True)],
)
def test_a_wait_that_callkaro_asked_for_is_not_late_and_a_failure_is(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    status: int,
    retry_after: str | None,
    is_late: bool,
) -> None:
    settings = make_settings(WEBSITE + route())
    web = open_web(settings)
    simulator.state.behave(status, path="/call/outbound", retry_after=retry_after)
    [delivery] = web.send("website", lead())
    run_drain(settings)
    move_back(store, delivery, "first_ms", HOUR_S)

    late = late_s(store, web)

    assert (late >= HOUR_S - 60) == is_late
    assert is_late or late == 0


@pytest.mark.parametrize("scope", ["all", "callkaro", "source:website", "route:call back"])
def test_a_pause_is_not_late(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, scope: str
) -> None:
    """Not even without a worker, which would hold the delivery."""
    web = open_web(make_settings(WEBSITE + route()))
    [delivery] = web.send("website", lead())
    make_due(store, delivery)
    move_back(store, delivery, "next_ms", HOUR_S)
    assert late_s(store, web) >= HOUR_S - 1

    store.pause(scope, reason="person", message="")
    assert late_s(store, web) == 0
    assert store.look_for_alerts(backlog_age_s=60, sources=["website"]) == 1  # the pause
    store.resume(scope)
    assert late_s(store, web) >= HOUR_S - 1


def test_what_waits_for_its_hours_is_not_late(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    hours = '{ days = "mon-sun", from = "03:00", to = "03:01", timezone = "Pacific/Kiritimati" }'
    settings = make_settings(WEBSITE + route(hours=hours))
    web = open_web(settings)
    web.send("website", lead())
    run_drain(settings)
    assert late_s(store, web) == 0
