"""A delivery: one event x one route, that is one request to CallKaro and its status."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal


class Status(StrEnum):
    """Where a delivery stands; DESIGN's words, the same in URLs, logs and pages."""

    QUEUED = "queued"
    HELD = "held"  # waits for hours, a missing route, a keyed campaign
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
    OUTSIDE_HOURS = "outside_hours"
    TOO_OLD = "too_old"
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
    held_ms is how long it was held for calling hours. request is the wire body, unmasked; phone
    is the keyed hash of the number in it.
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
    asked: int = 0
    asked_for: Literal["record", "campaign"] | None = None
    asked_since: datetime | None = None
    held_ms: int = 0
    request: Mapping[str, Any] | None = None
    phone: str | None = None
    attempts: tuple[Mapping[str, Any], ...] = ()
    call_sid: str | None = None
    batch_id: str | None = None
    timeline: tuple[Change, ...] = ()

    def __repr__(self) -> str:
        return f"Delivery(id={self.id!r}, route={self.route!r}, status={self.status!r})"
