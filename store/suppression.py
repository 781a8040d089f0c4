"""People who are not to be called: suppressing a number, and erasing a person.

A suppression holds from the step that stores it: each call is checked against it in the very step
that permits its request. What was planned is called off after that, by an errand that outlives us.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from config import log
from rules.erasing import mentions, without
from rules.opt_outs import privacy_action
from schemas.delivery import WAITING, Delivery, Reason, Status, may_redial
from schemas.errors import NotFound
from schemas.event import Event
from schemas.outcome import Outcome
from schemas.records import BackgroundTask, Move, SeenEvent, SideEffect, Suppression
from schemas.source import Source
from store import Store
from store.records import erased

logger = log.get(__name__)

REDIALS = timedelta(days=14)  # after that, CallKaro's redials of a call are over
AGAIN_S = 60.0  # when to look again at calls that are on the wire right now
CRASHED_S = 15.0  # who calls off does it at once; should they die over it, a worker does it then
SETTLED_S = 5.0  # when to look again at what is on the wire while a person is erased
SLICE_S = 5.0  # of a search through all events; then others have their turn
Record = tuple[str, str, str]  # of a CRM: its source, object and id
NO_LOOKUPS: dict[str, str | int | None] = dict.fromkeys(
    ("lookup_failures", "waiting_for", "waiting_since_ms")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CalledOff:
    """What became of what was planned: cancelled, to be dropped by CallKaro, or pending.

    pending are the ids of what is on the wire, or moved on under our hands: look at them again.
    """

    cancelled: int = 0
    dropping: int = 0
    pending: tuple[str, ...] = ()

    @property
    def on_the_wire(self) -> int:
        """Return how many may be ringing a phone right now."""
        return len(self.pending)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suppressed:
    """A suppression that is kept, whether it is new, and what became of what was planned."""

    suppression: Suppression
    is_new: bool
    called_off: CalledOff


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """How many deliveries and events an erasure went through so far; is_done: there is no more."""

    deliveries: int
    events: int
    is_done: bool


def side_effect_of(event: Event, source: Source, store: Store) -> SideEffect | None:
    """Return what an event wants besides deliveries: that its person is not called, or is erased.

    Its person is suppressed in the very step that takes it in; the errand does the rest.
    """
    what = privacy_action(event, source)
    if what is None:
        return None
    task = BackgroundTask(id=f"{what}:{event.id}", what=what, event_id=event.id)
    reason = "erased" if what == "erase" else "by_crm"
    return SideEffect(task=task, person=_person(event, store, reason))


def person_key(event: Event, store: Store) -> str | None:
    """Return the keyed hash of the CRM's record that an event is about; None: it names none."""
    return store.person_key(*event.record) if event.record else None


def _person(event: Event, store: Store, reason: str) -> Suppression | None:
    key = person_key(event, store)
    if key is None:
        return None
    return Suppression(
        key=key, reason=reason, since=event.received_at, source=event.source, message=event.type
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """Keeps who is not to be called, and forgets who is to be forgotten."""

    store: Store

    # --- suppressing --------------------------------------------------------------------------

    def suppress(
        self,
        number: str,
        *,
        reason: str = "by_person",
        message: str = "",
        source: str | None = None,
        persons: tuple[str, ...] = (),
    ) -> Suppressed:
        """Have a number (E.164) not called from now on, and call off what was planned."""
        suppression = Suppression(
            key=self.store.phone_key(number),
            reason=reason,
            since=datetime.now(UTC),
            message=message,
            number=number,
            source=source,
            persons=persons,
        )
        return self._suppress(suppression)

    def suppress_called(self, outcome: Outcome, said: str | None) -> None:
        """Suppress the number of a call: as we had it dialled, else as CallKaro said it."""
        delivery_id = outcome.delivery_id or self.store.id_of_call(outcome.call_sid)
        delivery = self.store.delivery(delivery_id) if delivery_id else None
        # A call from before a person said "call again" may have been to another number.
        is_past = delivery is not None and outcome.call_sid in delivery.past
        request = delivery.request if delivery and not is_past else None
        number = request.get("to_number", said) if request else said
        if number is None:
            logger.warning("outcome.without_number", delivery=outcome.delivery_id)
            return
        message = str(outcome.hangup_reason or outcome.result)
        self.suppress(number, reason="by_callkaro", message=message)

    def _suppress(self, suppression: Suppression, *, replaces: bool = False) -> Suppressed:
        task = _calling_off(suppression.key)
        is_new, kept = self.store.suppress(
            suppression, replaces=replaces, task=task, errand_in_s=CRASHED_S
        )
        off = self.call_off(suppression.key)
        if not off.pending:
            self.store.end_background_task(task.id)
        logger.info(
            "number.suppressed",
            reason=suppression.reason,
            new=is_new,
            cancelled=off.cancelled,
            dropping=off.dropping,
        )
        return Suppressed(suppression=kept, is_new=is_new, called_off=off)

    def unsuppress(self, key: str) -> None:
        """Let a number be called again, or a CRM's record, by its keyed hash. Raises NotFound."""
        kept = self.store.suppression(key)
        if kept is None or not self.store.unsuppress(key):
            raise NotFound("That is not suppressed.")
        for person in kept.persons:
            self.store.unsuppress(person)
        logger.info("number.unsuppressed", was=kept.reason)

    def call_off(self, key: str) -> CalledOff:
        """Call off what is planned for a number, by its keyed hash, if it is suppressed (still)."""
        if self.store.suppression(key) is None:
            return CalledOff()
        return self.call_off_all(self.store.ids_by_phone(key))

    def call_off_accepted(self, delivery_id: str) -> None:
        """Have CallKaro drop what it turns out to hold of a call to a number that is suppressed."""
        delivery = self.store.delivery(delivery_id)
        if delivery and delivery.phone and self.store.suppression(delivery.phone):
            self.call_off_all([delivery_id])

    def call_off_all(self, ids: Iterable[str]) -> CalledOff:
        """Cancel what waits; have CallKaro drop what it may still dial."""
        moves, pending = [], []
        for delivery in filter(None, map(self.store.delivery, ids)):
            if delivery.status is Status.SENDING:
                pending.append(delivery.id)
            if move := _off(delivery, datetime.now(UTC)):
                moves.append(move)
        answers = self.store.move(moves)
        made = [move.to for move, answer in zip(moves, answers, strict=True) if answer == "ok"]
        pending += [move.id for move, answer in zip(moves, answers, strict=True) if answer != "ok"]
        dropping = made.count(Status.DELIVERED)
        return CalledOff(cancelled=len(made) - dropping, dropping=dropping, pending=tuple(pending))

    def ids_of_record(self, event: Event) -> list[str]:
        """Return the deliveries of the CRM's record that an event is about."""
        return self._ids_of(event.record) if event.record else []

    # --- erasing ------------------------------------------------------------------------------

    def erase(self, number: str) -> Erased:
        """Erase the person of a number (E.164). What a slice of time is too short for goes on.

        The suppression stays, as a keyed hash: it is what keeps them from being called.
        """
        key = self.store.phone_key(number)
        self._suppress(_erased(key), replaces=True)
        task = BackgroundTask(id=f"erase:{key}", what="erase", key=key, number=number)
        self.store.put_background_task(task, in_s=CRASHED_S + SLICE_S)
        return self.pursue(task)

    def pursue(self, task: BackgroundTask) -> Erased:
        """Go on with an erasure for a slice of time, and keep where it got to."""
        if task.number is None and task.event_id is not None:
            task = self._of_record(task)
        ids = [*self.store.ids_by_phone(task.key)] if task.number and task.key else []
        records = {tuple(one) for one in task.state.get("records", [])}
        records |= set(filter(None, map(self._record_of, ids)))
        ids += [one for record in records for one in self._ids_of(record)]
        task = replace(task, state={**task.state, "records": sorted(records)})
        task = self._erase(task, [*ids, *task.state.get("pending", [])])
        return self._search(task, records)

    def _of_record(self, task: BackgroundTask) -> BackgroundTask:
        """Begin the erasure that a CRM's event wants: suppress the numbers of its record."""
        seen = self.store.event(str(task.event_id))
        event = seen.event if seen else None
        if event is None or event.record is None or "records" in task.state:
            return task
        key = self.store.person_key(*event.record)
        for suppression in self.store.suppressions_with(key):
            self._suppress(_erased(suppression.key), replaces=True)
        for delivery_id in self._ids_of(event.record):
            delivery = self.store.delivery(delivery_id)
            if delivery and delivery.phone:
                self._suppress(_erased(delivery.phone), replaces=True)
        return replace(task, state={"records": [event.record]})

    def _search(self, task: BackgroundTask, records: set[Record]) -> Erased:
        """Look through all events for what mentions the person, from where it got to."""
        place: int | None = task.state.get("place", 0)
        ends = time.monotonic() + SLICE_S
        while place is not None and time.monotonic() < ends:
            place, page = self.store.scan_events(place)
            found = [seen for seen in page if _is_about(seen, records, task.number)]
            for seen in found:
                task = self._erase_event(task, seen, records)
            events = task.state.get("events", 0) + len(found)
            task = replace(task, state={**task.state, "events": events, "place": place})
        state = task.state
        is_done = place is None and not state["pending"]
        done = Erased(
            deliveries=state["deliveries"], events=state.get("events", 0), is_done=is_done
        )
        if not is_done:
            self.store.put_background_task(task, in_s=0 if place is not None else SETTLED_S)
            return done
        if task.key:
            self.store.forget_number(task.key)
        self.store.end_background_task(task.id)
        logger.info("person.erased", deliveries=done.deliveries, events=done.events)
        return done

    def _erase_event(
        self, task: BackgroundTask, seen: SeenEvent, records: set[Record]
    ) -> BackgroundTask:
        """Erase an event and its deliveries; one that calls someone else only loses the number."""
        ids = [one.id for one in seen.deliveries]
        found = list(filter(None, map(self.store.delivery, ids)))
        is_theirs = seen.event.record in records or not any(
            one.phone and one.phone != task.key and one.erased_at is None for one in found
        )
        if not is_theirs:
            event = replace(seen.event, data=without(seen.event.data, str(task.number)))
            self.store.rewrite_events([event])
            return task
        task = self._erase(task, ids)
        self.store.rewrite_events([erased(seen.event)])
        return task

    def _erase(self, task: BackgroundTask, ids: Iterable[str]) -> BackgroundTask:
        """Call off and erase deliveries, and count those that were not erased before.

        What is on the wire is pending: what it takes to have CallKaro drop it must stay until then.
        """
        found = filter(None, map(self.store.delivery, dict.fromkeys(ids)))
        new = [one.id for one in found if one.erased_at is None]
        pending = self.call_off_all(new).pending
        settled = [one for one in new if one not in pending]
        self.store.erase_deliveries(settled)
        known = set(task.state.get("pending", [])) - set(settled)
        state = {
            **task.state,
            "deliveries": task.state.get("deliveries", 0) + len(settled),
            "pending": sorted(known | set(pending)),
        }
        return replace(task, state=state)

    def _record_of(self, delivery_id: str) -> Record | None:
        """Return the CRM's record that a delivery is about: its source, object and id."""
        delivery = self.store.delivery(delivery_id)
        seen = self.store.event(delivery.event_id) if delivery and delivery.subject else None
        return seen.event.record if seen else None

    def _ids_of(self, record: Record) -> list[str]:
        """Return the deliveries of a CRM's record."""
        found = self.store.ids_by_subject(record[2])
        return [one for one in found if self._record_of(one) == record]


def _erased(key: str) -> Suppression:
    return Suppression(key=key, reason="erased", since=datetime.now(UTC))


def _calling_off(key: str) -> BackgroundTask:
    return BackgroundTask(id=f"call_off:{key}", what="call_off", key=key)


def called_off(delivery: Delivery, reason: Reason, message: str) -> Move:
    """Return the move that cancels what waits."""
    return Move(
        id=delivery.id,
        to=Status.CANCELLED,
        from_statuses=frozenset({delivery.status}),
        reason=reason,
        message=message,
    )


def dropping(delivery: Delivery, reason: Reason) -> Move:
    """Return the move that has CallKaro asked to drop what it still holds of a call."""
    return Move(
        id=delivery.id,
        to=Status.DELIVERED,
        from_statuses=frozenset({Status.DELIVERED}),
        message="CallKaro is being asked to drop the scheduled call.",
        fields={
            **NO_LOOKUPS,
            "cancel_ms": int(datetime.now(UTC).timestamp() * 1000),
            "cancel_reason": reason,
        },
        wait_s=0,
    )


def _off(delivery: Delivery, now: datetime) -> Move | None:
    """Return the move that calls a delivery off; None: there is nothing (more) to call off."""
    if delivery.status in WAITING:
        message = "The number, or the record, was suppressed."
        return called_off(delivery, Reason.SUPPRESSED, message)
    if delivery.cancel_asked_at or not may_redial(delivery):
        return None
    if now - delivery.created_at > REDIALS and not _is_to_come(delivery, now):
        return None
    return dropping(delivery, Reason.SUPPRESSED)


def _is_to_come(delivery: Delivery, now: datetime) -> bool:
    """Say whether a call is scheduled for a day that may be to come, in whatever zone."""
    at = str((delivery.request or {}).get("schedule_at", ""))
    return at > (now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")


def _is_about(seen: SeenEvent, records: set[Record], number: str | None) -> bool:
    event = seen.event
    if event.data is None:
        return False
    if event.record in records:
        return True
    return number is not None and mentions(event.data, number)
