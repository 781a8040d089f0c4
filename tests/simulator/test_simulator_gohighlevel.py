"""GoHighLevel's contacts and their notes, strictly as documented."""

from __future__ import annotations

import pytest
from support import each

from simulator import gohighlevel

HEADERS = {"Authorization": "Bearer pit-made-up", "Version": "2021-07-28"}


def test_a_contact_is_answered_under_its_key_with_the_limits(client, state):
    state.put_record("gohighlevel", "contacts", "c-1", {"phone": "+919876543210"})
    answer = client.get("/contacts/c-1", headers=HEADERS)
    assert answer.status_code == 200
    assert answer.json() == {
        "contact": {
            "id": "c-1",
            "locationId": "ve9EPM428h8vShlRW1KT",
            "dnd": False,
            "tags": [],
            "phone": "+919876543210",
        }
    }
    assert answer.headers["X-RateLimit-Remaining"] == "99"
    assert answer.headers["X-RateLimit-Interval-Milliseconds"] == "10000"


@each(
    ("path", "headers", "status"),
    [
        ("/contacts/c-1", {}, 401),
        ("/contacts/c-1", {**HEADERS, "Authorization": "Bearer "}, 401),
        ("/contacts/c-1", {**HEADERS, "Authorization": "Basic x"}, 401),
        ("/contacts/c-1", {"Authorization": HEADERS["Authorization"]}, 401),
        ("/contacts/c-1", {**HEADERS, "Version": "2021-04-15"}, 401),
        ("/contacts/c-1?fields=phone", HEADERS, 422),
        ("/contacts/nobody", HEADERS, 400),
    ],
)
def test_any_other_question_is_refused_in_its_words(client, state, path, headers, status):
    state.put_record("gohighlevel", "contacts", "c-1", {})
    answer = client.get(path, headers=headers)
    assert answer.status_code == status
    assert answer.json()["statusCode"] == status


def test_an_error_that_is_asked_for_has_its_words(client):
    client.post("/simulator/behave", {"path": "/contacts/", "status": 429, "retry_after": "2"})
    answer = client.get("/contacts/c-1", headers=HEADERS)
    assert (answer.status_code, answer.json()["error"]) == (429, "Too Many Requests")


@pytest.fixture
def ask(client, state):
    """Ask as the bridge does; the sub-account has one contact."""
    state.put_record("gohighlevel", "contacts", "c-1", {"phone": "+919876543210", "tags": ["new"]})

    def ask(method, path, body=None):
        return client.call(method, path, json=body, headers=HEADERS)

    return ask


def test_a_note_is_written_changed_and_listed_the_newest_first(ask):
    made = ask("POST", "/contacts/c-1/notes", {"body": "first"})
    assert made.status_code == 201
    note = made.json()["note"]
    assert (note["body"], note["contactId"]) == ("first", "c-1")
    newer = ask("POST", "/contacts/c-1/notes", {"body": "second"}).json()["note"]["id"]
    changed = ask("PUT", f"/contacts/c-1/notes/{note['id']}", {"body": "first, changed"})
    assert (changed.status_code, changed.json()["note"]["body"]) == (200, "first, changed")
    listed = ask("GET", "/contacts/c-1/notes").json()["notes"]
    assert [(one["id"], one["body"]) for one in listed] == [
        (newer, "second"),
        (note["id"], "first, changed"),
    ]


def test_a_contact_keeps_the_custom_fields_that_are_not_named(ask):
    first = {"city": "Pune", "customFields": [{"id": "f1", "field_value": "a"}]}
    assert ask("PUT", "/contacts/c-1", first).json()["succeded"] is True
    more = {"customFields": [{"id": "f2", "key": "two", "field_value": ["b"]}]}
    assert ask("PUT", "/contacts/c-1", more).status_code == 200
    contact = ask("GET", "/contacts/c-1").json()["contact"]
    assert contact["customFields"] == [{"id": "f1", "value": "a"}, {"id": "f2", "value": ["b"]}]
    assert (contact["city"], contact["tags"]) == ("Pune", ["new"])


@each(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/contacts/c-1/notes", {"note": "x"}, 422, "property note should not exist"),
        ("POST", "/contacts/c-1/notes", {}, 422, "body must be a string"),
        ("POST", "/contacts/c-1/notes", ["x"], 400, "Bad Request"),
        ("POST", "/contacts/nobody/notes", {"body": "x"}, 400, "Contact not found"),
        ("PUT", "/contacts/c-1/notes/none", {"body": "x"}, 400, "Note not found"),
        ("PUT", "/contacts/nobody", {"city": "Pune"}, 400, "Contact not found"),
        ("PUT", "/contacts/c-1", {"gender": "x"}, 422, "property gender should not exist"),
        ("PUT", "/contacts/c-1", {"customFields": {}}, 422, "must be an array"),
        ("PUT", "/contacts/c-1", {"customFields": [{"key": "k"}]}, 422, "id should not be empty"),
        (
            "PUT",
            "/contacts/c-1",
            {"customFields": [{"id": "f1", "value": "x"}]},
            422,
            "customFields.property value should not exist",
        ),
        ("GET", "/locations/other/customFields", None, 403, "does not have access"),
    ],
)
def test_what_it_does_not_take_is_refused(ask, method, path, body, status, said):
    answer = ask(method, path, body)
    assert answer.status_code == status
    assert said in str(answer.json()["message"])


def test_the_custom_fields_of_the_sub_account_are_listed(ask):
    path = "/locations/ve9EPM428h8vShlRW1KT/customFields"
    first, *_ = ask("GET", f"{path}?model=contact").json()["customFields"]
    assert first["id"] == "fieldsample00000001"
    assert (first["name"], first["fieldKey"]) == ("Call result", "contact.call_result")
    assert ask("GET", f"{path}?model=opportunity").json() == {"customFields": []}


@each(
    ("method", "path", "scope"),
    [
        ("GET", "/contacts/c-1/notes", "contacts.readonly"),
        ("POST", "/contacts/c-1/notes", "contacts.write"),
        ("GET", "/locations/ve9EPM428h8vShlRW1KT/customFields", "locations/customFields.readonly"),
    ],
)
def test_each_question_needs_its_scope(ask, state, method, path, scope):
    state.set_scopes("gohighlevel", set(gohighlevel.SCOPES) - {scope})
    answer = ask(method, path, {"body": "x"} if method == "POST" else None)
    assert answer.status_code == 401
    assert answer.json()["message"] == "The token is not authorized for this scope."


def test_what_it_was_told_is_shown(client, ask):
    note = ask("POST", "/contacts/c-1/notes", {"body": "a call"}).json()["note"]["id"]
    ask("PUT", f"/contacts/c-1/notes/{note}", {"body": "it ended"})
    changes = {"city": "Pune", "customFields": [{"id": "f1", "field_value": "a"}]}
    ask("PUT", "/contacts/c-1", changes)
    ask("PUT", "/contacts/nobody", changes)
    ask("GET", "/contacts/c-1/notes")
    items = client.get("/simulator/told").json()["items"]
    assert [(one["what"], one["object"], one["record_id"], one["fields"]) for one in items] == [
        ("call created", "contacts", "c-1", {"body": "a call"}),
        ("call changed", "contacts", "c-1", {"body": "it ended"}),
        ("record changed", "contacts", "c-1", {"city": "Pune", "f1": "a"}),
    ]
    assert {one["crm"] for one in items} == {"gohighlevel"}
