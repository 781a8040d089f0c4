"""Standby: a drain that has nothing to do waits for the bell, without asking Redis.

A new work-horse for each webhook costs 20 to 30 ms; one that stands by costs a ring. While it waits
it holds no delivery, and only memory.
"""

import time

from schemas.errors import StoreUnavailable
from store import Store
from store.bell import Bell, Ear, readable
from store.queue import Wakeup
from workers.shutdown import ShutdownSignal

LOOK_S = 0.25  # between two looks whether the drain must stop; they ask the system, not Redis


class Standby:
    """Lets one drain wait for work."""

    def __init__(self, store: Store, wakeup: Wakeup, should_stop: ShutdownSignal) -> None:
        self._store = store
        self._wakeup = wakeup
        self._should_stop = should_stop
        self._bell = Bell(wakeup.queue.connection, Ear.STANDBY)
        self._was_open = False

    @property
    def is_open(self) -> bool:
        """Say whether the bell is heard."""
        return self._bell.is_open

    def open(self) -> bool:
        """Begin to hear the bell; the drain then looks once more before it waits.

        False: it can't be heard, so the drain ends and the next one is enqueued.
        """
        self._was_open = self._bell.open()
        return self._was_open

    def wait(self, seconds: float) -> bool:
        """Wait until the bell rings. Returns whether it did, and the drain may work.

        False: the time is over, the drain must stop, `rq suspend` stopped the workers, or Redis is
        away.
        """
        until = time.monotonic() + seconds
        while not self._should_stop() and (left_s := until - time.monotonic()) > 0:
            ready = readable([self._bell, *self._should_stop.waited_for()], min(left_s, LOOK_S))
            if self._bell in ready and self._is_rung():
                return True
            if not self._bell.is_open:
                return False
        return False

    def _is_rung(self) -> bool:
        if not self._bell.was_rung():
            return False
        try:
            may_work = self._wakeup.take_up()
        except StoreUnavailable:
            may_work = False
        if not may_work:
            self._bell.close()
        return may_work

    def end(self, *, has_successor: bool) -> None:
        """Hear the bell no longer. Ask for the next drain if something is due, or if has_successor.

        What was rung for while this drain ended is due.
        """
        if not self._was_open:
            return
        self._bell.close()
        try:
            due_s = self._store.next_due_s()
            if has_successor or (due_s is not None and due_s <= 0):
                self._wakeup.request_drain()
        except StoreUnavailable:
            return  # the ticker asks
