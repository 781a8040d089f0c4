"""What CRM modules make of a call to be told, and of the answer to it."""

from typing import Any

import pytest
from support.told import told

from schemas.crm import hubspot_writing, zoho_writing
from schemas.crm_api import Refused, Written

NOT_NOW = {"category": "RATE_LIMITS", "context": {"objectWriteTraceId": ["w1"]}}


@pytest.mark.parametrize("subject", ["../deals/7", "1,2", "{ACCESS_TOKEN}", "\u0661", "7?x=1", ""])
def test_no_id_but_a_number_is_put_into_a_path_of_hubspot(subject: str) -> None:
    assert list(hubspot_writing.WRITE_BACK.find_call(told(subject=subject))) == []


def test_what_hubspot_does_not_do_now_is_no_refusal() -> None:
    refused = {"message": "No.", "context": {"objectWriteTraceId": ["w2"]}}
    answer = {"results": [], "errors": [NOT_NOW, refused]}
    some = [told(), told(id="w2", subject="102"), told(id="w3", subject="103")]
    assert hubspot_writing.WRITE_BACK.read(answer, some) == {"w1": None, "w2": Refused("No.")}


def test_several_choices_are_told_without_those_that_are_nothing() -> None:
    request = hubspot_writing.WRITE_BACK.set_fields([told(fields={"cities": ["Pune", None, 7]})])
    assert request.json["inputs"][0]["properties"] == {"cities": "Pune;7"}


@pytest.mark.parametrize("word", [None, 7, ["x"], {"x": 1}, "x"])
def test_any_answer_can_be_read(word: Any) -> None:
    entry = {"id": word, "code": word, "status": word, "details": word, "properties": word}
    error = {"category": word, "context": word, "message": word}
    for answer in (word, {"results": word, "errors": word, "data": word}):
        assert hubspot_writing.WRITE_BACK.read(answer, [told()]) == {}
        assert zoho_writing.WRITE_BACK.read(answer, [told()]) == {}
    assert hubspot_writing.WRITE_BACK.read({"errors": [error]}, [told()]) == {}
    assert zoho_writing.WRITE_BACK.read({"data": [entry]}, [told()]) == {}
    named = {**error, "context": {"ids": ["101", word], "id": word}}
    read = hubspot_writing.WRITE_BACK.read({"results": [entry], "errors": [named]}, [told()])
    assert isinstance(read["w1"], Refused | Written)
