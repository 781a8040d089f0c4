"""Metrics: what happened, in figures that cover all processes and outlive restarts.

Cumulative counts are for Prometheus. Time buckets (a minute, ten minutes, an hour) are for plots.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from schemas.errors import StoreUnavailable
from schemas.records import Point, Refusal
from store.base import Base, P
from store.counters import TIME_BUCKETS, Measures, TimeBucket, read_counts, read_point, summed
from store.records import at

TimeBuckets = dict[int, dict[str, str]]  # number of the bucket since 1970 -> its counts


@dataclass(frozen=True, kw_only=True, slots=True)
class CounterSnapshot:
    """The cumulative counts, and how many deliveries there are: {(status, route): count}."""

    totals: dict[str, str]
    status_counts: dict[tuple[str, str], int]


class MetricStore(Base):
    """The metrics of all processes."""

    def measure(self, measures: Measures) -> None:
        """Add the measures of a process: one script with a few commands, however many there are."""
        if measures:
            self._run("measure", orjson.dumps(measures.as_record()))

    def measured(self) -> CounterSnapshot:
        """Return the counts for Prometheus. Fails at once if Redis was away a moment ago."""
        if time.monotonic() < self._away_until:
            raise StoreUnavailable("Redis did not answer a moment ago")
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            pipe.hgetall(f"{P}metrics")
            pipe.hgetall(f"{P}status_counts")
            totals, status_counts = pipe.execute()
        pairs = (name.partition(" ") for name in status_counts)
        return CounterSnapshot(
            totals=totals,
            status_counts={
                (status, route): int(count)
                for (status, _, route), count in zip(pairs, status_counts.values(), strict=True)
            },
        )

    def series(self, hours: float, points: int) -> tuple[Point, ...]:
        """Return about `points` points that cover the last `hours` (at most 8 days), in order.

        A point is at least a minute long; at least ten minutes if `hours` is over 3, an hour if it
        is over 30. Points begin at whole multiples of their length, so they stay the same from call
        to call; the last point has not ended yet. This reads at most 200 small hashes, in one
        pipeline.
        """
        bucket, span_s = _bucket_for(hours)
        together = max(math.ceil(span_s / bucket.length_s / max(points, 1)), 1)
        seconds = together * bucket.length_s
        now_s = self._now_s()
        last, count = now_s // seconds, math.ceil(span_s / seconds)
        wanted = range(last - count + 1, last + 1)
        found = self._buckets(bucket, (wanted[0] * seconds, now_s))
        return tuple(
            read_point(
                summed(found.get(number * together + i, {}) for i in range(together)),
                datetime.fromtimestamp(number * seconds, UTC),
                float(seconds),
            )
            for number in wanted
        )

    def refusals(self, hours: float = 24.0) -> tuple[Refusal, ...]:
        """Return which webhook requests were refused in the last hours, the most frequent first."""
        bucket, span_s = _bucket_for(hours)
        now_s = self._now_s()
        counts = summed(self._buckets(bucket, (now_s - span_s, now_s)).values())
        with self._reached():
            latest: dict[str, str] = self.redis.hgetall(f"{P}refused")  # type: ignore[assignment]
        kept = {name: str(count) for name, count in counts.items()}
        refusals = (
            _refusal(code, cause_and_source, count, latest)
            for (code, cause_and_source), count in read_counts(kept, "refused").items()
        )
        return tuple(sorted(refusals, key=lambda one: (-one.count, one.cause, one.source or "")))

    # --- helpers ------------------------------------------------------------------------------

    def _now_s(self) -> int:
        with self._reached():
            seconds, _ = self.redis.time()
        return int(seconds)

    def _buckets(self, bucket: TimeBucket, span_s: tuple[float, float]) -> TimeBuckets:
        first, last = (int(end_s // bucket.length_s) for end_s in span_s)
        numbers = range(first, last + 1)
        return dict(
            zip(numbers, self._hashes(f"bucket:{bucket.name}:{n}" for n in numbers), strict=True)
        )

    def _hashes(self, names: Iterable[str]) -> list[dict[str, str]]:
        with self._reached():
            pipe = self.redis.pipeline(transaction=False)
            for name in names:
                pipe.hgetall(f"{P}{name}")
            return list(pipe.execute())


def _bucket_for(hours: float) -> tuple[TimeBucket, float]:
    """Return the shortest buckets that reach this far back, and how far that is, in seconds."""
    span_s = min(max(hours * 3600, TIME_BUCKETS[0].length_s), TIME_BUCKETS[-1].shown_s)
    return next(bucket for bucket in TIME_BUCKETS if span_s <= bucket.shown_s), span_s


def _refusal(code: str, cause_and_source: str, count: int, latest: dict[str, str]) -> Refusal:
    cause, _, source = cause_and_source.partition(" ")
    return Refusal(
        source=source or None,
        status_code=int(code),
        cause=cause,
        count=count,
        latest=at(latest.get(f"{code} {cause_and_source}", 0)),
    )
