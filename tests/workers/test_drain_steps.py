"""The turns of a drain: what goes to Redis together, and what a stop finds half done."""

from typing import Any

import pytest
from support import CALL_BACK, lead
from support.draining import MakeSettings, OpenWeb, RunDrain, counts

from schemas.delivery import Status
from simulator import Simulator
from store import Store
from store.base import P
from workers.drain import PREPARE_AT_ONCE


def numbers(count: int) -> list[dict[str, Any]]:
    return [lead(f"+9198765432{n:02}") for n in range(count)]


def test_an_answer_is_settled_and_the_next_request_recorded_in_one_trip(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(CALL_BACK, worker_threads=1)
    open_web(settings).send("website", numbers(2))
    trips: list[list[Status]] = []
    usual = Store.move

    def noting(self: Store, moves: Any) -> list[str]:
        trips.append([move.to for move in moves])
        return usual(self, moves)

    monkeypatch.setattr(Store, "move", noting)

    run_drain(settings)

    assert [trip for trip in trips if trip] == [
        [Status.SENDING],
        [Status.DELIVERED, Status.SENDING],
        [Status.DELIVERED],
    ]
    assert len(simulator.state.calls) == 2


def test_a_stop_gives_back_what_was_claimed_and_not_yet_prepared(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    count = 2 * PREPARE_AT_ONCE + 1
    settings = make_settings(CALL_BACK, worker_threads=count)
    open_web(settings).send("website", numbers(count))
    looks = iter([False])

    run_drain(settings, should_stop=lambda: next(looks, True))  # after its first turn

    assert counts(store) == {
        "delivered": PREPARE_AT_ONCE,
        "queued": count - PREPARE_AT_ONCE,
    }
    assert store.redis.zcard(f"{P}leased") == 0
    run_drain(settings)
    assert counts(store) == {"delivered": count}
    assert len(simulator.state.calls) == count
