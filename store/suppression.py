"""Suppressing a number or a CRM's record: no call to it is permitted, planned calls are cancelled.

A suppression applies from the step that stores it, because the step that permits a call reads it.
Planned calls are cancelled after that; if this process dies, a background task does it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from config import log
from rules.opt_outs import privacy_action
from schemas.delivery import WAITING, Delivery, Reason, Status, may_redial
from schemas.errors import NotFound
from schemas.event import Event
from schemas.outcome import DND_NUMBER, DND_SENTENCE, Outcome, Result
from schemas.records import BackgroundTask, Move, SideEffect, Suppression
from schemas.source import Source
from store import Store

logger = log.get(__name__)

REDIALS = timedelta(days=14)  # after that, CallKaro's redials of a call are over
AGAIN_S = 60.0  # when to look again at calls that are on the wire now
CRASHED_S = 15.0  # this process cancels at once; if it dies, a worker does it after this time
Record = tuple[str, str, str]  # of a CRM: its source, object and id
NO_LOOKUPS: dict[str, str | int | None] = dict.fromkeys(
    ("lookup_failures", "waiting_for", "waiting_since_ms")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CalledOff:
    """What became of the planned calls."""

    cancelled: int = 0
    dropping: int = 0  # the bridge asks CallKaro to delete them
    # Ids to look at again: on the wire now, or moved by another process at the same time.
    pending: tuple[str, ...] = ()

    @property
    def on_the_wire(self) -> int:
        """Return how many may be ringing a phone now."""
        return len(self.pending)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suppressed:
    """A suppression that is kept, whether it is new, and what became of the planned calls."""

    suppression: Suppression
    is_new: bool
    called_off: CalledOff


def side_effect_of(event: Event, source: Source, store: Store) -> SideEffect | None:
    """Return what an event does to its person, besides deliveries; None: nothing.

    The step that stores the event suppresses the person; the background task does the rest.
    """
    what = privacy_action(event, source)
    if what is None:
        return None
    task = BackgroundTask(id=f"{what}:{event.id}", what=what, event_id=event.id)
    reason = "erased" if what == "erase" else "by_crm"
    return SideEffect(task=task, person=_person(event, store, reason))


def person_key(event: Event, store: Store) -> str | None:
    """Return the keyed hash of the CRM's record that an event is about; None: no record."""
    return store.person_key(*event.record) if event.record else None


def older_person_keys(event: Event, store: Store) -> tuple[str, ...]:
    """Return the keyed hashes of the CRM's records that were merged into that of an event."""
    return tuple(store.person_key(*record) for record in event.records[1:])


def _person(event: Event, store: Store, reason: str) -> Suppression | None:
    key = person_key(event, store)
    if key is None:
        return None
    is_erased = reason == "erased"
    asks = f"An event of the type {event.type} asks to erase this person."
    return Suppression(
        key=key,
        reason=reason,
        since=event.received_at,
        source=event.source,
        message=asks if is_erased else why_opted_out(event),
        event_id=None if is_erased else event.id,
    )


def why_opted_out(event: Event) -> str:
    """Return why an event suppresses its person, a sentence."""
    return f"An event of the type {event.type} says that this person must not be called (opt_out)."


def _why_suppressed(outcome: Outcome) -> str:
    """Return why the outcome of a call suppressed its number, a sentence."""
    if outcome.result is Result.WRONG_NUMBER:
        return f"CallKaro reported that there is no such number ({outcome.hangup_reason})."
    if outcome.hangup_reason == DND_NUMBER:
        return DND_SENTENCE
    return f"SUPPRESS_WHEN was true for the outcome of a call ({outcome.result})."


@dataclass(frozen=True, kw_only=True, slots=True)
class Suppressions:
    """Suppresses numbers and CRM records, and cancels what was planned for them."""

    store: Store

    def suppress(
        self,
        number: str,
        *,
        reason: str = "by_person",
        message: str = "",
        source: str | None = None,
        persons: tuple[str, ...] = (),
        event_id: str | None = None,
        delivery_id: str | None = None,
        actor: str | None = None,
        ended: str | None = None,
    ) -> Suppressed:
        """Suppress a number (E.164) from now on, and cancel its planned calls.

        actor: the token of the person who asked for it; None: no person did. ended: a delivery
        whose call has just ended for good, so that there is nothing to cancel; None: there is none.
        """
        # An older release may have kept it under another key.
        known = self.store.suppression_of(number)
        keys = self.store.phone_keys(number)
        suppression = Suppression(
            key=known.key if known else keys[0],
            reason=reason,
            since=datetime.now(UTC),
            message=message,
            number=number,
            source=source,
            persons=persons,
            event_id=event_id,
            delivery_id=delivery_id,
            actor=actor,
        )
        return self.keep(suppression, keys=keys, ended=ended)

    def suppress_called(self, outcome: Outcome, reported: str | None) -> None:
        """Suppress the number of a call: the one that we sent, else the one CallKaro reports."""
        delivery_id = outcome.delivery_id or self.store.id_of_call(outcome.call_sid)
        delivery = self.store.delivery(delivery_id) if delivery_id else None
        # A call from before a person's "call again" may have been to another number.
        is_past = delivery is not None and outcome.call_sid in delivery.past
        request = delivery.request if delivery and not is_past else None
        number = request.get("to_number", reported) if request else reported
        if number is None:
            logger.warning("outcome.without_number", delivery=outcome.delivery_id)
            return
        self.suppress(
            number,
            reason="by_callkaro",
            message=_why_suppressed(outcome),
            delivery_id=delivery.id if delivery else None,
            ended=delivery.id if delivery and outcome.is_final and not is_past else None,
        )

    def keep(
        self,
        suppression: Suppression,
        *,
        replaces: bool = False,
        keys: tuple[str, ...] = (),
        ended: str | None = None,
    ) -> Suppressed:
        """Keep a suppression, and cancel the planned calls to its number.

        The first suppression stays, unless this one replaces it. keys: all keyed hashes of the
        number; empty: only the suppression's own is known. ended: as in suppress().
        """
        keys = keys or (suppression.key,)
        task = _calling_off(suppression.key, keys)
        is_new, kept = self.store.suppress(
            suppression, replaces=replaces, task=task, task_in_s=CRASHED_S
        )
        result = self.call_off(suppression.key, keys, ended=ended)
        if not result.pending:
            self.store.end_background_task(task.id)
        logger.info(
            "number.suppressed",
            reason=suppression.reason,
            new=is_new,
            cancelled=result.cancelled,
            dropping=result.dropping,
        )
        return Suppressed(suppression=kept, is_new=is_new, called_off=result)

    def unsuppress(self, key: str) -> None:
        """Delete the suppression of a number or a record, by its keyed hash. Raises NotFound."""
        kept = self.store.suppression(key)
        if kept is None or not self.store.unsuppress(key):
            raise NotFound("That is not suppressed.")
        for person in kept.persons:
            self.store.unsuppress(person)
        logger.info("number.unsuppressed", was=kept.reason)

    def unsuppress_number(self, number: str) -> None:
        """Delete the suppression of a number (E.164), in all its spellings. Raises NotFound."""
        kept = [key for key in self.store.phone_keys(number) if self.store.suppression(key)]
        if not kept:
            raise NotFound("That is not suppressed.")
        for key in kept:
            self.unsuppress(key)

    def call_off(
        self, key: str, keys: tuple[str, ...] = (), *, ended: str | None = None
    ) -> CalledOff:
        """Cancel the planned calls to a number, if it is (still) suppressed under this key.

        keys: all keyed hashes of the number; empty: only this one is known. ended: as in
        suppress().
        """
        kept = self.store.suppression(key)
        if kept is None:
            return CalledOff()
        planned = (one for one in self.store.ids_by_phone(*(keys or (key,))) if one != ended)
        return self.call_off_all(planned, actor=kept.actor)

    def call_off_accepted(self, delivery_id: str) -> None:
        """Have CallKaro delete an accepted call if its number is suppressed."""
        delivery = self.store.delivery(delivery_id)
        if delivery and self.store.suppression_of_call(delivery):
            self.call_off_all([delivery_id])

    def call_off_all(self, ids: Iterable[str], *, actor: str | None = None) -> CalledOff:
        """Cancel deliveries that wait; have CallKaro delete calls that it may still dial.

        actor: the token of the person whose doing that is; None: no person's.
        """
        moves, pending = [], []
        for delivery in filter(None, map(self.store.delivery, ids)):
            if delivery.status is Status.SENDING:
                pending.append(delivery.id)
            if move := _off(delivery, datetime.now(UTC), actor):
                moves.append(move)
        answers = self.store.move(moves)
        made = [move.to for move, answer in zip(moves, answers, strict=True) if answer == "ok"]
        pending += [move.id for move, answer in zip(moves, answers, strict=True) if answer != "ok"]
        dropping = made.count(Status.DELIVERED)
        return CalledOff(cancelled=len(made) - dropping, dropping=dropping, pending=tuple(pending))

    def ids_of_record(self, event: Event) -> list[str]:
        """Return the deliveries of the CRM's record that an event is about."""
        return self.ids_of(event.record) if event.record else []

    def records_of(self, delivery_id: str) -> tuple[Record, ...]:
        """Return the CRM's record that a delivery is about, and those merged into it."""
        delivery = self.store.delivery(delivery_id)
        seen = self.store.event(delivery.event_id) if delivery and delivery.subject else None
        return seen.event.records if seen else ()

    def ids_of(self, record: Record) -> list[str]:
        """Return the deliveries of a CRM's record, also of one that was merged since."""
        found = self.store.ids_by_subject(record[2])
        return [one for one in found if record in self.records_of(one)]

    def person_of(self, records: set[Record]) -> set[Record]:
        """Return these records, and all that the CRM merged with one of them: they are a person."""
        found, left = set(records), list(records)
        while left:
            for delivery_id in self.ids_of(left.pop()):
                new = set(self.records_of(delivery_id)) - found
                found |= new
                left += new
        return found


def erased_suppression(key: str, actor: str | None = None) -> Suppression:
    """Return the suppression of an erased person: a keyed hash, and who erased them."""
    return Suppression(key=key, reason="erased", since=datetime.now(UTC), actor=actor)


def _calling_off(key: str, keys: tuple[str, ...]) -> BackgroundTask:
    state = {"keys": list(keys)} if len(keys) > 1 else {}
    return BackgroundTask(id=f"call_off:{key}", what="call_off", key=key, state=state)


def called_off(
    delivery: Delivery, reason: Reason, message: str, *, actor: str | None = None
) -> Move:
    """Return the move that cancels a waiting delivery; actor: as in Move."""
    return Move(
        id=delivery.id,
        to=Status.CANCELLED,
        from_statuses=frozenset({delivery.status}),
        reason=reason,
        message=message,
        actor=actor,
    )


def dropping(delivery: Delivery, reason: Reason, *, actor: str | None = None) -> Move:
    """Return the move after which a worker asks CallKaro to delete what it still has of a call.

    actor: as in Move; the timeline names them when the call is deleted.
    """
    return Move(
        id=delivery.id,
        to=Status.DELIVERED,
        from_statuses=frozenset({Status.DELIVERED}),
        message="The bridge asks CallKaro to delete the scheduled call.",
        fields={
            **NO_LOOKUPS,
            "cancel_ms": int(datetime.now(UTC).timestamp() * 1000),
            "cancel_reason": reason,
            "cancel_actor": actor,
        },
        wait_s=0,
    )


def _off(delivery: Delivery, now: datetime, actor: str | None) -> Move | None:
    """Return the move that calls a delivery off; None: there is nothing to call off."""
    if delivery.status in WAITING:
        message = "The number, or the record, was suppressed."
        return called_off(delivery, Reason.SUPPRESSED, message, actor=actor)
    if delivery.cancel_asked_at or not may_redial(delivery):
        return None
    if now - delivery.created_at > REDIALS and not _is_to_come(delivery, now):
        return None
    return dropping(delivery, Reason.SUPPRESSED, actor=actor)


def _is_to_come(delivery: Delivery, now: datetime) -> bool:
    """Say whether a call is scheduled for a day that may be in the future, in any time zone."""
    at = str((delivery.request or {}).get("schedule_at", ""))
    return at > (now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")
