"""An event: one thing that happened in a source. Fields are named as in CloudEvents."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

# What a glob never matches for a call: nobody is rung because a record was deleted, merged,
# erased or made by a test, unless a route names that type.
NEVER_BY_GLOB = frozenset({"deleted", "merged", "privacy_deleted", "test"})

CALL_ME_ID = "call-me-"
"""What the source_event_id of such an event begins with; its own id follows."""

CALL_ME = "call_me.test"
"""The type of the event that a person's test call is: {"to_number": …, "record": {…}}."""


class EventStatus(StrEnum):
    """What became of an event when its request was taken in."""

    ROUTED = "routed"
    UNROUTED = "unrouted"  # no route wants it
    UNREADABLE = "unreadable"  # the item fits no shape its source documents


def derive_id(*parts: str) -> str:
    """Return the id that these parts always yield: 26 characters of 0-9 and a-f.

    Derived, not drawn: a resend, a second web process and a replay all arrive at the same id,
    so none of them can add anything.
    """
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=13)
    return digest.hexdigest()


def event_ids(source_event_id: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Return what a CRM's id of an event would be known under here, if it came from one of these.

    Derived as at the intake, so the event is found without an index.
    """
    ids = [derive_id("event", source, source_event_id) for source in sources]
    if source_event_id.startswith(CALL_ME_ID):
        ids.append(source_event_id.removeprefix(CALL_ME_ID))
    return tuple(ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One item of a webhook request, as its CRM module read it; not yet an event of ours.

    source_event_id is the CRM's own id, stable between resends; None where the CRM sends none:
    equal bytes within the source's id_window are then the same event.
    time is when it happened (aware UTC); None where the CRM does not say.
    hydrate names the CRM object to fetch the full record from ("contacts", "Leads"), by subject;
    None when data is all there is.
    problem is one sentence on why the item could not be read; None for a good one.
    thing is what subject is the id of ("contact"); None: what the type begins with.
    """

    type: str
    data: Any
    source_event_id: str | None = None
    subject: str | None = None
    subject_type: str | None = None
    time: datetime | None = None
    hydrate: str | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An item under our own id. (source, source_event_id) is unique, and so is id.

    fingerprint is what a duplicate is known by: the id itself, or, without a CRM's id, the hash
    of the item. It is remembered for remember_s seconds. request_id is that of the HTTP request
    that brought it, as the log has it; None: it was made before there were any, or by hand.
    """

    id: str
    source: str
    source_event_id: str
    fingerprint: str
    remember_s: int
    type: str
    subject: str | None
    time: datetime | None
    received_at: datetime
    data: Any
    hydrate: str | None = None
    problem: str | None = None
    subject_type: str | None = None
    request_id: str | None = None

    @property
    def record(self) -> tuple[str, str, str] | None:
        """The CRM's record that it is about: its source, object and id; None: it names none."""
        if self.subject is None:
            return None
        return self.source, self.subject_type or self.type.partition(".")[0], self.subject

    @property
    def happened_at(self) -> datetime:
        """When it happened, or, where the CRM does not say, when we received it."""
        return self.time or self.received_at

    def __repr__(self) -> str:
        # data is a person's; a traceback or a log line must not carry it.
        return f"Event(id={self.id!r}, source={self.source!r}, type={self.type!r})"


def is_guarded_type(event_type: str) -> bool:
    """Say whether only a route that names this type may call because of it."""
    return event_type.rpartition(".")[2].casefold() in NEVER_BY_GLOB


def lookup(data: Mapping[str, Any], *keys: str) -> Any:
    """Return the first value among keys that is there and not None, else None."""
    return next((data[key] for key in keys if data.get(key) is not None), None)
