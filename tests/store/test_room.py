"""Many threads ask whether Redis has room, and one of them looks."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import LONGEST_S
from support.cluster import not_over_cluster

from schemas.errors import StoreUnavailable
from store import Store, connect

THREADS = 8


def looks(store: Store) -> int:
    stats = store.redis.info("commandstats")
    # Before Redis 7, all CONFIG commands have one name there.
    return sum(int(one["calls"]) for name, one in stats.items() if "config" in name)


def check_together(store: Store) -> list[object]:
    """Check the room in many threads at once. Returns the error of each; None: it has room."""
    barrier = threading.Barrier(THREADS)

    def check(_: int) -> object:
        barrier.wait(LONGEST_S)
        try:
            store.check_room()
        except StoreUnavailable as error:
            return error
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(check, range(THREADS)))


@pytest.mark.parametrize("is_first", [True, False])
def test_one_of_many_threads_looks(store: Store, is_first: bool) -> None:
    store.check_room()
    before = looks(store)
    store._room_checked = 0.0 if is_first else 1e-9  # long ago

    assert check_together(store) == [None] * THREADS

    assert looks(store) == before + 1


def test_a_full_redis_is_told_to_each_thread_from_the_first_look_on(store: Store) -> None:
    store.redis.config_set("maxmemory", 1)
    errors = check_together(store)
    store.redis.config_set("maxmemory", 0)
    assert all("85 %" in str(error) for error in errors)


@not_over_cluster
def test_who_waits_for_the_first_look_waits_for_one_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and says nothing
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        with connect(url, timeout_s=0.2) as client:
            errors = check_together(Store(client))
    assert sorted("a moment ago" in str(error) for error in errors) == [False] + [True] * 7
