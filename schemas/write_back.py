"""Write-backs: what a CRM is told of a route's calls, and when.

What a route says about them (RouteWriteBack) stands in schemas/route.py.
"""

from dataclasses import dataclass
from enum import StrEnum

from schemas.delivery import Delivery
from schemas.event import Event

MARK = "bridge"
"""The key by which a signed webhook out is known if its receiver posts it back to us. Its value is
WRITE_BACK."""

CRM = "crm:"
"""What the scope of a pause begins with that holds the write-backs of a source."""


class Moment(StrEnum):
    """A moment of a call that a CRM can be told of."""

    ACCEPTED = "accepted"
    OUTCOME = "outcome"  # of each dial
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


# A call at CallKaro: the delivery's id, and the call_sid; "": it has none.
CallKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class CrmCall:
    """What is known of a CRM's record of a call.

    id: the CRM's; None: there is none, or may_exist: a request that creates it was begun, and its
    answer is not known.
    """

    id: str | None
    may_exist: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteBackClaim:
    """A write-back that a worker holds.

    parent: the call that it tells of; None: it is gone, or can't be read. event: that of the call;
    None: as with the parent. The record's fields in `delivery.newer_fields` must not be written.
    """

    delivery: Delivery
    parent: Delivery | None
    event: Event | None
    traceparent: str | None = None  # as in Claim
