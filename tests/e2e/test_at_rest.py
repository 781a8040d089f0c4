"""At rest, a whole bridge asks Redis little: a hosted Redis counts commands."""

import time
from collections.abc import Callable

import pytest
from support import Bridge

from store import Store
from workers.ticker import BUSY_S

HOUR_S = 3600.0
WATCHED_S = 60.0
MOST_AN_HOUR = 4000.0  # the goal is 2,000; the audit and RQ come in bursts


@pytest.mark.bounds
def test_an_empty_store_at_rest_costs_few_commands(
    start_bridge: Callable[..., Bridge], store: Store
) -> None:
    def commands() -> int:
        return sum(int(one["calls"]) for one in store.redis.info("commandstats").values())

    start_bridge()
    time.sleep(BUSY_S + 10)
    before = commands()
    time.sleep(WATCHED_S)
    assert (commands() - before) * HOUR_S / WATCHED_S < MOST_AN_HOUR
