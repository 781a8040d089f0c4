"""Requests that wait until a delivery changes: a few at a time, each for a limited time."""

import threading
import time
from collections.abc import Callable

from schemas.delivery import Delivery
from store import Store

# A request that waits uses one of gunicorn's 8 threads, and webhooks need the others.
MOST_WAITING = 4
LOOK_EVERY_S = 0.25

_is_over = False


def end_all() -> None:
    """End all waiting in this process: each such request is answered within LOOK_EVERY_S.

    For signal handlers, and so not a threading.Event. Heroku and gunicorn both ask each process to
    stop; a second signal that arrives while the first has the Event's lock would wait forever.
    """
    global _is_over
    _is_over = True


class LongPoll:
    """The places of this process for requests that wait."""

    def __init__(self, store: Store, *, most: int) -> None:
        self._store = store
        self._places = threading.BoundedSemaphore(most)

    def wait_for(
        self, delivery_id: str, is_news: Callable[[Delivery], bool], *, wait_s: float
    ) -> tuple[bool, Delivery | None]:
        """Wait until is_news() is true of a delivery, for at most wait_s, or until end_all().

        Returns whether there was a place to wait in, and the delivery as it is then; None: it is
        gone (or there was no place). Waiting costs Redis one small read each LOOK_EVERY_S.
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
                # Not the copy from above: some changes, such as a late attempt's record, do not
                # change the token.
                return self._store.delivery(delivery_id)
            time.sleep(min(LOOK_EVERY_S, left_s))
