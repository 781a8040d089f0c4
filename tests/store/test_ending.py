"""Nothing that a test leaves reaches a later one."""

import threading

from redis.connection import Connection
from support.cluster import not_over_cluster
from support.ending import ended

from bridge.metrics import FLUSHER, Meter
from store import Store, connect

pytestmark = not_over_cluster  # whose client has no pool of its own


def test_connections_and_timers_of_a_block_end_with_it(redis_url: str) -> None:
    with ended():
        store = Store(connect(redis_url))
        assert store.redis.ping()
        with Meter(store, every_s=600).measuring() as measures:
            measures.webhook(None, 202, 0.1)
        [timer] = [one for one in threading.enumerate() if one.name == FLUSHER]
        [open_one] = store.redis.connection_pool._available_connections
        assert isinstance(open_one, Connection)
        assert open_one.is_connected
    assert not open_one.is_connected
    assert not timer.is_alive()
