"""The intake, against the floor: webhooks of one event, and of 100."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import hubspot, load
from bench.processes import HOST, BenchError, Child, Valkey, free_port
from bench.setting import bridge_env
from store import Store, connect

WORKERS, SERVER_THREADS = 2, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How many requests make a round. The floor gets more, because it is faster."""

    events: int  # in each request
    bridge: int
    floor: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """One round at one server. cpu_s: of gunicorn; store_cpu_s: of Valkey; both in seconds."""

    load: load.Load
    events: int
    cpu_s: float
    store_cpu_s: float

    @property
    def events_per_s(self) -> float:
        """Return events a second."""
        return self.events / self.load.wall_s

    @property
    def cpu_s_per_1000(self) -> float:
        """Return the CPU seconds of server and store for 1000 requests."""
        return (self.cpu_s + self.store_cpu_s) / self.load.requests * 1000

    @property
    def store_cpu_s_per_1000(self) -> float:
        """Return the CPU seconds of the store for 1000 requests."""
        return self.store_cpu_s / self.load.requests * 1000


class Intake:
    """Both servers, ready. Only one of them works at a time."""

    def __init__(self, bridge: Child, floor: Child, ports: tuple[int, int], valkey: Valkey) -> None:
        self._bridge, self._floor, self._valkey = bridge, floor, valkey
        self._bridge_target = hubspot.Target(port=ports[0], signs_url=True)
        self._floor_target = hubspot.Target(port=ports[1], signs_url=False)
        self._store = Store(connect(valkey.url))

    def warm_up(self) -> None:
        """Let every thread of both servers work once or twice."""
        for target in (self._bridge_target, self._floor_target):
            load.run(target.port, target.requests(hubspot.bodies(400, events=1)))

    def round(self, sizes: Sizes) -> tuple[Taken, Taken]:
        """Return the results of the floor and of the bridge. Raises BenchError on any fault."""
        bodies = hubspot.bodies(sizes.bridge, events=sizes.events)
        floor = self._post(self._floor, self._floor_target, bodies, sizes.floor)
        self._valkey.fresh()
        bridge = self._post(self._bridge, self._bridge_target, bodies, sizes.bridge)
        sent, kept = sizes.bridge * sizes.events, self._store.counts()["queued"]
        if bridge.load.errors or floor.load.errors:
            raise BenchError(f"{bridge.load.errors} + {floor.load.errors} answers were no 202.")
        if kept != sent:
            raise BenchError(f"{sent} events were sent and {kept} deliveries are queued.")
        return floor, bridge

    def _post(
        self, server: Child, target: hubspot.Target, bodies: list[bytes], count: int
    ) -> Taken:
        requests = target.requests(bodies)
        requests = (requests * (count // len(requests) + 1))[:count]
        cpu_s, store_cpu_s = server.cpu_s(), self._valkey.cpu_s()
        done = load.run(target.port, requests)
        server.check()
        return Taken(
            load=done,
            events=count * bodies[0].count(b'"eventId"'),
            cpu_s=server.cpu_s() - cpu_s,
            store_cpu_s=self._valkey.cpu_s() - store_cpu_s,
        )


@contextmanager
def servers(home: Path, valkey: Valkey) -> Iterator[Intake]:
    """Start the bridge's web process and the floor on the same gunicorn settings."""
    bridge_port, floor_port = free_port(), free_port()
    env = bridge_env(redis_url=valkey.url, api_port=free_port())
    with ExitStack() as stack:
        bridge = stack.enter_context(
            Child("web", _gunicorn("bridge.app", bridge_port), log_dir=home, env=env)
        )
        floor = stack.enter_context(
            Child("floor", _gunicorn("bench.floor", floor_port), log_dir=home, env=env)
        )
        bridge.wait_for_port(bridge_port)
        floor.wait_for_port(floor_port)
        intake = Intake(bridge, floor, (bridge_port, floor_port), valkey)
        intake.warm_up()
        yield intake


def _gunicorn(app: str, port: int) -> list[str]:
    """Return the command of the Procfile, with another app and our own port."""
    return [
        *(sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"),
        *("--workers", str(WORKERS), "--threads", str(SERVER_THREADS)),
        *("--bind", f"{HOST}:{port}", f"{app}:create_app()"),
    ]
