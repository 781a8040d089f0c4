"""A worker that dies at each step in turn: what its delivery is then, and how often it rings."""

import signal

import pytest
from faults.crash_at import STEPS, CrashAt, StartDrain
from support import CALL_BACK, WEBSITE, end, lead, notification, route, until
from support.draining import CALLS, MakeSettings, OpenWeb, RunDrain, found, repair

from schemas.delivery import Delivery, Status
from simulator import Simulator
from store import Store
from store.base import P

IN_CAMPAIGN = WEBSITE + route(campaign='{ name = "Website" }')
MAKES_CAMPAIGN = WEBSITE + route(
    "make campaign", to="campaign", campaign='{ key = "list" }', request={"name": '"title"'}
)
HUBSPOT = WEBSITE + route("call hubspot leads", source="hubspot", event="contact.created")


def way(delivery: Delivery) -> list[str]:
    """Return the statuses that a delivery went through."""
    return [change.status for change in delivery.timeline]


def requests_to(simulator: Simulator, path: str) -> int:
    return len(simulator.state.requests_to(path))


# The step that the worker dies after; what its delivery is then, after the sweep, and after the
# next drain; how many calls CallKaro has accepted in the end.
CALL_STEPS = [
    ("the claim", "queued", "queued", "delivered", 1),
    ("`sending` is recorded", "sending", "unknown", "unknown", 0),
    ("the first byte", "sending", "unknown", "unknown", 0),
    ("the answer", "sending", "unknown", "unknown", 1),
    ("the result is about to be recorded", "sending", "unknown", "unknown", 1),
    ("the result is recorded", "delivered", "delivered", "delivered", 1),
]


@pytest.mark.parametrize(("step", "at_death", "swept", "at_last", "calls"), CALL_STEPS)
def test_a_call_whose_worker_dies_at_a_step_rings_once_at_the_most(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    crash_at: CrashAt,
    run_drain: RunDrain,
    store: Store,
    simulator: Simulator,
    step: str,
    at_death: str,
    swept: str,
    at_last: str,
    calls: int,
) -> None:
    settings = make_settings(CALL_BACK)
    [hit] = open_web(settings).send("website", lead())

    crash_at(step, CALL_BACK)

    assert found(store, hit).status == at_death
    after = repair(store, hit)
    assert after.status == swept
    assert after.reason == ("worker_died" if swept == "unknown" else None)
    run_drain(settings)
    store.sweep()
    run_drain(settings)
    last = found(store, hit)
    assert last.status == at_last
    assert len(simulator.state.calls) == calls
    assert requests_to(simulator, CALLS) == calls  # and no request was made twice
    assert way(last)[-1] == at_last
    assert last.call_sid == (simulator.state.calls[0].call_sid if at_last == "delivered" else None)


def test_every_step_has_its_test() -> None:
    tested = {step for step, *_ in CALL_STEPS} | {step for step, *_ in CAMPAIGN_STEPS}
    assert tested | {"nowhere", "hydration", "the campaign's creation"} == set(STEPS)


def test_a_thin_event_whose_worker_dies_after_hydration_is_hydrated_anew_and_called_once(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    crash_at: CrashAt,
    run_drain: RunDrain,
    store: Store,
    simulator: Simulator,
) -> None:
    settings = make_settings(HUBSPOT)
    [hit] = open_web(settings).send("hubspot", notification("101"))

    crash_at("hydration", HUBSPOT)

    assert found(store, hit).status == "queued"
    assert repair(store, hit).status == "queued"
    run_drain(settings)
    assert found(store, hit).status == "delivered"
    assert requests_to(simulator, "/crm/objects/2026-03/contacts/batch/read") == 2
    assert requests_to(simulator, CALLS) == len(simulator.state.calls) == 1


@pytest.mark.parametrize("step", ["the campaign's creation", "the campaign was kept"])
def test_a_call_whose_worker_dies_over_its_campaign_is_made_once_in_the_one_that_is_kept(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    crash_at: CrashAt,
    run_drain: RunDrain,
    store: Store,
    simulator: Simulator,
    step: str,
) -> None:
    settings = make_settings(IN_CAMPAIGN)
    [hit] = open_web(settings).send("website", lead())

    crash_at(step, IN_CAMPAIGN)

    assert found(store, hit).status == "queued"
    assert repair(store, hit).status == "queued"
    for campaign in simulator.state.campaigns:
        # The dead worker's right to create it runs out after a minute.
        store.give_up_campaign(f"v1/{campaign.agent_id}/{campaign.name}")
    run_drain(settings)
    assert found(store, hit).status == "delivered"
    [kept] = store.campaigns()
    [call] = simulator.state.calls
    assert call.batch_id == kept["batch_id"]
    # An empty campaign rings nobody: one that nobody remembers is made again.
    assert len(simulator.state.campaigns) == (2 if step == "the campaign's creation" else 1)


CAMPAIGN_STEPS = [
    ("the claim", "queued", "queued", 1),
    ("`sending` is recorded", "sending", "retrying", 1),
    ("the first byte", "sending", "retrying", 1),
    ("the answer", "sending", "retrying", 2),
    ("the campaign was kept", "sending", "retrying", 2),
    ("the result is about to be recorded", "sending", "retrying", 2),
    ("the result is recorded", "delivered", "delivered", 1),
]


@pytest.mark.parametrize(("step", "at_death", "swept", "campaigns"), CAMPAIGN_STEPS)
def test_a_campaign_whose_worker_dies_at_a_step_is_tried_again(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    crash_at: CrashAt,
    run_drain: RunDrain,
    store: Store,
    simulator: Simulator,
    step: str,
    at_death: str,
    swept: str,
    campaigns: int,
) -> None:
    settings = make_settings(MAKES_CAMPAIGN)
    [hit] = open_web(settings).send("website", lead(title="A new list", list="7"))

    crash_at(step, MAKES_CAMPAIGN)

    assert found(store, hit).status == at_death
    assert repair(store, hit).status == swept
    run_drain(settings)
    last = found(store, hit)
    assert last.status == "delivered"
    assert len(simulator.state.campaigns) == campaigns
    assert last.batch_id in {campaign.batch_id for campaign in simulator.state.campaigns}
    assert simulator.state.calls == []


def test_a_drain_that_is_told_to_stop_finishes_what_is_on_the_wire_and_gives_back_the_rest(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    start_drain: StartDrain,
    run_drain: RunDrain,
    store: Store,
    simulator: Simulator,
) -> None:
    settings = make_settings(CALL_BACK)
    ids = open_web(settings).send("website", [lead() for _ in range(12)])
    simulator.state.behave(path=CALLS, latency_ms=1500)
    process = start_drain("nowhere", CALL_BACK)
    until(lambda: requests_to(simulator, CALLS) >= 2, what="the first requests")

    assert end(process, by=signal.SIGTERM) == 0

    counts = {status: count for status, count in store.counts().items() if count}
    calls = requests_to(simulator, CALLS)
    assert counts == {"delivered": calls, "queued": 12 - calls}
    assert calls < 12
    assert store.redis.zcard(f"{P}leased") == 0
    assert store.due_count() == 12 - calls
    simulator.state.behave_normally()
    run_drain(settings)
    assert {found(store, one).status for one in ids} == {Status.DELIVERED}
    assert requests_to(simulator, CALLS) == 12
    assert simulator.state.doubled == {}
