"""What is HubSpot's own: whole records, broken items, the shapes of a workflow's body."""

from typing import Any, cast

import pytest
from support import each
from support.samples import incoming, items, source_of

from schemas.crm.hubspot import KIND, is_import, is_own_change, translate
from schemas.crm_api import CrmRequest, Hydration

HYDRATION = cast(Hydration, KIND.hydration)


def notification(**more: Any) -> dict[str, Any]:
    return {
        "eventId": 1,
        "subscriptionId": 2,
        "portalId": 3,
        "occurredAt": 1767250800000,
        "subscriptionType": "contact.creation",
        "attemptNumber": 0,
        "objectId": 4,
        **more,
    }


def test_the_data_is_the_notification_as_it_came() -> None:
    original = notification(changeSource="IMPORT", somethingNew=[1])
    [item] = items(KIND, [original])
    assert item.data == original


def test_more_than_a_hundred_notifications_are_read() -> None:
    found = items(KIND, [notification(eventId=number) for number in range(250)])
    assert len({item.source_event_id for item in found}) == 250


def test_a_bad_item_costs_no_neighbour_and_its_problem_quotes_nothing() -> None:
    bad = notification(occurredAt="+911234500001", portalId=["+911234500001"])
    found = items(KIND, [notification(eventId=1), bad, notification(eventId=2)])
    assert [item.problem is None for item in found] == [True, False, True]
    assert found[1].problem == (
        "The notification can't be read: occurredAt must be epoch milliseconds, "
        "portalId must be an id."
    )


def test_a_time_beyond_the_calendar_is_a_problem() -> None:
    [item] = items(KIND, [notification(occurredAt=9_999_999_999_999_999)])
    assert item.problem
    assert item.time is None


def test_a_word_that_is_not_in_the_table_keeps_its_spelling() -> None:
    assert translate("event.completed", None) == ("event.completed", None)
    assert translate("contact.newThing", None) == ("contact.newThing", "contacts")
    assert translate("odd", None) == ("odd", None)


def test_an_object_type_id_never_reaches_a_url_unless_it_is_one() -> None:
    assert translate("object.creation", "2-77") == ("object.created", "2-77")
    for odd in ("0-1/../x", "0-1\n", "", "-1", "0-"):
        assert translate("object.creation", odd) == ("object.created", None)
    [item] = items(KIND, [notification(subscriptionType="object.creation", objectTypeId=["0-1"])])
    assert (item.type, item.hydrate, item.problem) == ("object.created", None, None)


def test_a_workflow_body_is_flat_and_the_rest_of_it_kept() -> None:
    body = {
        "vid": 7,
        "portal-id": 3,
        "properties": {"phone": {"value": "+911234500001", "versions": []}, "plain": 1},
    }
    [item] = items(KIND, body)
    properties = {"phone": "+911234500001", "plain": 1}
    assert item.data == {"vid": 7, "portal-id": 3, "properties": properties}
    assert item.subject == "7"


def test_a_workflow_body_without_a_vid_is_known_by_its_object_id() -> None:
    for body in (
        {"objectId": 8},
        {"hs_object_id": "8"},
        {"properties": {"hs_object_id": {"value": "8"}}},
    ):
        [item] = items(KIND, body)
        assert item.subject == "8"


@pytest.mark.parametrize(
    ("body", "subject_type"),
    [
        ({"vid": 7}, "contact"),
        ({"objectId": 7, "objectTypeId": "0-1"}, "contact"),
        ({"objectId": 7, "objectType": "DEAL"}, "deal"),
        ({"objectId": 7, "objectType": ["DEAL"]}, None),
        ({"objectId": 7}, None),
    ],
    ids=str,
)
def test_what_a_workflow_body_is_about_is_told_where_it_says_so(
    body: dict[str, object], subject_type: str | None
) -> None:
    [item] = items(KIND, body)
    assert (item.subject_type, item.subject) == (subject_type, "7")


def test_a_workflow_of_a_source_with_paths_is_read_by_them() -> None:
    body = {"what": "demo.wanted", "key": 5, "at": "2026-01-01T12:30:00+05:30"}
    source = source_of(KIND, event="what", id="key", time="at")
    [item] = KIND.parse(body, incoming(), source)
    assert (item.type, item.source_event_id) == ("demo.wanted", "5")
    assert item.time is not None
    assert item.time.isoformat() == "2026-01-01T07:00:00+00:00"


def test_the_request_for_records_names_ids_and_properties() -> None:
    assert HYDRATION.request("contacts", ["1", "2"], ["phone", "city"]) == CrmRequest(
        method="POST",
        path="/crm/objects/{API_VERSION}/contacts/batch/read",
        json={"properties": ["city", "phone"], "inputs": [{"id": "1"}, {"id": "2"}]},
    )


def test_records_of_a_partial_answer_are_those_that_are_there() -> None:
    record = {"id": 1, "properties": {"phone": None}}
    answer = {"status": "COMPLETE", "results": [record, None, {}], "numErrors": 1, "errors": [{}]}
    assert HYDRATION.records(answer) == {"1": record}


@pytest.mark.parametrize("own", ["2", 2, 874716779721])
def test_one_record_has_the_id_that_it_has_now(own: object) -> None:
    alone = HYDRATION.alone
    assert alone is not None
    request = alone.request("contacts", "1", ["phone", "city"])
    assert request is not None
    assert (request.method, request.path) == ("GET", "/crm/objects/{API_VERSION}/contacts/1")
    assert request.params == {"properties": "city,phone"}
    record = {"id": own, "properties": {"phone": "+911234500001"}}
    assert alone.record(record) == (str(own), record)


def test_a_merged_event_has_flat_properties_and_its_own_keys() -> None:
    record = {"id": "4", "properties": {"city": {"value": "Pune"}, "phone": "+911234500001"}}
    data = {**notification(), "properties": {"old": 1}}
    merged = HYDRATION.merge(data, record)
    assert merged == {**data, "properties": {"city": "Pune", "phone": "+911234500001"}}
    assert data["properties"] == {"old": 1}


def test_only_properties_are_asked_for() -> None:
    paths = frozenset({("properties", "phone"), ("properties",), ("objectId",), ("a", "b")})
    assert HYDRATION.fields(paths | {("properties", "x", "y")}) == {"phone", "x"}


# --- what is no lead --------------------------------------------------------------------------


@each(
    ("data", "expected"),
    [
        (notification(changeSource="IMPORT"), True),
        (notification(changeSource="CRM_UI"), False),
        (notification(changeSource="INTEGRATION"), False),
        (notification(changeSource="import"), False),
        (notification(changeSource=None), False),
        (notification(changeSource=["IMPORT"]), False),
        (notification(), False),
        ({"properties": {"changeSource": "IMPORT"}}, False),
        ([notification(changeSource="IMPORT")], False),
        ("IMPORT", False),
        (None, False),
    ],
)
def test_what_a_bulk_import_made(data: Any, expected: bool) -> None:
    assert is_import(data) is expected


def own(**more: Any) -> dict[str, Any]:
    """Return a notification of a change that the app it was sent to made itself."""
    return notification(
        **{"appId": 4242, "changeSource": "INTEGRATION", "sourceId": "4242", **more}
    )


@each(
    ("event_type", "data", "expected"),
    [
        ("contact.updated", own(), True),
        ("contact.updated", own(sourceId=4242, appId="4242"), True),
        ("contact.updated", own(sourceId="appId:4242"), True),
        ("contact.updated", own(changeSource="API"), True),
        ("deal.updated", own(), True),
        # What is written back at the end of a call, in whatever way it appears.
        ("call.created", own(), True),
        ("note.created", own(), True),
        ("note.deleted", own(), True),
        # Another app's changes, a person's, an import's.
        ("contact.updated", own(sourceId="4243"), False),
        ("contact.updated", own(sourceId="appId:42"), False),
        ("contact.updated", own(sourceId="userId:4242"), False),
        ("contact.updated", own(changeSource="CRM_UI"), False),
        ("contact.updated", own(changeSource="IMPORT"), False),
        ("call.created", own(sourceId="4243"), False),
        # A contact that the account's own app made is a lead; what befell one is no write-back.
        ("contact.created", own(), False),
        ("contact.deleted", own(), False),
        ("contact.privacy_deleted", own(), False),
        ("contact.merged", own(), False),
        # Nothing equals nothing.
        ("contact.updated", own(appId=None, sourceId=None), False),
        ("contact.updated", own(appId="", sourceId=""), False),
        ("contact.updated", own(appId=None, sourceId="appId:None"), False),
        ("contact.updated", own(appId=["4242"], sourceId=["4242"]), False),
        ("contact.updated", own(sourceId=None), False),
        ("contact.updated", notification(), False),
        ("contact.updated", None, False),
        ("contact.updated", [own()], False),
        ("", own(), False),
        ("updated", own(), False),
    ],
)
def test_what_the_app_itself_changed(event_type: str, data: Any, expected: bool) -> None:
    assert is_own_change(event_type, data) is expected


@each("subscription", ["contact.propertyChange", "object.propertyChange"])
@each("source_id", ["50780459", "appId:50780459"])
def test_a_change_by_our_app_is_ours_in_both_kinds_of_subscription(
    subscription: str, source_id: str
) -> None:
    ours = {"appId": 50780459, "changeSource": "INTEGRATION", "sourceId": source_id}
    generic = {"objectTypeId": "0-1"} if subscription.startswith("object") else {}
    [item] = items(KIND, [notification(subscriptionType=subscription, **ours, **generic)])
    assert (item.type, is_own_change(item.type, item.data)) == ("contact.updated", True)
    theirs = {**item.data, "sourceId": "userId:51430432", "changeSource": "CRM_UI"}
    assert is_own_change(item.type, theirs) is False


def test_the_kind_knows_its_imports_its_own_changes_and_who_wants_to_be_erased() -> None:
    assert (KIND.is_import, KIND.is_own_change) == (is_import, is_own_change)
    assert KIND.erased_by == {translate("contact.privacyDeletion", None)[0]}
    assert KIND.region
    found = KIND.region.search({"properties": {"hs_country_region_code": "IN", "country": "India"}})
    assert found == "IN"
    assert KIND.region.search(notification()) is None
