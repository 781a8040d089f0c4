"""What is GoHighLevel's own: its words, which times are an event's, and do-not-disturb."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each
from support.samples import NOW, PAYLOADS, content_of, incoming, items, source_of

from schemas.crm.gohighlevel import KIND, OPT_OUT, TYPES
from schemas.errors import BadSignature
from schemas.event import is_guarded_type
from schemas.signatures import verify

OFF: Any = {"status": "inactive", "message": "", "code": "101"}


def event(word: Any = "ContactCreate", **more: Any) -> dict[str, Any]:
    return {"type": word, "locationId": "loc-1", "id": "c-1", "phone": "+911234500001", **more}


@each(
    ("word", "expected"),
    [
        ("ContactCreate", "contact.created"),
        ("ContactUpdate", "contact.updated"),
        ("ContactDelete", "contact.deleted"),
        ("ContactDndUpdate", "contact.dnd_updated"),
        ("ContactTagUpdate", "contact.tag_updated"),
        ("OpportunityCreate", "opportunity.created"),
        ("OpportunityUpdate", "opportunity.updated"),
        ("OpportunityDelete", "opportunity.deleted"),
        ("OpportunityStageUpdate", "opportunity.stage_updated"),
        ("OpportunityStatusUpdate", "opportunity.status_updated"),
        ("OpportunityAssignedToUpdate", "opportunity.assigned_to_updated"),
        ("OpportunityMonetaryValueUpdate", "opportunity.monetary_value_updated"),
        ("TaskComplete", "task.completed"),
        ("InvoicePaid", "InvoicePaid"),
        ("contactcreate", "contactcreate"),
        ("contact.created", "contact.created"),
    ],
)
def test_words(word: str, expected: str) -> None:
    [item] = items(KIND, event(word))
    assert (item.type, item.problem) == (expected, None)


def test_every_deletion_is_one_that_no_glob_calls_for() -> None:
    deletions = [ours for word, ours in TYPES.items() if word.endswith("Delete")]
    assert len(deletions) > 5
    assert all(map(is_guarded_type, deletions))


def test_the_data_is_the_body_as_it_came_and_nothing_is_fetched() -> None:
    body = event("OpportunityCreate", contactId="c-2", somethingNew=[1])
    [item] = items(KIND, body)
    assert (item.data, item.hydrate) == (body, None)


def test_an_opportunity_is_known_by_its_own_id() -> None:
    found = [
        items(KIND, event("OpportunityUpdate", id=id_, contactId="c-1"))[0] for id_ in ("o-1", 7)
    ]
    assert [item.subject for item in found] == ["o-1", "7"]


# --- ids --------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["webhook-id", "Idempotency-Key"])
def test_the_webhook_id_wins_over_a_header_and_a_header_over_nothing(header: str) -> None:
    [item] = items(KIND, event(webhookId="w-1"), headers={header: "h-1"})
    assert item.source_event_id == "w-1"
    [item] = items(KIND, event(), headers={header: "h-1"})
    assert item.source_event_id == "h-1"
    [item] = items(KIND, event())
    assert item.source_event_id is None


@pytest.mark.parametrize("odd", [None, "", True, ["w-1"], {"id": "w-1"}])
def test_an_odd_webhook_id_is_none_and_costs_no_lead(odd: Any) -> None:
    [item] = items(KIND, event(webhookId=odd))
    assert (item.source_event_id, item.problem) == (None, None)


def test_a_source_may_say_where_its_id_and_time_stand_but_the_word_is_the_type() -> None:
    body = event(
        webhookId="w-1", timestamp="2026-03-01T00:00:00Z", own={"key": 5, "at": 1767250800}
    )
    source = source_of(KIND, event="own", id="own.key", time="own.at")
    [item] = KIND.parse(body, incoming(), source)
    assert (item.type, item.source_event_id, item.time) == ("contact.created", "5", NOW)
    [item] = KIND.parse(body, incoming(), source_of(KIND, time="own.nothing"))
    assert item.time is None


def test_a_path_that_can_not_be_worked_out_is_a_problem_that_quotes_nothing() -> None:
    source = source_of(KIND, id="join('-', id)")
    [item] = KIND.parse(event(id="+911234500001"), incoming(), source)
    assert item.type == "contact.created"
    assert item.problem
    assert "+911234500001" not in item.problem


# --- times ------------------------------------------------------------------------------------

BORN, MADE = "2025-12-01T07:00:00.000Z", "2026-01-01T07:00:00.000Z"


@each(
    ("word", "times", "expected"),
    [
        ("ContactCreate", {"timestamp": MADE, "dateAdded": BORN}, "2026-01-01"),
        ("ContactCreate", {"dateAdded": BORN}, "2025-12-01"),
        ("ContactCreate", {"timestamp": "soon", "dateAdded": BORN}, "2025-12-01"),
        ("ContactCreate", {"timestamp": 1767250800000}, "2026-01-01"),
        ("ContactCreate", {"timestamp": {}, "dateAdded": []}, None),
        ("ContactCreate", {}, None),
        ("OpportunityCreate", {"dateAdded": BORN}, "2025-12-01"),
        ("ContactUpdate", {"timestamp": MADE, "dateAdded": BORN}, "2026-01-01"),
        ("ContactUpdate", {"dateAdded": BORN, "dateUpdated": MADE}, None),
        ("ContactTagUpdate", {"dateAdded": BORN}, None),
        ("OpportunityStageUpdate", {"dateAdded": BORN}, None),
        ("SomethingNew", {"dateAdded": BORN}, None),
    ],
)
def test_the_time_is_the_events_own_and_never_a_records_birthday(
    word: str, times: dict[str, Any], expected: str | None
) -> None:
    [item] = items(KIND, event(word, **times))
    assert item.problem is None
    assert (item.time.date().isoformat() if item.time else None) == expected


# --- what can't be read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "shown", "cause"),
    [
        ({"type": None}, "unknown", "type is null"),
        ({"type": ""}, "unknown", "type is empty"),
        ({"type": ["+911234500001"]}, "unknown", "type must be text"),
        ({"id": None}, "contact.created", "id is null"),
        ({"id": ""}, "contact.created", "id must be an id"),
        ({"id": {"phone": "+911234500001"}}, "contact.created", "id must be an id"),
        ({"type": 7, "id": True}, "unknown", "id must be an id, type must be text"),
    ],
)
def test_a_broken_event_is_one_item_with_a_problem_that_quotes_nothing(
    broken: dict[str, Any], shown: str, cause: str
) -> None:
    [item] = items(KIND, {**event(), **broken})
    assert item.problem == f"The event can't be read: {cause}."
    assert (item.type, item.subject, item.source_event_id) == (shown, None, None)


@pytest.mark.parametrize("content", [None, [], [event()], "text", 7, True])
def test_what_is_no_object_is_one_item_with_a_problem(content: Any) -> None:
    [item] = items(KIND, content)
    assert (item.type, item.data, item.problem) == (
        "unknown",
        content,
        "The body is not a JSON object.",
    )


# --- do-not-disturb ---------------------------------------------------------------------------


@each(
    ("body", "expected"),
    [
        ({}, False),
        ({"dnd": False}, False),
        ({"dnd": None}, False),
        ({"dnd": ""}, False),
        ({"dnd": "false"}, False),
        ({"dnd": True}, True),
        ({"dnd": "true"}, True),
        ({"dnd": "yes"}, True),
        ({"dnd": 1}, True),
        ({"dnd": []}, True),
        ({"dnd": {"status": "inactive"}}, True),
        # One flag for every channel: it counts whatever the entry for calls says.
        ({"dnd": True, "dndSettings": {"Call": OFF}}, True),
        ({"dndSettings": {"Call": OFF}}, False),
        ({"dndSettings": {"Call": {"status": "active"}}}, True),
        ({"dnd": False, "dndSettings": {"Call": {"status": "active"}}}, True),
        ({"dndSettings": {"Call": {"status": "permanent"}}}, True),
        ({"dndSettings": {"Call": {"status": "a word of next year"}}}, True),
        ({"dndSettings": {"Call": {"status": ["active"]}}}, True),
        ({"dndSettings": {"Call": {"status": None}}}, False),
        ({"dndSettings": {"Call": {}}}, False),
        # Other channels say nothing of calls, nor does what comes in.
        ({"dndSettings": {"SMS": {"status": "active"}, "WhatsApp": {"status": "active"}}}, False),
        ({"inboundDndSettings": {"all": {"status": "active"}}}, False),
        # Of no shape that is documented, but no error either.
        ({"dndSettings": None}, False),
        ({"dndSettings": []}, False),
        ({"dndSettings": "active"}, False),
        ({"dndSettings": {"Call": "active"}}, False),
        ({"dndSettings": {"Call": [{"status": "active"}]}}, False),
    ],
)
def test_who_is_not_to_be_called(body: dict[str, Any], expected: bool) -> None:
    assert OPT_OUT.search(event(**body)) is expected


@each("content", [None, True, 0, 1.5, "", "dnd", [], ["dnd"], [{"dnd": True}]])
def test_what_is_no_object_is_nobodys_do_not_disturb(content: Any) -> None:
    assert OPT_OUT.search(content) is False


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "id", "dnd", "dndSettings", "Call", "status", "webhookId"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(ANY_JSON)
def test_no_body_at_all_raises(content: Any) -> None:
    assert isinstance(OPT_OUT.search(content), bool)
    assert len(items(KIND, content)) == 1


def test_the_samples_that_must_not_ring() -> None:
    samples = PAYLOADS / "gohighlevel"
    opted_out = {
        path.name.partition(".")[0]
        for path in samples.glob("*.body.json")
        if OPT_OUT.search(content_of(path))
    }
    assert opted_out == {"contact_create_with_dnd", "contact_dnd_update"}


def test_the_fields_it_reads_are_known() -> None:
    assert OPT_OUT.paths >= {("dnd",), ("dndSettings", "Call", "status")}


# --- how a request proves itself, and what it gets when there is no room ------------------------


def test_a_token_in_the_url_is_enough_and_one_in_the_body_is_not() -> None:
    verify(KIND.auth, ["made-up"], incoming(query={"token": "made-up"}), now=NOW)
    for request in (incoming(), incoming(query={"token": "other"})):
        with pytest.raises(BadSignature):
            verify(KIND.auth, ["made-up"], request, now=NOW, content=event(token="made-up"))


def test_a_signature_alone_proves_nothing_yet() -> None:
    signed = incoming(headers={"X-GHL-Signature": "c2lnbmVk"})
    with pytest.raises(BadSignature):
        verify(KIND.auth, ["made-up"], signed, now=NOW)


def test_it_is_told_to_come_again_by_the_one_status_it_comes_again_for() -> None:
    assert KIND.full_status == 429
