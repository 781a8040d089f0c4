"""Dials that end, and the write-backs that tell of them."""

from datetime import UTC, datetime
from typing import Any

from schemas.crm_api import Told
from schemas.delivery import Delivery
from schemas.outcome import Outcome, Result
from store import Store


def ends(store: Store, call: Delivery, try_count: int = 0, **more: Any) -> Delivery:
    """Let a dial of a call end, and return the write-back that tells of it."""
    fields: dict[str, Any] = {
        "result": Result.CONNECTED,
        "is_final": True,
        "ended_at": datetime.now(UTC),
        **more,
    }
    sid = call.call_sid
    outcome = Outcome(call_sid=sid, delivery_id=call.id, try_count=try_count, **fields)
    store.keep_outcome(outcome)
    return store.write_backs_of(call.id)[-1]


def due_now(store: Store, *write_backs: Delivery) -> None:
    """Let the time come at which waiting write-backs are tried again."""
    for one in write_backs:
        assert store.redis.zadd("bridge:due:write_back", {one.id: 1}, xx=True, ch=True) == 1


def told(**more: Any) -> Told:
    """Return what a CRM is told of a call of 61 s."""
    fields: dict[str, Any] = {
        "id": "w1",
        "key": "bridge-1",
        "moment": "outcome",
        "at": "2026-11-20T06:00:00.000Z",
        "subject": "101",
        "subject_type": "contact",
        "delivery": {"number": "+919876500001", "call_sid": "CA1"},
        "outcome": {"result": "connected", "talked_s": 61},
        "fields": {},
        **more,
    }
    return Told(**fields)
