"""What is IndiaMART's own: its words, the seller's number, its time, lists in lists."""

import json
from dataclasses import replace
from typing import Any

import pytest
from support import each
from support.samples import PAYLOADS, content_of, incoming, items, source_of

from schemas.crm.indiamart import KIND, TYPES
from schemas.source import MAX_ITEMS

SELLER = "+91-1234599999"


def lead(**more: Any) -> dict[str, Any]:
    return {"UNIQUE_QUERY_ID": "1", "QUERY_TYPE": "W", "SENDER_MOBILE": "+91-1234500001", **more}


def push(**more: Any) -> dict[str, Any]:
    return {"CODE": 200, "STATUS": "SUCCESS", "RESPONSE": lead(**more)}


@each(
    ("word", "event_type"),
    [
        *TYPES.items(),
        ("w", "lead.created"),
        (" P\n", "call.received"),
        (" ", "lead.created"),
        (None, "lead.created"),
        ("NEW_WORD", "NEW_WORD"),
    ],
)
def test_words(word: Any, event_type: str) -> None:
    [item] = items(KIND, push(QUERY_TYPE=word))
    assert (item.type, item.problem) == (event_type, None)


@each("word", [5, True, ["W"], {"a": 1}, "a sentence about a person", "W" * 17])
def test_what_is_no_word_is_no_type(word: Any) -> None:
    [item] = items(KIND, push(QUERY_TYPE=word))
    assert item.problem == "The lead's QUERY_TYPE is not a short word."
    assert item.type == "lead.created"


def test_only_enquiries_and_buy_leads_are_leads() -> None:
    assert {word for word, ours in TYPES.items() if ours != "lead.created"} == {"P", "V", "BIZ"}


def test_the_number_of_the_seller_is_nowhere() -> None:
    sample = PAYLOADS / "indiamart" / "push_call.body.json"
    assert content_of(sample)["RESPONSE"]["RECEIVER_MOBILE"] == SELLER
    [item] = items(KIND, content_of(sample))
    assert SELLER not in json.dumps(item.data)


@pytest.mark.parametrize(
    ("zone", "utc"), [(None, "2026-01-01T07:00:00+00:00"), ("UTC", "2026-01-01T12:30:00+00:00")]
)
def test_the_time_is_indias_unless_the_source_says_another_zone(zone: str | None, utc: str) -> None:
    source = replace(source_of(KIND), timezone=zone)
    [item] = KIND.parse(push(QUERY_TIME="2026-01-01 12:30:00"), incoming(), source)
    assert item.time
    assert item.time.isoformat() == utc


def test_a_push_a_list_and_a_bare_lead_are_the_same_event() -> None:
    bodies: list[Any] = [push(), {"RESPONSE": [lead()]}, lead(), [lead()]]
    bodies.append({"RESPONSE": json.dumps(lead())})
    assert {items(KIND, body)[0].source_event_id for body in bodies} == {"1"}
    assert all(items(KIND, body)[0].data == lead() for body in bodies)


@each("broken", [None, 5, "text", {}, [], "{", '"x"'])
def test_a_broken_lead_does_not_cost_its_neighbours(broken: Any) -> None:
    first, second = lead(UNIQUE_QUERY_ID="a"), lead(UNIQUE_QUERY_ID="b")
    found = items(KIND, {"RESPONSE": [first, broken, second]})
    assert [item.source_event_id for item in found] == ["a", None, "b"]
    assert [bool(item.problem) for item in found] == [False, True, False]


@each("text", ["", "{", "[", "x", "5", "\ud83d", "[" * 5000])
def test_a_response_that_is_no_lead_is_never_an_exception(text: str) -> None:
    assert all(item.problem for item in items(KIND, {"RESPONSE": text}))


def test_leads_are_counted_in_a_list_and_in_a_text() -> None:
    many = [lead()] * (MAX_ITEMS + 1)
    for body in ({"RESPONSE": many}, {"RESPONSE": json.dumps(many)}, many):
        assert KIND.count(body) == MAX_ITEMS + 1


def test_paths_of_the_source_come_first() -> None:
    [item] = items(KIND, push(OWN="x-1", KIND="mine"), id="OWN", event="KIND")
    assert (item.source_event_id, item.type) == ("x-1", "mine")
