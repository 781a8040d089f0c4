"""One campaign paused, resumed and cancelled, while the others go on; its counts at each step."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import pytest
from support import AGENT, API_TOKEN, WEBSITE, Web, lead, make_due, notification, route
from support.draining import (
    CALLS,
    CAMPAIGNS,
    HUBSPOT_READ,
    MakeSettings,
    OpenWeb,
    RunDrain,
    found,
)
from support.storing import claim, put, to_sending

from rules.mapping import campaigns_of_now
from schemas.outcome import Outcome, Result
from schemas.records import Claims
from schemas.settings import Settings
from simulator import Simulator
from store import Store

REQUEST = {
    "to_number": '"phone"',
    "agent_id": f'{{ value = "{AGENT}" }}',
    "schedule_at": '"at"',
}
NAMED = WEBSITE + route(campaign='{ name = "Leads", period = "month" }', request=REQUEST)
MAKES = route(
    "make",
    event="campaign.created",
    to="campaign",
    campaign='{ key = "id" }',
    request={"name": '"title"', "agent_id": f'{{ value = "{AGENT}" }}'},
)
KEYED = WEBSITE + MAKES + route(campaign='{ key = "campaign" }')
BEARER = {"Authorization": f"Bearer {API_TOKEN}"}


def command(web: Web, method: str, path: str, **body: Any) -> Any:
    answer = web.client.open(f"/api{path}", method=method, json=body, headers=BEARER)
    assert answer.status_code == 200, answer.text
    return answer.json


def pause(web: Web, batch_id: str) -> None:
    assert command(web, "PUT", f"/pauses/campaign:{batch_id}")["scope"] == f"campaign:{batch_id}"


def counts(web: Web, batch_id: str) -> dict[str, int]:
    """Return the counts of a campaign; its list must agree with them, status by status."""
    shown = web.get(f"/api/campaigns/{batch_id}").json
    for status, count in shown["counts"].items():
        listed = web.get(f"/api/deliveries?campaign={batch_id}&status={status}&limit=200").json
        assert (len(listed["items"]), listed["total"]) == (count, count)
    listed = web.get(f"/api/deliveries?campaign={batch_id}&limit=200").json
    assert (len(listed["items"]), listed["total"]) == (shown["total"], shown["total"])
    found: dict[str, int] = shown["counts"]
    return found


def make_campaign(web: Web, run_drain: RunDrain, settings: Settings, key: str) -> str:
    """Have an event create the campaign of a key, and return its batch_id."""
    web.send("website", lead(event_type="campaign.created", id=key, title=f"Campaign {key}"))
    run_drain(settings)
    [batch_id] = {
        one["batch_id"]
        for one in web.get("/api/campaigns").json["items"]
        if one["key"] == f"key/{key}"
    }
    return str(batch_id)


def make_theirs(simulator: Simulator) -> str:
    """Have somebody else make a campaign at CallKaro, and return its batch_id."""
    body = json.dumps({"name": "Theirs", "agent_id": AGENT}).encode()
    headers = {"Content-Type": "application/json", "X-API-KEY": "a-key"}
    with urlopen(Request(f"{simulator.url}{CAMPAIGNS}", body, headers)):  # noqa: S310
        [campaign] = simulator.state.campaigns
    return str(campaign.batch_id)


@pytest.fixture(autouse=True)
def _is_indexed(store: Store) -> None:
    """Have no older release's records: lists of campaigns have a total."""
    store.note_indexed(0, is_first=True, is_last=True)


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The deliveries that drains claim, in order."""
    ids: list[str] = []
    unnoted = Store.claim

    def noted(store: Store, *args: Any, **named: Any) -> Claims:
        claims = unnoted(store, *args, **named)
        ids.extend(one.delivery.id for one in claims.claims)
        return claims

    monkeypatch.setattr(Store, "claim", noted)
    return ids


# --- the campaign that a route names --------------------------------------------------------------


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(NAMED)


@pytest.fixture
def batch_id(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> str:
    """A paused campaign with 5 calls that CallKaro holds, 5 that ended, and 20 that wait."""
    tomorrow = datetime.now(UTC).astimezone(ZoneInfo("Asia/Kolkata")) + timedelta(days=1)
    leads = [lead(at=f"{tomorrow:%Y-%m-%dT%H:%M:%S}") for _ in range(5)]
    web.send("website", leads)
    ended = web.send("website", [lead() for _ in range(5)])
    run_drain(settings)
    for one in ended:
        call = Outcome(call_sid=found(store, one).call_sid, delivery_id=one, try_count=0)
        store.keep_outcome(replace(call, result=Result.CONNECTED, is_final=True))
    [campaign] = simulator.state.campaigns
    assert counts(web, campaign.batch_id) == {"delivered": 10}
    pause(web, campaign.batch_id)
    web.send("website", [lead() for _ in range(20)])
    run_drain(settings)
    return str(campaign.batch_id)


def test_a_paused_campaign_sends_nothing_until_it_is_resumed(
    settings: Settings, web: Web, simulator: Simulator, run_drain: RunDrain, batch_id: str
) -> None:
    assert counts(web, batch_id) == {"delivered": 10, "held": 20}
    assert len(simulator.state.calls) == 10
    shown = web.get(f"/api/campaigns/{batch_id}").json
    assert (shown["paused"]["scope"], shown["progress"]) == (f"campaign:{batch_id}", 10 / 30)
    assert shown["outcomes"] == {"none": 5, "connected": 5}
    assert shown["routes"] == ["call back"]
    [one, *_] = web.get("/api/deliveries?status=held").json["items"]
    assert one["reason"] == "paused"
    assert f"campaign:{batch_id}" in one["message"]

    assert command(web, "DELETE", f"/pauses/campaign:{batch_id}")["released"] == 20
    run_drain(settings)

    assert counts(web, batch_id) == {"delivered": 30}
    assert len(simulator.state.calls) == 30
    assert web.get(f"/api/campaigns/{batch_id}").json["paused"] is None


def test_cancel_leaves_what_ended_as_it_is(
    settings: Settings, web: Web, simulator: Simulator, run_drain: RunDrain, batch_id: str
) -> None:
    would = command(web, "POST", "/deliveries/cancel", campaign=batch_id, dry_run=True)
    assert (would["matched"], would["cancelled"], would["refused"]) == (25, 25, 0)
    assert counts(web, batch_id) == {"delivered": 10, "held": 20}

    command(web, "POST", "/deliveries/cancel", campaign=batch_id)
    assert counts(web, batch_id) == {"delivered": 10, "cancelled": 20}
    run_drain(settings)

    assert counts(web, batch_id) == {"delivered": 5, "cancelled": 25}
    assert len(simulator.state.deleted) == 5
    assert len(simulator.state.calls) == 10
    assert web.get(f"/api/deliveries?campaign={batch_id}&outcome=connected").json["total"] is None


def test_a_person_can_retry_what_was_cancelled_and_it_counts_once(
    settings: Settings, web: Web, run_drain: RunDrain, batch_id: str
) -> None:
    command(web, "POST", "/deliveries/cancel", campaign=batch_id, status="held")
    command(web, "DELETE", f"/pauses/campaign:{batch_id}")
    [one, *_] = web.get("/api/deliveries?status=cancelled").json["items"]

    command(web, "POST", f"/deliveries/{one['id']}/retry")
    assert counts(web, batch_id) == {"delivered": 10, "cancelled": 19, "queued": 1}
    run_drain(settings)

    assert counts(web, batch_id) == {"delivered": 11, "cancelled": 19}


def test_the_campaign_of_the_next_period_is_not_paused(
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    monkeypatch: pytest.MonkeyPatch,
    batch_id: str,
) -> None:
    next_month = datetime.now(UTC) + timedelta(days=32)
    # The worker's clock alone: the campaign's name has the time of the send.
    monkeypatch.setattr("workers.drain.Drain.now", lambda _: next_month)
    held = [one["id"] for one in web.get("/api/deliveries?status=held").json["items"]]
    make_due(store, *held)

    run_drain(settings)

    assert counts(web, batch_id) == {"delivered": 10}
    [first, second] = simulator.state.campaigns
    assert first.batch_id == batch_id
    assert counts(web, second.batch_id) == {"delivered": 20}
    name = campaigns_of_now(settings, next_month)["call back"].rpartition("/")[2]
    assert web.get(f"/api/deliveries?campaign={name}").json["total"] == 20
    assert web.get("/api/deliveries?campaign=Leads").json["total"] == 30


def test_a_retry_of_a_held_call_is_held_again(
    settings: Settings, web: Web, simulator: Simulator, run_drain: RunDrain, batch_id: str
) -> None:
    [one, *_] = web.get("/api/deliveries?status=held").json["items"]
    command(web, "POST", f"/deliveries/{one['id']}/retry")
    run_drain(settings)
    assert web.get(f"/api/deliveries/{one['id']}").json["reason"] == "paused"
    assert len(simulator.state.calls) == 10


def test_a_test_call_obeys_the_pause_of_its_campaign(
    settings: Settings, web: Web, simulator: Simulator, run_drain: RunDrain, batch_id: str
) -> None:
    path = "/api/routes/call back/call-me"
    answer = web.client.post(path, json={"to_number": "+919876543219"}, headers=BEARER)
    assert answer.status_code == 202, answer.text
    run_drain(settings)
    assert web.get(f"/api/deliveries/{answer.json['id']}").json["reason"] == "paused"
    assert len(simulator.state.calls) == 10


def test_an_attempt_of_an_earlier_period_does_not_keep_a_waiting_call_there(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(503, path=CALLS, times=1)
    [one] = web.send("website", lead())
    run_drain(settings)
    assert found(store, one).status == "retrying"
    [campaign] = simulator.state.campaigns
    store.redis.hset(f"bridge:delivery:{one}", "batch_id", "of-last-month")

    assert counts(web, campaign.batch_id) == {"retrying": 1}
    assert web.get("/api/deliveries?campaign=of-last-month").json["items"] == []
    pause(web, campaign.batch_id)
    make_due(store, one)
    run_drain(settings)
    assert found(store, one).paused_by == f"campaign:{campaign.batch_id}"


# --- campaigns that the record gives --------------------------------------------------------------


def test_of_two_campaigns_of_a_route_only_the_paused_one_waits(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    claimed: list[str],
) -> None:
    settings = make_settings(KEYED)
    web = open_web(settings)
    paused, other = (make_campaign(web, run_drain, settings, key) for key in ("7", "8"))
    pause(web, paused)
    claimed.clear()

    waits = web.send("website", [lead(campaign="7") for _ in range(12)])
    goes = web.send("website", [lead(campaign="8") for _ in range(3)])
    run_drain(settings)

    assert counts(web, paused) == {"held": 12}
    assert counts(web, other) == {"delivered": 3}
    assert {found(store, one).paused_by for one in waits} == {f"campaign:{paused}"}
    assert sorted(claimed) == sorted(waits + goes), "each was claimed once, and then held"

    claimed.clear()
    make_due(store, *waits)
    run_drain(settings)
    assert claimed == [], "what the pause holds is not claimed again"
    timelines = {len(found(store, one).timeline) for one in waits}
    assert timelines == {2}, "a look at what is held writes nothing"

    command(web, "DELETE", f"/pauses/campaign:{paused}")
    run_drain(settings)
    assert counts(web, paused) == {"delivered": 12}
    assert len(simulator.state.calls) == 15


def test_a_call_waits_for_a_keyed_campaign_as_one_of_it(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    settings = make_settings(KEYED)
    web = open_web(settings)
    web.send("website", [lead(campaign="9"), lead(campaign="9")])
    run_drain(settings)
    held = web.get("/api/deliveries?campaign=key/9").json
    assert ([one["reason"] for one in held["items"]], held["total"]) == (
        ["awaiting_campaign"] * 2,
        2,
    )

    batch_id = make_campaign(web, run_drain, settings, "9")

    assert counts(web, batch_id) == {"delivered": 2}
    assert web.get("/api/deliveries?campaign=Campaign 9").json["total"] == 2
    assert store.redis.zcard("bridge:deliveries:campaign:key/9") == 0


def test_held_calls_of_a_paused_campaign_cost_no_request_to_the_crm(
    make_settings: MakeSettings, open_web: OpenWeb, simulator: Simulator, run_drain: RunDrain
) -> None:
    hubspot = route("leads", source="hubspot", event="contact.created", campaign='{ name = "H" }')
    settings = make_settings(hubspot)
    web = open_web(settings)
    web.send("hubspot", [notification()])
    run_drain(settings)
    [campaign] = simulator.state.campaigns
    pause(web, campaign.batch_id)
    asked = len(simulator.state.requests_to(HUBSPOT_READ))

    web.send("hubspot", [notification("102"), notification("103")])
    run_drain(settings)

    assert counts(web, campaign.batch_id)["held"] == 2
    assert len(simulator.state.requests_to(HUBSPOT_READ)) == asked


def test_a_campaign_that_the_record_names_is_counted_and_paused(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    request = {
        "to_number": '"phone"',
        "agent_id": f'{{ value = "{AGENT}" }}',
        "batch_id": '"batch"',
    }
    settings = make_settings(WEBSITE + route(request=request))
    web = open_web(settings)
    theirs = make_theirs(simulator)
    web.send("website", lead(batch=theirs))
    run_drain(settings)
    assert counts(web, theirs) == {"delivered": 1}
    shown = web.get(f"/api/campaigns/{theirs}").json
    assert (shown["key"], shown["name"], shown["created_at"]) == (None, None, None)
    assert shown["first_call_at"] == shown["last_call_at"] is not None

    pause(web, theirs)
    web.send("website", lead(batch=theirs))
    run_drain(settings)
    assert counts(web, theirs) == {"delivered": 1, "held": 1}
    assert len(simulator.state.calls) == 1


def test_the_step_that_permits_a_call_checks_the_pause(store: Store) -> None:
    put(store, "d1")
    lease = claim(store)["d1"]
    store.pause("campaign:b-1", reason="person", message="")
    move = replace(to_sending("d1", lease), fields={"batch_id": "b-1"})
    assert store.move([move]) == ["paused 0"]
    assert store.resume("campaign:b-1") == 0
    assert store.move([move]) == ["ok"]
