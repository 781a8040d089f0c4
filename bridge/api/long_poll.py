"""Waiting until a delivery changes: a few requests at a time, each for a bounded time."""

import threading
import time
from collections.abc import Callable

from schemas.delivery import Delivery
from store import Store

# A request that waits holds one of gunicorn's 8 threads, and webhooks need theirs.
MOST_WAITING = 4
LOOK_EVERY_S = 0.25

_is_over = False


def end_all() -> None:
    """Let nobody wait in this process any more: who does is answered within LOOK_EVERY_S.

    For signal handlers. So no Event: its lock would be waited for forever by a second signal that
    comes while the first one holds it, and Heroku and gunicorn both ask each process to stop.
    """
    global _is_over
    _is_over = True


class LongPoll:
    """The places of this process for requests that wait."""

    def __init__(self, store: Store, *, most: int) -> None:
        self._store = store
        self._places = threading.BoundedSemaphore(most)

    def until(
        self, delivery_id: str, is_news: Callable[[Delivery], bool], *, wait_s: float
    ) -> tuple[bool, Delivery | None]:
        """Wait until a delivery is news, for wait_s at the most, or until end_all().

        Returns whether there was a place to wait in, and the delivery as it then stands; None: it
        is gone (or there was no place). It costs Redis one small read each LOOK_EVERY_S.
        """
        if not self._places.acquire(blocking=False):
            return False, None
        try:
            return True, self._watch(delivery_id, is_news, time.monotonic() + wait_s)
        finally:
            self._places.release()

    def _watch(
        self, delivery_id: str, is_news: Callable[[Delivery], bool], ends: float
    ) -> Delivery | None:
        seen: tuple[str | None, ...] = ()
        while True:
            change_token = self._store.change_token(delivery_id)
            if change_token != seen:
                seen, found = change_token, self._store.delivery(delivery_id)
                if found is None or is_news(found):
                    return found
            left_s = ends - time.monotonic()
            if left_s <= 0 or _is_over:
                # What no pulse tells, such as a late attempt's record, is to be told now.
                return self._store.delivery(delivery_id)
            time.sleep(min(LOOK_EVERY_S, left_s))
