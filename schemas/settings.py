"""What a process runs with. config/settings.py reads it from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.expression import Expression
from schemas.hours import Window, parse_window
from schemas.route import Routes

HOURS = parse_window("09:00-21:00")
CALLKARO_URL = "https://api.callkaro.ai"
NO_ROUTES = Routes(routes=(), sources={}, digest="")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What this process runs with. A name that ends in _s is in seconds.

    secrets and variables are by source: its webhook secrets, and its other environment
    variables by suffix (`{"hubspot": {"ACCESS_TOKEN": …}}`). max_rate 0: no cap. calling_hours
    is the outer limit in the callee's own zone. max_per_number: calls a day to one number over all
    routes; 0: no cap. suppress_when tells, over an outcome, that its number is not to be called
    again. allow_numbers None: anyone may be called.
    alert_webhook_url None: nobody is alerted. alert_backlog_age_s: how late a delivery may be
    before somebody is.
    public_url None: the address is what the request says, through proxy_hops trusted proxies.
    redis_url says with ?ssl_cert_reqs=none that REDIS_TLS_VERIFY is false: then what goes to a
    rediss:// is encrypted, but nothing proves that it goes to our Redis and to nobody between.
    allowed_hosts: more host names than public_url's that people and programs may ask us under; one
    that begins with a dot stands for all below it. Neither set: any.
    """

    redis_url: str = field(repr=False)
    api_tokens: tuple[str, ...] = field(repr=False)
    callkaro_api_key: str = field(repr=False)
    routes: Routes
    port: int = 8000
    public_url: str | None = None
    allowed_hosts: frozenset[str] = frozenset()
    proxy_hops: int = 0
    callkaro_base_url: str = CALLKARO_URL
    callkaro_timezone: str = "Asia/Kolkata"
    callkaro_timeout_s: float = 15.0
    callkaro_webhook_tokens: tuple[str, ...] = field(default=(), repr=False)
    max_rate: float = 0
    worker_threads: int = 64
    default_region: str | None = "IN"
    calling_hours: Window = HOURS
    max_per_number: int = 0
    suppress_when: Expression | None = None
    dry_run: bool = False
    allow_numbers: frozenset[str] | None = field(default=None, repr=False)
    retention_days: int = 30
    dedupe_days: int = 30
    log_level: str = "INFO"
    alert_webhook_url: str | None = field(default=None, repr=False)  # a token may stand in it
    alert_webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    alert_backlog_age_s: int = 900
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
