"""The worker, beside a hand-made loop with as many threads, and beside other queues."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import requests

from bench import api, loop
from bench.checkout import Checkout, started_web
from bench.leads import body_of
from bench.processes import HOST, BenchError, Child, Valkey, free_port
from bench.queues.catalogue import Queue, queue_env
from bench.setting import THREADS, bridge_env

LOOP = "loop"
PATIENCE_S = 60.0
LOOK_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """One round. per_s and cpu_s_per_1000 are read over the middle 80 % of the deliveries.

    commands and round_trips are Redis', a delivery; commands within scripts count. bytes is what
    Redis keeps of a delivery at the end.
    """

    deliveries: int
    per_s: float
    cpu_s_per_1000: float
    commands: float
    round_trips: float
    bytes: float


class Deliveries:
    """The API, and the same work for each: the loop, the worker of each checkout, the queues."""

    def __init__(
        self,
        home: Path,
        valkey: Valkey,
        port: int,
        checkouts: Sequence[Checkout],
        others: Sequence[Queue],
    ) -> None:
        self._home, self._valkey = home, valkey
        self._url = f"http://{HOST}:{port}"
        self._env = bridge_env(redis_url=valkey.url, api_port=port)
        self._checkouts, self._others = checkouts, others
        self._session = requests.Session()
        self._empty_bytes = 0

    def round(self, count: int, *, delay_s: float) -> dict[str, Delivered]:
        """Return the results of each by name. Raises BenchError on any fault."""
        found = {LOOP: self._loop(count, delay_s)}
        found |= {one.name: self._worker(one, count, delay_s) for one in self._checkouts}
        return found | {one.name: self._queue(one, count, delay_s) for one in self._others}

    def _loop(self, count: int, delay_s: float) -> Delivered:
        self._reset(delay_s)
        pipe = self._valkey.client.pipeline(transaction=False)
        for number in range(count):
            pipe.lpush(loop.TODO, orjson.dumps(body_of(number)))
        pipe.execute()
        command = [sys.executable, "-m", "bench.loop"]
        command += [self._valkey.url, self._url + api.CALL, str(THREADS)]
        client = self._valkey.client
        return self._measured(
            lambda: Child(LOOP, command, log_dir=self._home, env={}),
            count,
            lambda: not client.llen(loop.DOING),
        )

    def _worker(self, checkout: Checkout, count: int, delay_s: float) -> Delivered:
        self._reset(delay_s)
        child, web = started_web(checkout, log_dir=self._home, env=self._env)
        with child:
            web.post_leads(range(count))
            done = self._measured(
                lambda: checkout.worker(log_dir=self._home, env=self._env),
                count,
                lambda: web.counts()["delivered"] == count,
            )
        if (made := self._ask(api.SEEN)["campaigns"]) != 1:
            raise BenchError(f"The campaign was created {made} times ({checkout.name}).")
        return done

    def _queue(self, queue: Queue, count: int, delay_s: float) -> Delivered:
        self._reset(delay_s)
        count = queue.count(count)
        env = queue_env(redis_url=self._valkey.url, call_url=self._url + api.CALL)
        name = queue.name.replace(" ", "-")
        enqueue = [sys.executable, "-m", "bench.queues", queue.module, str(count)]
        with Child(f"{name}-enqueue", enqueue, log_dir=self._home, env=env) as child:
            child.wait(PATIENCE_S)
        return self._measured(lambda: self._start(name, queue, env), count, lambda: True)

    def _start(self, name: str, queue: Queue, env: Mapping[str, str]) -> Child:
        return Child(name, queue.command(self._valkey.url), log_dir=self._home, env=env)

    def _measured(
        self,
        start: Callable[[], Child],
        count: int,
        is_settled: Callable[[], bool],
    ) -> Delivered:
        commands, round_trips = self._valkey.commands(), self._valkey.round_trips()
        with start() as child:
            at_first, cpu_first = self._wait_for(child, count // 10)
            at_last, cpu_last = self._wait_for(child, count * 9 // 10)
            self._wait_for(child, count)
            commands = self._valkey.commands() - commands
            round_trips = self._valkey.round_trips() - round_trips
            give_up_at = time.monotonic() + PATIENCE_S
            while not is_settled():
                if time.monotonic() > give_up_at:
                    raise BenchError(f"{child.name} did not settle all.\n{child.last_words()}")
                time.sleep(LOOK_S)
            kept_bytes = self._valkey.data_bytes() - self._empty_bytes
        seen = self._ask(api.SEEN)
        received, different = len(seen["ids"]), len(set(seen["ids"]))
        if not received == different == count:
            raise BenchError(
                f"{child.name} had {count} to deliver; {received} arrived, {different} different."
            )
        times = seen["times"]
        low, high = count // 10, count * 9 // 10
        return Delivered(
            deliveries=count,
            per_s=(high - low) / (times[high] - times[low]),
            cpu_s_per_1000=(cpu_last - cpu_first) / (at_last - at_first) * 1000,
            commands=commands / count,
            round_trips=round_trips / count,
            bytes=kept_bytes / count,
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
        self._empty_bytes = self._valkey.data_bytes()
        self._session.post(self._url + api.RESET, json={"delay_s": delay_s}, timeout=10)

    def _ask(self, path: str) -> Any:
        return self._session.get(self._url + path, timeout=10).json()


@contextmanager
def deliveries(
    home: Path, valkey: Valkey, checkouts: Sequence[Checkout], others: Sequence[Queue] = ()
) -> Iterator[Deliveries]:
    """Start the API that all of them call."""
    with started_api(home) as port:
        yield Deliveries(home, valkey, port, checkouts, others)


@contextmanager
def started_api(home: Path) -> Iterator[int]:
    """Start the API. Yields its port."""
    port = free_port()
    command = [sys.executable, "-m", "bench.api", str(port)]
    with Child("api", command, log_dir=home, env={}) as server:
        server.wait_for_port(port)
        yield port
