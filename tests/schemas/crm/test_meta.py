"""Meta Lead Ads: what a lead becomes once it is fetched, and why the Graph API refuses."""

from typing import Any

from support import each
from support.samples import items

from schemas.crm.meta import KIND
from schemas.crm_api import Hydration
from schemas.expression import Path


def hydration() -> Hydration:
    assert KIND.hydration
    return KIND.hydration


def field(name: Any, *values: Any) -> dict[str, Any]:
    return {"name": name, "values": list(values)}


def notification(*changes: Any, **entry: Any) -> dict[str, Any]:
    return {"object": "page", "entry": [{"id": "7", "changes": list(changes), **entry}]}


def test_a_fetched_lead_has_flat_answers_and_keeps_what_the_change_says() -> None:
    answers = [
        field("phone_number", "p:+919876543210"),
        field("what_is_your_budget?", "10", "20"),
        field("city"),
        field("zip", None),
        field(None, "lost"),
        field("phone_number", "+919876543211"),
        {"name": "no_values"},
        *("text", None, 5),
    ]
    record = {
        "id": "1",
        "created_time": "2026-01-01",
        "campaign_name": "May",
        "field_data": answers,
    }

    whole = hydration().merge({"leadgen_id": "1", "created_time": 1767250798}, record)

    assert whole == {
        "id": "1",
        "leadgen_id": "1",
        "created_time": 1767250798,
        "campaign_name": "May",
        "lead": {"phone_number": "p:+919876543210", "what_is_your_budget?": ["10", "20"]},
    }
    assert KIND.phones
    assert KIND.phones.search(whole) == ["p:+919876543210", None]


def test_a_test_lead_keeps_no_answer() -> None:
    answers = [
        field("full_name", "<Test lead: dummy data for full_name>"),
        field("phone_number", "+919876543210"),
    ]

    assert hydration().merge({}, {"field_data": answers}) == {"lead": {"is_test": True}}


@each("answer", [{}, {"field_data": None}, {"field_data": {"a": 1}}])
def test_a_lead_without_answers_has_none(answer: dict[str, Any]) -> None:
    assert hydration().merge({}, answer) == {"lead": {}}


@each(
    ("read", "asked"),
    [
        (set(), {"field_data"}),
        ({("lead", "phone_number"), ("form_id",), ("leadgen_id",)}, {"field_data", "form_id"}),
        # Of these, the first two are in the change, and Graph knows no third.
        ({("ad_id",), ("page_id",), ("budget",)}, {"field_data"}),
        ({("campaign_name",)}, {"field_data", "campaign_name"}),
    ],
)
def test_only_what_the_graph_api_knows_is_asked_for(read: set[Path], asked: set[str]) -> None:
    assert hydration().fields(frozenset(read)) == asked


def test_a_read_names_its_ids_and_fields() -> None:
    request = hydration().request("leads", ["1", "2"], ["field_data", "form_id"])

    assert request.path_with({"API_VERSION": "v26.0"}, prefix="META_") == "/v26.0/"
    assert request.params == {"ids": "1,2", "fields": "field_data,form_id,id"}


def test_the_records_of_both_reads_are_found_by_id() -> None:
    lead = {"id": "1", "field_data": []}
    records = hydration().records

    assert records(lead) == {"1": lead}
    assert records({"1": lead, "2": {"error": {}}, "3": None}) == {"1": lead}
    assert records({"error": {"code": 100}}) == {}


@each(
    ("code", "why"),
    [
        *((code, "login") for code in (10, 102, 190, 200, 299)),
        *((code, "busy") for code in (1, 2, 4, 17, 32, 613)),
        *((code, "ids") for code in (100, 803)),
        *((code, None) for code in (300, 2500, None, "190", [190], 1.5)),
    ],
)
def test_the_code_of_an_error_says_why(code: Any, why: str | None) -> None:
    told = hydration().refused_for
    assert told
    assert told({"error": {"code": code}}) == why


def test_a_change_keeps_the_id_of_its_page_unless_it_is_too_long_to_be_one() -> None:
    lead = {"field": "leadgen", "value": {"leadgen_id": "1"}}

    kept = [items(KIND, notification(lead, id=one))[0].data["page_id"] for one in ("7", "7" * 65)]

    assert kept == ["7", None]


@each(
    "body",
    [
        notification({"field": ["leadgen"], "value": {}}),
        notification({"field": "leadgen", "value": {"leadgen_id": "1\n"}}),
        notification({"field": "leadgen", "value": {"leadgen_id": "\u0663"}}),
        notification({"field": "leadgen", "value": {"leadgen_id": True}}),
        notification(changes={"field": "leadgen"}),
        {"object": "page", "entry": {"id": "7"}},
        {"object": ["page"], "entry": [1]},
    ],
)
def test_what_is_no_lead_is_a_problem(body: Any) -> None:
    [item] = items(KIND, body)

    assert item.problem
    assert item.hydrate is None
