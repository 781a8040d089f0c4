"""CallKaro as it is documented: what it takes, what it refuses, and in which words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support import each

AGENT = "6803fa770b666a64ab1694c1e"
CALL = {"to_number": "+919876543210", "agent_id": AGENT}
FULL = {
    **CALL,
    "metadata": {"name": "Asha", "city": "", "bridge_delivery_id": "d1", "tags": [{"a": None}]},
    "schedule_at": "2026-02-28T09:30:00",
    "min_trigger_time": "9:00",
    "max_trigger_time": "18:00",
    "carry_over": True,
    "number_of_retries": 2,
    "gap_between_retries": [30, 60],
    "priority": -100,
    "language": "hi",
}
PATHS = ("/call/campaign", "/v2/call/campaign", "/call/outbound", "/call/delete-schedule-call")


def test_the_smallest_and_the_fullest_call_are_accepted_with_ids_of_their_own(client, state):
    answers = [client.post("/call/outbound", body).json() for body in (CALL, FULL)]

    assert [answer["call_sid"] for answer in answers] == [c.call_sid for c in state.calls]
    assert len({answer["call_sid"] for answer in answers}) == 2
    assert {**answers[0], "call_sid": ""} == {
        "status": "done",
        "message": "Call queued successfully",
        "call_sid": "",
    }
    assert [call.body for call in state.calls] == [CALL, FULL]
    assert state.calls[1].delivery_id == "d1"
    assert state.calls[1].metadata == FULL["metadata"]


@pytest.mark.parametrize(
    "extra",
    [
        {"number_of_retries": 0},
        {"number_of_retries": 10, "gap_between_retries": 30},
        {"number_of_retries": 1, "gap_between_retries": [0]},
        {"gap_between_retries": 30},
        {"gap_between_retries": []},
        {"priority": 100},
        {"metadata": {}},
        {"min_trigger_time": "23:59"},
        {"max_trigger_time": "0:00"},
        {"schedule_at": "2028-02-29T00:00:00"},
        {"language": "ml"},
        {"agent_id": "x"},
        {"to_number": "+12"},
        {"to_number": "+123456789012345"},
    ],
    ids=str,
)
def test_values_at_the_edge_of_a_rule_are_accepted(client, state, extra):
    answer = client.post("/call/outbound", {**CALL, **extra})

    assert answer.status_code == 200
    assert len(state.calls) == 1


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"to_number": None}, "Missing required field: to_number"),
    ({"to_number": ""}, "Missing required field: to_number"),
    ({"to_number": "919876543210"}, "to_number must match"),
    ({"to_number": "+0919876543"}, "to_number must match"),
    ({"to_number": "+91 98765 43210"}, "to_number must match"),
    ({"to_number": "+1234567890123456"}, "to_number must match"),
    ({"to_number": "+919876543210\n"}, "to_number must match"),
    ({"to_number": "+9१9876543210"}, "to_number must match"),
    ({"to_number": 919876543210}, "to_number must match"),
    ({"agent_id": None}, "Missing agent_id"),
    ({"agent_id": ""}, "Missing agent_id"),
    ({"agent_id": 7}, "agent_id must be text"),
    ({"batch_id": None}, "batch_id must be text"),
    ({"batch_id": "68433b7b0dee98e59245ebab"}, "Campaign does not exist"),
    ({"metadata": None}, "metadata must be an object"),
    ({"metadata": "name"}, "metadata must be an object"),
    ({"metadata": []}, "metadata must be an object"),
    ({"metadata": {"_name": "x"}}, "metadata keys must not start with _"),
    ({"schedule_at": "2026-01-01"}, "schedule_at must be"),
    ({"schedule_at": "2026-01-01 09:30:00"}, "schedule_at must be"),
    ({"schedule_at": "2026-01-01T09:30"}, "schedule_at must be"),
    ({"schedule_at": "2026-01-01T09:30:00Z"}, "schedule_at must be"),
    ({"schedule_at": "2026-01-01T09:30:00+05:30"}, "schedule_at must be"),
    ({"schedule_at": "2026-01-01T09:30:00.000"}, "schedule_at must be"),
    ({"schedule_at": "2026-02-30T09:30:00"}, "schedule_at must be"),
    ({"schedule_at": "2026-01-01T24:30:00"}, "schedule_at must be"),
    ({"schedule_at": 1767225600}, "schedule_at must be"),
    ({"min_trigger_time": "24:00"}, "min_trigger_time must be"),
    ({"min_trigger_time": "9:5"}, "min_trigger_time must be"),
    ({"min_trigger_time": "09:00:00"}, "min_trigger_time must be"),
    ({"max_trigger_time": "18:60"}, "max_trigger_time must be"),
    ({"max_trigger_time": 18}, "max_trigger_time must be"),
    ({"min_trigger_time": "18:00", "max_trigger_time": "9:00"}, "must be before"),
    ({"min_trigger_time": "09:00", "max_trigger_time": "9:00"}, "must be before"),
    ({"carry_over": "true"}, "carry_over must be"),
    ({"carry_over": 1}, "carry_over must be"),
    ({"number_of_retries": 11}, "number_of_retries must be"),
    ({"number_of_retries": -1}, "number_of_retries must be"),
    ({"number_of_retries": True}, "number_of_retries must be"),
    ({"number_of_retries": 2.0}, "number_of_retries must be"),
    ({"number_of_retries": "2"}, "number_of_retries must be"),
    ({"gap_between_retries": "30"}, "gap_between_retries must be"),
    ({"gap_between_retries": True}, "gap_between_retries must be"),
    ({"gap_between_retries": -1}, "gap_between_retries must be"),
    ({"number_of_retries": 1, "gap_between_retries": [1.5]}, "gap_between_retries must be"),
    ({"number_of_retries": 1, "gap_between_retries": [True]}, "gap_between_retries must be"),
    ({"number_of_retries": 2, "gap_between_retries": [30]}, "one entry for each"),
    ({"number_of_retries": 1, "gap_between_retries": [30, 60]}, "one entry for each"),
    ({"gap_between_retries": [30]}, "one entry for each"),
    ({"priority": 101}, "priority must be"),
    ({"priority": -101}, "priority must be"),
    ({"priority": False}, "priority must be"),
    ({"language": "fr"}, "language must be"),
    ({"language": "HI"}, "language must be"),
    ({"language": ["hi"]}, "language must be"),
    ({"callback_url": "https://x.example"}, "Unknown field: callback_url"),
]


@each(("change", "message"), BROKEN, ids=str)
def test_a_call_that_breaks_a_rule_is_refused_and_not_accepted(client, state, change, message):
    answer = client.post("/call/outbound", {**CALL, **change})

    assert answer.status_code == 400
    assert answer.json()["status"] == "error"
    assert answer.json()["message"].startswith(message) or message in answer.json()["message"]
    assert state.calls == []
    assert not state.requests[-1].accepted


@pytest.mark.parametrize("field", ["to_number", "agent_id"])
def test_a_required_field_that_is_absent_is_named_in_callkaros_words(client, field):
    body = {key: value for key, value in CALL.items() if key != field}

    answer = client.post("/call/outbound", body)

    words = {"to_number": "Missing required field: to_number", "agent_id": "Missing agent_id"}
    assert (answer.status_code, answer.json()) == (
        400,
        {"status": "error", "message": words[field]},
    )


@each("raw", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b'{"priority": NaN}', b"[" * 100_000])
@each("path", PATHS)
def test_a_body_that_is_no_json_object_is_refused(client, path, raw):
    answer = client.call(
        "POST", f"{path}?agent_id={AGENT}", data=raw, headers={"X-API-KEY": "a-key"}
    )

    assert answer.status_code == 400
    assert answer.json() == {"status": "error", "message": "The body must be a JSON object"}


@each("headers", [{}, {"X-API-KEY": ""}, {"Authorization": "Bearer a-key"}])
@each("path", PATHS)
def test_a_request_without_a_key_is_forbidden(client, state, path, headers):
    answer = client.post(path, {**CALL, "name": "x"}, headers=headers)

    assert (answer.status_code, answer.json()["status"]) == (403, "error")
    assert state.calls == state.campaigns == []


def test_only_the_configured_key_is_taken_when_there_is_one(client, state):
    state.api_key = "the-new-key"

    assert client.post("/call/outbound", CALL).status_code == 403
    headers = {"X-API-KEY": "the-new-key"}
    assert client.post("/call/outbound", CALL, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"), [("/call/outbound", CALL), ("/call/campaign", {"name": "x"})]
)
def test_an_unknown_agent_is_not_found(client, state, path, body):
    state.unknown_agents.add("gone")

    answer = client.post(path, {**body, "agent_id": "gone"})

    assert answer.status_code == 404
    assert answer.json() == {"status": "error", "message": "Agent does not exist"}
    assert state.calls == state.campaigns == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/call/campaign", {"name": "Leads", "agent_id": AGENT}),
        ("/v2/call/campaign", {"name": "L" * 200}),
    ],
)
def test_a_campaign_is_created_as_documented(client, state, path, body):
    answer = client.post(path, body)

    batch_id = answer.json()["batch_id"]
    assert re.fullmatch("[0-9a-f]{24}", batch_id)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "batch_id": batch_id,
            "message": "Campaign created successfully",
            "status": "success",
        },
    )
    assert [(c.batch_id, c.name) for c in state.campaigns] == [(batch_id, body["name"])]
    # Whether names are unique is not documented: the same one makes a second campaign.
    assert client.post(path, body).json()["batch_id"] != batch_id


@each(
    ("path", "body", "message"),
    [
        ("/call/campaign", {"name": "x"}, "Missing agent_id"),
        ("/call/campaign", {"name": "x", "agent_id": ""}, "Missing agent_id"),
        ("/call/campaign", {"name": "x", "agent_id": 1}, "agent_id must be text"),
        ("/call/campaign", {"agent_id": AGENT}, "Missing required field: name"),
        ("/call/campaign", {"name": "", "agent_id": AGENT}, "Missing required field: name"),
        ("/call/campaign", {"name": "x" * 201, "agent_id": AGENT}, "name must be text of 1"),
        ("/call/campaign", {"name": 1, "agent_id": AGENT}, "name must be text of 1"),
        ("/call/campaign", {"name": "x", "agent_id": AGENT, "tz": 1}, "Unknown field: tz"),
        ("/v2/call/campaign", {}, "Missing required field: name"),
        ("/v2/call/campaign", {"name": "x" * 201}, "name must be text of 1"),
        ("/v2/call/campaign", {"name": "x", "agent_id": AGENT}, "Unknown field: agent_id"),
    ],
)
def test_a_campaign_that_breaks_a_rule_is_refused(client, state, path, body, message):
    answer = client.post(path, body)

    assert answer.status_code == 400
    assert answer.json()["message"].startswith(message)
    assert state.campaigns == []


def test_a_call_joins_a_campaign_that_was_created_before(client, state):
    batch_id = client.post("/v2/call/campaign", {"name": "x"}).json()["batch_id"]

    for agent in ("one", "two"):
        body = {**CALL, "agent_id": agent, "batch_id": batch_id}
        assert client.post("/call/outbound", body).status_code == 200
    assert [call.batch_id for call in state.calls] == [batch_id, batch_id]


def test_a_call_in_a_v1_campaign_must_use_its_agent(client, state):
    batch_id = client.post("/call/campaign", {"name": "x", "agent_id": AGENT}).json()["batch_id"]

    assert client.post("/call/outbound", {**CALL, "batch_id": batch_id}).status_code == 200
    other = {**CALL, "batch_id": batch_id, "agent_id": "another"}
    assert client.post("/call/outbound", other).status_code == 400
    assert len(state.calls) == 1


@pytest.mark.parametrize("number", ["+919876543210", "919876543210"])
def test_deleting_removes_every_scheduled_call_of_that_agent_and_number(client, state, number):
    later = {**CALL, "schedule_at": "2030-01-01T10:00:00"}
    scheduled = [client.post("/call/outbound", later).json()["call_sid"] for _ in range(2)]
    others = [CALL, {**later, "agent_id": "x"}, {**later, "to_number": "+919876543211"}]
    for other in others:
        client.post("/call/outbound", other)

    answer = client.post(f"/call/delete-schedule-call?agent_id={AGENT}", {"to_number": number})

    assert answer.json() == {
        "status": "success",
        "message": "Scheduled call deleted successfully",
    }
    assert state.deleted == set(scheduled)


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("", {"to_number": "+919876543210"}, "Missing agent_id"),
        ("?agent_id=a", {}, "Missing required field: to_number"),
        ("?agent_id=a", {"to_number": "0123"}, "to_number must be"),
        ("?agent_id=a", {"to_number": "+919876543210", "x": 1}, "Unknown field: x"),
    ],
)
def test_a_deletion_that_breaks_a_rule_is_refused(client, query, body, message):
    answer = client.post(f"/call/delete-schedule-call{query}", body)

    assert answer.status_code == 400
    assert answer.json()["message"].startswith(message)


def test_what_callkaro_does_not_offer_is_not_found(client):
    assert client.get("/call/outbound/x").status_code == 404
    assert client.get("/call/outbound", headers={"X-API-KEY": "k"}).status_code == 405
