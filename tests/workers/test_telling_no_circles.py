"""A CRM that is told of skipped calls is not told of its own words about our changes."""

from typing import Any

import pytest
from support import WEBSITE, lead, notification, route, zoho_notification
from support.draining import MakeSettings, OpenWeb, RunDrain, found

from schemas.settings import WebhookOut
from schemas.write_back import MARK
from simulator import Simulator
from simulator.zoho import USER
from store import Store

LEAD = "5725767000000600000"
TELLING = '[route.write_back]\non = ["skipped"]\n[route.write_back.fields]\nid = "delivery.id"\n'
OUR_APP = {"changeSource": "INTEGRATION", "appId": 7, "sourceId": "7"}
OUR_CHANGE = {"subscriptionType": "contact.propertyChange", "propertyName": "id", **OUR_APP}


def record(**by: Any) -> dict[str, Any]:
    """Return a lead without a number, as somebody changed it a long time ago."""
    return {"Modified_Time": "2020-01-01T00:00:00+00:00", "Modified_By": by}


@pytest.mark.parametrize(
    ("source", "event", "body", "modified_by", "reason", "told"),
    [
        ("hubspot", "contact.updated", [notification(**OUR_CHANGE)], None, "own_change", 0),
        ("zoho", "lead.updated", "update", USER["id"], "own_change", 0),
        ("zoho", "lead.updated", "update", "5725767000000400009", "when_false", 1),
        ("website", "form.submitted", lead(**{MARK: "write_back"}), None, "own_change", 0),
        ("website", "form.submitted", lead(None), None, "no_number", 1),
    ],
)
def test_what_is_no_change_of_ours_is_told(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    run_drain: RunDrain,
    simulator: Simulator,
    store: Store,
    source: str,
    event: str,
    body: Any,
    modified_by: str | None,
    reason: str,
    told: int,
) -> None:
    out = WebhookOut(url=f"{simulator.url}/nobody", secrets=("whsec_a2V5",))
    never = {"when": "\"Lead_Status == 'never'\""} if source == "zoho" else {}
    routes_toml = WEBSITE + route(source=source, event=event, **never) + TELLING
    settings = make_settings(routes_toml, webhooks_out={source: out})
    store.note_write_back_routes({"call back": ["skipped"]})
    simulator.state.put_record("zoho", "Leads", LEAD, record(id=modified_by))
    if source == "zoho":
        body = {**zoho_notification(LEAD), "operation": body}

    [delivery] = open_web(settings).send(source, body)
    run_drain(settings)

    now = found(store, delivery)
    assert (now.status, now.reason) == ("skipped", reason)
    assert len(store.write_backs_of(delivery)) == told
