"""What a webhook request would become, without Redis, network or secrets: `preview`.

The functions of the intake and of the worker decide: the CRM module's parse(), as_event(),
deliveries_of(), screen() and prepare(). This package only shows what they return.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from rules.candidate import Candidate
from rules.mapping import CampaignNeed, padding_of
from rules.matching import deliveries_of, events_of
from rules.opt_outs import privacy_action
from rules.plan import Ready, candidate_or_none, prepare, screen
from rules.preview.guards import guards_of
from rules.preview.requests import crm_request
from rules.preview.text import Outcome, Preview, Request, Ruling, Seen
from rules.preview.write_back import written_back
from schemas.callkaro import PATHS
from schemas.crm_api import Hydration
from schemas.delivery import Delivery, Reason, Status
from schemas.event import Event
from schemas.expression import ExpressionError
from schemas.outcome import Outcome as CallOutcome
from schemas.records import Claim, Move, NewDelivery
from schemas.route import Route
from schemas.settings import Settings
from schemas.source import Incoming, Source, assumed_proof, read_items

SENT = "would be sent"
FETCHED = "fetches the record first"
WOULD_BE = "what it would have been"


def look(
    settings: Settings,
    source: Source,
    request: Incoming,
    content: object,
    *,
    now: datetime,
    record: Any = None,
    ended: CallOutcome | None = None,
) -> Preview:
    """Return what a request of this source becomes at `now`. Its signature is not checked.

    content: the parsed body.
    record: the full record of the request's thin events, or several records by id; None: no record
    is given.
    ended: how its calls end, for what is written back; None: a sample.

    Raises TooLarge: the content has too many items.
    """
    dedupe_s = settings.dedupe_days * 86_400
    request = replace(request, proof=assumed_proof(source.auth, request.headers))
    items = read_items(source, content, request)
    zone = settings.callkaro_timezone
    events = events_of(items, source, request, now, dedupe_s, zone=zone)
    return Preview(
        at=now,
        events=tuple(
            _see(settings, source, event, now=now, record=record, ended=ended) for event in events
        ),
    )


def _see(
    settings: Settings,
    source: Source,
    event: Event,
    *,
    now: datetime,
    record: Any,
    ended: CallOutcome | None,
) -> Seen:
    if event.problem:
        return Seen(event=event, why_none=(event.problem,))
    if event.is_test:
        return Seen(
            event=event,
            why_none=(f"For {source.kind.title} it is a test, or about no lead: it calls nobody.",),
        )
    wants = privacy_action(event, source)
    made = deliveries_of(event, settings.routes)
    if not made:
        return Seen(event=event, why_none=tuple(_why_none(event, settings)), wants=wants)
    looks = [_Look(settings=settings, source=source, event=event, new=new, now=now) for new in made]
    is_off = wants is not None and event.subject is not None  # then its record is suppressed
    outcomes = tuple(
        look.with_write_back(look.outcome(record, is_off=is_off), ended) for look in looks
    )
    return Seen(event=event, outcomes=outcomes, wants=wants)


def look_at(
    settings: Settings, source: Source, event: Event, new: NewDelivery, *, now: datetime
) -> Outcome:
    """Return what becomes of a delivery of a complete event that is not held as bulk."""
    look = _Look(settings=settings, source=source, event=event, new=new, now=now)
    return look.outcome(None, is_off=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """A delivery that the intake would make of an event, and the time of the preview."""

    settings: Settings
    source: Source
    event: Event
    new: NewDelivery
    now: datetime

    def outcome(self, record: Any, *, is_off: bool) -> Outcome:
        """Return what becomes of the delivery. is_off: the event itself suppresses its person."""
        data, is_whole = self.event.data, True
        hydration = self.source.kind.hydration
        if hydration and self.event.hydrate and self.event.subject:
            found = None if record is None else _record_of(hydration, record, self.event.subject)
            is_whole = found is not None
            data = data if found is None else hydration.merge(data, found)
        claim = Claim(delivery=_delivery(self.event, self.new, self.settings), event=self.event)
        candidate = candidate_or_none(claim, data, self.settings, self.now)
        assert candidate is not None  # noqa: S101  (its route has just been matched)
        if hydration is None or is_whole:
            outcome = _outcome_of(prepare(claim, data, self.settings, self.now), candidate.route)
        else:
            outcome = _fetch(candidate, hydration)
            if move := screen(claim, self.settings, self.now):
                would = tuple(replace(one, note=WOULD_BE) for one in outcome.requests)
                outcome = replace(_outcome_of(move, candidate.route), requests=would)
            elif record is not None:
                outcome = _gone(candidate)
        outcome = replace(
            outcome, requests=tuple(_with_padding(candidate, one) for one in outcome.requests)
        )
        guards = guards_of(claim, self.new, candidate, is_whole=is_whole, is_off=is_off)
        return _stopped(replace(outcome, guards=guards))

    def with_write_back(self, seen: Outcome, ended: CallOutcome | None) -> Outcome:
        """Return the outcome with what the CRM would be told of the call."""
        claim = Claim(delivery=_delivery(self.event, self.new, self.settings), event=self.event)
        told = written_back(claim, seen, ended, self.settings, self.now)
        return replace(seen, write_back=told)


def _with_padding(candidate: Candidate, request: Request) -> Request:
    """Return a call's request with a note if its gaps were padded."""
    if request.path != PATHS["call"] or not isinstance(request.body, dict):
        return request
    padding = padding_of(candidate, request.body)
    note = "; ".join(filter(None, (request.note, padding)))
    return replace(request, note=note) if padding else request


def _stopped(outcome: Outcome) -> Outcome:
    """Apply the guards that prepare() does not run: those of the intake and those of the send."""
    denial = next((one for one in outcome.guards if one.verdict == "no"), None)
    if denial and denial.reason == Reason.BULK:
        return _ended(outcome, Status.HELD, denial, note="once it is released")
    if denial and outcome.verdict == SENT:
        return _ended(outcome, Status.SKIPPED, denial, note=WOULD_BE)
    return outcome


def _ended(outcome: Outcome, status: Status, denial: Ruling, *, note: str) -> Outcome:
    return replace(
        outcome,
        verdict=status,
        reason=denial.reason,
        message=denial.message,
        until=None,
        requests=tuple(replace(one, note=one.note or note) for one in outcome.requests),
    )


def _gone(candidate: Candidate) -> Outcome:
    return Outcome(
        route=candidate.route.name,
        verdict=Status.SKIPPED,
        reason=Reason.RECORD_GONE,
        message=f"--record has no record {candidate.event.subject}.",
    )


def _outcome_of(prepared: Move | Ready, route: Route) -> Outcome:
    """Return what prepare() decided, as the requests that would be sent."""
    if isinstance(prepared, Ready):
        return Outcome(route=route.name, verdict=SENT, requests=tuple(_requests(prepared)))
    body = prepared.fields.get("request")
    request = Request(
        method="POST",
        path=PATHS["call"],
        body=orjson.loads(body) if isinstance(body, str) else None,
        note=WOULD_BE,
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
                note="once, if the campaign does not exist yet",
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


def _delivery(event: Event, new: NewDelivery, settings: Settings) -> Delivery:
    """Return the delivery that the intake would make of an event for a route."""
    return Delivery(
        id=new.id,
        event_id=event.id,
        source=event.source,
        subject=event.subject,
        route=new.route,
        to="call" if new.to == "call" else "campaign",
        routes=settings.routes.digest,
        status=Status.QUEUED,
        order=0,
        created_at=event.received_at,
    )


# --- thin events ----------------------------------------------------------------------------


def _fetch(candidate: Candidate, hydration: Hydration) -> Outcome:
    """Return the request for the record that an event lacks."""
    route, source = candidate.route, candidate.source
    wanted = sorted({*hydration.fields(route.paths_with(source)), *route.fetch})
    asked = hydration.request(str(candidate.event.hydrate), [str(candidate.event.subject)], wanted)
    when = f", then checks when: {route.when.text}" if route.when else ""
    return Outcome(
        route=route.name,
        verdict=FETCHED,
        requests=(crm_request(candidate.settings, source, asked),),
        message=f"The event has only an id. The worker fetches {', '.join(wanted)}{when}. "
        "Give such a record with --record FILE to see the call.",
    )


def _record_of(hydration: Hydration, content: Any, subject: str) -> Mapping[str, Any] | None:
    """Return the record of a subject in the content of --record; None: there is none.

    The content is what the CRM's API answers; or records by id; or one record for all events.
    """
    records = hydration.records(content)
    if records:
        return records.get(subject)
    if not isinstance(content, dict):
        return None
    if content and all(isinstance(value, dict) and _is_id(key) for key, value in content.items()):
        one = content.get(subject)
        return None if one is None else _as_answered(hydration, one)
    return _as_answered(hydration, content)


def _is_id(key: str) -> bool:
    return any(char.isdecimal() for char in key)


def _as_answered(hydration: Hydration, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record as its CRM's API answers it: some have the fields under `properties`."""
    nested = hydration.fields(frozenset({("properties", "x")})) == {"x"}
    return {"properties": record} if nested and "properties" not in record else record


# --- why none -------------------------------------------------------------------------------


def _why_none(event: Event, settings: Settings) -> Iterator[str]:
    """Yield a sentence for each route of the event's source: why it does not match the event."""
    routes = [route for route in settings.routes.routes if route.source == event.source]
    if not routes:
        yield f"No route has source = {event.source!r}."
    for route in routes:
        yield f"{route.name}: {_why_not(event, route)}"


def _why_not(event: Event, route: Route) -> str:
    if not route.wants(event.source, event.type):
        return f"its event is {route.event}."
    try:
        if route.match and not route.match.holds(event.data):
            return f"its match is not true: {route.match.text}"
    except ExpressionError as error:
        return f"{error}."
    return f"its when is not true: {route.when.text if route.when else ''}"
