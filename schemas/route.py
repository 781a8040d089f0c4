"""Routes: which events become which request to CallKaro, under which rules. All compiled.

An expression may return anything. So CallKaro's schema (schemas/callkaro.py) checks its value when
the delivery is prepared.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from schemas.event import BY_PERSON, is_guarded_type
from schemas.expression import Expression, Path
from schemas.hours import Hours
from schemas.source import Source
from schemas.write_back import Moment

Period = Literal["day", "week", "month"]
PERIODS: dict[str, str] = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
_IN_PERIOD: Final = re.compile(r" \d{4}-(?:\d\d(?:-\d\d)?|W\d\d)", re.ASCII)  # as PERIODS write it


def is_campaign_of(full_name: str, name: str) -> bool:
    """Say whether a campaign has a name, alone or with any period: `HubSpot leads 2026-11`."""
    rest = full_name.removeprefix(name)
    return full_name == name or (rest != full_name and _IN_PERIOD.fullmatch(rest) is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignChoice:
    """The campaign of a route's calls: created once by name, or found by another event's key."""

    name: str | None = None
    # A new campaign each day, week or month of the send, in CALLKARO_TIMEZONE; None: one campaign.
    period: Period | None = None
    key: Expression | None = None  # over event.data

    def full_name(self, at: datetime, zone: str) -> str:
        """Return the campaign's name in the period of `at`: `HubSpot leads 2026-11`."""
        if self.name is None:
            raise ValueError("a campaign chosen by key has no name of its own")
        if self.period is None:
            return self.name
        return f"{self.name} {at.astimezone(ZoneInfo(zone)).strftime(PERIODS[self.period])}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant value in routes.toml: `{ value = 2 }`."""

    value: Any

    @property
    def paths(self) -> frozenset[Path]:
        """A constant reads nothing."""
        return frozenset()

    @property
    def lists(self) -> frozenset[Path]:
        """A constant reads no list."""
        return frozenset()

    def search(self, data: Any) -> Any:
        """Return the value, whatever the data."""
        return self.value


Value = Expression | Constant


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteHours:
    """When a route calls, within CALLING_HOURS.

    timezone: an IANA zone, or an expression that returns one from the record; None: the zones in
    which the number may be.
    """

    hours: Hours
    timezone: str | Expression | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Flood:
    """After more than `over` matches within within_s seconds, further ones are held as bulk."""

    over: int
    within_s: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteWriteBack:
    """What the CRM is told of a route's calls.

    call: whether it is told of the call itself. fields: what is set in the record: a field of the
    CRM -> an expression over {"delivery", "outcome", "event"}, or a constant.
    """

    on: frozenset[Moment]
    call: bool = True
    fields: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One [[route]] of routes.toml."""

    name: str
    source: str
    event: str  # an event type, or a glob of types
    to: Literal["call", "campaign"]
    match: Expression | None = None  # over the notification, at the intake
    when: Expression | None = None  # over the whole (hydrated) event
    fetch: tuple[str, ...] = ()  # CRM fields to fetch besides those that the route reads
    campaign: CampaignChoice | None = None
    delay_s: int = 0  # how long a delivery waits before the first look at its record
    max_age_s: int | None = None  # None: no event is too old
    on_unknown: Literal["hold", "call_again"] = "hold"
    hours: RouteHours | None = None
    again_after_s: int = 0  # at most one call to a number within this time; 0: no limit
    max_per_day: int = 0  # 0: no cap
    consent: Expression | None = None  # over the whole (hydrated) event
    countries: frozenset[str] | Literal["any"] | None = None  # {"IN"}; None: the default region
    region: Value | None = None  # the country of numbers without a country code; None: the source's
    flood: Flood | None = None
    request: Mapping[str, Value] = field(default_factory=dict)  # CallKaro's field -> its value
    metadata: Mapping[str, Value] = field(default_factory=dict)
    write_back: RouteWriteBack | None = None  # None: the CRM is told nothing

    def wants(self, source: str, event_type: str) -> bool:
        """Say whether this route looks at events of this type from this source."""
        if source != self.source or event_type in BY_PERSON:
            return False
        if event_type == self.event:
            return True
        # A glob never matches a deletion, a merge or a test, so that nobody is called for it.
        if self.to == "call" and is_guarded_type(event_type):
            return False
        return fnmatchcase(event_type, self.event)

    @property
    def paths(self) -> frozenset[Path]:
        """The paths that the route reads in an event's data."""
        reads = [*self._reads, *([self.match] if self.match else [])]
        return frozenset(path for value in reads for path in value.paths)

    def paths_with(self, source: Source) -> frozenset[Path]:
        """The paths that are read before a call, those of the source's guards included."""
        guards = self._read_by_guards(source)
        return self.paths | {path for value in guards for path in value.paths}

    def reads_of_row(self, source: Source) -> tuple[Value, ...]:
        """What is read of a row of a call list: all but `match`, which is for notifications."""
        return (*self._reads, *self._read_by_guards(source))

    @property
    def _reads(self) -> tuple[Value, ...]:
        reads: list[Value | None] = [*self.request.values(), *self.metadata.values()]
        reads += [self.when, self.consent, self.region]
        if self.campaign:
            reads.append(self.campaign.key)
        if self.hours and isinstance(self.hours.timezone, Expression):
            reads.append(self.hours.timezone)
        return tuple(value for value in reads if value)

    def _read_by_guards(self, source: Source) -> tuple[Value, ...]:
        region = None if isinstance(self.region, Constant) else source.kind.region
        return tuple(value for value in (source.opt_out, region) if value)

    @property
    def has_constant_agent(self) -> bool:
        """Say whether all calls of this route use one agent; then its campaign can be v1."""
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
        """Return the agent of a route's named campaign (v1); None: the campaign is v2.

        Routes with different agents that share a campaign's name use v2, where each call names its
        agent.
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
