"""The supervisor of `python -m workers`: what it forks, and whom its stop reaches."""

import os
import select
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from schemas.settings import Settings
from store.bell import Ear, ring
from store.queue import ALIVE_S, Wakeup, connect_queue, open_queue
from workers import alerts, journal
from workers import supervisor as supervisors
from workers.journal import JournalWriter
from workers.supervisor import REDIS_AWAY_S, STOPS, WORKER_TTL_S, PatientWorker, Supervisor
from workers.ticker import REST_S, TICK_S, Ticker

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
PID = 4_242_424  # of nobody: os.fork() and os.kill() are not the real ones where it is used


@pytest.fixture
def supervisor(settings: Settings) -> Iterator[Supervisor]:
    made = Supervisor(settings)
    before = {number: signal.signal(number, made._stop) for number in STOPS}
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_stop_during_the_fork_reaches_who_was_forked(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []

    def fork() -> int:
        signal.raise_signal(signal.SIGTERM)
        return PID

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(os, "kill", lambda pid, number: told.append((pid, number)))
    supervisor._start_worker()
    assert told == [(PID, signal.SIGTERM)]


def test_after_a_stop_nobody_is_forked(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    signal.raise_signal(signal.SIGTERM)
    supervisor._start_worker()
    supervisor._start_alert_sender()
    assert (supervisor.worker_pid, supervisor.alert_sender_pid) == (0, 0)


def test_no_process_to_be_had_is_no_end_of_the_supervisor(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    supervisor._start_alert_sender()
    supervisor._start_worker()
    assert (supervisor.worker_pid, supervisor.alert_sender_pid) == (0, 0)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(STOPS)


def test_who_sends_alerts_holds_up_no_stop(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, begin = os.pipe()

    def send(_: Any) -> None:
        os.write(begin, b"!")
        signal.pause()

    monkeypatch.setattr(alerts, "send_due", send)
    supervisor._start_alert_sender()
    try:
        assert os.read(begun, 1) == b"!"
        supervisor.shutdown_pipe.signal()
        # Its end is what drains look for; a write end in another process would keep it open.
        assert select.select([supervisor.shutdown_pipe._read], [], [], 60)[0]
    finally:
        os.kill(supervisor.alert_sender_pid, signal.SIGKILL)
        os.waitpid(supervisor.alert_sender_pid, 0)


def test_a_worker_never_looks_long_after_redis_has_come_back(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            raise StopIteration

    def away(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError

    with connect_queue(redis_url) as client:
        worker = PatientWorker([open_queue(client)], connection=client)
        monkeypatch.setattr(worker, "heartbeat", away)
        monkeypatch.setattr(time, "sleep", sleep)
        with pytest.raises(StopIteration):
            worker.dequeue_job_and_maintain_ttl(1)
    assert max(waits) == REDIS_AWAY_S


def test_rq_forgets_a_worker_that_nobody_reports_for_a_minute(redis_url: str) -> None:
    with connect_queue(redis_url) as client:
        queue = open_queue(client)
        wakeup = Wakeup(queue)
        assert not wakeup.report("nobody")
        worker = PatientWorker([queue], connection=client, worker_ttl=WORKER_TTL_S, name="known")
        worker.register_birth()
        worker.heartbeat()
        assert 0 < client.pttl(worker.key) <= ALIVE_S * 1000 <= 60_000
        client.pexpire(worker.key, 1000)
        assert wakeup.report("known")
        assert client.pttl(worker.key) > 1000
        assert [one.name for one in wakeup.workers()] == ["known"]


def test_a_ring_ends_a_long_nap(
    supervisor: Supervisor, settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisors, "TICK_S", 0.01)
    ticker = Ticker(settings, supervisor.journal)
    ticker.tick()
    with connect_queue(redis_url) as client:
        assert ring(client, Ear.REST) >= 1
    supervisor._nap(3600, ticker)
    assert not ticker.is_at_rest


def test_a_drain_that_works_ends_a_long_nap(
    supervisor: Supervisor, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisors, "TICK_S", 0.01)
    monkeypatch.setattr(journal, "_write_end", supervisor.journal._write_end)
    ticker = Ticker(settings, supervisor.journal)
    JournalWriter().stir()
    supervisor._nap(3600, ticker)
    assert not list(supervisor.journal.moves())


def test_at_rest_a_worker_that_died_is_started_again_soon(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []

    def nap(seconds: float, ticker: Ticker) -> None:
        naps.append(seconds)
        supervisor.worker_pid = PID if len(naps) == 1 else 0
        supervisor.stopping = len(naps) == 2

    monkeypatch.setattr(Ticker, "tick", lambda _: REST_S)
    monkeypatch.setattr(supervisor, "_start_worker", lambda: None)
    monkeypatch.setattr(supervisor, "_nap", nap)
    ended = signal.getsignal(signal.SIGCHLD)
    try:
        assert supervisor.run() == 0
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, ended)
    assert naps == [TICK_S, REST_S]
