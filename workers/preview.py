"""What a webhook request would become, without Redis, network or secrets: `preview`.

The very code of the intake and the worker decides: the CRM module's parse(), as_event(),
matching() and prepare(). Here is only what it takes to show that. Imported by the command line by
name, since bridge never imports workers.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bridge.body import read_body
from bridge.intake import as_event, matching
from bridge.records import Claim, Move
from bridge.settings import Settings
from schemas.delivery import Delivery, Reason, Status
from schemas.event import Event, derive_id
from schemas.expression import ExpressionError
from schemas.route import Route
from schemas.source import CrmRequest, Hydration, Incoming, Source
from workers.callkaro import PATHS
from workers.delivery import CampaignNeed, Ready, prepare

SENT = "would be sent"
FETCHED = "fetches the record first"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request that would be made; note says when, if not always."""

    method: str
    path: str
    body: Any = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one route makes of one event."""

    route: str
    verdict: str  # SENT, FETCHED, or the status that its delivery would have
    requests: tuple[Request, ...] = ()
    reason: str | None = None
    message: str | None = None
    until: datetime | None = None  # of what is held


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One event, and what becomes of it; no outcomes: why_none says why, a sentence a route."""

    event: Event
    outcomes: tuple[Outcome, ...] = ()
    why_none: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a whole request becomes."""

    events: tuple[Seen, ...] = field(default_factory=tuple)

    def as_json(self) -> list[dict[str, Any]]:
        """Return it as JSON can hold it."""
        return [_event_json(seen) for seen in self.events]

    def text(self) -> str:
        """Return it for people."""
        if not self.events:
            return "No event: the body holds no item."
        total = len(self.events)
        return "\n\n".join(
            "\n".join(_event_lines(seen, number, total))
            for number, seen in enumerate(self.events, start=1)
        )


def look(
    settings: Settings, source: Source, request: Incoming, *, now: datetime, record: Any = None
) -> Preview:
    """Say what a request of this source becomes at `now`; its signature is not checked.

    record is the full record of its thin events, or several by id; None: none is at hand.

    Raises BadPayload or UnsupportedMedia.
    """
    content = read_body(request.body, request.headers.get("Content-Type") or "")
    dedupe_s = settings.dedupe_days * 86_400
    events = [
        as_event(item, source, now, dedupe_s)
        for item in source.kind.parse(content, request, source)
    ]
    return Preview(
        events=tuple(_see(settings, source, event, now=now, record=record) for event in events)
    )


def _see(settings: Settings, source: Source, event: Event, *, now: datetime, record: Any) -> Seen:
    if event.problem:
        return Seen(event=event, why_none=(event.problem,))
    routes = list(matching(event, settings.routes))
    if not routes:
        return Seen(event=event, why_none=tuple(_why_none(event, settings)))
    return Seen(
        event=event,
        outcomes=tuple(
            _outcome(settings, source, event, route, now=now, record=record) for route in routes
        ),
    )


def _outcome(
    settings: Settings, source: Source, event: Event, route: Route, *, now: datetime, record: Any
) -> Outcome:
    hydration = source.kind.hydration
    data = event.data
    if hydration and event.hydrate and event.subject:
        if record is None:
            return _fetch(settings, source, hydration, event, route)
        found = _record_of(hydration, record, event.subject)
        if found is None:
            return Outcome(
                route=route.name,
                verdict=Status.SKIPPED,
                reason=Reason.RECORD_GONE,
                message=f"--record has no record {event.subject}.",
            )
        data = hydration.merge(data, found)
    claim = Claim(delivery=_delivery(event, route, settings, now), event=event)
    return _told(prepare(claim, data, settings, now), route)


def _told(prepared: Move | Ready, route: Route) -> Outcome:
    """Return what prepare() decided, as the requests that would leave."""
    if isinstance(prepared, Ready):
        return Outcome(route=route.name, verdict=SENT, requests=tuple(_requests(prepared)))
    body = prepared.fields.get("request")
    request = Request(
        method="POST",
        path=PATHS["call"],
        body=json.loads(body) if isinstance(body, str) else None,
        note="what it would have been",
    )
    return Outcome(
        route=route.name,
        verdict=prepared.to,
        requests=(request,) if body and route.to == "call" else (),
        reason=prepared.reason,
        message=prepared.message,
        until=prepared.due_at,
    )


def _requests(ready: Ready) -> Iterator[Request]:
    if ready.to == "campaign":
        yield Request(method="POST", path=_campaign_path(ready.body), body=ready.body)
        return
    body = ready.body
    if ready.campaign:
        if ready.campaign.body is not None:
            yield Request(
                method="POST",
                path=_campaign_path(ready.campaign.body),
                body=ready.campaign.body,
                note="once, if the campaign is not there yet",
            )
        body = {**body, "batch_id": _batch_id(ready.campaign)}
    yield Request(method="POST", path=PATHS["call"], body=body)


def _campaign_path(body: Mapping[str, Any]) -> str:
    return PATHS["v1" if "agent_id" in body else "v2"]


def _batch_id(campaign: CampaignNeed) -> str:
    if campaign.body is None:
        return (
            f"<of the campaign {campaign.key.removeprefix('key/')!r}, once another event made it>"
        )
    return f"<of the campaign {campaign.body['name']!r}>"


def _delivery(event: Event, route: Route, settings: Settings, now: datetime) -> Delivery:
    """Return the delivery that the intake would make of an event for a route."""
    return Delivery(
        id=derive_id("delivery", event.id, route.name),
        event_id=event.id,
        source=event.source,
        subject=event.subject,
        route=route.name,
        to=route.to,
        routes=settings.routes.digest,
        status=Status.QUEUED,
        order=0,
        created_at=now,
    )


# --- thin events ----------------------------------------------------------------------------


def _fetch(
    settings: Settings, source: Source, hydration: Hydration, event: Event, route: Route
) -> Outcome:
    """Return the request for the record that an event lacks."""
    wanted = sorted({*hydration.fields(route.paths), *route.fetch})
    ask = hydration.request(str(event.hydrate), [str(event.subject)], wanted)
    variables = settings.variables.get(source.name, {})
    base_url = variables.get(hydration.api_url) or f"<{source.variable_prefix}{hydration.api_url}>"
    when = f", then judges when: {route.when.text}" if route.when else ""
    return Outcome(
        route=route.name,
        verdict=FETCHED,
        requests=(Request(method=ask.method, path=base_url + _path(ask), body=ask.json),),
        message=f"The event has only an id. The worker asks for {', '.join(wanted)}{when}. "
        "Give such a record with --record FILE to see the call.",
    )


def _path(ask: CrmRequest) -> str:
    query = "&".join(f"{name}={value}" for name, value in ask.params.items())
    return f"{ask.path}?{query}" if query else ask.path


def _record_of(hydration: Hydration, content: Any, subject: str) -> Mapping[str, Any] | None:
    """Return the record of a subject out of what --record gave; None: it is not there.

    That is what the CRM's API answers; or records by id; or one record, which then is everyone's.
    """
    answered = hydration.records(content)
    if answered:
        return answered.get(subject)
    if not isinstance(content, dict):
        return None
    if content and all(isinstance(value, dict) and _is_id(key) for key, value in content.items()):
        one = content.get(subject)
        return None if one is None else _as_answered(hydration, one)
    return _as_answered(hydration, content)


def _is_id(key: str) -> bool:
    return any(char.isdecimal() for char in key)


def _as_answered(hydration: Hydration, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record as its CRM's API gives it, whose fields may stand under `properties`."""
    nested = hydration.fields(frozenset({("properties", "x")})) == {"x"}
    return {"properties": record} if nested and "properties" not in record else record


# --- why none -------------------------------------------------------------------------------


def _why_none(event: Event, settings: Settings) -> Iterator[str]:
    """Yield a sentence for each route of the event's source on why it does not want the event."""
    routes = [route for route in settings.routes.routes if route.source == event.source]
    if not routes:
        yield f"No route has source = {event.source!r}."
    for route in routes:
        yield f"{route.name}: {_why_not(event, route)}"


def _why_not(event: Event, route: Route) -> str:
    if not route.wants(event.source, event.type):
        return f"it wants {route.event}."
    try:
        if route.match and not route.match.holds(event.data):
            return f"its match does not hold: {route.match.text}"
    except ExpressionError as error:
        return f"{error}."
    return f"its when does not hold: {route.when.text if route.when else ''}"


# --- shown ----------------------------------------------------------------------------------


def _event_json(seen: Seen) -> dict[str, Any]:
    event = seen.event
    status = "unreadable" if event.problem else "routed" if seen.outcomes else "unrouted"
    return {
        "id": event.id,
        "source_event_id": event.source_event_id,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.isoformat() if event.time else None,
        "status": status,
        "why_none": list(seen.why_none),
        "deliveries": [
            {
                "route": one.route,
                "verdict": one.verdict,
                "reason": one.reason,
                "message": one.message,
                "until": one.until.isoformat() if one.until else None,
                "requests": [
                    {"method": ask.method, "path": ask.path, "body": ask.body, "note": ask.note}
                    for ask in one.requests
                ],
            }
            for one in seen.outcomes
        ],
    }


def _event_lines(seen: Seen, number: int, total: int) -> Iterator[str]:
    event = seen.event
    subject = f", subject {event.subject}" if event.subject else ""
    time = f", {event.time.isoformat(timespec='seconds')}" if event.time else ""
    yield f"Event {number} of {total}: {event.type}{subject}{time}"
    yield f"  id {event.id} ({event.source}: {event.source_event_id})"
    if event.problem:
        yield f"  unreadable: {event.problem}"
        return
    if not seen.outcomes:
        yield "  unrouted, so nobody is called:"
        yield from (f"    {why}" for why in seen.why_none)
    for one in seen.outcomes:
        yield from _outcome_lines(one)


def _outcome_lines(one: Outcome) -> Iterator[str]:
    reason = f" ({one.reason})" if one.reason else ""
    until = f" until {one.until.isoformat(timespec='minutes')}" if one.until else ""
    yield f"  route {one.route!r}: {one.verdict}{reason}{until}"
    if one.message:
        yield f"    {one.message}"
    if one.reason == Reason.TOO_OLD:
        yield "    --at TIME looks at it as of then."
    for ask in one.requests:
        yield f"    {ask.method} {ask.path}{f'   ({ask.note})' if ask.note else ''}"
        if ask.body is not None:
            body = json.dumps(ask.body, indent=2, ensure_ascii=False)
            yield from (f"      {line}" for line in body.splitlines())
