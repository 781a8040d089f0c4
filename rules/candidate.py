"""A case: one delivery of one event, its route of today and the time, and what guards say of it.

Nothing here does I/O. What can't be worked out raises Stop with the no that it means.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

from marshmallow import ValidationError

from rules.guards import (
    Denial,
    check_age,
    check_allowed,
    check_condition,
    check_consent,
    check_hours,
    check_opt_out,
    check_own_change,
)
from rules.numbers import candidates_of, choose_number
from schemas.callkaro import describe
from schemas.delivery import Delivery, Reason
from schemas.event import CALL_ME, Event
from schemas.expression import Expression, ExpressionError
from schemas.fields import PhoneError, e164, to_schedule_at
from schemas.hours import Hours, Rule, read_zone, zones_of
from schemas.records import Claim
from schemas.route import Route, Value
from schemas.settings import Settings
from schemas.source import Source

ROUTE_CHECK = timedelta(minutes=1)  # how often a delivery without a route looks for one


class Denied(Exception):
    """Raised where the delivery goes no further for now."""

    def __init__(self, denial: Denial, body: dict[str, Any] | None = None) -> None:
        super().__init__(denial.message)
        self.denial, self.body = denial, body


@dataclass(frozen=True, kw_only=True)  # no slots: what takes long is worked out once
class Candidate:
    """What guards judge: one delivery of one event, by its route of today, at one time.

    data is the event's, hydrated. What can't be worked out raises Stop with the no that it means.
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
        return search("to_number", self.route.request["to_number"], self.data)

    @cached_property
    def number(self) -> str:
        """The number to call, E.164."""
        try:
            return choose_number(self.candidates, region=self.region, countries=self.countries)
        except PhoneError as error:
            raise Denied(Denial(reason=Reason(error.reason), message=error.message)) from None

    @property
    def region(self) -> str | None:
        """Return the country of a number that is written without one; None: there is none."""
        return region_of(self.route.region, self.source, self.data, self.settings)

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
        found = search("schedule_at", value, self.data) if value else None
        if is_blank(found):
            return None
        try:
            return to_schedule_at(found, self.settings.callkaro_timezone)
        except ValidationError as error:
            raise bad_request(ValidationError({"schedule_at": error.messages})) from None

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
            found = search("hours.timezone", zone, self.data)
            if not is_blank(found):
                # One that can't be read is no zone, and no zone is closed.
                zone = read_zone(found) if isinstance(found, str) else None
                zones = frozenset({zone} if zone else ())
        elif zone:
            zones = frozenset({zone})
        return (outer, Rule(hours=hours.hours, zones=zones))


def candidate_of(claim: Claim, data: Any, settings: Settings, now: datetime) -> Candidate:
    """Return what guards judge; a delivery whose route is gone waits for it."""
    delivery, event = claim.delivery, claim.event
    route = settings.routes.named(delivery.route)
    if route is None or route.source != delivery.source:
        raise Denied(
            Denial(
                reason=Reason.ROUTE_MISSING,
                message="There is no route of that name any more. Put it back and this goes on.",
                until=now + ROUTE_CHECK,
            )
        )
    if event is None:
        message = "The event's record is no longer kept."
        raise Denied(Denial(reason=Reason.RECORD_GONE, message=message))
    return Candidate(
        delivery=delivery,
        event=event,
        route=route,
        source=settings.routes.sources[route.source],
        data=event.data["record"] if event.type == CALL_ME else data,
        settings=settings,
        now=now,
    )


def region_of(region: Value | None, source: Source, data: Any, settings: Settings) -> str | None:
    """Return the country of a record's number that is written without one; None: there is none.

    The route's own word (region) counts, then what the CRM keeps of the record, then
    DEFAULT_REGION. Raises Stop.
    """
    if region:
        found = search("region", region, data)
        if not is_blank(found):
            # Not a text, or no country: then a number without a country code can't be read.
            return found if isinstance(found, str) else "?"
    if source.kind.region:
        found = search("region", source.kind.region, data)
        if isinstance(found, str) and len(found.strip()) == 2:
            return found
    return settings.default_region


def routes_like(source: Source, settings: Settings) -> list[Route]:
    """Return the routes that call records such as this source's, by whatever source they come."""
    sources = settings.routes.sources
    return [
        route
        for route in settings.routes.routes
        if route.to == "call" and sources[route.source].kind is source.kind
    ]


def numbers_of(source: Source, data: Any, settings: Settings) -> frozenset[str]:
    """Return the numbers (E.164) of a record: the CRM's usual ones, and what routes would call."""
    found: set[str] = set()
    ways: list[tuple[Value, Value | None]] = [
        (one.request["to_number"], one.region) for one in routes_like(source, settings)
    ]
    if source.kind.phones:
        ways.append((source.kind.phones, None))
    for numbers, own_region in ways:
        try:
            region = region_of(own_region, source, data, settings)
            raw = search("to_number", numbers, data)
        except Denied:
            continue
        for candidate in candidates_of(raw):
            with suppress(PhoneError):
                found.add(e164(candidate, region))
    return frozenset(found)


# --- the guards -----------------------------------------------------------------------------------


def _when(candidate: Candidate) -> Denial | None:
    if candidate.is_call_me:
        return None
    return _match(candidate) or check_condition("when", candidate.route.when, candidate.data)


def _match(candidate: Candidate) -> Denial | None:
    return check_condition("match", candidate.route.match, candidate.event.data)


def _own_change(candidate: Candidate) -> Denial | None:
    judge = candidate.source.kind.is_own_change
    return check_own_change(bool(judge and judge(candidate.event.type, candidate.event.data)))


def _age(candidate: Candidate) -> Denial | None:
    held = timedelta(milliseconds=candidate.delivery.held_ms)
    return check_age(candidate.now - candidate.event.happened_at - held, candidate.route.max_age_s)


def _opt_out(candidate: Candidate) -> Denial | None:
    return check_opt_out(candidate.source.opt_out, candidate.data)


def _consent(candidate: Candidate) -> Denial | None:
    return None if candidate.is_call_me else check_consent(candidate.route.consent, candidate.data)


def _number(candidate: Candidate) -> Denial | None:
    _ = candidate.number
    return None


def _allowed(candidate: Candidate) -> Denial | None:
    return check_allowed(candidate.number, candidate.settings.allow_numbers)


def _hours(candidate: Candidate) -> Denial | None:
    return check_hours(candidate.rules, now=candidate.now, planned=candidate.planned)


Guards = tuple[tuple[str, Callable[[Candidate], Denial | None]], ...]
# In the order in which they are asked; the first no counts. Those of the number's history follow,
# in the step that permits the request.
BEFORE_FETCH: Final[Guards] = (  # what can be told before the record is fetched
    ("match", _match),
    ("own change", _own_change),
    ("max_age", _age),
)
ELIGIBILITY: Final[Guards] = (
    ("when", _when),
    ("own change", _own_change),
    ("max_age", _age),
)
CONSENT: Final[Guards] = (
    ("opt_out", _opt_out),
    ("consent", _consent),
)
REACHABILITY: Final[Guards] = (
    ("number", _number),
    ("ALLOW_NUMBERS", _allowed),
    ("hours", _hours),
)
CALL_GUARDS: Final = CONSENT + REACHABILITY


def run_guards(guards: Guards, candidate: Candidate) -> None:
    """Ask guards in their order. Raises Stop with the first no."""
    for _, guard in guards:
        if denial := guard(candidate):
            raise Denied(denial)


def run_guard(guard: Callable[[Candidate], Denial | None], candidate: Candidate) -> Denial | None:
    """Return a guard's verdict; one that can't get at what it judges says no."""
    try:
        return guard(candidate)
    except Denied as denied:
        return denied.denial


# --- within ---------------------------------------------------------------------------------------


def search(name: str, value: Any, data: Any) -> Any:
    try:
        return value.search(data)
    except ExpressionError as error:
        raise Denied(Denial(reason=Reason.BAD_REQUEST, message=f"{name}: {error}.")) from None


def is_blank(value: Any) -> bool:
    """Say whether a CRM means "nothing" by it."""
    return value is None or (isinstance(value, str) and not value.strip())


def bad_request(error: ValidationError) -> Denied:
    return Denied(Denial(reason=Reason.BAD_REQUEST, message=f"{describe(error)}."))
