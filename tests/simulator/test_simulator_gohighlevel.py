"""GoHighLevel's contacts, strictly as documented."""

from __future__ import annotations

from support import each

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
