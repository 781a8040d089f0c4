"""`zoho watch` against a bridge that serves, and a worker that makes the channel."""

import json

import pytest
from support import route
from support.commandline import Fails, Run
from support.draining import MakeSettings, RunDrain

from schemas.settings import Settings
from simulator import Simulator
from store import Store


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(
        route(source="zoho", event="lead.created"),
        public_url="https://bridge.example",
        allowed_hosts=frozenset({"127.0.0.1"}),
    )


@pytest.fixture(autouse=True)
def _worker(run_drain: RunDrain, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker make the channel while the command waits."""
    monkeypatch.setattr("bridge.cli.zoho.sleep", lambda _: run_drain(settings))


def test_a_channel_is_made_renewed_and_stopped(run: Run, store: Store) -> None:
    assert run("zoho", "watch").output.startswith("Zoho notifies the bridge of Leads.create, until")
    first = store.channels()["zoho"].renewed_at
    again = json.loads(run("zoho", "watch", "--json").output)
    assert (again["events"], again["failures"]) == (["Leads.create"], 0)
    assert store.channels()["zoho"].renewed_at != first
    assert "renewed no longer" in run("zoho", "watch", "--stop").output
    assert store.channels() == {}


def test_what_fails_is_said(fails: Fails, simulator: Simulator) -> None:
    assert "Known: zoho." in fails("zoho", "watch", "hubspot")[1]
    assert "has no channel" in fails("zoho", "watch", "--stop")[1]
    simulator.state.revoked_refresh_tokens.add("a-refresh-token")
    said = fails("zoho", "watch")[1]
    assert "the worker tries again. Zoho CRM gave no access token" in said
