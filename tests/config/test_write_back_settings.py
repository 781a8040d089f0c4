"""Where write-backs go: <SOURCE>_WRITE_BACK_URL, <SOURCE>_WRITE_BACK_SECRET, <SOURCE>_API_RATE."""

import os

import pytest
from support.makers import CALL

from config.settings import load_settings
from schemas.errors import SettingsError

TOLD = CALL + '[route.write_back]\non = ["outcome"]\n'
KEY, OTHER = "whsec_c2VjcmV0LW9mLXRlc3Rz", "whsec_YW5vdGhlci1zZWNyZXQ="


@pytest.fixture
def env(monkeypatch, tmp_path):
    """An environment with a route that tells its CRM, and where it tells it."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "REDIS_URL": "redis://localhost:6379/0",
        "API_TOKEN": "an-api-token-of-the-tests",
        "CALLKARO_API_KEY": "callkaro-key",
        "ROUTES_TOML": TOLD,
        "GENERIC_WRITE_BACK_URL": "https://crm.example/hook?token=t",
        "GENERIC_WRITE_BACK_SECRET": KEY,
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def wrong() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_a_route_says_that_its_source_needs_them(env):
    (out,) = load_settings().webhooks_out.values()
    assert (out.url, out.secrets) == ("https://crm.example/hook?token=t", (KEY,))
    assert KEY not in repr(out)
    assert "token" not in repr(out)


def test_there_may_be_several_secrets_and_another_rate(env):
    env.setenv("GENERIC_WRITE_BACK_SECRET", f"{KEY}, {OTHER}")
    env.setenv("GENERIC_API_RATE", "7")
    settings = load_settings()
    assert settings.webhooks_out["generic"].secrets == (KEY, OTHER)
    assert settings.crm_rates["generic"] == 7
    assert (settings.crm_rates["hubspot"], settings.crm_rates["zoho"]) == (90, 50)


def test_without_such_a_route_nothing_is_read(env):
    env.setenv("ROUTES_TOML", CALL)
    env.delenv("GENERIC_WRITE_BACK_URL")
    assert load_settings().webhooks_out == {}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("GENERIC_WRITE_BACK_URL", "", "is not set, and route 'call new leads' has a [route."),
        ("GENERIC_WRITE_BACK_SECRET", "", "is not set, and route 'call new leads' has a [route."),
        ("GENERIC_WRITE_BACK_URL", "ftp://crm.example", "must be an address that starts with http"),
        ("GENERIC_WRITE_BACK_SECRET", "whsec_%", "The secret is not valid base64 after whsec_."),
        ("GENERIC_API_RATE", "0", "must be a number from 1 to 100000"),
    ],
)
def test_what_is_missing_or_wrong_stops_the_start(env, name, value, problem):
    env.setenv(name, value)
    assert f"{name}: {problem}" in wrong()
    assert wrong().count("\n") == 0


def test_a_command_that_sends_nothing_needs_no_address(env):
    env.delenv("GENERIC_WRITE_BACK_URL")
    assert load_settings(needs=frozenset({"ROUTES"})).webhooks_out == {}
