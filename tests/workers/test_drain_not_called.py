"""What a drain does not call, or not yet."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import (
    AGENT,
    ALL_ROUTES,
    CALL_BACK,
    WEBSITE,
    Web,
    lead,
    make_due,
    move_back,
    notification,
    route,
)
from support.draining import MakeSettings, OpenWeb, RunDrain, found

from schemas.delivery import Status
from schemas.hours import parse_window
from schemas.records import Move
from schemas.settings import Settings
from simulator import Simulator
from store import Store

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


def test_a_person_may_cancel_what_waits(
    form: Web, plain: Settings, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    [delivery] = form.send("website", lead())
    assert store.move([Move(id=delivery, to=Status.CANCELLED)]) == ["ok"]

    run_drain(plain)

    assert found(store, delivery).status == "cancelled"
    assert simulator.state.requests == []
