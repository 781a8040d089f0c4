"""`python -m bench`: measure, print the table, and remove all processes and files."""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import table
from bench.delivery import deliveries
from bench.intake import Sizes, servers
from bench.processes import BenchError, Valkey, stopped_by_sigterm
from bench.table import Results


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much to measure. calls and call_rounds: (for an API at 100 ms, for an API at 0 ms)."""

    intake_rounds: int
    single: Sizes
    batch: Sizes
    calls: tuple[int, int]
    call_rounds: tuple[int, int]


FULL = Plan(
    intake_rounds=5,
    single=Sizes(events=1, bridge=2000, floor=6000),
    batch=Sizes(events=100, bridge=160, floor=1600),
    calls=(2500, 2500),
    call_rounds=(3, 3),
)
QUICK = Plan(
    intake_rounds=3,
    single=Sizes(events=1, bridge=800, floor=2400),
    batch=Sizes(events=100, bridge=80, floor=800),
    calls=(1500, 1200),
    call_rounds=(1, 1),
)


def main() -> int:
    """Measure what the arguments ask for. Returns the exit code."""
    options = read_options()
    plan = QUICK if options.quick else FULL
    progress = Console(stderr=True)
    began, load = time.monotonic(), os.getloadavg()[0]
    try:
        with stopped_by_sigterm(), tempfile.TemporaryDirectory(prefix="bench-") as home:
            results = measure(plan, options.only, Path(home), progress)
    except BenchError as error:
        progress.print(f"The benchmark failed: {error}", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        progress.print("Stopped. All processes have ended.")
        return 130
    took_s = time.monotonic() - began
    remarks = [
        f"Medians of rounds that took turns ({plan.intake_rounds} of intake; {plan.call_rounds[0]} "
        f"and {plan.call_rounds[1]} of calls), {took_s:.0f} s. Trust the ratios, not the rates.",
        "appendfsync always; client, servers and store share this machine's "
        f"{os.cpu_count()} cores; load average before: {load:.1f}.",
    ]
    if results.client_limits():
        remarks.append("The client was the limit at the floor: the true ratio is lower.")
    table.show(table.table(results), *remarks)
    if options.json:
        record = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load_before": load,
            **asdict(results),
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def read_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", choices=("intake", "calls"), help="measure only this half")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write every round to this file"
    )
    return parser.parse_args()


def measure(plan: Plan, only: str | None, home: Path, progress: Console) -> Results:
    """Do all rounds, the kinds in turn, so that a noisy moment of the machine affects each."""
    results = Results(singles=[], batches=[], waiting=[], instant=[])
    with Valkey(home) as valkey:
        valkey.wait_for_port(valkey.port)
        if only != "calls":
            with servers(home, valkey) as intake:
                for number in range(plan.intake_rounds):
                    progress.print(f"intake, round {number + 1} of {plan.intake_rounds}")
                    results.singles.append(intake.round(plan.single))
                    results.batches.append(intake.round(plan.batch))
        if only != "intake":
            with deliveries(home, valkey) as calls:
                for number in range(max(plan.call_rounds)):
                    progress.print(f"calls, round {number + 1} of {max(plan.call_rounds)}")
                    if number < plan.call_rounds[0]:
                        results.waiting.append(calls.round(plan.calls[0], delay_s=0.1))
                    if number < plan.call_rounds[1]:
                        results.instant.append(calls.round(plan.calls[1], delay_s=0))
    return results


if __name__ == "__main__":
    sys.exit(main())
