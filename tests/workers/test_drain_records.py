"""A drain and the records that it fetches from CRMs."""

import json
from typing import Any

import pytest
from support import AGENT, Web, lead, make_due, move_back, notification, zoho_notification
from support.draining import (
    CALLS,
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
    store.redis.delete("bridge:crm_slow:hubspot")  # as when the time is over that it asked for
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


@pytest.mark.parametrize(
    "odd",
    [
        {"expires_in": "never"},
        {"expires_in": [1]},
        {"expires_in": -5},
        {"expires_in": 1e30},
        {"api_domain": 5},
        {"access_token": ["t"]},
    ],
    ids=str,
)
def test_an_odd_answer_to_a_login_ends_no_lead(
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    odd: dict[str, Any],
) -> None:
    body = {"access_token": "t", "api_domain": simulator.url, "expires_in": 3600, **odd}
    simulator.state.behave(path="/oauth", status=200, body=json.dumps(body))
    [delivery] = web.send("zoho", zoho_notification("5725767000000411001"))
    for _ in range(3):
        run_drain(settings)
        make_due(store, delivery)

    kept = found(store, delivery)
    assert kept.status == "queued"
    assert "Zoho" in (kept.message or "")


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
