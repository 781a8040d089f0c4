"""A worker that dies at each step of a write-back: what is told again, and what the CRM has."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from faults.crash_at import CREATION, WRITE_BACK_STEPS, CrashAt
from faults.load import OUTCOME, write_back
from support import make_due, notification, route, zoho_notification
from support.draining import MakeSettings, OpenWeb, RunDrain, found, repair

from schemas.delivery import Delivery, Status
from schemas.outcome import Outcome, Result
from simulator import Simulator, State
from store import Store

ROUTE = "call them"


@dataclass(frozen=True, kw_only=True, slots=True)
class Crm:
    """A CRM with one record, and what it shows of it and of calls."""

    name: str
    event: str
    object: str
    record: str
    phone: str
    calls: str

    @property
    def routes_toml(self) -> str:
        """Return the routes: one, whose calls the CRM is told of."""
        return route(ROUTE, source=self.name, event=self.event) + write_back("outcome")

    @property
    def webhook(self) -> object:
        """Return its word of the record."""
        if self.name == "hubspot":
            return [notification(self.record)]
        return zoho_notification(self.record)

    def told(self, state: State) -> Any:
        """Return which dial the record's fields tell of; None: they tell of none."""
        return (state.find_record(self.name, self.object, self.record) or {}).get(OUTCOME)

    def titles(self, state: State) -> Sequence[str]:
        """Return the titles of its records of calls."""
        calls = state.find_records(self.name, self.calls).values()
        return [str(one.get("hs_call_title") or one.get("Subject")) for one in calls]


HUBSPOT = Crm(
    name="hubspot",
    event="contact.created",
    object="contacts",
    record="101",
    phone="phone",
    calls="calls",
)
ZOHO = Crm(
    name="zoho",
    event="lead.created",
    object="Leads",
    record="5725767000001000001",
    phone="Phone",
    calls="Calls",
)

# The step that the worker dies after; what its write-back is then, and after the sweep.
STEPS = [
    (HUBSPOT, "the claim of a write-back", "queued", "queued"),
    (HUBSPOT, "`sending` is recorded", "sending", "retrying"),
    (HUBSPOT, "it is noted that the CRM may have the call", "sending", "retrying"),
    (HUBSPOT, "the CRM has the call", "sending", "retrying"),
    (HUBSPOT, "the CRM's answer", "sending", "retrying"),
    (HUBSPOT, "the CRM's id is about to be kept", "sending", "retrying"),
    (HUBSPOT, "the CRM's id is kept", "sending", "retrying"),
    (HUBSPOT, "the result is about to be recorded", "sending", "retrying"),
    (HUBSPOT, "the result is recorded", "delivered", "delivered"),
    (ZOHO, "the CRM has the call", "sending", "retrying"),
    (ZOHO, "the CRM's id is about to be kept", "sending", "retrying"),
]


def ends(store: Store, call: Delivery, try_count: int, result: Result) -> Delivery:
    """Let a dial of a call end, and return the write-back that tells of it."""
    store.keep_outcome(
        Outcome(
            call_sid=call.call_sid,
            delivery_id=call.id,
            try_count=try_count,
            result=result,
            is_final=result is Result.CONNECTED,
            ended_at=datetime.now(UTC),
        )
    )
    return store.write_backs_of(call.id)[-1]


@pytest.mark.parametrize(("crm", "step", "at_death", "swept"), STEPS)
def test_a_crm_has_one_record_of_a_call_whose_worker_dies_at_a_step(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    crash_at: CrashAt,
    run_drain: RunDrain,
    store: Store,
    simulator: Simulator,
    crm: Crm,
    step: str,
    at_death: str,
    swept: str,
) -> None:
    state, settings = simulator.state, make_settings(crm.routes_toml)
    state.put_record(crm.name, crm.object, crm.record, {crm.phone: "+919876543210"})
    store.note_write_back_routes({ROUTE: ["outcome"]})
    [hit] = open_web(settings).send(crm.name, crm.webhook)
    run_drain(settings)
    call = found(store, hit)
    first = ends(store, call, 0, Result.NOT_REACHED)

    crash_at(step, crm.routes_toml)

    assert found(store, first.id).status == at_death
    assert repair(store, first.id).status == swept
    if swept == Status.RETRYING:
        make_due(store, first.id)
    run_drain(settings)
    assert found(store, first.id).status == "delivered"
    [title] = crm.titles(state)
    assert "not reached" in title
    assert crm.told(state) == f"{call.call_sid}/1"
    # Whoever was told of the first dial knows which call the second one is of.
    second = ends(store, call, 1, Result.CONNECTED)
    run_drain(settings)
    assert found(store, second.id).status == "delivered"
    [title] = crm.titles(state)
    assert "connected" in title
    assert crm.told(state) == f"{call.call_sid}/2"
    created = [one for one in state.requests if one.method == "POST" and CREATION.search(one.path)]
    assert len(created) == 1


def test_every_step_has_its_test() -> None:
    assert {step for _, step, *_ in STEPS} >= set(WRITE_BACK_STEPS)
