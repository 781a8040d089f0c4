"""Pipedrive's activities and changes of records, as its documentation has them."""

from __future__ import annotations

import pytest

ACTIVITIES = "/api/v2/activities"
TOKEN = {"x-api-token": "a-token"}
FIELD = "0123456789abcdef0123456789abcdef01234567"
CALL = {"subject": "Call", "type": "call", "done": True, "due_date": "2026-11-28"}
OF_PERSON = {"participants": [{"person_id": 101, "primary": True}]}


@pytest.fixture
def ask(client):
    def ask(method, path, body=None):
        return client.call(method, path, json=body, headers=TOKEN)

    return ask


def test_an_activity_is_added_changed_and_listed_by_its_person(ask):
    added = ask("POST", ACTIVITIES, CALL | OF_PERSON)
    assert (added.status_code, added.json()["success"]) == (201, True)
    new_id = added.json()["data"]["id"]
    assert ask("POST", ACTIVITIES, CALL | {"deal_id": 801}).status_code == 201
    changed = ask("PATCH", f"{ACTIVITIES}/{new_id}", {"subject": "Call again"})
    assert (changed.status_code, changed.json()["data"]["person_id"]) == (200, 101)

    found = ask("GET", f"{ACTIVITIES}?person_id=101&sort_by=id&sort_direction=desc").json()["data"]

    assert [(one["id"], one["subject"]) for one in found] == [(new_id, "Call again")]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({**CALL, "person_id": 101}, "'person_id' is a read-only field"),
        ({**CALL, "private": True}, "Parameter 'private' is not allowed for this request"),
        ({**CALL, "deal_id": "801"}, "deal_id: "),
        ({**CALL, "done": 1}, "done: "),
        ({**CALL, "due_time": "9:00"}, "due_time: "),
        ({**CALL, "participants": [{"person_id": 999}]}, "Person 999 does not exist"),
    ],
)
def test_pipedrive_refuses_what_it_does_not_know(ask, state, body, said):
    answer = ask("POST", ACTIVITIES, body)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert said in answer.json()["error"]
    assert state.find_records("pipedrive", "activities") == {}


def test_a_record_is_changed_and_custom_fields_have_their_own_place(ask, state):
    body = {"name": "B", "custom_fields": {FIELD: "x"}}
    assert ask("PATCH", "/api/v2/persons/101", body).json()["data"]["id"] == 101
    assert state.find_record("pipedrive", "persons", "101")["custom_fields"] == {FIELD: "x"}
    codes = [one["field_code"] for one in ask("GET", "/api/v2/personFields").json()["data"]]
    assert {"name", FIELD} <= set(codes)


@pytest.mark.parametrize("body", [{FIELD: "x"}, {"add_time": "x"}, {"custom_fields": {"x": "x"}}])
def test_a_field_in_the_wrong_place_is_refused(ask, body):
    answer = ask("PATCH", "/api/v2/persons/101", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "ERR_SCHEMA_VALIDATION_FAILED")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", "/api/v2/persons/999", 404),
        ("PATCH", f"{ACTIVITIES}/9", 404),
        ("PATCH", f"{ACTIVITIES}/x", 400),
        ("PUT", f"{ACTIVITIES}/9", 405),
        ("GET", f"{ACTIVITIES}?term=x", 400),
        ("GET", f"{ACTIVITIES}?sort_by=subject", 400),
        ("POST", "/api/v2/callLogs", 404),
    ],
)
def test_pipedrive_refuses_another_question(ask, method, path, status):
    assert ask(method, path, {} if method != "GET" else None).status_code == status


def test_pipedrive_says_whose_token_it_is(ask, client):
    assert isinstance(ask("GET", "/v1/users/me").json()["data"]["id"], int)
    assert client.get("/v1/users/me").json()["error"] == "unauthorized access"


def test_what_pipedrive_was_told_is_shown(ask, client):
    new_id = ask("POST", ACTIVITIES, CALL | OF_PERSON).json()["data"]["id"]
    ask("POST", ACTIVITIES, CALL | {"deal_id": 801})
    ask("PATCH", f"{ACTIVITIES}/{new_id}", {"subject": "Call again"})
    ask("PATCH", "/api/v2/persons/101", {"custom_fields": {FIELD: "x"}})
    ask("PATCH", "/api/v2/persons/999", {"name": "x"})
    items = client.get("/simulator/told").json()["items"]
    names = ("what", "object", "record_id", "fields")
    assert [tuple(one[name] for name in names) for one in items] == [
        ("call created", "persons", "101", CALL),
        ("call created", "deals", "801", CALL),
        ("call changed", "persons", "101", {"subject": "Call again"}),
        ("record changed", "persons", "101", {FIELD: "x"}),
    ]
