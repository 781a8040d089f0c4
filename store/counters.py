"""Counters: what a process counts and times before the store keeps it. Nothing here does I/O.

A process collects its measures and sends them to the store about once a second, in one step. If it
is killed, the measures of its last second are lost. Status counts are kept by the scripts that move
deliveries, not here.

A name in a field is that of a route or a source in routes.toml, a status code or a word of ours. It
is never a person's.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from schemas.records import Point

INF = "+Inf"

# The upper bounds of the histograms, in seconds. Longer times are counted in +Inf.
INTAKE = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
CALLKARO = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
# A call may wait for its hours, so these go up to a day.
TO_CALL = (
    *(0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0),
    *(3600.0, 10_800.0, 43_200.0, 86_400.0),
)
BOUNDS = {"intake": INTAKE, "call": TO_CALL, "callkaro": CALLKARO}  # by the first word of a field


@dataclass(frozen=True, slots=True)
class TimeBucket:
    """One resolution of the time series: the length of a bucket, and how far back plots go, s."""

    name: str
    length_s: int
    shown_s: int


# TIME_BUCKETS in store/scripts/includes/metrics.lua keeps them a little longer than this.
TIME_BUCKETS = (
    TimeBucket("minute", 60, 3 * 3600),
    TimeBucket("ten", 600, 30 * 3600),
    TimeBucket("hour", 3600, 8 * 86_400),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """How many took at most each bound, in rising order and cumulative; total_s is their sum."""

    buckets: tuple[tuple[str, int], ...]
    total_s: float


@dataclass(slots=True)
class Measures:
    """What a process has measured since it last sent its measures to the store."""

    totals: Counter[str] = field(default_factory=Counter)  # added to counts that only grow
    in_time: Counter[str] = field(
        default_factory=Counter
    )  # added to the buckets of the time series
    refused_at: dict[str, int] = field(default_factory=dict)  # by cause: its latest refusal, ms

    def __bool__(self) -> bool:
        """Say whether anything was measured."""
        return bool(self.totals or self.in_time)

    def webhook(self, source: str | None, status_code: int, took_s: float) -> None:
        """Count a request to /webhooks/<source> and its answer; source None: it does not exist."""
        self.totals[f"webhook {status_code} {source or ''}"] += 1
        self._time("intake", source or "", INTAKE, took_s)

    def refused(self, source: str | None, status_code: int, cause: str, now: datetime) -> None:
        """Count a refusal under its cause, a word of ours."""
        what = f"{status_code} {cause} {source or ''}"
        self.totals[f"refused {what}"] += 1
        self.in_time[f"refused {what}"] += 1
        self.refused_at[what] = int(now.timestamp() * 1000)

    def events(self, source: str, answers: Mapping[str, int]) -> None:
        """Count the events of a request, by the counts of its answer."""
        for answer, count in answers.items():
            if count:
                self.totals[f"event {answer} {source}"] += count
                self.in_time[f"event {answer} {source}"] += count

    def attempt(self, result: str, took_s: float) -> None:
        """Count an attempt by its status code or, without an answer, by the word of its error."""
        self.totals[f"attempt {result} "] += 1
        self._time("callkaro", "", CALLKARO, took_s)

    def accepted(self, route: str, waited_s: float) -> None:
        """Count the time from the receipt of an event to the acceptance of its delivery."""
        self._time("call", route, TO_CALL, waited_s)
        self.in_time[f"call {bound_of(TO_CALL, waited_s)} "] += 1

    def add(self, other: "Measures") -> None:
        """Add the measures of another object."""
        self.totals.update(other.totals)
        self.in_time.update(other.in_time)
        self.refused_at = {**other.refused_at, **self.refused_at}

    def as_record(self) -> dict[str, dict[str, int]]:
        """Return it as measure.lua reads it."""
        return {
            "totals": dict(self.totals),
            "in_time": dict(self.in_time),
            "refused_at": self.refused_at,
        }

    def _time(self, what: str, name: str, bounds: tuple[float, ...], took_s: float) -> None:
        self.totals[f"{what} {bound_of(bounds, took_s)} {name}"] += 1
        self.totals[f"{what} sum_us {name}"] += max(round(took_s * 1e6), 0)


def bound_of(bounds: tuple[float, ...], took_s: float) -> str:
    """Return the smallest bound that is at least took_s, as fields contain it."""
    return next((str(bound) for bound in bounds if took_s <= bound), INF)


def read_counts(kept: Mapping[str, str], what: str) -> dict[tuple[str, str], int]:
    """Return {(word, name): count} of the fields "<what> <word> <name>"."""
    found = {}
    for written, count in kept.items():
        first, _, rest = written.partition(" ")
        if first == what:
            word, _, name = rest.partition(" ")
            found[word, name] = int(count)
    return found


def read_histograms(
    kept: Mapping[str, str], what: str, names: Iterable[str] = ()
) -> dict[str, Histogram]:
    """Return the histograms of the fields "<what> <bound> <name>", by name.

    Each has every bound of `what`, and those of `names` are there before anything is counted:
    Prometheus takes a bucket that appears later for one that was not counted before.
    """
    counts: dict[str, dict[str, int]] = {name: {} for name in names}
    for (word, name), count in read_counts(kept, what).items():
        counts.setdefault(name, {})[word] = count
    # An older release may have used other bounds.
    bounds = {str(bound) for bound in BOUNDS[what]}
    bounds |= {bound for buckets in counts.values() for bound in buckets} - {"sum_us"}
    found = {}
    for name, buckets in counts.items():
        total_s = buckets.pop("sum_us", 0) / 1e6
        every = dict.fromkeys(bounds, 0) | buckets
        found[name] = Histogram(buckets=cumulated(every), total_s=total_s)
    return found


def cumulated(buckets: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return the buckets in rising order, each with the sum of all below it; the last is +Inf."""
    found, below = [], 0
    for bound in sorted({*buckets, INF}, key=float):
        below += buckets.get(bound, 0)
        found.append((bound, below))
    return tuple(found)


def quantile(
    buckets: Mapping[str, int], share: float, bounds: tuple[float, ...] = TO_CALL
) -> float | None:
    """Estimate the time that this share of all took at most, in seconds; None: nothing was counted.

    The times in a bucket are assumed to be spread evenly. A time in +Inf counts as the last bound.
    """
    wanted, below, low = sum(buckets.values()) * share, 0, 0.0
    if not wanted:
        return None
    # An older release may have used other bounds.
    for bound in sorted({*map(float, buckets), *bounds}):
        here = buckets.get(str(bound), 0)
        if here and below + here >= wanted and bound != float("inf"):
            return low + (bound - low) * (wanted - below) / here
        below += here
        low = bound if bound != float("inf") else low
    return low


def summed(time_buckets: Iterable[Mapping[str, str]]) -> Counter[str]:
    """Return the sum of several buckets of the time series."""
    found: Counter[str] = Counter()
    for bucket in time_buckets:
        for name, count in bucket.items():
            found[name] += int(count)
    return found


def read_point(counts: Mapping[str, int], at: datetime, seconds: float) -> Point:
    """Return the point of a plot that these counts make."""
    reached: Counter[str] = Counter()
    latency: Counter[str] = Counter()
    events = 0
    for written, count in counts.items():
        what, word, _ = written.split(" ", 2)
        if what == "to":
            reached[word] += count
        elif what == "call":
            latency[word] += count
        elif what == "event" and word != "duplicates":
            events += count
    return Point(
        at=at,
        seconds=seconds,
        delivered=reached["delivered"],
        skipped=reached["skipped"],
        failed=reached["failed"],
        unknown=reached["unknown"],
        cancelled=reached["cancelled"],
        held=reached["held"],
        events=events,
        latency_p50_s=quantile(latency, 0.5),
        latency_p95_s=quantile(latency, 0.95),
    )
