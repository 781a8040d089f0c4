"""A delivery: one event x one route, that is one request to CallKaro and its status."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from schemas.outcome import Outcome


class Status(StrEnum):
    """Where a delivery stands; DESIGN's words, the same in URLs, logs and pages."""

    QUEUED = "queued"
    HELD = "held"  # waits for hours, a pause, a bulk release, a missing route, a keyed campaign
    SENDING = "sending"  # an attempt is recorded, its request may be on the wire
    RETRYING = "retrying"  # surely not accepted
    UNKNOWN = "unknown"  # may have been accepted
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
    NO_ANSWER = "no_answer"
    WORKER_DIED = "worker_died"
    PAUSED = "paused"
    BY_PERSON = "by_person"
    BY_CALLKARO = "by_callkaro"


WAITING = frozenset({Status.QUEUED, Status.HELD, Status.RETRYING})
SETTLED = frozenset({Status.DELIVERED, Status.SKIPPED, Status.FAILED, Status.CANCELLED})

# The only moves that the service makes by itself. `unknown` has no way back to `queued`: only
# evidence or a person ends it. A delivery that waits is claimed from queued, held or retrying.
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

    Staying in `queued` or `retrying` is no move: that is how a delivery waits for a campaign's
    creation or for hydration. Proof of acceptance makes any status `delivered`.
    """
    if to is Status.DELIVERED:
        return frozenset(Status)
    stays = {to} if to in {Status.QUEUED, Status.RETRYING} else set()
    return frozenset({status for status, moves in MOVES.items() if to in moves} | stays)


# --- what may be done besides -----------------------------------------------------------------

CALLKARO = "callkaro"  # the scope of a pause of the destination
# A retry of these calls where a phone rang already, or may have rung.
RINGS_AGAIN = frozenset({Status.UNKNOWN, Status.DELIVERED})
RETRIED_FROM = WAITING | SETTLED | {Status.UNKNOWN}


def retried(delivery: "Delivery", *, call_again: bool) -> Status | None:
    """Return what a delivery becomes when a person has it tried (again); None: it can't be.

    What waits is looked at now. What rang, or may have, needs call_again. What is on the wire
    can't be tried beside itself.
    """
    if delivery.status not in RETRIED_FROM or (may_have_rung(delivery) and not call_again):
        return None
    if delivery.erased_at:
        return None  # there is nobody left to call
    return Status.RETRYING if delivery.status is Status.RETRYING else Status.QUEUED


def may_have_rung(delivery: "Delivery") -> bool:
    """Say whether CallKaro took it, or may have: also what was cancelled there later."""
    if delivery.status in WAITING:
        return False
    is_told = bool(told_of(delivery))
    return delivery.status in RINGS_AGAIN or delivery.call_sid is not None or is_told


def may_cancel(delivery: "Delivery", now_local: str) -> Literal["now", "at_callkaro"] | None:
    """Say how a delivery can be cancelled; None: not any more.

    What waits is called off here. A call that CallKaro may still hold scheduled is deleted there:
    one with a schedule_at to come (now_local is in its zone and shape), or whose last outcome
    says that another redial follows.
    """
    if delivery.status in WAITING:
        return "now"
    if delivery.status is not Status.DELIVERED or delivery.to != "call" or not delivery.request:
        return None
    is_to_come = str(delivery.request.get("schedule_at", "")) > now_local
    told = told_of(delivery)
    redials = bool(told) and not told[-1].is_final
    return "at_callkaro" if is_to_come or redials else None


def may_redial(delivery: "Delivery") -> bool:
    """Say whether CallKaro may ring again by itself for a call that it accepted."""
    if delivery.status is not Status.DELIVERED or delivery.to != "call" or not delivery.request:
        return False
    told = told_of(delivery)
    if told:
        return not told[-1].is_final
    return bool(delivery.request.get("schedule_at") or delivery.request.get("number_of_retries"))


def told_of(delivery: "Delivery") -> list[Outcome]:
    """Return the outcomes, but for those of a call from before a person said "call again"."""
    return [one for one in delivery.outcomes if one.call_sid not in delivery.past]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryRef:
    """What a webhook's answer says of a delivery."""

    id: str
    route: str
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One step of a delivery's life."""

    at: datetime
    status: str
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A delivery as it is stored. Times are aware UTC; order is its place in time, in us.

    lease is the number it was last claimed under. spent counts the attempts that count against
    the cap; asked counts how often what it needs first was asked for in vain, the
    first time at asked_since; asked_for says what that is.
    held_ms is how long it was held for calling hours or as bulk, paused_ms by pauses. request is
    the wire body, unmasked; phone is the keyed hash of the number in it. outcomes are in the order
    of their redials.
    cancel_asked_at: CallKaro is to delete the scheduled call, for cancel_reason.
    past: the call_sids from before a person said "call again", and call_again that one did.
    consent is the proof of it: what the route's expression read, and when. erased_at: the person in
    it was erased.
    """

    id: str
    event_id: str
    source: str
    subject: str | None
    route: str
    to: str
    routes: str
    status: Status
    order: int
    created_at: datetime
    lease: int = 0
    next_attempt_at: datetime | None = None
    reason: str | None = None
    message: str | None = None
    spent: int = 0
    first_attempt_at: datetime | None = None
    lookup_failures: int = 0
    waiting_for: Literal["record", "campaign", "cancel"] | None = None
    waiting_since: datetime | None = None
    held_ms: int = 0
    paused_ms: int = 0
    request: Mapping[str, Any] | None = None
    phone: str | None = None
    attempts: tuple[Mapping[str, Any], ...] = ()
    call_sid: str | None = None
    batch_id: str | None = None
    timeline: tuple[Change, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    cancel_asked_at: datetime | None = None
    past: tuple[str, ...] = ()
    call_again: bool = False
    cancel_reason: str | None = None
    consent: Mapping[str, Any] | None = None
    erased_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Delivery(id={self.id!r}, route={self.route!r}, status={self.status!r})"
