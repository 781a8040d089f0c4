"""The records that the store takes and returns. store/records.py writes and reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from schemas.delivery import Delivery, DeliveryRef, Reason, Status, may_come_from
from schemas.event import Event, EventStatus
from schemas.route import Flood

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
class BackgroundTask:
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
class SideEffect:
    """What an event wants besides deliveries: an errand; and its person is suppressed at once."""

    task: BackgroundTask
    person: Suppression | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SuppressionPage:
    """A page of suppressions, newest first; next_cursor None: there is no more."""

    items: tuple[Suppression, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryCheck:
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
    from_statuses: frozenset[Status] | None = None
    expected_lease: int | None = None
    restarts: bool = False
    reason: Reason | None = None
    message: str | None = None
    fields: Mapping[str, str | int | None] = field(default_factory=dict)
    wait_s: float | None = None
    due_at: datetime | None = None
    attempt: tuple[int, Mapping[str, Any]] | None = None
    needs_s: float = 0
    phone: str | None = None
    awaits_campaign: str | None = None
    callkaro_ok: bool | None = None
    pause: Mapping[str, Any] | None = None
    guard: HistoryCheck | None = None
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
