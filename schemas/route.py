"""Routes: which events become which request to CallKaro, under which rules. All of it compiled.

*routes.toml proposes, the CallKaro schema disposes*: an expression may yield anything, and what
it yields is loaded by the schema of the request when the delivery is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Literal
from zoneinfo import ZoneInfo

from schemas.event import CALL_ME, is_guarded_type
from schemas.expression import Expression, Path
from schemas.hours import Hours
from schemas.source import Source

Period = Literal["day", "week", "month"]
PERIODS: dict[str, str] = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignChoice:
    """The campaign a route's calls go into: created once by name, or another event's, by key.

    period: a new campaign each day, week or month of the send, in CALLKARO_TIMEZONE; None: one
    campaign for good. key is worked out over event.data.
    """

    name: str | None = None
    period: Period | None = None
    key: Expression | None = None

    def full_name(self, at: datetime, zone: str) -> str:
        """Return the campaign's name in the period that holds `at`: `HubSpot leads 2026-11`."""
        if self.name is None:
            raise ValueError("a campaign chosen by key has no name of its own")
        if self.period is None:
            return self.name
        return f"{self.name} {at.astimezone(ZoneInfo(zone)).strftime(PERIODS[self.period])}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that routes.toml gives as it is: `{ value = 2 }`."""

    value: Any

    @property
    def paths(self) -> frozenset[Path]:
        """It reads nothing."""
        return frozenset()

    def search(self, data: Any) -> Any:
        """Return the value, whatever the data."""
        return self.value


Value = Expression | Constant


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteHours:
    """When a route calls, within CALLING_HOURS.

    timezone is whose clock it is: an IANA zone, or an expression that yields one from the record;
    None: the zones that the number may be in.
    """

    hours: Hours
    timezone: str | Expression | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Flood:
    """From how many matches within within_s seconds on a route's deliveries are held as bulk."""

    over: int
    within_s: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One [[route]] of routes.toml.

    match is worked out at intake over the notification, when and consent over the whole (hydrated)
    event; each may be None. delay_s is how long a delivery waits before its first look at the
    record; max_age_s None: never too old; again_after_s 0: as often as events come; max_per_day 0:
    no cap. countries are those that it calls ("IN"); "any": all; None: the default region. region
    yields the country of numbers that are written without one; None: the source's way.
    request and metadata: CallKaro's field -> where it comes from.
    """

    name: str
    source: str
    event: str
    to: Literal["call", "campaign"]
    match: Expression | None = None
    when: Expression | None = None
    fetch: tuple[str, ...] = ()
    campaign: CampaignChoice | None = None
    delay_s: int = 0
    max_age_s: int | None = None
    on_unknown: Literal["hold", "call_again"] = "hold"
    hours: RouteHours | None = None
    again_after_s: int = 0
    max_per_day: int = 0
    consent: Expression | None = None
    countries: frozenset[str] | Literal["any"] | None = None
    region: Value | None = None
    flood: Flood | None = None
    request: Mapping[str, Value] = field(default_factory=dict)
    metadata: Mapping[str, Value] = field(default_factory=dict)

    def wants(self, source: str, event_type: str) -> bool:
        """Say whether this route looks at events of this type from this source."""
        # A person's test call names its route; one that a webhook claims to be is nobody's.
        if source != self.source or event_type == CALL_ME:
            return False
        if event_type == self.event:
            return True
        # Only a route that names it calls because of a deletion, a merge or a test.
        if self.to == "call" and is_guarded_type(event_type):
            return False
        return fnmatchcase(event_type, self.event)

    @property
    def paths(self) -> frozenset[Path]:
        """All that it reads of an event's data."""
        reads: list[Value | None] = [*self.request.values(), *self.metadata.values()]
        reads += [self.when, self.match, self.consent, self.region]
        if self.campaign:
            reads.append(self.campaign.key)
        if self.hours and isinstance(self.hours.timezone, Expression):
            reads.append(self.hours.timezone)
        return frozenset(path for value in reads if value for path in value.paths)

    def paths_with(self, source: Source) -> frozenset[Path]:
        """All that is read before it calls, the source's own guards included: to be hydrated."""
        region = None if isinstance(self.region, Constant) else source.kind.region
        guards = [value for value in (source.opt_out, region) if value]
        return self.paths | {path for value in guards for path in value.paths}

    @property
    def has_constant_agent(self) -> bool:
        """Say whether every call of this route uses one agent: its campaign can then be v1."""
        return isinstance(self.request.get("agent_id"), Constant)


@dataclass(frozen=True, kw_only=True, slots=True)
class Routes:
    """All of routes.toml. digest names this version of it."""

    routes: tuple[Route, ...]
    sources: Mapping[str, Source]
    digest: str

    def for_event(self, source: str, event_type: str) -> tuple[Route, ...]:
        """Return the routes that look at events of this type from this source."""
        return tuple(route for route in self.routes if route.wants(source, event_type))

    def named(self, name: str) -> Route | None:
        """Return the route of that name; None if there is none today."""
        return next((route for route in self.routes if route.name == name), None)

    def campaign_agent(self, route: Route) -> str | None:
        """Return the agent that a route's named campaign is tied to (v1); None: it is a v2.

        Routes that share a campaign's name with different agents use v2, where each call brings
        its own.
        """
        if route.campaign is None:
            return None
        sharing = [
            other
            for other in self.routes
            if other.to == "call" and other.campaign and other.campaign.name == route.campaign.name
        ]
        agents = {
            str(other.request["agent_id"].search(None)) if other.has_constant_agent else None
            for other in sharing
        }
        return agents.pop() if len(agents) == 1 else None
