"""The environment of the demo's processes: what is given, what is generated, what is simulated."""

import re
import secrets
from collections.abc import Iterable, Mapping

from bridge.cli import Failure
from config.settings import load_settings
from demo.processes import environment
from schemas.alert import AUTH
from schemas.crm import kinds
from schemas.errors import SettingsError, StoreUnavailable
from schemas.route import Routes
from schemas.routes_toml import load_routes
from schemas.settings import Settings
from schemas.source import Source, secret_of

ROUTES = ("ROUTES_FILE", "ROUTES_TOML")
OUT = ("_WRITE_BACK_URL", "_WRITE_BACK_SECRET")  # where a source is told of calls by webhooks


def is_set(env: Mapping[str, str], name: str) -> bool:
    """Return whether a setting has a value, directly or in a file. An empty value is none."""
    return bool(env.get(name, "").strip() or env.get(f"{name}_FILE", "").strip())


def without(env: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return an environment without these settings, and without the files that may hold them."""
    gone = {end for name in names for end in (name, f"{name}_FILE")}
    return {name: value for name, value in env.items() if name not in gone}


def checked_web_concurrency(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with which gunicorn can be imported. Raises Failure.

    gunicorn reads WEB_CONCURRENCY long before our configuration, and ends with a traceback even
    if it is empty.
    """
    given = env.get("WEB_CONCURRENCY", "").strip()
    if not given:
        return without(env, ["WEB_CONCURRENCY"])
    if not re.fullmatch(r"[1-9][0-9]{0,2}", given):
        raise Failure("WEB_CONCURRENCY must be a number from 1 to 999.")
    return dict(env)


def settings_of(env: Mapping[str, str]) -> Settings:
    """Return the settings of a process with this environment. Raises Failure."""
    try:
        with environment(env):
            return load_settings()
    except SettingsError as error:
        raise Failure(f"The bridge can't start. Fix this:\n{error}") from None


def simulated(env: Mapping[str, str], url: str) -> dict[str, str]:
    """Return an environment in which a stand-in at this URL is CallKaro and every CRM.

    No address and no credential of a CRM is left: a real token must not reach a stand-in, and a
    stand-in's lead must not reach a real CRM. Webhook secrets stay, as do the other variables that
    only check what comes in (Kind.checks): the vendor may send to this bridge.
    """
    callkaro = {
        "CALLKARO_API_KEY": secrets.token_hex(12),
        "CALLKARO_BASE_URL": url,
        "CALLING_HOURS": "always",
        "DRY_RUN": "",
        "ALLOW_NUMBERS": "",
    }
    routes = routes_of(env)
    sources = list(routes.sources.values())
    crms: dict[str, str] = {}
    for source in sources:
        crms |= source.simulated_variables(url)
    for source in _told_by_webhook(routes):
        prefix = source.variable_prefix
        crms[f"{prefix}WRITE_BACK_URL"] = f"{url}/hook/{source.name}"
        crms[f"{prefix}WRITE_BACK_SECRET"] = secret_of(AUTH, secrets.token_hex(16))
    kept = {one.variable_prefix + suffix for one in sources for suffix in one.kind.checks}
    crms = {name: value for name, value in crms.items() if name not in kept}
    leftovers = [name for name in env if is_of_a_crm(name, sources)]
    gone = {name.removesuffix("_FILE") for name in [*callkaro, *crms, *leftovers]} - kept
    return without(env, gone) | callkaro | crms


def _told_by_webhook(routes: Routes) -> list[Source]:
    """Return the sources whose routes tell of calls by signed webhooks: their CRM has no API."""
    told = {route.source for route in routes.routes if route.write_back}
    return [routes.sources[name] for name in told if not routes.sources[name].kind.write_back]


def routes_of(env: Mapping[str, str]) -> Routes:
    """Return the routes that this environment names.

    If they can't be read, those are none, with the sources that need no routes. settings_of() then
    says what is wrong with them.
    """
    files = {f"{name}_FILE" for name in ROUTES}
    routes = {name: value for name, value in env.items() if name in files.union(ROUTES)}
    try:
        with environment({**routes, "CALLING_HOURS": "always"}):
            return load_settings(needs=frozenset({"ROUTES"})).routes
    except SettingsError:
        return load_routes("", file="none", kinds=kinds())


def is_of_a_crm(name: str, sources: Iterable[Source]) -> bool:
    """Return whether a variable's name looks like that of a CRM's address or credential.

    This includes names that no source has today, such as HUBSPOT_EMEA_ACCESS_TOKEN: the variable
    may belong to a portal that is no longer in routes.toml.
    """
    name = name.removesuffix("_FILE")
    if name.endswith(OUT):
        return True
    known = kinds().values()  # a built-in name may have another kind in routes.toml
    prefixes = tuple(
        {source.variable_prefix for source in sources} | {f"{kind.name.upper()}_" for kind in known}
    )
    suffixes = tuple({f"_{one.suffix}" for kind in known for one in kind.variables})
    return name.startswith(prefixes) and name.endswith(suffixes)


def missing_secrets(settings: Settings) -> dict[str, str]:
    """Return a generated webhook secret for each source that has routes and no secret."""
    routed = {route.source for route in settings.routes.routes}
    return {
        f"{source.variable_prefix}WEBHOOK_SECRET": secret_of(source.auth, secrets.token_hex(16))
        for source in settings.routes.sources.values()
        if source.name in routed and not settings.secrets.get(source.name)
    }


def refuse_real_data(settings: Settings) -> None:
    """Raise Failure if REDIS_URL holds deliveries: a stand-in must not accept real ones."""
    from store import Store, connect

    try:
        counts = Store(connect(settings.redis_url)).counts()
    except StoreUnavailable as error:
        raise Failure(f"REDIS_URL: {error}") from None
    if any(counts.values()):
        raise Failure(
            "REDIS_URL holds deliveries, and a stand-in for CallKaro must not accept them. Unset "
            "REDIS_URL, or give an empty database. To make real calls, set CALLKARO_API_KEY."
        )
