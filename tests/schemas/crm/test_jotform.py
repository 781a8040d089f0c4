"""What is Jotform's own: JSON within a multipart form, phones in parts, and its URL in the body."""

import json
from typing import Any

import pytest
from support.samples import PAYLOADS, content_of, items

from bridge.http.body import read_body
from schemas.crm.jotform import KIND

SAMPLE = PAYLOADS / "jotform" / "submission_with_phone.body.form"
RAW = {"q3_name": {"first": "Meera", "last": "Iyer"}, "q5_phoneNumber": {"full": "+91 12345 00023"}}


def multipart(fields: dict[str, str]) -> bytes:
    parts = (
        f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return ("".join(parts) + "--B--\r\n").encode()


def answer_to(value: Any) -> Any:
    raw = json.dumps({"q5_phoneNumber": value})
    [item] = items(KIND, {"submissionID": "1", "rawRequest": raw})
    return item.data["answers"]["phoneNumber"]


def test_a_multipart_body_as_jotform_posts_it() -> None:
    body = multipart({"formID": "23", "submissionID": "53", "rawRequest": json.dumps(RAW)})
    [item] = items(KIND, read_body(body, "multipart/form-data; boundary=B"))
    assert (item.type, item.source_event_id, item.problem) == ("form.submitted", "53", None)
    assert item.data["rawRequest"] == RAW
    assert item.data["answers"] == {
        "name": {"first": "Meera", "last": "Iyer"},
        "phoneNumber": "+91 12345 00023",
    }


def test_the_url_with_our_token_is_not_stored() -> None:
    content = content_of(SAMPLE)
    assert "token=" in content["webhookURL"]
    for body in (content, {**content, "rawRequest": "cut off"}):
        [item] = items(KIND, {**body, "token": "x"})
        assert "token" not in json.dumps(item.data)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"full": "(123) 450-0023"}, "(123) 450-0023"),
        ({"area": "123", "phone": "450-0023"}, "123 450-0023"),
        ({"country": "91", "area": "12345", "phone": "00023"}, "+91 12345 00023"),
        ({"country": "+91", "area": "", "phone": "1234500023"}, "+91 1234500023"),
        ({"phone": "1234500023"}, "1234500023"),
        ("+911234500023", "+911234500023"),
        ({"area": "123"}, {"area": "123"}),
        ({"full": None, "phone": 1}, {"full": None, "phone": 1}),
        (["a", "b"], ["a", "b"]),
        (None, None),
    ],
)
def test_a_phone_becomes_one_text(value: Any, text: Any) -> None:
    assert answer_to(value) == text


@pytest.mark.parametrize("raw", ["", "[]", "null", "{", '"a"', 5, None, ["{}"], "[" * 5000])
def test_answers_that_cannot_be_read_are_a_problem(raw: Any) -> None:
    [item] = items(KIND, {"submissionID": "1", "rawRequest": raw})
    assert item.problem == "The submission's rawRequest is missing or is not a JSON object."


def test_half_an_emoji_in_the_answers_costs_nothing() -> None:
    [item] = items(KIND, {"submissionID": "1", "rawRequest": '{"q1_a": "\\ud83d"}'})
    assert item.data["answers"] == {"a": "\ufffd"}
