"""The name that lists show, and the page of a record in its CRM."""

from typing import Any

import pytest
from support import each
from support.makers import call_route, claim, event, load, settings

from rules.matching import deliveries_of
from rules.person import name_of
from rules.plan import Ready, prepare
from rules.shown import person_of
from rules.transitions import skip_dry_run, start_sending
from schemas.crm import kinds
from schemas.records import Move

KINDS = kinds()
FORM = {"phone": "+919876543210", "full_name": "Meera Nair"}


@each(
    ("metadata", "data", "kind", "name"),
    [
        ({"name": "Meera Nair"}, {"name": "Another"}, "generic", "Meera Nair"),
        ({"first_name": "Meera", "last_name": "Nair"}, {}, "generic", "Meera Nair"),
        ({"first_name": None, "last_name": "Nair"}, {}, "generic", "Nair"),
        ({"name": " "}, {"full_name": "Meera"}, "generic", "Meera"),
        ({"name": 7}, {"fullName": "Meera"}, "generic", "Meera"),
        ({"name": ["Meera"]}, {"firstName": "M", "lastName": "N"}, "generic", "M N"),
        ({"city": "Pune"}, {"first_name": "मीरा"}, "generic", "मीरा"),
        (None, {"properties": {"firstname": "Meera", "lastname": None}}, "hubspot", "Meera"),
        (None, {"Full_Name": "Meera Nair", "Last_Name": "Nair"}, "zoho", "Meera Nair"),
        (None, {"First_Name": "Meera", "Last_Name": "Nair"}, "zoho", "Meera Nair"),
        (None, {"firstName": "Meera", "lastName": "Nair"}, "gohighlevel", "Meera Nair"),
        (None, {"objectId": 1}, "hubspot", None),
        (None, None, "hubspot", None),
        (None, ["Meera"], "generic", None),
        (None, {"name": {"first": "Meera"}}, "generic", None),
        ("Meera", {}, "generic", None),
    ],
)
def test_a_name_is_the_mapped_one_or_that_of_the_crm(
    metadata: Any, data: Any, kind: str, name: str | None
) -> None:
    assert name_of(metadata, data, KINDS[kind]) == name


def test_a_name_is_bounded() -> None:
    assert len(name_of({"name": "x" * 10_000}, {}, KINDS["generic"]) or "") <= 200


def test_a_new_delivery_has_the_name_that_its_event_has() -> None:
    [new] = deliveries_of(event(FORM), load(call_route()))
    assert new.name == "Meera Nair"
    [new] = deliveries_of(event({"phone": "1"}), load(call_route()))
    assert new.name is None


@pytest.mark.parametrize(
    ("data", "metadata", "name", "number"),
    [
        (FORM, "", "Meera Nair", "+919876543210"),
        ({**FORM, "called": "Meera"}, 'name = "called"', "Meera", "+919876543210"),
        ({"phone": "+919876543210", "a": "Meera", "b": "Nair"}, 'first_name = "a"\nlast_name = "b"',
         "Meera Nair", "+919876543210"),
        ({"phone": "+919876543210"}, "", None, "+919876543210"),
    ],
)  # fmt: skip
def test_a_request_is_stored_with_its_name_and_number(
    data: Any, metadata: str, name: str | None, number: str
) -> None:
    made = settings(call_route(metadata=metadata))
    one = claim(data)
    ready = prepare(one, data, made, one.delivery.created_at)
    assert isinstance(ready, Ready)
    for move in (
        start_sending(ready, one.delivery.created_at, guard=None, needs_s=0),
        skip_dry_run(ready, None),
    ):
        assert (move.name, move.number) == (name, number)


@pytest.mark.parametrize(
    ("data", "keys", "name"),
    [
        ({"full_name": "Meera"}, "", "Meera"),  # no number
        ({"phone": "12", "name": "Meera"}, "", "Meera"),  # not a number
        (FORM | {"stage": "old"}, "when = \"stage == 'new'\"", "Meera Nair"),
    ],
)
def test_a_lead_that_is_not_called_has_its_name_too(data: Any, keys: str, name: str) -> None:
    made = settings(call_route(keys))
    one = claim(data)
    move = prepare(one, data, made, one.delivery.created_at)
    assert isinstance(move, Move)
    assert move.name == name


@each(
    ("kind", "subject_type", "data", "page"),
    [
        ("hubspot", "contact", {"portalId": 62515}, "contacts/62515/record/0-1/"),
        ("hubspot", "deal", {"portalId": "62515"}, "contacts/62515/record/0-3/"),
        ("hubspot", "contact", {"portal-id": 62515}, "contacts/62515/record/0-1/"),
        ("hubspot", "object", {"portalId": 62515}, None),
        ("hubspot", "contact", {"portalId": "../evil"}, None),
        ("hubspot", "contact", {}, None),
        ("hubspot", "contact", None, None),
        ("zoho", "lead", {"notification": {"module": "Leads"}}, "crm/tab/Leads/"),
        ("zoho", "custom", {"notification": {"module": "Custom_1"}}, "crm/tab/Custom_1/"),
        ("zoho", "contact", {"Last_Name": "Nair"}, "crm/tab/Contacts/"),
        ("zoho", "workflow", {"Last_Name": "Nair"}, None),
        ("zoho", "lead", {"notification": {"module": "../x"}}, None),
    ],
)
def test_a_record_has_a_page_in_its_crm(
    kind: str, subject_type: str, data: Any, page: str | None
) -> None:
    record_page = KINDS[kind].record_page
    assert record_page is not None
    assert record_page(subject_type, data) == page


def test_what_an_older_release_stored_gets_the_same_fields() -> None:
    sources = load(call_route()).sources
    request = {"to_number": "+919876543210", "metadata": {"city": "Pune"}}
    full = {"number": "+919876543210", "name": "Meera Nair"}
    assert person_of(sources, "generic", request, event(FORM)) == full
    assert person_of(sources, "generic", {}, None) == {}
    assert person_of(sources, "no longer there", request, event(FORM)) == {
        "number": "+919876543210"
    }
    assert person_of(sources, "generic", {"metadata": {"name": "M"}}, None) == {"name": "M"}
