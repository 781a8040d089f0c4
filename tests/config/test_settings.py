"""The environment: what is read, and that all that is wrong is named at once, unquoted."""

import os
import re
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from support.makers import CALL, NUMBER, call_route, campaign_route

from config.settings import (
    bridge_name_from_env,
    load_settings,
    redis_url_from_env,
    warnings_of,
)
from schemas.crm.hubspot import V3
from schemas.errors import SettingsError
from schemas.expression import Expression
from schemas.hours import ALWAYS, parse_window
from schemas.settings import Settings
from schemas.source import Signatures

NEEDED = {
    "REDIS_URL": "redis://localhost:6379/0",
    "API_TOKEN": "an-api-token-of-the-tests",
    "CALLKARO_API_KEY": "callkaro-key",
    "ROUTES_TOML": CALL,
}


@pytest.fixture
def env(monkeypatch, tmp_path):
    """Sets variables (None: unset) in an environment that has nothing but what is needed."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def set_all(**variables: str | None) -> None:
        for name, value in {**NEEDED, **variables}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    set_all()
    return set_all


def wrong() -> list[str]:
    """Return what from_env() says is wrong, a line each."""
    with pytest.raises(SettingsError) as caught:
        load_settings()
    lines = str(caught.value).splitlines()
    assert all(line.startswith("  - ") for line in lines)
    return [line.removeprefix("  - ") for line in lines]


# --- what is read ---------------------------------------------------------------------------


def test_what_is_not_set_has_the_designed_default(env):
    settings = load_settings()
    assert (settings.redis_url, settings.api_tokens, settings.callkaro_api_key) == (
        "redis://localhost:6379/0",
        ("an-api-token-of-the-tests",),
        "callkaro-key",
    )
    shown = {
        name: getattr(settings, name)
        for name in (
            "port",
            "public_url",
            "allowed_hosts",
            "proxy_hops",
            "callkaro_base_url",
            "callkaro_timezone",
            "callkaro_webhook_tokens",
            "max_rate",
            "worker_threads",
            "default_region",
            "max_per_number",
            "route_failing_after",
            "suppress_when",
            "dry_run",
            "allow_numbers",
            "retention_days",
            "dedupe_days",
            "log_level",
        )
    }
    assert shown == {
        "port": 8000,
        "public_url": None,
        "allowed_hosts": frozenset(),
        "proxy_hops": 0,
        "callkaro_base_url": "https://api.callkaro.ai",
        "callkaro_timezone": "Asia/Kolkata",
        "callkaro_webhook_tokens": (),
        "max_rate": 0,
        "worker_threads": 64,
        "default_region": "IN",
        "max_per_number": 0,
        "route_failing_after": 5,
        "suppress_when": None,
        "dry_run": False,
        "allow_numbers": None,
        "retention_days": 30,
        "dedupe_days": 30,
        "log_level": "INFO",
    }
    assert settings.calling_hours == parse_window("09:00-21:00")
    assert set(settings.secrets.values()) == {()}


def test_the_defaults_of_the_dataclass_are_those_of_the_environment(env):
    read = load_settings()
    bare = Settings(
        redis_url=read.redis_url,
        api_tokens=read.api_tokens,
        callkaro_api_key=read.callkaro_api_key,
        routes=read.routes,
        secrets=read.secrets,
        variables=read.variables,
        crm_rates=read.crm_rates,
    )
    assert bare == read


# Lines of .env.example that show an example, because there is no default.
EXAMPLES = {"API_TOKENS", "REDIS_TLS_VERIFY", "ALLOW_NUMBERS", "SUPPRESS_WHEN"}
EXAMPLES |= {"ALERT_WEBHOOK_SECRET", "ALERT_SUMMARY_AT", "BRIDGE_NAME", "REDIS_DURABLE"}


def test_the_defaults_that_the_env_example_shows_are_the_defaults(env):
    bare = load_settings()
    text = (Path(__file__).parents[2] / ".env.example").read_text("utf-8")
    shown = dict(re.findall(r"^# ([A-Z_]+)=(\S+)$", text, re.MULTILINE))
    assert {"CALLING_HOURS", "CALLKARO_TIMEZONE", "DEDUPE_DAYS", "PROXY_HOPS"} <= shown.keys()
    env(**{name: value for name, value in shown.items() if name not in EXAMPLES})
    assert load_settings() == bare


@pytest.mark.parametrize(
    ("name", "raw", "attribute", "value"),
    [
        (
            "REDIS_URL",
            "rediss://:pw@cache.example:6380",
            "redis_url",
            "rediss://:pw@cache.example:6380",
        ),
        ("REDIS_URL", "unix:///run/redis.sock", "redis_url", "unix:///run/redis.sock"),
        ("API_TOKEN", "new, old", "api_tokens", ("new", "old")),
        ("API_TOKEN", " a ,, b, ", "api_tokens", ("a", "b")),
        ("CALLKARO_API_KEY", " key ", "callkaro_api_key", "key"),
        ("PORT", "1", "port", 1),
        ("PORT", "65535", "port", 65_535),
        ("PUBLIC_URL", "https://bridge.example/", "public_url", "https://bridge.example"),
        ("PUBLIC_URL", "http://[::1]:8000", "public_url", "http://[::1]:8000"),
        ("ALLOWED_HOSTS", "a.example", "allowed_hosts", frozenset({"a.example"})),
        (
            "ALLOWED_HOSTS",
            " Web, .crm.example ,, 10.0.0.5,[FD00::1]",
            "allowed_hosts",
            frozenset({"web", ".crm.example", "10.0.0.5", "[fd00::1]"}),
        ),
        ("ALLOWED_HOSTS", "bücher.example", "allowed_hosts", frozenset({"xn--bcher-kva.example"})),
        ("PROXY_HOPS", "1", "proxy_hops", 1),
        (
            "CALLKARO_BASE_URL",
            "http://localhost:9000/",
            "callkaro_base_url",
            "http://localhost:9000",
        ),
        ("CALLKARO_TIMEZONE", "UTC", "callkaro_timezone", "UTC"),
        ("CALLKARO_TIMEOUT_S", "7.5", "callkaro_timeout_s", 7.5),
        ("CALLKARO_MAX_RATE", "0.5", "max_rate", 0.5),
        ("WORKER_THREADS", "8", "worker_threads", 8),
        ("DEFAULT_REGION", "gb", "default_region", "GB"),
        ("CALLING_HOURS", "10:00-19:00", "calling_hours", parse_window("10:00-19:00")),
        ("CALLING_HOURS", "always", "calling_hours", ALWAYS),
        ("MAX_PER_NUMBER_PER_DAY", "0", "max_per_number", 0),
        ("MAX_PER_NUMBER_PER_DAY", " 3 ", "max_per_number", 3),
        ("REDIS_ACKS", "0", "redis_acks", 0),
        ("REDIS_ACKS", " 5 ", "redis_acks", 5),
        ("REDIS_DURABLE", "engine", "is_engine_durable", True),
        ("REDIS_DURABLE", "", "is_engine_durable", False),
        ("ROUTE_FAILING_AFTER", "0", "route_failing_after", 0),
        ("REFUSED_KEEP", "0", "refused_keep", 0),
        ("REFUSED_KEEP", " 7 ", "refused_keep", 7),
        ("REFUSED_KEEP", "", "refused_keep", 100),
        ("ROUTE_FAILING_AFTER", " 12 ", "route_failing_after", 12),
        ("MAX_PER_NUMBER_PER_DAY", "1000", "max_per_number", 1000),
        (
            "SUPPRESS_WHEN",
            "post_call.do_not_call == 'yes'",
            "suppress_when",
            Expression.of("post_call.do_not_call == 'yes'"),
        ),
        ("DRY_RUN", "true", "dry_run", True),
        ("DRY_RUN", "1", "dry_run", True),
        ("DRY_RUN", "no", "dry_run", False),
        ("DRY_RUN", "0", "dry_run", False),
        (
            "ALLOW_NUMBERS",
            f"{NUMBER}, +91 98765 43211",
            "allow_numbers",
            frozenset({NUMBER, "+919876543211"}),
        ),
        ("RETENTION_DAYS", "1", "retention_days", 1),
        ("DEDUPE_DAYS", "365", "dedupe_days", 365),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
    ],
)
def test_a_variable_is_read(env, name, raw, attribute, value):
    env(**{name: raw})
    assert getattr(load_settings(), attribute) == value


@pytest.mark.parametrize(
    "name",
    [
        "PORT",
        "PUBLIC_URL",
        "ALLOWED_HOSTS",
        "PROXY_HOPS",
        "CALLKARO_BASE_URL",
        "CALLKARO_TIMEZONE",
        "CALLKARO_TIMEOUT_S",
        "CALLKARO_WEBHOOK_TOKEN",
        "CALLKARO_MAX_RATE",
        "WORKER_THREADS",
        "DEFAULT_REGION",
        "CALLING_HOURS",
        "MAX_PER_NUMBER_PER_DAY",
        "ROUTE_FAILING_AFTER",
        "SUPPRESS_WHEN",
        "DRY_RUN",
        "ALLOW_NUMBERS",
        "RETENTION_DAYS",
        "DEDUPE_DAYS",
        "LOG_LEVEL",
        "GENERIC_WEBHOOK_SECRET",
        "HUBSPOT_API_URL",
    ],
)
@pytest.mark.parametrize("empty", ["", "   "])
def test_an_empty_variable_is_one_that_is_not_set(env, name, empty):
    bare = load_settings()
    env(**{name: empty})
    assert load_settings() == bare


@pytest.mark.parametrize("name", ["REDIS_URL", "API_TOKEN", "CALLKARO_API_KEY"])
@pytest.mark.parametrize("empty", [None, "", "  "])
def test_what_must_be_set_is_missed(env, name, empty):
    env(**{name: empty})
    assert wrong() == [f"{name}: is not set"]


def test_a_token_of_commas_is_no_token(env):
    env(API_TOKEN=" , ,")
    assert wrong() == ["API_TOKEN: is not set"]


def test_all_that_is_missing_is_named_at_once(env):
    env(**dict.fromkeys(NEEDED))
    found = wrong()
    assert [line.partition(":")[0] for line in found] == [
        "routes.toml",
        "REDIS_URL",
        "API_TOKEN",
        "CALLKARO_API_KEY",
    ]
    assert "ROUTES_TOML" in found[0]


# --- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("CALLKARO_API_KEY", "from-a-file\n", "callkaro_api_key", "from-a-file"),
        ("API_TOKEN", "new,\nold\n", "api_tokens", ("new", "old")),
        ("REDIS_URL", "redis://elsewhere:6379\n", "redis_url", "redis://elsewhere:6379"),
        ("PORT", "9000\n", "port", 9000),
        ("DRY_RUN", "true\n", "dry_run", True),
        ("CALLKARO_MAX_RATE", "2.5\n", "max_rate", 2.5),
        ("CALLING_HOURS", "always\n", "calling_hours", ALWAYS),
    ],
)
def test_a_variable_can_be_a_file(env, tmp_path, name, text, attribute, value):
    (tmp_path / "value").write_text(text)
    env(**{name: None, f"{name}_FILE": str(tmp_path / "value")})
    assert getattr(load_settings(), attribute) == value


def test_a_sources_secret_can_be_a_file(env, tmp_path):
    (tmp_path / "value").write_text("one, two\n")
    env(GENERIC_WEBHOOK_SECRET_FILE=str(tmp_path / "value"))
    assert load_settings().secrets["generic"] == ("one", "two")


def test_an_empty_file_is_one_that_is_not_set(env, tmp_path):
    (tmp_path / "value").write_text("\n")
    env(CALLKARO_API_KEY=None, CALLKARO_API_KEY_FILE=str(tmp_path / "value"))
    assert wrong() == ["CALLKARO_API_KEY: is not set"]


@pytest.mark.parametrize("path", ["no-such-file", ".", "file/below", "x" * 5000, "bytes"])
def test_a_file_that_cannot_be_read_is_named_by_its_variable(env, tmp_path, path):
    (tmp_path / "file").write_text("value")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    env(CALLKARO_API_KEY=None, CALLKARO_API_KEY_FILE=path)
    [problem] = wrong()
    assert problem.startswith("CALLKARO_API_KEY: ")
    assert "CALLKARO_API_KEY_FILE" in problem
    assert "xxx" not in problem  # whoever gave the key itself instead of a path


# --- what is wrong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("BRIDGE_NAME", "sekret"),  # without a cluster
        ("BRIDGE_NAME", "Sekret!"),
        ("REDIS_URL", "cache.sekret.example"),
        ("REDIS_URL", "http://:sekret@localhost"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://:sekret@[localhost"),
        ("REDIS_URL", "redis://localhost:sekret"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "sekret"),
        ("PORT", "80.5"),
        ("PORT", "9" * 5000),
        ("PUBLIC_URL", "bridge.sekret.example"),
        ("PUBLIC_URL", "ftp://sekret"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://[sekret"),
        ("ALLOWED_HOSTS", "https://sekret.example"),
        ("ALLOWED_HOSTS", "sekret.example:8000"),
        ("ALLOWED_HOSTS", "a.example, *.sekret.example"),
        ("ALLOWED_HOSTS", "sekret..example"),
        ("ALLOWED_HOSTS", f"{'sekret' * 11}.example"),
        ("ALLOWED_HOSTS", "fd00::1"),
        ("ALLOWED_HOSTS", "*"),
        ("PROXY_HOPS", "-1"),
        ("CALLKARO_BASE_URL", "api.sekret.ai"),
        ("CALLKARO_TIMEZONE", "Asia/Sekret"),
        ("CALLKARO_TIMEZONE", "Asia"),
        ("CALLKARO_TIMEZONE", "../sekret"),
        ("CALLKARO_TIMEOUT_S", "0"),
        ("CALLKARO_TIMEOUT_S", "21"),
        ("CALLKARO_TIMEOUT_S", "nan"),
        ("CALLKARO_TIMEOUT_S", "15 s"),
        ("CALLKARO_MAX_RATE", "-1"),
        ("CALLKARO_MAX_RATE", "inf"),
        ("WORKER_THREADS", "0"),
        ("WORKER_THREADS", "many"),
        ("DEFAULT_REGION", "India"),
        ("DEFAULT_REGION", "91"),
        ("DEFAULT_REGION", "UK"),  # it is GB, and no number would ever be one of UK's
        ("CALLING_HOURS", "9-21"),
        ("CALLING_HOURS", "21:00-09:00"),
        ("MAX_PER_NUMBER_PER_DAY", "-1"),
        ("REDIS_ACKS", "-1"),
        ("REDIS_ACKS", "6"),
        ("REDIS_ACKS", "one"),
        ("REDIS_DURABLE", "true"),
        ("REFUSED_KEEP", "-1"),
        ("REFUSED_KEEP", "1001"),
        ("REFUSED_KEEP", "all"),
        ("ROUTE_FAILING_AFTER", "-1"),
        ("ROUTE_FAILING_AFTER", "five"),
        ("MAX_PER_NUMBER_PER_DAY", "1001"),
        ("MAX_PER_NUMBER_PER_DAY", "1.5 a day"),
        ("MAX_PER_NUMBER_PER_DAY", "sekret"),
        ("SUPPRESS_WHEN", "post_call.do_not_call =="),
        ("SUPPRESS_WHEN", "no_such_function(post_call)"),
        ("SUPPRESS_WHEN", "contains(post_call)"),
        ("DRY_RUN", "sekret"),
        ("ALLOW_NUMBERS", "98765 43210"),
        ("ALLOW_NUMBERS", f"{NUMBER}, sekret"),
        ("RETENTION_DAYS", "0"),
        ("RETENTION_DAYS", "30d"),
        ("DEDUPE_DAYS", "-30"),
        ("LOG_LEVEL", "sekret"),
        ("HUBSPOT_API_URL", "api.sekret.com"),
        ("ZOHO_ACCOUNTS_URL", "accounts.sekret.in"),
    ],
)
def test_a_bad_value_is_named_by_its_variable_and_not_quoted(env, name, raw):
    env(**{"ROUTES_TOML": call_route(), name: raw})
    [problem] = wrong()
    assert problem.startswith(f"{name}: ")
    assert "sekret" not in problem.lower()
    assert len(problem) < 200


def test_all_that_is_wrong_is_named_at_once(env):
    env(
        REDIS_URL="nowhere",
        API_TOKEN="",
        PORT="x",
        DRY_RUN="maybe",
        CALLING_HOURS="late",
        ALLOW_NUMBERS="me",
        ROUTES_TOML=call_route('wehn = "a"\ndelay = "soon"'),
    )
    found = wrong()
    assert {line.partition(":")[0] for line in found} == {
        "REDIS_URL",
        "API_TOKEN",
        "PORT",
        "DRY_RUN",
        "CALLING_HOURS",
        "ALLOW_NUMBERS",
        "ROUTES_TOML",
    }
    assert len(found) == 8


# --- routes ---------------------------------------------------------------------------------


def test_the_routes_are_those_of_the_file_unless_their_text_is_given(env, tmp_path):
    (tmp_path / "routes.toml").write_text(CALL.replace("call new leads", "by default"))
    (tmp_path / "own.toml").write_text(CALL.replace("call new leads", "own file"))

    def named() -> list[str]:
        return [route.name for route in load_settings().routes.routes]

    env(ROUTES_TOML=None)
    assert named() == ["by default"]
    env(ROUTES_TOML="  ", ROUTES_FILE="")
    assert named() == ["by default"]
    env(ROUTES_TOML=None, ROUTES_FILE=str(tmp_path / "own.toml"))
    assert named() == ["own file"]
    env(ROUTES_TOML=CALL, ROUTES_FILE=str(tmp_path / "own.toml"))
    assert named() == ["call new leads"]


@pytest.mark.parametrize("path", ["no-such.toml", ".", "bytes.toml"])
def test_a_routes_file_that_cannot_be_read_says_what_to_do(env, tmp_path, path):
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    env(ROUTES_TOML=None, ROUTES_FILE=path)
    [problem] = wrong()
    assert problem.startswith(f"{path}: can't be read")
    assert "ROUTES_FILE" in problem
    assert "ROUTES_TOML" in problem


def test_mistakes_in_the_routes_are_told_under_where_they_stand(env, tmp_path):
    env(ROUTES_TOML=call_route('wehn = "a"'))
    assert wrong() == ["ROUTES_TOML: route 'call new leads': wehn: Unknown field."]
    (tmp_path / "own.toml").write_text(call_route('wehn = "a"'))
    env(ROUTES_TOML=None, ROUTES_FILE="own.toml")
    assert wrong() == ["own.toml: route 'call new leads': wehn: Unknown field."]


# --- routes that could call nobody ------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "outer", "common"),
    [
        ('from = "10:00", to = "19:00"', "09:00-21:00", True),
        ('from = "20:59"', "09:00-21:00", True),
        ('to = "9:01"', "09:00-21:00", True),
        ('days = "sun"', "09:00-21:00", True),
        ('from = "21:00", to = "23:00"', "always", True),
        ('from = "21:00", to = "23:00"', "09:00-21:00", False),
        ('from = "23:00"', "09:00-21:00", False),
        ('to = "9:00"', "09:00-21:00", False),
        ('from = "10:00", to = "12:00", days = "mon"', "12:00-18:00", False),
        # By another clock they may well have something in common.
        ('from = "21:00", to = "23:00", timezone = "Asia/Dubai"', "09:00-21:00", True),
        ('from = "21:00", to = "23:00", timezone = "tz"', "09:00-21:00", True),
    ],
)
def test_hours_that_are_never_open_within_the_outer_limit_stop_the_boot(env, hours, outer, common):
    env(ROUTES_TOML=call_route(f"hours = {{ {hours} }}"), CALLING_HOURS=outer)
    if common:
        assert load_settings().routes.routes
        return
    [problem] = wrong()
    assert problem.startswith("route 'call new leads': hours: ")
    assert problem.endswith(f" has nothing in common with CALLING_HOURS ({outer})")


def test_the_hours_of_the_route_are_quoted_where_they_have_nothing_in_common(env):
    env(ROUTES_TOML=call_route('hours = { from = "21:00", to = "23:00" }'))
    assert wrong() == [
        "route 'call new leads': hours: 21:00-23:00 has nothing in common with CALLING_HOURS "
        "(09:00-21:00)"
    ]


def test_an_outer_limit_that_can_not_be_read_is_the_only_thing_told_of_the_hours(env):
    env(ROUTES_TOML=call_route('hours = { from = "21:00" }'), CALLING_HOURS="late")
    [problem] = wrong()
    assert problem.startswith("CALLING_HOURS: ")


@pytest.mark.parametrize("word", ["none", "None", "NONE"])
@pytest.mark.parametrize(
    ("keys", "boots"),
    [
        ("", False),
        ('region = "IN"', False),
        ('countries = ["IN"]', True),
        ('countries = "any"', True),
    ],
)
def test_without_a_default_region_each_route_names_its_countries(env, word, keys, boots):
    env(DEFAULT_REGION=word, ROUTES_TOML=call_route(keys))
    if boots:
        assert load_settings().default_region is None
        return
    assert wrong() == [
        "route 'call new leads': countries: DEFAULT_REGION is none, so the route must name the "
        'countries that it calls, such as ["IN"], or "any"'
    ]


def test_a_route_to_a_campaign_needs_no_countries(env):
    env(DEFAULT_REGION="none", ROUTES_TOML=campaign_route())
    assert load_settings().default_region is None


def test_every_route_that_could_call_nobody_is_named(env):
    late = call_route('hours = { from = "22:00" }')
    env(ROUTES_TOML=late + late.replace("call new leads", "other"), DEFAULT_REGION="none")
    assert {tuple(line.split(": ")[:2]) for line in wrong()} == {
        (f"route '{name}'", key)
        for name in ("call new leads", "other")
        for key in ("countries", "hours")
    }


@pytest.mark.parametrize("path", ["routes.toml", "sub/routes.toml"])
def test_a_holidays_file_stands_beside_the_routes(env, tmp_path, path):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(call_route('hours = { holidays = "holidays.txt" }'))
    (tmp_path / path).with_name("holidays.txt").write_text("2027-01-26\n", encoding="utf-8-sig")
    env(ROUTES_TOML=None, ROUTES_FILE=path)
    [route] = load_settings().routes.routes
    assert route.hours is not None
    assert route.hours.hours.holidays == {date(2027, 1, 26)}


def test_a_holidays_file_of_routes_that_are_a_variable_stands_where_the_process_runs(env, tmp_path):
    (tmp_path / "holidays.txt").write_text("2027-01-26\n")
    env(ROUTES_TOML=call_route('hours = { holidays = "holidays.txt" }'))
    [route] = load_settings().routes.routes
    assert route.hours is not None
    assert route.hours.hours.holidays == {date(2027, 1, 26)}


@pytest.mark.parametrize("name", ["no-such.txt", ".", "bytes.txt", "x" * 5000, "a\\u0000b"])
def test_a_holidays_file_that_can_not_be_read_stops_the_boot(env, tmp_path, name):
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    env(ROUTES_TOML=call_route(f'hours = {{ holidays = "{name}" }}'))
    [problem] = wrong()
    assert problem.startswith("ROUTES_TOML: route 'call new leads': hours.holidays: the file ")
    assert problem.endswith("can't be read; a list of dates is possible, too")


# --- what is kept how long --------------------------------------------------------------------


def test_an_id_is_not_forgotten_before_its_record(env):
    env(RETENTION_DAYS="31")
    assert load_settings().dedupe_days == 31
    env(DEDUPE_DAYS="30")
    assert wrong() == ["DEDUPE_DAYS: must not be less than RETENTION_DAYS"]


# --- sources --------------------------------------------------------------------------------

PORTALS = '[[source]]\nname = "hubspot-2"\nkind = "hubspot"\n[[source]]\nname = "website"\n'


def call_of(source, match="match = \"changeSource != 'IMPORT'\""):
    """Return a [[route]] to call that asks for another source, imports left out."""
    return CALL.replace('"generic"', f'"{source}"\n{match}')


def test_secrets_and_variables_are_by_source(env):
    env(
        ROUTES_TOML=PORTALS + CALL,
        HUBSPOT_WEBHOOK_SECRET="first",
        HUBSPOT_2_WEBHOOK_SECRET="second-new, second-old",
        WEBSITE_WEBHOOK_SECRET="web",
        HUBSPOT_ACCESS_TOKEN="pat-1",
        HUBSPOT_2_ACCESS_TOKEN="pat-2",
        HUBSPOT_2_API_URL="http://localhost:9000/",
        ZOHO_ACCOUNTS_URL="https://accounts.zoho.in/",
        ZOHO_CLIENT_ID="id",
    )
    settings = load_settings()
    secrets = {
        "generic": (),
        "hubspot": ("first",),
        "hubspot-2": ("second-new", "second-old"),
        "website": ("web",),
        "zoho": (),
    }
    usual = {"APP_URL": "https://app.hubspot.com", "API_VERSION": "2026-03"}
    variables = {
        "generic": {},
        "hubspot": {"ACCESS_TOKEN": "pat-1", "API_URL": "https://api.hubapi.com", **usual},
        "hubspot-2": {"ACCESS_TOKEN": "pat-2", "API_URL": "http://localhost:9000", **usual},
        "website": {},
        "zoho": {"ACCOUNTS_URL": "https://accounts.zoho.in", "CLIENT_ID": "id"},
    }
    # Any further kind has an entry too.
    assert {name: settings.secrets[name] for name in secrets} == secrets
    assert {name: settings.variables[name] for name in variables} == variables


def test_a_secret_that_can_never_prove_anything_is_told_without_quoting_it(env):
    env(
        ROUTES_TOML='[[source]]\nname = "a"\nauth = "basic"\n'
        '[[source]]\nname = "b-2"\nauth = "standard"\n' + CALL,
        A_WEBHOOK_SECRET="sekret-without-user",
        B_2_WEBHOOK_SECRET="whsec_sekret!",
    )
    found = wrong()
    assert [line.partition(":")[0] for line in found] == ["A_WEBHOOK_SECRET", "B_2_WEBHOOK_SECRET"]
    assert "sekret" not in " ".join(found)


def test_no_secret_is_in_its_repr(env):
    env(
        REDIS_URL="redis://:sekret@localhost",
        API_TOKEN="sekret",
        CALLKARO_API_KEY="sekret",
        CALLKARO_WEBHOOK_TOKEN="sekret",
        GENERIC_WEBHOOK_SECRET="sekret",
        HUBSPOT_ACCESS_TOKEN="sekret",
        ZOHO_REFRESH_TOKEN="sekret",
        ALLOW_NUMBERS=NUMBER,
    )
    shown = repr(load_settings())
    assert "sekret" not in shown
    assert NUMBER not in shown
    assert "worker_threads=64" in shown


# --- warnings -------------------------------------------------------------------------------


LONG = "a-secret-that-is-long"


@pytest.fixture
def sound(env):
    """Sets variables beside all that nobody need be warned of."""
    return partial(env, CALLKARO_WEBHOOK_TOKEN=LONG)


def test_all_in_order_is_no_warning(sound):
    sound(GENERIC_WEBHOOK_SECRET=LONG)
    assert warnings_of(load_settings()) == []


def test_outcomes_that_are_not_taken_in_are_a_warning(env):
    env(GENERIC_WEBHOOK_SECRET=LONG)
    [warning] = warnings_of(load_settings())
    assert warning.startswith("CALLKARO_WEBHOOK_TOKEN is not set")


def test_a_token_that_may_be_guessed_is_a_warning(sound):
    sound(GENERIC_WEBHOOK_SECRET=LONG, API_TOKEN=f"{'x' * 20},secret")
    [warning] = warnings_of(load_settings())
    assert warning.startswith("API_TOKEN has fewer than 20 characters")
    assert "secret" not in warning


@pytest.mark.parametrize(
    ("name", "auth", "secret", "is_warned"),
    [
        ("GENERIC_WEBHOOK_SECRET", "token", "x", True),
        ("GENERIC_WEBHOOK_SECRET", "token", "zoho-token", True),
        ("GENERIC_WEBHOOK_SECRET", "token", "a" * 40, True),
        ("GENERIC_WEBHOOK_SECRET", "token", f"{LONG},short", True),
        ("GENERIC_WEBHOOK_SECRET", "token", "0123456789ab", False),
        ("GENERIC_WEBHOOK_SECRET", "basic", "a-very-long-user-name:x", True),
        ("GENERIC_WEBHOOK_SECRET", "basic", f"u:{LONG}", False),
        ("GENERIC_WEBHOOK_SECRET", "standard", "whsec_c2hvcnQ=", True),
        ("GENERIC_WEBHOOK_SECRET", "standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", False),
        ("CALLKARO_WEBHOOK_TOKEN", "token", "tok", True),
    ],
)
def test_a_webhook_secret_that_can_be_guessed_is_a_warning(sound, name, auth, secret, is_warned):
    source = f'[[source]]\nname = "generic"\nauth = "{auth}"\n'
    usual = {"GENERIC_WEBHOOK_SECRET": LONG if auth == "token" else secret}
    sound(ROUTES_TOML=source + CALL, **{**usual, name: secret})
    found = warnings_of(load_settings())
    assert [line.partition(" ")[0] for line in found] == ([name] if is_warned else [])
    assert not is_warned or "can be guessed" in found[0]
    assert secret not in " ".join(found) or len(secret) == 1


def test_no_route_at_all_is_a_warning(env):
    env(ROUTES_TOML="# none yet")
    assert warnings_of(load_settings()) == [
        "there is no [[route]]: every event will be kept as unrouted"
    ]


def test_a_routed_source_without_a_secret_is_a_warning_with_the_variables_name(sound):
    sound(ROUTES_TOML=PORTALS + call_of("hubspot-2") + CALL.replace("call new leads", "other"))
    assert warnings_of(load_settings()) == [
        "source 'generic' has routes but GENERIC_WEBHOOK_SECRET is not set: its URL answers 404",
        "source 'hubspot-2' has routes but HUBSPOT_2_WEBHOOK_SECRET is not set: "
        "its URL answers 404",
    ]


def test_a_route_that_sees_imports_is_no_warning_for_they_wait_for_a_person(sound):
    sound(ROUTES_TOML=call_of("hubspot", match=""), HUBSPOT_WEBHOOK_SECRET=LONG)
    assert not [line for line in warnings_of(load_settings()) if "import" in line]


@pytest.mark.parametrize(
    ("source", "given", "missing"),
    [
        ("hubspot", {}, "HUBSPOT_ACCESS_TOKEN"),
        ("hubspot", {"HUBSPOT_ACCESS_TOKEN": "t"}, None),
        ("hubspot-2", {"HUBSPOT_ACCESS_TOKEN": "t"}, "HUBSPOT_2_ACCESS_TOKEN"),
        (
            "zoho",
            {},
            "ZOHO_ACCOUNTS_URL, ZOHO_CLIENT_ID, ZOHO_CLIENT_SECRET, ZOHO_REFRESH_TOKEN",
        ),
        (
            "zoho",
            {"ZOHO_CLIENT_ID": "i", "ZOHO_CLIENT_SECRET": "s", "ZOHO_REFRESH_TOKEN": "r"},
            "ZOHO_ACCOUNTS_URL",
        ),
        (
            "zoho",
            {
                "ZOHO_CLIENT_ID": "i",
                "ZOHO_CLIENT_SECRET": "s",
                "ZOHO_REFRESH_TOKEN": "r",
                "ZOHO_ACCOUNTS_URL": "https://accounts.zoho.in",
            },
            None,
        ),
    ],
)
def test_what_is_missing_to_fetch_records_is_a_warning(sound, source, given, missing):
    secret = f"{source.upper().replace('-', '_')}_WEBHOOK_SECRET"
    sound(ROUTES_TOML=PORTALS + call_of(source), **{secret: LONG}, **given)
    expected = [f"source '{source}' can't fetch full records: {missing} not set"]
    assert warnings_of(load_settings()) == (expected if missing else [])


def test_a_crm_that_can_not_be_told_is_a_warning(sound):
    told = call_of("zoho") + '[route.write_back]\non = ["outcome"]\n'
    sound(ROUTES_TOML=told, ZOHO_WEBHOOK_SECRET=LONG)
    (warning,) = warnings_of(load_settings())
    assert "can't fetch full records and can't tell Zoho CRM of calls: ZOHO_" in warning


def test_without_the_type_of_an_activity_leadsquared_can_not_be_told(sound):
    told = call_of("leadsquared") + '[route.write_back]\non = ["outcome"]\n'
    keys = {"ACCESS_KEY": "a", "SECRET_KEY": "s", "API_URL": "https://api.example"}
    given = {f"LEADSQUARED_{name}": value for name, value in keys.items()}
    sound(ROUTES_TOML=told, LEADSQUARED_WEBHOOK_SECRET=LONG, **given)
    (warning,) = warnings_of(load_settings())
    assert warning == (
        "source 'leadsquared' can't tell LeadSquared of calls: LEADSQUARED_ACTIVITY_EVENT not set"
    )
    sound(ROUTES_TOML=call_of("leadsquared"), LEADSQUARED_WEBHOOK_SECRET=LONG)
    assert warnings_of(load_settings()) == []


SETS_CITY = '[route.write_back.fields]\ncity = "outcome.result"\n'


@pytest.mark.parametrize(
    ("source", "event", "said", "is_warned"),
    [
        ("gohighlevel", "contact.updated", SETS_CITY, True),
        ("gohighlevel", "contact.*", SETS_CITY, True),
        ("gohighlevel", "*.created", SETS_CITY, False),
        ("gohighlevel", "contact.updated", "", False),  # a note changes no contact
        ("zoho", "contact.updated", SETS_CITY, False),
    ],
)
def test_a_write_back_that_may_call_in_a_circle_is_a_warning(sound, source, event, said, is_warned):
    routes = call_of(source).replace('"form.submitted"', f'"{event}"')
    told = f'[route.write_back]\non = ["outcome"]\n{said}'
    sound(ROUTES_TOML=routes + told)
    found = [one for one in warnings_of(load_settings()) if "in a circle" in one]
    assert len(found) == is_warned
    assert all("takes contact.updated and writes fields back" in one for one in found)


def test_a_write_back_that_may_call_by_another_route_is_a_warning(sound):
    first = call_of("gohighlevel").replace('"form.submitted"', '"contact.created"')
    other = call_of("gohighlevel").replace('"form.submitted"', '"contact.updated"')
    other = other.replace('"call new leads"', '"call changed ones"')
    sound(ROUTES_TOML=f'{first}[route.write_back]\non = ["outcome"]\n{SETS_CITY}{other}')
    (found,) = [one for one in warnings_of(load_settings()) if "writes fields back" in one]
    assert "takes contact.updated, which route 'call new leads' makes" in found


@pytest.mark.parametrize(
    ("keys", "without"),
    [
        ('auth = "hmac"\nheader = "X-Signature"', "a request of its auth"),
        ('auth = "hmac"\nheader = "X-S"\nhash = "sha512"', "a request of its auth"),
        ('kind = "hubspot"', "a request without X-HubSpot-Signature-v3"),
        ('auth = "standard"', None),
        ('auth = "token"', None),
        ('auth = "basic"', None),
    ],
)
def test_an_id_window_without_effect_is_a_warning(sound, keys, without):
    source = f'[[source]]\nname = "form"\n{keys}\n'
    sound(ROUTES_TOML=f'{source}id_window = "24h"\n{CALL}', GENERIC_WEBHOOK_SECRET=LONG)
    found = [line for line in warnings_of(load_settings()) if "id_window" in line]
    assert len(found) == (without is not None)
    assert not found or found[0].startswith(
        f"source 'form': id_window has no effect on {without}: the signature has no time"
    )
    sound(ROUTES_TOML=source + CALL, GENERIC_WEBHOOK_SECRET=LONG)
    assert warnings_of(load_settings()) == []


EU = '[[source]]\nname = "hubspot-eu"\nkind = "hubspot"\n'
STRICT = EU + 'signatures = "v3"\n'


@pytest.mark.parametrize(
    ("routes", "variables", "strict"),
    [
        (EU, {}, set()),
        (EU, {"HUBSPOT_SIGNATURES": "any"}, set()),
        (EU, {"HUBSPOT_SIGNATURES": "v3"}, {"hubspot"}),
        (EU, {"HUBSPOT_EU_SIGNATURES": "v3"}, {"hubspot-eu"}),
        (STRICT, {}, {"hubspot-eu"}),
        (STRICT, {"HUBSPOT_EU_SIGNATURES": "any"}, {"hubspot-eu"}),
        (EU + 'signatures = "any"\n', {"HUBSPOT_EU_SIGNATURES": "v3"}, {"hubspot-eu"}),
        (EU + 'auth = "token"\n', {"HUBSPOT_EU_SIGNATURES": "v3"}, set()),
    ],
)
def test_v3_alone_is_chosen_in_routes_or_environment(env, routes, variables, strict):
    env(ROUTES_TOML=routes + CALL, **variables)
    sources = load_settings().routes.sources
    v3 = Signatures(schemes=(V3,))
    assert {name for name, source in sources.items() if source.auth == v3} == strict


def test_each_portal_has_a_version_of_the_api(env):
    env(ROUTES_TOML=PORTALS + CALL, HUBSPOT_2_API_VERSION=" 2027-09 ")
    variables = load_settings().variables
    versions = [variables[name]["API_VERSION"] for name in ("hubspot", "hubspot-2")]
    assert versions == ["2026-03", "2027-09"]


@pytest.mark.parametrize(
    "version", ["v3", "2026-3", "2026-13", "2026-03/..", "latest", "2026-03-01"]
)
def test_a_version_that_is_no_date_stops_the_boot(env, version):
    env(HUBSPOT_API_VERSION=version)
    assert wrong() == ["HUBSPOT_API_VERSION: must be of the form 2026-03"]


@pytest.mark.parametrize("wrong_word", ["v2", "V3", "v3,any", "none"])
def test_a_signature_that_is_no_choice_stops_the_boot(env, wrong_word):
    env(HUBSPOT_SIGNATURES=wrong_word)
    assert wrong() == ["HUBSPOT_SIGNATURES: must be one of any, v3"]
    env(HUBSPOT_SIGNATURES=None, ROUTES_TOML=f'{EU}signatures = "{wrong_word}"\n{CALL}')
    [line] = wrong()
    assert line.endswith("'hubspot-eu': signatures: must be one of any, v3")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('kind = "zoho"\nsignatures = "v3"', "signatures: Zoho CRM has no such choice"),
        ('signatures = "any"', "signatures: Generic JSON or form has no such choice"),
        (
            'kind = "hubspot"\nauth = "standard"\nsignatures = "v3"',
            "signatures: is allowed only without auth",
        ),
    ],
)
def test_signatures_are_chosen_only_where_there_is_a_choice(env, keys, problem):
    env(ROUTES_TOML=f'[[source]]\nname = "eu"\n{keys}\n{CALL}')
    [line] = wrong()
    assert line.endswith(problem)


@pytest.mark.parametrize(
    ("event", "variables", "is_warned"),
    [
        ("workflow.triggered", {"HUBSPOT_SIGNATURES": "v3"}, True),
        ("workflow.*", {"HUBSPOT_SIGNATURES": "v3"}, True),
        ("*", {"HUBSPOT_SIGNATURES": "v3"}, True),
        ("contact.created", {"HUBSPOT_SIGNATURES": "v3"}, False),
        ("workflow.triggered", {"HUBSPOT_SIGNATURES": "any"}, False),
        ("workflow.triggered", {}, False),
    ],
)
def test_v3_alone_beside_a_route_of_workflows_is_a_warning(sound, event, variables, is_warned):
    routes = call_of("hubspot", "").replace('"form.submitted"', f'"{event}"')
    assert f'"{event}"' in routes
    sound(ROUTES_TOML=routes, HUBSPOT_WEBHOOK_SECRET=LONG, HUBSPOT_ACCESS_TOKEN="t", **variables)
    expected = [
        "route 'call new leads' takes workflow.triggered, and source 'hubspot' accepts v3 "
        "signatures alone: HubSpot signs these events in another way, so they are refused, and it "
        "does not send them again"
    ]
    assert warnings_of(load_settings()) == (expected if is_warned else [])


@pytest.mark.parametrize(
    ("at", "is_over"),
    [
        ("2024-01-31T09:30:00", True),
        ("2000-01-01T00:00:00", True),
        ("2999-12-31T09:30:00", False),
    ],
)
def test_calls_planned_for_a_time_that_is_over_are_a_warning(sound, at, is_over):
    planned = call_of("generic") + f'schedule_at = {{ value = "{at}" }}\n'
    sound(ROUTES_TOML=planned, GENERIC_WEBHOOK_SECRET=LONG)
    expected = [
        f"route 'call new leads' plans its calls for {at} Asia/Kolkata, which is over "
        "(request.schedule_at)"
    ]
    assert warnings_of(load_settings()) == (expected if is_over else [])


@pytest.mark.parametrize(("minutes", "is_over"), [(-5, True), (60, False)])
def test_a_planned_time_is_in_the_zone_of_callkaro(sound, minutes, is_over):
    zone = "America/New_York"
    at = datetime.now(ZoneInfo(zone)) + timedelta(minutes=minutes)
    planned = call_of("generic") + f'schedule_at = {{ value = "{at:%Y-%m-%dT%H:%M:%S}" }}\n'
    sound(ROUTES_TOML=planned, GENERIC_WEBHOOK_SECRET=LONG, CALLKARO_TIMEZONE=zone)
    assert bool(warnings_of(load_settings())) == is_over


def test_what_calls_nobody_is_a_warning(sound):
    sound(GENERIC_WEBHOOK_SECRET=LONG, DRY_RUN="true", ALLOW_NUMBERS=NUMBER)
    found = warnings_of(load_settings())
    assert found == [
        "DRY_RUN is on: nobody is called",
        "ALLOW_NUMBERS is set: only 1 number(s) are called",
    ]


# --- for commands that can do without ---------------------------------------------------------


def test_what_a_command_does_not_need_may_be_missing(env):
    env(**dict.fromkeys(NEEDED))
    settings = load_settings(needs=frozenset())
    assert settings.routes.routes == ()
    assert not settings.api_tokens
    assert not settings.callkaro_api_key


def test_what_a_command_does_not_need_is_still_told_where_it_is_wrong(env):
    env(**dict.fromkeys(NEEDED))
    env(REDIS_URL="nowhere", PORT="x", CALLKARO_API_KEY=None)
    with pytest.raises(SettingsError) as caught:
        load_settings(needs=frozenset({"ROUTES"}))
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "  - REDIS_URL",
        "  - PORT",
    ]


@pytest.mark.parametrize(
    ("raw", "url"), [("redis://h:1/0", "redis://h:1/0"), ("nowhere", None), (None, None)]
)
def test_where_redis_is_can_be_known_whatever_else_is_wrong(env, raw, url):
    env(**{**dict.fromkeys(NEEDED), "REDIS_URL": raw, "PORT": "x"})
    assert redis_url_from_env() == url


# --- named tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("asha:viewer:first", [("asha", "viewer", "first")]),
        (
            " asha : viewer : first ,, b-2:operator:a:token:with:colons,\n",
            [("asha", "viewer", "first"), ("b-2", "operator", "a:token:with:colons")],
        ),
        ("a:admin:new,a:admin:old", [("a", "admin", "new"), ("a", "admin", "old")]),
        ("admin:admin:another", [("admin", "admin", "another")]),
        (f"{'x' * 32}:viewer:first", [("x" * 32, "viewer", "first")]),
        ("", []),
        (None, []),
    ],
)
def test_named_tokens_have_a_name_a_role_and_a_token(env, text, expected):
    env(API_TOKENS=text)
    settings = load_settings()
    found = [(one.name, one.role, one.token) for one in settings.named_tokens]
    assert found == expected
    first = settings.tokens()[0]
    assert (first.name, first.role, first.token) == ("admin", "admin", NEEDED["API_TOKEN"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a-secret-alone", "entry 1: must be <name>:<role>:<token>"),
        ("asha:viewer", "entry 1: must be <name>:<role>:<token>"),
        ("asha:viewer:", "entry 1: must be <name>:<role>:<token>"),
        (":viewer:a-secret", "entry 1: must be <name>:<role>:<token>"),
        ("Asha:viewer:a-secret", "entry 1: must be <name>:<role>:<token>"),
        ("asha k:viewer:a-secret", "entry 1: must be <name>:<role>:<token>"),
        ("आशा:viewer:a-secret", "entry 1: must be <name>:<role>:<token>"),
        (f"{'x' * 33}:viewer:a-secret", "entry 1: must be <name>:<role>:<token>"),
        ("b:viewer:x,asha:owner:a-secret", "entry 2: asha: the role must be one of viewer"),
        ("asha:Viewer:a-secret", "entry 1: asha: the role must be one of viewer"),
        ("a:viewer:x,a:admin:a-secret", "entry 2: a has two roles"),
        ("admin:viewer:a-secret", "entry 1: admin has two roles"),
        ("a:viewer:a-secret,b:admin:a-secret", "entry 2: a and b have the same token"),
        (f"a:viewer:{NEEDED['API_TOKEN']}", "entry 1: admin and a have the same token"),
    ],
)
def test_a_wrong_named_token_stops_the_start_and_is_not_quoted(env, text, says):
    env(API_TOKENS=text)
    [problem] = wrong()
    assert problem.startswith(f"API_TOKENS: {says}")
    assert "a-secret" not in problem
    assert NEEDED["API_TOKEN"] not in problem


def test_a_named_token_that_can_be_guessed_is_a_warning_by_its_name(env):
    long = "long-enough-to-be-safe-2"
    env(API_TOKENS=f"asha:viewer:short,bela:operator:{long},asha:viewer:tiny")
    found = [one for one in warnings_of(load_settings()) if one.startswith("API_TOKENS")]
    assert len(found) == 1
    assert "asha" in found[0]
    assert "short," not in found[0]
    assert "short" not in repr(load_settings()).replace("API", "")


@pytest.mark.parametrize(("text", "days"), [(None, 400), ("1", 1), ("3650", 3650)])
def test_audit_days_say_how_long_the_audit_is_kept(env, text, days):
    env(AUDIT_DAYS=text)
    assert load_settings().audit_days == days


@pytest.mark.parametrize("text", ["0", "-1", "3651", "long"])
def test_audit_days_that_make_no_sense_stop_the_start(env, text):
    env(AUDIT_DAYS=text)
    assert wrong() == ["AUDIT_DAYS: must be a number from 1 to 3650"]


def test_a_bridge_in_a_cluster_may_have_a_name(env):
    env(REDIS_URL="clusters://one:1,two", REDIS_TLS_VERIFY="false", BRIDGE_NAME="north-1")
    assert load_settings().redis_url == "clusters://one:1,two?ssl_cert_reqs=none"
    assert bridge_name_from_env() == "north-1"
    env(BRIDGE_NAME="North")
    assert bridge_name_from_env() == "", "the settings refuse it"
