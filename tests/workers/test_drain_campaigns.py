"""A drain and its campaigns: each is made once, and its calls wait for it."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import pytest
from support import AGENT, LONGEST_S, WEBSITE, Web, lead, make_due, notification, route, until
from support.draining import (
    CALLS,
    CAMPAIGNS,
    HUBSPOT_READ,
    MakeSettings,
    OpenWeb,
    RunDrain,
    counts,
    drain_at_once,
    found,
    settle,
)

from schemas.settings import Settings
from simulator import Simulator
from store import Store


def test_a_campaign_is_created_once_though_ten_drains_want_it_at_once(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(worker_threads=1)
    simulator.state.behave(path=CAMPAIGNS, latency_ms=500)
    open_web(settings).send("website", [lead() for _ in range(30)])

    tallies = drain_at_once(run_drain, settings, 10)
    settle(run_drain, settings, store)

    assert sum(stats.claimed > 0 for stats in tallies) > 1
    assert len(simulator.state.requests_to(CAMPAIGNS)) == 1
    [campaign] = simulator.state.campaigns
    assert counts(store) == {"delivered": 30}
    assert {call.batch_id for call in simulator.state.calls} == {campaign.batch_id}
    assert simulator.state.doubled == {}


def test_a_campaigns_name_has_its_period(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    campaign = '{ name = "Leads", period = "month" }'
    settings = make_settings(WEBSITE + route(campaign=campaign))
    open_web(settings).send("website", lead())
    zone = ZoneInfo("Asia/Kolkata")
    before = datetime.now(zone)

    run_drain(settings)

    [created] = simulator.state.campaigns
    assert created.name in {f"Leads {at:%Y-%m}" for at in (before, datetime.now(zone))}


def test_routes_with_different_agents_share_a_campaign_without_one(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    campaign = '{ name = "Leads" }'
    other = {"to_number": '"phone"', "agent_id": '{ value = "another-agent" }'}
    settings = make_settings(
        WEBSITE + route(campaign=campaign) + route("two", campaign=campaign, request=other)
    )
    open_web(settings).send("website", lead())

    run_drain(settings)

    assert counts(store) == {"delivered": 2}
    [created] = simulator.state.campaigns
    assert created.agent_id is None
    assert {call.agent_id for call in simulator.state.calls} == {AGENT, "another-agent"}


def test_a_campaign_that_is_refused_fails_its_calls(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.unknown_agents.add(AGENT)
    [delivery] = web.send("website", lead())

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("failed", "refused")
    assert kept.message is not None
    assert "campaign could not be created" in kept.message
    assert "Agent does not exist" in kept.message
    assert simulator.state.requests_to(CALLS) == []


@pytest.mark.parametrize(
    "answers",
    [{"status": 503}, {"status": 403}, {"status": 502}, {"cut": "after"}, {"body": "what?"}],
    ids=str,
)
def test_a_campaign_that_can_not_be_created_yet_is_waited_for(
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answers: dict[str, Any],
) -> None:
    simulator.state.behave(path=CAMPAIGNS, times=1, **answers)
    [delivery] = web.send("website", lead())

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.attempts) == ("queued", ())
    assert kept.next_attempt_at is not None
    assert kept.message is not None
    assert "campaign can't be created yet" in kept.message
    store.resume("callkaro")  # a 403 pauses it
    make_due(store, delivery)
    run_drain(settings)
    assert found(store, delivery).status == "delivered"


def test_a_campaign_is_not_created_again_by_the_next_drain(
    settings: Settings, web: Web, simulator: Simulator, run_drain: RunDrain
) -> None:
    for _ in range(2):
        web.send("website", lead())
        run_drain(settings)

    assert len(simulator.state.campaigns) == 1
    assert len({call.batch_id for call in simulator.state.calls}) == 1


KEYED = (
    WEBSITE
    + route(
        "make campaign",
        event="campaign.started",
        to="campaign",
        campaign='{ key = "campaign" }',
        request={"name": '"title"'},
    )
    + route(campaign='{ key = "campaign" }')
)


def test_a_call_waits_for_the_campaign_that_another_event_makes(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(KEYED)
    web = open_web(settings)
    [call] = web.send("website", lead(campaign="7"))
    [other] = web.send("website", lead(campaign="8"))
    run_drain(settings)
    for delivery in (call, other):
        waiting = found(store, delivery)
        assert (waiting.status, waiting.reason) == ("held", "awaiting_campaign")
        assert waiting.next_attempt_at is not None
    assert run_drain(settings).claimed == 0

    started = {"event_type": "campaign.started", "campaign": "7", "title": "Autumn"}
    [making] = web.send("website", {**started, "submission_id": "c-7"})
    run_drain(settings)

    made = found(store, making)
    [campaign] = simulator.state.campaigns
    assert (made.status, made.batch_id) == ("delivered", campaign.batch_id)
    assert (campaign.name, campaign.agent_id) == ("Autumn", None)
    assert (found(store, call).status, found(store, call).batch_id) == (
        "delivered",
        campaign.batch_id,
    )
    assert found(store, other).status == "held"
    assert [one.batch_id for one in simulator.state.calls] == [campaign.batch_id]


def test_an_unclear_answer_to_a_campaign_is_tried_again(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    """An empty campaign rings nobody."""
    simulator.state.behave(path="/v2/call/campaign", cut="after", times=1)
    settings = make_settings(KEYED)
    body = {"event_type": "campaign.started", "campaign": "7", "title": "Autumn"}
    [making] = open_web(settings).send("website", body)

    run_drain(settings, jitter=0)

    assert found(store, making).status == "delivered"
    assert len(simulator.state.campaigns) == 2


def test_a_campaign_key_that_is_not_there_is_a_bad_request(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    settings = make_settings(KEYED)
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("failed", "bad_request")


def test_calls_that_wait_for_anothers_campaign_fetch_their_records_once(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings()
    open_web(settings).send("hubspot", [notification("101"), notification("102")])
    key = f"v1/{AGENT}/{campaign_name(settings)}"
    assert store.may_create_campaign(key)  # another worker is at it
    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(run_drain, settings)
        until(lambda: simulator.state.requests_to(HUBSPOT_READ))
        batch_id = json.loads(simulator_campaign(simulator, campaign_name(settings)))["batch_id"]
        store.keep_campaign(key, batch_id, {"name": "x"})
        drained.result(LONGEST_S)

    assert len(simulator.state.requests_to(HUBSPOT_READ)) == 1
    assert counts(store) == {"delivered": 2}


def campaign_name(settings: Settings) -> str:
    [chosen] = {
        one.campaign.full_name(datetime.now(UTC), settings.callkaro_timezone)
        for one in settings.routes.routes
        if one.source == "hubspot" and one.campaign
    }
    return chosen


def simulator_campaign(simulator: Simulator, name: str) -> bytes:
    """Make a campaign at the stand-in, as another worker would."""
    request = Request(  # noqa: S310  (the simulator's own address)
        simulator.url + CAMPAIGNS,
        data=json.dumps({"name": name, "agent_id": AGENT}).encode(),
        headers={"X-API-KEY": "another-worker", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=LONGEST_S) as answer:  # noqa: S310
        return bytes(answer.read())
