"""The end of what a test leaves: connections to Redis, and timers that would use one later.

Left to the collector of garbage, an open socket is found during any later test, which then fails.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from redis.connection import ConnectionPool

from bridge.metrics import FLUSHER


@contextmanager
def ended() -> Iterator[None]:
    """Close, at the end of the block, each connection to Redis of a pool that was made in it.

    What web processes have measured and not written yet is forgotten: it would reach the next
    test's Redis.
    """
    pools: list[ConnectionPool] = []
    make = ConnectionPool.__init__

    def noted(pool: ConnectionPool, *given: Any, **named: Any) -> None:
        make(pool, *given, **named)
        pools.append(pool)

    try:
        with mock.patch.object(ConnectionPool, "__init__", noted):
            yield
    finally:
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer) and thread.name == FLUSHER:
                thread.cancel()
                thread.join()
        for pool in pools:
            pool.disconnect()
