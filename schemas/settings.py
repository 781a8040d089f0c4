"""What a process runs with. config/settings.py reads it from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time

from schemas.access import NamedToken, Role
from schemas.crm_api import OwnUser
from schemas.event import Event
from schemas.expression import Expression
from schemas.hours import Window, parse_window
from schemas.route import Routes
from schemas.source import Source

HOURS = parse_window("09:00-21:00")
CALLKARO_URL = "https://api.callkaro.ai"
CALLKARO_APP_URL = "https://callkaro.ai"
DEFAULT_ZONE = "Asia/Kolkata"
ADMIN = "admin"  # the name of API_TOKEN
NO_ROUTES = Routes(routes=(), sources={}, digest="")


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookOut:
    """Where the write-backs of a source go that has no API of ours: a signed webhook."""

    url: str = field(repr=False)  # it may contain a token
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What this process runs with. A name that ends in _s is in seconds."""

    # With ?ssl_cert_reqs=none, REDIS_TLS_VERIFY is false: then a rediss:// connection is encrypted,
    # but nothing proves that it leads to our Redis.
    redis_url: str = field(repr=False)
    redis_acks: int = 0  # replicas that must confirm what can't be lost; 0: none is waited for
    is_engine_durable: bool = False  # Redis keeps a log of its own, and needs no append-only file
    api_tokens: tuple[str, ...] = field(repr=False)  # of API_TOKEN: the token `admin`
    # Of API_TOKENS; tokens() has both.
    named_tokens: tuple[NamedToken, ...] = field(default=(), repr=False)
    callkaro_api_key: str = field(repr=False)
    routes: Routes
    port: int = 8000
    # None: the address is that of the request, as proxy_hops trusted proxies report it.
    public_url: str | None = None
    # Host names, besides that of public_url, under which the web process answers. A name that
    # begins with a dot includes all names below it. Neither set: the web process answers to any.
    allowed_hosts: frozenset[str] = frozenset()
    proxy_hops: int = 0
    callkaro_base_url: str = CALLKARO_URL
    callkaro_app_url: str = CALLKARO_APP_URL  # where links to calls and campaigns lead
    callkaro_timezone: str = DEFAULT_ZONE
    callkaro_timeout_s: float = 15.0
    callkaro_webhook_tokens: tuple[str, ...] = field(default=(), repr=False)
    max_rate: float = 0  # requests to CallKaro a second, over all workers; 0: no cap
    worker_threads: int = 64
    default_region: str | None = "IN"  # the country of numbers without a country code
    calling_hours: Window = HOURS  # the outer limit, in the zone of the number that is called
    max_per_number: int = 0  # calls a day to one number, over all routes; 0: no cap
    route_failing_after: int = 5  # failed calls of a route in a row that pause it; 0: never
    suppress_when: Expression | None = None  # over an outcome: its number is suppressed if true
    dry_run: bool = False
    allow_numbers: frozenset[str] | None = field(default=None, repr=False)  # None: all numbers
    retention_days: int = 30
    refused_keep: int = 100  # refused requests of a source that are kept, the newest; 0: none
    dedupe_days: int = 30
    audit_days: int = 400  # for how long the audit keeps an entry
    log_level: str = "INFO"
    # It may contain a token. None: no alerts are sent.
    alert_webhook_url: str | None = field(default=None, repr=False)
    alert_webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    alert_format: str = "standard"  # or "slack"
    alert_summary_at: time | None = None  # in callkaro_timezone; None: no daily summary
    alert_backlog_age_s: int = 900  # an alert is sent if a delivery is later than this
    # By source: its webhook secrets.
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    # By source: its other environment variables, {"hubspot": {"ACCESS_TOKEN": …}}.
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    # By source, of those with a route that has a [route.write_back].
    webhooks_out: Mapping[str, WebhookOut] = field(default_factory=dict)
    # The most requests in 10 s to a CRM's API, or to a receiver of webhooks out, by source. One
    # that is missing has no limit.
    crm_rates: Mapping[str, int] = field(default_factory=dict)

    def writes_by_api(self, source: Source) -> bool:
        """Say whether a source is told of calls by its CRM's API; else by signed webhooks."""
        return source.kind.write_back is not None and source.name not in self.webhooks_out

    def own_user_of(self, source: Source, event: Event) -> OwnUser | None:
        """Return how to tell whether the user of our login caused an event; None: it did not.

        An event that is complete asks the CRM nothing more, unless we change records there.
        """
        hydration = source.kind.hydration
        if hydration is None:
            return None
        asks = event.hydrate or self.tells_by_api(source)
        return hydration.own_user_of(event.type) if asks else None

    def fields_written(self, source: Source) -> frozenset[str]:
        """Return the names of all fields of records that a source's write-backs set."""
        return frozenset(
            name
            for route in self.routes.routes
            if route.source == source.name and route.write_back
            for name in route.write_back.fields
        )

    def tells_by_api(self, source: Source) -> bool:
        """Say whether a route tells a source of calls by its CRM's API, and we have a login."""
        return (
            self.writes_by_api(source)
            and self.has_login(source)
            and any(route.write_back for route in self.routes.routes if route.source == source.name)
        )

    def has_login(self, source: Source) -> bool:
        """Say whether what a source's API needs of us is set."""
        api, variables = source.kind.api, self.variables.get(source.name, {})
        return api is not None and all(variables.get(one) for one in api.needs)

    def tokens(self) -> tuple[NamedToken, ...]:
        """Return every token of the API and the dashboard."""
        admin = (NamedToken(name=ADMIN, role=Role.ADMIN, token=one) for one in self.api_tokens)
        return (*admin, *self.named_tokens)
