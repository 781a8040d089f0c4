"""What is Pipedrive's own: its two versions, its ids, whose person an event is about."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples
from support.samples import PAYLOADS, content_of, items

from schemas.crm.pipedrive import KIND
from schemas.event import is_guarded_type

HYDRATION = KIND.hydration
assert HYDRATION is not None


def phones(data: Any) -> Any:
    assert KIND.phones
    return KIND.phones.search(data)


def name_of(data: Any) -> Any:
    assert KIND.names
    return KIND.names.search(data)


def v2(action: Any = "create", entity: Any = "deal", data: Any = None, **meta: Any) -> Any:
    known = {"version": "2.0", "id": "e-1", "entity_id": "801", "action": action, "entity": entity}
    return {"meta": {**known, **meta}, "data": data, "previous": None}


def v1(action: str = "added", entity: str = "deal", current: Any = None, **meta: Any) -> Any:
    known = {"v": 1, "id": 801, "company_id": 7, "timestamp": 1767250800}
    return {
        "meta": {**known, "action": action, "object": entity, **meta},
        "current": current,
        "previous": None,
        "retry": 0,
    }


@each(
    ("body", "expected"),
    [
        (v2("create"), "deal.created"),
        (v2("change"), "deal.updated"),
        (v2("delete"), "deal.deleted"),
        (v2("archive"), "deal.archive"),
        (v2("create", "organization"), "organization.created"),
        (v2(version="2.1"), "deal.created"),
        (v2(version=2), "deal.created"),
        (v1("added"), "deal.created"),
        (v1("updated"), "deal.updated"),
        (v1("deleted"), "deal.deleted"),
        (v1("merged"), "deal.merged"),
        (v1(version="1.0"), "deal.created"),
    ],
)
def test_words_of_both_versions(body: Any, expected: str) -> None:
    [item] = items(KIND, body)
    assert (item.type, item.problem) == (expected, None)
    assert is_guarded_type(item.type) is expected.endswith((".deleted", ".merged"))


@each("entity", ["deal", "lead", "activity", "note"])
@each("person", [501, "501", {"value": 501, "name": "Sample Lead"}])
def test_what_names_a_person_leads_to_the_person(entity: str, person: Any) -> None:
    for body in (v2(entity=entity, data={"person_id": person}), v1("added", entity, {})):
        if "current" in body:
            body["current"] = {"person_id": person}
        [item] = items(KIND, body)
        assert (item.subject, item.subject_type, item.hydrate) == ("501", "person", "persons")
        assert item.data == body


@each(
    "person", [None, "", True, "5 1", "5,1", "1/../2", "x", "\u0663", [], {}, {"value": None}, -1]
)
def test_a_record_without_a_person_stays_its_own_subject(person: Any) -> None:
    [item] = items(KIND, v2(data={"person_id": person}))
    assert (item.subject, item.subject_type, item.hydrate) == ("801", None, None)
    assert item.problem is None


@each("entity", ["organization", "product", "user", "stage"])
def test_no_other_record_leads_to_a_person(entity: str) -> None:
    [item] = items(KIND, v2(entity=entity, data={"person_id": 501}))
    assert (item.subject, item.hydrate) == ("801", None)


@each("body", [v2(entity="user"), v1("updated", "user"), v2(entity="pipeline"), v2(entity="stage")])
def test_an_event_about_a_colleague_or_a_setting_calls_nobody(body: Any) -> None:
    body["data"] = body["current"] = {"name": "Sample Colleague", "phone": "+911234500009"}
    [item] = items(KIND, body)
    assert item.is_test
    assert not phones(item.data)
    assert name_of(item.data) is None


# --- ids ----------------------------------------------------------------------------------------


def test_attempts_and_webhooks_of_one_event_of_version_1_have_one_id() -> None:
    first, second = v1(webhook_id="1"), v1(webhook_id="2")
    second["retry"] = 3
    ids = {items(KIND, body)[0].source_event_id for body in (first, second)}
    assert ids == {"7-deal-added-801-1767250800"}


@each(
    "more",
    [
        {"id": 802},
        {"company_id": 8},
        {"action": "updated"},
        {"object": "person"},
        {"timestamp": 1767250801},
        {"timestamp_milli": 1767250800001},
        {"timestamp_micro": 1767250800000001},
    ],
)
def test_another_event_of_version_1_has_another_id(more: dict[str, Any]) -> None:
    [item], [other] = items(KIND, v1()), items(KIND, v1(**more))
    assert item.source_event_id != other.source_event_id


@each("missing", ["id", "action", "entity", "entity_id"])
def test_what_an_event_of_version_2_lacks_is_named(missing: str) -> None:
    body = v2()
    del body["meta"][missing]
    [item] = items(KIND, body)
    assert (item.type, item.source_event_id) == ("unknown", None)
    assert item.problem == f"The event can't be read: {missing} is missing."


def test_a_time_without_a_zone_is_utc_and_that_of_the_event_comes_first() -> None:
    record = {"update_time": "2026-01-01 06:00:00"}
    [item] = items(KIND, v1(current=record))
    assert item.time is not None
    assert item.time.isoformat() == "2026-01-01T07:00:00+00:00"
    [item] = items(KIND, v2(data=record, timestamp="soon"))
    assert item.time is not None
    assert item.time.isoformat() == "2026-01-01T06:00:00+00:00"


# --- the person ---------------------------------------------------------------------------------


def test_the_person_is_put_beside_the_deal_and_its_numbers_are_found() -> None:
    body = content_of(PAYLOADS / "pipedrive/v2_deal_created.body.json")
    person = {"id": 501, "name": "Sample Lead", "phones": [{"value": "+911234500001"}, {}]}
    assert HYDRATION
    merged = HYDRATION.merge(body, person)
    assert merged == {**body, "person": person}
    assert phones(merged) == ["+911234500001"]
    assert name_of(merged) == "Sample Lead"


def test_a_question_names_the_ids_and_an_answer_gives_who_is_not_deleted() -> None:
    assert HYDRATION
    request = HYDRATION.request("persons", ["7", "8"], [])
    assert (request.path, dict(request.params)) == ("/api/v2/persons", {"ids": "7,8"})
    persons = [{"id": 7}, {"id": 8, "is_deleted": True}, {"id": None}, "9"]
    assert HYDRATION.records({"success": True, "data": persons}) == {"7": {"id": 7}}
    assert HYDRATION.records({"success": True, "data": {"id": 7}}) == {"7": {"id": 7}}


@pytest.mark.parametrize("person", [{}, {"phones": None}, {"phones": "x"}, {"phones": [None, 1]}])
def test_an_odd_person_has_no_number_and_is_no_error(person: dict[str, Any]) -> None:
    assert not phones({"meta": {}, "person": person})


JSON = (
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.just({"a": 1})
)


@examples(200)
@given(meta=st.dictionaries(st.sampled_from([*v2()["meta"], *v1()["meta"]]), JSON), record=JSON)
def test_any_meta_and_any_record_are_one_item(meta: Any, record: Any) -> None:
    for version in ({}, {"version": "2.0"}, {"v": 1}):
        body = {"meta": {**meta, **version}, "data": record, "current": record}
        [item] = items(KIND, body)
        assert item.data == body
        assert (item.problem is None) is (item.source_event_id is not None)
