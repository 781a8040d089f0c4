"""`check` asks the CRMs: what they lack makes it fail, and one that is away does not."""

import json
from pathlib import Path

import pytest
from support import route
from support.commandline import ROOT, Cli

from simulator import Simulator

ROUTES = (
    route("call contacts", source="hubspot", event="contact.created")
    + '[route.write_back]\non = ["outcome"]\nfields = { hs_lead_statsu = "outcome.result" }\n'
)
ASKED = "/crm/properties/2026-03/contacts"


@pytest.fixture
def env(tmp_path: Path, redis_url: str, simulator: Simulator) -> dict[str, str]:
    """The environment of a bridge that writes back to the stand-in, with a misspelt property."""
    (tmp_path / "routes.toml").write_text(ROUTES)
    return {
        "API_TOKEN": "tok-123",
        "CALLKARO_API_KEY": "key-123",
        "REDIS_URL": redis_url,
        "ROUTES_FILE": str(tmp_path / "routes.toml"),
        "HUBSPOT_WEBHOOK_SECRET": "hub-123",
        "HUBSPOT_ACCESS_TOKEN": "pat-na1-123",
        "HUBSPOT_API_URL": simulator.url,
    }


def test_what_the_crm_lacks_is_named(cli: Cli, env: dict[str, str], simulator: Simulator) -> None:
    simulator.state.set_scopes("hubspot", ["crm.objects.contacts.read"])
    result = cli("check", "--json", env=env)
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    assert found["ok"] is False
    scope, name = found["problems"]
    assert "lacks the scope crm.objects.contacts.write" in scope
    assert "no property 'hs_lead_statsu'. Did you mean 'hs_lead_status'?" in name
    assert name in result.stderr
    assert "The bridge can run, but" in result.stderr
    assert "-123" not in result.output


def test_what_the_crm_lacks_stops_no_start(
    cli: Cli, env: dict[str, str], simulator: Simulator
) -> None:
    simulator.state.set_scopes("hubspot", [])
    [release] = [
        line.split()[5:] for line in (ROOT / "Procfile").read_text().splitlines() if "check" in line
    ]
    result = cli("check", *release, "--json", env=env)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["ok"], found["problems"]) == (True, [])
    assert any("no property 'hs_lead_statsu'" in one for one in found["warnings"])
    result = cli("check", *release, env={**env, "PORT": "nonsense"})
    assert result.exit_code == 1, result.output
    assert "The bridge can't run." in result.stderr


def test_a_crm_that_is_away_does_not_make_it_fail(
    cli: Cli, env: dict[str, str], simulator: Simulator
) -> None:
    simulator.close()
    result = cli("check", env=env)
    assert result.exit_code == 0, result.output
    assert "what routes write back is not checked: HubSpot did not answer" in result.stdout


def test_no_crm_asks_none(cli: Cli, env: dict[str, str], simulator: Simulator) -> None:
    result = cli("check", "--no-crm", env=env)
    assert result.exit_code == 0, result.output
    assert simulator.state.requests_to(ASKED) == []
