"""All that one run measured, and the figures that have a target."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from bench.delivery import LOOP, Delivered
from bench.intake import FLOOR, Taken
from bench.latency import Waited, p50_p99
from bench.many import Took
from bench.memory import Most
from bench.rest import AtRest
from bench.spread import Spread

T = TypeVar("T")
Rounds = Sequence[dict[str, T]]  # one of each contender, by name, per round

OURS, BEFORE = "bridge", "before"
BUSY = 0.8  # of a core; above this, the client itself may be the limit
_READS = ("list ", "events ", "one delivery", "stats ")  # of bench.many: requests of the API


@dataclass(kw_only=True, slots=True)
class Results:
    """All rounds, by part. A part that was not measured is empty."""

    singles: list[dict[str, Taken]] = field(default_factory=list)  # webhooks of 1 event
    batches: list[dict[str, Taken]] = field(default_factory=list)  # webhooks of 100 events
    waiting: list[dict[str, Delivered]] = field(default_factory=list)  # API at 100 ms
    instant: list[dict[str, Delivered]] = field(default_factory=list)  # API at 0 ms
    latency: list[dict[str, Waited]] = field(default_factory=list)
    memory: dict[str, Most] = field(default_factory=dict)
    rest: dict[str, AtRest] = field(default_factory=dict)
    lists: dict[str, Took] = field(default_factory=dict)
    lists_of: int = 0  # deliveries
    lists_bytes: float = 0  # that Redis has of each of them
    failures: list[str] = field(default_factory=list)  # why a part was not measured

    def add(self, part: "Results") -> None:
        """Take over what was measured of a part."""
        self.failures += part.failures
        for one in fields(part):
            if one.name != "failures" and (found := getattr(part, one.name)):
                setattr(self, one.name, found)

    def client_limits(self) -> bool:
        """Say whether the client was so busy that the floor may be higher than measured."""
        rounds = [*self.singles, *self.batches]
        return any(one.load.busy > BUSY for round_ in rounds for one in round_.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A figure with its target. ratio: to what `of` names; before: to the checkout before."""

    name: str
    target: str
    form: str
    figure: Spread
    is_met: bool | None  # None: what it is compared with was not measured
    of: str = ""
    ratio: Spread | None = None
    before: Spread | None = None


def rows(results: Results) -> list[Row]:
    """Return the figures that were measured."""
    return [
        *_intake(results.singles, results.batches),
        *_calls(results.waiting, results.instant),
        *_latency(results.latency),
        *_at_rest(results),
    ]


def _intake(singles: Rounds[Taken], batches: Rounds[Taken]) -> Iterable[Row]:
    if not singles:
        return
    yield _ratio_row("webhooks/s, 1 event each", singles, lambda one: one.load.per_s, FLOOR, 0.45)
    p99 = _ratio(singles, lambda one: one.load.p99_ms, FLOOR)
    yield Row(
        name="webhooks of 1 event, ms, p99",
        target="< 2 of floor",
        form="{:.0f}",
        figure=_spread(singles, lambda one: one.load.p99_ms),
        is_met=None if p99 is None else p99.median < 2,
        of=FLOOR,
        ratio=p99,
        before=_ratio(singles, lambda one: one.load.p99_ms, BEFORE),
    )
    yield _most_row("CPU ms a webhook, web and Redis", singles, lambda one: one.cpu_s_per_1000, 1.1)
    before = _ratio(batches, lambda one: one.events_per_s, BEFORE)
    yield Row(
        name="events/s, 100 in a webhook",
        target="≥ 3 of before",
        form="{:,.0f}",
        figure=_spread(batches, lambda one: one.events_per_s),
        is_met=None if before is None else before.median >= 3,
        before=before,
    )


def _calls(waiting: Rounds[Delivered], instant: Rounds[Delivered]) -> Iterable[Row]:
    if not waiting:
        return
    name = "calls/s, API at 100 ms"
    yield _ratio_row(name, waiting, lambda one: one.per_s, LOOP, 0.95)
    for other in ("Celery threads", "Dramatiq"):
        if other in waiting[0]:
            yield _ratio_row(name, waiting, lambda one: one.per_s, other, 1)
    yield _ratio_row("calls/s, API at 0 ms", instant, lambda one: one.per_s, LOOP, 1.2)
    yield _most_row("Redis commands a call", waiting, lambda one: one.commands, 20)
    yield _most_row("CPU s a 1,000 calls", waiting, lambda one: one.cpu_s_per_1000, 1.2)


def _latency(rounds: Rounds[Waited]) -> Iterable[Row]:
    if not rounds:
        return
    full, thin = "webhook to call, idle, ms", "the same, thin, CRM of 50 ms"
    yield _most_row(f"{full}, p50", rounds, lambda one: p50_p99(one.full_ms)[0], 12)
    yield _slowest_row(f"{full}, p99", rounds, lambda one: p50_p99(one.full_ms)[1], 40)
    yield _most_row(f"{thin}, p50", rounds, lambda one: p50_p99(one.thin_ms)[0], 65)
    yield _slowest_row(f"{thin}, p99", rounds, lambda one: p50_p99(one.thin_ms)[1], 110)


def _at_rest(results: Results) -> Iterable[Row]:
    if results.lists:
        reads = [took for name, took in results.lists.items() if name.startswith(_READS)]
        slowest = max(took.median_ms for took in reads)
        yield _single(f"slowest list of {results.lists_of:,}, ms", "{:.0f}", slowest, 15)
        yield _single("Redis bytes a delivery", "{:,.0f}", results.lists_bytes, 2000)
    elif results.instant:
        yield _most_row("Redis bytes a call, of few", results.instant, lambda one: one.bytes, 2000)
    if results.memory:
        loaded = [most for name, most in results.memory.items() if not name.endswith("idle")]
        mb = sum(most.pss_kb for most in loaded) / 1024
        yield _single("MB of web and worker, PSS", "{:.0f}", mb, 250)
    if OURS in results.rest:
        yield _most_row(
            "Redis commands an hour, idle", [results.rest], lambda one: one.per_hour, 2000
        )


def _ratio_row(
    name: str, rounds: Rounds[T], read: Callable[[T], float], of: str, least: float
) -> Row:
    ratio = _ratio(rounds, read, of)
    return Row(
        name=name,
        target=f"≥ {least:g} of {of}",
        form="{:,.0f}",
        figure=_spread(rounds, read),
        is_met=None if ratio is None else ratio.median >= least,
        of=of,
        ratio=ratio,
        before=_ratio(rounds, read, BEFORE),
    )


def _most_row(name: str, rounds: Rounds[T], read: Callable[[T], float], most: float) -> Row:
    figure = _spread(rounds, read)
    return Row(
        name=name,
        target=f"≤ {most:,g}",
        form="{:.2f}" if most < 10 else "{:,.0f}",
        figure=figure,
        is_met=figure.median <= most,
        before=_ratio(rounds, read, BEFORE),
    )


def _slowest_row(name: str, rounds: Rounds[T], read: Callable[[T], float], most: float) -> Row:
    """Return a row without a ratio: the slowest of a few is another one in each run."""
    return replace(_most_row(name, rounds, read, most), before=None)


def _single(name: str, form: str, figure: float, most: float) -> Row:
    return Row(
        name=name,
        target=f"≤ {most:,g}",
        form=form,
        figure=Spread.of([figure]),
        is_met=figure <= most,
    )


def _spread(rounds: Rounds[T], read: Callable[[T], float], name: str = OURS) -> Spread:
    return Spread.of(read(one[name]) for one in rounds)


def _ratio(rounds: Rounds[T], read: Callable[[T], float], of: str) -> Spread | None:
    """Return ours to the other's, each within one round; None: the other was not measured."""
    ratios = [read(one[OURS]) / read(one[of]) for one in rounds if of in one and read(one[of])]
    return Spread.of(ratios) if ratios else None
