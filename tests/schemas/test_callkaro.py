"""CallKaro's contract, one rule a row: what passes, what is refused, what an answer means."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError, fields
from support import each, examples

from schemas.callkaro import (
    CALL_FIELDS,
    CAMPAIGN_FIELDS,
    LANGUAGES,
    METADATA_ID,
    CallAccepted,
    CampaignAccepted,
    CampaignV1,
    CampaignV1Schema,
    CampaignV2,
    CampaignV2Schema,
    OutboundCall,
    OutboundCallSchema,
    Refused,
    Unreadable,
    describe,
    read_call_answer,
    read_campaign_answer,
)

LEAST = {"to_number": "+919876543210", "agent_id": "6803fa770b666a64ab1694c1e"}
FULL = {
    **LEAST,
    "batch_id": "68433b7b0dee98e59245ebab",
    "metadata": {"city": "Bengaluru", METADATA_ID: "d-1"},
    "schedule_at": "2025-12-31T09:30:00",
    "min_trigger_time": "09:00",
    "max_trigger_time": "18:00",
    "carry_over": True,
    "number_of_retries": 2,
    "gap_between_retries": [30, 60],
    "priority": 5,
    "language": "hi",
}


def call(**more: Any) -> OutboundCall:
    loaded = OutboundCallSchema().load({**LEAST, **more})
    assert isinstance(loaded, OutboundCall)
    return loaded


def outcome(body: dict[str, Any]) -> tuple[str, OutboundCall | None]:
    """Return the call, or what was said against it, in our words and in marshmallow's."""
    try:
        return "", OutboundCallSchema().load(body)
    except ValidationError as error:
        return f"{describe(error)} {error}", None


def misses(schema: Schema, body: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        schema.load(body)
    return describe(caught.value)


def test_a_full_call_comes_out_as_the_exact_body_that_went_in():
    schema = OutboundCallSchema()
    body = schema.dump(schema.load(FULL))
    assert body == FULL
    assert json.loads(json.dumps(body)) == FULL


def test_the_least_call_leaves_out_what_was_not_given():
    assert OutboundCallSchema().dump(call()) == LEAST


def test_a_false_a_zero_and_an_empty_metadata_value_are_sent():
    given = {"carry_over": False, "priority": 0, "number_of_retries": 0, "metadata": {"a": ""}}
    assert OutboundCallSchema().dump(call(**given)) == {**LEAST, **given}


def test_a_call_can_not_be_changed_once_it_passed():
    with pytest.raises(AttributeError):
        call().priority = 1  # type: ignore[misc]


@each("name", sorted(CALL_FIELDS - {"metadata"}))
@each("empty", [None, "", "  "])
def test_an_empty_field_counts_as_absent(name, empty):
    body = {**FULL, name: empty}
    if name in LEAST:
        assert misses(OutboundCallSchema(), body) == f"{name}: missing"
    elif name == "number_of_retries":
        assert "gap_between_retries" in misses(OutboundCallSchema(), body)
    else:
        assert name not in OutboundCallSchema().dump(OutboundCallSchema().load(body))


@each(
    ("field", "value", "sent"),
    [
        ("agent_id", "x", "x"),
        ("agent_id", "6" * 200, "6" * 200),
        ("metadata", {"a": None, "b": "", "c": 0}, {"a": "", "b": "", "c": 0}),
        ("metadata", {"a": [1, None, {"_b": 1.5}]}, {"a": [1, None, {"_b": 1.5}]}),
        ("metadata", {"नाम": "मीरा", "a b": True}, {"नाम": "मीरा", "a b": True}),
        ("schedule_at", "2024-02-29T23:59:59", "2024-02-29T23:59:59"),
        ("min_trigger_time", "9:05", "9:05"),
        ("max_trigger_time", "23:59", "23:59"),
        ("max_trigger_time", "0:00", "0:00"),
        ("number_of_retries", 0, 0),
        ("number_of_retries", 10, 10),
        ("number_of_retries", "2", 2),
        ("number_of_retries", " 2 ", 2),
        ("gap_between_retries", 0, 0),
        ("gap_between_retries", "30", 30),
        ("priority", -100, -100),
        ("priority", 100, 100),
        ("priority", "-7", -7),
        ("language", "en-US", "en"),
        ("language", "EN_in", "en"),
        ("language", " hi ", "hi"),
        ("language", "ml-Mlym-IN", "ml"),
    ],
)
def test_a_lawful_value_passes(field, value, sent):
    assert OutboundCallSchema().dump(call(**{field: value}))[field] == sent


@each("language", LANGUAGES)
def test_every_language_of_callkaro_passes(language):
    assert call(language=language).language == language


WHOLE = "must be a whole number"


@each(
    ("field", "value", "why"),
    [
        ("to_number", "9876543210", 'must be a phone number in E.164: "+", then 2 to 15 digits'),
        ("to_number", 919876543210, 'must be a phone number in E.164: "+", then 2 to 15 digits'),
        ("agent_id", 6803, "must be text"),
        ("agent_id", ["a"], "must be text"),
        ("agent_id", "\ud800", "must be text"),
        ("batch_id", 5, "must be text"),
        ("metadata", [], "must be an object"),
        ("metadata", "a=b", "must be an object"),
        ("metadata", {"_a": 1}, 'must not have a key that starts with "_"'),
        ("metadata", {1: "a"}, "must have text for keys"),
        ("metadata", {"a": {None: 1}}, "must have text for keys"),
        ("metadata", {"\ud800": 1}, "must have text for keys"),
        ("metadata", {"a": "\ud800"}, "must be Unicode text throughout"),
        ("metadata", {"a": float("nan")}, "must not contain NaN or infinity"),
        ("metadata", {"a": [float("-inf")]}, "must not contain NaN or infinity"),
        ("metadata", {"a": {1, 2}}, "must contain JSON values only"),
        ("metadata", {"a": b"x"}, "must contain JSON values only"),
        ("schedule_at", "2025-12-31", "must read YYYY-MM-DDTHH:MM:SS, without an offset"),
        ("schedule_at", "2025-12-31T09:30", "must read YYYY-MM-DDTHH:MM:SS, without an offset"),
        ("schedule_at", "2025-12-31 09:30:00", "must read YYYY-MM-DDTHH:MM:SS, without an offset"),
        ("schedule_at", "2025-12-31T09:30:00Z", "must read YYYY-MM-DDTHH:MM:SS, without an offset"),
        (
            "schedule_at",
            "2025-12-31T09:30:00+05:30",
            "must read YYYY-MM-DDTHH:MM:SS, without an offset",
        ),
        (
            "schedule_at",
            "2025-12-31T09:30:00\n",
            "must read YYYY-MM-DDTHH:MM:SS, without an offset",
        ),
        ("schedule_at", 1767153600000, "must read YYYY-MM-DDTHH:MM:SS, without an offset"),
        ("schedule_at", "2025-02-29T09:30:00", "must be a real date and time"),
        ("schedule_at", "2025-12-31T24:00:00", "must be a real date and time"),
        ("schedule_at", "2025-12-31T09:30:60", "must be a real date and time"),
        ("min_trigger_time", "24:00", "must be a time of day, HH:MM"),
        ("min_trigger_time", "9", "must be a time of day, HH:MM"),
        ("min_trigger_time", "09:60", "must be a time of day, HH:MM"),
        ("max_trigger_time", "9:00 PM", "must be a time of day, HH:MM"),
        ("max_trigger_time", "09:00:00", "must be a time of day, HH:MM"),
        ("max_trigger_time", "09:00\n", "must be a time of day, HH:MM"),
        ("max_trigger_time", 900, "must be a time of day, HH:MM"),
        ("carry_over", "true", "must be true or false"),
        ("carry_over", 1, "must be true or false"),
        ("carry_over", "yes", "must be true or false"),
        ("number_of_retries", 11, "must be between 0 and 10"),
        ("number_of_retries", -1, "must be between 0 and 10"),
        ("number_of_retries", "11", "must be between 0 and 10"),
        ("number_of_retries", True, WHOLE),
        ("number_of_retries", 2.0, WHOLE),
        ("number_of_retries", "2.0", WHOLE),
        ("number_of_retries", "two", WHOLE),
        ("number_of_retries", "२", WHOLE),
        ("number_of_retries", "9" * 5000, WHOLE),
        ("number_of_retries", [2], WHOLE),
        ("gap_between_retries", -1, "must be between 0 and 525600"),
        ("gap_between_retries", False, WHOLE),
        ("gap_between_retries", "30,60", WHOLE),
        ("gap_between_retries", [30, "x"], WHOLE),
        ("gap_between_retries", [30, None], WHOLE),
        ("gap_between_retries", [-30], "must be between 0 and 525600"),
        ("gap_between_retries", {"a": 1}, WHOLE),
        ("priority", 101, "must be between -100 and 100"),
        ("priority", -101, "must be between -100 and 100"),
        ("priority", True, WHOLE),
        ("language", "fr", "must be one of hi en kn mr ta te bn gu ml"),
        ("language", "Hindi", "must be one of hi en kn mr ta te bn gu ml"),
        ("language", "-en", "must be one of hi en kn mr ta te bn gu ml"),
        ("language", ["hi"], "must be one of hi en kn mr ta te bn gu ml"),
        ("language", 1, "must be one of hi en kn mr ta te bn gu ml"),
        ("campaign_id", "x", "unknown field"),
    ],
)
def test_an_unlawful_value_is_refused_with_field_and_cause(field, value, why):
    assert misses(OutboundCallSchema(), {**LEAST, field: value}) == f"{field}: {why}"


def test_metadata_nested_without_end_is_refused_and_not_a_crash():
    value: Any = "x"
    for _ in range(5000):
        value = [value]
    why = misses(OutboundCallSchema(), {**LEAST, "metadata": {"a": value}})
    assert why == "metadata: must not be nested deeper than 20 levels"


@pytest.mark.parametrize(
    ("first", "last", "lawful"),
    [
        ("09:00", "18:00", True),
        ("9:00", "10:00", True),  # as text "9:00" is the greater
        ("0:00", "23:59", True),
        ("18:00", "09:00", False),
        ("22:00", "6:00", False),
        ("09:00", "9:00", False),
    ],
)
def test_a_trigger_window_that_crosses_midnight_is_refused(first, last, lawful):
    body = {**LEAST, "min_trigger_time": first, "max_trigger_time": last}
    if lawful:
        assert OutboundCallSchema().dump(OutboundCallSchema().load(body)) == body
    else:
        assert (
            misses(OutboundCallSchema(), body)
            == "max_trigger_time: must be later than min_trigger_time"
        )


@each(
    ("retries", "gaps", "lawful"),
    [
        (2, [30, 60], True),
        ("2", ["30", "60"], True),
        (1, [0], True),
        (3, 30, True),
        (None, 30, True),
        (2, [30], True),
        (3, [30, 60], True),
        (2, [30, 60, 90], False),
        (None, [30], False),
        (None, [], False),
        (0, [], False),
        (0, [30], False),
    ],
)
def test_a_list_of_gaps_has_at_most_one_entry_a_redial(retries, gaps, lawful):
    body = {**LEAST, "number_of_retries": retries, "gap_between_retries": gaps}
    if lawful:
        assert isinstance(OutboundCallSchema().load(body), OutboundCall)
    else:
        assert (
            misses(OutboundCallSchema(), body)
            == "gap_between_retries: must have at least one entry, and at most one for each of "
            "number_of_retries"
        )


@each(
    ("retries", "gaps", "sent"),
    [
        (3, [30, 60], [30, 60, 60]),  # CallKaro's own sample
        ("3", ["30", "60"], [30, 60, 60]),
        (10, [5], [5] * 10),
        (3, [30, 0], [30, 0, 0]),
        (2, [30, 60], [30, 60]),
        (2, 30, 30),
    ],
)
def test_a_short_list_of_gaps_is_padded_with_its_last_entry(retries, gaps, sent):
    body = {**LEAST, "number_of_retries": retries, "gap_between_retries": gaps}
    schema = OutboundCallSchema()
    assert schema.dump(schema.load(body))["gap_between_retries"] == sent


@pytest.mark.parametrize(
    ("constants", "bad"),
    [
        ({}, []),
        ({"gap_between_retries": [30, 60]}, []),
        ({"number_of_retries": 1, "gap_between_retries": [30, 60]}, ["gap_between_retries"]),
        ({"number_of_retries": 3, "gap_between_retries": [30, 60]}, []),
        ({"agent_id": ""}, ["agent_id"]),
        ({"language": ""}, ["language"]),
        ({"priority": 101}, ["priority"]),
    ],
)
def test_a_routes_constants_can_be_judged_alone(constants, bad):
    assert list(OutboundCallSchema().validate(constants, partial=True)) == bad


def test_a_campaign_v1_has_a_name_and_an_agent():
    body = {"name": "Sales Campaign Q1", "agent_id": "6803fa770b666a64ab1694c1e"}
    loaded = CampaignV1Schema().load(body)
    assert loaded == CampaignV1(**body)
    assert CampaignV1Schema().dump(loaded) == body


def test_a_campaign_v2_has_a_name_and_no_agent():
    loaded = CampaignV2Schema().load({"name": "Leads"})
    assert loaded == CampaignV2(name="Leads")
    assert CampaignV2Schema().dump(loaded) == {"name": "Leads"}
    assert misses(CampaignV2Schema(), {"name": "a", "agent_id": "b"}) == "agent_id: unknown field"


@pytest.mark.parametrize("name", ["a", "a" * 200, "मासिक"])
@pytest.mark.parametrize("schema", [CampaignV1Schema(), CampaignV2Schema()])
def test_a_campaigns_name_has_1_to_200_characters(schema, name):
    assert schema.load({"name": name, "agent_id": "x"}, unknown="exclude").name == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "missing"),
        ("  ", "missing"),
        (None, "missing"),
        ("a" * 201, "must be 1 to 200 characters long"),
        (5, "must be text"),
    ],
)
def test_a_campaign_without_a_usable_name_is_refused(name, why):
    assert misses(CampaignV1Schema(), {"name": name, "agent_id": "x"}) == f"name: {why}"
    assert misses(CampaignV2Schema(), {"name": name}) == f"name: {why}"


def test_a_campaign_v1_needs_its_agent():
    assert misses(CampaignV1Schema(), {"name": "a"}) == "agent_id: missing"


def test_the_names_of_all_fields_can_be_asked_for():
    assert frozenset(FULL) == CALL_FIELDS
    assert frozenset({"name", "agent_id"}) == CAMPAIGN_FIELDS
    assert not METADATA_ID.startswith("_")


# --- misses ----------------------------------------------------------------------------------


def test_all_misses_stand_in_one_sentence():
    body = {"agent_id": "x", "priority": 500, "colour": "red"}
    assert (
        misses(OutboundCallSchema(), body)
        == "to_number: missing; priority: must be between -100 and 100; colour: unknown field"
    )


@pytest.mark.parametrize("body", [None, "text", 5, []])
def test_a_body_that_is_no_object_is_said_to_be_none(body):
    assert misses(OutboundCallSchema(), body) == "must be an object"


class Inner(Schema):
    size = fields.Integer(required=True)


class Outer(Schema):
    inner = fields.Nested(Inner)
    rows = fields.List(fields.Nested(Inner))


def test_the_way_to_a_nested_miss_is_told():
    body = {"inner": {"size": "x"}, "rows": [{"size": 1}, {}]}
    assert misses(Outer(), body) == "inner.size: must be a whole number; rows.1.size: missing"


def test_a_bare_message_is_described_too():
    assert describe(ValidationError("must have a time of day.")) == "must have a time of day"
    assert describe(ValidationError(["one", "two"])) == "one; two"


def test_a_key_that_may_be_somebodys_is_not_named():
    body = {**LEAST, "+919876543210": 1, "Meera Test": 2}
    assert misses(OutboundCallSchema(), body) == "(a key): unknown field; (a key): unknown field"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@examples(200)
@given(body=st.dictionaries(st.sampled_from(sorted(CALL_FIELDS)), JSON))
def test_whatever_a_map_yields_is_a_call_or_a_miss_and_what_passed_passes_again(body):
    schema = OutboundCallSchema()
    said, loaded = outcome({**LEAST, **body})
    if loaded is None:
        assert said
        return
    wire = schema.dump(loaded)
    json.dumps(wire, allow_nan=False, ensure_ascii=False).encode()
    assert schema.load(wire) == loaded
    assert None not in wire.values()


@examples(300)
@given(
    field=st.sampled_from(sorted(CALL_FIELDS)),
    secret=st.sampled_from(["98765 43210", "Meera Test", ["Meera Test"], {"_Meera": 1}, 98765.5]),
)
def test_no_miss_names_what_the_record_held(field, secret):
    said, _ = outcome({**LEAST, field: secret})
    assert not re.search("Meera|98765|43210", said)


# --- answers ---------------------------------------------------------------------------------


@each(
    ("body", "sid"),
    [
        ({"status": "done", "message": "Call queued successfully", "call_sid": "c-1"}, "c-1"),
        ({"status": "success", "call_id": "c-1"}, "c-1"),
        ({"status": "done", "call_sid": "c-1", "call_id": "c-2"}, "c-1"),
        ({"status": "done", "call_sid": None, "call_id": "c-2"}, "c-2"),
        ({"status": "done", "call_sid": " ", "call_id": "c-2"}, "c-2"),
        ({"status": "done", "call_sid": 17}, "17"),
        ({"status": "done", "call_sid": "c-1", "message": {"new": 1}, "queue": 3}, "c-1"),
        ({"status": "done", "call_sid": "c-1", "message": None}, "c-1"),
    ],
)
def test_a_queued_call_is_accepted_with_its_id(body, sid):
    assert read_call_answer(body) == CallAccepted(call_sid=sid)


def test_a_made_campaign_is_accepted_with_its_id():
    body = {"batch_id": "b-1", "message": "Campaign created successfully", "status": "success"}
    assert read_campaign_answer(body) == CampaignAccepted(batch_id="b-1")
    assert read_campaign_answer({**body, "status": "done"}) == CampaignAccepted(batch_id="b-1")


@each("read", [read_call_answer, read_campaign_answer])
@each(
    ("said", "message"),
    [
        ("Missing agent_id", "Missing agent_id"),
        ("  two\n lines ", "two lines"),
        ("Invalid number +919876543210", "Invalid number +91••••••3210"),
        ("", "CallKaro gave no reason."),
        (None, "CallKaro gave no reason."),
        ({"a": 1}, "CallKaro gave no reason."),
        ("no " * 1000, ("no " * 1000)[:199] + "…"),
    ],
)
def test_an_error_is_a_refusal_in_callkaros_words_cut_and_masked(read, said, message):
    assert read({"status": "error", "message": said}) == Refused(message=message)


@pytest.mark.parametrize("read", [read_call_answer, read_campaign_answer])
def test_an_error_without_a_message_is_a_refusal(read):
    assert read({"status": "error"}) == Refused(message="CallKaro gave no reason.")


@each("read", [read_call_answer, read_campaign_answer])
@each(
    "body",
    [
        None,
        "",
        "done",
        [],
        [{"status": "done", "call_sid": "c-1", "batch_id": "b-1"}],
        5,
        {},
        {"call_sid": "c-1", "batch_id": "b-1"},
        {"status": None, "call_sid": "c-1", "batch_id": "b-1"},
        {"status": 200, "call_sid": "c-1", "batch_id": "b-1"},
        {"status": ["done"], "call_sid": "c-1", "batch_id": "b-1"},
        {"status": "queued", "call_sid": "c-1", "batch_id": "b-1"},
        {"status": "done"},
        {"status": "done", "call_sid": "", "batch_id": ""},
        {"status": "done", "call_sid": True, "batch_id": True},
        {"status": "done", "call_sid": ["c"], "batch_id": ["b"]},
        {"status": "done", "call_sid": "\ud800", "batch_id": "\ud800"},
        {"status": "error", "call_sid": "c-1", "batch_id": "b-1"},
        {"status": "success", "sid": "c-1"},
    ],
)
def test_an_answer_that_says_neither_yes_nor_no_is_unreadable(read, body):
    assert isinstance(read(body), Unreadable)


def test_a_campaigns_id_is_no_calls_id():
    assert read_call_answer({"status": "success", "batch_id": "b-1"}) == Unreadable(
        why="The answer has no call_sid or call_id."
    )
    assert read_campaign_answer({"status": "done", "call_sid": "c-1"}) == Unreadable(
        why="The answer has no batch_id."
    )


@examples(300)
@given(body=JSON | st.dictionaries(st.sampled_from(["status", "call_sid", "message"]), JSON))
def test_whatever_comes_back_is_read_and_never_a_crash(body):
    assert isinstance(read_call_answer(body), CallAccepted | Refused | Unreadable)
    assert isinstance(read_campaign_answer(body), CampaignAccepted | Refused | Unreadable)


@each(
    ("given", "sent"),
    [
        ("a" * 5000, "a" * 5000),
        ("a" * 5001, "a" * 4999 + "…"),
        (["न" * 6000, 1], ["न" * 4999 + "…", 1]),
        ({"note": {"text": "b" * 50_000}}, {"note": {"text": "b" * 4999 + "…"}}),
    ],
)
def test_a_long_text_in_the_metadata_is_cut_so_that_it_stops_no_call(given, sent):
    call = OutboundCallSchema().load({**LEAST, "metadata": {"a": given}})
    assert call.metadata["a"] == sent


@each("given", [["a" * 5000] * 14, {f"key {n}": n for n in range(9000)}, [0] * 40_000])
def test_metadata_without_end_is_refused(given):
    why = misses(OutboundCallSchema(), {**LEAST, "metadata": {"a": given}})
    assert why == "metadata: must have at most 64 kB as JSON"


@each("found", ["a" * 201, "1" * 4_000_000])
def test_an_id_without_end_is_not_an_id(found):
    for body in ({"call_sid": found}, {"call_id": found}):
        assert isinstance(read_call_answer({"status": "done", **body}), Unreadable)
    assert isinstance(read_campaign_answer({"status": "done", "batch_id": found}), Unreadable)
    assert read_call_answer({"status": "done", "call_sid": "a" * 200}) == CallAccepted(
        call_sid="a" * 200
    )
