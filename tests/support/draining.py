"""Running drains, and reading what came of it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from schemas.delivery import Delivery
from schemas.settings import Settings
from store import Store
from store.base import P
from support import LONGEST_S, Web, end_lease, until

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]
CALLS, CAMPAIGNS = "/call/outbound", "/call/campaign"
HUBSPOT_READ = "/crm/objects/2026-03/contacts/batch/read"


def found(store: Store, delivery_id: str) -> Delivery:
    delivery = store.delivery(delivery_id)
    assert delivery is not None
    return delivery


def repair(store: Store, delivery_id: str) -> Delivery:
    """Let the dead worker's lease run out, sweep, and return what the delivery is then."""
    if store.redis.zscore(f"{P}leased", delivery_id) is not None:
        end_lease(store, delivery_id)
    store.sweep()
    assert store.redis.zcard(f"{P}leased") == 0
    return found(store, delivery_id)


def counts(store: Store) -> dict[str, int]:
    return {status: count for status, count in store.counts().items() if count}


def drain_at_once(run_drain: RunDrain, settings: Settings, number: int) -> list[Any]:
    """Run drains none of which claims anything before all of them are there to do so."""
    all_there = threading.Barrier(number)

    def drain(_: int) -> Any:
        looks = iter([all_there.wait])

        def should_stop() -> bool:
            for wait in looks:  # at the first look alone
                wait(LONGEST_S)
            return False

        return run_drain(settings, should_stop=should_stop)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(drain, range(number)))


def settle(run_drain: RunDrain, settings: Settings, store: Store) -> None:
    """Run drains until nothing waits any more."""

    def is_over() -> bool:
        run_drain(settings, jitter=0)
        return not {"queued", "retrying", "sending"} & counts(store).keys()

    until(is_over, what="the end of all deliveries")
