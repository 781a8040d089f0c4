"""Plots: each bar and line shows what was counted."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from bridge.dashboard.charts import HEIGHT, WIDTH, bars, lines
from schemas.records import Point

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
INDIA = ZoneInfo("Asia/Kolkata")


def points(*counts, **more):
    step = timedelta(minutes=30)
    return [
        Point(at=NOON + place * step, seconds=1800, delivered=count, **more)
        for place, count in enumerate(counts)
    ]


@pytest.mark.parametrize("row", [[], points(0, 0)])
def test_where_nothing_happened_nothing_is_drawn(row):
    assert bars(row, INDIA).is_empty
    assert lines(row, INDIA).is_empty


def test_a_bar_is_as_high_as_its_count():
    plot = bars(points(1, 0, 4), INDIA)
    assert plot.top == 4
    assert [(bar.height, bar.y) for bar in plot.bars] == [
        (HEIGHT / 4, HEIGHT * 3 / 4),
        (HEIGHT, 0),
    ]
    assert [round(bar.x) for bar in plot.bars] == [0, round(WIDTH * 2 / 3)]


@pytest.mark.parametrize(
    ("zone", "title"),
    [
        ("Asia/Kolkata", "17:30 Asia/Kolkata: 1 delivered"),
        ("America/New_York", "07:00 America/New_York: 1 delivered"),
        ("UTC", "12:00 UTC: 1 delivered"),
    ],
)
def test_a_tooltip_names_its_time_in_one_zone(zone, title):
    assert bars(points(1), ZoneInfo(zone)).bars[0].title == title


def test_statuses_stand_on_each_other():
    [low, high] = bars(points(3, failed=1), INDIA).bars
    assert (low.status, high.status) == ("delivered", "failed")
    assert low.y == high.y + high.height
    assert high.y == 0


def test_a_line_breaks_where_nothing_was_delivered():
    row = [
        Point(at=NOON, seconds=60, latency_p50_s=value, latency_p95_s=value)
        for value in (1.0, 2.0, None, 4.0)
    ]
    plot = lines(row, INDIA)
    assert plot.top == 4
    name, time_buckets = plot.lines[0]
    assert (name, len(time_buckets)) == ("p50", 2)
    assert [len(bucket.split()) for bucket in time_buckets] == [2, 2], (
        "a single point is a short line"
    )


def test_a_line_shows_its_values_where_the_pointer_is():
    row = [
        Point(at=NOON, seconds=60, latency_p50_s=value, latency_p95_s=value and 2 * value)
        for value in (1.0, None, 4.0)
    ]
    spots = lines(row, INDIA).spots
    assert [(spot.clock, spot.p50_s, spot.p95_s) for spot in spots] == [
        ("17:30 Asia/Kolkata", 1, 2),
        ("17:30 Asia/Kolkata", 4, 8),
    ]
    assert [round(spot.x) for spot in spots] == [0, round(WIDTH * 2 / 3)]
