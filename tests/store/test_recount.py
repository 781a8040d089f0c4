"""Wrong counts are made again in pages, while deliveries move."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import count

import pytest
from support import Valkey, valkey_in_memory
from support.storing import claim, put, to_sending

from schemas.delivery import Reason, Status
from schemas.records import Move
from store import Store, connect, leases
from store.base import P

LONGEST_MS = 50  # that Redis may serve no other client


def counts(store: Store, of: str = "status_counts") -> dict[str, int]:
    found = {name: int(n) for name, n in store.redis.hgetall(f"{P}{of}").items()}
    return {name: n for name, n in found.items() if n and not name.startswith("outcome ")}


def by_record(store: Store) -> dict[str, int]:
    """Count what the records say."""
    pipe = store.redis.pipeline(transaction=False)
    for one in store.redis.zrange(f"{P}deliveries", 0, -1):
        pipe.hmget(f"{P}delivery:{one}", "status", "route")
    return dict(Counter(f"{status} {route}" for status, route in pipe.execute()))


def fill(store: Store, number: int) -> None:
    """Store calls of a campaign that were not counted, and only what a recount reads of them."""
    statuses = [str(status) for status in Status]
    for start in range(0, number, 5000):
        pipe = store.redis.pipeline(transaction=False)
        for n in range(start, min(start + 5000, number)):
            status, one = statuses[n % len(statuses)], f"d{n}"
            order = 1_700_000_000_000_000 + n
            fields = {"status": status, "route": f"route {n % 7}", "order": order}
            fields |= {"to": "call", "batch_id": "b-1"}
            pipe.hset(f"{P}delivery:{one}", mapping=fields)
            for index in ("deliveries", f"deliveries:status:{status}", "deliveries:campaign:b-1"):
                pipe.zadd(f"{P}{index}", {one: order})
        pipe.execute()


def pages(store: Store) -> Iterator[int]:
    """Recount; yield before each page but the first its number."""
    for number in count(1):
        if store.recount():
            return
        yield number


def skipped(one: str, lease: int) -> Move:
    return Move(id=one, to=Status.SKIPPED, lease=lease, reason=Reason.NO_NUMBER)


def test_a_page_reads_no_more_than_its_deliveries(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RECOUNTED", 1000)
    fill(store, 5000)

    def reads() -> int:
        return int(store.redis.info("commandstats")["cmdstat_hmget"]["calls"])

    store.redis.config_resetstat()
    store.redis.hmget(f"{P}nothing", "nothing")
    read, before = [], reads()
    for _ in pages(store):
        read.append(reads() - before)
        before = reads()
    assert read == [1000] * 5
    assert counts(store) == by_record(store)
    assert store._run("recount", 1000) == [-1, 1]
    assert not store.redis.exists(f"{P}status_recount")


def test_what_moves_meanwhile_is_counted_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RECOUNTED", 10)
    put(store, *(f"d{number}" for number in range(95)))
    store.redis.hset(f"{P}status_counts", "failed call back", 7)
    taken = claim(store, 90)
    new = count()

    for page in pages(store):
        # One that is counted, one of the page that comes next, and one at the end.
        found = {f"d{page}", f"d{page * 10 + 1}", f"d{89 - page}"} & taken.keys()
        if page == 6:
            moves = [to_sending(one, taken.pop(one)) for one in ("d20", "d80")]
        else:
            moves = [skipped(one, taken.pop(one)) for one in sorted(found)]
        assert store.move(moves) == ["ok"] * len(moves)
        put(store, f"n{next(new)}")
        if page == 4:
            assert store.prune(datetime.now(UTC)) > 0
    assert next(new) >= 9
    assert counts(store) == by_record(store)
    assert store._run("recount", 10) == [-1, 1]


def test_another_process_goes_on_with_it(
    store: Store, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RECOUNTED", 10)
    put(store, *(f"d{number}" for number in range(30)))
    store.redis.delete(f"{P}status_counts")
    assert not store.recount()
    put(store, "late")
    with connect(redis_url) as client:
        other = Store(client)
        assert len(list(pages(other))) < 3
    assert counts(store) == by_record(store) == {"queued call back": 31}


def test_a_record_that_is_broken_is_left_out(store: Store) -> None:
    put(store, "d1", "broken", "d2")
    store.redis.delete(f"{P}delivery:broken", f"{P}status_counts")
    store.redis.set(f"{P}delivery:broken", "no hash")
    assert store.recount()
    assert counts(store) == {"queued call back": 2}


def test_an_empty_store_has_no_counts(store: Store) -> None:
    store.redis.hset(f"{P}status_counts", "failed call back", 7)
    assert store.recount()
    assert counts(store) == {}
    assert store.recount()


@pytest.fixture
def large() -> Iterator[Valkey]:
    """A Valkey of this test's own: what others do must not be in its record of latency."""
    with valkey_in_memory() as server:
        server.empty()
        yield server


def longest_ms(store: Store, recount: Callable[[], None]) -> int:
    """Recount all; return for how long one command held Redis, by its own record of latency."""
    store.redis.execute_command("LATENCY", "RESET")
    recount()
    latest = store.redis.execute_command("LATENCY", "LATEST")
    return max(ms for event, _, _, ms, *_ in latest if event == "command")


def all_statuses(store: Store) -> None:
    store.redis.delete(f"{P}status_counts")
    assert len(list(pages(store))) == 400


def whole_campaign(store: Store) -> None:
    store.redis.hset(f"{P}campaign_counts:b-1", "failed of no call", 7)
    took = 1
    while not store.recount_campaign("b-1"):
        took += 1
    assert took == 201  # the last page is empty


@pytest.mark.bounds
@pytest.mark.parametrize(
    ("recount", "of"), [(all_statuses, "status_counts"), (whole_campaign, "campaign_counts:b-1")]
)
def test_200_000_hold_redis_for_a_moment_at_a_time(
    large: Valkey, recount: Callable[[Store], None], of: str
) -> None:
    with connect(large.url, timeout_s=60) as client:
        store = Store(client)
        client.config_set("auto-aof-rewrite-percentage", 0)  # its fork takes the processor, too
        fill(store, 200_000)
        client.config_set("latency-monitor-threshold", 1)
        # Where another program took the processor meanwhile, the next run shows it.
        assert 0 < min(longest_ms(store, partial(recount, store)) for _ in range(3)) <= LONGEST_MS
        assert counts(store, of) == by_record(store)
