"""The figures as tables."""

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from rich.table import Table

from bench.delivery import Delivered
from bench.intake import Taken
from bench.results import Results, Rounds, Row, T
from bench.spread import Spread

_MET = {True: "yes", False: "no", None: ""}


def targets(rows: Sequence[Row]) -> Table:
    """Return each figure beside its target."""
    table = Table(title="Median (lowest-highest round); ratios are of the same round")
    table.add_column("", no_wrap=True)
    for name in ("target", "figure", "ratio", "to before", "met"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        ratios = (ratio_text(row.ratio), ratio_text(row.before))
        table.add_row(row.name, row.target, row.figure.text(row.form), *ratios, _MET[row.is_met])
    return table


def ratio_text(ratio: Spread | None) -> str:
    """Return a ratio with its spread; empty: there is none."""
    return "" if ratio is None else ratio.text("{:.2f}")


def contenders(results: Results) -> Iterator[Table]:
    """Yield a table of all contenders for each part that was measured."""
    for title, taken in (
        ("webhooks of 1 event", results.singles),
        ("webhooks of 100 events", results.batches),
    ):
        if taken:
            yield _intake(title, taken)
    for title, delivered in (
        ("calls, API at 100 ms", results.waiting),
        ("calls, API at 0 ms", results.instant),
    ):
        if delivered:
            yield _calls(title, delivered)


def _intake(title: str, rounds: Rounds[Taken]) -> Table:
    return _table(
        title,
        rounds,
        {
            "requests/s": ("{:,.0f}", lambda one: one.load.per_s),
            "events/s": ("{:,.0f}", lambda one: one.events_per_s),
            "p50, ms": ("{:.1f}", lambda one: one.load.p50_ms),
            "p99, ms": ("{:.0f}", lambda one: one.load.p99_ms),
            "CPU ms each": ("{:.2f}", lambda one: one.cpu_s_per_1000),
            "of it Redis": ("{:.2f}", lambda one: one.store_cpu_s_per_1000),
            "client busy": ("{:.0%}", lambda one: one.load.busy),
        },
    )


def _calls(title: str, rounds: Rounds[Delivered]) -> Table:
    return _table(
        title,
        rounds,
        {
            "calls/s": ("{:,.0f}", lambda one: one.per_s),
            "CPU s/1,000": ("{:.2f}", lambda one: one.cpu_s_per_1000),
            "Redis commands": ("{:.1f}", lambda one: one.commands),
            "round trips": ("{:.2f}", lambda one: one.round_trips),
            "calls": ("{:,.0f}", lambda one: one.deliveries),
        },
    )


def _table(
    title: str, rounds: Rounds[T], columns: dict[str, tuple[str, Callable[[T], float]]]
) -> Table:
    table = Table(title=f"{title}; medians of {len(rounds)} rounds")
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for contender in rounds[0]:
        cells = [
            form.format(median(read(one[contender]) for one in rounds))
            for form, read in columns.values()
        ]
        table.add_row(contender, *cells)
    return table
