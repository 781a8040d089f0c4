"""What a worker at rest hears."""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from store.bell import Bell, Ear
from store.queue import connect_queue

HEARD_S = 1.0


@contextmanager
def at_rest(redis_url: str) -> Iterator[Callable[[], bool]]:
    """Rest, as a ticker does. Yields what says whether the bell rang since it was asked last."""
    with connect_queue(redis_url) as client:
        bell = Bell(client, Ear.REST)
        assert bell.open()

        def is_rung() -> bool:
            return bool(select.select([bell], [], [], HEARD_S)[0]) and bell.was_rung()

        yield is_rung
        bell.close()
