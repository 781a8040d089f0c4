"""A delivery: one event x one route, that is one request to CallKaro and its status.

A write-back is a delivery, too: one request to a CRM, about a call. See schemas/write_back.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from schemas.headline import Headline, is_past
from schemas.outcome import Outcome


class Status(StrEnum):
    """The status of a delivery; the words are the same in URLs, logs and pages."""

    QUEUED = "queued"
    HELD = "held"  # waits for hours, a pause, a bulk release, a missing route, a campaign
    SENDING = "sending"  # an attempt is recorded, its request may be on the wire
    RETRYING = "retrying"  # CallKaro surely did not accept it
    UNKNOWN = "unknown"  # CallKaro may have accepted it
    DELIVERED = "delivered"
    SKIPPED = "skipped"  # the record's data or a guard forbids it
    FAILED = "failed"  # the route or CallKaro got it wrong
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """Why a delivery is not simply on its way: a closed list."""

    NO_NUMBER = "no_number"
    INVALID_NUMBER = "invalid_number"
    COUNTRY = "country"
    OUTSIDE_HOURS = "outside_hours"
    CALLED_RECENTLY = "called_recently"
    DAY_CAP = "day_cap"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    NO_CONSENT = "no_consent"
    TOO_OLD = "too_old"
    OWN_CHANGE = "own_change"
    BULK = "bulk"
    DRY_RUN = "dry_run"
    NOT_ALLOWED = "not_allowed"
    WHEN_FALSE = "when_false"
    RECORD_GONE = "record_gone"
    ROUTE_MISSING = "route_missing"
    AWAITING_CAMPAIGN = "awaiting_campaign"
    BAD_REQUEST = "bad_request"
    UNREACHABLE = "unreachable"
    BUSY = "busy"
    ACCOUNT = "account"
    REFUSED = "refused"
    GAVE_UP = "gave_up"
    DND_NUMBER = "dnd_number"
    NOT_VERIFIED = "not_verified"
    NO_ANSWER = "no_answer"
    WORKER_DIED = "worker_died"
    PAUSED = "paused"
    BY_PERSON = "by_person"
    BY_CALLKARO = "by_callkaro"
    SUPERSEDED = "superseded"


WAITING = frozenset({Status.QUEUED, Status.HELD, Status.RETRYING})
SETTLED = frozenset({Status.DELIVERED, Status.SKIPPED, Status.FAILED, Status.CANCELLED})

# The only moves that the service makes by itself. No move leads from `unknown` to `queued`: only
# evidence or a person ends it. Workers claim deliveries that are queued, held or retrying.
MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset(
        {Status.SENDING, Status.HELD, Status.SKIPPED, Status.FAILED, Status.CANCELLED}
    ),
    Status.HELD: frozenset({Status.QUEUED, Status.SKIPPED, Status.CANCELLED}),
    Status.SENDING: frozenset({Status.DELIVERED, Status.RETRYING, Status.FAILED, Status.UNKNOWN}),
    Status.RETRYING: frozenset(
        {Status.SENDING, Status.HELD, Status.SKIPPED, Status.FAILED, Status.CANCELLED}
    ),
    Status.UNKNOWN: frozenset({Status.DELIVERED, Status.FAILED}),
    Status.DELIVERED: frozenset({Status.CANCELLED}),
    Status.SKIPPED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}


def may_come_from(to: Status) -> frozenset[Status]:
    """Return the statuses that a delivery may have before it moves to `to`.

    A delivery may stay in `queued` or `retrying`: so it waits for a campaign's creation or for
    hydration. Proof of acceptance makes any status `delivered`.
    """
    if to is Status.DELIVERED:
        return frozenset(Status)
    stays = {to} if to in {Status.QUEUED, Status.RETRYING} else set()
    return frozenset({status for status, moves in MOVES.items() if to in moves} | stays)


WRITE_BACK = "write_back"
"""The `to` of a delivery that tells a CRM about a call."""

CALLS = ("call", "campaign")
"""The other values of `to`; what lists have where nothing else is asked for."""

KINDS = (*CALLS, WRITE_BACK)

WRITE_BACK_ID = "wb-"
"""How the id of a write-back begins, and no other delivery's."""

# --- what a person may do ---------------------------------------------------------------------

CALLKARO = "callkaro"  # the scope of a pause of the destination
# A retry of these rings a phone again, or may do so.
RINGS_AGAIN = frozenset({Status.UNKNOWN, Status.DELIVERED})
RETRIED_FROM = WAITING | SETTLED | {Status.UNKNOWN}


def retried(delivery: "Delivery", *, call_again: bool) -> Status | None:
    """Return the status of a delivery that a person retries; None: it can't be retried.

    A waiting delivery becomes due now. A delivery that rang a phone, or may have, needs call_again.
    A delivery on the wire can't be tried a second time beside the first.
    """
    if delivery.status not in RETRIED_FROM or (may_have_rung(delivery) and not call_again):
        return None
    if delivery.erased_at:
        return None  # there is no person left to call
    return Status.RETRYING if delivery.status is Status.RETRYING else Status.QUEUED


def may_have_rung(delivery: "Delivery") -> bool:
    """Say whether CallKaro accepted it, or may have; also if it cancelled the call later."""
    if delivery.status in WAITING or delivery.to == WRITE_BACK:
        return False
    # Also one that may be of any call, which the headline leaves out.
    has_outcome = not all(is_past(one, delivery.past) for one in delivery.outcomes)
    return delivery.status in RINGS_AGAIN or delivery.call_sid is not None or has_outcome


def may_cancel(delivery: "Delivery", now_local: str) -> Literal["now", "at_callkaro"] | None:
    """Say how a delivery can be cancelled; None: it is too late.

    A waiting delivery is cancelled here. A call that CallKaro may still dial is deleted there: its
    schedule_at is in the future (now_local has its zone and format), or its newest outcome says
    that another redial follows.
    """
    if delivery.status in WAITING:
        return "now"
    if delivery.status is not Status.DELIVERED or delivery.to != "call" or not delivery.request:
        return None
    is_to_come = str(delivery.request.get("schedule_at", "")) > now_local
    redials = delivery.headline is not None and not delivery.headline.is_final
    return "at_callkaro" if is_to_come or redials else None


def may_redial(delivery: "Delivery") -> bool:
    """Say whether CallKaro may ring again by itself for a call that it accepted."""
    if delivery.status is not Status.DELIVERED or delivery.to != "call" or not delivery.request:
        return False
    if delivery.headline:
        return not delivery.headline.is_final
    return bool(delivery.request.get("schedule_at") or delivery.request.get("number_of_retries"))


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryRef:
    """A delivery as a webhook's answer lists it."""

    id: str
    route: str
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One step of a delivery's life."""

    at: datetime
    status: str
    reason: str | None
    actor: str | None = None  # the token of the person who caused it; None: no person, or not known


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteBackBrief:
    """What a CRM was told of a call, as the call's own page shows it."""

    id: str
    moment: str
    status: str
    reason: str | None
    message: str | None
    at: datetime  # its latest change


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A delivery as it is stored. Times are aware UTC."""

    id: str
    event_id: str
    source: str
    subject: str | None
    route: str
    to: str
    routes: str  # the digest of the routes that made it
    status: Status
    order: int  # its place in time, us
    created_at: datetime
    lease: int = 0  # the number of its latest claim
    next_attempt_at: datetime | None = None
    reason: str | None = None
    message: str | None = None
    spent: int = 0  # attempts that count against the cap
    first_attempt_at: datetime | None = None
    # Consecutive failed lookups of what it needs before it can be sent, and when the first was.
    lookup_failures: int = 0
    waiting_for: Literal["record", "campaign", "cancel"] | None = None
    waiting_since: datetime | None = None
    crashes: int = 0  # how often it raised an error in the worker before its request went out
    held_ms: int = 0  # how long it was held for calling hours, or until a person released it
    paused_by: str | None = None  # the scope of the pause that holds it
    paused_ms: int = 0  # how long pauses held it
    request: Mapping[str, Any] | None = None  # the body as it is sent, unmasked
    phone: str | None = None  # the keyed hash of the number in it
    attempts: tuple[Mapping[str, Any], ...] = ()
    call_sid: str | None = None
    batch_id: str | None = None
    # The key of its campaign, or the batch_id that its record names, while no request joined it.
    campaign_key: str | None = None
    timeline: tuple[Change, ...] = ()
    outcomes: tuple[Outcome, ...] = ()  # in the order of their redials
    # Since when CallKaro must delete the scheduled call, and why.
    cancel_asked_at: datetime | None = None
    cancel_reason: str | None = None
    cancel_actor: str | None = None  # the token of the person who asked for that
    # The call_sids from before a person's "call again": see is_past().
    past: tuple[str, ...] = ()
    call_again: bool = False  # a person chose "call again"
    consent: Mapping[str, Any] | None = None  # its proof: what the expression read, and when
    erased_at: datetime | None = None  # when its person was erased
    merged_from: tuple[str, ...] = ()  # as in Event
    name: str | None = None  # of the person, as the request or the CRM's record has it
    number: str | None = None  # E.164, the one in the request
    record_page: str | None = None  # the path of the CRM's page of its record: see Kind
    headline: Headline | None = None  # how its newest call ended
    # Of a write-back: the delivery that it tells of, the moment, and of which dial (of `outcome`).
    of: str | None = None
    moment: str | None = None
    try_count: int | None = None
    at: datetime | None = None  # when that moment was
    # The fields of its record to which a newer call was written, so they must stay as they are.
    newer_fields: frozenset[str] = frozenset()
    was_lost: bool = False  # Redis had lost it while it was sent, so it may have arrived
    # Of a call: what its CRM was told, the oldest first. Only a single look has them.
    write_backs: tuple["WriteBackBrief", ...] = ()

    def __repr__(self) -> str:
        return f"Delivery(id={self.id!r}, route={self.route!r}, status={self.status!r})"
