"""A drain against the stand-in APIs: what is good becomes one call, and no phone rings twice."""

from typing import Any

import pytest
from support import AGENT, Web, lead
from support.draining import CALLS, RunDrain, counts, found

from schemas.settings import Settings
from simulator import Simulator
from store import Store


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
