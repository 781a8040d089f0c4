"""Standby: a drain with nothing to do waits for the bell, and gives way to whatever must come."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.connection import AbstractConnection
from rq.suspension import suspend
from support import LONGEST_S, Web, lead, until
from support.draining import RunDrain

from schemas.settings import Settings
from store import Store
from store.bell import Ear, ring
from store.queue import Wakeup, connect_queue, open_queue
from workers import drain as drains
from workers.shutdown import ShutdownSignal
from workers.standby import Standby


class Stop(ShutdownSignal):
    """Says that the drain must stop, once it is told so."""

    def __init__(self) -> None:
        self.is_told = False

    def __call__(self) -> bool:
        return self.is_told


class Standing:
    """A drain that runs in a thread of its own."""

    def __init__(self, settings: Settings, store: Store, run_drain: RunDrain) -> None:
        self.wakeup = Wakeup(open_queue(connect_queue(settings.redis_url)))
        self.stop = Stop()
        self.stirred = 0
        self.stats: Any = None
        self.standby = Standby(store, self.wakeup, self.stop)
        self._wait = self.standby.wait
        self.standby.wait = self._noted_wait  # type: ignore[method-assign]
        self._stands_by = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(settings, run_drain))

    def _run(self, settings: Settings, run_drain: RunDrain) -> None:
        self.stats = run_drain(
            settings, should_stop=self.stop, standby=self.standby, stir=self._stir
        )

    def _noted_wait(self, seconds: float) -> bool:
        self._stands_by.set()
        try:
            return self._wait(seconds)
        finally:
            self._stands_by.clear()

    def _stir(self) -> None:
        self.stirred += 1

    @contextmanager
    def running(self) -> Iterator["Standing"]:
        self._thread.start()
        try:
            yield self
        finally:
            self.stop.is_told = True
            self._thread.join()

    def wait_until_it_stands_by(self) -> None:
        # A ring would tell it, too, but the drain then looks again: it may see what comes next.
        assert self._stands_by.wait(LONGEST_S)

    def wait_for_its_end(self) -> None:
        self._thread.join()


@pytest.fixture
def standing(plain: Settings, store: Store, run_drain: RunDrain) -> Iterator[Standing]:
    made = Standing(plain, store, run_drain)
    yield made
    made.standby.end(has_successor=False)


def delivered(store: Store) -> int:
    return store.counts()["delivered"]


def test_webhooks_one_after_the_other_find_the_same_drain(
    form: Web, store: Store, standing: Standing
) -> None:
    with standing.running():
        for count in range(1, 4):
            standing.wait_until_it_stands_by()
            form.send("website", lead(number=count))
            until(lambda: delivered(store) == count, what="the call")  # noqa: B023
        assert standing.wakeup.queue.count == 0
    assert standing.stats.claimed == 3
    assert standing.stirred >= 3


def test_who_waits_asks_redis_nothing(standing: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    assert standing.standby.open()
    send, asked = AbstractConnection.send_packed_command, []

    def noted(connection: AbstractConnection, command: Any, *args: Any, **options: Any) -> None:
        if threading.current_thread() is threading.main_thread():  # others have work of their own
            asked.append(command)
        send(connection, command, *args, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", noted)
    assert not standing.standby.wait(0.6)
    assert asked == []
    standing.wakeup.workers()
    assert asked


def test_a_stop_ends_it_at_once_without_a_successor(standing: Standing) -> None:
    with standing.running():
        standing.wait_until_it_stands_by()
    assert standing.wakeup.queue.count == 0
    assert ring(standing.wakeup.queue.connection, Ear.STANDBY) == 0


def test_after_its_time_it_ends_by_itself(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drains, "STANDBY_S", 0.3)
    with standing.running():
        standing.wait_for_its_end()
    assert standing.wakeup.queue.count == 0


def test_at_the_end_of_its_slice_it_asks_for_a_successor(
    plain: Settings, form: Web, store: Store, run_drain: RunDrain
) -> None:
    form.send("website", lead())
    wakeup = Wakeup(open_queue(connect_queue(plain.redis_url)))
    wakeup.queue.empty()
    stop = Stop()
    standby = Standby(store, wakeup, stop)

    run_drain(plain, should_stop=stop, standby=standby, slice_s=1.0)

    assert delivered(store) == 1
    assert wakeup.queue.count == 1


def test_suspended_workers_send_nothing_though_a_drain_stood_by(
    form: Web, store: Store, standing: Standing
) -> None:
    with standing.running():
        standing.wait_until_it_stands_by()
        suspend(standing.wakeup.queue.connection)
        form.send("website", lead())
        standing.wait_for_its_end()
    assert store.counts()["queued"] == 1
    assert standing.wakeup.queue.count == 1, "after `rq resume` a drain finds it"


def test_what_falls_due_while_a_drain_ends_is_asked_for(
    form: Web, store: Store, standing: Standing
) -> None:
    assert standing.standby.open()
    form.send("website", lead())
    assert standing.wakeup.queue.count == 0, "the bell was heard"

    standing.standby.end(has_successor=False)

    assert standing.wakeup.queue.count == 1


def test_without_the_bell_a_drain_lingers_and_ends(
    plain: Settings, form: Web, store: Store, run_drain: RunDrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    form.send("website", lead())
    stop = Stop()
    standby = Standby(store, Wakeup(open_queue(connect_queue(plain.redis_url))), stop)
    monkeypatch.setattr(standby, "open", lambda: False)

    run_drain(plain, should_stop=stop, standby=standby)

    assert delivered(store) == 1
