"""What a preview shows, as JSON for programs and as lines for people."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from schemas.delivery import Reason
from schemas.event import Event

Word = Literal["ok", "no", "at the intake", "at the send", "not judged"]
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
    """One guard's verdict; `at …`: it hangs on history, which is known there alone.

    until: when it may be asked again; None: that changes nothing.
    """

    guard: str
    verdict: Word
    reason: str | None = None
    message: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one route makes of one event. verdict: SENT, FETCHED, or its delivery's status."""

    route: str
    verdict: str
    guards: tuple[Ruling, ...] = ()
    requests: tuple[Request, ...] = ()
    reason: str | None = None
    message: str | None = None
    until: datetime | None = None  # of what is held


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One event, and what becomes of it; no outcomes: why_none says why, a sentence a route.

    wants is what it has done to its person, whatever the routes; None: nothing.
    """

    event: Event
    outcomes: tuple[Outcome, ...] = ()
    why_none: tuple[str, ...] = ()
    wants: Literal["erase", "opt_out"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a whole request becomes, as of `at`."""

    at: datetime
    events: tuple[Seen, ...] = ()

    def as_json(self) -> list[dict[str, Any]]:
        """Return it as JSON can hold it."""
        return [{"at": _iso(self.at), **_event_json(seen)} for seen in self.events]

    def text(self) -> str:
        """Return it for people."""
        if not self.events:
            return "No event: the body holds no item."
        total = len(self.events)
        return "\n\n".join(
            "\n".join((f"Event {number} of {total}{_told(seen, self.at)}", *_event_lines(seen)))
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
        "deliveries": [
            {
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
                "requests": [
                    {
                        "method": ask.method,
                        "path": ask.path,
                        "body": ask.body,
                        "note": ask.note,
                    }
                    for ask in one.requests
                ],
            }
            for one in seen.outcomes
        ],
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


# --- lines ----------------------------------------------------------------------------------

WANTS = {
    "erase": "its person is erased: their records lose what is personal, and they are suppressed.",
    "opt_out": "its person is suppressed from the intake on: opt_out says so.",
}


def _told(seen: Seen, at: datetime) -> str:
    event = seen.event
    subject = f", subject {event.subject}" if event.subject else ""
    time = f", {event.time.isoformat(timespec='seconds')}" if event.time else ""
    return f": {event.type}{subject}{time}, as of {at.isoformat(timespec='seconds')}"


def _event_lines(seen: Seen) -> Iterator[str]:
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
        yield from _outcome_lines(one)


def _outcome_lines(one: Outcome) -> Iterator[str]:
    reason = f" ({one.reason})" if one.reason else ""
    yield f"  route {one.route!r}: {one.verdict}{reason}{_until(one.until)}"
    if one.message:
        yield f"    {one.message}"
    if one.reason == Reason.TOO_OLD:
        yield "    --at TIME looks at it as of then; the event's own time stays."
    for ruling in one.guards:
        message = f": {ruling.message}" if ruling.message else ""
        yield f"    {ruling.guard:<{WIDTH}} {ruling.verdict}{message}{_until(ruling.until)}"
    for ask in one.requests:
        yield f"    {ask.method} {ask.path}{f'   ({ask.note})' if ask.note else ''}"
        if ask.body is not None:
            body = json.dumps(ask.body, indent=2, ensure_ascii=False)
            yield from (f"      {line}" for line in body.splitlines())


def _until(at: datetime | None) -> str:
    return f" until {at.isoformat(timespec='minutes')}" if at else ""
