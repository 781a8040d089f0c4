"""What is counted while deliveries move, and how it is read back as a time series."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from support import Web, end_lease, lead
from support.cluster import is_over_cluster
from support.storing import a_delivery, accept, an_event, claim, put, to_sending

from schemas.delivery import Reason, Status
from schemas.records import Move
from schemas.settings import Settings
from store import Store, connect
from store.base import P
from store.counters import (
    BOUNDS,
    INTAKE,
    TIME_BUCKETS,
    Measures,
    bound_of,
    quantile,
    read_histograms,
)

MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]


@pytest.fixture
def redis_url(redis_url: str) -> str:
    """A database apart: the web process of other tests may still tell what it counted for them."""
    if is_over_cluster():  # which has no other; but then no such web process runs
        return redis_url
    apart = redis_url.removesuffix("/0") + "/1"
    with connect(apart) as client:
        client.set(f"{P}schema", 2)
    return apart


def status_counts(store: Store) -> dict[tuple[str, str], int]:
    return {place: count for place, count in store.measured().status_counts.items() if count}


def by_record(store: Store) -> dict[tuple[str, str], int]:
    """Count what the records say, which the count that is kept must agree with."""
    found: dict[tuple[str, str], int] = {}
    for key in store.redis.scan_iter(f"{P}delivery:*"):
        status, route = store.redis.hmget(key, "status", "route")
        found[str(status), str(route)] = found.get((str(status), str(route)), 0) + 1
    return found


def reached(store: Store, status: str) -> int:
    return sum(int(getattr(point, status)) for point in store.series(1.0, 60))


def test_each_move_is_counted_where_the_delivery_stands(store: Store) -> None:
    put(store, "a", "b", "c", "d")
    assert status_counts(store) == {("queued", "call back"): 4}
    leases = claim(store)
    store.move([to_sending(one, leases[one]) for one in ("a", "b")])
    assert status_counts(store) == by_record(store)
    attempt = (1, {"number": 1})
    store.move(
        [
            Move(id="a", to=Status.DELIVERED, lease=leases["a"], attempt=attempt),
            Move(id="c", to=Status.SKIPPED, lease=leases["c"], reason=Reason.NO_NUMBER),
            Move(id="d", to=Status.HELD, lease=leases["d"], reason=Reason.OUTSIDE_HOURS),
        ]
    )
    assert status_counts(store) == by_record(store)
    end_lease(store, "b")
    store.sweep()
    assert status_counts(store) == by_record(store)
    assert status_counts(store)["unknown", "call back"] == 1
    assert [reached(store, name) for name in ("delivered", "skipped", "held", "unknown")] == [1] * 4
    store.prune(datetime.now(UTC) + timedelta(days=1))
    assert (
        status_counts(store)
        == by_record(store)
        == {
            ("held", "call back"): 1,
            ("unknown", "call back"): 1,
        }
    )


def test_what_is_held_by_a_pause_and_what_is_bulk_is_counted(store: Store) -> None:
    accept(store, (an_event(), [a_delivery("a", bulk="an import")]))
    put(store, "b")
    store.pause("all", reason="person", message="")
    claim(store)
    assert status_counts(store) == by_record(store) == {("held", "call back"): 2}
    assert reached(store, "held") == 2


def test_a_move_that_is_refused_counts_for_nothing(store: Store) -> None:
    put(store, "a")
    lease = claim(store)["a"]
    store.move([Move(id="a", to=Status.SKIPPED, lease=lease + 1, reason=Reason.NO_NUMBER)])
    assert status_counts(store) == {("queued", "call back"): 1}
    assert reached(store, "skipped") == 0


def test_a_batch_is_counted_with_few_commands(store: Store) -> None:
    put(store, *map(str, range(100)))
    leases = claim(store)
    store.move([to_sending(one, lease) for one, lease in leases.items()])
    before = store.redis.info("commandstats")["cmdstat_hincrby"]["calls"]
    attempt = (1, {"number": 1})
    store.move(
        [
            Move(id=one, to=Status.DELIVERED, lease=lease, attempt=attempt)
            for one, lease in leases.items()
        ]
    )
    counted = store.redis.info("commandstats")["cmdstat_hincrby"]["calls"] - before
    assert counted == 6  # sending, delivered; the total; a minute, ten, an hour


def test_a_series_has_events_deliveries_and_latency(
    web: Web, settings: Settings, store: Store, run_drain: RunDrain
) -> None:
    for _ in range(3):
        web.send("website", lead())
    run_drain(settings)
    web.client.application.extensions["meter"].flush()
    before = datetime.now(UTC)
    points = store.series(1.0, 12)
    assert len(points) == 12
    assert {point.seconds for point in points} == {300.0}
    gaps = {later.at - one.at for one, later in pairwise(points)}
    assert gaps == {timedelta(minutes=5)}
    assert points[-1].at <= datetime.now(UTC)
    assert before < points[-1].at + timedelta(minutes=5)
    assert sum(point.events for point in points) == 3
    assert sum(point.delivered for point in points) == 3
    # In one point, or in two where five minutes were over in the midst.
    assert all((point.latency_p95_s or 0) > 0 for point in points if point.delivered)
    empty = [point for point in points if not point.delivered]
    assert all(point.latency_p50_s is None for point in empty)


@pytest.mark.parametrize(
    ("hours", "points", "seconds"),
    [
        (1, 60, 60),
        (3, 60, 180),
        (24, 144, 600),
        (24, 48, 1800),
        (168, 168, 3600),
        (9999, 10, 72_000),
    ],
)
def test_longer_series_have_coarser_points(
    store: Store, hours: float, points: int, seconds: int
) -> None:
    put(store, "a")
    store.move([Move(id="a", to=Status.CANCELLED, reason=Reason.BY_PERSON)])
    before = store.redis.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"]
    found = store.series(hours, points)
    read = store.redis.info("commandstats")["cmdstat_hgetall"]["calls"] - before
    assert abs(len(found) - points) <= 1
    assert {point.seconds for point in found} == {seconds}
    assert sum(point.cancelled for point in found) == 1
    assert read <= 200 + seconds // 60


def test_pieces_of_time_are_forgotten(store: Store) -> None:
    put(store, "a")
    store.move([Move(id="a", to=Status.CANCELLED, reason=Reason.BY_PERSON)])
    for name, hours in (("minute", 4), ("ten", 32), ("hour", 9 * 24)):
        [key] = store.redis.scan_iter(f"{P}bucket:{name}:*")
        assert 0 < store.redis.ttl(key) <= hours * 3600


def test_measures_of_several_processes_add_up(store: Store) -> None:
    for took_s in (0.001, 0.3, 100.0):
        measures = Measures()
        measures.webhook("website", 202, took_s)
        store.measure(measures)
    totals = store.measured().totals
    assert totals["webhook 202 website"] == "3"
    found = read_histograms(totals, "intake")["website"]
    shown = dict(found.buckets)
    assert set(shown) == {*map(str, INTAKE), "+Inf"}
    assert [shown[bound] for bound in ("0.002", "0.2", "0.5", "5.0", "+Inf")] == [1, 1, 2, 2, 3]
    assert found.total_s == pytest.approx(100.301)


@pytest.mark.parametrize("what", BOUNDS)
def test_a_histogram_shows_every_bound_also_those_of_an_older_release(what: str) -> None:
    kept = {f"{what} 0.123 a": "2", f"{what} +Inf a": "1", f"{what} sum_us a": "5"}
    found = read_histograms(kept, what, ["b"])
    every = [*sorted([*BOUNDS[what], 0.123]), math.inf]
    for name in "ab":
        assert [float(bound) for bound, _ in found[name].buckets] == every
    assert [count for _, count in found["b"].buckets] == [0] * len(every)
    assert found["b"].total_s == 0
    assert dict(found["a"].buckets) == {
        str(bound): 2 * (bound >= 0.123) for bound in every[:-1]
    } | {"+Inf": 3}


def test_nothing_measured_asks_redis_nothing(store: Store) -> None:
    store.measure(Measures())
    assert store.measured().totals == {}
    assert store.refusals() == ()


def test_a_quantile_lies_within_its_bucket() -> None:
    bounds = (1.0, 2.0, 4.0)
    assert quantile({}, 0.5, bounds) is None
    assert quantile({"2.0": 10}, 0.5, bounds) == pytest.approx(1.5)
    assert quantile({"1.0": 5, "4.0": 5}, 0.95, bounds) == pytest.approx(3.8)
    assert quantile({"+Inf": 3}, 0.5, bounds) == 4.0
    assert [bound_of(bounds, took_s) for took_s in (0.0, 1.0, 1.1, 9.0)] == [
        "1.0",
        "1.0",
        "2.0",
        "+Inf",
    ]


def test_pieces_are_kept_for_longer_than_they_are_shown(store: Store) -> None:
    """metrics.lua keeps each bucket for longer than store/counters.py shows it."""
    put(store, "a")
    before_s = int(time.time())
    store.move([Move(id="a", to=Status.CANCELLED, reason=Reason.BY_PERSON)])
    after_s = int(time.time())
    for bucket in TIME_BUCKETS:
        [key] = store.redis.scan_iter(f"{P}bucket:{bucket.name}:*")
        at = int(key.rpartition(":")[2])
        assert before_s // bucket.length_s <= at <= after_s // bucket.length_s
        assert store.redis.ttl(key) >= bucket.shown_s + bucket.length_s


@pytest.mark.parametrize("figure", [f"{P}status_counts", f"{P}metrics"])
def test_a_figure_that_can_not_be_kept_fails_nothing(store: Store, figure: str) -> None:
    put(store, "d1")
    store.redis.delete(figure)
    store.redis.set(figure, "something else")
    lease = claim(store)["d1"]

    assert store.move([to_sending("d1", lease)]) == ["ok"]

    found = store.delivery("d1")
    assert found is not None
    assert found.status == Status.SENDING
