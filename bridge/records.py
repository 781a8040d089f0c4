"""Records: what the store takes and gives, and how each is written in Redis and read again.

No key of Redis stands here: those are bridge/store's alone. Readers ignore what they don't know,
so that an older release can read what a newer one wrote.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from bridge import log
from schemas.delivery import Change, Delivery, DeliveryRef, Reason, Status, may_come_from
from schemas.event import Event, EventStatus
from schemas.outcome import Outcome
from schemas.outcome import read_record as read_outcome_record
from schemas.route import Flood

logger = log.get(__name__)

ERASED = "The person in it was erased."
UNREADABLE = (KeyError, ValueError, TypeError)  # what reading a broken record may raise

# The status diagram as move.lua reads it: {to: {from: true}}.
MAY_COME_FROM = {to: {str(status): True for status in may_come_from(to)} for to in Status}


@dataclass(frozen=True, kw_only=True, slots=True)
class NewDelivery:
    """A delivery to be made of an event that is being taken in; wait_s is the route's delay.

    bulk says why it is held until a person releases it; None: it is not, unless more than
    flood.over were made for its route within flood.within_s.
    """

    id: str
    route: str
    to: str
    wait_s: int
    bulk: str | None = None
    flood: Flood | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Errand:
    """What is to be done for an event or a person besides deliveries; doing it twice does no harm.

    what: `opt_out` and `erase` name an event, `call_off` and `erase` a keyed hash of a number (and
    `erase` the number itself, until it is done). state is where one that takes long has got to.
    """

    id: str
    what: Literal["opt_out", "call_off", "erase"]
    event_id: str | None = None
    key: str | None = None
    number: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suppression:
    """Who is not to be called, known by the keyed hash of a number or of a CRM's record.

    number None: it is a record's, or the person was erased. reason: by_person, by_crm, by_callkaro
    or erased. source: whose event it was; None: no CRM's. persons are the keyed hashes of the
    records whose opt-outs it was; theirs go with the number's.
    """

    key: str
    reason: str
    since: datetime
    message: str = ""
    number: str | None = None
    source: str | None = None
    persons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What an event wants besides deliveries: an errand; and its person is suppressed at once."""

    errand: Errand
    person: Suppression | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SuppressionPage:
    """A page of suppressions, newest first; next_cursor None: there is no more."""

    items: tuple[Suppression, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """What a call asks of its number's history in the very step that permits it.

    phone is the keyed hash of the number, person that of the CRM's record. again_s 0: it may be
    called again at any time; number_cap and day_cap 0: no cap. day is that of the call, in
    CALLKARO_TIMEZONE, and rings_at its time. closes_at: the hours end then, so it must be sent
    before; None: it is sent for a later time.
    """

    phone: str
    person: str | None
    rings_at: datetime
    again_s: int = 0
    number_cap: int = 0
    day_cap: int = 0
    day: str = ""
    closes_at: datetime | None = None

    def as_record(self) -> dict[str, Any]:
        """Return it as move.lua reads it."""
        at_ms = int(self.rings_at.timestamp() * 1000)
        # Left out, not null: Lua takes JSON's null for true.
        person = {"person": self.person} if self.person else {}
        return {
            "phone": self.phone,
            **person,
            "again_ms": self.again_s * 1000,
            "number_cap": self.number_cap,
            "day_cap": self.day_cap,
            "day": self.day,
            "at_ms": at_ms,
            **({"closes_ms": int(self.closes_at.timestamp() * 1000)} if self.closes_at else {}),
            # Two days: the caps of a day outlive it in every zone.
            "keep_until_ms": at_ms + max(self.again_s, 2 * 86_400) * 1000,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """What became of an event at the intake: stored now, or known already."""

    event_id: str
    status: EventStatus
    duplicate: bool
    deliveries: tuple[DeliveryRef, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A delivery leased to this worker, with its event; event is None if its record is gone."""

    delivery: Delivery
    event: Event | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What a worker got when it asked for work. now is Redis' time.

    wait_s: nothing more can be claimed for so long (Redis was just started, or the breaker is
    open). looked_at: how many were due; some of them may now be held by a pause instead.
    """

    now: datetime
    wait_s: float
    looked_at: int
    claims: tuple[Claim, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """Whether a request to CallKaro may be made: in wait_s seconds, if granted; else ask then.

    is_paused: it is refused because of a pause, however long one waits.
    """

    is_granted: bool
    wait_s: float = 0.0
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class Repaired:
    """How many deliveries an audit woke, put into an index, or took out of one."""

    woken: int = 0
    indexed: int = 0
    forgotten: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """What is paused, why and since when; reason `person`, `account` or `breaker`.

    until: when one request will try again (the breaker); None: until a person resumes it.
    """

    scope: str
    reason: str
    message: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A change of a delivery's status, made only if it still stands where the mover thinks.

    lease None: a person moves it, and `come_from` are the statuses that person saw it in (None:
    any that the diagram allows), saw the lease that it had then (None: any). anew: it starts anew,
    and its calls so far are past. wait_s or due_at say when to look at it again; neither: it is
    settled, or a person's to move. attempt is (number, record). needs_s is how much of the lease
    a `sending` wants left. fields are written beside the status; one that is None is removed.
    took: whether CallKaro took the attempt well, for the breaker; None: that says nothing of it.
    pause: why the destination is paused from now on. guard: what the history must permit.
    keeps_number: it is tried again although a phone may have rung. spread_s: it is looked at so
    much later than due_at, which is what people are told.
    """

    id: str
    to: Status
    lease: int | None = None
    come_from: frozenset[Status] | None = None
    saw: int | None = None
    anew: bool = False
    reason: Reason | None = None
    message: str | None = None
    fields: Mapping[str, str | int | None] = field(default_factory=dict)
    wait_s: float | None = None
    due_at: datetime | None = None
    attempt: tuple[int, Mapping[str, Any]] | None = None
    needs_s: float = 0
    phone: str | None = None
    awaits: str | None = None
    took: bool | None = None
    pause: Mapping[str, Any] | None = None
    guard: Guard | None = None
    keeps_number: bool = False
    spread_s: float = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page of deliveries, newest first; next_cursor None: there is no more."""

    items: tuple[Delivery, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenEvent:
    """An event as it is stored, with what became of it. order is its place in time, in us."""

    event: Event
    status: EventStatus
    deliveries: tuple[DeliveryRef, ...]
    order: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EventPage:
    """A page of events, newest first; next_cursor None: there is no more."""

    items: tuple[SeenEvent, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFilters:
    """Which events to list; every one that is set must fit. since and until are UTC.

    ids are those that a source_event_id may be known under here.
    """

    status: tuple[str, ...] = ()
    source: str | None = None
    source_event_id: str | None = None
    ids: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """What to list; every one that is set must fit. phone is in E.164; since and until are UTC.

    phone_key: the keyed hash of a number, where the number itself must not be told.
    """

    status: tuple[str, ...] = ()
    reason: str | None = None
    route: str | None = None
    source: str | None = None
    subject: str | None = None
    phone: str | None = None
    phone_key: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Persistence:
    """How safe Redis keeps what it took, and how full it is; used_ratio None: no limit is set."""

    append_only: bool
    fsync: str
    policy: str
    used_bytes: int
    used_ratio: float | None

    def warnings(self) -> list[str]:
        """Return what is weak in how Redis keeps our data, a sentence each."""
        found = []
        if not self.append_only:
            found.append("Redis keeps no append-only file: a restart loses accepted events")
        elif self.fsync != "always":
            found.append(
                f"Redis' appendfsync is {self.fsync}, not always: a crash of its machine may lose "
                "or repeat about a second"
            )
        if self.policy != "noeviction":
            found.append(
                f"Redis' maxmemory-policy is {self.policy}, not noeviction: when it is full it may "
                "throw away accepted events"
            )
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """What happened in `seconds` from `at` (UTC) on.

    delivered … held count how often deliveries came to that status; events those that were taken
    in, duplicates aside. latency_p50_s and latency_p95_s are from the receipt of an event to the
    acceptance of its call or campaign, whatever it waited for; None: nothing was accepted.
    """

    at: datetime
    seconds: float
    delivered: int = 0
    skipped: int = 0
    failed: int = 0
    unknown: int = 0
    cancelled: int = 0
    held: int = 0
    events: int = 0
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Requests to /webhooks/<source> that were refused: how many, with which cause (a word).

    source None: there is none of that name. latest is UTC.
    """

    source: str | None
    status_code: int
    cause: str
    count: int
    latest: datetime


# --- how they are written, and read ---------------------------------------------------------


def described(
    event: Event, deliveries: Sequence[NewDelivery], wish: Wish | None = None
) -> dict[str, Any]:
    """Return what accept.lua is told of an event and its deliveries."""
    if event.problem:
        status = EventStatus.UNREADABLE
    else:
        status = EventStatus.ROUTED if deliveries else EventStatus.UNROUTED
    return {
        "fp": event.fingerprint,
        "remember_s": event.remember_s,
        "event": event.id,
        "status": status,
        "source": event.source,
        "subject": event.subject or "",
        "deliveries": [_new(delivery) for delivery in deliveries],
        **(_wished(wish) if wish else {}),
    }


def _wished(wish: Wish) -> dict[str, Any]:
    wished: dict[str, Any] = {
        "errand": {"id": wish.errand.id, "record": errand_record(wish.errand)}
    }
    if wish.person:
        wished["person"] = {"key": wish.person.key, "record": suppression_record(wish.person)}
    return wished


def _new(delivery: NewDelivery) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": delivery.id,
        "route": delivery.route,
        "to": delivery.to,
        "wait_ms": delivery.wait_s * 1000,
    }
    if delivery.bulk:
        described["bulk"] = delivery.bulk
    if flood := delivery.flood:
        described["flood"] = {
            "over": flood.over,
            "within_ms": flood.within_s * 1000,
            "message": f"More than {flood.over} matched the route within {flood.within_s} s. "
            "Release or cancel them.",
        }
    return described


def accepted(
    event: Event, deliveries: Sequence[NewDelivery], answer: Any, status: EventStatus
) -> Accepted:
    """Return what accept.lua's answer says; status is what a new event was stored with."""
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
    """Return the event as JSON. Readers ignore what they don't know."""
    return orjson.dumps(
        {
            "id": event.id,
            "source": event.source,
            "source_event_id": event.source_event_id,
            "type": event.type,
            "subject": event.subject,
            "thing": event.thing,
            "time": event.time,
            "received_at": event.received_at,
            "hydrate": event.hydrate,
            "problem": event.problem,
            "request_id": event.request_id,
            "data": event.data,
        },
        option=orjson.OPT_NON_STR_KEYS,
    )


def read_event(record: str) -> Event:
    """Return the event that event_record() wrote."""
    kept = orjson.loads(record)
    return Event(
        id=kept["id"],
        source=kept["source"],
        source_event_id=kept["source_event_id"],
        fingerprint="",  # it has done its work at the intake
        remember_s=0,
        type=kept["type"],
        subject=kept["subject"],
        thing=kept.get("thing"),
        time=datetime.fromisoformat(kept["time"]) if kept["time"] else None,
        received_at=datetime.fromisoformat(kept["received_at"]),
        hydrate=kept["hydrate"],
        problem=kept["problem"],
        request_id=kept.get("request_id"),
        data=kept["data"],
    )


def erased(event: Event) -> Event:
    """Return an event without its person: nothing can be made of it any more."""
    return replace(
        event,
        source_event_id="",
        subject=None,
        hydrate=None,
        data=None,
        request_id=None,  # its sender may have named it after the person
        problem=ERASED,
    )


def errand_record(errand: Errand) -> str:
    """Return an errand as JSON."""
    return orjson.dumps(
        {
            "what": errand.what,
            "event_id": errand.event_id,
            "key": errand.key,
            "number": errand.number,
            "state": errand.state,
        }
    ).decode()


def read_errand(errand_id: str, record: str) -> Errand:
    """Return the errand that errand_record() wrote."""
    kept = orjson.loads(record)
    return Errand(
        id=errand_id,
        what=kept["what"],
        event_id=kept.get("event_id"),
        key=kept.get("key"),
        number=kept.get("number"),
        state=kept.get("state") or {},
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
    )


def at(ms: str | int) -> datetime:
    """Return milliseconds since 1970 as an aware UTC time."""
    return datetime.fromtimestamp(int(ms) / 1000, UTC)


def read_claim(delivery_id: str, lease: int, flat: list[str], record: str) -> Claim | None:
    """Return what claim.lua answers for one delivery; None: its record can't be read."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    try:
        delivery = read_delivery(delivery_id, fields)
    except UNREADABLE as error:
        logger.error("delivery.unreadable", delivery=delivery_id, exc_info=error)
        return None
    try:
        event = read_event(record) if record else None
    except UNREADABLE:
        # It was claimed along with others, and must not cost them theirs: it ends as record_gone.
        logger.error("event.unreadable", event_id=delivery.event_id)
        event = None
    return Claim(delivery=delivery, event=event)


def read_delivery(delivery_id: str, kept: Mapping[str, str]) -> Delivery:
    """Return a delivery out of the fields of its hash."""
    attempts = sorted(
        (orjson.loads(value) for name, value in kept.items() if name.startswith("attempt:")),
        key=lambda attempt: int(attempt["number"]),
    )
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
        next_attempt_at=at(kept["next_ms"]) if "next_ms" in kept else None,
        reason=kept.get("reason"),
        message=kept.get("message"),
        spent=int(kept.get("spent", 0)),
        first_attempt_at=at(kept["first_ms"]) if "first_ms" in kept else None,
        asked=int(kept.get("asked", 0)),
        asked_for=kept.get("asked_for"),  # type: ignore[arg-type]
        asked_since=at(kept["asked_since_ms"]) if "asked_since_ms" in kept else None,
        held_ms=int(kept.get("held_ms", 0)),
        paused_ms=int(kept.get("paused_ms", 0)),
        request=orjson.loads(kept["request"]) if "request" in kept else None,
        phone=kept.get("phone"),
        attempts=tuple(attempts),
        outcomes=tuple(
            sorted(_outcomes(kept), key=lambda one: (one.try_count, one.call_sid or ""))
        ),
        cancel_asked_at=at(kept["cancel_ms"]) if "cancel_ms" in kept else None,
        past=tuple(kept.get("past", "").splitlines()),
        call_again="call_again" in kept,
        cancel_reason=kept.get("cancel_reason"),
        consent=orjson.loads(kept["consent"]) if "consent" in kept else None,
        erased_at=at(kept["erased_ms"]) if "erased_ms" in kept else None,
        call_sid=kept.get("call_sid"),
        batch_id=kept.get("batch_id"),
        timeline=tuple(_changes(kept.get("timeline", ""))),
    )


def _outcomes(kept: Mapping[str, str]) -> Iterator[Outcome]:
    for name, value in kept.items():
        if name.startswith("outcome:"):
            yield read_outcome_record(orjson.loads(value))


def _changes(lines: str) -> Iterator[Change]:
    for line in lines.splitlines():
        ms, status, reason = line.split(" ", 2)
        yield Change(at=at(ms), status=status, reason=reason or None)


def fits(delivery: Delivery, filters: Filters, phone: str | None) -> bool:
    """Say whether a delivery passes every filter that is set; phone is the keyed hash of one."""
    return (
        (not filters.status or delivery.status in filters.status)
        and filters.reason in (None, delivery.reason)
        and filters.route in (None, delivery.route)
        and filters.source in (None, delivery.source)
        and filters.subject in (None, delivery.subject)
        and phone in (None, delivery.phone)
    )


def fits_event(seen: SeenEvent, filters: EventFilters) -> bool:
    """Say whether an event passes every filter that is set."""
    return (
        (not filters.status or seen.status in filters.status)
        and filters.source in (None, seen.event.source)
        and filters.source_event_id in (None, seen.event.source_event_id)
    )


def written(move: Move) -> dict[str, Any]:
    """Return a move as move.lua reads it."""
    written: dict[str, Any] = {
        "id": move.id,
        "to": move.to,
        "from": MAY_COME_FROM[move.to]
        if move.come_from is None
        else {str(status): True for status in move.come_from},
        "needs_ms": int(move.needs_s * 1000),
        "set": {name: value for name, value in move.fields.items() if value is not None},
    }
    if gone := [name for name, value in move.fields.items() if value is None]:
        written["del"] = gone
    if move.lease is None:
        # A client that did not hear Redis' answer repeats it; what a person said is done once.
        written["word"] = secrets.token_hex(8)
    if move.saw is not None:
        written["saw"] = move.saw
    if move.anew:
        written["anew"] = True
    if move.took is not None:
        written["took"] = move.took
    if move.pause:
        written["pause"] = orjson.dumps(move.pause).decode()
    if move.lease is not None:
        written["lease"] = move.lease
    if move.reason:
        written["reason"] = move.reason
    if move.message:
        written["message"] = move.message
    if move.wait_s is not None:
        written["wait_ms"] = int(move.wait_s * 1000)
    if move.due_at is not None:
        written["due_ms"] = int(move.due_at.timestamp() * 1000)
    if move.attempt:
        number, record = move.attempt
        written["attempt"] = {"number": number, "record": orjson.dumps(record).decode()}
    if move.phone:
        written["phone"] = move.phone
    if move.awaits:
        written["awaits"] = move.awaits
    if move.guard:
        written["guard"] = move.guard.as_record()
    if move.keeps_number:
        written["keeps_number"] = True
    if move.spread_s:
        written["spread_ms"] = int(move.spread_s * 1000)
    return written
