"""What our own user or app changed in a CRM comes back as a webhook, and rings nobody."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from support import SECRETS, Web, make_due, notification, route, zoho_notification
from support.draining import MakeSettings, OpenWeb, RunDrain, counts, found

from schemas.records import Filters
from schemas.settings import Settings
from simulator import Simulator
from simulator.state import HubSpotApp
from simulator.zoho import USER
from store import Store

USERS = "/crm/v8/users"
ROUTES = route(source="zoho", event="lead.*") + route(
    "call contacts", source="hubspot", event="contact.updated"
)
LEADS = [str(5725767000000600000 + number) for number in range(3)]
PERSON = {"id": "5725767000000400009", "name": "A Person"}


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(ROUTES)


@pytest.fixture
def web(open_web: OpenWeb, settings: Settings) -> Web:
    return open_web(settings)


def changed(simulator: Simulator, lead: str, by: dict[str, Any] | None, *, ago_s: int = 1) -> None:
    """Put a lead that somebody changed."""
    at = datetime.fromtimestamp(int(time.time()) - ago_s, UTC)
    phone = f"+9198765{LEADS.index(lead):05}"
    fields = {"Phone": phone, "Modified_By": by, "Modified_Time": at.isoformat()}
    simulator.state.put_record("zoho", "Leads", lead, fields)


def updated(*leads: str, **more: Any) -> dict[str, Any]:
    return {**zoho_notification(*leads), "operation": "update", **more}


def ask(simulator: Simulator, method: str, path: str, body: object) -> Any:
    """Ask Zoho's API with a token of our user."""
    token = simulator.state.new_zoho_token("a-refresh-token")
    headers = {"Authorization": f"Zoho-oauthtoken {token}"}
    answer = requests.request(method, simulator.url + path, json=body, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def called(simulator: Simulator) -> list[str]:
    return sorted(call.to_number for call in simulator.state.calls)


def test_what_our_user_changed_comes_back_and_rings_nobody(
    settings: Settings, hook: str, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    for lead in LEADS:
        changed(simulator, lead, PERSON)
    channel = {"channel_id": "1", "events": ["Leads.edit"], "notify_url": f"{hook}/zoho"}
    channel["token"] = SECRETS["zoho"]
    ask(simulator, "POST", "/crm/v8/actions/watch", {"watch": [channel]})
    written = [{"id": lead, "Lead_Status": "Contacted"} for lead in LEADS]
    answer = ask(simulator, "PUT", "/crm/v8/Leads", {"data": written})
    assert [one["code"] for one in answer["data"]] == ["SUCCESS"] * 3
    assert counts(store) == {"queued": 3}

    run_drain(settings)

    assert counts(store) == {"skipped": 3}
    page = store.deliveries(Filters(), before=None, limit=10)
    assert [one.reason for one in page.items] == ["own_change"] * 3
    assert called(simulator) == []
    assert len(simulator.state.requests_to(USERS)) == 1
    # Now a person changes one of them.
    changed(simulator, LEADS[0], PERSON)
    requests.post(f"{hook}/zoho", json=updated(LEADS[0]), timeout=10)
    run_drain(settings)
    assert called(simulator) == ["+919876500000"]
    assert len(simulator.state.requests_to(USERS)) == 1, "asked once a token"


def test_what_our_app_changed_comes_back_and_rings_nobody(
    settings: Settings, hook: str, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    contact = "/crm/objects/2026-03/contacts/101"
    app = HubSpotApp(target_url=f"{hook}/hubspot", client_secret=SECRETS["hubspot"])
    simulator.state.hubspot_app = app
    simulator.state.put_record("hubspot", "contacts", "101", {"phone": "+919876543210"})
    answer = requests.patch(
        simulator.url + contact,
        json={"properties": {"hs_lead_status": "CONNECTED", "last_call": "Answered"}},
        headers={"Authorization": "Bearer a-token"},
        timeout=10,
    )
    assert answer.json()["properties"]["hs_lead_status"] == "CONNECTED"
    assert counts(store) == {"queued": 2}, "a notification for each property"

    run_drain(settings)

    assert counts(store) == {"skipped": 2}
    assert {one.reason for one in store.deliveries(Filters(), before=None, limit=9).items} == {
        "own_change"
    }
    assert simulator.state.requests_to("/crm/")[1:] == [], "no record is fetched for it"
    person = {"changeSource": "CRM_UI", "sourceId": "userId:51430432", "appId": app.app_id}
    change = notification("101", subscriptionType="object.propertyChange", **person)
    web.send("hubspot", [{**change, "objectTypeId": "0-1", "propertyName": "city"}])
    run_drain(settings)
    assert called(simulator) == ["+919876543210"]


def test_a_persons_change_rings_though_our_user_changed_the_record_after_it(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    changed(simulator, LEADS[0], {"id": USER["id"]})
    before = int((time.time() - 60) * 1000)
    [first] = web.send("zoho", updated(LEADS[0], server_time=before))
    [second] = web.send("zoho", updated(LEADS[0]))

    run_drain(settings)

    assert found(store, first).status == "delivered"
    assert found(store, second).reason == "own_change"


def test_a_field_of_a_write_back_that_was_set_twice_was_set_by_us_both_times(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
) -> None:
    told = '[route.write_back]\non = ["outcome"]\nfields = { Call_Result = "outcome.result" }\n\n'
    settings = make_settings(route(source="zoho", event="lead.*") + told)
    web = open_web(settings)
    changed(simulator, LEADS[0], {"id": USER["id"]})
    before = {"server_time": int((time.time() - 60) * 1000)}
    sent = [
        updated(LEADS[0], **before, affected_fields=[{LEADS[0]: names}])
        for names in (["Call_Result"], ["Call_Result", "City"])
    ]
    [own] = web.send("zoho", sent[0])
    run_drain(settings)
    [both] = web.send("zoho", sent[1] | {"server_time": before["server_time"] + 1})
    run_drain(settings)

    assert found(store, own).reason == "own_change"
    assert found(store, both).status == "delivered", "a person may have changed the city"


@pytest.mark.parametrize("by", [PERSON, None, {}, "Somebody"], ids=str)
def test_only_our_user_is_our_user(
    settings: Settings, web: Web, simulator: Simulator, run_drain: RunDrain, by: Any
) -> None:
    changed(simulator, LEADS[0], by)
    web.send("zoho", updated(LEADS[0]))
    run_drain(settings)
    assert called(simulator) == ["+919876500000"]


def test_a_lead_that_our_user_created_is_a_lead(
    settings: Settings, web: Web, simulator: Simulator, run_drain: RunDrain
) -> None:
    changed(simulator, LEADS[0], {"id": USER["id"]})
    web.send("zoho", zoho_notification(LEADS[0]))
    run_drain(settings)
    assert called(simulator) == ["+919876500000"]
    assert simulator.state.requests_to(USERS) == [], "nobody needs to know the user"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, '{"code": "OAUTH_SCOPE_MISMATCH", "message": "invalid oauth scope"}'),
        (403, '{"code": "NO_PERMISSION"}'),
        (200, '{"users": []}'),
        (200, "<html>"),
        (204, ""),
    ],
)
def test_a_login_that_may_not_ask_takes_no_change_for_its_own(
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: str,
) -> None:
    simulator.state.behave(status, path=USERS, body=body)
    for lead in LEADS:
        changed(simulator, lead, {"id": USER["id"]})
        web.send("zoho", updated(lead))
        run_drain(settings)

    assert counts(store) == {"delivered": 3}
    assert len(simulator.state.requests_to(USERS)) == 1, "not asked for each event"
    assert simulator.state.zoho_refreshed == 1, "the token is good"
    [warning] = [one for one in caplog.messages if "own_user.unknown" in one]
    assert "'scope': 'ZohoCRM.users.READ'" in warning


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_while_it_cant_be_asked_an_update_waits_and_a_new_lead_does_not(
    settings: Settings,
    web: Web,
    store: Store,
    simulator: Simulator,
    run_drain: RunDrain,
    status: int,
) -> None:
    simulator.state.behave(status, path=USERS, times=1)
    for lead in LEADS[:2]:
        changed(simulator, lead, {"id": USER["id"]})
    [update] = web.send("zoho", updated(LEADS[0]))
    [new] = web.send("zoho", zoho_notification(LEADS[1]))

    run_drain(settings)

    waiting = found(store, update)
    assert (waiting.status, found(store, new).status) == ("queued", "delivered")
    assert waiting.message == f"Zoho CRM did not say whose login the bridge has ({status})."
    make_due(store, update)
    run_drain(settings)
    assert found(store, update).reason == "own_change"
    assert called(simulator) == ["+919876500001"]


def test_a_new_token_may_be_another_users(
    settings: Settings, web: Web, store: Store, simulator: Simulator, run_drain: RunDrain
) -> None:
    another = '{"users": [{"id": "5725767000000400010"}]}'
    for lead in LEADS:
        changed(simulator, lead, {"id": USER["id"]})
    web.send("zoho", updated(LEADS[0]))
    run_drain(settings)
    simulator.state.expire_zoho_tokens()
    simulator.state.behave(200, path=USERS, body=another)
    web.send("zoho", updated(LEADS[1]))
    run_drain(settings)
    assert counts(store) == {"skipped": 1, "delivered": 1}
