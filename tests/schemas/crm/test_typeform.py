"""What is Typeform's own: answers by question, its test request, and what an id is made of."""

from typing import Any

import pytest
from support.samples import NOW, PAYLOADS, content_of, incoming, items

from schemas.crm.typeform import KIND
from schemas.errors import BadSignature
from schemas.signatures import sign, verify

SAMPLE = PAYLOADS / "typeform" / "response_with_phone.body.json"


def response(*answers: Any, word: str = "form_response", **more: Any) -> dict[str, Any]:
    return {"event_type": word, "form_response": {"token": "t1", "answers": [*answers], **more}}


def test_an_answer_is_found_by_its_question_and_by_its_reference() -> None:
    [item] = items(KIND, content_of(SAMPLE))
    answers = item.data["answers"]
    assert answers["Your phone number"] == answers["phone"] == "+911234500021"
    assert answers["Which plan?"] == answers["plan"] == "Home solar"
    assert answers["campaign"] == "spring", "a hidden field"
    assert item.data["form_response"] == content_of(SAMPLE)["form_response"]


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ({"type": "number", "number": 3}, 3),
        ({"type": "boolean", "boolean": False}, False),
        ({"type": "choices", "choices": {"labels": ["a", "b"]}}, ["a", "b"]),
        ({"type": "choice", "choice": {"other": "solar"}}, "solar"),
        ({"type": "payment", "payment": {"amount": "1.00"}}, {"amount": "1.00"}),
        ({"type": ["text"], "text": "a"}, None),
        ({"text": "a"}, None),
    ],
)
def test_the_value_of_an_answer_is_under_the_name_of_its_type(answer: Any, value: Any) -> None:
    [item] = items(KIND, response({**answer, "field": {"ref": "r"}}))
    assert item.data["answers"] == {"r": value}


def test_the_first_answered_one_of_two_equal_questions_counts() -> None:
    texts = [{"type": "text", "text": text, "field": {"ref": "r"}} for text in ("", "a", "b")]
    [item] = items(KIND, response(*texts))
    assert item.data["answers"] == {"r": "a"}


@pytest.mark.parametrize("broken", [None, 1, "x", [None], [[]], [{}], [{"field": 1}], {"a": 1}])
def test_answers_of_any_shape_cost_no_lead(broken: Any) -> None:
    body = response()
    body["form_response"] |= {"answers": broken, "definition": broken, "hidden": broken}
    [item] = items(KIND, body)
    assert (item.problem, item.source_event_id) == (None, "t1")


def test_a_partial_response_and_its_end_are_two_events() -> None:
    ids = [
        items(KIND, response(word=word))[0].source_event_id
        for word in ("form_response", "form_response_partial")
    ]
    assert ids == ["t1", "form_response_partial-t1"]


def test_the_signature_covers_the_bytes_as_they_came() -> None:
    body = SAMPLE.read_bytes()
    headers = sign(KIND.auth, "a-secret", incoming(body), now=NOW)
    assert headers["Typeform-Signature"].startswith("sha256=")
    verify(KIND.auth, ["a-secret"], incoming(body, headers=headers), now=NOW)
    with pytest.raises(BadSignature):
        verify(KIND.auth, ["a-secret"], incoming(body.rstrip(), headers=headers), now=NOW)
