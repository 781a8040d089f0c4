"""What never arrived, over real processes: a reconcile, and the gap of a channel that lapsed."""

import json
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import API_TOKEN, LONGEST_S, Bridge, end, notification, until, zoho_notification

from simulator import Simulator
from store import Store

WATCH = "/crm/v8/actions/watch"
PATH = "/api/sources/hubspot/reconcile"


@pytest.fixture(autouse=True)
def _nobody_else(simulator: Simulator) -> None:
    """Let the CRMs have the records of the test alone."""
    for records in simulator.state.records.values():
        records.clear()


def called(simulator: Simulator) -> Counter[str]:
    return Counter(call.to_number for call in simulator.state.calls)


def command(bridge: Bridge, path: str, body: object) -> Any:
    """Have an operation done by the API, and return its answer."""
    answer = bridge.session.post(
        bridge.url + path,
        json=body,
        headers={"Authorization": f"Bearer {API_TOKEN}"},
        timeout=LONGEST_S,
    )
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


def reconcile(bridge: Bridge, **more: Any) -> Any:
    """Reconcile the last day, and return what it found once it has ended."""
    since = (datetime.now(UTC) - timedelta(hours=24)).isoformat()
    command(bridge, PATH, {"since": since, **more})

    def has_ended() -> Any:
        found = bridge.get(PATH)
        return found if found["status"] == "done" else None

    return until(has_ended, what="the end of the reconcile")


def test_of_fifty_leads_the_seven_whose_webhooks_were_dropped_are_found_and_called_once(
    bridge: Bridge, simulator: Simulator
) -> None:
    phones = {contact: f"+9198765{contact:05}" for contact in range(50)}
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for contact, phone in phones.items():
        fields = {"phone": phone, "lifecyclestage": "lead", "createdate": at}
        fields["lastmodifieddate"] = at
        simulator.state.put_record("hubspot", "contacts", str(1000 + contact), fields)
    hooks = {contact: notification(str(1000 + contact)) for contact in phones}
    dropped = [hooks.pop(contact) for contact in (0, 7, 19, 20, 33, 48, 49)]
    bridge.send("hubspot", list(hooks.values()))
    until(lambda: called(simulator).total() == 43, what="the calls of those that arrived")

    counted = reconcile(bridge, dry_run=True)
    assert (counted["known"], counted["missed"], counted["taken"]) == (43, 7, 0)

    done = reconcile(bridge)
    assert (done["known"], done["missed"], done["taken"], done["is_held"]) == (43, 7, 7, True)
    assert called(simulator).total() == 43, "they are held"
    command(bridge, "/api/deliveries/release", {"route": "call new leads"})
    everybody = Counter(phones.values())
    until(lambda: called(simulator) == everybody, what="a call of each")

    again = reconcile(bridge)
    assert (again["known"], again["missed"], again["taken"]) == (50, 0, 0)
    # Now the webhooks come after all.
    late = bridge.post("hubspot", dropped).json()
    assert (late["accepted"], late["duplicates"]) == (0, 7)
    held = bridge.get("/api/deliveries?route=call new leads&limit=50")["items"]
    assert {one["id"] for one in late["events"]} <= {one["event_id"] for one in held}
    assert called(simulator) == everybody
    assert simulator.state.doubled == {}


@pytest.mark.slow
def test_a_channel_that_lapsed_while_no_worker_ran_is_made_again_and_its_gap_closed(
    start_bridge: Any, simulator: Simulator, store: Store
) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    granted = {"events": [{"channel_expiry": soon.isoformat()}]}
    answer = {"watch": [{"code": "SUCCESS", "status": "success", "details": granted}]}
    simulator.state.behave(200, path=WATCH, body=json.dumps(answer), times=1)
    bridge = start_bridge(PUBLIC_URL="https://bridge.example", ALLOWED_HOSTS="127.0.0.1")
    store.watch("zoho")
    until(lambda: store.channels()["zoho"].expires_at == soon, what="the channel")
    end(bridge.worker, by=signal.SIGTERM)
    until(lambda: store.channels()["zoho"].has_lapsed(datetime.now(UTC)), what="its end")
    fields = {"Phone": "+919876543210", "Created_Time": datetime.now(UTC).isoformat()}
    fields["Modified_Time"] = fields["Created_Time"]
    simulator.state.put_record("zoho", "Leads", "1", fields)

    bridge.start_worker()

    until(lambda: called(simulator) == {"+919876543210": 1}, what="the call of the gap's lead")
    channel = store.channels()["zoho"]
    assert not channel.has_lapsed(datetime.now(UTC) + timedelta(hours=22))
    assert [one.method for one in simulator.state.requests_to(WATCH)] == ["POST", "POST"]
    # Its notification comes after all.
    assert bridge.post("zoho", zoho_notification("1")).json()["duplicates"] == 1
    assert simulator.state.doubled == {}
