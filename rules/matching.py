"""Matching: the event that an item becomes, and the deliveries that an event gets. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import orjson

from rules.person import name_of
from rules.search import found_by
from schemas.event import Event, Item, derive_id
from schemas.event_time import event_time
from schemas.expression import ExpressionError
from schemas.records import NewDelivery
from schemas.route import Flood, Route, Routes
from schemas.source import Incoming, Kind, Source

LONGEST_ID: Final = 300
"""Characters that are kept of a CRM's id or type."""


def events_of(
    items: Sequence[Item],
    source: Source,
    request: Incoming,
    now: datetime,
    dedupe_s: int,
    request_id: str | None = None,
    *,
    zone: str = "UTC",
    traceparent: str | None = None,
) -> list[Event]:
    """Return the items of a request as events; see as_event()."""
    window_s = source.remember_s(request.proof, dedupe_s)
    return [
        as_event(
            item,
            source,
            now,
            dedupe_s,
            request_id,
            window_s=window_s,
            zone=zone,
            traceparent=traceparent,
        )
        for item in items
    ]


def as_event(
    item: Item,
    source: Source,
    now: datetime,
    dedupe_s: int,
    request_id: str | None = None,
    *,
    window_s: int | None = None,
    zone: str = "UTC",
    traceparent: str | None = None,
) -> Event:
    """Return an item as an event; our id of it is the same for each resend.

    dedupe_s: for how long a CRM's own event id is remembered. request_id, traceparent: see Event.
    window_s: for how long an item without an id is known by its type and its data; None: the
    source's id_window. zone: that of a time that is only a day, if the source has none.
    """
    if item.source_event_id is not None:
        event_id = derive_id("event", source.name, item.source_event_id)
        source_event_id, fingerprint, remember_s = item.source_event_id, event_id, dedupe_s
    else:
        # The CRM sends no id: equal bytes are one event within the window, and a new one after it.
        known_type = (item.type,) if item.is_type_proved else ()
        digest = derive_id("bytes", source.name, *known_type, _canonical(item.data))
        source_event_id = f"{digest}-{int(now.timestamp() * 1000)}"
        event_id = derive_id("event", source.name, source_event_id)
        fingerprint, remember_s = digest, source.id_window_s if window_s is None else window_s
    return Event(
        id=event_id,
        source=source.name,
        source_event_id=_short(source_event_id),
        fingerprint=fingerprint,
        remember_s=remember_s,
        type=_short(item.type),
        subject=None if item.subject is None else _short(item.subject),
        subject_type=item.subject_type,
        time=event_time(item.time, source.timezone or zone, now),
        received_at=now,
        data=item.data,
        hydrate=item.hydrate,
        problem=item.problem,
        request_id=request_id,
        traceparent=traceparent,
        account=item.account,
        is_reconciled=item.is_reconciled,
        is_test=item.is_test,
    )


def _short(text: str) -> str:
    """Return a text; a long one cut, with a hash of the whole, so that no two become equal.

    Ids and types stand in indexes, in lists and in logs. Those of CRMs have up to 100 characters.
    """
    return text if len(text) <= LONGEST_ID else f"{text[:LONGEST_ID]}…{derive_id(text)}"


def deliveries_of(event: Event, routes: Routes) -> list[NewDelivery]:
    """Return a delivery for each route that matches the event; a vendor's test has none."""
    if event.problem or event.is_test:
        return []
    kind = routes.sources[event.source].kind
    return [
        delivery_of(event, route, kind, bulk=_bulk(event, route, kind), flood=route.flood)
        for route in matching(event, routes)
    ]


def delivery_of(
    event: Event, route: Route, kind: Kind, *, bulk: str | None = None, flood: Flood | None = None
) -> NewDelivery:
    """Return the delivery of an event for a route; bulk, flood: see NewDelivery."""
    return NewDelivery(
        id=derive_id("delivery", event.id, route.name),
        route=route.name,
        to=route.to,
        wait_s=route.delay_s,
        name=name_of(None, event.data, kind) if route.to == "call" else None,
        record_page=record_page_of(event, kind),
        found_by=found_by(event, kind, route),
        bulk=bulk,
        flood=flood,
    )


def record_page_of(event: Event, kind: Kind) -> str | None:
    """Return the path of the CRM's page of an event's record, up to its id; None: not known."""
    record = event.record
    if kind.record_page is None or record is None:
        return None
    return kind.record_page(record[1], event.data)


def _bulk(event: Event, route: Route, kind: Kind) -> str | None:
    """Return why a call waits for a person: its CRM says that an import made it; None: no wait."""
    if route.to != "call" or kind.is_import is None or not kind.is_import(event.data):
        return None
    return "The CRM marks it as part of an import. Release or cancel them."


def matching(event: Event, routes: Routes) -> Iterator[Route]:
    """Yield the routes that match this event.

    `match` reads the notification as it was received. `when` reads the whole record, so it counts
    here only if the event is complete. The worker evaluates it for a thin event, once it is
    hydrated.
    """
    for route in routes.for_event(event.source, event.type):
        try:
            if route.match and not route.match.holds(event.data):
                continue
            if route.when and event.hydrate is None and not route.when.holds(event.data):
                continue
        except ExpressionError:
            # The worker meets the same error and shows it on the delivery.
            pass
        yield route


def _canonical(data: object) -> str:
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
