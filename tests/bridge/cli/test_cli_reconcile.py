"""`reconcile` against a bridge that serves, and a worker that does it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from support import route
from support.commandline import Fails, Run
from support.draining import MakeSettings, RunDrain, counts

from schemas.reconcile import ReconcileRun
from schemas.settings import Settings
from simulator import Simulator
from store import Store


@pytest.fixture
def settings(make_settings: MakeSettings, simulator: Simulator) -> Settings:
    contacts = simulator.state.records[("hubspot", "contacts")]
    contacts.clear()
    for number in range(6):
        at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        fields = {"phone": f"+9198765432{number:02}", "createdate": at, "lastmodifieddate": at}
        simulator.state.put_record("hubspot", "contacts", str(101 + number), fields)
    return make_settings(route("new", source="hubspot", event="contact.created"))


@pytest.fixture(autouse=True)
def _worker(run_drain: RunDrain, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker do it while the command waits."""
    monkeypatch.setattr("bridge.cli.reconcile.sleep", lambda _: run_drain(settings))


def test_a_count_then_the_taking(run: Run, store: Store) -> None:
    counted = run("reconcile", "hubspot", "--since", "24h", "--dry-run")
    assert "Never arrived: 6. Known already: 0." in counted.output
    assert "  contact.created of …101, " in counted.output
    assert "Taken" not in counted.output
    assert counts(store) == {}

    taken = run("reconcile", "hubspot", "--since", "24h")

    assert "Taken: 6.\nThey are held." in taken.output
    assert counts(store) == {"held": 6}
    advised = taken.output.partition("python -m bridge ")[2].split()
    assert "released: 5" in run(*advised, "--yes").output.lower()
    again = json.loads(run("reconcile", "hubspot", "--since", "24h", "--json").output)
    assert (again["known"], again["missed"], again["status"]) == (6, 0, "done")
    (act,) = store.acts(limit=9, keep_days=1).items[:1]
    assert (act.action, act.target) == ("reconcile", "hubspot")


def test_what_does_not_fit_is_said(fails: Fails) -> None:
    for arguments, why in (
        (("website", "--since", "1h"), "Known: hubspot, zoho."),
        (("hubspot", "--since", "90d"), "since must be less than 30 days ago"),
        (("hubspot", "--since", "2099-01-31T09:30"), "since is in the future"),
        (("hubspot",), "Missing option '--since'"),
    ):
        assert why in fails("reconcile", *arguments)[1]


def test_what_can_find_nothing_is_said(fails: Fails, store: Store, settings: Settings) -> None:
    assert "so there is nothing to look for" in fails("reconcile", "zoho", "--since", "1h")[1]
    store.redis.set("bridge:order", 1)
    store.note_happenings(datetime.now(UTC))  # after an older release
    assert "an older release took webhooks" in fails("reconcile", "hubspot", "--since", "1h")[1]


def test_a_crm_that_refuses_is_said(fails: Fails, simulator: Simulator) -> None:
    simulator.state.hubspot_token = "another"
    code, said = fails("reconcile", "hubspot", "--since", "1h")
    assert (code, "The reconcile failed: HubSpot answered 401 (" in said) == (1, True)


def test_one_at_a_time(fails: Fails, store: Store) -> None:
    now = datetime.now(UTC)
    store.start_reconcile(ReconcileRun(source="hubspot", since=now, started_at=now))
    assert "runs already" in fails("reconcile", "hubspot", "--since", "1h")[1]
