"""A call that CallKaro holds scheduled is deleted there, by the worker, as a person asked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import AGENT, WEBSITE, Web, lead, make_due, move_back, route
from support.draining import RunDrain

from schemas.delivery import Delivery
from schemas.settings import Settings
from simulator import Simulator
from store import Store

DELETION = "/call/delete-schedule-call"
SCHEDULED = WEBSITE + route(
    request={
        "to_number": '"phone"',
        "agent_id": f'{{ value = "{AGENT}" }}',
        "schedule_at": '"at"',
    }
)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(SCHEDULED)


@pytest.fixture
def scheduled(settings: Settings, web: Web, run_drain: RunDrain) -> str:
    """A call that CallKaro was given for tomorrow."""
    tomorrow = datetime.now(UTC).astimezone(ZoneInfo("Asia/Kolkata")) + timedelta(days=1)
    [delivery] = web.send("website", lead(at=f"{tomorrow:%Y-%m-%dT%H:%M:%S}"))
    run_drain(settings)
    return delivery


@pytest.fixture
def cancel(settings: Settings, web: Web) -> Callable[[str], None]:
    """Ask the API to cancel a delivery."""

    def ask(delivery: str) -> None:
        headers = {"Authorization": f"Bearer {settings.api_tokens[0]}"}
        answer = web.client.post(f"/api/deliveries/{delivery}/cancel", headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json["status"] == "delivered", "not before CallKaro has done it"

    return ask


def kept(store: Store, delivery: str) -> Delivery:
    found = store.delivery(delivery)
    assert found is not None
    return found


def test_it_is_deleted_there_and_then_cancelled_here(
    settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain, scheduled, cancel
) -> None:
    cancel(scheduled)

    run_drain(settings)

    found = kept(store, scheduled)
    assert (found.status, found.reason, found.cancel_asked_at) == ("cancelled", "by_person", None)
    assert simulator.state.deleted == {found.call_sid}
    [asked] = simulator.state.requests_to(DELETION)
    assert asked.query == f"agent_id={AGENT}"
    run_drain(settings)
    assert len(simulator.state.requests_to(DELETION)) == 1


@pytest.mark.parametrize(
    "answer", [{"status": 503}, {"status": 502}, {"cut": "after"}, {"status": 403}], ids=str
)
def test_it_is_asked_for_until_callkaro_has_answered(
    settings: Settings,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    scheduled,
    cancel,
    answer: dict[str, Any],
) -> None:
    simulator.state.behave(path=DELETION, times=1, **answer)
    cancel(scheduled)
    run_drain(settings)
    found = kept(store, scheduled)
    assert found.status == "delivered"
    assert found.message is not None
    assert "ask CallKaro again to delete the call" in found.message

    make_due(store, scheduled)
    run_drain(settings)

    assert kept(store, scheduled).status == "cancelled"


def test_a_refusal_leaves_it_as_it_is_and_says_so(
    settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain, scheduled, cancel
) -> None:
    simulator.state.behave(404, path=DELETION)
    cancel(scheduled)

    run_drain(settings)

    found = kept(store, scheduled)
    assert (found.status, found.cancel_asked_at) == ("delivered", None)
    assert found.message is not None
    assert "was not deleted" in found.message
    assert store.next_due_s() is None


def test_after_a_day_it_is_given_up(
    settings: Settings, store: Store, simulator: Simulator, run_drain: RunDrain, scheduled, cancel
) -> None:
    simulator.state.behave(503, path=DELETION)
    cancel(scheduled)
    run_drain(settings)
    move_back(store, scheduled, "waiting_since_ms", 25 * 3600)
    make_due(store, scheduled)

    run_drain(settings)

    found = kept(store, scheduled)
    assert (found.status, found.cancel_asked_at) == ("delivered", None)
    assert store.next_due_s() is None


def test_a_pause_does_not_keep_a_call_from_being_called_off(
    settings: Settings, store: Store, run_drain: RunDrain, scheduled, cancel
) -> None:
    store.pause("all", reason="person", message="Wait.")
    cancel(scheduled)

    run_drain(settings)

    assert kept(store, scheduled).status == "cancelled"
