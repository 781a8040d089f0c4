"""What Pipedrive is told of a call, and how the call is found: odd events and odd answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples
from support.told import told as some_told

from schemas.crm.call_notes import is_keyed, keyed_title
from schemas.crm.pipedrive import KIND, is_own_change
from schemas.crm.pipedrive_writing import WRITE_BACK
from schemas.crm_api import Told, UnwritableError, Written

KEY = "bridge-0123456789abcdef0123"
LEAD = "00000000-0000-4000-8000-00000000a001"
FIELD = "0123456789abcdef0123456789abcdef01234567"
assert KIND.hydration
assert KIND.hydration.own_user
OWN_USER = KIND.hydration.own_user


def told(**more: Any) -> Told:
    fields: dict[str, Any] = {"key": KEY, "subject": "501", "subject_type": "person", **more}
    return some_told(**{"at": "2026-11-20T23:59:30.000+05:30", **fields})


def created(**more: Any) -> Any:
    return WRITE_BACK.create_calls([told(**more)]).json


def v2(entity: str, entity_id: str, record: Any = None) -> Any:
    return {"meta": {"entity": entity, "entity_id": entity_id}, "data": record}


# --- what it is told ------------------------------------------------------------------------------


@each(
    ("data", "links"),
    [
        (v2("deal", "801"), {"deal_id": 801}),
        (v2("lead", LEAD), {"lead_id": LEAD}),
        (v2("person", "501"), {}),
        (v2("note", "7", {"deal_id": 801, "lead_id": None}), {"deal_id": 801}),
        (v2("activity", "7", {"deal_id": None, "lead_id": LEAD}), {"lead_id": LEAD}),
        # An activity belongs to one of both.
        (v2("note", "7", {"deal_id": 801, "lead_id": LEAD}), {"deal_id": 801}),
        ({"meta": {"object": "deal", "id": 801}, "current": {"id": 801}}, {"deal_id": 801}),
        (v2("deal", "8/1"), {}),
        (None, {}),
        ({"meta": 1, "data": "x"}, {}),
    ],
)
def test_the_activity_is_on_the_person_and_the_deal_or_lead(data: Any, links: Any) -> None:
    body = created(event=data)
    assert body["participants"] == [{"person_id": 501, "primary": True}]
    assert {name: body[name] for name in ("deal_id", "lead_id") if name in body} == links


def test_a_deal_without_a_person_has_the_activity_itself() -> None:
    body = created(subject="801", subject_type="deal", event=v2("deal", "801", {}))
    assert (body["deal_id"], "participants" in body) == (801, False)


@each(
    ("talked_s", "duration"),
    [(None, "00:00"), (0, "00:00"), (1, "00:01"), (60, "00:01"), (3661, "01:02"), (1e6, "23:59")],
)
def test_a_minute_that_began_counts(talked_s: Any, duration: str) -> None:
    assert created(outcome={"result": "connected", "talked_s": talked_s})["duration"] == duration


def test_the_start_is_utc() -> None:
    body = created()
    assert (body["due_date"], body["due_time"]) == ("2026-11-20", "18:28")


def test_custom_fields_have_a_place_of_their_own() -> None:
    request = WRITE_BACK.set_fields([told(fields={FIELD: "x", "name": "A"})])
    assert (request.method, request.path) == ("PATCH", "/api/v2/persons/501")
    assert request.json == {"name": "A", "custom_fields": {FIELD: "x"}}
    assert WRITE_BACK.set_fields([told(fields={"name": "A"})]).json == {"name": "A"}


@pytest.mark.parametrize(
    "odd", ["../deals/7", "1,2", "{API_TOKEN}", "\u0661", "7?x=1", "", "9" * 19]
)
def test_no_id_but_a_number_is_sent(odd: str) -> None:
    assert list(WRITE_BACK.find_call(told(subject=odd))) == []
    for build, one in (
        (WRITE_BACK.set_fields, told(subject=odd)),
        (WRITE_BACK.create_calls, told(subject=odd)),
        (WRITE_BACK.update_calls, told(call_id=odd)),
    ):
        with pytest.raises(UnwritableError, match="no record with such an id"):
            build([one])


def test_no_moment_before_an_end_is_a_task_in_somebodys_list() -> None:
    assert not WRITE_BACK.keeps_call(told(moment="accepted", outcome=None))
    assert WRITE_BACK.keeps_call(told())


# --- what it answers ------------------------------------------------------------------------------


def find(answer: Any) -> str | None:
    finding = WRITE_BACK.find_call(told())
    next(finding)
    with pytest.raises(StopIteration) as end:
        finding.send(answer)
    found: str | None = end.value.value
    return found


@each(
    ("answer", "call_id"),
    [
        ({"data": [{"id": 9, "subject": "Ask"}, {"id": 8, "subject": f"Call ({KEY})"}]}, "8"),
        ({"data": [{"id": 9, "subject": f"About ({KEY}) again"}]}, None),
        ({"data": [{"id": None, "subject": f"Call ({KEY})"}]}, None),
        ({"data": [None, 1, {"subject": None}]}, None),
        ({}, None),
    ],
)
def test_the_call_is_found_by_the_key_at_the_end_of_its_subject(
    answer: Any, call_id: str | None
) -> None:
    assert find(answer) == call_id


@each("answer", [{"success": False}, {"data": {"id": 9, "subject": f"Call ({KEY})"}}])
def test_an_answer_without_a_list_does_not_say_that_there_is_no_call(answer: Any) -> None:
    finding = WRITE_BACK.find_call(told())
    next(finding)
    with pytest.raises(ValueError, match="no list"):
        finding.send(answer)


@each(
    ("answer", "read"),
    [
        ({"success": True, "data": {"id": 901}}, {"w1": Written("901")}),
        ({"success": True, "data": None}, {"w1": Written()}),
        ({"success": False, "error": "No.", "data": {"id": 901}}, {}),
        ({"success": 1}, {}),
        ([], {}),
        (None, {}),
    ],
)
def test_only_a_success_was_written(answer: Any, read: Any) -> None:
    assert WRITE_BACK.read(answer, [told()]) == read


# --- our own changes ------------------------------------------------------------------------------


@each(
    ("event_type", "data", "is_ours"),
    [
        ("activity.created", {"data": {"subject": keyed_title(told())}}, True),
        ("activity.updated", {"current": {"subject": keyed_title(told())}}, True),
        ("activity.deleted", {"data": None, "previous": {"subject": keyed_title(told())}}, True),
        ("activity.created", {"data": {"subject": "Call (bridge-1)"}}, False),
        ("note.created", {"data": {"subject": keyed_title(told())}}, False),
        ("activity.created", {"data": {"subject": None}}, False),
        ("activity.created", {"data": [1]}, False),
        ("activity.created", [], False),
    ],
)
def test_an_activity_of_ours_is_known_by_its_subject(
    event_type: str, data: Any, is_ours: bool
) -> None:
    assert is_own_change(event_type, data) is is_ours
    assert is_keyed(keyed_title(told()))


@each(
    ("meta", "is_ours"),
    [
        ({"user_id": "7", "change_source": "api"}, True),
        ({"user_id": 7}, True),  # an older webhook of version 1 does not say more
        ({"user_id": "7", "change_source": "app"}, False),
        ({"user_id": "8", "change_source": "api"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_change_is_ours_if_our_user_made_it_by_the_api(meta: Any, is_ours: bool) -> None:
    assert OWN_USER.is_change({"meta": meta}, "7", frozenset()) is is_ours
    assert OWN_USER.is_change(meta, "7", frozenset()) is False


@each(
    ("answer", "user"),
    [
        ({"success": True, "data": {"id": 7}}, "7"),
        ({"success": False, "data": {"id": 7}}, None),
        ({"success": True, "data": None}, None),
        ({"success": True, "data": [7]}, None),
        ("x", None),
    ],
)
def test_the_answer_names_our_user(answer: Any, user: str | None) -> None:
    assert OWN_USER.read(answer) == user


WORDS = ("meta", "data", "current", "entity", "entity_id", "id", "deal_id", "lead_id", "success")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(WORDS), inner),
    max_leaves=8,
)


@examples(100)
@given(data=JSON)
def test_any_event_and_any_answer_can_be_read(data: Any) -> None:
    assert created(event=data)["type"] == "call"
    assert WRITE_BACK.read(data, [told()]).keys() <= {"w1"}
    assert is_own_change("activity.created", data) is False
    assert OWN_USER.is_change(data, "7", frozenset()) in (True, False)
