"""Meta's Graph API as far as the bridge needs it."""

from __future__ import annotations

import pytest

BEARER = {"Authorization": "Bearer a-token"}
FIRST, SECOND = "3100200300400501", "3100200300400502"


def read(client, ids, *, headers=BEARER, **params):
    return client.get("/v26.0/", headers=headers, params={"ids": ",".join(ids), **params})


def error_of(answer):
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["code"], error.get("error_subcode")


def test_a_lead_by_its_id_has_what_is_asked_for(client):
    answer = client.get(f"/v26.0/{FIRST}", headers=BEARER, params={"fields": "platform,field_data"})

    assert answer.status_code == 200
    assert answer.json() == {
        "platform": "ig",
        "field_data": [
            {"name": "full_name", "values": ["Nisha Example"]},
            {"name": "email", "values": ["nisha.example@example.com"]},
            {"name": "phone_number", "values": ["+919876543216"]},
        ],
        "id": FIRST,
    }
    usual = client.get(f"/v26.0/{FIRST}", headers=BEARER).json()
    assert list(usual) == ["created_time", "id", "field_data"]


def test_several_leads_come_by_id(client):
    answer = read(client, [FIRST, SECOND, FIRST], fields="id")

    assert answer.status_code == 200
    assert answer.json() == {FIRST: {"id": FIRST}, SECOND: {"id": SECOND}}


def test_an_id_that_is_not_there_costs_the_whole_read(client):
    for answer in (read(client, [FIRST, "999"]), client.get("/v26.0/999", headers=BEARER)):
        assert error_of(answer) == (400, "GraphMethodException", 100, 33)
        assert "'999' does not exist" in answer.json()["error"]["message"]
    assert error_of(read(client, [FIRST, "me"])) == (400, "OAuthException", 803, None)


@pytest.mark.parametrize(
    ("ids", "params"),
    [([], {}), ([str(number) for number in range(51)], {}), ([FIRST], {"fields": "id,phone"})],
)
def test_a_read_that_breaks_a_rule_is_refused(client, ids, params):
    assert error_of(read(client, ids, **params)) == (400, "OAuthException", 100, None)


def test_a_token_is_needed_and_may_expire(client, state):
    assert error_of(read(client, [FIRST], headers={})) == (400, "OAuthException", 104, None)

    state.expired_meta_tokens.add("a-token")

    assert error_of(read(client, [FIRST])) == (400, "OAuthException", 190, 463)


def test_errors_that_are_asked_for_are_in_metas_words(client, state):
    state.behave(path="/v26.0/", status=403)
    assert error_of(read(client, [FIRST])) == (403, "OAuthException", 200, None)

    state.behave(path="/v26.0/", status=500)
    assert error_of(read(client, [FIRST])) == (500, "OAuthException", 2, None)


def test_a_version_that_meta_does_not_have_is_not_found(client):
    assert client.get("/v1.0/", headers=BEARER).status_code == 404
