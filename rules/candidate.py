"""A candidate: one delivery of one event, with today's route and the time. Guards check it.

Nothing here does I/O. A value that can't be worked out raises Denied.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import ValidationError

from rules.numbers import candidates_of, choose_number
from schemas.callkaro import describe
from schemas.crm_api import OwnUser
from schemas.delivery import Delivery, Reason
from schemas.event import CALL_ME, LIST_ROW, Event
from schemas.expression import Expression, ExpressionError
from schemas.fields import PhoneError, to_schedule_at
from schemas.hours import Hours, Rule, read_zone, zones_of
from schemas.records import Claim
from schemas.route import Route, Value
from schemas.settings import Settings
from schemas.source import Source
from schemas.spellings import person_number

ROUTE_CHECK = timedelta(minutes=1)  # how often a delivery without a route looks for one


@dataclass(frozen=True, kw_only=True, slots=True)
class Denial:
    """Why a call is not made, now or at all."""

    reason: Reason
    message: str
    until: datetime | None = None  # UTC: then it is checked again; None: never
    open_s: float = 0.0  # how long the hours stay open from `until` on, as far as is known


class Denied(Exception):
    """Raised when a delivery goes no further for now."""

    def __init__(
        self, denial: Denial, body: dict[str, Any] | None = None, *, campaign: str | None = None
    ) -> None:
        super().__init__(denial.message)
        self.denial = denial
        self.body = body  # the request, as far as it was mapped
        self.campaign = campaign  # the key or batch_id that the record gives, as far as it is known


@dataclass(frozen=True, kw_only=True)  # no slots: cached_property needs a __dict__
class Candidate:
    """What guards check: one delivery of one event, by today's route, at one time.

    A property that can't be worked out raises Denied.
    """

    delivery: Delivery
    event: Event
    route: Route
    source: Source
    data: Any  # the event's, hydrated
    settings: Settings
    now: datetime
    own_user: str | None = None  # see Claim

    @property
    def is_call_me(self) -> bool:
        """Say whether this is a test call: a person asked for it and named the number."""
        return self.event.type == CALL_ME

    @property
    def is_list_row(self) -> bool:
        """Say whether this is a row of a call list: a person chose its route."""
        return self.event.type == LIST_ROW

    @property
    def is_own_change(self) -> bool:
        """Say whether the bridge's own app or user at the CRM caused the event."""
        is_own_change = self.source.kind.is_own_change
        if is_own_change and is_own_change(self.event.type, self.event.data):
            return True
        if self._is_own_call:
            return True
        rule = self.own_user_rule
        if rule is None or self.own_user is None:
            return False
        written = self.settings.fields_written(self.source)
        return rule.is_change(self.data, self.own_user, written)

    @property
    def _is_own_call(self) -> bool:
        """Say whether the event is about the CRM's record of one of our calls."""
        writer, settings, source = self.source.kind.write_back, self.settings, self.source
        if writer is None or writer.is_own_call is None or not settings.tells_by_api(source):
            return False
        variables = settings.variables.get(source.name, {})
        return writer.is_own_call(self.event.type, self.event.data, variables)

    @property
    def own_user_rule(self) -> OwnUser | None:
        """Return how the event tells our own changes; None: it does not tell them."""
        return self.settings.own_user_of(self.source, self.event)

    @property
    def age(self) -> timedelta:
        """Return the age of the event. The time that the bridge held it does not count."""
        held = timedelta(milliseconds=self.delivery.held_ms)
        return self.now - self.event.happened_at - held

    @property
    def candidates(self) -> Any:
        """Return the number, or several to choose from, as the record has them."""
        if self.is_call_me:
            return self.event.data["to_number"]
        return search("to_number", self.route.request["to_number"], self.data)

    @cached_property
    def number(self) -> str:
        """The number to call, E.164."""
        return chosen_number(
            self.candidates, self.route, source=self.source, data=self.data, settings=self.settings
        )

    @property
    def planned(self) -> datetime | None:
        """Return when the record asks for the call; None: now."""
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
        """The hours that must all be open: CALLING_HOURS, and the route's own."""
        zones = zones_of(self.number)
        outer = Rule(hours=Hours(window=self.settings.calling_hours), zones=zones)
        hours = self.route.hours
        if hours is None:
            return (outer,)
        zone = hours.timezone
        if isinstance(zone, Expression):
            found = search("hours.timezone", zone, self.data)
            if not is_blank(found):
                # A zone that can't be read is not known, and then the hours are closed.
                zone = read_zone(found) if isinstance(found, str) else None
                zones = frozenset({zone} if zone else ())
        elif zone:
            zones = frozenset({zone})
        return (outer, Rule(hours=hours.hours, zones=zones))


def candidate_of(claim: Claim, data: Any, settings: Settings, now: datetime) -> Candidate:
    """Return what guards check. Raises Denied; a delivery waits for a route that is missing."""
    delivery, event = claim.delivery, claim.event
    route = settings.routes.named(delivery.route)
    if route is None or route.source != delivery.source:
        raise Denied(
            Denial(
                reason=Reason.ROUTE_MISSING,
                message="routes.toml has no route of this name any more. Add it again, and the "
                "delivery continues.",
                until=now + ROUTE_CHECK,
            )
        )
    if event is None:
        message = "The bridge does not have the event any more, so nobody is called."
        raise Denied(Denial(reason=Reason.RECORD_GONE, message=message))
    return Candidate(
        delivery=delivery,
        event=event,
        route=route,
        source=settings.routes.sources[route.source],
        data=event.data["record"] if event.type == CALL_ME else data,
        settings=settings,
        now=now,
        own_user=claim.own_user,
    )


def chosen_number(raw: Any, route: Route, *, source: Source, data: Any, settings: Settings) -> str:
    """Return the number (E.164) that a route calls of a record's candidates. Raises Denied.

    raw: one value, or a list of candidates; see choose_number().
    """
    region = region_of(route.region, source, data, settings)
    try:
        return choose_number(raw, region=region, countries=countries_of(route, settings))
    except PhoneError as error:
        raise Denied(Denial(reason=Reason(error.reason), message=error.message)) from None


def countries_of(route: Route, settings: Settings) -> frozenset[str] | None:
    """Return the countries that a route calls; None: all countries."""
    if route.countries == "any":
        return None
    default = settings.default_region
    return route.countries or frozenset({default} if default else ())


def region_of(region: Value | None, source: Source, data: Any, settings: Settings) -> str | None:
    """Return the country of a record's number without a country code; None: it is not known.

    The route's `region` counts first, then what the CRM keeps, then DEFAULT_REGION. Raises Denied.
    """
    if region:
        found = search("region", region, data)
        if not is_blank(found):
            # If it is not a country, a number without a country code can't be read.
            return found if isinstance(found, str) else "?"
    if source.kind.region:
        found = search("region", source.kind.region, data)
        if isinstance(found, str) and len(found.strip()) == 2:
            return found
    return settings.default_region


def routes_like(source: Source, settings: Settings) -> list[Route]:
    """Return the routes that call records of this source's CRM, for any source of that kind."""
    sources = settings.routes.sources
    return [
        route
        for route in settings.routes.routes
        if route.to == "call" and sources[route.source].kind is source.kind
    ]


def numbers_of(source: Source, data: Any, settings: Settings) -> frozenset[str]:
    """Return the numbers (E.164) of a record: the CRM's own fields, and those that routes call."""
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
                found.add(person_number(candidate, region))
    return frozenset(found)


# --- helpers --------------------------------------------------------------------------------------


def search(name: str, value: Any, data: Any) -> Any:
    try:
        return value.search(data)
    except ExpressionError as error:
        raise Denied(Denial(reason=Reason.BAD_REQUEST, message=f"{name}: {error}.")) from None


def is_blank(value: Any) -> bool:
    """Say whether a value is what CRMs send for "nothing"."""
    return value is None or (isinstance(value, str) and not value.strip())


def bad_request(error: ValidationError) -> Denied:
    return Denied(Denial(reason=Reason.BAD_REQUEST, message=f"{describe(error)}."))
