"""What Close is told of a call, and what its answers say."""

from typing import Any

import pytest
from support.told import told

from schemas.crm.close import KIND, is_change_of
from schemas.crm.close_writing import WRITE_BACK
from schemas.crm_api import Refused, Written
from schemas.outcome import Result

EVENT = {"event": {"lead_id": "lead_1"}}
JUNK: list[Any] = [None, 7, "x", ["x"], [None], {}, {"x": 1}, {"id": None}, {"id": "../x"}]
ANOTHER = {"id": "acti_2", "note": "Somebody's own (bridge-2)"}
HYDRATION = KIND.hydration
assert HYDRATION
assert HYDRATION.own_user
OWN_USER = HYDRATION.own_user


def looked(*answers: Any, **more: Any) -> tuple[list[dict[str, str]], str | None]:
    """Look for a call. Return the questions, and the id that was found."""
    finding = WRITE_BACK.find_call(told(event=EVENT, **more))
    questions = [dict(next(finding).params)]
    try:
        for answer in answers:
            questions.append(dict(finding.send(answer).params))
    except StopIteration as found:
        return questions, found.value
    pytest.fail("it asks for more")


@pytest.mark.parametrize("junk", JUNK)
def test_any_answer_can_be_read(junk: Any) -> None:
    assert WRITE_BACK.read(junk, [told()]) == {}
    for answer in ({"field-errors": junk}, {"errors": junk}, {"data": junk}):
        assert isinstance(WRITE_BACK.read(answer, [told()]), dict)
    assert WRITE_BACK.check
    assert WRITE_BACK.check.read_fields(junk) is None
    assert isinstance(WRITE_BACK.check.read_fields({"fields": [junk]}), dict)


@pytest.mark.parametrize("junk", JUNK)
def test_a_list_that_has_no_call_of_ours_ends_the_look(junk: Any) -> None:
    assert looked({"data": [], "has_more": junk})[1] is None
    assert looked({"data": [junk, {"id": "acti_1", "note": junk}]})[1] is None
    assert looked({"data": [{"id": [junk], "note": "(bridge-1)"}]})[1] is None


@pytest.mark.parametrize("answer", [{"x": 1}, {"data": None}, {"data": {"id": "acti_1"}}])
def test_an_answer_without_a_list_does_not_say_that_there_is_no_call(answer: Any) -> None:
    with pytest.raises(ValueError, match="no list of calls"):
        looked(answer)
    with pytest.raises(ValueError, match="no list of calls"):
        looked({"data": [ANOTHER], "has_more": True}, answer)
    assert looked({})[1] is None, "Close answered 404"


def test_a_call_is_found_by_our_key_in_its_note_on_any_page() -> None:
    ours = {"id": "acti_1", "note": "Call by CallKaro: connected (bridge-1)\nmore"}
    questions, found = looked({"data": [ANOTHER], "has_more": True}, {"data": [ANOTHER, ours]})
    assert found == "acti_1"
    assert [one["_skip"] for one in questions] == ["0", "100"]
    assert [one["lead_id"] for one in questions] == ["lead_1"] * 2


def test_a_look_ends_after_five_pages() -> None:
    questions, found = looked(*[{"data": [ANOTHER], "has_more": True}] * 5)
    assert (len(questions), found) == (5, None)


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ({"id": "acti_1", "status": "completed"}, Written("acti_1")),
        (
            {"field-errors": {"custom.cf_1": "Expected a number."}, "errors": []},
            Refused("Expected a number. (custom.cf_1)"),
        ),
        (
            {"field-errors": {"phones": {"errors": {"0": {}}}}, "errors": ["No."]},
            Refused("No.; it is not valid (phones)"),
        ),
        ({"error": "The object does not exist."}, Refused("The object does not exist.")),
    ],
)
def test_an_answer_says_what_became_of_the_record(answer: Any, read: Written | Refused) -> None:
    assert WRITE_BACK.read(answer, [told()]) == {"w1": read}


@pytest.mark.parametrize(
    ("event", "lead_id"),
    [(EVENT, "lead_1"), (None, None), ("x", None), ({"event": None}, None), ({"event": {}}, None)],
)
def test_a_contacts_call_is_of_the_lead_that_its_event_names(
    event: Any, lead_id: str | None
) -> None:
    sent = WRITE_BACK.create_calls([told(event=event)]).json
    assert (sent.get("lead_id"), sent["contact_id"]) == (lead_id, "101")


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (Result.CONNECTED, "completed"),
        (Result.VOICEMAIL, "no-answer"),
        (Result.CANCELLED, "cancel"),
        ("a word of next year", "failed"),
    ],
)
def test_a_call_has_a_status_of_close(result: str, status: str) -> None:
    outcome = {"result": result, "talked_s": 1e9, "recording_url": "http://insecure.example/1"}
    sent = WRITE_BACK.create_calls([told(outcome=outcome)]).json
    assert (sent["status"], sent["duration"]) == (status, 604_800)
    assert "recording_url" not in sent


def test_an_update_has_nothing_that_close_sets_once() -> None:
    request = WRITE_BACK.update_calls([told(call_id="acti_1", event=EVENT)])
    assert (request.method, request.path) == ("PUT", "/api/v1/activity/call/acti_1/")
    assert request.json.keys() == {"activity_at", "status", "duration", "note"}


# --- our own changes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "is_ours"),
    [
        ({"user_id": "user_1", "api_key_id": "api_1"}, True),
        ({"user_id": "user_1", "api_key_id": None}, False),
        ({"user_id": "user_1"}, False),
        ({"user_id": "user_2", "api_key_id": "api_1"}, False),
        ({"api_key_id": "api_1"}, False),
        (None, False),
        ("x", False),
    ],
)
def test_a_change_is_ours_if_our_user_made_it_by_an_api_key(event: Any, is_ours: bool) -> None:
    assert is_change_of({"event": event}, "user_1", frozenset()) is is_ours


@pytest.mark.parametrize(
    ("event_type", "may_be_ours"),
    [
        ("contact.updated", True),
        ("activity.call.created", True),
        ("activity.lead_status_change.created", True),
        ("contact.created", False),
        ("opportunity.created", False),
    ],
)
def test_what_our_login_creates_is_a_lead_or_an_activity(
    event_type: str, may_be_ours: bool
) -> None:
    assert HYDRATION
    assert HYDRATION.own_user_of(event_type) == (OWN_USER if may_be_ours else None)
