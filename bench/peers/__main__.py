"""`python -m bench.peers`: measure the bridge beside n8n and Node-RED, and print the table."""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.delivery import started_api
from bench.machine import this_machine
from bench.peers.bridge import bridge
from bench.peers.n8n import n8n
from bench.peers.node_red import node_red
from bench.peers.peer import Measured, Peer, Sink, measured
from bench.printing import show
from bench.processes import BenchError, Valkey, stopped_by_sigterm
from bench.spread import Spread

NAMES = ("bridge", "n8n", "node-red")
ROUNDS = 3
LONGEST_S = 120.0  # until all of a round must have been called

Rounds = Sequence[dict[str, Measured]]


@contextmanager
def peers(home: Path, valkey: Valkey, api_port: int, names: Sequence[str]) -> Iterator[list[Peer]]:
    """Start the peers. Only one of them works at a time."""
    started = {
        "bridge": lambda: bridge(home, valkey, api_port),
        "n8n": lambda: n8n(home, valkey, api_port),
        "node-red": lambda: node_red(home, api_port),
    }
    with ExitStack() as stack:
        yield [stack.enter_context(started[name]()) for name in names]


def table_of(found: Rounds) -> Table:
    """Return the medians of all rounds, with a row for each peer."""
    table = Table(
        title=f"One event a webhook, 32 connections, an API of 100 ms; {len(found)} rounds"
    )
    table.add_column("", no_wrap=True)
    columns = ("accepted/s", "while delivering", "bridge / it", "p99, ms", "called", "MB")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for name in found[0]:
        rounds = [one[name] for one in found]
        accepting = [one.accepting.per_s for one in rounds if one.accepting]
        called, sent = sum(one.called for one in rounds), sum(one.sent for one in rounds)
        table.add_row(
            name,
            f"{median(accepting):,.0f}" if accepting else "",
            Spread.of(one.delivering.per_s for one in rounds).text("{:,.0f}"),
            _of_bridge(found, name),
            f"{median(one.delivering.p99_ms for one in rounds):,.0f}",
            f"{called:,} of {sent:,}",
            f"{median(one.mb for one in rounds):,.0f}",
        )
    return table


def _of_bridge(found: Rounds, name: str) -> str:
    """Return how many times as many the bridge takes, while both deliver."""
    if name == "bridge" or "bridge" not in found[0]:
        return ""
    ratios = [one["bridge"].delivering.per_s / one[name].delivering.per_s for one in found]
    return Spread.of(ratios).text("{:.1f}")


def main() -> int:
    """Measure, print, and remove all processes and files. Returns the exit code."""
    options = read_options()
    progress, machine = Console(stderr=True), this_machine()
    found: list[dict[str, Measured]] = []
    try:
        with (
            stopped_by_sigterm(),
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            Valkey(Path(folder)) as valkey,
        ):
            home = Path(folder)
            valkey.wait_for_port(valkey.port)
            with (
                started_api(home) as api_port,
                peers(home, valkey, api_port, options.only or NAMES) as started,
            ):
                sink = Sink(api_port)
                if options.webhooks:
                    started = [replace(one, webhooks=options.webhooks) for one in started]
                for number in range(options.rounds):
                    progress.print(f"round {number + 1} of {options.rounds}")
                    found.append({one.name: measured(one, sink, LONGEST_S) for one in started})
                promises = {one.name: one.promise for one in started}
    except BenchError as error:
        progress.print(f"The benchmark failed: {error}", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        progress.print("Stopped. All processes have ended.")
        return 130
    show(
        table_of(found),
        "What an answer to a webhook promises:",
        *(f"  {name}: {promise}" for name, promise in promises.items()),
        machine.sentence(),
    )
    if options.json:
        record = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": asdict(machine),
            "promises": promises,
            "rounds": [{name: asdict(one) for name, one in each.items()} for each in found],
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def read_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--only", choices=NAMES, nargs="+", help="measure only these")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--webhooks", type=int, help="in each load, of each peer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every round there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
