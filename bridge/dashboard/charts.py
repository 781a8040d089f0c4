"""Plots as SVG: what the templates need to draw them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from schemas.records import Point

WIDTH, HEIGHT = 720.0, 160.0
GAP = 1.5  # between bars
# Drawn from the bottom up: what needs a look is on top.
STACK = ("delivered", "skipped", "cancelled", "failed", "unknown")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One piece of a stacked bar: its place in the SVG, its status, and its tooltip."""

    x: float
    y: float
    width: float
    height: float
    status: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """A column of the SVG that shows the values of lines in a tooltip."""

    x: float
    width: float
    clock: str  # when, such as "17:30 Asia/Kolkata"
    p50_s: float
    p95_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """A plot, of bars or of lines."""

    top: float  # the value at the upper edge
    since: datetime | None
    bars: tuple[Bar, ...] = ()
    lines: tuple[tuple[str, tuple[str, ...]], ...] = ()  # by name, the pieces as SVG's points
    spots: tuple[Spot, ...] = ()  # of lines

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing to draw."""
        return not self.bars and not any(time_buckets for _, time_buckets in self.lines)


def bars(points: Sequence[Point], zone: ZoneInfo) -> Plot:
    """Return how many deliveries ended in which status, over time; tooltips name times in zone."""
    totals = [sum(getattr(point, status) for status in STACK) for point in points]
    top = max(totals, default=0)
    since = points[0].at if points else None
    if top == 0:
        return Plot(top=0, since=since)
    width = WIDTH / len(points)
    found = []
    for place, point in enumerate(points):
        y = HEIGHT
        for status in STACK:
            count = getattr(point, status)
            if not count:
                continue
            height = HEIGHT * count / top
            y -= height
            title = f"{_clock(point, zone)}: {count} {status}"
            found.append(
                Bar(
                    x=place * width,
                    y=y,
                    width=max(width - GAP, 0.5),
                    height=height,
                    status=status,
                    title=title,
                )
            )
    return Plot(top=top, since=since, bars=tuple(found))


def lines(points: Sequence[Point], zone: ZoneInfo) -> Plot:
    """Return the time from webhook to call, over time: the median and the 95th percentile.

    A line breaks where nothing was delivered. Tooltips name times in zone.
    """
    shown = {
        "p50": [one.latency_p50_s for one in points],
        "p95": [one.latency_p95_s for one in points],
    }
    top = max((value for row in shown.values() for value in row if value is not None), default=0.0)
    since = points[0].at if points else None
    if top <= 0:
        return Plot(top=0, since=since)
    return Plot(
        top=top,
        since=since,
        lines=tuple((name, tuple(_buckets(row, top))) for name, row in shown.items()),
        spots=tuple(_spots(points, zone)),
    )


def _spots(points: Sequence[Point], zone: ZoneInfo) -> Iterator[Spot]:
    width = WIDTH / len(points)
    for place, point in enumerate(points):
        p50_s, p95_s = point.latency_p50_s, point.latency_p95_s
        if p50_s is not None and p95_s is not None:
            clock = _clock(point, zone)
            yield Spot(x=place * width, width=width, clock=clock, p50_s=p50_s, p95_s=p95_s)


def _clock(point: Point, zone: ZoneInfo) -> str:
    return f"{point.at.astimezone(zone):%H:%M} {zone.key}"


def _buckets(row: Sequence[float | None], top: float) -> list[str]:
    """Return the unbroken pieces of a line, each as SVG's points."""
    width = WIDTH / max(len(row), 1)
    time_buckets: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(row):
        if value is None:
            time_buckets.append([])
            continue
        x, y = (place + 0.5) * width, HEIGHT * (1 - value / top)
        time_buckets[-1].append((x, y))
    return [
        " ".join(f"{x:.1f},{y:.1f}" for x, y in _drawable(bucket, width))
        for bucket in time_buckets
        if bucket
    ]


def _drawable(piece: Sequence[tuple[float, float]], width: float) -> Sequence[tuple[float, float]]:
    """Return a piece of a line with at least two points: a single one becomes a bucket's width."""
    if len(piece) > 1:
        return piece
    [(x, y)] = piece
    return [(x - width / 2, y), (x + width / 2, y)]
