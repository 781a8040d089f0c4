"""An event: one thing that happened in a source. Fields are named as in CloudEvents."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

# A glob never matches these types for a call: only a route that names the type calls a person
# because a record was ended (archived, canceled, deleted, merged or erased) or made by a test.
NEVER_BY_GLOB = frozenset({"archived", "canceled", "deleted", "merged", "privacy_deleted", "test"})

CALL_ME_ID = "call-me-"
"""What the source_event_id of a test call's event begins with; our id of the event follows."""

CALL_ME = "call_me.test"
"""The type of the event of a person's test call. Its data: {"to_number": …, "record": {…}}."""

LIST_ROW = "list.row"
"""The type of the event of a row of a call list. Its data has what the list's columns give."""

# The types of events that a person makes for a route that they name. No route matches them, so a
# webhook that claims to be one calls nobody.
BY_PERSON = frozenset({CALL_ME, LIST_ROW})


class EventStatus(StrEnum):
    """What became of an event at the intake."""

    ROUTED = "routed"
    UNROUTED = "unrouted"  # no route matches it
    UNREADABLE = "unreadable"  # the item has no form that its source documents


RECONCILED = frozenset({"created", "updated"})
"""The last words of the types of events that a reconcile finds."""

SAME_CHANGE = timedelta(minutes=10)
"""A webhook and a reconcile that tell of changes of one record within this time are one event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """What an event is about, for a webhook and a reconcile that tell of the same."""

    key: str  # of its source, account, type and record
    at: datetime
    within: timedelta | None  # how far apart the times of one event may lie; None: any time
    is_reconciled: bool


def derive_id(*parts: str) -> str:
    """Return the id of these parts, always the same: 26 characters of 0-9 and a-f.

    The id is derived, not random: a resend, a second web process and a replay all get the same id,
    so none of them can add anything.
    """
    digest = _HASH.copy()
    digest.update("\0".join(parts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


_HASH: Final = hashlib.blake2b(digest_size=13)
"""Copied for each id: that takes a third less time than a new one, and an event has three ids."""


def event_ids(source_event_id: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Return our ids of the events with this source_event_id, one for each of these sources.

    The ids are derived as at the intake, so the event is found without an index.
    """
    ids = [derive_id("event", source, source_event_id) for source in sources]
    if source_event_id.startswith(CALL_ME_ID):
        ids.append(source_event_id.removeprefix(CALL_ME_ID))
    return tuple(ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One item of a webhook request, as its CRM module read it; not yet an event of ours."""

    type: str
    data: Any
    # The CRM's own id, the same in each resend; None: the CRM sends none, and then equal bytes
    # within the source's id_window are the same event.
    source_event_id: str | None = None
    subject: str | None = None  # the id of the CRM's record that it is about
    subject_type: str | None = None  # as in "contact"; None: the first word of the type
    # When it happened (aware UTC), as the CRM says it; None: it does not. A date: only the day.
    time: datetime | date | None = None
    # The CRM object ("contacts", "Leads") of which the subject's full record must be fetched; None:
    # data is complete.
    hydrate: str | None = None
    problem: str | None = None  # why the item could not be read, a sentence; None: it was read
    # The CRM's account, where a reconcile may find the same event; "": the source has one account.
    # None: no reconcile finds it.
    account: str | None = None
    is_reconciled: bool = False  # a reconcile found it; it came by no webhook
    # Its vendor marks it as a test, or as a message to itself, or it is about a colleague: it is
    # kept, and no route takes it.
    is_test: bool = False
    # Whether the sender's proof covers the type. One out of a header that nothing signs is no part
    # of the event's identity: the same bytes under another type are a duplicate.
    is_type_proved: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An item under our own id. (source, source_event_id) is unique, and so is id."""

    id: str
    source: str
    source_event_id: str
    # A duplicate has the same fingerprint: the id, or the hash of an item without a CRM's id.
    fingerprint: str
    remember_s: int  # for how long the fingerprint is kept
    type: str
    subject: str | None
    time: datetime | None  # see event_time(); None: the CRM does not say
    received_at: datetime
    data: Any
    hydrate: str | None = None
    problem: str | None = None
    subject_type: str | None = None
    # Of the HTTP request that brought it, as in the log; None: an older release stored the event,
    # or a person made it.
    request_id: str | None = None
    # The span of that request, as the header of this name has it (W3C); None: no traces were made.
    traceparent: str | None = None
    # The ids of the records that the CRM has merged into the subject since, the earliest first.
    merged_from: tuple[str, ...] = ()
    account: str | None = None  # see Item; only the intake needs it, so it is not stored
    is_reconciled: bool = False
    is_test: bool = False  # see Item

    @property
    def happening(self) -> Happening | None:
        """What a webhook and a reconcile have in common; None: no reconcile finds such an event."""
        word = self.type.rpartition(".")[2]
        if self.account is None or self.subject is None or word not in RECONCILED:
            return None
        return Happening(
            key=derive_id("happening", self.source, self.account, self.type, self.subject),
            at=self.happened_at,
            within=None if word == "created" else SAME_CHANGE,
            is_reconciled=self.is_reconciled,
        )

    @property
    def record(self) -> tuple[str, str, str] | None:
        """The CRM's record that it is about: its source, object and id; None: no record."""
        if self.subject is None:
            return None
        return self.source, self.subject_type or self.type.partition(".")[0], self.subject

    @property
    def records(self) -> tuple[tuple[str, str, str], ...]:
        """Its record, then those that were merged into it; empty: no record."""
        if self.record is None:
            return ()
        source, subject_type, _ = self.record
        return self.record, *((source, subject_type, former) for former in self.merged_from)

    def followed(self, subject: str) -> "Event":
        """Return the event as that of the record into which the CRM merged its record."""
        former = dict.fromkeys((*self.merged_from, str(self.subject)))
        merged_from = tuple(one for one in former if one != subject)
        return replace(self, subject=subject, merged_from=merged_from)

    @property
    def happened_at(self) -> datetime:
        """When it happened, or when we received it if the CRM does not say."""
        return self.time or self.received_at

    def __repr__(self) -> str:
        # data is personal; a traceback or a log line must not contain it.
        return f"Event(id={self.id!r}, source={self.source!r}, type={self.type!r})"


def is_guarded_type(event_type: str) -> bool:
    """Say whether only a route that names this type may call a person because of it."""
    return event_type.rpartition(".")[2].casefold() in NEVER_BY_GLOB
