"""What is the Google Forms script's own: ids that stay, and its test."""

from typing import Any

import pytest
from support.samples import items

from schemas.crm.google_forms import KIND


def response(**more: Any) -> dict[str, Any]:
    return {"response": {"id": "2_R1"}, "answers": {"Phone": "12345 00025"}, **more}


def test_an_edited_response_is_the_same_event() -> None:
    edited = response(answers={"Phone": "12345 00026"})
    ids = [items(KIND, body)[0].source_event_id for body in (response(), edited)]
    assert ids == ["2_R1", "2_R1"]


@pytest.mark.parametrize(("is_test", "expected"), [(True, True), (False, False), ("true", False)])
def test_only_the_scripts_own_test_is_one(is_test: Any, expected: bool) -> None:
    [item] = items(KIND, response(is_test=is_test))
    assert item.is_test is expected


@pytest.mark.parametrize("broken", [None, "x", 1, [], {"id": []}, {"submitted_at": {}}])
def test_a_response_without_an_id_is_still_a_lead(broken: Any) -> None:
    [item] = items(KIND, response(response=broken))
    assert (item.problem, item.source_event_id, item.time) == (None, None, None)
    assert item.data["answers"] == {"Phone": "12345 00025"}
