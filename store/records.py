"""Records: how the store writes each record in Redis, and reads it.

No key of Redis is named here. Readers ignore fields that they don't know, so that an older release
can read what a newer release wrote.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from config import log
from schemas.delivery import (
    CALLS,
    WAITING,
    WRITE_BACK,
    Change,
    Delivery,
    DeliveryRef,
    Status,
    WriteBackBrief,
)
from schemas.event import CALL_ME, Event, EventStatus, Happening
from schemas.headline import headline, newest
from schemas.outcome import read_record as read_outcome_record
from schemas.records import (
    MAY_COME_FROM,
    NO_OUTCOME,
    Accepted,
    BackgroundTask,
    Claim,
    EventFilters,
    Filters,
    Move,
    NewDelivery,
    SeenEvent,
    SideEffect,
    Suppression,
)
from schemas.search import FoundBy
from schemas.write_back import WriteBackClaim

logger = log.get(__name__)

ERASED = "This person was erased."
# What reading a broken record may raise.
UNREADABLE = (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError)


def described(
    event: Event,
    deliveries: Sequence[NewDelivery],
    terms_of: Callable[[FoundBy], str],
    side_effect: SideEffect | None = None,
) -> dict[str, Any]:
    """Return an event and its deliveries as accept.lua reads them.

    terms_of: see SearchStore.terms_of().
    """
    if event.problem:
        status = EventStatus.UNREADABLE
    else:
        status = EventStatus.ROUTED if deliveries else EventStatus.UNROUTED
    record: dict[str, Any] = {
        "fingerprint": event.fingerprint,
        "remember_s": event.remember_s,
        "event": event.id,
        "status": status,
        "source": event.source,
        "subject": event.subject or "",
        "is_test": event.type == CALL_ME,
        "is_reconciled": event.is_reconciled,
        "deliveries": [_new(one, terms_of(one.found_by)) for one in deliveries],
    }
    if happening := event.happening:
        record["happening"] = _happening_record(happening)
    if side_effect:
        record |= _side_effect_record(side_effect)
    return record


def _happening_record(happening: Happening) -> dict[str, Any]:
    at_ms = int(happening.at.timestamp() * 1000)
    span = happening.within
    span_ms = None if span is None else int(span.total_seconds() * 1000)
    # Where the events of a happening stand that came by webhook, and those that came by reconcile.
    own, other = f"happening:webhook:{happening.key}", f"happening:reconcile:{happening.key}"
    if happening.is_reconciled:
        own, other = other, own
    return {
        "own": own,
        "other": other,
        "at_ms": at_ms,
        # The limits between which the other one's time must lie.
        "from": "-inf" if span_ms is None else str(at_ms - span_ms),
        "to": "+inf" if span_ms is None else str(at_ms + span_ms),
    }


def _side_effect_record(side_effect: SideEffect) -> dict[str, Any]:
    record: dict[str, Any] = {
        "background_task": {
            "id": side_effect.task.id,
            "record": background_task_record(side_effect.task),
        }
    }
    if side_effect.person:
        record["person"] = {
            "key": side_effect.person.key,
            "record": suppression_record(side_effect.person),
        }
    return record


def _new(delivery: NewDelivery, terms: str) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": delivery.id,
        "terms": terms,
        "route": delivery.route,
        "to": delivery.to,
        "wait_ms": delivery.wait_s * 1000,
    }
    if delivery.name:
        record["name"] = delivery.name
    if delivery.number and delivery.phone:
        record["number"], record["phone"] = delivery.number, delivery.phone
    if delivery.actor:
        record["actor"] = delivery.actor
    if delivery.record_page:
        record["record_page"] = delivery.record_page
    if delivery.bulk:
        record["bulk"] = delivery.bulk
    if delivery.listed_s:
        record["listed_ms"] = delivery.listed_s * 1000
    if flood := delivery.flood:
        record["flood"] = {
            "over": flood.over,
            "within_ms": flood.within_s * 1000,
            "message": f"More than {flood.over} matched the route within {flood.within_s} s. "
            "Release or cancel them.",
        }
    return record


def accepted(
    event: Event, deliveries: Sequence[NewDelivery], answer: Any, status: EventStatus
) -> Accepted:
    """Return accept.lua's answer for an event; status: the event's status if the event is new."""
    first, *rest = answer
    if not first:
        return Accepted(
            event_id=event.id,
            status=status,
            duplicate=False,
            deliveries=tuple(
                DeliveryRef(id=d.id, route=d.route, status=status)
                for d, status in zip(deliveries, rest, strict=True)
            ),
        )
    first_status, *flat = rest
    return Accepted(
        event_id=first,
        status=EventStatus(first_status),
        duplicate=True,
        deliveries=tuple(
            DeliveryRef(id=flat[i], route=flat[i + 1], status=flat[i + 2])
            for i in range(0, len(flat), 3)
        ),
    )


def event_record(event: Event) -> bytes:
    """Return an event as JSON."""
    return orjson.dumps(
        {
            "id": event.id,
            "source": event.source,
            "source_event_id": event.source_event_id,
            "type": event.type,
            **_subject(event),
            "subject_type": event.subject_type,
            "time": event.time,
            "received_at": event.received_at,
            "hydrate": event.hydrate,
            "problem": event.problem,
            "request_id": event.request_id,
            **({"traceparent": event.traceparent} if event.traceparent else {}),
            **({"is_test": True} if event.is_test else {}),
            "data": event.data,  # the last: see event_heads.lua
        },
        option=orjson.OPT_NON_STR_KEYS,
    )


def _subject(event: Event) -> dict[str, Any]:
    merged = {"merged_from": event.merged_from} if event.merged_from else {}
    return {"subject": event.subject, **merged}


def subject_text(event: Event) -> bytes:
    """Return the part of event_record() that says which record the event is about."""
    # With the key behind it, so that the text has all that the record says about the subject.
    return orjson.dumps({**_subject(event), "subject_type": event.subject_type})[1:-1]


def read_event(record: str) -> Event:
    """Return the event that event_record() wrote."""
    kept = orjson.loads(record)
    # Records from before 0.1.0 say `thing`. They are not rewritten: Lua's JSON would lose digits of
    # long ids. The old name can go once no event from before 0.1.0 is kept.
    subject_type = kept.get("subject_type", kept.get("thing"))
    return Event(
        id=kept["id"],
        source=kept["source"],
        source_event_id=kept["source_event_id"],
        fingerprint="",  # only the intake needs it
        remember_s=0,
        type=kept["type"],
        subject=kept["subject"],
        subject_type=subject_type,
        time=datetime.fromisoformat(kept["time"]) if kept["time"] else None,
        received_at=datetime.fromisoformat(kept["received_at"]),
        hydrate=kept["hydrate"],
        problem=kept["problem"],
        request_id=kept.get("request_id"),
        traceparent=kept.get("traceparent"),
        merged_from=tuple(kept.get("merged_from") or ()),
        is_test=kept.get("is_test", False),
        data=kept.get("data"),  # of an event in brief it was not read
    )


def erased(event: Event) -> Event:
    """Return an event without its person: no delivery can be made of it."""
    return replace(
        event,
        source_event_id="",
        subject=None,
        merged_from=(),
        hydrate=None,
        data=None,
        # The sender may have chosen both, the first one even with a name in it.
        request_id=None,
        traceparent=None,
        problem=ERASED,
    )


def background_task_record(task: BackgroundTask) -> str:
    """Return a background task as JSON."""
    return orjson.dumps(
        {
            "what": task.what,
            "event_id": task.event_id,
            "key": task.key,
            "number": task.number,
            "state": task.state,
            "failures": task.failures,
        }
    ).decode()


def read_background_task(task_id: str, record: str) -> BackgroundTask:
    """Return the background task that background_task_record() wrote."""
    kept = orjson.loads(record)
    return BackgroundTask(
        id=task_id,
        what=kept["what"],
        event_id=kept.get("event_id"),
        key=kept.get("key"),
        number=kept.get("number"),
        state=kept.get("state") or {},
        failures=int(kept.get("failures") or 0),
    )


def suppression_record(suppression: Suppression) -> str:
    """Return a suppression as JSON."""
    return orjson.dumps(
        {
            "reason": suppression.reason,
            "since": suppression.since,
            "message": suppression.message,
            "number": suppression.number,
            "source": suppression.source,
            "persons": suppression.persons,
            "event_id": suppression.event_id,
            "delivery_id": suppression.delivery_id,
            "actor": suppression.actor,
        }
    ).decode()


def read_suppression(key: str, record: str) -> Suppression:
    """Return the suppression that suppression_record() wrote."""
    kept = orjson.loads(record)
    return Suppression(
        key=key,
        reason=kept["reason"],
        since=datetime.fromisoformat(kept["since"]),
        message=kept.get("message", ""),
        number=kept.get("number"),
        source=kept.get("source"),
        persons=tuple(kept.get("persons") or ()),
        event_id=kept.get("event_id"),
        delivery_id=kept.get("delivery_id"),
        actor=kept.get("actor"),
    )


def at(ms: str | int) -> datetime:
    """Return milliseconds since 1970 as an aware UTC time."""
    return datetime.fromtimestamp(int(ms) / 1000, UTC)


def read_claim(delivery_id: str, lease: int, flat: list[str], record: str) -> Claim | None:
    """Return claim.lua's answer for one delivery; None: its record can't be read."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    try:
        delivery = read_delivery(delivery_id, fields)
    except Exception as error:
        logger.error("delivery.unreadable", delivery=delivery_id, exc_info=error)
        return None
    try:
        event = read_event(record) if record else None
    except Exception:
        # It must not stop the other claims. This delivery ends as record_gone.
        logger.error("event.unreadable", event_id=delivery.event_id)
        event = None
    return Claim(delivery=delivery, event=event)


# The fields that a delivery's hash may not have. Without one, Delivery has its default.
_OPTIONAL: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "next_attempt_at": ("next_ms", at),
    "reason": ("reason", str),
    "message": ("message", str),
    "spent": ("spent", int),
    "crashes": ("crashes", int),
    "first_attempt_at": ("first_ms", at),
    "lookup_failures": ("lookup_failures", int),
    "waiting_for": ("waiting_for", str),
    "waiting_since": ("waiting_since_ms", at),
    "held_ms": ("held_ms", int),
    "paused_by": ("paused_by", str),
    "paused_ms": ("paused_ms", int),
    "request": ("request", orjson.loads),
    "phone": ("phone", str),
    "cancel_asked_at": ("cancel_ms", at),
    "cancel_actor": ("cancel_actor", str),
    "cancel_reason": ("cancel_reason", str),
    "call_again": ("call_again", lambda _: True),
    "consent": ("consent", orjson.loads),
    "erased_at": ("erased_ms", at),
    "call_sid": ("call_sid", str),
    "batch_id": ("batch_id", str),
    "campaign_key": ("campaign_key", str),
    "merged_from": ("merged_from", lambda lines: tuple(lines.splitlines())),
    "name": ("name", str),
    "number": ("number", str),
    "record_page": ("record_page", str),
    "of": ("of", str),
    "moment": ("moment", str),
    "try_count": ("try", int),
    "at": ("at_ms", at),
    "newer_fields": ("newer_fields", lambda names: frozenset(orjson.loads(names))),
    "was_lost": ("was_sent", lambda _: True),
}


def read_delivery(delivery_id: str, kept: Mapping[str, str]) -> Delivery:
    """Return the delivery that these fields of its hash describe."""
    numbered = [name for name in kept if ":" in name]
    attempts = sorted(
        (orjson.loads(kept[name]) for name in numbered if name.startswith("attempt:")),
        key=lambda attempt: int(attempt["number"]),
    )
    past = tuple(kept.get("past", "").splitlines())
    outcomes = sorted(
        (
            read_outcome_record(orjson.loads(kept[name]))
            for name in numbered
            if name.startswith("outcome:")
        ),
        key=lambda one: (one.try_count, one.call_sid or ""),
    )
    optional = {name: read(kept[key]) for name, (key, read) in _OPTIONAL.items() if key in kept}
    if _is_delayed(kept):
        optional["message"] = "The delivery waits for the delay of its route."
    return Delivery(
        id=delivery_id,
        event_id=kept["event"],
        source=kept["source"],
        subject=kept["subject"] or None,
        route=kept["route"],
        to=kept["to"],
        routes=kept["routes"],
        status=Status(kept["status"]),
        order=int(kept["order"]),
        created_at=at(kept["created_ms"]),
        lease=int(kept["lease"]),
        attempts=tuple(attempts),
        outcomes=tuple(outcomes),
        past=past,
        headline=headline(newest(outcomes, past), is_erased="erased_ms" in kept),
        timeline=tuple(_changes(kept.get("timeline", ""), _actors(kept.get("actors", "")))),
        **optional,
    )


BRIEF_FIELDS = ("moment", "status", "reason", "message", "timeline", "created_ms")


def read_write_back_brief(write_back_id: str, values: Sequence[str | None]) -> WriteBackBrief:
    """Return what a call's page shows of a write-back; values: those of BRIEF_FIELDS."""
    moment, status, reason, message, timeline, created_ms = values
    changed_ms = (timeline or "").strip().rpartition("\n")[2].partition(" ")[0]
    return WriteBackBrief(
        id=write_back_id,
        moment=moment or "",
        status=status or "",
        reason=reason,
        message=message,
        at=at(changed_ms or created_ms or 0),
    )


def read_write_back_claim(
    write_back_id: str, lease: int, flat: list[str], parent: list[str], record: str
) -> WriteBackClaim | None:
    """Return a claim of claim_write_backs.lua; None: its own record can't be read."""
    claim = read_claim(write_back_id, lease, flat, record)
    if claim is None:
        return None
    call = None
    if parent and claim.delivery.of:
        of_parent = read_claim(claim.delivery.of, lease, parent, "")
        call = of_parent.delivery if of_parent else None
    return WriteBackClaim(
        delivery=claim.delivery,
        parent=call,
        event=claim.event,
    )


def _is_delayed(kept: Mapping[str, str]) -> bool:
    """Say whether a delivery is new and waits; every other one that waits has a message."""
    is_new = kept["status"] == Status.QUEUED and not kept.get("message") and "next_ms" in kept
    return (
        is_new
        and kept["to"] != WRITE_BACK
        and int(kept["next_ms"]) - int(kept["created_ms"]) >= 1000
    )


def _changes(lines: str, actors: Mapping[int, str]) -> Iterator[Change]:
    for number, line in enumerate(lines.splitlines()):
        ms, status, reason = line.split(" ", 2)
        yield Change(at=at(ms), status=status, reason=reason or None, actor=actors.get(number))


def _actors(lines: str) -> dict[int, str]:
    """Return who caused a line of the timeline, by its number; the first is 0."""
    pairs = (line.split(" ", 1) for line in lines.splitlines())
    return {int(number): name for number, name in pairs}


def newest_field(newest: str) -> str:
    """Return the field with the outcome that `newest` names: see newest_outcome.lua."""
    _, try_count, *_, call_sid = newest.split(" ", 6)
    return f"outcome:{call_sid}:{try_count}"


def outcome_of(delivery: Delivery) -> str | None:
    """Return what the filter `outcome` calls a delivery; None: no word of it applies."""
    if delivery.headline:
        return delivery.headline.result
    is_silent = delivery.to == "call" and delivery.status is Status.DELIVERED
    return NO_OUTCOME if is_silent else None


def fits(delivery: Delivery, filters: Filters, phones: tuple[str, ...]) -> bool:
    """Say whether a delivery matches every filter; phones: the keyed hashes of a number."""
    return (
        (not filters.status or delivery.status in filters.status)
        and filters.reason in (None, delivery.reason)
        and filters.route in (None, delivery.route)
        and filters.source in (None, delivery.source)
        and filters.subject in (None, delivery.subject, *delivery.merged_from)
        and (not filters.outcome or outcome_of(delivery) in filters.outcome)
        and (not phones or delivery.phone in phones)
        and (filters.campaign is None or filters.campaign.has(delivery))
        and delivery.to in (filters.to or CALLS)
        and filters.of in (None, delivery.of)
        and (not filters.unfinished or _is_unfinished(delivery))
    )


def _is_unfinished(delivery: Delivery) -> bool:
    if delivery.status in WAITING:
        return True
    has_ended = delivery.headline is not None and delivery.headline.is_final
    return delivery.status is Status.DELIVERED and not has_ended


def fits_event(seen: SeenEvent, filters: EventFilters) -> bool:
    """Say whether an event matches every filter."""
    return (
        (not filters.status or seen.status in filters.status)
        and filters.source in (None, seen.event.source)
        and filters.source_event_id in (None, seen.event.source_event_id)
    )


def written(move: Move) -> dict[str, Any]:
    """Return a move as move.lua reads it."""
    fields: dict[str, Any] = {
        "id": move.id,
        "to": move.to,
        "from_statuses": MAY_COME_FROM[move.to]
        if move.from_statuses is None
        else {str(status): True for status in move.from_statuses},
        "needs_ms": int(move.needs_s * 1000),
        "set": {name: value for name, value in move.fields.items() if value is not None},
    }
    if removed := [name for name, value in move.fields.items() if value is None]:
        fields["del"] = removed
    if move.lease is None:
        # redis-py repeats a script if it gets no answer. A person's request is done once.
        fields["request_token"] = secrets.token_hex(8)
    if move.expected_lease is not None:
        fields["expected_lease"] = move.expected_lease
    if move.actor:
        fields["actor"] = move.actor
    if move.restarts:
        fields["restarts"] = True
    if move.callkaro_ok is not None:
        fields["callkaro_ok"] = move.callkaro_ok
    if move.pause:
        fields["pause"] = orjson.dumps(move.pause).decode()
    if move.lease is not None:
        fields["lease"] = move.lease
    if move.reason:
        fields["reason"] = move.reason
    if move.message:
        fields["message"] = move.message
    if move.wait_s is not None:
        fields["wait_ms"] = int(move.wait_s * 1000)
    if move.due_at is not None:
        fields["due_ms"] = int(move.due_at.timestamp() * 1000)
    if move.attempt:
        number, record = move.attempt
        fields["attempt"] = {"number": number, "record": orjson.dumps(record).decode()}
    if move.phone:
        fields["phone"] = move.phone
    if move.name:
        fields["name"] = move.name
    if move.number:
        fields["number"] = move.number
    if move.awaits_campaign:
        fields["awaits_campaign"] = move.awaits_campaign
    if move.guard:
        fields["guard"] = move.guard.as_record()
    if move.row:
        fields["row"] = move.row
    if move.keeps_number:
        fields["keeps_number"] = True
    if move.spread_s:
        fields["spread_ms"] = int(move.spread_s * 1000)
    return fields
