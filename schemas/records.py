"""The records that the store takes and returns. store/records.py writes and reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from schemas.delivery import (
    SETTLED,
    WAITING,
    Delivery,
    DeliveryRef,
    Reason,
    Status,
    may_come_from,
)
from schemas.event import Event, EventStatus
from schemas.route import Flood
from schemas.search import FoundBy, Search

NO_OUTCOME = "none"  # in the filter `outcome`: a call was accepted, and nothing was reported yet
# The status diagram as move.lua reads it: {to: {from: true}}.
MAY_COME_FROM = {to: {str(status): True for status in may_come_from(to)} for to in Status}


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """What a person did."""

    id: str
    at: datetime
    actor: str  # the name of the token
    action: str
    kind: str | None  # what `target` is of, such as a delivery
    target: str | None  # an id, a keyed hash or a scope; None: it was about no one record
    count: int | None  # how many an act on many changed; None: it was on one


@dataclass(frozen=True, kw_only=True, slots=True)
class ActPage:
    """A page of acts, newest first; next_cursor None: this is the last page."""

    items: tuple[Act, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewDelivery:
    """A delivery to be made of an event that the intake stores."""

    id: str
    route: str
    to: str
    wait_s: int  # the route's delay
    actor: str | None = None  # the token of the person who made it; None: a source did
    bulk: str | None = None  # why it is held until a person releases it; None: it is not held
    flood: Flood | None = None  # it is held, too, if its route got more than this
    listed_s: int | None = None  # of a row of a list: how far its route's flood looks back
    name: str | None = None  # of the person, as far as the event has it
    number: str | None = None  # E.164; None: it is known only when the delivery is prepared
    phone: str | None = None  # the keyed hash of the number
    record_page: str | None = None  # as in Delivery
    found_by: FoundBy = field(default_factory=FoundBy, repr=False)  # what people find it by


@dataclass(frozen=True, kw_only=True, slots=True)
class BackgroundTask:
    """Work for an event or a person besides deliveries; to do it twice does no harm."""

    id: str
    what: Literal["opt_out", "call_off", "erase", "reconcile", "channel"]
    event_id: str | None = None  # of an opt_out, and of an erase that a CRM asks for
    key: str | None = None  # the keyed hash of a number, of a call_off and an erase
    number: str | None = None  # of an erase: the number itself, until the task is done
    state: Mapping[str, Any] = field(default_factory=dict)  # the progress of a long task
    failures: int = 0  # in a row


@dataclass(frozen=True, kw_only=True, slots=True)
class Suppression:
    """A number or a CRM's record that must not be called, known by its keyed hash."""

    key: str
    reason: str  # by_person, by_crm, by_callkaro or erased
    since: datetime
    message: str = ""
    number: str | None = None  # None: it is a record's, or the person was erased
    source: str | None = None  # the source whose event it was; None: not a CRM's
    # The keyed hashes of the CRM records whose opt-outs suppressed this number.
    persons: tuple[str, ...] = ()
    event_id: str | None = None  # the event that suppressed it; None: it was not an event
    delivery_id: str | None = None  # the delivery whose call suppressed it; None: not known
    actor: str | None = None  # the token of the person who did it; None: not a person, or not known


@dataclass(frozen=True, kw_only=True, slots=True)
class SideEffect:
    """What an event does besides deliveries: a background task, and it suppresses its person."""

    task: BackgroundTask
    person: Suppression | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SuppressionPage:
    """A page of suppressions, newest first; next_cursor None: this is the last page."""

    items: tuple[Suppression, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignPage:
    """A page of campaigns, newest first; next_cursor None: this is the last page."""

    items: tuple[Mapping[str, Any], ...]  # key, batch_id and the record that was kept with them
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordCheck:
    """What the calls of a CRM's record must permit: one call for the events of merged records."""

    key: str  # the keyed hash of the record, as it is now
    # Whether the event named a record that was merged into this one. Two events of one record that
    # was never merged are two calls.
    is_merged: bool
    since: datetime  # the time of the event
    window_s: int  # for how long a call counts


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryCheck:
    """What the history of a number must permit, in the step that permits the call."""

    phone: str  # the keyed hash of the number
    # The keyed hashes under which older releases stored other spellings of it.
    older_phones: tuple[str, ...] = ()
    person: str | None  # the keyed hash of the CRM's record
    # The keyed hashes of the records that were merged into it.
    older_persons: tuple[str, ...] = ()
    record: RecordCheck | None = None  # None: the CRM has no merged records
    rings_at: datetime  # the time of the call
    again_s: int = 0  # the route calls a number once in this time; 0: at any time
    number_cap: int = 0  # calls of a number in a day; 0: no cap
    day_cap: int = 0  # calls of the route in a day; 0: no cap
    day: str = ""  # the day of the call, in CALLKARO_TIMEZONE
    closes_at: datetime | None = None  # send it before the hours end; None: it is for a later time

    def as_record(self) -> dict[str, Any]:
        """Return it as move.lua reads it."""
        at_ms = int(self.rings_at.timestamp() * 1000)
        # A missing key, not null: Lua takes JSON's null for true.
        person = {"person": self.person} if self.person else {}
        return {
            "phone": self.phone,
            **({"older_phones": list(self.older_phones)} if self.older_phones else {}),
            **person,
            **({"older_persons": list(self.older_persons)} if self.older_persons else {}),
            **({"record": self._record()} if self.record else {}),
            "again_ms": self.again_s * 1000,
            "number_cap": self.number_cap,
            "day_cap": self.day_cap,
            "day": self.day,
            "at_ms": at_ms,
            **({"closes_ms": int(self.closes_at.timestamp() * 1000)} if self.closes_at else {}),
            # At least two days: by then the day of its caps has ended in every time zone.
            "keep_until_ms": at_ms + max(self.again_s, 2 * 86_400) * 1000,
        }

    def _record(self) -> dict[str, Any]:
        assert self.record is not None  # noqa: S101  (as_record() checked it)
        return {
            "key": self.record.key,
            "is_merged": self.record.is_merged,
            "since_ms": int(self.record.since.timestamp() * 1000),
            "window_ms": self.record.window_s * 1000,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """What became of an event at the intake: stored now, or a duplicate."""

    event_id: str
    status: EventStatus
    duplicate: bool
    deliveries: tuple[DeliveryRef, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A delivery leased to this worker, with its event; event None: its record is gone."""

    delivery: Delivery
    event: Event | None
    # The CRM's id of the user whose login we have, where it tells our own changes. None: it does
    # not, or it is not known.
    own_user: str | None = None
    traceparent: str | None = None  # the span of this claim; None: no traces are made


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What a worker got when it claimed what is due."""

    now: datetime  # Redis' time
    wait_s: float  # nothing more can be claimed for this time: Redis just started, or the breaker
    looked_at: int  # how many were due; a pause may now hold some of them
    is_cut: bool  # the claims have so many bytes that others, though due, were not claimed
    claims: tuple[Claim, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a supervisor has to look after.

    The times are seconds from now, 0 or less: now, None: never.
    """

    is_migrated: bool  # all records have the names of this release
    has_pauses: bool
    due_s: float | None  # when a drain has work
    lease_ends_s: float | None  # when the first lease ends
    alert_s: float | None  # when an alert must be sent


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """Whether a request to CallKaro may be made; wait_s: when, or when to ask again."""

    is_granted: bool
    wait_s: float


@dataclass(frozen=True, slots=True)
class Indexing:
    """How far the indexing of what an older release stored has got."""

    done: int  # deliveries
    of: int


@dataclass(frozen=True, slots=True)
class Repaired:
    """How many deliveries an audit woke, added to an index, or removed from one."""

    woken: int = 0
    indexed: int = 0
    forgotten: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """What is paused, why and since when."""

    scope: str
    reason: str  # person, account, breaker, failing or credentials
    message: str
    since: datetime
    until: datetime | None = None  # when the breaker sends a probe; None: until a person resumes it
    actor: str | None = None  # the token of the person who paused it; None: not a person


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A change of a delivery's status. It is made only if the delivery is as the mover saw it."""

    id: str
    to: Status
    lease: int | None = None  # the number of the worker's claim; None: a person moves it
    # The statuses that it may have now; None: all that the diagram allows.
    from_statuses: frozenset[Status] | None = None
    expected_lease: int | None = None  # the lease that the person saw; None: any
    actor: str | None = None  # the token of the person who causes it; None: no person does
    restarts: bool = False  # it starts again, and its calls so far are past
    reason: Reason | None = None
    message: str | None = None
    # Written beside the status; None removes a field.
    fields: Mapping[str, str | int | None] = field(default_factory=dict)
    # When a worker looks at it again. Neither: it is settled, or a person must move it.
    wait_s: float | None = None
    due_at: datetime | None = None
    attempt: tuple[int, Mapping[str, Any]] | None = None  # (number, record)
    needs_s: float = 0  # of a move to `sending`: how much of the lease must be left
    phone: str | None = None  # the keyed hash of the number, to list it by
    number: str | None = None  # the number itself, E.164
    name: str | None = None  # of the person; None: it stays as it is
    awaits_campaign: str | None = None  # the key of the campaign that makes it due
    # Whether CallKaro works, for the breaker; None: the answer does not show it.
    callkaro_ok: bool | None = None
    pause: Mapping[str, Any] | None = None  # why CallKaro is paused from now on
    guard: HistoryCheck | None = None  # what the number's history must permit
    is_about_person: bool = False  # CallKaro refused this person, so the route is not at fault
    sentence: str | None = None  # message without what may be about the person; None: message
    row: Mapping[str, Any] | None = None  # what it does to its route's row of failures: in_row()
    is_after_crash: bool = False  # it replaces a move that raised an error; it is not written
    keeps_number: bool = False  # it is tried again although a phone may have rung
    spread_s: float = 0  # a worker looks at it this much later than due_at, which people see


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page of deliveries, newest first; next_cursor None: this is the last page."""

    items: tuple[Delivery, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenEvent:
    """An event as it is stored, with its deliveries. order is its place in time, us."""

    event: Event
    status: EventStatus
    deliveries: tuple[DeliveryRef, ...]
    order: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EventPage:
    """A page of events, newest first; next_cursor None: this is the last page."""

    items: tuple[SeenEvent, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFilters:
    """Which events to list: those that match every filter that is set. Times are UTC."""

    status: tuple[str, ...] = ()
    source: str | None = None
    source_event_id: str | None = None
    ids: tuple[str, ...] = ()  # our ids of the events that may have this source_event_id
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignFilter:
    """Which calls belong to a campaign, or to the campaigns of one name.

    A call that waits belongs to the campaign that its route joins now. Every other call, and a call
    of a route that names no campaign, belongs to the one in its record.
    """

    campaigns: frozenset[str] = frozenset()  # batch_ids, and keys as in Delivery.campaign_key
    routes: frozenset[str] = frozenset()  # the routes whose calls join it now, by its name
    named: frozenset[str] = frozenset()  # all routes that join a campaign by its name

    def has(self, delivery: Delivery) -> bool:
        """Say whether a delivery belongs to it."""
        if delivery.to != "call":
            return False
        if delivery.status in WAITING and delivery.route in self.named:
            return delivery.route in self.routes
        return (delivery.campaign_key or delivery.batch_id) in self.campaigns


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignCounts:
    """How many calls a campaign has, by status and by outcome."""

    statuses: Mapping[str, int]
    outcomes: Mapping[str, int]  # by the places of the filter `outcome`
    pruned: Mapping[str, int]  # those in `statuses` whose records retention deleted
    first_call_at: datetime | None  # the first acceptance by CallKaro; None: there is none yet
    last_call_at: datetime | None

    @property
    def total(self) -> int:
        """Return how many calls it has, those without a record included."""
        return sum(self.statuses.values())

    @property
    def progress(self) -> float | None:
        """Return the share that is settled, 0 to 1; None: it has no calls."""
        settled = sum(self.statuses.get(status, 0) for status in SETTLED)
        return settled / self.total if self.total else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """Which deliveries to list: those that match every filter that is set. Times are UTC."""

    status: tuple[str, ...] = ()
    reason: str | None = None
    route: str | None = None
    source: str | None = None
    subject: str | None = None
    phone: str | None = None  # E.164
    phone_key: str | None = None  # its keyed hash, where the number itself must stay hidden
    since: datetime | None = None
    until: datetime | None = None
    outcome: tuple[str, ...] = ()  # results of the newest outcome, or NO_OUTCOME
    search: Search | None = None
    campaign: CampaignFilter | None = None
    unfinished: bool = False  # only what waits, or was accepted and may still ring
    to: tuple[str, ...] = ()  # call, campaign or write_back; empty: CALLS
    of: str | None = None  # the call that write-backs tell of


@dataclass(frozen=True, kw_only=True, slots=True)
class Persistence:
    """How safely Redis keeps data, and how full it is."""

    append_only: bool | None  # None: Redis does not say
    fsync: str
    policy: str
    used_bytes: int | None  # None: Redis does not say
    used_ratio: float | None  # of its memory limit; None: it has no limit, or does not say
    forbidden: tuple[str, ...] = ()  # the commands that would say, and our user may not run
    replicas: int | None = 0  # that are connected; None: Redis does not say
    acks: int = 0  # how many of them must confirm; 0: replicas are not looked at
    is_engine_durable: bool = False  # the engine keeps a log of its own

    def warnings(self) -> list[str]:
        """Return what is weak in how Redis keeps our data, a sentence each."""
        found = []
        if "INFO" in self.forbidden:
            found.append(
                "the Redis user may not run INFO: how full Redis is, how it keeps data and whether "
                "it restarted can't be seen; webhooks are refused when Redis itself says it is full"
            )
        if not self.is_engine_durable:
            found += self._without_file()
        if self.replicas is None:
            found.append(
                f"Redis does not say how many replicas are connected; REDIS_ACKS is {self.acks}"
            )
        elif self.acks and self.replicas <= self.acks:
            found.append(
                f"Redis has {self.replicas} connected replica(s), and REDIS_ACKS is {self.acks}: "
                f"with fewer than {self.acks}, webhooks get 503 and nobody is called; connect "
                f"{self.acks + 1}, so that one may fail"
            )
        if self.policy != "noeviction" and "INFO" not in self.forbidden:
            found.append(
                f"Redis' maxmemory-policy is {self.policy}, not noeviction: when it is full it may "
                "throw away accepted events"
            )
        return found

    def _without_file(self) -> Iterator[str]:
        """Yield what is weak in Redis' append-only file."""
        if "CONFIG GET" in self.forbidden:
            yield "the Redis user may not run CONFIG GET: appendfsync can't be seen"
        if self.append_only is False:
            yield "Redis keeps no append-only file: a restart loses accepted events"
        elif self.fsync != "always" and not self.forbidden:
            yield (
                f"Redis' appendfsync is {self.fsync}, not always: a crash of its machine may lose "
                "or repeat about a second"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """What happened in `seconds` from `at` (UTC) on."""

    at: datetime
    seconds: float
    # How many deliveries reached each status.
    delivered: int = 0
    skipped: int = 0
    failed: int = 0
    unknown: int = 0
    cancelled: int = 0
    held: int = 0
    events: int = 0  # stored events; duplicates do not count
    # From the receipt of an event to the acceptance of its call or campaign, with all waiting in
    # between; None: nothing was accepted.
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """How many requests to /webhooks/<source> were refused for one cause, a word."""

    source: str | None  # None: there is no source of that name
    status_code: int
    cause: str
    count: int
    latest: datetime  # UTC
