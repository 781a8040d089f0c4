"""What a preview shows, as JSON for programs and as lines for people."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from schemas.delivery import Reason
from schemas.event import Event
from schemas.visible import visible

Word = Literal["ok", "no", "at the intake", "at the send", "not checked"]
WIDTH = 14  # of the column of guards


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request that would be made; note says when, if not always."""

    method: str
    path: str
    body: Any = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """One guard's verdict."""

    guard: str
    verdict: Word  # "at …": the guard needs the history, which is known only then
    reason: str | None = None
    message: str | None = None
    until: datetime | None = None  # when the guard is checked again; None: that changes nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenBack:
    """What the CRM would be told of a call."""

    moment: str  # of the call: "outcome"
    requests: tuple[Request, ...] = ()
    message: str | None = None  # why there is no request


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one route makes of one event."""

    route: str
    verdict: str  # SENT, FETCHED, or the status of the delivery
    guards: tuple[Ruling, ...] = ()
    requests: tuple[Request, ...] = ()
    reason: str | None = None
    message: str | None = None
    until: datetime | None = None  # until when the delivery is held
    write_back: WrittenBack | None = None  # None: the route has no [route.write_back]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One event, and what becomes of it."""

    event: Event
    outcomes: tuple[Outcome, ...] = ()
    why_none: tuple[str, ...] = ()  # why there is no outcome, a sentence a route
    wants: Literal["erase", "opt_out"] | None = None  # the privacy action; None: none


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a whole request becomes at the time `at`."""

    at: datetime
    events: tuple[Seen, ...] = ()

    def as_json(self) -> list[dict[str, Any]]:
        """Return the preview for programs. Its times are in UTC."""
        return [{"at": _iso(self.at), **_event_json(seen)} for seen in self.events]

    def text(self, zone: ZoneInfo) -> str:
        """Return the preview for people. Its times are in `zone`, which each of them names."""
        if not self.events:
            return "No event: the body has no item."
        total = len(self.events)
        # Each line by itself: a line end in a value must not make a line that looks like ours.
        return "\n\n".join(
            "\n".join(
                map(
                    visible,
                    (
                        f"Event {number} of {total}: {_heading(seen.event, self.at, zone)}",
                        *_event_lines(seen, zone),
                    ),
                )
            )
            for number, seen in enumerate(self.events, start=1)
        )


# --- JSON -----------------------------------------------------------------------------------


def _event_json(seen: Seen) -> dict[str, Any]:
    event = seen.event
    status = "unreadable" if event.problem else "routed" if seen.outcomes else "unrouted"
    return {
        "id": event.id,
        "source_event_id": event.source_event_id,
        "type": event.type,
        "subject": event.subject,
        "time": _iso(event.time),
        "status": status,
        "wants": seen.wants,
        "why_none": list(seen.why_none),
        "deliveries": [outcome_json(one) for one in seen.outcomes],
    }


def outcome_json(one: Outcome) -> dict[str, Any]:
    """Return an outcome for programs. Its times are in UTC."""
    return {
        "route": one.route,
        "verdict": one.verdict,
        "reason": one.reason,
        "message": one.message,
        "until": _iso(one.until),
        "guards": [
            {
                "guard": ruling.guard,
                "verdict": ruling.verdict,
                "reason": ruling.reason,
                "message": ruling.message,
                "until": _iso(ruling.until),
            }
            for ruling in one.guards
        ],
        "requests": _requests_json(one.requests),
        "write_back": one.write_back
        and {
            "moment": one.write_back.moment,
            "message": one.write_back.message,
            "requests": _requests_json(one.write_back.requests),
        },
    }


def _requests_json(requests: tuple[Request, ...]) -> list[dict[str, Any]]:
    return [
        {"method": one.method, "path": one.path, "body": one.body, "note": one.note}
        for one in requests
    ]


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


# --- lines ----------------------------------------------------------------------------------

WANTS = {
    "erase": "This event erases its person: their data is deleted, and they are suppressed.",
    "opt_out": "This event suppresses its person as soon as it is accepted: opt_out matches it.",
}


def _heading(event: Event, at: datetime, zone: ZoneInfo) -> str:
    subject = f", subject {event.subject}" if event.subject else ""
    happened = f", happened {_local(event.time, zone)}" if event.time else ""
    return f"{event.type}{subject}{happened}, as of {_local(at, zone)}"


def _event_lines(seen: Seen, zone: ZoneInfo) -> Iterator[str]:
    event = seen.event
    yield f"  id {event.id} ({event.source}: {event.source_event_id})"
    if event.problem:
        yield f"  unreadable: {event.problem}"
        return
    if seen.wants:
        yield f"  {WANTS[seen.wants]}"
    if not seen.outcomes:
        yield "  unrouted, so nobody is called:"
        yield from (f"    {why}" for why in seen.why_none)
    for one in seen.outcomes:
        yield from _outcome_lines(one, zone)


def _outcome_lines(one: Outcome, zone: ZoneInfo) -> Iterator[str]:
    reason = f" ({one.reason})" if one.reason else ""
    yield f"  route {one.route!r}: {one.verdict}{reason}{_until(one.until, zone)}"
    if one.message:
        yield f"    {one.message}"
    if one.reason == Reason.TOO_OLD:
        yield "    To preview it as of an earlier time, give --at TIME."
    for ruling in one.guards:
        message = f": {ruling.message}" if ruling.message else ""
        until = _until(ruling.until, zone)
        yield f"    {ruling.guard:<{WIDTH}} {ruling.verdict}{message}{until}"
    yield from _request_lines(one.requests)
    if one.write_back:
        yield f"    written back at the moment {one.write_back.moment!r}:"
        if one.write_back.message:
            yield f"      nothing: {one.write_back.message}"
        yield from (f"  {line}" for line in _request_lines(one.write_back.requests))


def _request_lines(requests: tuple[Request, ...]) -> Iterator[str]:
    for request in requests:
        yield f"    {request.method} {request.path}{f'   ({request.note})' if request.note else ''}"
        if request.body is not None:
            body = json.dumps(request.body, indent=2, ensure_ascii=False)
            yield from (f"      {line}" for line in body.splitlines())


def _until(at: datetime | None, zone: ZoneInfo) -> str:
    return f" until {_local(at, zone)}" if at else ""


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S} {zone.key}"
