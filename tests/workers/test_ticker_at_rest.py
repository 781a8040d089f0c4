"""A ticker at rest looks seldom, and is back at once when something happens."""

from collections.abc import Callable

import pytest
from support.storing import claim, put

from schemas.records import BackgroundTask
from schemas.settings import Settings
from store import Store
from store.bell import Ear, ring
from workers import ticker as tickers
from workers.journal import Journal
from workers.ticker import REST_S, TICK_S, Ticker

MakeSettings = Callable[..., Settings]


@pytest.fixture
def ticker(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Ticker:
    """A ticker that has begun to rest."""
    made = Ticker(make_settings(), Journal())
    with monkeypatch.context() as context:
        context.setattr(tickers, "BUSY_S", 0.0)
        made.tick()  # opens the bell
    made.tick()
    assert made.is_at_rest
    return made


def test_where_nothing_waits_it_looks_seldom(ticker: Ticker) -> None:
    assert ticker.tick() == REST_S


def test_a_look_at_rest_costs_few_commands(ticker: Ticker, store: Store) -> None:
    store.redis.config_resetstat()
    for _ in range(10):
        ticker.tick()
    stats = store.redis.info("commandstats")
    calls = {name: one["calls"] for name, one in stats.items() if "config" not in name}
    assert sum(calls.values()) <= 5 * 10, calls


def test_without_the_bell_it_never_rests(ticker: Ticker) -> None:
    ticker.bell.close()
    assert not ticker.is_at_rest


def test_it_is_back_for_what_falls_due_and_for_the_end_of_a_lease(
    ticker: Ticker, store: Store
) -> None:
    store.put_background_task(BackgroundTask(id="a", what="call_off"), in_s=9)
    assert TICK_S < ticker.tick() <= 9
    store.end_background_task("a")
    put(store, "leased")
    claim(store, lease_s=7)
    assert TICK_S < ticker.tick() <= 7


def test_a_ring_or_a_drain_ends_the_rest(ticker: Ticker, store: Store) -> None:
    ring(store.redis, Ear.REST)
    ticker.bell.wait(60)
    ticker.hear()
    assert not ticker.is_at_rest
    assert ticker.tick() <= TICK_S


def test_an_outage_of_redis_ends_the_rest(ticker: Ticker, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setattr(ticker._store, "run_id", lambda: ticker._store.redis.nothing())
        ticker.tick()
    assert not ticker.is_at_rest


def test_after_an_outage_it_hears_the_redis_that_answers_now(
    ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other connection may have stayed with a master that was replaced."""
    before = ticker.bell._pubsub
    with monkeypatch.context() as context:
        context.setattr(ticker._store, "run_id", lambda: ticker._store.redis.nothing())
        ticker.tick()
    ticker.tick()
    ticker.tick()
    assert ticker.bell.is_open
    assert ticker.bell._pubsub is not before


def test_a_worker_that_rq_forgot_is_told_once_and_only_if_rq_knew_it(
    ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(is_known: bool) -> bool:
        monkeypatch.setattr(type(ticker._wakeup), "report", lambda self, name: is_known)
        ticker._report.hurry()
        ticker.tick()
        return ticker.take_forgotten_worker()

    ticker.worker_name = "ours"
    assert not report(False), "it has not started yet"
    assert not report(True)
    assert report(False)
    assert not ticker.take_forgotten_worker()
