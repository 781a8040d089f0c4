"""The intake, beside a bare Flask and the floor: webhooks of one event, and of 100."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import hubspot, load
from bench.checkout import Checkout, Web, gunicorn
from bench.processes import BenchError, Child, Valkey, free_port
from bench.setting import bridge_env

BARE, FLOOR = "bare Flask", "floor"
_APPS = {BARE: "bench.floor:create_bare_app()", FLOOR: "bench.floor:create_app()"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How many requests make a round. The floors get more, because they are faster."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that is ready. web: of a bridge; None: of a floor, which stores nothing."""

    child: Child
    target: hubspot.Target
    web: Web | None


class Intake:
    """All servers, ready. Only one of them works at a time."""

    def __init__(self, servers: dict[str, Server], valkey: Valkey) -> None:
        self._servers, self._valkey = servers, valkey

    def warm_up(self) -> None:
        """Let every thread of each server work once or twice."""
        for one in self._servers.values():
            load.run(one.target.port, one.target.requests(hubspot.bodies(400, events=1)))

    def round(self, sizes: Sizes) -> dict[str, Taken]:
        """Return the results of each server by name. Raises BenchError on any fault."""
        bodies = hubspot.bodies(sizes.bridge, events=sizes.events)
        return {name: self._post(name, bodies, sizes) for name in self._servers}

    def _post(self, name: str, bodies: list[bytes], sizes: Sizes) -> Taken:
        server = self._servers[name]
        count = sizes.bridge if server.web else sizes.floor
        requests = server.target.requests(bodies)
        requests = (requests * (count // len(requests) + 1))[:count]
        self._valkey.fresh()
        cpu_s, store_cpu_s = server.child.cpu_s(), self._valkey.cpu_s()
        done = load.run(server.target.port, requests)
        server.child.check()
        taken = Taken(
            load=done,
            events=count * sizes.events,
            cpu_s=server.child.cpu_s() - cpu_s,
            store_cpu_s=self._valkey.cpu_s() - store_cpu_s,
        )
        if done.errors:
            raise BenchError(f"{done.errors} answers of {name} were no 202.")
        if server.web and (kept := server.web.counts()["queued"]) != taken.events:
            raise BenchError(f"{taken.events} events were sent and {kept} are queued ({name}).")
        return taken


@contextmanager
def servers(home: Path, valkey: Valkey, checkouts: Sequence[Checkout]) -> Iterator[Intake]:
    """Start the web process of each checkout, and the floors on the same gunicorn settings."""
    env = bridge_env(redis_url=valkey.url, api_port=free_port())
    started: dict[str, Server] = {}
    with ExitStack() as stack:
        for name, app in _APPS.items():
            port = free_port()
            child = Child(name.replace(" ", "-"), gunicorn(app, port), log_dir=home, env=env)
            target = hubspot.Target(port=port, signs_url=False)
            started[name] = Server(child=stack.enter_context(child), target=target, web=None)
        for one in checkouts:
            port = free_port()
            child = stack.enter_context(one.web(port, log_dir=home, env=env))
            target = hubspot.Target(port=port, signs_url=True)
            started[one.name] = Server(child=child, target=target, web=Web(port))
        for server in started.values():
            server.child.wait_for_port(server.target.port)
        intake = Intake(started, valkey)
        intake.warm_up()
        yield intake
