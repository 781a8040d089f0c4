"""`python -m bench.restart`: how long Redis takes to start again, and what a delivery takes of it.

The deliveries are those of bench.many. Redis reads them back from its append-only file, twice: from
a log of commands, and from what a rewrite makes of it. In between is what a restart takes.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError
from redis.retry import Retry
from rich.console import Console
from rich.table import Table

from bench.many import Filler
from bench.printing import show
from bench.processes import BenchError, Valkey, stopped_by_sigterm
from store import Store, connect

SIZES = (100_000, 300_000)
LONGEST_S = 600.0
LOOK_S = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Restart:
    """A start over files of that many bytes, until Redis answered.

    cpu_s: what a quiet machine takes, for Redis reads its files with one core.
    """

    file_bytes: int
    took_s: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What was measured over one number of deliveries."""

    memory_bytes: int
    from_log: Restart
    from_rewritten: Restart


def measured(home: Path, count: int, progress: Console) -> Found:
    """Fill a Redis of its own, and start it again over both kinds of file."""
    progress.print(f"{count:,} deliveries …")
    with Valkey(home) as valkey:
        valkey.wait_for_port(valkey.port)
        valkey.client.config_set("appendfsync", "no")  # the disk of this machine is not measured
        filler = Filler(Store(connect(valkey.url, timeout_s=60)))
        before = valkey.client.info("memory")["used_memory"]
        filler.fill(count, is_audited=False)
        memory_bytes = valkey.client.info("memory")["used_memory"] - before
    from_log = restarted(home, is_rewritten=False)
    restarted(home, is_rewritten=True)
    from_rewritten = restarted(home, is_rewritten=False)
    return Found(memory_bytes=memory_bytes, from_log=from_log, from_rewritten=from_rewritten)


def restarted(home: Path, *, is_rewritten: bool) -> Restart:
    """Start Redis over the files of a folder, and end it; is_rewritten: rewrite them before."""
    files = (home / "valkey").rglob("*")
    file_bytes = sum(one.stat().st_size for one in files if one.is_file())
    began = time.monotonic()
    with Valkey(home) as valkey:
        valkey.client.set_retry(Retry(NoBackoff(), 0))  # its waits would be measured
        while not answers(valkey):
            valkey.check()
            if time.monotonic() - began > LONGEST_S:
                raise BenchError(f"Redis does not answer after {LONGEST_S:.0f} s.")
            time.sleep(LOOK_S)
        took_s, cpu_s = time.monotonic() - began, valkey.cpu_s()
        if is_rewritten:
            valkey.rewrite(LONGEST_S)
    return Restart(file_bytes=file_bytes, took_s=took_s, cpu_s=cpu_s)


def answers(valkey: Valkey) -> bool:
    """Say whether Redis has read its files."""
    try:
        return bool(valkey.client.ping())
    except (BusyLoadingError, ConnectionError):
        return False


def table_of(found: dict[int, Found]) -> Table:
    """Return a row for each number of deliveries."""
    table = Table(title="Redis' memory, and its starts")
    for name in ("deliveries", "memory", "a delivery", "log, start", "rewritten, start"):
        table.add_column(name, justify="right", no_wrap=True)
    for count, one in found.items():
        starts = (one.from_log, one.from_rewritten)
        table.add_row(
            f"{count:,}",
            f"{one.memory_bytes / 1e6:,.0f} MB",
            f"{one.memory_bytes / count:,.0f} B",
            *(
                f"{of.file_bytes / 1e6:,.0f} MB, {of.took_s:.1f} s ({of.cpu_s:.1f} s)"
                for of in starts
            ),
        )
    return table


def main() -> int:
    """Measure, print, and remove all processes and files. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.restart", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    options = parser.parse_args()
    progress = Console(stderr=True)
    found = {}
    try:
        with stopped_by_sigterm():
            for count in options.sizes:
                with tempfile.TemporaryDirectory(prefix="bench-") as home:
                    found[count] = measured(Path(home), count, progress)
    except BenchError as error:
        progress.print(f"The benchmark failed: {error}", markup=False, highlight=False)
        return 1
    show(
        table_of(found),
        "In brackets: seconds of CPU, as on a quiet machine.",
        "The audit's figures, 0.1 to 0.2 kB a delivery, are not among them.",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
