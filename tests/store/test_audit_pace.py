"""A round of the audit ends soon, and costs little where there is nothing to repair."""

import pytest
from support.storing import put

from schemas.records import Repaired
from store import Store
from store.base import P
from workers.ticker import AUDIT_S

MANY = 5000
DAY_S = 86_400
WRITES = ("zadd", "zrem", "hset", "hdel", "hincrby", "sadd", "srem")


def fill(store: Store, number: int) -> list[str]:
    ids = [f"d{n}" for n in range(number)]
    for start in range(0, number, 500):
        put(store, *ids[start : start + 500])
    return ids


def round_of(store: Store) -> tuple[int, int]:
    """Go once round all deliveries; return how many pages that took, and what was indexed again."""
    place, found = store.audit((0, 0), lease_s=60)
    pages, indexed = 1, found.indexed
    while place != (0, 0):
        place, found = store.audit(place, lease_s=60)
        pages, indexed = pages + 1, indexed + found.indexed
        assert pages < MANY, "the round does not end"
    return pages, indexed


def test_a_round_ends_and_one_of_a_million_ends_within_a_day(store: Store) -> None:
    fill(store, MANY)
    round_of(store)  # the first one also indexes
    store.redis.config_resetstat()

    pages, indexed = round_of(store)

    # A tick audits at least one page.
    assert pages * (1_000_000 / MANY) * AUDIT_S < DAY_S
    stats = store.redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}
    assert indexed == 0
    assert not calls.keys() & set(WRITES), "it looks before it writes"
    assert sum(calls.values()) < 5 * MANY


@pytest.mark.parametrize("number", [3, 700])  # in one page, or several
def test_each_delivery_is_audited_once_in_a_round(store: Store, number: int) -> None:
    ids = fill(store, number)
    round_of(store)
    unlisted = ids[::3]
    store.redis.zrem(f"{P}deliveries", *unlisted)
    store.redis.zrem(f"{P}due", *ids)
    woken, place, looked = 0, None, 0
    while place != (0, 0):
        place, found = store.audit(place or (0, 0), lease_s=60)
        woken, looked = woken + found.woken, looked + found.indexed
    assert woken == number
    assert looked == len(unlisted)
    assert store.redis.zcard(f"{P}deliveries") == store.redis.zcard(f"{P}due") == number


def test_a_write_back_that_an_index_misses_is_put_into_it(store: Store) -> None:
    store.note_write_back_routes({"call back": ["skipped"]})
    fill(store, 3)
    [parent, *_] = store.redis.zrange(f"{P}deliveries", 0, 0)
    made = {"status": "queued", "order": 7, "of": parent}
    store.redis.hset(f"{P}write_back:wb-1", mapping=made)
    store.redis.hset(f"{P}delivery:{parent}", "write_backs", "wb-1\n")
    store.redis.zadd(f"{P}write_backs:status:failed", {"wb-1": 7})

    _, found = store.audit((0, 0), lease_s=60)

    assert found == Repaired(woken=1, indexed=1, forgotten=0)
    assert store.redis.zscore(f"{P}write_backs:status:queued", "wb-1") == 7
    assert store.redis.zscore(f"{P}write_backs:status:failed", "wb-1") is None
    assert store.redis.zscore(f"{P}due:write_back", "wb-1")
    assert store.audit((0, 0), lease_s=60)[1] == Repaired()
