"""The data of an event as it is shown: ids and times that its kind names stay, numbers do not."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support import each, examples
from support.makers import event
from support.samples import source_of

from schemas.crm import kinds
from schemas.responses import EventResponse, revealed

SOURCES = {name: source_of(kind) for name, kind in kinds().items()}
NUMBER = "+919876543210"


def shown(source: str, data: Any) -> Any:
    return EventResponse(SOURCES).dump(event(data, source=source))["data"]


@each(
    ("source", "data"),
    [
        ("hubspot", {"eventId": 90000076, "objectId": 123456789012, "portalId": 62515123}),
        ("hubspot", {"occurredAt": 1795869896273, "appId": 10000001, "sourceId": "98765432"}),
        ("hubspot", {"mergedObjectIds": [98765432, 9876543210], "newObjectId": 9876543211}),
        ("hubspot", {"vid": 9876543210, "properties": {"hs_object_id": "9876543210"}}),
        ("zoho", {"id": "572576700000044039", "Owner": {"id": "5725767000000440"}}),
        ("zoho", {"notification": {"ids": ["572576700000044039"], "channel_id": "1000000068001"}}),
        ("zoho", {"notification": {"affected_fields": [{"572576700000044039": ["Phone"]}]}}),
        ("gohighlevel", {"id": "98765432", "contactId": 9876543210}),
    ],
)
def test_ids_stay_as_they_are_and_keep_their_type(source: str, data: Any) -> None:
    assert shown(source, data) == data


@each(
    ("source", "data", "masked"),
    [
        ("hubspot", {"phone": 9876543210}, {"phone": "••••••3210"}),
        ("hubspot", {"custom": 90000076}, {"custom": "••••0076"}),
        (
            "hubspot",
            {"properties": {"eventId": "9876543210"}},
            {"properties": {"eventId": "••••••3210"}},
        ),
        ("hubspot", {"eventId": NUMBER}, {"eventId": "+91••••••3210"}),
        ("hubspot", {"objectId": "98765 43210"}, {"objectId": "••••••3210"}),
        ("hubspot", {"objectId": {"phone": 9876543210}}, {"objectId": {"phone": "••••••3210"}}),
        ("zoho", {"Phone": "9876543210"}, {"Phone": "••••••3210"}),
        ("zoho", {"Owner": {"phone": "9876543210"}}, {"Owner": {"phone": "••••••3210"}}),
        ("generic", {"id": 90000076}, {"id": "••••0076"}),
        ("generic", {"eventId": "9876543210"}, {"eventId": "••••••3210"}),
        ("gone", {"eventId": 90000076}, {"eventId": "••••0076"}),
        ("hubspot", {f"call {NUMBER} now": 1}, {"call +91••••••3210 now": 1}),
    ],
)
def test_what_a_kind_does_not_name_is_masked(source: str, data: Any, masked: Any) -> None:
    assert shown(source, data) == masked


def test_a_person_who_may_see_it_sees_the_data_itself() -> None:
    data = {"eventId": 90000076, "phone": 9876543210}
    with revealed():
        assert shown("hubspot", data) == data


WORDS = st.sampled_from(["eventId", "objectId", "properties", "phone", "notification", "ids", "id"])
DATA = st.recursive(
    st.sampled_from([NUMBER, f"call {NUMBER}", "+91 98765-43210", None, True]),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(WORDS, below, max_size=4),
)


@given(st.sampled_from(sorted(SOURCES)), DATA)
@examples(200)
def test_a_number_with_a_plus_is_never_shown_wherever_it_stands(source: str, data: Any) -> None:
    given = str(data)
    text = str(shown(source, data))
    assert "98765" not in text
    assert str(data) == given  # what is stored was not changed
