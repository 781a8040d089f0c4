"""Bodies of a shape their sender chose: paths, ids out of headers, lists."""

from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict
from support.samples import NOW, incoming, items

from schemas.crm.generic import KIND
from schemas.errors import BadSignature
from schemas.signatures import verify

SENT = CaseInsensitiveDict({"Webhook-Id": "msg-1"})


def test_type_id_and_time_stand_where_the_source_says() -> None:
    body = {"kind": "demo.requested", "submission": {"id": 12, "at": 1767250800}}
    [item] = items(KIND, body, event="kind", id="submission.id", time="submission.at")
    assert (item.type, item.source_event_id, item.data) == ("demo.requested", "12", body)
    assert item.time == NOW


def test_a_header_names_a_single_item() -> None:
    [item] = items(KIND, {"phone": "+911234500001"}, headers=SENT)
    assert item.source_event_id == "msg-1"
    [item] = items(KIND, [{"phone": "+911234500001"}], headers=SENT)
    assert item.source_event_id == "msg-1"


def test_a_header_does_not_make_neighbours_duplicates() -> None:
    found = items(KIND, [{"phone": 1}, {"phone": 2}], headers=SENT)
    assert [item.source_event_id for item in found] == ["msg-1-0", "msg-1-1"]


def test_ids_in_the_body_win_over_the_header() -> None:
    found = items(KIND, [{"id": "a"}, {"id": "b"}, {}], headers=SENT, id="id")
    assert [item.source_event_id for item in found] == ["a", "b", "msg-1-2"]


@pytest.mark.parametrize("odd", [None, "", True, [1], {"a": 1}, 1.2345678901234568e29])
def test_what_can_be_no_id_is_not_one(odd: Any) -> None:
    [item] = items(KIND, {"id": odd}, id="id")
    assert (item.source_event_id, item.problem) == (None, None)


@pytest.mark.parametrize("odd", [["+911234500001"], {"phone": "+911234500001"}])
def test_a_type_that_is_no_text_is_a_problem_that_quotes_nothing(odd: Any) -> None:
    [item] = items(KIND, {"kind": odd}, event="kind")
    assert item.problem
    assert "+911234500001" not in item.problem
    assert item.type == "form.submitted"


@pytest.mark.parametrize("odd", ["soon", 10**400, float("nan"), "inf", {}, True])
def test_an_unreadable_time_is_no_reason_to_lose_a_lead(odd: Any) -> None:
    [item] = items(KIND, {"at": odd}, time="at")
    assert (item.time, item.problem) == (None, None)


def test_a_token_in_the_body_is_the_senders_own() -> None:
    [item] = items(KIND, {"token": "made-up"})
    assert item.data == {"token": "made-up"}
    with pytest.raises(BadSignature):
        verify(KIND.auth, ["made-up"], incoming(), now=NOW, content={"token": "made-up"})
