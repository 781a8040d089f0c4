"""What to send for a delivery, and whether: when, guards, map, schema.

Nothing here does I/O: what goes in is the claim, the record, the settings and the time; what comes
out is a request that is ready, or the move that the delivery ends in.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import Any, Final, Literal
from zlib import crc32
from zoneinfo import ZoneInfo

import orjson
from marshmallow import ValidationError

from bridge.records import Claim, Move
from bridge.settings import Settings
from schemas.callkaro import (
    METADATA_ID,
    CampaignV1Schema,
    CampaignV2Schema,
    OutboundCallSchema,
    describe,
)
from schemas.delivery import Delivery, Reason, Status
from schemas.event import CALL_ME, Event
from schemas.expression import Expression, ExpressionError
from schemas.fields import PhoneError, e164, to_schedule_at
from schemas.guards import (
    No,
    held_until,
    judge_age,
    judge_allowed,
    judge_condition,
    judge_consent,
    judge_hours,
    judge_opt_out,
    judge_own_change,
)
from schemas.hours import Hours, Rule, next_opening, open_span, read_zone, trigger_times, zones_of
from schemas.numbers import candidates_of, choose_number
from schemas.route import Route
from schemas.source import Source, id_text

ROUTE_CHECK = timedelta(minutes=1)  # how often a delivery without a route looks for one
CARRIED_DAYS: Final = 7  # as far as redials that CallKaro carries over are looked at
SPREAD_S: Final = 300.0  # after an opening, over how long what waited for it is sent
CALL, V1, V2 = OutboundCallSchema(), CampaignV1Schema(), CampaignV2Schema()  # made once: 70 us each
# An account that is refused spends no attempt, so their number has no end. From here on the last
# one kept is written over.
KEPT_ATTEMPTS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignNeed:
    """A campaign that must be there before a call goes out, known in the store by key.

    body None: another event's delivery makes it, so we can only wait.
    """

    key: str
    body: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A delivery with its request, past all guards but those of the number's history.

    rings_at is when the phone is to ring. consent is what the route's consent read, as proof;
    None: it asks for none.
    """

    claim: Claim
    route: Route
    to: Literal["call", "campaign"]
    body: dict[str, Any]
    rings_at: datetime
    campaign: CampaignNeed | None = None
    makes: str | None = None  # the key under which this campaign can be found by calls
    consent: Mapping[str, Any] | None = None

    @property
    def delivery(self) -> Delivery:
        """Return the delivery itself."""
        return self.claim.delivery

    @property
    def number(self) -> int:
        """Return the number of the attempt to come; the first is 1."""
        return min(len(self.delivery.attempts) + 1, KEPT_ATTEMPTS)

    def in_campaign(self, batch_id: str) -> "Ready":
        """Return the same, in a campaign that is there now."""
        return replace(self, body={**self.body, "batch_id": batch_id}, campaign=None)


class _Stop(Exception):
    """Raised where the delivery goes no further for now."""

    def __init__(self, no: No, body: dict[str, Any] | None = None) -> None:
        super().__init__(no.message)
        self.no, self.body = no, body


@dataclass(frozen=True, kw_only=True)  # no slots: what takes long is worked out once
class Case:
    """What guards judge: one delivery of one event, by its route of today, at one time.

    data is the event's, hydrated. What can't be worked out raises _Stop with the no that it means.
    """

    delivery: Delivery
    event: Event
    route: Route
    source: Source
    data: Any
    settings: Settings
    now: datetime

    @property
    def is_call_me(self) -> bool:
        """Say whether a person asked for this very call, to a number that they named."""
        return self.event.type == CALL_ME

    @property
    def candidates(self) -> Any:
        """Return the number, or several to choose from, as they stand in the record."""
        if self.is_call_me:
            return self.event.data["to_number"]
        return _search("to_number", self.route.request["to_number"], self.data)

    @cached_property
    def number(self) -> str:
        """The number to call, E.164."""
        try:
            return choose_number(self.candidates, region=self.region, countries=self.countries)
        except PhoneError as error:
            raise _Stop(No(reason=Reason(error.reason), message=error.message)) from None

    @property
    def region(self) -> str | None:
        """Return the country of a number that is written without one; None: there is none."""
        return region_of(self.route, self.source, self.data, self.settings)

    @property
    def countries(self) -> frozenset[str] | None:
        """Return the countries that the route calls; None: all of them."""
        if self.route.countries == "any":
            return None
        default = self.settings.default_region
        return self.route.countries or frozenset({default} if default else ())

    @property
    def planned(self) -> datetime | None:
        """Return when the record wants the call; None: now."""
        local = self.schedule_at
        if local is None:
            return None
        zone = ZoneInfo(self.settings.callkaro_timezone)
        return datetime.fromisoformat(local).replace(tzinfo=zone).astimezone(UTC)

    @cached_property
    def schedule_at(self) -> str | None:
        """CallKaro's schedule_at; None: there is none."""
        value = self.route.request.get("schedule_at")
        found = _search("schedule_at", value, self.data) if value else None
        if _is_blank(found):
            return None
        try:
            return to_schedule_at(found, self.settings.callkaro_timezone)
        except ValidationError as error:
            raise _bad_request(ValidationError({"schedule_at": error.messages})) from None

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The hours that must be open: the outer limit, and the route's own within it."""
        zones = zones_of(self.number)
        outer = Rule(hours=Hours(window=self.settings.calling_hours), zones=zones)
        hours = self.route.hours
        if hours is None:
            return (outer,)
        zone = hours.timezone
        if isinstance(zone, Expression):
            found = _search("hours.timezone", zone, self.data)
            if not _is_blank(found):
                # One that can't be read is no zone, and no zone is closed.
                zone = read_zone(found) if isinstance(found, str) else None
                zones = frozenset({zone} if zone else ())
        elif zone:
            zones = frozenset({zone})
        return (outer, Rule(hours=hours.hours, zones=zones))


def region_of(route: Route, source: Source, data: Any, settings: Settings) -> str | None:
    """Return the country of a record's number that is written without one; None: there is none.

    The route's own word counts, then what the CRM keeps of the record, then DEFAULT_REGION.
    Raises _Stop.
    """
    if route.region:
        found = _search("region", route.region, data)
        if not _is_blank(found):
            # Not a text, or no country: then a number without a country code can't be read.
            return found if isinstance(found, str) else "?"
    if source.kind.region:
        found = _search("region", source.kind.region, data)
        if isinstance(found, str) and len(found.strip()) == 2:
            return found
    return settings.default_region


def numbers_of(source: Source, data: Any, settings: Settings) -> frozenset[str]:
    """Return every number (E.164) of a record that some route of its source might call."""
    found: set[str] = set()
    for route in settings.routes.routes:
        if route.source != source.name or route.to != "call":
            continue
        try:
            region = region_of(route, source, data, settings)
            raw = _search("to_number", route.request["to_number"], data)
        except _Stop:
            continue
        for candidate in candidates_of(raw):
            with suppress(PhoneError):
                found.add(e164(candidate, region))
    return frozenset(found)


# --- the guards -----------------------------------------------------------------------------


def _when(case: Case) -> No | None:
    if case.is_call_me:
        return None
    return _match(case) or judge_condition("when", case.route.when, case.data)


def _match(case: Case) -> No | None:
    return judge_condition("match", case.route.match, case.event.data)


def _own_change(case: Case) -> No | None:
    judge = case.source.kind.is_own_change
    return judge_own_change(bool(judge and judge(case.event.type, case.event.data)))


def _age(case: Case) -> No | None:
    held = timedelta(milliseconds=case.delivery.held_ms)
    return judge_age(case.now - case.event.happened_at - held, case.route.max_age_s)


def _opt_out(case: Case) -> No | None:
    return judge_opt_out(case.source.opt_out, case.data)


def _consent(case: Case) -> No | None:
    return None if case.is_call_me else judge_consent(case.route.consent, case.data)


def _number(case: Case) -> No | None:
    _ = case.number
    return None


def _allowed(case: Case) -> No | None:
    return judge_allowed(case.number, case.settings.allow_numbers)


def _hours(case: Case) -> No | None:
    return judge_hours(case.rules, now=case.now, planned=case.planned)


# In the order in which they are asked; the first no counts. Those of the number's history follow,
# in the step that permits the request.
WANTED: Final[tuple[tuple[str, Callable[[Case], No | None]], ...]] = (
    ("when", _when),
    ("own change", _own_change),
    ("max_age", _age),
)
CALLABLE: Final[tuple[tuple[str, Callable[[Case], No | None]], ...]] = (
    ("opt_out", _opt_out),
    ("consent", _consent),
    ("number", _number),
    ("ALLOW_NUMBERS", _allowed),
    ("hours", _hours),
)


def judged(guard: Callable[[Case], No | None], case: Case) -> No | None:
    """Return a guard's verdict; one that can't get at what it judges says no."""
    try:
        return guard(case)
    except _Stop as stop:
        return stop.no


# --- a delivery -----------------------------------------------------------------------------


def screen(claim: Claim, settings: Settings, now: datetime) -> Move | None:
    """Return the move of a thin delivery that needs no record to be fetched; None: it does."""
    try:
        case = _case(claim, claim.event and claim.event.data, settings, now)
        for guard in (_match, _own_change, _age):
            if no := guard(case):
                raise _Stop(no)
    except _Stop as stop:
        return _ended(claim.delivery, stop)
    return None


def prepare(claim: Claim, data: Any, settings: Settings, now: datetime) -> Move | Ready:
    """Decide what a claimed delivery comes to: `when`, age, guards, map, schema.

    data is the event's, hydrated. Returns a request that is ready, or the move it ends in.
    """
    try:
        case = _case(claim, data, settings, now)
        for _, guard in WANTED:
            if no := guard(case):
                raise _Stop(no)
        if case.route.to == "campaign":
            makes = campaign_key(case.route, data) or _key(case.event.subject)
            body = map_campaign(case.route, data)
            return Ready(
                claim=claim, route=case.route, to="campaign", body=body, rings_at=now, makes=makes
            )
        return _prepare_call(claim, case)
    except _Stop as stop:
        return _ended(claim.delivery, stop)


def case_of(claim: Claim, data: Any, settings: Settings, now: datetime) -> Case | None:
    """Return what guards judge; None: there is no such route, or the event's record is gone."""
    try:
        return _case(claim, data, settings, now)
    except _Stop:
        return None


def _case(claim: Claim, data: Any, settings: Settings, now: datetime) -> Case:
    """Return what guards judge; a delivery whose route is gone waits for it."""
    delivery, event = claim.delivery, claim.event
    route = settings.routes.named(delivery.route)
    if route is None or route.source != delivery.source:
        raise _Stop(
            No(
                reason=Reason.ROUTE_MISSING,
                message="There is no route of that name any more. Put it back and this goes on.",
                until=now + ROUTE_CHECK,
            )
        )
    if event is None:
        message = "The event's record is no longer kept."
        raise _Stop(No(reason=Reason.RECORD_GONE, message=message))
    return Case(
        delivery=delivery,
        event=event,
        route=route,
        source=settings.routes.sources[route.source],
        data=event.data["record"] if event.type == CALL_ME else data,
        settings=settings,
        now=now,
    )


def _prepare_call(claim: Claim, case: Case) -> Ready:
    body: dict[str, Any] = {}
    try:
        for guard in (_opt_out, _consent):
            if no := guard(case):
                raise _Stop(no)
        body = map_call(case)
        need = campaign_need(case.route, case.data, case.settings, case.now)
        for guard in (_allowed, _hours):
            if no := guard(case):
                raise _Stop(no)
        body |= _times(case, body)
    except _Stop as stop:
        raise _Stop(stop.no, body) from None
    return Ready(
        claim=claim,
        route=case.route,
        to="call",
        body=body,
        rings_at=max(case.now, case.planned or case.now),
        campaign=need,
        consent=None if case.is_call_me else proof_of_consent(case.route, case.data),
    )


def _ended(delivery: Delivery, stop: _Stop) -> Move:
    no = stop.no
    if no.until:
        to = Status.HELD
    else:
        to = Status.FAILED if no.reason is Reason.BAD_REQUEST else Status.SKIPPED
    return Move(
        id=delivery.id,
        to=to,
        lease=delivery.lease,
        reason=no.reason,
        message=no.message,
        due_at=no.until,
        spread_s=_share(delivery.id) * min(SPREAD_S, no.open_s / 2),
        fields={"request": orjson.dumps(stop.body).decode()} if stop.body else {},
    )


def _share(delivery_id: str) -> float:
    """Return where a delivery stands, from 0 to 1, among those that wait for the same opening.

    So that the opening minute does not get them all; the same at each look.
    """
    return crc32(delivery_id.encode()) / 2**32


# --- the map --------------------------------------------------------------------------------


def map_call(case: Case) -> dict[str, Any]:
    """Return the wire body of the call that the route makes of the record. Raises _Stop."""
    number = case.number
    mapped = mapped_fields(case.route, case.data)
    mapped["to_number"] = number
    mapped["schedule_at"] = case.schedule_at
    metadata = {
        name: _search(f"metadata.{name}", value, case.data)
        for name, value in case.route.metadata.items()
    }
    mapped["metadata"] = {**metadata, METADATA_ID: case.delivery.id}
    return _wire_body(CALL, mapped)


def map_campaign(route: Route, data: Any) -> dict[str, Any]:
    """Return the wire body of the campaign that the route makes of the record."""
    mapped = mapped_fields(route, data)
    if _is_blank(mapped.get("agent_id")):
        mapped.pop("agent_id", None)
        return _wire_body(V2, mapped)
    return _wire_body(V1, mapped)


def mapped_fields(route: Route, data: Any) -> dict[str, Any]:
    """Return what the route's expressions yield, unchecked."""
    return {name: _search(name, value, data) for name, value in route.request.items()}


def _times(case: Case, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trigger times of a call: CallKaro redials by itself, and must keep the hours too.

    In CallKaro's zone, on the day of the call: it is not told of other days, on which the hours
    may be others, so it carries nothing over unless the route says so of the same hours each day.
    """
    rules = case.rules
    if all(rule.hours.always for rule in rules):
        return {}
    at = max(case.now, case.planned or case.now)
    zone = case.settings.callkaro_timezone
    times = _times_of_day(rules, at, zone)
    is_now = at == case.now
    # The last minute before midnight, which CallKaro has no name for the end of.
    if times is None or (is_now and f"{at.astimezone(ZoneInfo(zone)):%H:%M}" >= times[1]):
        raise _Stop(_no_time_today(case, zone))
    opens = max(times[0], _clock(body.get("min_trigger_time"), times[0]))
    closes = min(times[1], _clock(body.get("max_trigger_time"), times[1]))
    if opens >= closes:
        message = "The trigger times of the route leave nothing of the calling hours."
        raise _Stop(No(reason=Reason.OUTSIDE_HOURS, message=message))
    own = case.route.hours.hours if case.route.hours else None
    is_daily = own is None or (len(own.days) == 7 and not own.holidays)
    is_whole = times[0] != "00:00" and times[1] != "23:59"  # nothing was cut off at midnight
    carries_over = bool(body.get("carry_over")) and is_daily and is_whole
    if carries_over:
        # Where clocks are about to change, the same hours are others by CallKaro's clock.
        days = (at + timedelta(days=n) for n in range(1, CARRIED_DAYS + 1))
        carries_over = all(_times_of_day(rules, day, zone) == times for day in days)
    return {"min_trigger_time": opens, "max_trigger_time": closes, "carry_over": carries_over}


def _times_of_day(rules: Sequence[Rule], at: datetime, zone: str) -> tuple[str, str] | None:
    open_ = open_span(rules, at)
    return trigger_times(open_, at, zone) if open_ else None


def _clock(text: str | None, default: str) -> str:
    """Return a time of day with two digits for the hour: "9:00" sorts after "21:00"."""
    return default if text is None else text.zfill(5)


def _no_time_today(case: Case, zone: str) -> No:
    """Return the no of a call for which no trigger times can be told: it waits for the next ones.

    Less than a minute is left of the hours or of CallKaro's day, or CallKaro's clock is about to
    show the same times again, of which some are outside the hours.
    """
    if case.planned and case.planned > case.now:
        message = (
            "By CallKaro's clock, no minute around schedule_at is surely in the calling hours."
        )
        return No(reason=Reason.OUTSIDE_HOURS, message=message)
    open_ = open_span(case.rules, case.now)
    tomorrow = case.now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    midnight = datetime.combine(tomorrow, time(), tzinfo=ZoneInfo(zone)).astimezone(UTC)
    opening = next_opening(case.rules, min(open_[1], midnight) if open_ else midnight)
    if opening is None:
        message = "No time in the weeks to come is within the calling hours."
        return No(reason=Reason.OUTSIDE_HOURS, message=message)
    message = "Held: by CallKaro's clock, no minute of today is surely in the calling hours."
    return held_until(opening, case.rules, message)


def proof_of_consent(route: Route, data: Any) -> dict[str, Any] | None:
    """Return what the route's consent read in the record, by path; None: it asks for none."""
    if route.consent is None:
        return None
    paths = sorted(route.consent.paths)
    # Not what only leads there: `properties` would be all that is known of the person.
    ends = [
        path
        for path in paths
        if not any(path == other[: len(path)] for other in paths if other != path)
    ]
    return {"expression": route.consent.text, "read": dict(_read(data, path) for path in ends)}


def _read(data: Any, path: tuple[str, ...]) -> tuple[str, Any]:
    """Return a path as far as plain names lead, that is up to a list, and what stands there."""
    for depth, name in enumerate(path):
        if isinstance(data, list):
            return ".".join(path[:depth]), data
        data = data.get(name) if isinstance(data, dict) else None
    return ".".join(path), data


def campaign_need(
    route: Route, data: Any, settings: Settings, now: datetime
) -> CampaignNeed | None:
    """Return the campaign that a call goes into; None: it goes into none, or names it itself."""
    if route.campaign is None:
        return None
    if route.campaign.key is not None:
        key = campaign_key(route, data)
        if key is None:
            message = "campaign.key: yields neither text nor a number."
            raise _Stop(No(reason=Reason.BAD_REQUEST, message=message))
        return CampaignNeed(key=key, body=None)
    name = route.campaign.full_name(now, settings.callkaro_timezone)
    agent = settings.routes.campaign_agent(route)
    if agent is None:
        return CampaignNeed(key=f"v2/{name}", body={"name": name})
    return CampaignNeed(key=f"v1/{agent}/{name}", body={"name": name, "agent_id": agent})


def campaign_key(route: Route, data: Any) -> str | None:
    """Return the key that calls and a campaign find each other by; None: the route has none."""
    if route.campaign is None or route.campaign.key is None:
        return None
    return _key(_search("campaign.key", route.campaign.key, data))


# --- within ---------------------------------------------------------------------------------


def _search(name: str, value: Any, data: Any) -> Any:
    try:
        return value.search(data)
    except ExpressionError as error:
        raise _Stop(No(reason=Reason.BAD_REQUEST, message=f"{name}: {error}.")) from None


def _key(found: Any) -> str | None:
    text = id_text(found)
    return None if _is_blank(text) else f"key/{text}"


def _is_blank(value: Any) -> bool:
    """Say whether a CRM means "nothing" by it."""
    return value is None or (isinstance(value, str) and not value.strip())


def _wire_body(schema: Any, mapped: dict[str, Any]) -> dict[str, Any]:
    try:
        body: dict[str, Any] = schema.dump(schema.load(mapped))
        orjson.dumps(body)
    except ValidationError as error:
        raise _bad_request(error) from None
    except TypeError:
        # to_number() makes a number of any length out of a record's text.
        message = "A number in the request is longer than 64 bits."
        raise _Stop(No(reason=Reason.BAD_REQUEST, message=message)) from None
    return body


def _bad_request(error: ValidationError) -> _Stop:
    return _Stop(No(reason=Reason.BAD_REQUEST, message=f"{describe(error)}."))
