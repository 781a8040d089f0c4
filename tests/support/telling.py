"""Dials that end, and the write-backs that tell of them."""

from datetime import UTC, datetime
from typing import Any

from schemas.delivery import Delivery
from schemas.outcome import Outcome, Result
from store import Store
from store.base import P


class _Clock:
    """Tells the time, each time a later millisecond: calls that end in the same have no order."""

    def __init__(self) -> None:
        self._last_ms = 0

    def now(self) -> datetime:
        while (now := datetime.now(UTC)).timestamp() * 1000 < self._last_ms + 1:
            pass  # for a millisecond at most
        self._last_ms = int(now.timestamp() * 1000)
        return now


_clock = _Clock()


def ends(store: Store, call: Delivery, try_count: int = 0, **more: Any) -> Delivery:
    """Let a dial of a call end, and return the write-back that tells of it."""
    fields: dict[str, Any] = {
        "result": Result.CONNECTED,
        "is_final": True,
        "ended_at": _clock.now(),
        **more,
    }
    sid = call.call_sid
    outcome = Outcome(call_sid=sid, delivery_id=call.id, try_count=try_count, **fields)
    store.keep_outcome(outcome)
    return store.write_backs_of(call.id)[-1]


def ends_at_a_known_time(store: Store, call: Delivery, try_count: int = 0, **more: Any) -> Delivery:
    """Let a dial of 90 s end, and return the write-back that tells of it."""
    ended_at = datetime(2026, 11, 28, 10, 0, 30, tzinfo=UTC)
    return ends(store, call, try_count, **{"ended_at": ended_at, "duration_s": 90, **more})


def due_now(store: Store, *write_backs: Delivery) -> None:
    """Let the time come at which waiting write-backs are tried again."""
    for one in write_backs:
        assert store.redis.zadd(f"{P}due:write_back", {one.id: 1}, xx=True, ch=True) == 1
