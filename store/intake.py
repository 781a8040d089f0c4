"""Intake: events with their deliveries, replays of events, and outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import Any

import orjson
import redis

from schemas.errors import TooLarge
from schemas.event import Event, EventStatus
from schemas.outcome import Outcome, Result, stored_record
from schemas.records import Accepted, NewDelivery, SideEffect
from store.base import P
from store.group import GroupCommit
from store.migration import MigrationStore
from store.records import accepted, described, event_record
from store.search import SearchStore

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of records that are stored in one step. A body has a fourth of that at most."""

MOST_REQUESTS = 64  # that are stored in one step
MOST_EVENTS = 200  # of several requests, in one step: Redis does nothing else meanwhile

KEYS_AT_ONCE = 500  # that one round trip to Redis asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class _Storing:
    """The events of one request, ready for accept.lua; items: JSON, without the brackets."""

    items: bytes = field(repr=False)  # with people's names and numbers
    routes: str
    records: Sequence[bytes] = field(repr=False)
    size: int  # bytes of the records


_Answers = tuple[bool, list[Any]]  # whether to enqueue a drain; accept.lua's answer for each event


class IntakeStore(MigrationStore, SearchStore):
    """What the web process writes."""

    def accept(
        self,
        events: Sequence[tuple[Event, Sequence[NewDelivery]]],
        *,
        routes: str,
        side_effects: Mapping[str, SideEffect | None] | None = None,
    ) -> tuple[bool, list[Accepted]]:
        """Store events with their deliveries, each whole, before the sender gets its answer.

        What threads ask for at the same time is stored in one step: see store/group.py.

        side_effects: what an event does besides deliveries, by event id.

        Returns whether the caller must enqueue a drain, and what became of each event, in order.

        Raises TooLarge: the records have more than MOST_BYTES in all. Raises Unconfirmed: they are
        stored, and too few replicas confirmed it in time. Raises StoreUnavailable, also if only
        one of the events can't be stored: sent again, those that are stored are duplicates.
        """
        if not events:
            return False, []
        self.check_room()
        wanted = side_effects or {}
        items = [
            described(event, deliveries, self.terms_of, wanted.get(event.id))
            for event, deliveries in events
        ]
        records = [event_record(event) for event, _ in events]
        size = sum(map(len, records))
        if size > MOST_BYTES:
            raise TooLarge("The items are too large to store at once. Send them in parts.")
        storing = _Storing(
            items=orjson.dumps(items)[1:-1], routes=routes, records=records, size=size
        )
        woke, answers = self._storing.run(storing)
        self._raise_refusal(answers)
        return woke, [
            accepted(event, deliveries, answer, one["status"])
            for (event, deliveries), answer, one in zip(events, answers, items, strict=True)
        ]

    @cached_property
    def _storing(self) -> GroupCommit[_Storing, _Answers]:
        # Two threads may make one each at first. Both work; the second is kept.
        return GroupCommit(self._store_together, fits=_fitting)

    def _store_together(self, group: Sequence[_Storing]) -> list[_Answers]:
        """Store the events of several requests in one step. Returns each request's answers."""
        self._check_away()  # those who waited for a time-out of others wait for none of their own
        items = b"[%b]" % b",".join(one.items for one in group)
        records = [record for one in group for record in one.records]
        woke, *answers = self._run_kept("accept", items, group[0].routes, *records)
        rest = iter(answers)
        parts = [list(islice(rest, len(one.records))) for one in group]
        # One enqueues the drain; a request that failed would not.
        waker = next((part for part in parts if not _is_refused(part)), None) if woke else None
        return [(part is waker, part) for part in parts]

    def are_known(self, events: Sequence[Event]) -> list[bool]:
        """Say of each event whether accept() would answer that it is a duplicate."""
        known: list[bool] = []
        for start in range(0, len(events), KEYS_AT_ONCE):
            with self._reached(), self.redis.pipeline(transaction=False) as pipe:
                for event in events[start : start + KEYS_AT_ONCE]:
                    pipe.exists(f"{P}event:{event.id}", f"{P}seen:{event.fingerprint}")
                known += map(bool, pipe.execute())
        return known

    def are_told(self, events: Sequence[Event]) -> list[bool]:
        """Say of each event that a reconcile found whether it is stored, as this or by webhook."""
        told: list[bool] = []
        for start in range(0, len(events), KEYS_AT_ONCE):
            part = events[start : start + KEYS_AT_ONCE]
            with self._reached(), self.redis.pipeline(transaction=False) as pipe:
                for event in part:
                    _look_up_happening(pipe, event)
                by_webhook = pipe.execute()
            told += map(any, zip(self.are_known(part), by_webhook, strict=True))
        return told

    def replay(
        self,
        event: Event,
        deliveries: Sequence[NewDelivery],
        *,
        routes: str,
        is_record_new: bool,
    ) -> tuple[bool, EventStatus, tuple[str, ...]] | None:
        """Give a stored event the deliveries that it never had; those that it had stay as they are.

        is_record_new: `event` replaces the stored record. Returns whether the
        caller must enqueue a drain, the event's status, and the ids of the new deliveries; None if
        there is no such event.
        """
        described_event = described(event, deliveries, self.terms_of)
        record = event_record(event) if is_record_new else ""
        answer = self._run_kept("replay", event.id, orjson.dumps(described_event), routes, record)
        if not answer:
            return None
        woke, status, *new = answer
        return bool(woke), EventStatus(status), tuple(new)

    def keep_outcome(
        self, outcome: Outcome, *, now: datetime | None = None
    ) -> tuple[str, str | None]:
        """Keep an outcome of a call: with its delivery, or for 30 days without one.

        now: when it was received, aware UTC; None: at this moment. Returns what became of it and
        the delivery's id: `stored`, `duplicate`, `full` (too many), or `kept` without a delivery.
        Raises Unconfirmed: it is kept, and too few replicas have it.
        """
        received = replace(outcome, received_at=now or datetime.now(UTC))
        record = {
            "sid": outcome.call_sid or "",
            "try": str(outcome.try_count),
            "record": orjson.dumps(stored_record(received)).decode(),
            "result": str(outcome.result),
            "cancelled": outcome.proves_cancellation,
            "not_dialled": outcome.is_final and outcome.result is Result.NOT_DIALLED,
            "message": "CallKaro deleted the scheduled call."
            if outcome.proves_cancellation
            else "CallKaro reported how the call ended, so it had accepted it.",
        }
        if not self.is_migrated():
            self.bring_up_to_date((outcome.delivery_id, self.id_of_call(outcome.call_sid)))
        told = orjson.dumps(record)
        became, delivery_id = self._run_kept("outcome", outcome.delivery_id or "", told)
        return str(became), delivery_id or None

    def id_of_call(self, call_sid: str | None) -> str | None:
        """Return the delivery that a call of CallKaro belongs to; None: it is not known."""
        if not call_sid:
            return None
        with self._reached():
            found = self.redis.get(f"{P}call:{call_sid}")
        return str(found) if found else None

    def set_wakeup(self) -> bool:
        """Set the wake-up. True: the caller must enqueue a drain; False: it was set already."""
        with self._reached():
            return bool(self.redis.set(f"{P}wakeup", "1", nx=True, px=1000))

    def clear_wakeup(self) -> None:
        """Clear the wake-up. A drain does this before it claims, so that no wake-up is lost."""
        with self._reached():
            self.redis.delete(f"{P}wakeup")


def _fitting(waiting: Sequence[_Storing]) -> int:
    """Return how many requests may be stored in one step: the first ones, of the same routes."""
    size = events = 0
    for count, one in enumerate(waiting[:MOST_REQUESTS]):
        size, events = size + one.size, events + len(one.records)
        if size > MOST_BYTES or events > MOST_EVENTS or one.routes != waiting[0].routes:
            return count
    return min(len(waiting), MOST_REQUESTS)


def _is_refused(answers: Sequence[Any]) -> bool:
    return any(isinstance(answer, redis.RedisError) for answer in answers)


def _look_up_happening(pipe: Any, event: Event) -> None:
    """Ask for the event that came by webhook and is the same as this one, as accept.lua does."""
    found = described(event, (), lambda _: "").get("happening", {})
    key = f"{P}{found.get('other', 'happening:')}"
    pipe.zrange(
        key, found.get("from", "-inf"), found.get("to", "+inf"), byscore=True, offset=0, num=1
    )
