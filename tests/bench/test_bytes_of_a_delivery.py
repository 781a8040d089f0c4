"""The memory that a delivery takes in Redis, with all that leads to it."""

import pytest

from bench.many import Filler
from store import Store

BEFORE = 3630  # bytes, of the same deliveries, before search, outcomes in lists and figures
MOST = 1.25 * BEFORE


@pytest.mark.bounds
def test_a_delivery_takes_a_quarter_more_memory_than_before_search_and_figures(
    store: Store,
) -> None:
    filler = Filler(store)
    before = store.redis.info("memory")["used_memory"]
    filler.fill(20_000)  # of fewer, the keys of the search index would count for more
    assert (store.redis.info("memory")["used_memory"] - before) / 20_000 < MOST
    assert store.redis.object("encoding", "bridge:find:aaa") in {None, "listpack"}
