"""The drain against the stand-in APIs: every answer ends where it should, no phone rings twice."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import pytest
import redis
from support import (
    AGENT,
    ALL_ROUTES,
    CALL_BACK,
    LONGEST_S,
    WEBSITE,
    Web,
    end_lease,
    free_port,
    lead,
    make_due,
    move_back,
    notification,
    route,
    until,
    zoho_notification,
)

from schemas.delivery import Delivery, Status
from schemas.hours import parse_window
from schemas.records import Move
from schemas.settings import Settings
from simulator import Simulator
from store import Store

OpenWeb = Callable[[Settings], Web]
MakeSettings = Callable[..., Settings]
RunDrain = Callable[..., Any]
CALLS, CAMPAIGNS = "/call/outbound", "/call/campaign"
HUBSPOT_READ = "/crm/v3/objects/contacts/batch/read"


def found(store: Store, delivery_id: str) -> Delivery:
    delivery = store.delivery(delivery_id)
    assert delivery is not None
    return delivery


def counts(store: Store) -> dict[str, int]:
    return {status: count for status, count in store.counts().items() if count}


@pytest.fixture
def plain(make_settings: MakeSettings) -> Settings:
    """Settings with one route, which calls whoever fills in the form."""
    return make_settings(CALL_BACK)


@pytest.fixture
def form(open_web: OpenWeb, plain: Settings) -> Web:
    """The web process of those settings."""
    return open_web(plain)


# --- the way of a good one ----------------------------------------------------------------------


def test_a_form_becomes_one_call_with_our_id_in_its_metadata(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    [delivery] = form.send("website", lead("098765 43210"))

    stats = run_drain(plain)

    [call] = simulator.state.calls
    assert (call.to_number, call.agent_id, call.batch_id) == ("+919876543210", AGENT, None)
    assert call.metadata == {"bridge_delivery_id": delivery}
    kept = found(store, delivery)
    assert (kept.status, kept.call_sid, kept.reason) == ("delivered", call.call_sid, None)
    assert [change.status for change in kept.timeline] == ["queued", "sending", "delivered"]
    [attempt] = kept.attempts
    assert (attempt["number"], attempt["status_code"], attempt["error"]) == (1, 200, None)
    assert call.call_sid in attempt["answer"]
    assert (stats.claimed, stats.attempts, dict(stats.moved)) == (1, 1, {"delivered": 1})


def test_a_drain_lingers_a_moment_and_then_ends_by_itself(
    form: Web, plain: Settings, store: Store, run_drain: RunDrain
) -> None:
    form.send("website", lead())

    run_drain(plain, should_stop=lambda: False)

    assert counts(store) == {"delivered": 1}


def test_nothing_is_sent_again_by_another_drain_or_a_resend(
    form: Web, plain: Settings, simulator: Simulator, run_drain: RunDrain
) -> None:
    body = lead()
    form.send("website", body)
    run_drain(plain)
    form.send("website", body)

    stats = run_drain(plain)

    assert stats.claimed == 0
    assert len(simulator.state.requests_to(CALLS)) == 1


def test_a_hundred_hubspot_notifications_are_hydrated_in_one_request(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(worker_threads=64)
    ids = [str(number) for number in range(5000, 5100)]
    for place, contact in enumerate(ids):
        phone = f"+9198765{place:05}"
        fields = {"lifecyclestage": "lead", "phone": phone, "email": "never.asked@example.com"}
        simulator.state.put_record("hubspot", "contacts", contact, fields)
    open_web(settings).send("hubspot", [notification(contact) for contact in ids])

    run_drain(settings)

    [read] = simulator.state.requests_to(HUBSPOT_READ)
    assert len(read.body["inputs"]) == 100
    asked = {"lifecyclestage", "mobilephone", "phone", "hs_country_region_code"}
    assert set(read.body["properties"]) == asked
    assert counts(store) == {"delivered": 100}
    assert len({call.to_number for call in simulator.state.calls}) == 100
    [campaign] = simulator.state.campaigns
    assert {call.batch_id for call in simulator.state.calls} == {campaign.batch_id}
    assert (campaign.name, campaign.agent_id) == ("HubSpot leads", AGENT)


def test_eight_drains_at_once_share_one_zoho_token(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(worker_threads=1)
    ids = [str(5725767000000500000 + number) for number in range(24)]
    for place, record in enumerate(ids):
        simulator.state.put_record("zoho", "Leads", record, {"Phone": f"+9198765{place:05}"})
    simulator.state.behave(path="/oauth", latency_ms=500)
    web = open_web(settings)
    for record in ids:
        web.send("zoho", zoho_notification(record))

    tallies = drain_at_once(run_drain, settings, 8)
    settle(run_drain, settings, store)

    assert sum(stats.claimed > 0 for stats in tallies) > 1
    assert simulator.state.zoho_refreshed == 1
    assert len(simulator.state.requests_to("/oauth")) == 1
    assert counts(store) == {"delivered": 24}
    assert len(simulator.state.calls) == 24
    assert simulator.state.doubled == {}


def test_a_zoho_token_that_ran_out_early_is_renewed(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    web.send("zoho", zoho_notification("5725767000000411001"))
    run_drain(settings)
    simulator.state.expire_zoho_tokens()
    web.send("zoho", zoho_notification("5725767000000411002"))
    run_drain(settings)

    assert counts(store) == {"delivered": 2}
    assert simulator.state.zoho_refreshed == 2
    assert [call.to_number for call in simulator.state.calls] == ["+919876543213", "+919876543214"]


def drain_at_once(run_drain: RunDrain, settings: Settings, number: int) -> list[Any]:
    """Run drains none of which claims anything before all of them are there to do so."""
    all_there = threading.Barrier(number)

    def drain(_: int) -> Any:
        looks = iter([all_there.wait])

        def should_stop() -> bool:
            for wait in looks:  # at the first look alone
                wait(LONGEST_S)
            return False

        return run_drain(settings, should_stop=should_stop)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(drain, range(number)))


def settle(run_drain: RunDrain, settings: Settings, store: Store) -> None:
    """Run drains until nothing waits any more."""

    def is_over() -> bool:
        run_drain(settings, jitter=0)
        return not {"queued", "retrying", "sending"} & counts(store).keys()

    until(is_over, what="the end of all deliveries")


# --- what CallKaro may answer -------------------------------------------------------------------

HTML = {"status": 500, "html": True}
NO_JSON = {"body": "queued, thanks", "accept": True}
NO_ID = {"body": '{"status": "done", "message": "queued"}', "accept": True}
SAYS_NO = {"body": '{"status": "error", "message": "no credit"}'}
SLOW = {"latency_ms": 3000}


@pytest.mark.parametrize(
    ("answers", "status", "reason", "rings"),
    [
        ({}, "delivered", None, 1),
        ({"status": 400}, "failed", "refused", 0),
        ({"status": 404}, "failed", "refused", 0),
        ({"status": 422}, "failed", "refused", 0),
        (SAYS_NO, "failed", "refused", 0),
        ({"status": 401}, "retrying", "account", 0),
        ({"status": 402}, "retrying", "account", 0),
        ({"status": 403}, "retrying", "account", 0),
        ({"status": 429, "retry_after": "30"}, "retrying", "busy", 0),
        ({"status": 500}, "retrying", "busy", 0),
        ({"status": 503}, "retrying", "busy", 0),
        (HTML, "unknown", "no_answer", 0),
        ({"status": 500, "html": True, "accept": True}, "unknown", "no_answer", 1),
        ({"status": 502}, "unknown", "no_answer", 0),
        ({"status": 502, "accept": True}, "unknown", "no_answer", 1),
        ({"status": 504, "accept": True}, "unknown", "no_answer", 1),
        ({"status": 302, "headers": {"Location": "/call/outbound"}}, "unknown", "no_answer", 0),
        ({"cut": "before"}, "unknown", "no_answer", 0),
        ({"cut": "after"}, "unknown", "no_answer", 1),
        (NO_JSON, "unknown", "no_answer", 1),
        (NO_ID, "unknown", "no_answer", 1),
        (SLOW, "unknown", "no_answer", 1),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_every_answer_of_callkaro_ends_where_it_should(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answers: dict[str, Any],
    status: str,
    reason: str | None,
    rings: int,
) -> None:
    settings = make_settings(CALL_BACK, callkaro_timeout_s=0.3 if answers is SLOW else 20.0)
    simulator.state.behave(path=CALLS, **answers)
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == (status, reason)
    assert bool(kept.next_attempt_at) == (status == "retrying")
    assert kept.message or status == "delivered"
    # Who waits no longer for the answer may be ahead of the stand-in.
    simulator.state.wait_until(lambda state: state.requests_to(CALLS), timeout_s=LONGEST_S)
    assert len(simulator.state.calls) == rings
    assert len(simulator.state.requests_to(CALLS)) == 1
    assert [attempt["number"] for attempt in kept.attempts] == [1]
    answered = None if answers is SLOW or "cut" in answers else answers.get("status", 200)
    assert kept.attempts[0]["status_code"] == answered
    assert bool(kept.attempts[0]["error"]) == (answered is None)
    assert store.redis.zcard("bridge:leased") == 0
    assert store.due_count() == (status == "retrying")


def test_an_answer_that_drips_for_ever_is_unknown(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    """A read time-out is for each read; a stream of single bytes never meets it."""
    settings = make_settings(CALL_BACK, callkaro_timeout_s=0.5)
    simulator.state.behave(path=CALLS, drip_s=60)
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings)

    assert found(store, delivery).status == "unknown"
    assert simulator.state.wait_for_calls(1, timeout_s=LONGEST_S)
    assert len(simulator.state.calls) == 1


def test_a_refused_connection_surely_rang_nobody(
    make_settings: MakeSettings, open_web: OpenWeb, store: Store, run_drain: RunDrain
) -> None:
    settings = make_settings(CALL_BACK, callkaro_base_url=f"http://127.0.0.1:{free_port()}")
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("retrying", "unreachable")
    assert kept.attempts[0]["error"] == "ConnectionRefusedError"


@pytest.mark.parametrize("answers", [{"cut": "before"}, {"status": 502}, HTML], ids=str)
def test_a_route_may_say_that_an_unknown_calls_again(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answers: dict[str, Any],
) -> None:
    settings = make_settings(WEBSITE + route(on_unknown='"call_again"'))
    simulator.state.behave(path=CALLS, times=1, **answers)
    [delivery] = open_web(settings).send("website", lead())

    run_drain(settings, jitter=0)

    assert found(store, delivery).status == "delivered"
    assert len(simulator.state.requests_to(CALLS)) == 2
    assert len(simulator.state.calls) == 1


def test_attempts_are_counted_and_written_down_until_one_is_accepted(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    for status in (503, 500, 429):
        simulator.state.behave(status, path=CALLS, times=1)
    [delivery] = form.send("website", lead())

    run_drain(plain, jitter=0)

    kept = found(store, delivery)
    assert kept.status == "delivered"
    assert [one["number"] for one in kept.attempts] == [1, 2, 3, 4]
    assert [one["status_code"] for one in kept.attempts] == [503, 500, 429, 200]
    assert kept.spent == 4
    assert len(simulator.state.calls) == 1


def test_retry_after_is_honoured_to_the_second_and_a_little_more(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(429, path=CALLS, retry_after="300")
    [delivery] = form.send("website", lead())

    run_drain(plain, jitter=0.5)

    kept = found(store, delivery)
    assert kept.next_attempt_at is not None
    assert kept.next_attempt_at - kept.timeline[-1].at == timedelta(seconds=330)


def test_the_attempts_run_out(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(503, path=CALLS)
    [delivery] = form.send("website", lead())
    run_drain(plain)
    store.redis.hset(f"bridge:delivery:{delivery}", "spent", 39)
    make_due(store, delivery)

    run_drain(plain)

    assert (found(store, delivery).status, found(store, delivery).reason) == ("failed", "gave_up")


def test_the_time_for_attempts_runs_out(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(503, path=CALLS)
    [delivery] = form.send("website", lead())
    run_drain(plain)
    move_back(store, delivery, "first_ms", 86_400)
    make_due(store, delivery)

    run_drain(plain)

    assert found(store, delivery).reason == "gave_up"


def test_a_late_answer_settles_what_the_sweep_made_unknown(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.behave(path=CALLS, latency_ms=60_000)
    [delivery] = form.send("website", lead())

    with ThreadPoolExecutor(1) as pool:
        drain = pool.submit(run_drain, plain)
        until(lambda: simulator.state.requests_to(CALLS), what="the request")
        end_lease(store, delivery)
        assert store.sweep() == (1, 0)
        assert found(store, delivery).status == "unknown"
        # Closing ends the wait: the answer goes out.
        simulator.close()
        drain.result(LONGEST_S)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("delivered", None)
    assert [change.status for change in kept.timeline] == [
        "queued",
        "sending",
        "unknown",
        "delivered",
    ]


# --- campaigns ----------------------------------------------------------------------------------


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


# --- records ------------------------------------------------------------------------------------


def test_a_record_that_is_not_there_yet_is_asked_for_again(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    [delivery] = web.send("hubspot", notification("900"))
    run_drain(settings)
    kept = found(store, delivery)
    assert (kept.status, kept.lookup_failures, kept.attempts) == ("queued", 1, ())
    assert kept.next_attempt_at is not None
    assert kept.message == "The CRM does not have the record yet."

    record = {"lifecyclestage": "lead", "phone": "+919876543210"}
    simulator.state.put_record("hubspot", "contacts", "900", record)
    make_due(store, delivery)
    run_drain(settings)

    assert found(store, delivery).status == "delivered"
    assert [call.to_number for call in simulator.state.calls] == ["+919876543210"]


def test_a_record_that_never_comes_is_skipped_after_two_minutes(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ids = [web.send("hubspot", notification("900"))[0]]
    ids += web.send("zoho", zoho_notification("5725767000000999001"))
    run_drain(settings)
    for delivery in ids:
        move_back(store, delivery, "waiting_since_ms", 60)
    make_due(store, *ids)
    run_drain(settings)
    for delivery in ids:
        assert (found(store, delivery).status, found(store, delivery).lookup_failures) == (
            "queued",
            2,
        )
        move_back(store, delivery, "waiting_since_ms", 60)
    make_due(store, *ids)

    run_drain(settings)

    for delivery in ids:
        kept = found(store, delivery)
        assert (kept.status, kept.reason) == ("skipped", "record_gone")
    assert simulator.state.requests_to("/call") == []


def test_a_missing_record_does_not_cost_its_neighbours(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    web.send("hubspot", [notification(contact) for contact in ("101", "900", "102")])

    run_drain(settings)

    assert counts(store) == {"delivered": 2, "queued": 1}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"status": 503}, "answered 503"),
        ({"status": 429, "retry_after": "20"}, "answered 429"),
        ({"status": 401}, "answered 401"),
        ({"cut": "before"}, "did not answer"),
        ({"body": "no JSON"}, "can't be read"),
    ],
    ids=str,
)
def test_while_the_crm_is_away_a_delivery_waits_and_says_why(
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answers: dict[str, Any],
    told: str,
) -> None:
    [delivery] = web.send("hubspot", notification("101"))
    simulator.state.behave(path="/crm", **answers)

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason, kept.attempts) == ("queued", None, ())
    assert kept.next_attempt_at is not None
    assert kept.message is not None
    assert told in kept.message
    simulator.state.behave_normally()
    make_due(store, delivery)
    run_drain(settings)
    assert found(store, delivery).status == "delivered"


def test_what_was_retrying_stays_so_while_the_crm_is_away(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    [delivery] = web.send("hubspot", notification("101"))
    simulator.state.behave(503, path=CALLS, times=1)
    run_drain(settings)
    simulator.state.behave(503, path="/crm", times=1)
    make_due(store, delivery)

    run_drain(settings)

    assert found(store, delivery).status == "retrying"
    make_due(store, delivery)
    run_drain(settings)
    assert found(store, delivery).status == "delivered"
    assert [one["status_code"] for one in found(store, delivery).attempts] == [503, 200]


def test_a_zoho_that_gives_no_token_is_waited_for_at_its_own_pace(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    simulator.state.revoked_refresh_tokens.add("a-refresh-token")
    ids = web.send("zoho", zoho_notification("5725767000000411001", "5725767000000411002"))

    run_drain(settings, jitter=0)

    for delivery in ids:
        kept = found(store, delivery)
        assert kept.status == "queued"
        assert kept.message is not None
        assert "ZOHO_ACCOUNTS_URL" in kept.message
    assert len(simulator.state.requests_to("/oauth")) == 1


def test_a_record_is_read_as_it_is_now_not_as_it_was(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    """An opt-out a second before the call counts."""
    [delivery] = web.send("hubspot", notification("101"))
    simulator.state.behave(503, path=CALLS, times=1)
    run_drain(settings)
    record = {"lifecyclestage": "customer", "phone": "+919876543210"}
    simulator.state.put_record("hubspot", "contacts", "101", record)
    make_due(store, delivery)

    run_drain(settings)

    assert (found(store, delivery).status, found(store, delivery).reason) == (
        "skipped",
        "when_false",
    )
    assert simulator.state.calls == []


@pytest.mark.parametrize(
    ("phone", "called"),
    [
        ("9876543210.0", "+919876543210"),
        ("919876543210.00", "+919876543210"),
        ("9.87654e9", None),
        ("9.876543210E+9", None),
        ("9876543210.5", None),
    ],
)
def test_a_number_in_json_is_called_only_if_its_digits_are_certain(
    form: Web,
    plain: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    phone: str,
    called: str | None,
) -> None:
    body = json.dumps(lead("PHONE")).replace('"PHONE"', phone).encode()
    [delivery] = form.send("website", body)

    run_drain(plain)

    assert [call.to_number for call in simulator.state.calls] == ([called] if called else [])
    assert found(store, delivery).reason == (None if called else "invalid_number")


def test_a_fetched_record_is_read_by_the_same_rules(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    """Half an emoji, and numbers that a float would change, in one answer with a good record."""
    phones = {"101": 9876543210.0, "102": 9.87654e21, "103": "+919876543213"}
    for record_id, phone in phones.items():
        record = {"lifecyclestage": "lead", "mobilephone": "\ud83d", "phone": phone}
        simulator.state.put_record("hubspot", "contacts", record_id, record)

    ids = web.send("hubspot", [notification(record_id) for record_id in phones])
    run_drain(settings)

    assert [found(store, one).status for one in ids] == ["delivered", "skipped", "delivered"]
    assert {call.to_number for call in simulator.state.calls} == {"+919876543210", "+919876543213"}
    assert found(store, ids[1]).reason == "invalid_number"


# --- what is not called -------------------------------------------------------------------------

TWO_HOURS_AGO = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
SCHEDULED = {
    "to_number": '"phone"',
    "agent_id": f'{{ value = "{AGENT}" }}',
    "schedule_at": '"at"',
}


@pytest.mark.parametrize(
    ("keys", "body", "overrides", "status", "reason"),
    [
        ({}, {"phone": None}, {}, "skipped", "no_number"),
        ({}, {"phone": " "}, {}, "skipped", "no_number"),
        ({}, {"phone": "12345"}, {}, "skipped", "invalid_number"),
        ({}, {"phone": "9876543210"}, {"default_region": None}, "skipped", "invalid_number"),
        ({}, {"phone": {"number": "+919876543210"}}, {}, "skipped", "invalid_number"),
        ({}, {"phone": "+16502530000"}, {}, "skipped", "country"),
        pytest.param(
            {"max_age": '"1h"'}, {"submitted_at": TWO_HOURS_AGO}, {}, "skipped", "too_old", id="1h"
        ),
        pytest.param(
            {"max_age": '"3h"'}, {"submitted_at": TWO_HOURS_AGO}, {}, "delivered", None, id="3h"
        ),
        ({}, {}, {"allow_numbers": frozenset({"+919876543211"})}, "skipped", "not_allowed"),
        ({}, {}, {"allow_numbers": frozenset({"+919876543210"})}, "delivered", None),
        ({}, {}, {"dry_run": True}, "skipped", "dry_run"),
        ({"request": SCHEDULED}, {"at": "tomorrow"}, {}, "failed", "bad_request"),
        ({"when": '"length(phone) > `5`"'}, {"phone": 5}, {}, "failed", "bad_request"),
    ],
    ids=lambda value: json.dumps(value, default=str) if isinstance(value, dict) else None,
)
def test_what_may_not_be_called_is_not_called(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    keys: dict[str, Any],
    body: dict[str, Any],
    overrides: dict[str, Any],
    status: str,
    reason: str | None,
) -> None:
    settings = make_settings(WEBSITE + route(**keys), **overrides)
    [delivery] = open_web(settings).send("website", lead(**body))

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == (status, reason)
    assert kept.message
    assert len(simulator.state.requests_to("/call")) == (status == "delivered")
    assert kept.next_attempt_at is None


def test_when_is_judged_over_the_whole_record(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    record = {"lifecyclestage": "customer", "phone": "+919876543210"}
    simulator.state.put_record("hubspot", "contacts", "900", record)
    [delivery] = web.send("hubspot", notification("900"))

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("skipped", "when_false")


def test_a_dry_run_shows_the_request_and_makes_none(
    make_settings: MakeSettings, open_web: OpenWeb, simulator: Simulator, run_drain: RunDrain
) -> None:
    settings = make_settings(ALL_ROUTES, dry_run=True)
    web = open_web(settings)
    [delivery] = web.send("website", lead())

    run_drain(settings)

    shown = web.get(f"/api/deliveries/{delivery}").json
    assert (shown["status"], shown["reason"]) == ("skipped", "dry_run")
    assert shown["request"]["agent_id"] == AGENT
    assert shown["request"]["metadata"] == {"bridge_delivery_id": delivery}
    assert simulator.state.requests == []


def closed_now() -> str:
    """Return calling hours that are over, or yet to come, where +91 rings."""
    hour = (datetime.now(ZoneInfo("Asia/Kolkata")).hour + 2) % 24
    return f"{hour:02}:00-{hour:02}:59"


def test_outside_the_calling_hours_a_call_is_held_until_they_begin(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    routes = WEBSITE + route(max_age='"1h"')
    hours = closed_now()
    closed = make_settings(routes, calling_hours=parse_window(hours))
    [delivery] = open_web(closed).send("website", lead())
    run_drain(closed)
    held = found(store, delivery)
    assert (held.status, held.reason) == ("held", "outside_hours")
    assert held.next_attempt_at is not None
    opens = held.next_attempt_at.astimezone(ZoneInfo("Asia/Kolkata"))
    assert f"{opens:%H:%M}" == hours[:5]
    assert simulator.state.requests == []

    # Two hours on, the hours begin. Older than its route's max_age, but not by a fault of its own.
    move_back(store, delivery, "held_since_ms", 7200)
    key = f"bridge:event:{held.event_id}"
    record = json.loads(store.redis.hget(key, "record"))
    store.redis.hset(key, "record", json.dumps({**record, "received_at": TWO_HOURS_AGO}))
    make_due(store, delivery)
    run_drain(make_settings(routes))

    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("delivered", None)
    assert [change.status for change in kept.timeline] == [
        "queued",
        "held",
        "queued",
        "sending",
        "delivered",
    ]
    assert kept.timeline[1].reason == "outside_hours"


def test_a_scheduled_call_is_judged_at_the_time_it_is_for(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    hours = parse_window(closed_now())
    settings = make_settings(WEBSITE + route(request=SCHEDULED), calling_hours=hours)
    tomorrow = datetime.now(zone) + timedelta(days=1)
    within = tomorrow.replace(hour=hours.start_min // 60, minute=30, second=0, microsecond=0)
    web = open_web(settings)
    [good] = web.send("website", lead(at=within.isoformat()))
    [bad] = web.send("website", lead(at=(within + timedelta(hours=2)).isoformat()))

    run_drain(settings)

    assert found(store, good).status == "delivered"
    assert (found(store, bad).status, found(store, bad).reason) == ("skipped", "outside_hours")
    [call] = simulator.state.calls
    assert call.schedule_at == f"{within:%Y-%m-%dT%H:%M:%S}"


def test_a_delivery_whose_route_is_gone_waits_for_it(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    [delivery] = open_web(make_settings(CALL_BACK)).send("website", lead())
    run_drain(make_settings(WEBSITE + route("another name")))
    kept = found(store, delivery)
    assert (kept.status, kept.reason) == ("held", "route_missing")
    assert kept.next_attempt_at is not None
    make_due(store, delivery)

    run_drain(make_settings(CALL_BACK))

    assert found(store, delivery).status == "delivered"


def test_an_event_whose_record_is_gone_is_skipped(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    [delivery] = form.send("website", lead())
    store.redis.delete(f"bridge:event:{found(store, delivery).event_id}")

    run_drain(plain)

    assert found(store, delivery).reason == "record_gone"
    assert simulator.state.requests == []


# --- many, and the end --------------------------------------------------------------------------


def test_many_drains_at_once_send_each_call_once(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK, worker_threads=4)
    web = open_web(settings)
    web.send("website", [lead() for _ in range(200)])

    with ThreadPoolExecutor(6) as pool:
        tallies = list(pool.map(lambda _: run_drain(settings), range(6)))

    assert sum(stats.attempts for stats in tallies) == 200
    assert counts(store) == {"delivered": 200}
    assert len(simulator.state.requests_to(CALLS)) == 200
    assert simulator.state.doubled == {}


def test_the_rate_cap_holds_over_many_drains(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK, max_rate=20)
    open_web(settings).send("website", [lead() for _ in range(20)])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: run_drain(settings), range(2)))

    begun = sorted(
        change.at
        for delivery in simulator.state.calls
        for change in found(store, str(delivery.delivery_id)).timeline
        if change.status == "sending"
    )
    assert len(begun) == 20
    # Twenty calls are nineteen gaps of 50 ms; the cap gives 20 ms of slack once.
    assert begun[-1] - begun[0] >= timedelta(milliseconds=19 * 50 - 21)


@pytest.mark.parametrize("stop_at", [1, 2], ids=["campaign", "call"])
def test_a_drain_that_is_told_to_stop_gives_back_what_is_not_on_the_wire(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    stop_at: int,
) -> None:
    settings = make_settings(worker_threads=2)
    simulator.state.behave(path="/call", latency_ms=200)
    open_web(settings).send("website", [lead() for _ in range(12)])

    def should_stop() -> bool:
        return len(simulator.state.requests_to("/call")) >= stop_at

    run_drain(settings, should_stop=should_stop)

    calls = len(simulator.state.requests_to(CALLS))
    assert calls <= 2
    assert counts(store) == {
        status: count for status, count in (("delivered", calls), ("queued", 12 - calls)) if count
    }
    assert store.redis.zcard("bridge:leased") == 0
    assert store.due_count() == 12 - calls
    run_drain(settings)
    assert counts(store) == {"delivered": 12}
    assert len(simulator.state.campaigns) == 1
    assert simulator.state.doubled == {}


def test_a_drain_whose_slice_is_over_leaves_the_rest_to_the_next(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings(CALL_BACK, worker_threads=1)
    simulator.state.behave(path=CALLS, latency_ms=300)
    open_web(settings).send("website", [lead() for _ in range(8)])

    run_drain(settings, slice_s=0.5)

    assert counts(store)["queued"] > 0
    assert "sending" not in counts(store)
    simulator.state.behave_normally()
    run_drain(settings)
    assert counts(store) == {"delivered": 8}
    assert len(simulator.state.requests_to(CALLS)) == 8


POISON: dict[str, Any] = {
    "an object": {"phone": {"a": 1}},
    "a long number": {"phone": 10**300},
    "a control character": {"phone": "+91\x009876543210"},
    "a deep name": {"name": json.loads("[" * 60 + "]" * 60)},
    "a long name": {"name": "x" * 300_000},
    "no number": {"age": {"b": []}},
    "a half emoji": {"name": "\ufffd"},
    "a count that is too long": {"count": "9" * 30},
    "no count": {"count": "NaN"},
    "a gap that is too long": {"gap": "9" * 30},
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
def test_one_poisoned_item_does_not_cost_its_neighbours(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    poison: dict[str, Any],
) -> None:
    request = {
        "to_number": '"phone"',
        "agent_id": f'{{ value = "{AGENT}" }}',
        "metadata": '{ name = "name", count = "to_number(count)" }',
        "gap_between_retries": '"to_number(gap)"',
    }
    routes = WEBSITE + route(when='"age == null || abs(age) > `0`"', request=request)
    settings = make_settings(routes)
    good = [lead(f"+91987654321{number}") for number in range(5)]
    ids = open_web(settings).send("website", [*good[:2], lead(**poison), *good[2:]])

    run_drain(settings)

    del ids[2]
    assert {found(store, one).status for one in ids} == {"delivered"}
    assert not {"queued", "sending"} & counts(store).keys()
    assert store.redis.zcard("bridge:leased") == 0


def test_one_record_that_can_not_be_read_does_not_cost_its_neighbours(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    ids = form.send("website", [lead() for _ in range(5)])
    store.redis.hset(f"bridge:event:{found(store, ids[2]).event_id}", "record", "{")

    run_drain(plain)

    del ids[2]
    assert {found(store, one).status for one in ids} == {"delivered"}


def test_a_person_may_cancel_what_waits(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    [delivery] = form.send("website", lead())
    assert store.move([Move(id=delivery, to=Status.CANCELLED)]) == ["ok"]

    run_drain(plain)

    assert found(store, delivery).status == "cancelled"
    assert simulator.state.requests == []


# --- what a review found ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"), [({}, "delivered"), ({"cut": "after"}, "unknown")], ids=["yes", "lost"]
)
def test_a_resend_after_its_seen_key_is_gone_rings_nobody_again(
    form: Web,
    plain: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    answer: dict[str, Any],
    status: str,
) -> None:
    body = lead()
    if answer:
        simulator.state.behave(path=CALLS, times=1, **answer)
    [delivery] = form.send("website", body)
    run_drain(plain)
    for key in store.redis.scan_iter("bridge:seen:*"):
        store.redis.delete(key)

    resent = form.post("website", body).json
    run_drain(plain)

    assert resent["duplicates"] == 1
    assert resent["events"][0]["deliveries"][0]["id"] == delivery
    assert len(simulator.state.calls) == 1
    assert counts(store) == {status: 1}


def test_one_id_that_hubspot_refuses_costs_its_neighbours_nothing(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings()
    ids = [f"{number}" for number in range(700, 708)]
    for place, contact in enumerate(ids):
        fields = {"lifecyclestage": "lead", "phone": f"+91987651{place:04}"}
        simulator.state.put_record("hubspot", "contacts", contact, fields)
    web = open_web(settings)
    sent = web.send("hubspot", [notification(contact) for contact in ids])
    # The whole is refused once, and then whatever is asked of the first half.
    simulator.state.behave(400, path=HUBSPOT_READ, times=2)

    run_drain(settings)

    assert len(sent) == len(ids)
    assert counts(store) == {"delivered": len(ids)}


def test_a_wrong_address_of_a_crm_makes_no_record_gone(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings()
    [delivery] = open_web(settings).send("hubspot", [notification("101")])
    simulator.state.behave(404, path=HUBSPOT_READ)
    run_drain(settings)
    move_back(store, delivery, "waiting_since_ms", 10_000)
    make_due(store, delivery)

    run_drain(settings)

    kept = found(store, delivery)
    assert (kept.status, kept.message) == (
        "queued",
        "HubSpot answered 404 when asked for the record.",
    )


def test_a_refused_crm_token_never_gives_a_lead_up(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    settings = make_settings()
    [delivery] = open_web(settings).send("hubspot", [notification("101")])
    simulator.state.behave(401, path=HUBSPOT_READ)
    run_drain(settings)
    move_back(store, delivery, "waiting_since_ms", 3 * 86_400)
    make_due(store, delivery)

    run_drain(settings)

    assert found(store, delivery).status == "queued"


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


@contextlib.contextmanager
def endless_script(store: Store) -> Iterator[Callable[[], None]]:
    """Have Redis run a script without an end, from when it is asked to until the block's end.

    To everybody else Redis says BUSY then.
    """
    endless = store.redis.register_script("while true do end")

    def run() -> None:
        with contextlib.suppress(redis.ResponseError):  # it was killed
            endless()

    def is_busy() -> bool:
        try:
            store.redis.ping()
        except redis.ResponseError as error:
            return "BUSY" in str(error)
        return False

    script = threading.Thread(target=run)

    def begin() -> None:
        script.start()
        until(is_busy, what="a Redis that says BUSY")

    store.redis.config_set("busy-reply-threshold", 100)
    try:
        yield begin
    finally:
        with contextlib.suppress(redis.ResponseError):  # it did not begin
            store.redis.script_kill()
        if script.ident:
            script.join()
        store.redis.config_set("busy-reply-threshold", 5000)


def test_a_mistake_of_ours_in_one_step_loses_no_answer_that_was_on_the_wire(
    form: Web,
    plain: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A Redis error of a kind nobody thought of is an outage, not the end of the drain."""
    sent = [form.send("website", lead(f"+9198765{place:05}"))[0] for place in range(6)]
    simulator.state.behave(path=CALLS, latency_ms=60_000)
    with ThreadPoolExecutor(1) as pool, endless_script(store) as make_busy:
        drained = pool.submit(run_drain, plain, should_stop=lambda: False)
        assert simulator.state.wait_for_calls(6, timeout_s=LONGEST_S)
        make_busy()
        # Closing ends the wait: the answers go out, and meet a Redis that takes no word of them.
        simulator.close()
        until(lambda: "store.away" in caplog.text, what="the drain's notice of it")
    drained.result(LONGEST_S)

    assert {found(store, one).status for one in sent} == {"delivered"}
