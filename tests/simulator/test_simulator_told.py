"""What the CRMs were told: calls with the record that they belong to, changed fields, in order."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from support import each

from simulator import Received

BEARER = {"Authorization": "Bearer a-token"}
OBJECTS = "/crm/objects/2026-03"
LEAD = "5725767000000411001"
CALL = {
    "properties": {"hs_timestamp": 1764000000000, "hs_call_status": "NO_ANSWER"},
    "associations": [
        {
            "to": {"id": "101"},
            "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 194}],
        }
    ],
}
ZOHO_CALL = {
    "Subject": "Call: connected",
    "Call_Type": "Outbound",
    "Call_Start_Time": "2026-01-01T00:00:00+00:00",
    "Call_Duration": "00:42",
}


@pytest.fixture
def hubspot(client):
    def ask(method, path, body):
        return client.call(method, f"{OBJECTS}/{path}", json=body, headers=BEARER)

    return ask


@pytest.fixture
def zoho(client):
    form = {"grant_type": "refresh_token", "client_id": "c", "client_secret": "s"}
    form |= {"refresh_token": "1000.refresh"}
    answer = client.call("POST", "/oauth/v2/token", data=form).json()
    headers = {"Authorization": f"Zoho-oauthtoken {answer['access_token']}"}

    def ask(method, path, *entries):
        return client.call(method, f"/crm/v8/{path}", json={"data": entries}, headers=headers)

    return ask


def told(client):
    """Return (CRM, what, object, record's id, fields) of each."""
    names = ("crm", "what", "object", "record_id", "fields")
    return [
        tuple(one[name] for name in names) for one in client.get("/simulator/told").json()["items"]
    ]


def test_a_call_its_change_and_the_contacts_change_are_told_in_order(client, hubspot):
    call_id = hubspot("POST", "calls", CALL).json()["id"]
    hubspot("PATCH", f"calls/{call_id}", {"properties": {"hs_call_status": "COMPLETED"}})
    hubspot("PATCH", "contacts/101", {"properties": {"hs_lead_status": "CONNECTED"}})
    of_contact = ("contacts", "101")
    assert told(client) == [
        ("hubspot", "call created", *of_contact, CALL["properties"]),
        ("hubspot", "call changed", *of_contact, {"hs_call_status": "COMPLETED"}),
        ("hubspot", "record changed", *of_contact, {"hs_lead_status": "CONNECTED"}),
    ]
    [created, changed, _] = client.get("/simulator/told").json()["items"]
    assert created["call_id"] == changed["call_id"] == call_id
    assert client.get("/simulator/told?limit=1").json()["total"] == 3


@each(
    ("link", "of"),
    [
        ({"What_Id": {"id": LEAD}, "$se_module": "Leads"}, ("Leads", LEAD)),
        ({"Who_Id": {"id": "5725767000000422001"}}, ("Contacts", "5725767000000422001")),
        ({}, (None, None)),
    ],
)
def test_a_call_of_zoho_names_whose_it_is(client, zoho, link, of):
    client.call("DELETE", "/simulator/requests")
    [made] = zoho("POST", "Calls", {**ZOHO_CALL, **link}).json()["data"]
    zoho("PUT", "Calls", {"id": made["details"]["id"], "Subject": "Call: voicemail"})
    assert told(client) == [
        ("zoho", "call created", *of, ZOHO_CALL),
        ("zoho", "call changed", *of, {"Subject": "Call: voicemail"}),
    ]


def test_what_was_refused_or_only_read_was_not_told(client, state, hubspot, zoho):
    zoho("PUT", "Leads", {"id": LEAD, "Lead_Status": "Contacted"}, {"id": "404", "City": "Pune"})
    state.refuse_field("zoho", "Leads", "City", "City is read-only")
    zoho("PUT", "Leads", {"id": LEAD, "City": "Pune"})
    zoho("POST", "Calls", {"Subject": "no time"})
    hubspot("PATCH", "contacts/404", {"properties": {"city": "Pune"}})
    hubspot("POST", "contacts/batch/read", {"inputs": [{"id": "101"}], "properties": ["city"]})
    state.behave(500, path=OBJECTS, times=1)
    hubspot("PATCH", "contacts/101", {"properties": {"city": "Pune"}})
    state.behave(path=OBJECTS, times=1, status=500, accept=True)
    hubspot("PATCH", "contacts/101", {"properties": {"city": "Kochi"}})
    assert told(client) == [
        ("zoho", "record changed", "Leads", LEAD, {"Lead_Status": "Contacted"}),
        ("hubspot", "record changed", "contacts", "101", {"city": "Kochi"}),
    ]


def test_each_record_of_a_batch_is_told_by_itself(client, state):
    inputs = [{"id": one, "properties": {"city": "Pune"}} for one in ("101", "404", "102")]
    state.remember(
        Received(
            at=datetime.now(UTC),
            method="POST",
            path=f"{OBJECTS}/0-1/batch/update",
            query="",
            headers={},
            raw=json.dumps({"inputs": inputs}).encode(),
            status=207,
            accepted=True,
            cut=None,
        )
    )
    changed = ("hubspot", "record changed", "contacts")
    assert told(client) == [(*changed, one, {"city": "Pune"}) for one in ("101", "102")]


def test_a_signed_webhook_is_taken_and_told(client):
    assert client.post("/hook/website", {"moment": "outcome"}).status_code == 204
    assert client.post("/hook/website", ["no", "object"]).status_code == 204
    assert told(client) == [
        ("website", "webhook", None, None, {"moment": "outcome"}),
        ("website", "webhook", None, None, {}),
    ]


def test_the_page_shows_it_and_escapes_it(client, hubspot):
    nasty = "<script>alert(1)</script>"
    hubspot("PATCH", "contacts/101", {"properties": {"city": nasty, nasty: "Pune"}})
    page = client.get("/simulator").text
    assert "record changed" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
