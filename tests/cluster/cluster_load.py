"""Leads that are posted without a pause, as CRMs do it, and what became of them."""

import threading
from collections.abc import Iterator
from itertools import count

from faults.harm import end_leases_of_calls
from faults.load import THREADS, Crms, Webhook
from faults.report import Broken, judge
from support import Bridge, lead, until

from schemas.delivery import Status
from schemas.errors import StoreUnavailable
from simulator import State
from store import Store

AHEAD = 2 * THREADS  # webhooks that wait to be posted
WAITING = (Status.QUEUED, Status.HELD, Status.SENDING, Status.RETRYING)


class Load:
    """CRMs that post leads one after the other, each to another number, until they are stopped."""

    def __init__(self, bridge: Bridge, state: State, store: Store) -> None:
        self.crms = Crms(bridge)
        self._state = state
        self._store = store
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="leads", daemon=True)
        self._thread.start()
        self.let_pass(AHEAD)

    @property
    def acknowledged(self) -> int:
        """How many events the bridge has answered for with a 202."""
        return len(self.crms.acknowledged)

    @property
    def calls(self) -> int:
        """How many calls CallKaro has accepted."""
        return len(self._state.calls)

    def let_pass(self, events: int) -> None:
        """Wait until so many more events were acknowledged."""
        wanted = self.acknowledged + events
        until(lambda: self.acknowledged >= wanted, what=f"{events} more events")

    def let_fail(self, requests: int) -> None:
        """Wait until so many more requests were answered with a 503."""
        wanted = self.crms.failures.total() + requests
        until(lambda: self.crms.failures.total() >= wanted, what=f"{requests} more refusals")

    def settle(self) -> Broken:
        """Post no more, wait for the end of every delivery, and return what is broken."""
        self._stopped.set()
        self._thread.join()
        until(lambda: not self.crms.waiting, what="every webhook's 202")
        until(self._has_settled, what="the end of every delivery")
        broken, _ = judge(self._store, self._state, self.crms.acknowledged, self.crms.wrong, None)
        return broken

    def close(self) -> None:
        """Stop posting, whatever is left."""
        self._stopped.set()
        self._thread.join()
        self.crms.close()

    def _go_on(self) -> None:
        for webhook in _leads():
            while self.crms.waiting >= AHEAD:
                if self._stopped.wait(0.01):
                    return
            self.crms.post([webhook])

    def _has_settled(self) -> bool:
        """Tell whether nothing is on its way. Leases are ended, to spare a minute.

        They are ended only where nothing is in flight: then most are of the dead.
        """
        try:
            counts = self._store.counts()
            if counts[Status.SENDING] and not self._state.totals()["in_flight"]:
                end_leases_of_calls(self._store)
        except StoreUnavailable:
            return False
        return not any(counts[status] for status in WAITING)


def _leads() -> Iterator[Webhook]:
    for number in count(1):
        yield Webhook(source="website", body=lead(f"+9198{number:08}"))
