"""Zoho's answers to the look for a call."""

from datetime import UTC, datetime
from typing import Any

import pytest
from support import each

from schemas.crm.zoho_writing import WRITE_BACK
from schemas.crm_api import Told

TOLD = Told(
    id="w-1",
    key="bridge-1",
    moment="final",
    at=datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
    subject="101",
    subject_type="lead",
    delivery={},
    outcome={},
    fields={},
)


def found(answer: Any) -> str | None:
    looking = WRITE_BACK.find_call(TOLD)
    assert next(looking).path.endswith("/coql")
    with pytest.raises(StopIteration) as end:
        looking.send(answer)
    return end.value.value  # type: ignore[no-any-return]


def test_a_call_is_found_by_its_id_and_no_answer_means_none() -> None:
    assert found({"data": [{"id": "4001"}]}) == "4001"
    assert found({"data": []}) is None
    assert found({}) is None  # Zoho answered 204


@each("answer", [{"data": None}, {"data": {}}, {"info": {"count": 0}}, {"message": "later"}])
def test_an_answer_without_a_list_does_not_say_that_there_is_no_call(answer: Any) -> None:
    looking = WRITE_BACK.find_call(TOLD)
    next(looking)
    with pytest.raises(ValueError, match="no list"):
        looking.send(answer)
