"""Zoho's notification channels: made, renewed well before they expire, and made again."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import API_TOKEN, SECRETS, Web, route, zoho_notification
from support.draining import MakeSettings, OpenWeb, RunDrain

from schemas.channel import Channel
from schemas.crm import zoho
from schemas.reconcile import ReconcileRun
from schemas.settings import Settings
from simulator import Simulator
from store import Store

ROUTES = route("new leads", source="zoho", event="lead.created") + route(
    "contacts", source="zoho", event="contact.*"
)
WATCH = "/crm/v8/actions/watch"
PATH = "/api/sources/zoho/channel"
HOUR = timedelta(hours=1)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(ROUTES, public_url="https://bridge.example", alert_webhook_url="http://x")


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


@pytest.fixture
def ask(web: Web) -> Any:
    def ask(method: str, status: int = 202) -> Any:
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        answer = web.client.open(
            PATH, method=method, headers=headers, base_url="https://bridge.example"
        )
        assert answer.status_code == status, answer.text
        return answer.json

    return ask


def kept(store: Store) -> Channel:
    return store.channels()["zoho"]


def asked(simulator: Simulator) -> list[tuple[str, Any]]:
    """Return how and for what Zoho was asked."""
    sent = simulator.state.requests_to(WATCH)
    return [(one.method, one.body["watch"][0]) for one in sent]


def renew_is_due_in(store: Store) -> float:
    """Return the seconds until the channel is renewed."""
    due_ms = store.redis.zscore("bridge:due:background_task", "channel:zoho")
    seconds, micros = store.redis.time()
    return due_ms / 1000 - (seconds + micros / 1e6)


def lapse(store: Store, ago: timedelta) -> None:
    """Let the channel expire so long ago, and its renewal be due."""
    store.keep_channel(replace(kept(store), expires_at=datetime.now(UTC) - ago))
    store.renew_channel("zoho", in_s=0)


def test_a_channel_is_made_for_what_the_routes_want_and_renewed(
    ask: Any, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    assert ask("POST")["renewed_at"] is None

    run_drain(settings)

    ((method, body),) = asked(simulator)
    assert (method, body["events"]) == (
        "POST",
        ["Contacts.create", "Contacts.edit", "Leads.create"],
    )
    assert body["notify_url"] == "https://bridge.example/webhooks/zoho"
    assert body["token"] == SECRETS["zoho"]
    assert isinstance(body["channel_id"], int)
    left = kept(store).expires_at - datetime.now(UTC)  # type: ignore[operator]
    assert timedelta(hours=22, minutes=55) < left <= timedelta(hours=23)
    assert 5.9 * 3600 < renew_is_due_in(store) <= 6 * 3600

    store.renew_all_channels()
    run_drain(settings)

    (_, again) = asked(simulator)
    assert (again[0], again[1]["channel_id"]) == ("PUT", body["channel_id"])
    assert kept(store).failures == 0
    assert list(simulator.state.zoho_channels) == [str(body["channel_id"])]


def test_one_of_which_zoho_grants_an_hour_is_renewed_within_half_of_it(
    ask: Any, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    end = (datetime.now(UTC) + HOUR).replace(microsecond=0)
    granted = {"events": [{"channel_expiry": end.isoformat()}]}
    answer = {"watch": [{"code": "SUCCESS", "status": "success", "details": granted}]}
    simulator.state.behave(200, path=WATCH, accept=True, body=json.dumps(answer), times=1)
    ask("POST")
    run_drain(settings)
    assert kept(store).expires_at == end
    assert 1700 < renew_is_due_in(store) <= 1800
    store.renew_channel("zoho", in_s=0)
    run_drain(settings)
    assert [method for method, _ in asked(simulator)] == ["POST", "PUT"]
    assert kept(store).expires_at > end + 21 * HOUR  # type: ignore[operator]
    assert store.reconcile("zoho") is None, "there was no gap"


def test_one_that_lapsed_is_made_again_told_and_its_gap_closed(
    ask: Any,
    web: Web,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    ask("POST")
    run_drain(settings)
    simulator.state.zoho_channels.clear()
    lapse(store, HOUR)
    assert store.look_for_alerts(backlog_age_s=900, sources=()) == 1
    missed = (datetime.now(UTC) - HOUR / 2).replace(microsecond=0).isoformat()
    fields = {"Phone": "+919876543210", "Created_Time": missed, "Modified_Time": missed}
    simulator.state.put_record("zoho", "Leads", "1", fields)

    run_drain(settings)

    assert [method for method, _ in asked(simulator)] == ["POST", "POST"]
    assert not kept(store).has_lapsed(datetime.now(UTC))
    assert [call.to_number for call in simulator.state.calls] == ["+919876543210"]
    assert store.look_for_alerts(backlog_age_s=900, sources=()) == 1
    began = store.claim_alert(lease_s=60)
    assert began is not None
    assert (began.full_type, began.facts["source"]) == ("channel.lapsed", "zoho")
    store.end_alert(began.id)
    over = store.claim_alert(lease_s=60)
    assert over is not None
    assert over.full_type == "channel.lapsed.resolved"
    # The notification comes after all.
    assert web.post("zoho", zoho_notification("1")).json["duplicates"] == 1


def test_zoho_may_have_lost_a_channel_that_we_still_know(
    ask: Any, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ask("POST")
    run_drain(settings)
    simulator.state.zoho_channels.clear()
    made_at = kept(store).renewed_at
    assert made_at is not None
    store.renew_channel("zoho", in_s=0)
    run_drain(settings)
    assert [method for method, _ in asked(simulator)] == ["POST", "PUT", "POST"]
    assert kept(store).failures == 0
    # What it missed since it was made is asked for.
    run = store.reconcile("zoho")
    assert run is not None
    assert abs(run.since - (made_at - timedelta(minutes=10))) < timedelta(seconds=1)


def test_a_gap_waits_for_a_reconcile_that_runs(
    ask: Any, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ask("POST")
    run_drain(settings)
    lapse(store, HOUR)
    ended_at = kept(store).expires_at
    assert ended_at is not None
    now = datetime.now(UTC)
    assert store.start_reconcile(
        ReconcileRun(source="zoho", since=now, started_at=now, dry_run=True)
    )
    store.redis.zrem("bridge:due:background_task", "reconcile:zoho")  # it is at work elsewhere
    run_drain(settings)
    assert not kept(store).has_lapsed(now)
    assert kept(store).lapsed_at == ended_at
    store.end_background_task("reconcile:zoho")
    store.renew_channel("zoho", in_s=0)
    run_drain(settings)
    run = store.reconcile("zoho")
    assert run is not None
    assert run.since == ended_at - timedelta(minutes=10)
    assert kept(store).lapsed_at is None


def test_a_crm_that_is_away_is_asked_for_a_renewal_again_not_for_a_new_channel(
    ask: Any,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    ask("POST")
    run_drain(settings)
    simulator.state.behave(503, path=WATCH, times=1)
    store.renew_channel("zoho", in_s=0)
    run_drain(settings)
    assert kept(store).failures == 1
    store.renew_channel("zoho", in_s=0)
    run_drain(settings)
    assert [method for method, _ in asked(simulator)] == ["POST", "PUT", "PUT"]
    assert store.reconcile("zoho") is None


def test_a_new_address_moves_the_channel_and_makes_no_second_one(
    ask: Any, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ask("POST")
    run_drain(settings)
    secrets = {"zoho": ("a-new-token", SECRETS["zoho"])}
    moved = replace(settings, public_url="https://other.example", secrets=secrets)
    store.renew_channel("zoho", in_s=0)
    run_drain(moved)
    (channel,) = simulator.state.zoho_channels.values()
    assert channel["notify_url"] == "https://other.example/webhooks/zoho"
    assert channel["token"] == "a-new-token"
    # Also if a person has stopped it meanwhile: Zoho has it until it expires.
    store.stop_watching("zoho")
    store.watch("zoho")
    run_drain(settings)
    (channel,) = simulator.state.zoho_channels.values()
    assert channel["notify_url"] == "https://bridge.example/webhooks/zoho"


def test_a_login_without_the_scope_is_told_which_one(
    ask: Any, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ask("POST")
    simulator.state.behave(401, path=WATCH, times=2)
    run_drain(settings)
    assert kept(store).message == (
        "Zoho CRM answered 401 (INVALID_TOKEN). "
        "Does the login have the scope ZohoCRM.notifications.ALL?"
    )


def test_an_error_with_status_202_is_one_and_is_told(
    ask: Any,
    web: Web,
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simulator.zoho.LONGEST_CHANNEL", HOUR)
    ask("POST")
    run_drain(settings)
    channel = ask("GET", 200)
    assert channel["failures"] == 1
    assert channel["message"] == (
        "Zoho CRM made no channel: INVALID_DATA: invalid data (channel_expiry)."
    )
    assert 0 < renew_is_due_in(store) <= 60
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    status = web.client.get("/api/status", headers=headers, base_url="https://bridge.example")
    assert status.json["channels"] == [channel]
    metrics = web.client.get("/metrics", headers=headers, base_url="https://bridge.example").text
    assert 'channel_failures{source="zoho"} 1' in metrics


def test_notifications_are_noted_and_what_a_reconcile_finds_is_none(
    ask: Any, web: Web, settings: Settings, store: Store, run_drain: RunDrain
) -> None:
    ask("POST")
    assert kept(store).notified_at is None
    run_drain(settings)
    web.client.post(
        "/webhooks/zoho", json=zoho_notification("1"), base_url="https://bridge.example"
    )
    noted = kept(store).notified_at
    assert noted is not None
    assert datetime.now(UTC) - noted < HOUR


def test_a_channel_that_a_person_stopped_is_renewed_no_longer(
    ask: Any, settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ask("POST")
    ask("DELETE", 200)
    run_drain(settings)
    assert asked(simulator) == []
    assert store.channels() == {}
    ask("GET", 404)
    # A worker that had it in hand meanwhile.
    assert not store.keep_channel(Channel(source="zoho"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"public_url": None}, "PUBLIC_URL is not set."),
        ({"secrets": {"zoho": ("x" * 51,)}}, "ZOHO_WEBHOOK_SECRET has more than 50 characters"),
        ({"secrets": {}}, "ZOHO_WEBHOOK_SECRET is not set."),
    ],
)
def test_a_setting_that_does_not_fit_is_said(
    open_web: OpenWeb, settings: Settings, change: dict[str, Any], why: str
) -> None:
    web = open_web(replace(settings, **change))
    answer = web.client.post(
        PATH,
        headers={"Authorization": f"Bearer {API_TOKEN}"},
        base_url="https://bridge.example",
    )
    assert (answer.status_code, answer.json["message"][: len(why)]) == (409, why)


def test_zoho_names_the_earliest_end() -> None:
    events = [{"channel_expiry": f"2026-01-31T0{hour}:00:00+05:30"} for hour in (5, 4)]
    answer = {"watch": [{"status": "success", "details": {"events": events}}]}
    how = zoho.KIND.channels
    assert how is not None
    assert how.refusal(answer) is None
    assert how.expiry(answer) == datetime(2026, 1, 30, 22, 30, tzinfo=UTC)
    assert how.refusal({"code": "OAUTH_SCOPE_MISMATCH", "message": "m", "status": "error"}) == (
        "OAUTH_SCOPE_MISMATCH: m."
    )
    assert how.refusal([]) == "its answer names no channel."


@pytest.fixture(autouse=True)
def _nobody_else(simulator: Simulator) -> None:
    for records in simulator.state.records.values():
        records.clear()
