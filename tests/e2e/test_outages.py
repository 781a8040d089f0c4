"""Redis slow, read-only, emptied, or without its last second; CallKaro away for an hour."""

import contextlib
import itertools
import os
import signal
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis
from support import (
    ALL_ROUTES,
    LONGEST_S,
    Bridge,
    Valkey,
    Web,
    free_port,
    lead,
    until,
    variables_of,
)

from simulator import Simulator
from store import Store

CALLS = "/call/outbound"


@dataclass(frozen=True)
class Own:
    """A bridge on a Valkey of its own, to be ill-treated; what one test does, the next outlives."""

    bridge: Bridge
    valkey: Valkey
    simulator: Simulator


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    folder = tmp_path_factory.mktemp("own valkey")
    (folder / "routes.toml").write_text(ALL_ROUTES, "utf-8")
    valkey = Valkey(folder)
    with Simulator() as simulator:
        environment = {
            **variables_of(simulator.url),
            "REDIS_URL": valkey.url,
            "ROUTES_FILE": str(folder / "routes.toml"),
            "WORKER_THREADS": "8",
        }
        bridge = Bridge(folder, environment)
        try:
            valkey.start()
            yield Own(bridge.start(), valkey, simulator)
        finally:
            bridge.stop()
            valkey.stop()


def is_delivered(bridge: Bridge, delivery: str) -> bool:
    with contextlib.suppress(AssertionError):
        return bridge.status(delivery) == "delivered"
    return False


def test_a_redis_that_turns_read_only_takes_nothing_in_and_all_goes_on_when_it_is_writable_again(
    own: Own,
) -> None:
    before = len(own.simulator.state.calls)
    [first] = own.bridge.send("website", lead())
    own.bridge.await_status(first, "delivered")
    with redis.Redis.from_url(own.valkey.url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
        refused = own.bridge.post("website", lead())
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        ready = own.bridge.session.get(f"{own.bridge.url}/readyz", timeout=LONGEST_S)
        assert ready.status_code == 503
        until(lambda: "store.away" in own.bridge.log("worker"), what="the worker's notice of it")
        client.execute_command("REPLICAOF", "NO", "ONE")

    second = until(lambda: _taken(own.bridge, lead()), what="the intake's return")
    own.bridge.await_status(second, "delivered")
    assert len(own.simulator.state.calls) == before + 2


def _taken(bridge: Bridge, body: object) -> str | None:
    answer = bridge.post("website", body)
    if answer.status_code == 503:
        return None
    delivery: str = answer.json()["events"][0]["deliveries"][0]["id"]
    return delivery


def test_a_redis_that_hangs_is_answered_for_and_a_resend_adds_nothing(own: Own) -> None:
    before = len(own.simulator.state.calls)
    body = lead()
    with own.valkey.hanging():
        assert own.bridge.post("website", body).status_code == 503
    # Redis may have stored it late, without being able to say so.
    delivery = until(lambda: _taken(own.bridge, body), what="the intake's return")
    own.bridge.await_status(delivery, "delivered")
    assert len(own.simulator.state.calls) == before + 1


@pytest.mark.bounds
def test_a_redis_that_hangs_is_answered_for_within_5_s(own: Own) -> None:
    with own.valkey.hanging():
        began = time.monotonic()
        assert own.bridge.post("website", lead()).status_code == 503
        assert time.monotonic() - began < 5, "HubSpot gives up after 5 s"


def test_a_redis_that_was_emptied_works_on(
    own: Own,
) -> None:
    before = len(own.simulator.state.calls)
    [first] = own.bridge.send("website", lead())
    own.bridge.await_status(first, "delivered")
    own.valkey.stop(by=signal.SIGKILL)
    for kept in own.valkey.folder.rglob("*.aof"):
        kept.unlink()
    for kept in own.valkey.folder.rglob("*.manifest"):
        kept.unlink()
    own.valkey.start()

    second = until(lambda: _taken(own.bridge, lead()), what="the intake's return")

    own.bridge.await_status(second, "delivered")
    assert len(own.simulator.state.calls) == before + 2


def test_a_redis_that_lost_its_last_second_is_told_what_was_sent_in_it(
    own: Own,
) -> None:
    before = len(own.simulator.state.calls)
    [warm] = own.bridge.send("website", lead())
    own.bridge.await_status(warm, "delivered")
    file = next(own.valkey.folder.rglob("*.incr.aof"))
    own.simulator.state.behave(path=CALLS, latency_ms=500, times=1)
    # One of the two web processes may still take this Redis for away: its 503 is sent again.
    [delivery] = own.bridge.send("website", lead())
    kept = file.stat().st_size  # fsync always: the webhook is in it, and not yet its call
    own.bridge.await_status(delivery, "delivered")

    own.valkey.stop(by=signal.SIGKILL)
    with file.open("ab") as cut:
        cut.truncate(kept)
    own.valkey.start()

    until(lambda: is_delivered(own.bridge, delivery), what="the worker's word of it")
    # The worker logs it behind the last of its moves.
    until(lambda: '"event": "store.restarted"' in own.bridge.log("worker"), what="its log line")
    assert len(own.simulator.state.calls) == before + 2
    # Whatever came since is sent, and nothing twice.
    [later] = own.bridge.send("website", lead())
    own.bridge.await_status(later, "delivered")
    assert len(own.simulator.state.calls) == before + 3


# --- CallKaro away --------------------------------------------------------------------------------

WAITING = int(os.environ.get("FAULTS_WAITING", "100"))  # `make faults` has 10,000 wait
CAP = min(WAITING // 2, 400)


def test_callkaro_away_for_an_hour_and_no_storm_when_it_returns(
    make_settings, open_web: Callable[..., Web], store: Store, simulator: Simulator, run_drain
) -> None:
    settings = make_settings(max_rate=CAP, worker_threads=32)
    web = open_web(settings)
    ids = [one for _ in range(WAITING // 50) for one in web.send("website", leads(50))]
    simulator.state.behave(503)
    for _ in range(12):  # five minutes each, by moving what waits instead of waiting
        run_drain(settings, slice_s=2.0)
        pass_five_minutes(store)
    asked_while_away = len(simulator.state.requests)
    simulator.state.behave_normally()

    def is_done() -> bool:
        pass_five_minutes(store)
        run_drain(settings, slice_s=5.0)
        return store.counts()["delivered"] == len(ids)

    until(is_done, what="the delivery of all", timeout_s=LONGEST_S + WAITING / 20)
    assert asked_while_away < 100, "the breaker keeps a dead CallKaro from being asked on and on"
    assert len(simulator.state.calls) == len(ids) == WAITING
    assert most_in_a_second(store, ids) <= CAP


def leads(number: int) -> list[dict[str, object]]:
    return [lead(f"+9198765{one:05d}") for one in itertools.islice(_phones, number)]


_phones = itertools.count(10_000)


FIVE_MINUTES_LATER = """
for _, waiting in ipairs({'bridge:due', 'bridge:due:retry'}) do
  local found = redis.call('ZRANGE', waiting, 0, -1)
  for _, id in ipairs(found) do redis.call('ZINCRBY', waiting, -300000, id) end
end
if redis.call('HEXISTS', 'bridge:breaker', 'probe_ms') == 1 then
  redis.call('HINCRBY', 'bridge:breaker', 'probe_ms', -300000)
end
"""


def pass_five_minutes(store: Store) -> None:
    """Move everything that Redis keeps a time of by five minutes."""
    store.redis.eval(FIVE_MINUTES_LATER, 0)


def most_in_a_second(store: Store, ids: list[str]) -> int:
    """Return the most requests that were begun within any second, by the clock of Redis.

    When they arrive is another matter: a process that stood still may catch up all at once.
    """
    times = sorted(
        change.at.timestamp()
        for delivery in filter(None, map(store.delivery, ids))
        for change in delivery.timeline
        if change.status == "sending"
    )
    return max(bisect_left(times, start + 1) - place for place, start in enumerate(times))
