"""Google Ads lead forms: the key is never kept, tests are tests, and answers are flat."""

from typing import Any

import pytest
from support import each
from support.samples import NOW, incoming, items

from schemas.crm.google_ads import KIND
from schemas.errors import BadSignature
from schemas.signatures import verify


def body(**more: Any) -> dict[str, Any]:
    column = {"column_id": "PHONE_NUMBER", "string_value": "+919876543210"}
    return {"lead_id": "an-invented-lead", "user_column_data": [column], **more}


@each("name", ["google_key", "Google_key"])
def test_the_key_proves_the_request_and_is_not_kept(name: str) -> None:
    content = body(**{name: "the-key"})

    verify(KIND.auth, ["the-key"], incoming(), now=NOW, content=content)
    with pytest.raises(BadSignature):
        verify(KIND.auth, ["another"], incoming(), now=NOW, content=content)

    [item] = items(KIND, content)
    assert "the-key" not in repr(item)


@each(
    ("more", "is_test"),
    [
        ({}, False),
        ({"is_test": False}, False),
        ({"is_test": None}, False),
        ({"is_test": True}, True),
        ({"is_test": "true"}, True),
        ({"is_test": {"a": 1}}, True),
        ({"lead_id": "TeSter-000-invented"}, True),
        ({"lead_id": 5, "is_test": False}, False),
    ],
)
def test_what_is_marked_as_a_test_is_one(more: dict[str, Any], is_test: bool) -> None:
    [item] = items(KIND, body(**more))

    assert item.is_test is is_test
    assert item.type == ("lead.test" if is_test else "lead.created")


def test_answers_are_flat_and_the_first_of_equal_columns_counts() -> None:
    columns: list[Any] = [
        {"column_id": "PHONE_NUMBER", "string_value": "+919876543210"},
        {"column_id": "PHONE_NUMBER", "string_value": "+919876543211"},
        {"column_name": "What is your budget?", "string_value": "10"},
        {"column_id": "FULL_NAME", "string_value": "Asha \ud83d"},
        {"column_id": ["x"], "string_value": "lost"},
        {"column_id": "EMAIL", "string_value": {"x": 1}},
        *(None, "text", 1, []),
    ]
    [item] = items(KIND, body(user_column_data=columns))

    assert item.problem is None
    assert item.data["lead"] == {
        "PHONE_NUMBER": "+919876543210",
        "What is your budget?": "10",
        "FULL_NAME": "Asha \ud83d",
    }
    assert item.data["questions"] == {"What is your budget?": "What is your budget?"}
    assert "user_column_data" not in item.data


def test_a_number_may_be_the_answer_to_a_question_of_ones_own() -> None:
    column = {"column_id": "which_number?", "string_value": "+919876543210"}
    [item] = items(KIND, body(user_column_data=[column]))

    assert item.problem is None
    assert item.data["lead"] == {"which_number?": "+919876543210"}


def test_one_broken_lead_of_a_list_does_not_cost_the_others() -> None:
    first, second, third = items(KIND, [body(), None, body(lead_id="another")])

    assert (first.problem, third.problem) == (None, None)
    assert second.problem == "The body is not a JSON object."
