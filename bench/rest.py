"""The Redis commands of a bridge that has nothing to do: an empty store, one web, one worker.

`python -m bench.rest` shows whose they are. Redis' own MONITOR tells each command, those within
scripts included.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from bench.checkout import OURS, Checkout, started_web
from bench.printing import show
from bench.processes import BenchError, Valkey, free_port, stopped_by_sigterm
from bench.setting import bridge_env
from store import Store, connect
from workers.ticker import BUSY_S

HOUR_S = 3600
SETTLE_S = BUSY_S + 15.0  # after the start: for BUSY_S, a bridge looks every second
WINDOW_S = 180.0
# Scripts that only the audit runs, and what it lists deliveries with.
AUDITS = frozenset({"audit", "recount", "recount_campaign", "repair_search", "SCAN", "ZSCAN"})
_RUNS = frozenset({"EVALSHA", "EVAL", "FCALL"})


@dataclass(frozen=True, kw_only=True, slots=True)
class AtRest:
    """Commands in the window. by: per script, or per command outside of scripts."""

    window_s: float
    commands: int
    by: dict[str, int]

    def an_hour(self, commands: int) -> float:
        """Return how many that are in an hour."""
        return commands / self.window_s * HOUR_S

    @property
    def per_hour(self) -> float:
        """Return all commands an hour."""
        return self.an_hour(self.commands)

    @property
    def audits_per_hour(self) -> float:
        """Return the audit's commands an hour, which are among them."""
        return self.an_hour(sum(count for name, count in self.by.items() if name in AUDITS))


def at_rest(
    home: Path,
    valkey: Valkey,
    checkout: Checkout,
    *,
    window_s: float = WINDOW_S,
    settle_s: float = SETTLE_S,
) -> AtRest:
    """Start web and worker over an empty store, let them settle, and watch them for that long."""
    valkey.fresh()
    env = bridge_env(redis_url=valkey.url, api_port=free_port())
    with ExitStack() as stack:
        child, _ = started_web(checkout, log_dir=home, env=env)
        stack.enter_context(child)
        worker = stack.enter_context(checkout.worker(log_dir=home, env=env))
        time.sleep(settle_s)
        with monitored(valkey) as by:
            commands = valkey.commands()
            time.sleep(window_s)
            # Less our own: INFO, which is counted when it has ended, and so only the first one.
            commands = valkey.commands() - commands - 1
        worker.check()
        child.check()
    return AtRest(window_s=window_s, commands=commands, by=dict(by.most_common()))


@contextmanager
def monitored(valkey: Valkey) -> Iterator[Counter[str]]:
    """Yield the commands that Redis runs, by who ran them. They are complete at the end."""
    names = script_names(valkey)
    by: Counter[str] = Counter()
    with valkey.client.monitor() as monitor:  # type: ignore[no-untyped-call]

        def look_on() -> None:
            script = ""
            try:
                for one in monitor.listen():
                    script = _count(one, by, names, script)
            except (RedisError, OSError, ValueError, AttributeError):
                return  # the connection was closed: it is over

        thread = threading.Thread(target=look_on, daemon=True)
        thread.start()
        yield by
        monitor.connection.disconnect()
        thread.join(5.0)


def script_names(valkey: Valkey) -> dict[str, str]:
    """Return the names of our scripts by their SHA. Those of another checkout may be missing."""
    store = Store(connect(valkey.url))
    return {str(script.sha): name for name, script in store._scripts.items()}


def _count(one: Any, by: Counter[str], names: dict[str, str], script: str) -> str:
    """Count a command. Returns the script that runs, for the commands within it."""
    word, *rest = str(one["command"]).split(" ", 2)
    word = word.upper()
    if one["client_type"] == "lua":
        by[script or "(a script)"] += 1
    elif word in _RUNS:
        script = names.get(rest[0], rest[0][:8]) if rest else word
        by[script] += 1
    elif word not in ("INFO", "MONITOR"):  # ours
        by[word] += 1
    return script


def table_of(found: AtRest) -> Table:
    """Return whose the commands are, the most first."""
    table = Table(title=f"Redis commands an hour at rest, from {found.window_s:.0f} s")
    table.add_column("script, or command outside of scripts", no_wrap=True)
    table.add_column("an hour", justify="right")
    table.add_row("all", f"{found.per_hour:,.0f}")
    table.add_row("of it the audit", f"{found.audits_per_hour:,.0f}")
    for name, count in found.by.items():
        table.add_row(f"  {name}", f"{found.an_hour(count):,.0f}")
    return table


def main() -> int:
    """Measure, print, and remove all processes and files. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.rest", description=__doc__)
    parser.add_argument("--seconds", type=float, default=WINDOW_S)
    options = parser.parse_args()
    try:
        with (
            stopped_by_sigterm(),
            tempfile.TemporaryDirectory(prefix="bench-") as home,
            Valkey(Path(home)) as valkey,
        ):
            valkey.wait_for_port(valkey.port)
            found = at_rest(Path(home), valkey, OURS, window_s=options.seconds)
    except BenchError as error:
        Console(stderr=True).print(f"The benchmark failed: {error}", markup=False)
        return 1
    show(table_of(found), f"{datetime.now(UTC):%Y-%m-%d}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
