"""The figures as a table, beside the prototype's; without colours if it is not a terminal."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.table import Table

from bench.delivery import Delivered
from bench.intake import Taken

T = TypeVar("T")
Pairs = Sequence[tuple[T, T]]  # (what the bridge is compared with, the bridge), one per round

BUSY = 0.8  # of a core; above this, the client itself may be the limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """All rounds: webhooks of 1 and of 100 events, calls to an API at 100 ms and at 0 ms."""

    singles: list[tuple[Taken, Taken]]
    batches: list[tuple[Taken, Taken]]
    waiting: list[tuple[Delivered, Delivered]]
    instant: list[tuple[Delivered, Delivered]]

    def client_limits(self) -> bool:
        """Say whether the client was so busy that the floor may be higher than measured."""
        return any(floor.load.busy > BUSY for floor, _ in [*self.singles, *self.batches])


@dataclass(frozen=True, kw_only=True, slots=True)
class Prototype:
    """What a prototype of this design reached on two cores; its ratio is what to compare."""

    rate: str
    ms: str = ""
    cpu_s: str = ""
    commands: str = ""
    round_trips: str = ""


SINGLES = Prototype(rate="2,442-2,542 (0.29)", ms="12.5 / 29")
BATCHES = Prototype(rate="28,400-38,300", ms="98-107 / 143-149")
WAITING = Prototype(rate="557 (0.92)", cpu_s="1.05", commands="7.4", round_trips="<1")
INSTANT = Prototype(rate="1,352 (1.63)", cpu_s="0.76", commands="7.4", round_trips="<1")


def table(results: Results) -> Table:
    """Return all figures: the medians of the rounds, and the median of their ratios."""
    found = Table(title="Intake beside the floor, calls beside the hand-made loop")
    found.add_column("", no_wrap=True)
    for name in ("floor / loop", "bridge", "ratio", "prototype (ratio)"):
        found.add_column(name, justify="right", no_wrap=True)
    if results.singles:
        add_intake(found, "webhooks of 1 event", results.singles, SINGLES)
        add_intake(found, "webhooks of 100 events", results.batches, BATCHES)
    if results.waiting:
        add_calls(found, "calls, API at 100 ms", results.waiting, WAITING)
        add_calls(found, "calls, API at 0 ms", results.instant, INSTANT)
    return found


def add_intake(table: Table, heading: str, pairs: Pairs[Taken], prototype: Prototype) -> None:
    """Add the rows of one kind of webhook."""
    table.add_row(f"[bold]{heading}[/]")
    add(table, "requests/s", "{:,.0f}", pairs, lambda one: one.load.per_s)
    add(table, "events/s", "{:,.0f}", pairs, lambda one: one.events_per_s, prototype.rate)
    latencies = (latency(one for one, _ in pairs), latency(one for _, one in pairs))
    table.add_row("  ms, p50 / p99", *latencies, "", prototype.ms)
    add(table, "CPU s/1000 requests", "{:.2f}", pairs, lambda one: one.cpu_s_per_1000)
    add(table, "  of it Valkey", "{:.2f}", pairs, lambda one: one.store_cpu_s_per_1000, ratio=False)
    add(table, "errors", "{:.0f}", pairs, lambda one: one.load.errors, ratio=False)
    add(table, "client busy, of a core", "{:.0%}", pairs, lambda one: one.load.busy, ratio=False)


def add_calls(table: Table, heading: str, pairs: Pairs[Delivered], prototype: Prototype) -> None:
    """Add the rows of calls to one kind of API."""
    table.add_row(f"[bold]{heading}[/]")
    add(table, "deliveries/s", "{:,.0f}", pairs, lambda one: one.per_s, prototype.rate)
    add(table, "CPU s/1000", "{:.2f}", pairs, lambda one: one.cpu_s_per_1000, prototype.cpu_s)
    add(table, "Redis commands each", "{:.1f}", pairs, lambda one: one.commands, prototype.commands)
    add(
        table,
        "Redis round trips each",
        "{:.2f}",
        pairs,
        lambda one: one.round_trips,
        prototype.round_trips,
    )


def add(
    table: Table,
    name: str,
    form: str,
    pairs: Pairs[T],
    read: Callable[[T], float],
    prototype: str = "",
    *,
    ratio: bool = True,
) -> None:
    """Add one row: the other's figure, ours, and the ratio, each the median over the rounds."""
    ratios = [read(ours) / read(theirs) for theirs, ours in pairs if ratio and read(theirs)]
    table.add_row(
        f"  {name}",
        form.format(median(read(theirs) for theirs, _ in pairs)),
        form.format(median(read(ours) for _, ours in pairs)),
        f"{median(ratios):.2f}" if ratios else "",
        prototype,
    )


def latency(taken: Iterable[Taken]) -> str:
    """Return the medians of p50 and p99."""
    loads = [one.load for one in taken]
    p50, p99 = median(load.p50_ms for load in loads), median(load.p99_ms for load in loads)
    return f"{p50:.1f} / {p99:.0f}"


def show(found: Table, *remarks: str) -> None:
    """Print the table, and the remarks below it."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=100, no_color=True)
        found.box = box.ASCII2
    console.print(found)
    for remark in remarks:
        console.print(remark, highlight=False, soft_wrap=True)
