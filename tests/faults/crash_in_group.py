"""Stores an event from each of 8 threads, and kills itself once a group of them is stored.

`python crash_in_group.py`, with REDIS_URL. It says the id of each event that was accepted.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from faults.crash_at import crash_after
from support import until
from support.storing import a_delivery, accept, an_event

from store import Store, connect

THREADS = 8


def event_ids() -> list[str]:
    """Return the ids of all events that this process stores."""
    return [f"e{number}" for number in range(THREADS)]


def is_group(args: tuple[Any, ...], answer: object) -> bool:
    """Say whether more than one request was stored in one step."""
    _, group = args
    return len(group) > 1


def main() -> None:
    """Hold the first request until all others wait behind it."""
    store = Store(connect(os.environ["REDIS_URL"], timeout_s=60))
    run = store._run_kept

    def held(*args: Any) -> Any:
        until(lambda: len(store._storing._queue) == THREADS - 1, what="the group")
        store._run_kept = run  # type: ignore[method-assign]
        return run(*args)

    def send(event_id: str) -> None:
        accept(store, (an_event(event_id), [a_delivery(f"d-{event_id}")]))
        os.write(1, f"{event_id}\n".encode())

    store.check_room()
    store._run_kept = held  # type: ignore[method-assign]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(send, event_ids()))


if __name__ == "__main__":
    crash_after(Store, "_store_together", is_group)
    main()
