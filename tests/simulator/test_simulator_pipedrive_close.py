"""Pipedrive's persons, and Close's contacts and leads, as their documentation has them."""

from __future__ import annotations

import pytest

PERSONS = "/api/v2/persons"
TOKEN = {"x-api-token": "a-token"}


def numbers(*values):
    return [{"label": "work", "value": value, "primary": True} for value in values]


# --- Pipedrive ----------------------------------------------------------------------------------


def test_pipedrive_answers_many_persons_and_leaves_out_what_does_not_exist(client, state):
    state.put_record("pipedrive", "persons", "7", {"name": "A", "phones": numbers("+911234500001")})
    state.put_record("pipedrive", "persons", "8", {"name": "B"})

    answer = client.get(f"{PERSONS}?ids=8,999,7,8", headers=TOKEN)

    assert answer.status_code == 200
    body = answer.json()
    assert body["success"] is True
    assert [(one["id"], one["name"]) for one in body["data"]] == [(8, "B"), (7, "A")]
    assert [one["phones"] for one in body["data"]] == [[], numbers("+911234500001")]


def test_pipedrive_answers_one_person_or_404(client, state):
    state.put_record("pipedrive", "persons", "7", {"name": "A"})

    assert client.get(f"{PERSONS}/7", headers=TOKEN).json()["data"]["id"] == 7
    missing = client.get(f"{PERSONS}/9", headers=TOKEN)
    assert (missing.status_code, missing.json()["success"]) == (404, False)
    assert client.get(f"{PERSONS}/x", headers=TOKEN).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "",
        "ids=",
        "ids=1,x",
        "ids=1,,2",
        "ids=1&limit=0",
        "ids=1&limit=501",
        "ids=1&phones=1",
        "ids=" + ",".join(map(str, range(101))),
    ],
)
def test_pipedrive_refuses_another_question(client, query):
    assert client.get(f"{PERSONS}?{query}", headers=TOKEN).status_code == 400


@pytest.mark.parametrize("headers", [{}, {"x-api-token": ""}, {"Authorization": "Bearer a-token"}])
def test_pipedrive_wants_its_token_in_its_header(client, headers):
    answer = client.get(f"{PERSONS}?ids=501", headers=headers)

    assert (answer.status_code, answer.json()["success"]) == (401, False)


def test_pipedrives_token_is_not_remembered(client, state):
    client.get(f"{PERSONS}?ids=501", headers=TOKEN)

    [request] = state.requests_to(PERSONS)
    assert "x-api-token" not in request.headers


def test_pipedrive_fails_in_its_own_words(client, state):
    state.behave(path=PERSONS, status=429)

    answer = client.get(f"{PERSONS}?ids=501", headers=TOKEN)

    assert (answer.status_code, answer.json()["error"]) == (429, "Rate limit exceeded")


# --- Close --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["contact", "lead"])
def test_close_answers_one_record_or_404(client, state, kind):
    state.put_record("close", kind, f"{kind}_1", {"name": "A"})

    answer = client.get(f"/api/v1/{kind}/{kind}_1/", auth=("api_key", ""))
    assert (answer.status_code, answer.json()["id"]) == (200, f"{kind}_1")
    assert client.get(f"/api/v1/{kind}/another/", auth=("api_key", "")).status_code == 404


@pytest.mark.parametrize("auth", [None, ("", ""), ("api_key", "a-password")])
def test_close_wants_its_key_as_the_user_and_no_password(client, auth):
    assert client.get("/api/v1/contact/cont_sample1/", auth=auth).status_code == 401


def test_close_fails_in_its_own_shape(client, state):
    state.behave(path="/api/v1/contact/", status=401)

    answer = client.get("/api/v1/contact/cont_sample1/", auth=("api_key", ""))

    assert answer.status_code == 401
    assert set(answer.json()) == {"error"}
