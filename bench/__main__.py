"""`python -m bench`: measure, print the tables, and remove all processes and files."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError
from rich.console import Console

from bench import latency, many, memory, plots, rest, table
from bench.checkout import OURS, Checkout, before
from bench.delivery import deliveries
from bench.intake import Sizes, servers
from bench.machine import Machine, this_machine
from bench.printing import show
from bench.processes import BenchError, Valkey, stopped_by_sigterm
from bench.queues.catalogue import PACKAGES, QUEUES, Queue, installed
from bench.results import Results, rows

PARTS = ("intake", "calls", "latency", "memory", "rest", "lists")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much to measure.

    visits: how often the run comes to a part; once if it is not here. The rounds are those of a
    visit. calls and call_rounds: (for an API at 100 ms, for an API at 0 ms).
    """

    visits: Mapping[str, int] = field(default_factory=dict)
    intake_rounds: int
    single: Sizes
    batch: Sizes
    calls: tuple[int, int]
    call_rounds: tuple[int, int]
    latency_rounds: int
    latency_webhooks: int  # of each kind, in a round
    settle_s: float  # before a bridge counts as being at rest
    rest_s: float
    lists: int  # deliveries in the store that is read

    def order(self, parts: Sequence[str]) -> list[str]:
        """Return the parts in turn, each as often as it is visited; those of one visit come last.

        The machine's speed drifts over minutes, so rounds that are compared are spread over many.
        """
        visits = [
            (number / self.visits.get(part, 1), place, part)
            for place, part in enumerate(parts)
            for number in range(1, self.visits.get(part, 1) + 1)
        ]
        return [part for _, _, part in sorted(visits)]


FULL = Plan(
    visits={"intake": 5, "calls": 5, "latency": 3},
    intake_rounds=5,
    single=Sizes(events=1, bridge=2000, floor=6000),
    batch=Sizes(events=100, bridge=160, floor=1600),
    calls=(2500, 2500),
    call_rounds=(1, 2),
    latency_rounds=1,
    latency_webhooks=15,
    settle_s=rest.SETTLE_S,
    rest_s=rest.WINDOW_S,
    lists=1_000_000,
)
QUICK = Plan(
    intake_rounds=3,
    single=Sizes(events=1, bridge=800, floor=2400),
    batch=Sizes(events=100, bridge=80, floor=800),
    calls=(1500, 1200),
    call_rounds=(1, 1),
    latency_rounds=1,
    latency_webhooks=10,
    settle_s=rest.SETTLE_S,
    rest_s=60,
    lists=20_000,
)
TINY = Plan(
    intake_rounds=1,
    single=Sizes(events=1, bridge=40, floor=80),
    batch=Sizes(events=100, bridge=5, floor=20),
    calls=(200, 200),
    call_rounds=(1, 1),
    latency_rounds=1,
    latency_webhooks=2,
    settle_s=2,
    rest_s=2,
    lists=400,
)
PLANS = {"full": FULL, "quick": QUICK, "tiny": TINY}


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run: what is measured, and what beside it."""

    plan: Plan
    parts: Sequence[str]
    checkouts: Sequence[Checkout]  # ours, and the one before if it was asked for
    queues: Sequence[Queue]
    home: Path
    progress: Console

    def measure(self) -> Results:
        """Do all rounds, the contenders in turn: a noisy moment of the machine affects each."""
        found = {part: Results() for part in self.parts}
        with Valkey(self.home) as valkey:
            valkey.wait_for_port(valkey.port)
            for part in self.plan.order(self.parts):
                if found[part].failures:
                    continue
                try:
                    valkey.fresh()
                    getattr(self, f"_{part}")(valkey, found[part])
                # What the other parts took minutes for is not lost. A server that has ended
                # refuses connections.
                except (BenchError, OSError, RedisError) as error:
                    found[part] = Results(failures=[f"{part}: {error}"])
        results = Results()
        for one in found.values():
            results.add(one)
        return results

    def _intake(self, valkey: Valkey, results: Results) -> None:
        with servers(self.home, valkey, self.checkouts) as intake:
            for number in range(self.plan.intake_rounds):
                self._say("intake", number, self.plan.intake_rounds)
                results.singles.append(intake.round(self.plan.single))
                results.batches.append(intake.round(self.plan.batch))

    def _calls(self, valkey: Valkey, results: Results) -> None:
        plan = self.plan
        with deliveries(self.home, valkey, self.checkouts, self.queues) as calls:
            for number in range(max(plan.call_rounds)):
                self._say("calls", number, max(plan.call_rounds))
                if number < plan.call_rounds[0]:
                    results.waiting.append(calls.round(plan.calls[0], delay_s=0.1))
                if number < plan.call_rounds[1]:
                    results.instant.append(calls.round(plan.calls[1], delay_s=0))

    def _latency(self, valkey: Valkey, results: Results) -> None:
        for number in range(self.plan.latency_rounds):
            self._say("latency", number, self.plan.latency_rounds)
            found = {}
            for one in self.checkouts:
                with latency.idle(self.home, valkey, one) as bridge:
                    found[one.name] = bridge.round(self.plan.latency_webhooks)
            results.latency.append(found)

    def _memory(self, valkey: Valkey, results: Results) -> None:
        self._say("memory")
        results.memory = memory.measured(self.home, valkey, [2])

    def _rest(self, valkey: Valkey, results: Results) -> None:
        self._say("at rest")
        for one in self.checkouts:
            results.rest[one.name] = rest.at_rest(
                self.home, valkey, one, window_s=self.plan.rest_s, settle_s=self.plan.settle_s
            )

    def _lists(self, valkey: Valkey, results: Results) -> None:
        self._say("lists")
        valkey.client.config_set("appendonly", "no")  # reads are measured, not the disk
        results.lists_of = self.plan.lists
        results.lists, results.lists_bytes = many.measured(valkey, self.plan.lists, self.progress)

    def _say(self, part: str, number: int = 0, rounds: int = 1) -> None:
        self.progress.print(f"{part}, round {number + 1} of {rounds} of this visit")


def main() -> int:
    """Measure what the arguments ask for. Returns the exit code."""
    options = read_options()
    progress = Console(stderr=True)
    machine, began = this_machine(), time.monotonic()
    queues = [] if options.alone else installed()
    try:
        checkouts = [OURS, *([before(options.against)] if options.against else [])]
        with stopped_by_sigterm(), tempfile.TemporaryDirectory(prefix="bench-") as home:
            results = Run(
                plan=PLANS[options.plan],
                # Lists last: they turn the store's log off.
                parts=[part for part in PARTS if part in (options.only or PARTS)],
                checkouts=checkouts,
                queues=queues,
                home=Path(home),
                progress=progress,
            ).measure()
    except BenchError as error:
        progress.print(f"The benchmark failed: {error}", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        progress.print("Stopped. All processes have ended.")
        return 130
    took_s = time.monotonic() - began
    for each in table.contenders(results):
        show(each)
    show(table.targets(rows(results)), *remarks(machine, results, took_s, queues, options))
    if options.json:
        text = json.dumps(record(machine, results), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.plots:
        for file in plots.write(results, f"{datetime.now(UTC):%d %B %Y}.", options.plots):
            progress.print(f"written: {file}", markup=False)
    for failure in results.failures:
        progress.print(f"Not measured: {failure}", markup=False, highlight=False)
    return 1 if results.failures else 0


def record(machine: Machine, results: Results) -> dict[str, Any]:
    """Return the JSON: the figures with their targets, and every round."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(machine),
        "rows": [asdict(row) for row in rows(results)],
        "rounds": asdict(results),
    }


def remarks(
    machine: Machine,
    results: Results,
    took_s: float,
    queues: Sequence[Queue],
    options: argparse.Namespace,
) -> list[str]:
    """Return what a reader has to know of the figures."""
    found = [
        machine.sentence(),
        f"{took_s:.0f} s. Trust the ratios, not the rates: client, servers and store share the "
        "cores. Redis has the settings of compose.yaml: it writes to the disk before it answers.",
    ]
    if results.client_limits():
        found.append("The client was the limit at a floor: the true ratio is lower.")
    if not options.alone and len(queues) < len(QUEUES):
        missing = ", ".join(one.name for one in QUEUES if one not in queues)
        found.append(f"Not in {PACKAGES.name}, so not measured: {missing}.")
    if results.waiting and queues:
        costs = "; ".join(f"{one.name}: {one.durability}" for one in queues)
        found.append(f"A job whose worker is killed: {costs}. The bridge's is never made twice.")
    if options.plan == "tiny":
        found.append("The plan `tiny` only shows that all parts run: too little for true figures.")
    if not options.against:
        found.append("For the column `to before`: --against, with the path of an older checkout.")
    return found


def read_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--plan", choices=PLANS, default="full", help="how much to measure")
    parser.add_argument("--quick", dest="plan", action="store_const", const="quick")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="measure only these parts")
    parser.add_argument("--alone", action="store_true", help="without the other queues")
    parser.add_argument(
        "--against", type=Path, metavar="PATH", help="another checkout, to be measured in turn"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every round there")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="also write plots there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
