"""A tick: an error in one of its steps costs that step alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support import CALL_BACK
from support.storing import put

from config import log
from schemas.errors import StoreUnavailable
from schemas.settings import Settings
from store import Store
from workers.journal import Journal
from workers.ticker import Ticker

MakeSettings = Callable[..., Settings]


class Broken(Exception):
    """An error that no code expects."""


@pytest.fixture
def ticker(make_settings: MakeSettings) -> Ticker:
    log.configure("INFO", process="test")
    settings = make_settings(CALL_BACK, alert_webhook_url="http://127.0.0.1:9/")
    return Ticker(settings, Journal())


STEPS = {
    "sweep": "sweep_stalled",
    "prune": "prune_old",
    "audit": "audit_some",
    "pauses": "log_pauses",
    "look_for_alerts": None,  # it logs its own error
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [Broken(), RecursionError(), MemoryError()], ids=repr)
def test_an_error_in_a_step_stops_neither_the_others_nor_the_calls(
    ticker: Ticker,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
    error: Exception,
) -> None:
    put(store, "a")
    store.redis.delete("bridge:wakeup")  # as if the drain that the intake requests had been lost
    done = []
    for name in STEPS:

        def doing(name: str, usual: Callable[..., Any], *args: Any, **more: Any) -> Any:
            if name == step:
                raise error
            done.append(name)
            return usual(*args, **more)

        usual = getattr(ticker._store, name)
        monkeypatch.setattr(ticker._store, name, partial(doing, name, usual))

    for _ in range(2):
        ticker.tick()

    assert set(done) == STEPS.keys() - {step}
    assert ticker.may_deliver
    assert ticker._wakeup.queue.count == 1, "a drain was requested"
    assert (STEPS[step] or "alert.crashed") in caplog.text


def test_a_step_that_finds_redis_away_ends_the_tick(
    ticker: Ticker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a")
    store.redis.delete("bridge:wakeup")

    def away(*args: Any, **more: Any) -> Any:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(ticker._store, "sweep", away)
    ticker.tick()
    assert not ticker.may_deliver
    assert ticker._wakeup.queue.count == 0
