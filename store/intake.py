"""Taking in: events with their deliveries, replays of them, and outcomes."""

from collections.abc import Mapping, Sequence

import orjson

from schemas.event import Event, EventStatus
from schemas.outcome import Outcome, Result, as_record
from schemas.records import Accepted, NewDelivery, SideEffect
from store.base import Base, P
from store.records import accepted, described, event_record


class IntakeStore(Base):
    """What the web process writes."""

    def accept(
        self,
        events: Sequence[tuple[Event, Sequence[NewDelivery]]],
        *,
        routes: str,
        side_effects: Mapping[str, SideEffect | None] | None = None,
    ) -> tuple[bool, list[Accepted]]:
        """Store events with their deliveries, all or none, before anyone is told so.

        wishes: what events want besides, by event id.

        Returns whether the bell was rung by this (the caller then asks for a drain), and what
        became of each event, in order.
        """
        if not events:
            return False, []
        self.check_room()
        wanted = side_effects or {}
        items = [described(event, deliveries, wanted.get(event.id)) for event, deliveries in events]
        records = [event_record(event) for event, _ in events]
        woke, *answers = self._run("accept", orjson.dumps(items), routes, *records)
        return bool(woke), [
            accepted(event, deliveries, answer, one["status"])
            for (event, deliveries), answer, one in zip(events, answers, items, strict=True)
        ]

    def replay(
        self,
        event: Event,
        deliveries: Sequence[NewDelivery],
        *,
        routes: str,
        is_read_anew: bool,
    ) -> tuple[bool, EventStatus, tuple[str, ...]] | None:
        """Give a stored event the deliveries that it never had; those it had stay as they are.

        is_read_anew: its record is replaced by what it reads now. Returns whether the bell was
        rung, the event's status and the ids of what is new; None if there is no such event.
        """
        described_event = described(event, deliveries)
        record = event_record(event) if is_read_anew else ""
        answer = self._run("replay", event.id, orjson.dumps(described_event), routes, record)
        if not answer:
            return None
        woke, status, *new = answer
        return bool(woke), EventStatus(status), tuple(new)

    def keep_outcome(self, outcome: Outcome) -> tuple[str, str | None]:
        """Keep what CallKaro said of a call: with its delivery, else for 30 days.

        Returns what became of it and the delivery's id: `stored`, `duplicate` (known already),
        `full` (too many), or `kept` without a delivery.
        """
        told = {
            "sid": outcome.call_sid or "",
            "try": str(outcome.try_count),
            "record": orjson.dumps(as_record(outcome)).decode(),
            "cancelled": outcome.proves_cancellation,
            "not_dialled": outcome.is_final and outcome.result is Result.NOT_DIALLED,
            "message": "CallKaro dropped the scheduled call."
            if outcome.proves_cancellation
            else "CallKaro told how the call ended, so it had accepted it.",
        }
        became, delivery_id = self._run("outcome", outcome.delivery_id or "", orjson.dumps(told))
        return str(became), delivery_id or None

    def set_wakeup(self) -> bool:
        """Set the bell; False if it was set already, that is, a drain has just been asked for."""
        with self._reached():
            return bool(self.redis.set(f"{P}wakeup", "1", nx=True, px=1000))

    def clear_wakeup(self) -> None:
        """Take the bell down. A drain does this first and claims after, so no ring is lost."""
        with self._reached():
            self.redis.delete(f"{P}wakeup")
