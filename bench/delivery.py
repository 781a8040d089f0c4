"""The worker, against a loop with as many threads. The API answers after 100 ms, or at once."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import requests

from bench import api, loop
from bench.processes import HOST, BenchError, Child, Valkey, free_port
from bench.setting import AGENT, THREADS, bridge_env
from schemas.event import Event, derive_id
from schemas.records import NewDelivery
from store import Store, connect

PATIENCE_S = 60.0
LOOK_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """One round. per_s and cpu_s_per_1000 are read over the middle 80 % of the deliveries.

    commands and round_trips are Redis', a delivery; commands within scripts count.
    """

    deliveries: int
    per_s: float
    cpu_s_per_1000: float
    commands: float
    round_trips: float


class Deliveries:
    """The API, and the same work for a worker and for a loop."""

    def __init__(self, home: Path, valkey: Valkey, port: int) -> None:
        self._home, self._valkey = home, valkey
        self._url = f"http://{HOST}:{port}"
        self._env = bridge_env(redis_url=valkey.url, api_port=port)
        self._session = requests.Session()
        self._rounds = 0

    def round(self, count: int, *, delay_s: float) -> tuple[Delivered, Delivered]:
        """Return the results of the loop and of the worker. Raises BenchError on any fault."""
        self._rounds += 1
        looped = self._loop(count, delay_s)
        return looped, self._worker(count, delay_s)

    def _loop(self, count: int, delay_s: float) -> Delivered:
        self._reset(delay_s)
        pipe = self._valkey.client.pipeline(transaction=False)
        for number in range(count):
            pipe.lpush(loop.TODO, orjson.dumps(_body(number)))
        pipe.execute()
        command = [sys.executable, "-m", "bench.loop"]
        command += [self._valkey.url, self._url + api.CALL, str(THREADS)]
        client = self._valkey.client
        return self._measured("loop", command, {}, count, lambda: not client.llen(loop.DOING))

    def _worker(self, count: int, delay_s: float) -> Delivered:
        self._reset(delay_s)
        store = Store(connect(self._valkey.url))
        store.is_migrated()  # an empty store is marked: the worker then finds nothing to migrate
        for start in range(0, count, 100):
            numbers = range(start, min(start + 100, count))
            store.accept([self._event(number) for number in numbers], routes="bench")
        command = [sys.executable, "-m", "workers"]
        done = self._measured(
            "worker", command, self._env, count, lambda: store.counts()["delivered"] == count
        )
        if (made := self._ask("/bench/seen")["campaigns"]) != 1:
            raise BenchError(f"The campaign was created {made} times.")
        return done

    def _event(self, number: int) -> tuple[Event, list[NewDelivery]]:
        now = datetime.now(UTC)
        body = _body(number)
        event_id = derive_id("event", "form", f"{self._rounds}-{number}")
        event = Event(
            id=event_id,
            source="form",
            source_event_id=str(number),
            fingerprint=event_id,
            remember_s=3600,
            type="form.submitted",
            subject=str(number),
            time=now,
            received_at=now,
            data={"phone": body["to_number"], **body["metadata"], "submitted_at": now.isoformat()},
        )
        delivery_id = derive_id("delivery", event_id, "call back")
        return event, [NewDelivery(id=delivery_id, route="call back", to="call", wait_s=0)]

    def _measured(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        count: int,
        is_settled: Callable[[], bool],
    ) -> Delivered:
        commands, round_trips = self._valkey.commands(), self._valkey.round_trips()
        with Child(name, command, log_dir=self._home, env=env) as child:
            at_first, cpu_first = self._wait_for(child, count // 10)
            at_last, cpu_last = self._wait_for(child, count * 9 // 10)
            self._wait_for(child, count)
            commands = self._valkey.commands() - commands
            round_trips = self._valkey.round_trips() - round_trips
            give_up_at = time.monotonic() + PATIENCE_S
            while not is_settled():
                if time.monotonic() > give_up_at:
                    raise BenchError(f"The {name} did not settle all.\n{child.last_words()}")
                time.sleep(LOOK_S)
        seen = self._ask("/bench/seen")
        received, different = len(seen["ids"]), len(set(seen["ids"]))
        if not received == different == count:
            raise BenchError(
                f"The {name} had {count} to deliver; {received} arrived, {different} different."
            )
        times = seen["times"]
        low, high = count // 10, count * 9 // 10
        return Delivered(
            deliveries=count,
            per_s=(high - low) / (times[high] - times[low]),
            cpu_s_per_1000=(cpu_last - cpu_first) / (at_last - at_first) * 1000,
            commands=commands / count,
            round_trips=round_trips / count,
        )

    def _wait_for(self, child: Child, calls: int) -> tuple[int, float]:
        """Wait until that many calls came. Returns their number, and the child's CPU seconds."""
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            child.check()
            if (got := int(self._ask(api.GOT)["calls"])) >= calls:
                return got, child.cpu_s()
            time.sleep(LOOK_S)
        raise BenchError(f"{child.name}: {calls} calls did not arrive.\n{child.last_words()}")

    def _reset(self, delay_s: float) -> None:
        self._valkey.fresh()
        self._session.post(self._url + api.RESET, json={"delay_s": delay_s}, timeout=10)

    def _ask(self, path: str) -> Any:
        return self._session.get(self._url + path, timeout=10).json()


def _body(number: int) -> dict[str, Any]:
    """Return the body that the loop posts; the worker makes an equal body of the same lead."""
    return {
        "to_number": f"+9198{number:08d}",
        "agent_id": AGENT,
        "batch_id": "batch-1",
        "number_of_retries": 2,
        "gap_between_retries": [30, 60],
        "metadata": {
            "name": f"Lead {number}",
            "city": "Bengaluru",
            "bridge_delivery_id": f"loop-{number}",
        },
    }


@contextmanager
def deliveries(home: Path, valkey: Valkey) -> Iterator[Deliveries]:
    """Start the API that both call."""
    port = free_port()
    command = [sys.executable, "-m", "bench.api", str(port)]
    with Child("api", command, log_dir=home, env={}) as server:
        server.wait_for_port(port)
        yield Deliveries(home, valkey, port)
