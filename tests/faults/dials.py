"""What CallKaro posts about the calls that it accepted: how each dial ended, redials too."""

import heapq
import http.client
import itertools
import queue
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from faults.load import RESEND_AFTER_S
from support import Bridge

from simulator import Call, Simulator
from simulator.outcomes import INDIA

THREADS = 4
TOKEN = "a-callback-token"
LONGEST_GAP_S = 3.0  # between two dials of a call
OUT_OF_ORDER = 0.15  # of the calls that are dialled again: a redial is told before the dial
LOOK_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Dial:
    """A dial of a call, whose end the bridge was told of and answered for with a 200.

    try_count: 0 is the first one. at: when it ended, in whole seconds, as CallKaro tells it.
    """

    call_sid: str
    delivery_id: str
    try_count: int
    is_last: bool
    at: datetime

    def overrides(self) -> dict[str, Any]:
        """Return what `call_ended` says: only the last dial reached the person."""
        reason = "CLIENT_INITIATED" if self.is_last else "USER_UNRESPONSIVE"
        return {
            "try_count": self.try_count,
            "time": f"{self.at:%Y-%m-%d %H:%M:%S}",
            "hangup_reason": reason,
            "next_call_scheduled": not self.is_last,
        }


class Dials:
    """Ends every accepted call, after one to three dials, and tells the bridge of each."""

    def __init__(self, bridge: Bridge, simulator: Simulator, dice: random.Random) -> None:
        self.told: list[Dial] = []
        self.wrong: list[str] = []  # answers that CallKaro could do nothing with
        self._url = f"{bridge.url}/callbacks/callkaro/{TOKEN}"
        self._simulator = simulator
        self._dice = dice
        self._seen = self._begun = 0  # calls, and dials of them
        self._numbers = itertools.count()
        self._ringing: list[tuple[float, int, Call, int, bool]] = []  # a heap, by their end
        self._to_post: queue.SimpleQueue[Dial | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._dial_all, name="dials", daemon=True),
            *(
                threading.Thread(target=self._post_all, name=f"dial-{number}", daemon=True)
                for number in range(THREADS)
            ),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many calls were not dialled yet, and how many dials the bridge does not know yet."""
        with self._lock:
            calls = int(self._simulator.state.totals()["calls"]) - self._seen
            return calls + self._begun - len(self.told)

    def by_delivery(self) -> dict[str, dict[str, list[Dial]]]:
        """Return the dials that were told, by delivery and call."""
        found: defaultdict[str, dict[str, list[Dial]]] = defaultdict(dict)
        for dial in list(self.told):
            found[dial.delivery_id].setdefault(dial.call_sid, []).append(dial)
        return found

    def counts(self) -> Counter[str]:
        """Return how many dials were told, first ones and redials."""
        return Counter("redials" if dial.try_count else "dials" for dial in list(self.told))

    def close(self) -> None:
        """Stop, whatever is left."""
        self._stopped.set()
        for _ in self._threads:
            self._to_post.put(None)
        for thread in self._threads:
            thread.join(25)

    def _dial_all(self) -> None:
        while not self._stopped.wait(LOOK_S):
            with self._lock:
                calls = self._simulator.state.calls[self._seen :]
                for call in calls:
                    self._dial(call)
                self._seen += len(calls)
            while self._ringing and self._ringing[0][0] <= time.monotonic():
                _, _, call, try_count, is_last = heapq.heappop(self._ringing)
                self._to_post.put(_ended(call, try_count, is_last=is_last))

    def _dial(self, call: Call) -> None:
        """Let the dice say how often a call is dialled, and when each dial ends."""
        dials = self._dice.choices((1, 2, 3), weights=(60, 25, 15))[0]
        ends = [0.0, *(self._dice.uniform(0, LONGEST_GAP_S) for _ in range(dials - 1))]
        ends = list(itertools.accumulate(ends))
        if self._dice.random() < OUT_OF_ORDER:
            ends.reverse()
        for try_count, end_s in enumerate(ends):
            ends_at, is_last = time.monotonic() + end_s, try_count == dials - 1
            ringing = (ends_at, next(self._numbers), call, try_count, is_last)
            heapq.heappush(self._ringing, ringing)
        self._begun += dials

    def _post_all(self) -> None:
        while (dial := self._to_post.get()) is not None:
            while not self._stopped.is_set() and not self._is_kept(dial):
                self._stopped.wait(RESEND_AFTER_S)

    def _is_kept(self, dial: Dial) -> bool:
        """Post a dial, and say whether the bridge answered for it.

        CallKaro documents no retry; here it has one, so that what is not told is ours alone.
        """
        try:
            status = self._simulator.end_call(self._url, call_sid=dial.call_sid, **dial.overrides())
        except (OSError, http.client.HTTPException):
            return False
        if status == 200:
            with self._lock:
                self.told.append(dial)
            return True
        if status < 500:
            self.wrong.append(f"an outcome was answered {status}")
        return False


def _ended(call: Call, try_count: int, *, is_last: bool) -> Dial:
    return Dial(
        call_sid=call.call_sid,
        delivery_id=str(call.delivery_id),
        try_count=try_count,
        is_last=is_last,
        at=datetime.now(INDIA).replace(microsecond=0),
    )
