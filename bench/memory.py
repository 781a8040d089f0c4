"""`python -m bench.memory`: the memory and the Redis connections of web and worker. Linux only.

If n processes share a page, PSS counts an nth of it in each, and RSS all of it. A platform that
counts each page once sees a figure between the two sums. Other Python programs on the machine
make PSS smaller than it would be alone.
"""

import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from rich.table import Table

from bench import api, load
from bench.delivery import started_api
from bench.leads import form_requests
from bench.printing import show
from bench.processes import (
    HOST,
    BenchError,
    Child,
    Valkey,
    free_port,
    memory_of,
    stopped_by_sigterm,
)
from bench.setting import THREADS, bridge_env
from store import Store, connect

PROCESSES = (2, 4)  # of the web process
WEBHOOKS, FORMS = 100, 20  # requests, and forms in each
PAGES = 200  # requests for the longest page that the API gives
API_DELAY_S = 0.1
LOOK_S = 0.05
PATIENCE_S = 180.0  # a drain of 64 threads takes a minute on a busy machine
SETTLED_S = 3.0  # after its start, until a process is taken for idle
_people = itertools.count()


@dataclass(kw_only=True, slots=True)
class Most:
    """The maximum of a process and its children while it was watched."""

    processes: int = 0
    pss_kb: int = 0
    rss_kb: int = 0
    connections: int = 0  # to Redis


class Bench:
    """A Valkey and an API, and the processes that use them."""

    def __init__(self, home: Path, valkey: Valkey, api_port: int) -> None:
        self._home, self._valkey = home, valkey
        self._env = bridge_env(redis_url=valkey.url, api_port=api_port)
        self._store = Store(connect(valkey.url))
        self._store.due_count()
        self._own_connections = self._connections()

    def web(self, processes: int) -> Iterator[tuple[str, Most]]:
        """Yield the memory of the web process when idle, and under webhooks and long pages.

        The deliveries stay for the worker.
        """
        port, name = free_port(), f"web, {processes} processes"
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
        command += ["--workers", str(processes), "--bind", f"{HOST}:{port}"]
        with self._child(name, [*command, "bridge.app:create_app()"]) as child:
            child.wait_for_port(port)
            yield f"{name}, idle", self._idle(child)
            with self._watched(child) as most:
                if (done := load.run(port, _webhooks(port))).errors:
                    raise BenchError(f"{done.errors} webhooks were not answered 202.")
                load.run(port, _pages(port))
            yield f"{name}, loaded", most

    def worker(self) -> Iterator[tuple[str, Most]]:
        """Yield the memory of the worker while it delivers everything, and then when idle."""
        count = self._store.due_count()
        with self._child("worker", [sys.executable, "-m", "workers"]) as child:
            with self._watched(child) as most:
                self._await(child, lambda: self._store.counts()["delivered"] == count)
            yield f"worker, {THREADS} threads, delivering", most
            # A drain that has nothing left to do ends, and its process with it.
            self._await(child, lambda: len(child.tree()) == 2)
            yield "worker, idle", self._idle(child)

    def _child(self, name: str, command: list[str]) -> Child:
        return Child(name.replace(", ", "-"), command, log_dir=self._home, env=self._env)

    def _idle(self, child: Child) -> Most:
        time.sleep(SETTLED_S)
        with self._watched(child) as most:
            time.sleep(4 * LOOK_S)
        return most

    def _await(self, child: Child, condition: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while not condition():
            child.check()
            if time.monotonic() > give_up_at:
                raise BenchError(f"{child.name} does not come to an end.\n{child.last_words()}")
            time.sleep(LOOK_S)

    @contextmanager
    def _watched(self, child: Child) -> Iterator[Most]:
        """Look at a child's processes, in a thread, for as long as it lasts."""
        most, is_over = Most(), threading.Event()

        def look_on() -> None:
            while True:
                self._look(child, most)
                if is_over.wait(LOOK_S):
                    return

        thread = threading.Thread(target=look_on)
        thread.start()
        try:
            yield most
        finally:
            is_over.set()
            thread.join()

    def _look(self, child: Child, most: Most) -> None:
        pids = child.tree()
        found = memory_of(pids)
        most.processes = max(most.processes, len(pids))
        most.pss_kb = max(most.pss_kb, found.pss_kb)
        most.rss_kb = max(most.rss_kb, found.rss_kb)
        most.connections = max(most.connections, self._connections() - self._own_connections)

    def _connections(self) -> int:
        return int(self._valkey.client.info("clients")["connected_clients"])


def _webhooks(port: int) -> list[bytes]:
    """Return requests with new leads, as one web form sends many leads."""
    return form_requests(port, [*itertools.islice(_people, WEBHOOKS * FORMS)], FORMS)


def _pages(port: int) -> list[bytes]:
    """Return requests for pages of 200 deliveries."""
    head = f"GET /api/deliveries?limit=200 HTTP/1.1\r\nHost: {HOST}:{port}\r\n"
    return [f"{head}Authorization: Bearer bench\r\n\r\n".encode("ascii")] * PAGES


def table_of(found: dict[str, Most]) -> Table:
    """Return all figures, one in a line."""
    table = Table(title="At most, over all processes of each; MB are 2**20 bytes")
    table.add_column("", no_wrap=True)
    for name in ("processes", "PSS, MB", "RSS, MB", "connections to Redis"):
        table.add_column(name, justify="right")
    for name, most in found.items():
        figures = (most.processes, most.pss_kb // 1024, most.rss_kb // 1024, most.connections)
        table.add_row(name, *map(str, figures))
    return table


def measured(home: Path, valkey: Valkey, processes: Sequence[int]) -> dict[str, Most]:
    """Return the memory of the web process, with each number of processes, and of the worker."""
    found: dict[str, Most] = {}
    with started_api(home) as port:
        _set_delay(port)
        bench = Bench(home, valkey, port)
        for count in processes:
            found.update(bench.web(count))
        found.update(bench.worker())
    return found


def main() -> int:
    """Start, load, measure, print. Returns the exit code."""
    try:
        with (
            stopped_by_sigterm(),
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            Valkey(Path(folder)) as valkey,
        ):
            valkey.wait_for_port(valkey.port)
            found = measured(Path(folder), valkey, PROCESSES)
    except BenchError as error:
        sys.stderr.write(f"The measurement failed: {error}\n")
        return 1
    show(
        table_of(found),
        f"{WEBHOOKS * len(PROCESSES)} webhooks of {FORMS} leads and {PAGES * len(PROCESSES)} pages "
        f"of 200 deliveries, {load.CONNECTIONS} at a time; CallKaro answers in "
        f"{API_DELAY_S * 1000:.0f} ms; Python {sys.version.split()[0]}.",
    )
    return 0


def _set_delay(port: int) -> None:
    url = f"http://{HOST}:{port}{api.RESET}"
    requests.post(url, json={"delay_s": API_DELAY_S}, timeout=10).raise_for_status()


if __name__ == "__main__":
    sys.exit(main())
