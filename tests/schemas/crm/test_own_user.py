"""Whose change a Zoho notification is about, told by the record."""

from typing import Any

import pytest

from schemas.crm.zoho import CLOCKS_DIFFER, KIND, is_change_of

US, OTHER = "5725767000000400001", "5725767000000400009"
AT_MS = 1_767_250_800_000  # 2026-01-01T07:00:00Z
AT = "2026-01-01T12:30:00+05:30"
HYDRATION = KIND.hydration
assert HYDRATION
assert HYDRATION.own_user
OWN_USER = HYDRATION.own_user


def record(**more: Any) -> dict[str, Any]:
    return {
        "Modified_By": {"id": US, "name": "Bridge"},
        "Modified_Time": AT,
        "notification": {"server_time": AT_MS},
        **more,
    }


@pytest.mark.parametrize(
    ("data", "is_ours"),
    [
        (record(), True),
        (record(Modified_By={"id": int(US)}), True),
        (record(Modified_By={"id": OTHER}), False),
        (record(Modified_By={"name": US}), False),
        (record(Modified_By=US), False),
        (record(Modified_By=None), False),
        # The record was changed long before: the notification is late.
        (record(Modified_Time="2026-01-01T10:00:00+05:30"), True),
        # Our clocks may differ a little.
        (record(Modified_Time="2026-01-01T12:30:05+05:30"), True),
        # We changed it after the notification, which is about somebody else's change.
        (record(Modified_Time="2026-01-01T12:30:06+05:30"), False),
        (record(Modified_Time="2026-01-01"), False),
        (record(Modified_Time=None), False),
        (record(notification={}), False),
        (record(notification=None), False),
        ({"Modified_By": {"id": US}, "Modified_Time": AT}, False),
        ([record()], False),
        (None, False),
    ],
)
def test_a_change_is_ours_if_the_record_says_so_at_that_time(data: Any, is_ours: bool) -> None:
    assert CLOCKS_DIFFER.total_seconds() == 5
    assert is_change_of(data, US, frozenset()) is is_ours


@pytest.mark.parametrize(
    ("changed", "is_ours"),
    [
        ([{"1": ["Call_Result"]}], True),
        ([{"1": ["Call_Result", "Called_At"]}], True),
        ([{"1": ["Call_Result", "Phone"]}], False),
        ([{"1": ["Call_Result"]}, {"2": ["Phone"]}], False),
        ([{"1": []}], False),
        ([{"1": "Call_Result"}], False),
        ([{"1": [None, {}]}], False),
        ([], False),
        (None, False),
    ],
)
def test_a_change_of_fields_that_write_backs_set_is_ours_also_after_the_next_one(
    changed: Any, is_ours: bool
) -> None:
    told = {"server_time": AT_MS, "affected_fields": changed}
    again = record(Modified_Time="2026-01-01T12:31:00+05:30", notification=told)
    written = frozenset({"Call_Result", "Called_At", "Called_By"})
    assert is_change_of(again, US, written) is is_ours
    assert is_change_of(again | {"Modified_By": {"id": OTHER}}, US, written) is False


@pytest.mark.parametrize(
    ("answer", "user"),
    [
        ({"users": [{"id": US, "full_name": "Bridge"}]}, US),
        ({"users": [{"id": int(US)}, {"id": OTHER}]}, US),
        ({"users": []}, None),
        ({"users": [None]}, None),
        ({"users": {"id": US}}, None),
        ({"code": "NO_PERMISSION"}, None),
        (None, None),
    ],
)
def test_the_answer_names_the_user(answer: Any, user: str | None) -> None:
    assert OWN_USER.read(answer) == user


@pytest.mark.parametrize(
    ("event_type", "is_told"),
    [
        ("lead.updated", True),
        ("contact.updated", True),
        ("lead.created", False),
        ("lead.deleted", False),
        ("notification", False),
    ],
)
def test_only_an_update_may_be_ours(event_type: str, is_told: bool) -> None:
    assert HYDRATION.own_user_of(event_type) == (OWN_USER if is_told else None)
