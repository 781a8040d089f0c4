"""Close's calls and fields, as its documentation has them."""

from __future__ import annotations

import pytest

AUTH = ("api_key", "")
CALLS = "/api/v1/activity/call/"
PLACE = {"lead_id": "lead_sample1", "contact_id": "cont_sample1"}


@pytest.fixture
def ask(client):
    return lambda method, path, **options: client.call(method, path, auth=AUTH, **options)


def test_a_call_is_created_changed_and_listed(ask):
    made = ask("POST", CALLS, json={**PLACE, "note": "One", "phone": "+919876543217"}).json()
    assert (made["status"], made["source"]) == ("completed", "External")
    changed = ask("PUT", f"{CALLS}{made['id']}/", json={"status": "no-answer"})
    assert (changed.json()["status"], changed.json()["note"]) == ("no-answer", "One")
    newer = ask("POST", CALLS, json={**PLACE, "note": "Two"}).json()
    listed = ask("GET", f"{CALLS}?lead_id=lead_sample1&_fields=id,note&_limit=1").json()
    assert listed == {"data": [{"id": newer["id"], "note": "Two"}], "has_more": True}
    second = ask("GET", f"{CALLS}?lead_id=lead_sample1&_fields=id,note&_limit=1&_skip=1").json()
    assert second == {"data": [{"id": made["id"], "note": "One"}], "has_more": False}
    assert ask("GET", f"{CALLS}?lead_id=another").json() == {"data": [], "has_more": False}


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({**PLACE, "lead_id": "another"}, "lead_id"),
        ({"contact_id": "cont_sample1"}, "lead_id"),
        ({**PLACE, "contact_id": "another"}, "contact_id"),
        ({**PLACE, "status": "answered"}, "status"),
        ({**PLACE, "direction": "up"}, "direction"),
        ({**PLACE, "duration": "60"}, "duration"),
        ({**PLACE, "duration": 604_801}, "duration"),
        ({**PLACE, "recording_url": "http://calls.example/1.mp3"}, "recording_url"),
        ({**PLACE, "disposition": "answered"}, "disposition"),
        ([PLACE], ""),
    ],
)
def test_another_call_is_refused_by_its_field(ask, call, field):
    answer = ask("POST", CALLS, json=call)
    assert answer.status_code == 400
    assert list(answer.json()["field-errors"]) == [field]


def test_a_change_has_no_direction_and_an_existing_call(ask):
    made = ask("POST", CALLS, json=PLACE).json()
    answer = ask("PUT", f"{CALLS}{made['id']}/", json={"direction": "outbound"})
    assert list(answer.json()["field-errors"]) == ["direction"]
    assert ask("PUT", f"{CALLS}acti_another/", json={"note": ""}).status_code == 404


@pytest.mark.parametrize("query", ["_order_by=date_created", "_limit=x"])
def test_another_question_for_calls_is_refused(ask, query):
    assert ask("GET", f"{CALLS}?{query}").status_code == 400


def test_a_put_changes_only_what_it_names(ask, state):
    contact = "/api/v1/contact/cont_sample1/"
    assert ask("PUT", contact, json={"custom.cf_1": "x"}).json()["name"] == "Tara Example"
    assert ask("GET", contact).json()["custom.cf_1"] == "x"
    state.set_field("close", "contact", "custom.cf_2", "missing")
    answer = ask("PUT", contact, json={"custom.cf_2": "x", "colour": "red"})
    assert answer.json() == {
        "field-errors": {
            "custom.cf_2": 'The Custom Field "cf_2" does not exist.',
            "colour": "Unknown field.",
        },
        "errors": [],
    }
    assert ask("PUT", "/api/v1/contact/another/", json={}).status_code == 404
    fields = ask("GET", "/api/v1/custom_field_schema/contact/").json()["fields"]
    assert [one["id"] for one in fields] == ["cf_1"]
    assert ask("GET", "/api/v1/custom_field_schema/colour/").status_code == 404


def test_nobody_writes_without_a_key(client):
    for method, path in (("POST", CALLS), ("PUT", f"{CALLS}1/"), ("GET", "/api/v1/me/")):
        answer = client.call(method, path, json=PLACE)
        assert (answer.status_code, set(answer.json())) == (401, {"error"})


def test_what_close_was_told_names_the_person(client, ask):
    made = ask("POST", CALLS, json={**PLACE, "note": "One"}).json()
    ask("PUT", f"{CALLS}{made['id']}/", json={"note": "Two"})
    ask("PUT", "/api/v1/lead/lead_sample1/", json={"custom.cf_1": "x"})
    ask("PUT", "/api/v1/lead/another/", json={"custom.cf_1": "x"})
    items = client.get("/simulator/told").json()["items"]
    assert [(one["what"], one["object"], one["record_id"], one["fields"]) for one in items] == [
        (
            "call created",
            "contact",
            "cont_sample1",
            {"status": "completed", "source": "External", "duration": 0, "note": "One"},
        ),
        ("call changed", "contact", "cont_sample1", {"note": "Two"}),
        ("record changed", "lead", "lead_sample1", {"custom.cf_1": "x"}),
    ]
