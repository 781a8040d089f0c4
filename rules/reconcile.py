"""Reconcile: which records a CRM is asked for, and the events that they become. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from rules.matching import deliveries_of
from schemas.crm_api import ChangedRecord, Reconcile
from schemas.event import SAME_CHANGE, Event, Item
from schemas.records import NewDelivery
from schemas.route import Route, Routes
from schemas.source import Source

HANDFUL: Final = 5
"""A reconcile that finds more than this many events holds their calls until a person releases."""

HELD: Final = "A reconcile found it among many that never arrived. Release or cancel them."


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Records of one object that the routes of a source are interested in."""

    word: str  # ours: "contact"
    crm_object: str
    with_created: bool
    with_changed: bool


def wanted_of(source: Source, routes: Routes) -> tuple[Wanted, ...]:
    """Return what a reconcile of a source asks for; (): the routes want nothing that it finds."""
    objects = source.kind.reconcile.objects if source.kind.reconcile else {}
    found = (
        Wanted(
            word=word,
            crm_object=crm_object,
            with_created=any(_takes(one, source, f"{word}.created") for one in routes.routes),
            with_changed=any(_takes(one, source, f"{word}.updated") for one in routes.routes),
        )
        for word, crm_object in sorted(objects.items())
    )
    return tuple(one for one in found if one.with_created or one.with_changed)


def _takes(route: Route, source: Source, event_type: str) -> bool:
    """Say whether a route takes what a reconcile finds.

    Not if its glob matches a workflow's bodies, too: these don't say which record they are about in
    a way that the bridge knows, so it would call the same people again.
    """
    return route.wants(source.name, event_type) and not route.wants(
        source.name, source.default_type
    )


def items_of(
    record: ChangedRecord, wanted: Wanted, since: datetime, reconcile: Reconcile, account: str
) -> Iterator[Item]:
    """Yield what never arrived of a record, if no webhook told it: its creation and a change.

    A change soon after the creation is a part of it: CRMs fill in fields by themselves.
    """
    created_at, changed_at = record.created_at, record.changed_at
    if wanted.with_created and created_at and created_at >= since:
        yield reconcile.item(f"{wanted.word}.created", wanted.crm_object, record, account)
    if not wanted.with_changed or changed_at is None or changed_at < since:
        return
    if created_at is None or changed_at - created_at > SAME_CHANGE:
        yield reconcile.item(f"{wanted.word}.updated", wanted.crm_object, record, account)


def deliveries_found(event: Event, routes: Routes, *, is_bulk: bool) -> list[NewDelivery]:
    """Return the deliveries of an event that a reconcile found; []: it is left out.

    `match` reads the notification, which says what was changed; a reconcile does not know that. So
    a route with a `match` gets no changed records.
    """
    source, is_change = routes.sources[event.source], event.type.endswith(".updated")
    takers = {
        one.name
        for one in routes.routes
        if _takes(one, source, event.type) and not (is_change and one.match is not None)
    }
    found = [one for one in deliveries_of(event, routes) if one.route in takers]
    return [_held(one) for one in found] if is_bulk else found


def _held(delivery: NewDelivery) -> NewDelivery:
    return replace(delivery, bulk=delivery.bulk or HELD) if delivery.to == "call" else delivery


def is_many(count: int) -> bool:
    """Say whether so many new events are too many to call at once without a person."""
    return count > HANDFUL


def examples(events: Sequence[Event]) -> list[dict[str, str | None]]:
    """Return events as people see them in a count: of the record's id only the end.

    They outlive an erasure of the person.
    """
    return [
        {
            "type": one.type,
            "subject": f"…{(one.subject or '')[-4:]}",
            "at": one.time.isoformat() if one.time else None,
        }
        for one in events
    ]
