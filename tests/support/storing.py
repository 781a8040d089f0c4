"""Arranging what the store holds, without a web process or a drain."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from schemas.delivery import Status
from schemas.event import Event
from schemas.records import Accepted, Move, NewDelivery
from store import Store

NOW = datetime(2026, 1, 1, 7, 0, tzinfo=UTC)
LEASE_S = 60.0
_numbers = count(1)


def an_event(event_id: str | None = None, **more: Any) -> Event:
    event_id = event_id or f"event{next(_numbers)}"
    made: dict[str, Any] = {
        "id": event_id,
        "source": "website",
        "source_event_id": f"theirs-{event_id}",
        "fingerprint": event_id,
        "remember_s": 3600,
        "type": "form.submitted",
        "subject": None,
        "time": NOW,
        "received_at": NOW,
        "data": {"phone": "+919876543210"},
        **more,
    }
    return Event(**made)


def a_delivery(delivery_id: str, **more: Any) -> NewDelivery:
    made: dict[str, Any] = {"route": "call back", "to": "call", "wait_s": 0, **more}
    return NewDelivery(id=delivery_id, **made)


def accept(store: Store, *events: tuple[Event, list[NewDelivery]]) -> tuple[bool, list[Accepted]]:
    return store.accept(list(events), routes="digest")


def put(store: Store, *ids: str, wait_s: int = 0, **of_event: Any) -> None:
    """Store a delivery under each id, each of an event of its own."""
    accept(store, *((an_event(**of_event), [a_delivery(one, wait_s=wait_s)]) for one in ids))


def claim(store: Store, limit: int = 100, lease_s: float = LEASE_S) -> dict[str, int]:
    """Claim what is due; return the lease number by id."""
    return {
        one.delivery.id: one.delivery.lease for one in store.claim(limit, lease_s=lease_s).claims
    }


def to_sending(delivery_id: str, lease: int, **more: Any) -> Move:
    return Move(id=delivery_id, to=Status.SENDING, lease=lease, attempt=(1, {"number": 1}), **more)


def status(store: Store, delivery_id: str) -> str:
    found = store.delivery(delivery_id)
    assert found is not None
    return found.status
