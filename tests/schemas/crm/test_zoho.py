"""What is Zoho's own: the fan-out over ids, the token that is never kept, whole records."""

from typing import Any, cast

import orjson
import pytest
from support import each
from support.samples import NOW, incoming, items

from schemas.crm.zoho import KIND, LARGEST_ENVELOPE, NOTIFICATION
from schemas.crm_api import CrmRequest, Hydration
from schemas.errors import BadSignature
from schemas.signatures import verify

HYDRATION = cast(Hydration, KIND.hydration)


def notification(**more: Any) -> dict[str, Any]:
    return {
        "server_time": 1767250800000,
        "module": "Leads",
        "operation": "update",
        "channel_id": "100",
        "ids": ["1", "2"],
        "token": "made-up",
        **more,
    }


def test_each_record_carries_its_own_values_and_nothing_of_its_neighbours() -> None:
    content = notification(
        affected_values=[
            {"record_id": "1", "values": {"Phone": "+911234500001"}},
            {"record_id": 2, "values": {"Phone": "+911234500002"}},
        ],
        affected_fields=[{"1": ["Phone"], "2": ["Phone"]}],
    )
    first, second = items(KIND, content)
    assert first.data["Phone"] == "+911234500001"
    assert second.data["Phone"] == "+911234500002"
    assert first.data["notification"] == {
        "server_time": 1767250800000,
        "module": "Leads",
        "operation": "update",
        "channel_id": "100",
        "ids": ["1"],
        "affected_fields": [{"1": ["Phone"]}],
    }
    assert "+911234500002" not in str(first)


@pytest.mark.parametrize(
    "odd",
    [
        {"affected_values": None, "affected_fields": None},
        {"affected_values": {"record_id": "1"}, "affected_fields": "Phone"},
        {"affected_values": [None, {"record_id": "1"}, {"values": {"Phone": 1}}]},
        {"affected_values": [{"record_id": ["1"], "values": []}], "affected_fields": [None]},
    ],
)
def test_odd_affected_values_cost_no_record(odd: dict[str, Any]) -> None:
    assert [item.problem for item in items(KIND, notification(**odd))] == [None, None]


@pytest.mark.parametrize(
    ("module", "operation", "expected"),
    [
        ("Leads", "insert", "lead.created"),
        ("Accounts", "create", "account.created"),
        ("Deals", "edit", "deal.updated"),
        ("Calls", "DELETE", "call.deleted"),
        ("Sales_Orders", "update", "sales_order.updated"),
        ("Site_Visits", "restore", "site_visits.restore"),
    ],
)
def test_words(module: str, operation: str, expected: str) -> None:
    found = items(KIND, notification(module=module, operation=operation))
    assert {item.type for item in found} == {expected}


def test_a_deleted_record_is_not_fetched() -> None:
    assert {item.hydrate for item in items(KIND, notification(operation="delete"))} == {None}


@each(
    "broken",
    [
        {"module": "Leads/../x"},
        {"module": "Leads\n"},
        {"module": None},
        {"operation": ""},
        {"ids": []},
        {"ids": "1,2"},
        {"server_time": "2026-01-01"},
        {"channel_id": None},
    ],
)
def test_a_broken_notification_is_one_item_with_a_problem(broken: dict[str, Any]) -> None:
    [item] = items(KIND, notification(**broken))
    assert item.problem
    assert item.hydrate is None
    assert "made-up" not in str(item)


def test_an_id_that_would_be_two_is_no_id() -> None:
    bad, good = items(KIND, notification(ids=["1,2", "3"]))
    assert bad.problem
    assert bad.hydrate is None
    assert good.subject == "3"


@each(
    ("module", "subject_type"),
    [
        ("Leads", "lead"),
        ("Contacts", "contact"),
        ("Rockets", None),
        (None, None),
        (["Leads"], None),
    ],
)
def test_a_workflow_may_say_whose_id_it_sends(module: Any, subject_type: str | None) -> None:
    (item,) = items(KIND, {"id": "41", "module": module})
    assert (item.type, item.subject, item.subject_type) == (
        "workflow.triggered",
        "41",
        subject_type,
    )


def test_a_workflow_field_may_share_a_name_with_a_notification() -> None:
    [item] = items(KIND, {"module": "Leads", "operation": "solar", "Phone": "+911234500001"})
    assert (item.type, item.problem) == ("workflow.triggered", None)


def test_the_token_in_the_body_proves_the_request_and_is_not_kept() -> None:
    body = {"Phone": "+911234500001", "token": "made-up"}
    verify(KIND.auth, ["made-up"], incoming(), now=NOW, content=body)
    with pytest.raises(BadSignature):
        verify(KIND.auth, ["other"], incoming(), now=NOW, content=body)
    assert [item.data for item in items(KIND, body)] == [{"Phone": "+911234500001"}]
    assert [item.data for item in items(KIND, [body])] == [{"Phone": "+911234500001"}]


def test_the_request_for_records_names_ids_and_fields() -> None:
    assert HYDRATION.request("Leads", ["1", "2"], ["Phone", "City"]) == CrmRequest(
        method="GET", path="/crm/v8/Leads", params={"ids": "1,2", "fields": "City,Phone"}
    )
    assert HYDRATION.request("Leads", ["1"], []).params["fields"] == "id"


def test_hydrated_fields_win_and_the_notification_stays() -> None:
    [item, _] = items(
        KIND, notification(affected_values=[{"record_id": "1", "values": {"City": "A", "Zip": 1}}])
    )
    records = HYDRATION.records({"data": [{"id": "1", "City": "B", "notification": "x"}, None]})
    merged = HYDRATION.merge(item.data, records["1"])
    assert (merged["City"], merged["Zip"]) == ("B", 1)
    assert merged["notification"] == item.data["notification"]


def test_fields_are_the_first_steps_of_paths() -> None:
    paths = frozenset({("Phone",), ("Owner", "name"), ("notification", "module")})
    assert HYDRATION.fields(paths) == {"Phone", "Owner"}
    assert HYDRATION.fields(frozenset({("notification", "module")})) == {"id"}


EXTRAS: list[dict[str, Any]] = [
    {"query_params": "x" * 300_000},
    {str(n): n for n in range(20_000)},
    {"a": [[]] * 9000},
]


@each("extra", EXTRAS)
def test_each_record_keeps_little_of_its_notification(extra: dict[str, Any]) -> None:
    found = items(KIND, notification(ids=[str(n) for n in range(1000)], **extra, own="kept"))
    kept = [item.data[NOTIFICATION] for item in found]
    assert sum(len(orjson.dumps(one)) for one in kept) < 1000 * (LARGEST_ENVELOPE + 200)
    assert {one["module"] for one in kept} == {"Leads"}
    assert {one["server_time"] for one in kept} == {notification()["server_time"]}
    assert [one["ids"] for one in kept[:2]] == [["0"], ["1"]]
    assert "own" in kept[0] or len(extra) > 1


@each("name", ["channel_id", "module", "operation"])
def test_a_word_of_any_length_is_not_stored_for_each_record(name: str) -> None:
    [item] = items(KIND, notification(ids=["1", "2"], **{name: "a" * 101}))
    assert item.problem


def test_a_record_that_is_named_twice_is_one_item() -> None:
    values = [{"record_id": "1", "values": {"Phone": "+911234500001"}}]
    found = items(KIND, notification(ids=["1", 1, "2", "1"], affected_values=values))
    assert [item.subject for item in found] == ["1", "2"]


@pytest.mark.parametrize(
    ("module", "word"), [("Leads", "lead"), ("Deals", "deal"), ("Nonsense", None), (None, None)]
)
def test_a_workflow_may_say_which_module_its_record_is_of(
    module: str | None, word: str | None
) -> None:
    body = {"id": "5725767000000600001", **({} if module is None else {"module": module})}
    [item] = items(KIND, body)
    assert (item.type, item.subject, item.subject_type) == ("workflow.triggered", body["id"], word)
