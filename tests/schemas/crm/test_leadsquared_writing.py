"""What LeadSquared is told of a call, and what is made of any answer."""

from collections.abc import Generator
from typing import Any

import pytest
from support.told import told as told_of_call

from schemas.crm.leadsquared import KIND
from schemas.crm.leadsquared_writing import NOTE_CHARS, status_of
from schemas.crm_api import CrmRequest, Refused, Told, Written

assert KIND.write_back
WRITER = KIND.write_back
SUCCESS: dict[str, Any] = {"Status": "Success", "Message": {"Id": "a-1"}}
VARIABLES = {"ACTIVITY_EVENT": "201"}


def told(**more: Any) -> Told:
    at = "2026-11-20T06:01:01.500+05:30"
    lead = {"subject": "lead-1", "subject_type": "lead"}
    return told_of_call(**{"key": "bridge-00000000000000000001", "at": at, **lead, **more})


def refusal(exception: Any, message: Any = "No.") -> dict[str, Any]:
    return {"Status": "Error", "ExceptionType": exception, "ExceptionMessage": message}


def look(answer: Any) -> str | None:
    finding: Generator[CrmRequest, Any, str | None] = WRITER.find_call(told())
    next(finding)
    with pytest.raises(StopIteration) as found:
        finding.send(answer)
    return found.value.value


def test_an_activity_has_its_time_in_utc_and_the_key_in_its_note() -> None:
    request = WRITER.create_calls([told()])
    assert request.json_with(VARIABLES, prefix="") == {
        "RelatedProspectId": "lead-1",
        "ActivityEvent": 201,
        "ActivityNote": "Call by CallKaro: connected (bridge-00000000000000000001)",
        "ActivityDateTime": "2026-11-20 00:30:00",
    }
    assert request.json_needs == {"ACTIVITY_EVENT"}


def test_a_note_keeps_the_lines_that_fit_whole() -> None:
    outcome = {
        "result": "connected",
        "disposition": "x" * NOTE_CHARS,
        "recording_url": "https://calls.example/1",
        "transcript": "Agent: Hello\n" * 30,
    }
    note = WRITER.create_calls([told(outcome=outcome)]).json["ActivityNote"]
    first, second, *others = note.split("\n")
    assert first.endswith("(bridge-00000000000000000001)")
    assert second == "Recording: https://calls.example/1"
    assert set(others) == {"Agent: Hello"}
    assert NOTE_CHARS - len("Agent: Hello\n") < len(note) <= NOTE_CHARS


def test_the_text_of_a_person_names_no_variable() -> None:
    outcome = {"result": "connected", "disposition": "{ACTIVITY_EVENT}"}
    body = WRITER.create_calls([told(outcome=outcome)]).json_with(VARIABLES, prefix="")
    assert "{ACTIVITY_EVENT}" in body["ActivityNote"]


def test_a_variable_that_is_not_set_stays_as_its_name() -> None:
    body = WRITER.create_calls([told()]).json_with({}, prefix="LEADSQUARED_")
    assert body["ActivityEvent"] == "<LEADSQUARED_ACTIVITY_EVENT>"


def test_fields_are_attributes_with_text() -> None:
    fields = {"mx_City": "Pune", "mx_Tries": 2, "mx_Reached": True, "mx_Wants": ["a", None, "b"]}
    request = WRITER.set_fields([told(fields=fields)])
    assert request.params == {"leadId": "lead-1"}
    assert [(one["Attribute"], one["Value"]) for one in request.json] == [
        ("mx_City", "Pune"),
        ("mx_Tries", "2"),
        ("mx_Reached", "true"),
        ("mx_Wants", "a;b"),
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (SUCCESS, Written("a-1")),
        ({**SUCCESS, "Message": {"AffectedRows": 1}}, Written()),
        ({**SUCCESS, "Message": None}, Written()),
        (refusal("MXUnknownAttributeException", "Unknown attribute"), Refused("Unknown attribute")),
        (refusal("MXInvalidInputException", None), Refused("MXInvalidInputException")),
        (refusal("MXAPIRateLimitExceededException"), None),
    ],
)
def test_an_answer_says_what_became_of_it(answer: Any, expected: Any) -> None:
    assert WRITER.read(answer, [told()]) == {"w1": expected}


@pytest.mark.parametrize("word", [None, 7, "x", [], {}, {"Status": "Failed"}, {"Message": []}])
def test_another_answer_leaves_it_in_doubt(word: Any) -> None:
    assert WRITER.read(word, [told()]) == {}
    assert status_of(200, word) == 200


@pytest.mark.parametrize("word", [None, 7, "x", ["y"], {"x": 1}])
def test_any_answer_can_be_read(word: Any) -> None:
    for answer in ({**SUCCESS, "Message": {"Id": word}}, refusal(word, word), {"Status": word}):
        assert set(WRITER.read(answer, [told()])) <= {"w1"}
        assert status_of(500, answer) == 500


@pytest.mark.parametrize(
    ("status", "exception", "meant"),
    [
        (500, "MXInvalidInputException", 400),
        (200, "MXInvalidInputException", 400),
        (200, "MXAPIRateLimitExceededException", 429),
        (500, "MXAPIRateLimitExceededException", 429),
        (401, "MXUnAuthorizedAccessException", 401),
        (500, "SystemException", 500),
        (503, "MXInvalidInputException", 503),
    ],
)
def test_an_exception_says_more_than_the_status(status: int, exception: str, meant: int) -> None:
    assert status_of(status, refusal(exception)) == meant


def test_the_activity_with_our_key_is_found_wherever_its_note_stands() -> None:
    note = WRITER.create_calls([told()]).json["ActivityNote"]
    other = {"Id": "a-1", "Data": [{"Key": "NotableEventDescription", "Value": "Call: a b"}]}
    ours = [
        {"Id": "a-2", "Data": [{"Key": "NotableEventDescription", "Value": note}]},
        {"Id": "a-2", "ActivityNote": note},
        {"Id": "a-2", "ActivityFields": {"ActivityEvent_Note": note}},
    ]
    for one in ours:
        assert look({"ProspectActivities": ["x", None, other, one]}) == "a-2"
    assert look({"ProspectActivities": [other, {"Id": "half \ud83d"}]}) is None
    assert look({}) is None, "404"


@pytest.mark.parametrize("answer", [{"RecordCount": 0}, {"ProspectActivities": None}, SUCCESS])
def test_an_answer_without_a_list_does_not_say_that_there_is_none(answer: Any) -> None:
    finding = WRITER.find_call(told())
    next(finding)
    with pytest.raises(ValueError, match="no list"):
        finding.send(answer)
