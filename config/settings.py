"""Every environment variable of the bridge. No other module reads the settings' variables.

Each variable can also be given as NAME_FILE, the path of a file with the value. A secret may have
several values with commas between them, for rotation. One error names every problem.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, replace
from datetime import datetime, time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import phonenumbers
from environs import EnvError, EnvValidationError, FileAwareEnv
from marshmallow import ValidationError

from config.key_prefix import problem_of_name
from config.redis_url import is_unproved, problem_of, verified
from schemas.access import NamedToken, Role
from schemas.alert import AUTH, FORMATS
from schemas.crm import kinds
from schemas.crm_api import Variable
from schemas.errors import SettingsError
from schemas.expression import Expression, ExpressionError
from schemas.fields import PhoneError, e164
from schemas.hours import Window, parse_window
from schemas.public_keys import public_keys
from schemas.route import Constant, Routes
from schemas.routes_toml import RoutesError, duration_s, load_routes
from schemas.settings import ADMIN, CALLKARO_URL, NO_ROUTES, Settings, WebhookOut
from schemas.signatures import check_secret
from schemas.source import SIGNATURES, Auth, Signatures, Source, random_part

# HubSpot's 100 notifications are 40 kB; a contact with its history is 1 MB.
MAX_BODY_BYTES = 4 * 1024 * 1024
TOKEN_NAME = re.compile(r"[a-z0-9-]{1,32}")
DURABLE = ("engine",)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
# As in a Host header: a name, an IPv4 or an IPv6 address; a dot before a name means all below it.
HOST = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[a-f0-9]*:[a-f0-9.:]+\]")
SHORT_TOKEN = 20  # characters; nobody can guess a random token of that length
# A person may have to type a webhook's secret into a form, and CRMs give some of their own.
SHORT_SECRET = 12  # characters
API_RATE = 100  # requests in 10 s to a receiver of webhooks out
FEW_LETTERS = 5  # different characters

# Each default is written once, in the dataclass.
DEFAULT = {one.name: one.default for one in fields(Settings) if one.default is not MISSING}
ROUTES_FILE = "routes.toml"
# What the bridge can't run without. "ROUTES" means ROUTES_FILE or ROUTES_TOML.
NEEDED = frozenset({"REDIS_URL", "API_TOKEN", "CALLKARO_API_KEY", "ROUTES"})


def load_settings(*, needs: frozenset[str] = NEEDED) -> Settings:
    """Read the environment and routes.toml. Raises SettingsError that names every problem.

    needs: the required variables of this command. Other variables of NEEDED may be missing and are
    then empty; without "ROUTES" no routes are read.
    """
    reader = _Reader(needs)
    routes = reader.routes() if "ROUTES" in needs else NO_ROUTES
    retention_days = reader.whole("RETENTION_DAYS", DEFAULT["retention_days"], low=1, high=3650)
    settings: dict[str, Any] = {
        "redis_url": reader.redis_url(),
        "redis_acks": reader.whole("REDIS_ACKS", DEFAULT["redis_acks"], low=0, high=5),
        "is_engine_durable": bool(reader.text("REDIS_DURABLE", None, parse=_one_of(DURABLE))),
        "api_tokens": reader.secret("API_TOKEN"),
        # Not for a command: there API_TOKEN is the token of its user, and may be one of these.
        "named_tokens": reader.named_tokens() if "REDIS_URL" in needs else (),
        "callkaro_api_key": reader.required("CALLKARO_API_KEY"),
        "routes": routes,
        "port": reader.whole("PORT", DEFAULT["port"], low=1, high=65_535),
        "public_url": reader.url("PUBLIC_URL", DEFAULT["public_url"]),
        "allowed_hosts": reader.text("ALLOWED_HOSTS", DEFAULT["allowed_hosts"], parse=_hosts),
        "proxy_hops": reader.whole("PROXY_HOPS", DEFAULT["proxy_hops"], low=0, high=10),
        "callkaro_base_url": reader.url("CALLKARO_BASE_URL", DEFAULT["callkaro_base_url"]),
        "callkaro_app_url": reader.url("CALLKARO_APP_URL", DEFAULT["callkaro_app_url"]),
        "callkaro_timezone": reader.text(
            "CALLKARO_TIMEZONE", DEFAULT["callkaro_timezone"], parse=_zone
        ),
        "callkaro_timeout_s": reader.number(
            "CALLKARO_TIMEOUT_S", DEFAULT["callkaro_timeout_s"], low=1, high=20
        ),
        "callkaro_webhook_tokens": _several(reader.text("CALLKARO_WEBHOOK_TOKEN", None) or ""),
        "max_rate": reader.number("CALLKARO_MAX_RATE", DEFAULT["max_rate"], low=0, high=10_000),
        "worker_threads": reader.whole(
            "WORKER_THREADS", DEFAULT["worker_threads"], low=1, high=512
        ),
        "default_region": reader.text("DEFAULT_REGION", DEFAULT["default_region"], parse=_region),
        "calling_hours": reader.text("CALLING_HOURS", DEFAULT["calling_hours"], parse=parse_window),
        "max_per_number": reader.whole(
            "MAX_PER_NUMBER_PER_DAY", DEFAULT["max_per_number"], low=0, high=1000
        ),
        "route_failing_after": reader.whole(
            "ROUTE_FAILING_AFTER", DEFAULT["route_failing_after"], low=0, high=1000
        ),
        "suppress_when": reader.text("SUPPRESS_WHEN", DEFAULT["suppress_when"], parse=_expression),
        "dry_run": reader.flag("DRY_RUN"),
        "allow_numbers": reader.text("ALLOW_NUMBERS", DEFAULT["allow_numbers"], parse=_numbers),
        "retention_days": retention_days,
        "refused_keep": reader.whole("REFUSED_KEEP", DEFAULT["refused_keep"], low=0, high=1000),
        "dedupe_days": reader.whole(
            "DEDUPE_DAYS", max(DEFAULT["dedupe_days"], retention_days), low=1, high=3650
        ),
        "audit_days": reader.whole("AUDIT_DAYS", DEFAULT["audit_days"], low=1, high=3650),
        "log_level": reader.text("LOG_LEVEL", DEFAULT["log_level"], parse=_log_level),
        "alert_webhook_url": reader.url("ALERT_WEBHOOK_URL", DEFAULT["alert_webhook_url"]),
        "alert_webhook_secrets": reader.alert_secrets(),
        "alert_format": reader.text(
            "ALERT_FORMAT", DEFAULT["alert_format"], parse=_one_of(FORMATS)
        ),
        "alert_summary_at": reader.text(
            "ALERT_SUMMARY_AT", DEFAULT["alert_summary_at"], parse=_time_of_day
        ),
        "alert_backlog_age_s": reader.text(
            "ALERT_BACKLOG_AGE", DEFAULT["alert_backlog_age_s"], parse=duration_s
        ),
    }
    sources = routes.sources.values() if routes else ()
    settings["variables"] = {source.name: reader.source_variables(source) for source in sources}
    if routes:
        settings["routes"] = routes = _with_signatures(routes, settings["variables"])
        for variables in settings["variables"].values():
            variables.pop(SIGNATURES, None)
        sources = routes.sources.values()
    settings["secrets"] = {source.name: reader.source_secrets(source) for source in sources}
    if routes:
        # A command that only reads routes, such as preview, sends nothing.
        is_needed = "REDIS_URL" in needs
        settings["webhooks_out"] = reader.webhooks_out(routes, is_needed=is_needed)
    settings["crm_rates"] = {source.name: reader.api_rate(source) for source in sources}
    if routes:
        if settings["default_region"] is None and not reader.has_problem("DEFAULT_REGION"):
            reader.problems += _without_country(routes)
        reader.problems += _never_open(routes, settings["calling_hours"])
    reader.bridge_name(settings["redis_url"])
    if settings["dedupe_days"] < settings["retention_days"]:
        reader.problems.append("DEDUPE_DAYS: must not be less than RETENTION_DAYS")
    reader.problems += _alert_problems(settings)
    if reader.problems:
        raise SettingsError("\n".join(f"  - {problem}" for problem in reader.problems))
    return Settings(**settings)


def _alert_problems(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what alerts lack. Slack takes its own form and checks no signature."""
    url, is_signed = settings["alert_webhook_url"], settings["alert_format"] != "slack"
    if url and is_signed and not settings["alert_webhook_secrets"]:
        yield "ALERT_WEBHOOK_SECRET: is not set, and ALERT_WEBHOOK_URL is"
    if settings["alert_summary_at"] and not url:
        yield "ALERT_WEBHOOK_URL: is not set, and ALERT_SUMMARY_AT is"


def warnings_of(settings: Settings) -> list[str]:
    """Return the warnings: what is not wrong but may not be meant, one line each."""
    found = [
        f"source {name!r} has routes but {settings.routes.sources[name].variable_prefix}"
        "WEBHOOK_SECRET is not set: its URL answers 404"
        for name in sorted({route.source for route in settings.routes.routes})
        if not settings.secrets.get(name)
    ]
    if not settings.routes.routes:
        found.append("there is no [[route]]: every event will be kept as unrouted")
    told = {route.source for route in settings.routes.routes if route.write_back}
    for source in settings.routes.sources.values():
        given = settings.variables.get(source.name, {})
        missing = [
            f"{source.variable_prefix}{suffix}"
            for suffix in _api_variables(source, settings)
            if suffix not in given
        ]
        routed = source.opt_out is not None or any(
            route.source == source.name for route in settings.routes.routes
        )
        lacks = ["can't fetch full records"] if source.kind.hydration else []
        if settings.writes_by_api(source) and source.name in told:
            lacks.append(f"can't tell {source.kind.title} of calls")
        if missing and lacks and routed and settings.secrets.get(source.name):
            lack = " and ".join(lacks)
            found.append(f"source {source.name!r} {lack}: {', '.join(missing)} not set")
    if any(len(token) < SHORT_TOKEN for token in settings.api_tokens):
        found.append(
            f"API_TOKEN has fewer than {SHORT_TOKEN} characters: a short token can be guessed"
        )
    found += [
        *_short_tokens(settings),
        *_short_secrets(settings),
        *_useless_windows(settings),
        *_unsigned_events(settings),
        *_circles(settings),
    ]
    calls = any(route.to == "call" for route in settings.routes.routes)
    if calls and not settings.callkaro_webhook_tokens:
        found.append(
            "CALLKARO_WEBHOOK_TOKEN is not set: no outcomes of calls are received, and an unknown "
            "delivery stays unknown until a person resolves it"
        )
    if settings.suppress_when and not settings.callkaro_webhook_tokens:
        found.append(
            "SUPPRESS_WHEN is set but CALLKARO_WEBHOOK_TOKEN is not: no outcome arrives that could "
            "suppress a number"
        )
    if settings.calling_hours.always and settings.callkaro_base_url == CALLKARO_URL:
        found.append("CALLING_HOURS is always: phones may ring at night")
    found += _without_numbers(settings)
    found += _planned_in_the_past(settings)
    if is_unproved(settings.redis_url):
        found.append(
            "REDIS_TLS_VERIFY is false: the connection to Redis is encrypted, but another server "
            "could pretend to be Redis"
        )
    if settings.dry_run:
        found.append("DRY_RUN is on: nobody is called")
    if settings.allow_numbers is not None:
        found.append(
            f"ALLOW_NUMBERS is set: only {len(settings.allow_numbers)} number(s) are called"
        )
    return found


def _short_tokens(settings: Settings) -> Iterator[str]:
    """Yield a warning for each name of API_TOKENS with a token that can be guessed."""
    for name in dict.fromkeys(
        one.name for one in settings.named_tokens if len(one.token) < SHORT_TOKEN
    ):
        yield (
            f"API_TOKENS: the token {name} has fewer than {SHORT_TOKEN} characters: a short token "
            "can be guessed"
        )


def _short_secrets(settings: Settings) -> Iterator[str]:
    """Yield a warning for each secret of people who post to us that can be guessed."""
    named = {"CALLKARO_WEBHOOK_TOKEN": settings.callkaro_webhook_tokens}
    for source in settings.routes.sources.values():
        secrets = settings.secrets.get(source.name, ())
        words = tuple(random_part(source.auth, secret) for secret in secrets)
        named[f"{source.variable_prefix}WEBHOOK_SECRET"] = words
    for name, words in named.items():
        if any(len(word) < SHORT_SECRET or len({*word}) < FEW_LETTERS for word in words):
            yield (
                f"{name} can be guessed: use at least {SHORT_SECRET} random characters "
                "(`openssl rand -hex 24`)"
            )


def _useless_windows(settings: Settings) -> Iterator[str]:
    """Yield a warning for each source whose id_window has no effect, or not always."""
    for source in settings.routes.sources.values():
        if not source.is_window_set or not isinstance(source.auth, Signatures):
            continue
        timed = [one.header for one in source.auth.schemes if one.has_time]
        if len(timed) < len(source.auth.schemes):
            what = f"a request without {' or '.join(timed)}" if timed else "a request of its auth"
            yield (
                f"source {source.name!r}: id_window has no effect on {what}: the signature has no "
                "time, so equal bodies without an id are one event for DEDUPE_DAYS"
            )


def _unsigned_events(settings: Settings) -> Iterator[str]:
    """Yield a warning for each route of events that its CRM signs in a way that is refused."""
    for route in settings.routes.routes:
        source = settings.routes.sources[route.source]
        for word, choice in source.kind.signatures.items():
            if choice.auth != source.auth or choice.misses is None:
                continue
            if route.wants(source.name, choice.misses):
                title = source.kind.title
                yield (
                    f"route {route.name!r} takes {choice.misses}, and source {source.name!r} "
                    f"accepts {word} signatures alone: {title} signs these events in another way, "
                    "so they are refused, and it does not send them again"
                )


def _circles(settings: Settings) -> Iterator[str]:
    """Yield a warning for each route that may take a write-back of its source for an update."""
    for route in settings.routes.routes:
        source = settings.routes.sources[route.source]
        writer = source.kind.write_back
        if writer is None or writer.tells_own_updates or not settings.writes_by_api(source):
            continue
        updates = (f"{subject_type}.updated" for subject_type in sorted(writer.subject_types))
        taken = next((one for one in updates if route.wants(source.name, one)), None)
        setting = [
            one.name
            for one in settings.routes.routes
            if one.source == source.name and one.write_back and one.write_back.fields
        ]
        if taken is None or not setting:
            continue
        if route.name in setting:
            what = f"takes {taken} and writes fields back, which makes such an event again"
            so = "it may call in a circle"
        else:
            what = f"takes {taken}, which route {setting[0]!r} makes when it writes fields back"
            so = "it may call whom that route called"
        yield (
            f"route {route.name!r} {what}: {source.kind.title} does not say who made an update, "
            f"so {so}. Take created events alone, or let `match` leave out what is called"
        )


def _planned_in_the_past(settings: Settings) -> Iterator[str]:
    """Yield a warning for each route that plans all its calls for one time that is over."""
    now = f"{datetime.now(ZoneInfo(settings.callkaro_timezone)):%Y-%m-%dT%H:%M:%S}"
    for route in settings.routes.routes:
        at = route.request.get("schedule_at")
        if isinstance(at, Constant) and isinstance(at.value, str) and at.value < now:
            yield (
                f"route {route.name!r} plans its calls for {at.value} "
                f"{settings.callkaro_timezone}, which is over (request.schedule_at)"
            )


def _without_numbers(settings: Settings) -> Iterator[str]:
    """Yield a warning for each source whose opt-outs can't be matched with phone numbers."""
    called = {
        settings.routes.sources[one.source].kind.name
        for one in settings.routes.routes
        if one.to == "call"
    }
    for source in settings.routes.sources.values():
        if source.opt_out and not source.kind.phones and source.kind.name not in called:
            yield (
                f"source {source.name!r} has an opt_out, and no route that calls shows which field "
                "has the phone number: an opt-out suppresses no number"
            )


def redis_url_from_env() -> str | None:
    """Return REDIS_URL, even if other settings are wrong; None: not set, or wrong itself."""
    reader = _Reader(frozenset())
    url = reader.redis_url()
    return url if url and not reader.problems else None


def verified_as_set(redis_url: str) -> str:
    """Return the address of another Redis, whose certificate REDIS_TLS_VERIFY holds for, too."""
    return _Reader(frozenset()).verified(redis_url)


def bridge_name_from_env() -> str:
    """Return BRIDGE_NAME, even if other settings are wrong; "": not set, or wrong itself."""
    reader = _Reader(frozenset())
    name = reader.bridge_name(reader.redis_url())
    return "" if reader.has_problem("BRIDGE_NAME") else name


class _Reader:
    """Reads variables one by one and collects the problems, so that one error names them all."""

    def __init__(self, needs: frozenset[str]) -> None:
        self.env = FileAwareEnv(strip_whitespace=True)
        self.needs = needs
        self.problems: list[str] = []

    def text(self, name: str, default: Any, *, parse: Callable[[str], Any] | None = None) -> Any:
        """Return a variable, parsed; the default, as it is, if the variable is not set or empty."""
        try:
            raw = (self.env.str(name, default=None) or "").strip()
            if not raw:
                return default
            return parse(raw) if parse else raw
        except (OSError, UnicodeDecodeError):
            # Not the error's text: it quotes the path, and somebody may have put the secret there.
            self.problems.append(f"{name}: the file that {name}_FILE names can't be read")
            return None
        except (EnvError, ValueError) as error:
            self.problems.append(f"{name}: {_plain(error)}")
            return None

    def has_problem(self, name: str) -> bool:
        """Return whether a variable was found to be wrong."""
        return any(problem.startswith(f"{name}: ") for problem in self.problems)

    def required(self, name: str) -> Any:
        """Return a variable that must be set; "" if this command does not need it."""
        before = len(self.problems)
        value = self.text(name, None)
        if value is None and name not in self.needs:
            return ""
        if value is None and len(self.problems) == before:
            self.problems.append(f"{name}: is not set")
        return value

    def secret(self, name: str) -> tuple[str, ...]:
        """Return the values of a secret that must be set; commas alone are not a value."""
        raw = self.required(name)
        found = _several(raw or "")
        if raw and not found:
            self.problems.append(f"{name}: is not set")
        return found

    def named_tokens(self) -> tuple[NamedToken, ...]:
        """Return the tokens of API_TOKENS. A problem names a token or its place, never its text."""
        found: list[NamedToken] = []
        known = {one: ADMIN for one in _several(self.text("API_TOKEN", None) or "")}
        roles = {ADMIN: Role.ADMIN}
        for place, entry in enumerate(_several(self.text("API_TOKENS", None) or ""), 1):
            try:
                one = _named_token(entry)
                if roles.setdefault(one.name, one.role) is not one.role:
                    raise ValueError(f"{one.name} has two roles; it can have one")
                if known.setdefault(one.token, one.name) != one.name:
                    raise ValueError(
                        f"{known[one.token]} and {one.name} have the same token; each needs its own"
                    )
            except ValueError as error:
                self.problems.append(f"API_TOKENS: entry {place}: {error}")
                continue
            found.append(one)
        return tuple(found)

    def url(self, name: str, default: str | None = "") -> Any:
        """Return an address without a trailing slash; a default of "" means that it must be set."""
        raw = self.required(name) if default == "" else self.text(name, default)
        if not raw:
            return raw
        if not _is_address(raw):
            self.problems.append(f"{name}: must be an address that starts with http:// or https://")
        return raw.rstrip("/")

    def redis_url(self) -> Any:
        """Return REDIS_URL, which also says whether the server's certificate is verified."""
        raw = self.required("REDIS_URL")
        if not raw:
            return raw
        if problem := problem_of(raw):
            self.problems.append(f"REDIS_URL: {problem}")
            return raw
        return self.verified(raw)

    def verified(self, url: str) -> str:
        """Return an address of Redis that also says whether the certificate is verified."""
        verify = self.flag("REDIS_TLS_VERIFY") if self.text("REDIS_TLS_VERIFY", None) else True
        return verified(url.rstrip("/"), verify=verify)

    def bridge_name(self, redis_url: str) -> str:
        """Return BRIDGE_NAME, which parts the bridges that share a cluster; "": not set."""
        name: str = self.text("BRIDGE_NAME", "")
        if problem := problem_of_name(name, redis_url):
            self.problems.append(f"BRIDGE_NAME: {problem}")
        return name

    def whole(self, name: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number between low and high."""
        return int(self._between(self.env.int, name, default, low, high))

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """Return a number between low and high."""
        return float(self._between(self.env.float, name, default, low, high))

    def flag(self, name: str) -> bool:
        """Return true or false; a variable that is not set or empty is false."""
        if not self.text(name, None):
            return False
        try:
            return bool(self.env.bool(name))
        except (EnvError, ValueError):
            self.problems.append(f"{name}: must be true or false")
            return False

    def _between(
        self, read: Callable[..., Any], name: str, default: float, low: float, high: float
    ) -> float:
        if not self.text(name, None):
            return default
        try:
            value = float(read(name))
        except (EnvError, ValueError, OverflowError):
            value = low - 1
        if not low <= value <= high:
            self.problems.append(f"{name}: must be a number from {low:g} to {high:g}")
            return default
        return value

    def routes(self) -> Routes | None:
        """Compile the routes of ROUTES_TOML, or else of the file that ROUTES_FILE names."""
        text = self.text("ROUTES_TOML", None)
        file = "ROUTES_TOML" if text else self.text("ROUTES_FILE", ROUTES_FILE) or ""
        try:
            beside = Path(file).parent if not text else Path()
            return load_routes(
                text or Path(file).read_text(encoding="utf-8-sig"),
                file=file,
                kinds=kinds(),
                read=lambda name: (beside / name).read_text(encoding="utf-8-sig"),
            )
        except RoutesError as error:
            self.problems += error.problems
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(
                f"{file}: can't be read ({type(error).__name__}). Write it, give its path in "
                "ROUTES_FILE, or put the routes into ROUTES_TOML"
            )
        return None

    def alert_secrets(self) -> tuple[str, ...]:
        """Return the secrets that sign alerts; an empty tuple: no alerts are sent."""
        return self._usable_secrets("ALERT_WEBHOOK_SECRET", AUTH)

    def source_secrets(self, source: Source) -> tuple[str, ...]:
        """Return the webhook secrets of a source; an empty tuple: the source is switched off."""
        return self._usable_secrets(f"{source.variable_prefix}WEBHOOK_SECRET", source.auth)

    def _usable_secrets(self, name: str, auth: Auth) -> tuple[str, ...]:
        found = _several(self.text(name, None) or "")
        for secret in found:
            if problem := check_secret(auth, secret):
                self.problems.append(f"{name}: {problem}")
        return found

    def webhooks_out(self, routes: Routes, *, is_needed: bool) -> dict[str, WebhookOut]:
        """Return where write-backs go, by source.

        is_needed: whether a source that has no address or no secret is a problem.
        """
        found = {}
        by_source = {one.source: one.name for one in routes.routes if one.write_back}
        for name, route in by_source.items():
            prefix = routes.sources[name].variable_prefix
            url_name, secret_name = f"{prefix}WRITE_BACK_URL", f"{prefix}WRITE_BACK_SECRET"
            url = self.url(url_name, None)
            secrets = self._usable_secrets(secret_name, AUTH)
            if routes.sources[name].kind.write_back and not url and not self.has_problem(url_name):
                continue  # the CRM is told by its API
            for variable, is_there in ((url_name, url), (secret_name, secrets)):
                if is_needed and not is_there and not self.has_problem(variable):
                    self.problems.append(
                        f"{variable}: is not set, and route {route!r} has a [route.write_back]"
                    )
            found[name] = WebhookOut(url=url or "", secrets=secrets)
        return found

    def api_rate(self, source: Source) -> int:
        """Return the most requests in 10 s to a CRM's API, or to the receiver of webhooks out."""
        api = source.kind.api
        usual = api.rate if api else API_RATE
        return self.whole(f"{source.variable_prefix}API_RATE", usual, low=1, high=100_000)

    def source_variables(self, source: Source) -> dict[str, str]:
        """Return a source's other variables, by suffix; a variable that is not set is left out."""
        found: dict[str, str] = {}
        for variable in source.kind.variables:
            name = f"{source.variable_prefix}{variable.suffix}"
            if variable.holds == "address":
                value = self.url(name, variable.default)
            elif variable.choices:
                value = self.text(name, None, parse=_one_of(variable.choices))
            elif variable.holds == "public_keys":
                value = self.text(name, variable.default, parse=_public_keys)
            elif variable.pattern:
                value = self.text(name, variable.default, parse=_like(variable))
            else:
                value = self.text(name, variable.default)
            if value is not None:
                found[variable.suffix] = value
        return found


def _with_signatures(routes: Routes, variables: Mapping[str, Mapping[str, str]]) -> Routes:
    """Return the routes with the signature schemes that <SOURCE>_SIGNATURES chooses.

    routes.toml may choose, too. Then the stricter choice counts.
    """
    sources = {}
    for name, source in routes.sources.items():
        choices = source.kind.signatures
        chosen = next((word for word, one in choices.items() if one.auth == source.auth), None)
        word = variables[name].get(SIGNATURES)
        if word is not None and chosen is not None:
            strictest = max(chosen, word, key=tuple(choices).index)
            source = replace(source, auth=choices[strictest].auth)
        sources[name] = source
    return replace(routes, sources=sources)


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    """Return a function that returns one of these words. It raises ValueError for another."""

    def read(raw: str) -> str:
        if raw not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return raw

    return read


def _like(variable: Variable) -> Callable[[str], str]:
    """Return a function that returns what fits the variable's pattern, or raises ValueError."""

    def read(raw: str) -> str:
        if not re.fullmatch(variable.pattern, raw):
            raise ValueError(f"must be of the form {variable.sample}")
        return raw

    return read


def _public_keys(raw: str) -> str:
    """Return the text of public keys. Raises ValueError if one of them can't be read."""
    public_keys(raw)
    return raw


def _without_country(routes: Routes) -> Iterator[str]:
    """Yield a problem for each route that could call nobody, because no country is named."""
    for route in routes.routes:
        if route.to == "call" and route.countries is None:
            yield (
                f"route {route.name!r}: countries: DEFAULT_REGION is none, so the route must name "
                'the countries that it calls, such as ["IN"], or "any"'
            )


def _never_open(routes: Routes, outer: Window | None) -> Iterator[str]:
    """Yield a problem for each route whose hours are never open.

    outer: CALLING_HOURS; None: they could not be read.
    """
    for route in routes.routes:
        hours = route.hours
        if hours is None or outer is None or outer.always or hours.timezone is not None:
            continue
        window = hours.hours.window
        if max(window.start_min, outer.start_min) >= min(window.end_min, outer.end_min):
            yield (
                f"route {route.name!r}: hours: {window} has nothing in common with CALLING_HOURS "
                f"({outer})"
            )


def _several(raw: str) -> tuple[str, ...]:
    return tuple(value for value in (part.strip() for part in raw.split(",")) if value)


def _named_token(entry: str) -> NamedToken:
    """Return the token of an entry `<name>:<role>:<token>`. Raises ValueError, without its text."""
    name, _, rest = entry.partition(":")
    role, _, token = (part.strip() for part in rest.partition(":"))
    name = name.strip()
    if not TOKEN_NAME.fullmatch(name) or not token:
        raise ValueError(
            "must be <name>:<role>:<token>; a name has 1 to 32 of the characters a-z, 0-9 and -"
        )
    if role not in set(Role):
        raise ValueError(f"{name}: the role must be one of {', '.join(Role)}")
    return NamedToken(name=name, role=Role(role), token=token)


def _api_variables(source: Source, settings: Settings) -> tuple[str, ...]:
    """Return the suffixes of what must be set for a source's API to be asked and told."""
    api, writer = source.kind.api, source.kind.write_back
    tells = any(
        route.source == source.name and route.write_back and route.write_back.call
        for route in settings.routes.routes
    )
    return (*(api.needs if api else ()), *(writer.call_needs if writer and tells else ()))


def _is_address(raw: str) -> bool:
    try:
        parts = urlsplit(raw)
        _ = parts.port
    except ValueError:  # an open bracket, a port that is not a number
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _plain(error: Exception) -> str:
    """Return the problem, without the value, which may be a secret."""
    if isinstance(error, EnvValidationError | ValidationError):
        return "can't be read"
    return str(error)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone such as Asia/Kolkata") from None
    return name


def _time_of_day(raw: str) -> time:
    if not re.fullmatch(r"([01]?[0-9]|2[0-3]):[0-5][0-9]", raw):
        raise ValueError("must be a time of the day, such as 08:00")
    hour, minute = map(int, raw.split(":"))
    return time(hour, minute)


def _region(code: str) -> str | None:
    if code.lower() == "none":  # a word of its own, because an empty variable counts as not set
        return None
    if code.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("must be a country's two letters, such as IN (GB for Britain)")
    return code.upper()


def _expression(text: str) -> Expression:
    try:
        return Expression.of(text)
    except ExpressionError as error:
        raise ValueError(f"is not a JMESPath expression: {error}") from None


def _numbers(raw: str) -> frozenset[str]:
    try:
        return frozenset(e164(number, None) for number in _several(raw))
    except PhoneError:
        raise ValueError(
            "must be numbers in full, such as +919876543210, with commas between them"
        ) from None


def _hosts(raw: str) -> frozenset[str]:
    return frozenset(_host(name) for name in _several(raw.lower()))


def _host(name: str) -> str:
    """Return a host name as a Host header has it: an umlaut is written as xn--."""
    try:
        dot = "." if name.startswith(".") else ""
        found = dot + name[len(dot) :].encode("idna").decode("ascii")
    except UnicodeError:
        found = ""
    if not HOST.fullmatch(found):
        raise ValueError(
            "must be host names without a scheme or port, with commas between them, such as "
            "bridge.example.com or .example.com (all names below it)"
        )
    return found


def _log_level(raw: str) -> str:
    if raw.upper() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return raw.upper()
