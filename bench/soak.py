"""`python -m bench.soak`: a steady load for half an hour, and the memory of all that runs.

200 events a second arrive, each in a webhook of its own, and are called at an API of 100 ms. At
the end each of them must have been called once.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from bench import api, load, svg
from bench.checkout import OURS, Web, started_web
from bench.delivery import started_api
from bench.leads import form_requests
from bench.machine import this_machine
from bench.printing import show
from bench.processes import HOST, BenchError, Child, Valkey, memory_of, stopped_by_sigterm
from bench.setting import bridge_env

TICK_S = 0.1
MOST_AT_ONCE = 1000
LOOK_S = 10.0
API_DELAY_S = 0.1
PATIENCE_S = 300.0
GROUPS = ("web", "worker, supervisor", "worker, RQ", "worker, drains", "Redis")


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The memory at one time, in MB of 2**20 bytes: PSS by group, and Redis' own figure."""

    at_s: float  # since the start of the load
    mb: dict[str, float]
    sent: int
    called: int


@dataclass(kw_only=True, slots=True)
class Soak:
    """What a run found. called_twice: calls too many."""

    events_per_s: float
    looks: list[Look] = field(default_factory=list)
    sent: int = 0
    refused: int = 0
    called: int = 0
    called_twice: int = 0

    @property
    def is_clean(self) -> bool:
        """Say whether each accepted event was called once."""
        return self.called == self.sent - self.refused and not self.called_twice


class Watch:
    """Looks at the processes every 10 s."""

    def __init__(self, web: Child, worker: Child, valkey: Valkey, api_port: int) -> None:
        self._web, self._worker, self._valkey = web, worker, valkey
        self._url = f"http://{HOST}:{api_port}"
        self._session = requests.Session()

    def look(self, at_s: float, sent: int) -> Look:
        """Return the memory now. Raises BenchError if a process has ended."""
        self._web.check()
        self._worker.check()
        # The supervisor starts RQ's worker, which starts a process for each drain.
        supervisor, *below = self._worker.tree()
        groups = {
            "web": self._web.tree(),
            "worker, supervisor": [supervisor],
            "worker, RQ": below[:1],
            "worker, drains": below[1:],
        }
        mb = {name: memory_of(pids).pss_kb / 1024 for name, pids in groups.items()}
        mb["Redis"] = self._valkey.data_bytes() / 2**20
        return Look(at_s=at_s, mb=mb, sent=sent, called=self.called())

    def called(self) -> int:
        """Return how many calls the API got."""
        return int(self.ask(api.GOT)["calls"])

    def ask(self, path: str) -> Any:
        """Return what the API tells of its calls."""
        return self._session.get(self._url + path, timeout=60).json()


def soak(home: Path, valkey: Valkey, *, rate: float, longest_s: float, progress: Console) -> Soak:
    """Do a run. Raises BenchError if a process ends, or if calls don't come."""
    with started_api(home) as api_port, ExitStack() as stack:
        url = f"http://{HOST}:{api_port}{api.RESET}"
        requests.post(url, json={"delay_s": API_DELAY_S}, timeout=10).raise_for_status()
        env = bridge_env(redis_url=valkey.url, api_port=api_port)
        web_child, web = started_web(OURS, log_dir=home, env=env)
        stack.enter_context(web_child)
        worker = stack.enter_context(OURS.worker(log_dir=home, env=env))
        watch = Watch(web_child, worker, valkey, api_port)
        found = Soak(events_per_s=rate)
        for look in _loaded(found, web, watch, longest_s):
            found.looks.append(look)
            total_mb = sum(look.mb[name] for name in GROUPS[:-1])
            progress.print(
                f"{look.at_s:5.0f} s: {look.sent:,} sent, {look.called:,} called, {total_mb:.0f} MB"
            )
        _drained(found, watch)
        found.looks.append(watch.look(longest_s, found.sent))
        ids = watch.ask(api.SEEN)["ids"]
        found.called, found.called_twice = len(set(ids)), len(ids) - len(set(ids))
    return found


def _loaded(found: Soak, web: Web, watch: Watch, longest_s: float) -> Iterator[Look]:
    """Send the load. Yields a look every 10 s. What was late is sent as soon as possible."""
    began, look_at = time.monotonic(), 0.0
    with load.Client(web.port) as client:
        while (now := time.monotonic() - began) < longest_s:
            if now >= look_at:
                yield watch.look(now, found.sent)
                look_at = now + LOOK_S
            if due := min(int(now * found.events_per_s) - found.sent, MOST_AT_ONCE):
                numbers = range(found.sent, found.sent + due)
                found.refused += client.run(form_requests(web.port, numbers, 1)).errors
                found.sent += due
            time.sleep(max(0.0, began + now + TICK_S - time.monotonic()))


def _drained(found: Soak, watch: Watch) -> None:
    """Wait until the worker has called all. Those that are missing then are counted."""
    give_up_at = time.monotonic() + PATIENCE_S
    while watch.called() < found.sent - found.refused and time.monotonic() < give_up_at:
        time.sleep(1.0)


def plot(found: Soak) -> str:
    """Return the memory over time as SVG."""
    lines = [
        svg.Line(name=name, points=[(look.at_s / 60, look.mb[name]) for look in found.looks])
        for name in GROUPS[:-1]
    ]
    note = (
        f"{found.events_per_s:,.0f} events a second, {found.sent:,} in all; "
        f"PSS in MB. {datetime.now(UTC):%d %B %Y}."
    )
    return svg.lines("Memory under a steady load", note, "minutes", lines)


def table_of(found: Soak) -> Table:
    """Return the memory of each group at the start, after a fifth of the time, and at the end."""
    table = Table(title="Memory, MB")
    table.add_column("", no_wrap=True)
    looks = [found.looks[0], found.looks[len(found.looks) // 5], found.looks[-1]]
    for look in looks:
        table.add_column(f"{look.at_s / 60:.1f} min", justify="right")
    table.add_column("most", justify="right")
    for name in GROUPS:
        most = max(look.mb[name] for look in found.looks)
        table.add_row(name, *(f"{look.mb[name]:.1f}" for look in looks), f"{most:.1f}")
    return table


def main() -> int:
    """Run, print, and remove all processes and files. Returns 1 if a call is missing or doubled."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=200, help="events a second")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plots", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    progress, machine = Console(stderr=True), this_machine()
    try:
        with (
            stopped_by_sigterm(),
            tempfile.TemporaryDirectory(prefix="bench-") as home,
            Valkey(Path(home)) as valkey,
        ):
            valkey.wait_for_port(valkey.port)
            found = soak(
                Path(home),
                valkey,
                rate=options.rate,
                longest_s=options.minutes * 60,
                progress=progress,
            )
    except BenchError as error:
        progress.print(f"The soak failed: {error}", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        progress.print("Stopped. All processes have ended.")
        return 130
    show(
        table_of(found),
        f"{found.sent:,} sent, {found.refused:,} refused, {found.called:,} called, "
        f"{found.called_twice:,} of them twice.",
        machine.sentence(),
    )
    if options.json:
        record = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": asdict(machine)}
        text = json.dumps(record | asdict(found), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        (options.plots / "bench-soak.svg").write_text(plot(found), encoding="utf-8")
    return 0 if found.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
