"""call_ended, one rule a row: what is read, what a broken field costs, what bounds there are."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples

from schemas.callkaro import METADATA_ID
from schemas.delivery import Delivery, Status
from schemas.expression import Expression
from schemas.headline import headline
from schemas.outcome import (
    INBOUND,
    LARGEST_POST_CALL,
    LONGEST_TEXT,
    LONGEST_TRANSCRIPTION,
    RESULTS,
    Outcome,
    Result,
    as_record,
    asks_to_stop,
    number_of,
    read_outcome,
    read_record,
    stored_record,
)
from schemas.responses import DeliveryResponse, OutcomeResponse
from simulator.outcomes import call_ended
from simulator.state import Call

INDIA = "Asia/Kolkata"
FULL: dict[str, Any] = {
    "callSid": "c-1",
    "name": "outbound-api",
    "agent": "6803fa770b666a64ab1694c1e",
    "versionId": "v1",
    "from": "918000000000",
    "to": "919876543210",
    "recordingUrl": "https://recordings.example/c-1.mp3",
    "call_duration": 42,
    "time": "2025-12-19 16:01:07",
    "transcription": "Agent: Hello!\nUser: Tell me more.",
    "batchId": "b-1",
    "hangup_reason": "CLIENT_INITIATED",
    "call_metadata": {METADATA_ID: "d-1", "city": "Pune"},
    "try_count": 1,
    "post_call": {"interested": "yes"},
    "post_call_detail": {"interested": {"value": "yes", "comment": "Asked."}},
    "functions_called": [{"name": "book", "success": True, "timestamp": "…"}],
    "disposition_reason": "asked for a visit",
    "conversion_status": True,
    "next_call_scheduled": False,
    "call_link": "https://dashboard.example/calls/c-1",
}
READ = Outcome(
    call_sid="c-1",
    delivery_id="d-1",
    try_count=1,
    result=Result.CONNECTED,
    hangup_reason="CLIENT_INITIATED",
    is_final=True,
    duration_s=42,
    ended_at=datetime(2025, 12, 19, 10, 31, 7, tzinfo=UTC),
    conversion_status=True,
    disposition_reason="asked for a visit",
    post_call={"interested": "yes"},
    recording_url="https://recordings.example/c-1.mp3",
    call_link="https://dashboard.example/calls/c-1",
    transcription="Agent: Hello!\nUser: Tell me more.",
    batch_id="b-1",
    post_call_detail={"interested": {"value": "yes", "comment": "Asked."}},
    version_id="v1",
)
LEAST = Outcome(call_sid="c-1", delivery_id=None)


def read(**more: Any) -> Outcome:
    """Read FULL with these fields changed."""
    outcome = read_outcome({"event": "call_ended", "data": {**FULL, **more}}, INDIA)
    assert outcome is not None
    return outcome


def read_data(data: Any) -> Outcome | None:
    return read_outcome({"event": "call_ended", "data": data}, INDIA)


# --- what is read ----------------------------------------------------------------------------


def test_a_full_outcome_is_read():
    assert read() == READ


def test_the_stand_ins_outcome_is_read():
    call = Call(
        call_sid="c-1",
        at=datetime.now(UTC),
        to_number="+919876543210",
        agent_id="an-agent",
        batch_id=None,
        schedule_at=None,
        delivery_id="d-1",
        raw=orjson.dumps({"metadata": {METADATA_ID: "d-1"}}),
    )
    outcome = read_outcome(call_ended(call, {"hangup_reason": "USER_REJECTED"}), INDIA)
    assert outcome is not None
    assert (outcome.delivery_id, outcome.result) == ("d-1", Result.NOT_REACHED)
    assert outcome.recording_url is None
    assert outcome.ended_at is not None
    assert abs((datetime.now(UTC) - outcome.ended_at).total_seconds()) < 60


@pytest.mark.parametrize("data", [{"callSid": "c-1"}, {"callSid": "c-1", "sentiment": {"new": 1}}])
def test_all_but_an_id_may_be_missing_and_more_may_come(data):
    assert read_data(data) == LEAST


@each("name", sorted(FULL))
@each("junk", [None, [], [{}], {"a": 1}, True, 1e400, -7.5, "\ud800", "", "x"])
def test_a_field_that_can_not_be_read_costs_only_itself(name, junk):
    whole, broken = as_record(READ), as_record(read(**{name: junk}))
    kept_as = {
        "callSid": ["call_sid"],
        "recordingUrl": ["recording_url"],
        "call_duration": ["duration_s"],
        "time": ["ended_at"],
        "batchId": ["batch_id"],
        "versionId": ["version_id"],
        "hangup_reason": ["hangup_reason", "result"],
        "call_metadata": ["delivery_id"],
        "next_call_scheduled": ["is_final"],
    }
    aside = kept_as.get(name, [name])
    for field in set(whole) - set(aside):
        assert broken[field] == whole[field]
    orjson.dumps(broken)


@each(
    "content",
    [
        None,
        "call_ended",
        [],
        {},
        {"event": "call_ended"},
        {"event": "call_ended", "data": None},
        {"event": "call_ended", "data": [FULL]},
        {"event": "call_ended", "data": {}},
        {"event": "call_started", "data": FULL},
        {"event": ["call_ended"], "data": FULL},
        {"data": FULL},
        FULL,
    ],
)
def test_what_is_no_outcome_is_none(content):
    assert read_outcome(content, INDIA) is None


@each(
    ("given", "read_as"),
    [
        ("c-1", "c-1"),
        (" c-1\n", "c-1"),
        (17, "17"),
        ("x" * 200, "x" * 200),
        ("x" * 201, None),
        ("", None),
        (" ", None),
        ("a\nb", None),
        ("\ud800", None),
        (True, None),
        (1.5, None),
        (10**40, None),
        (None, None),
        (["c-1"], None),
    ],
)
def test_a_callsid_is_text_or_a_number_and_never_cut(given, read_as):
    found = read_data({"callSid": given})
    assert (found.call_sid if found else None) == read_as
    assert read(callSid=given).call_sid == read_as
    assert read(batchId=given).batch_id == read_as


@each(
    ("metadata", "ours"),
    [
        ({METADATA_ID: "d-1"}, "d-1"),
        ({METADATA_ID: "_" * 64}, "_" * 64),
        ({METADATA_ID: "_" * 65}, None),
        ({METADATA_ID: "d-1\n"}, None),
        ({METADATA_ID: "d:1"}, None),
        ({METADATA_ID: "é"}, None),
        ({METADATA_ID: ""}, None),
        ({METADATA_ID: 1}, None),
        ({METADATA_ID: ["d-1"]}, None),
        ({}, None),
        ([METADATA_ID], None),
        (f'{{"{METADATA_ID}": "d-1"}}', None),
    ],
)
def test_our_id_is_taken_only_if_it_looks_like_one(metadata, ours):
    found = read_data({"call_metadata": metadata})
    assert (found.delivery_id if found else None) == ours
    assert read(call_metadata=metadata).delivery_id == ours


CALLKARO_WORDS = {
    "connected": ["CLIENT_INITIATED", "PARTICIPANT_REMOVED", "SESSION_TIMEOUT"],
    "voicemail": ["VOICEMAIL_DETECTED"],
    "not_reached": ["USER_REJECTED", "USER_UNAVAILABLE", "USER_UNRESPONSIVE"],
    "wrong_number": ["INVALID_PHONE_NUMBER"],
    "not_dialled": ["OUTSIDE_TRIGGER_WINDOW", "DND_NUMBER", "VERIFICATION_REQUIRED"],
    "cancelled": ["DELETED_SCH_CALL_ALL", "DELETED_SCH_CALL_ONE"],
    "failed": ["PRE_CALL_FN_FAILED", "UNKNOWN"],
}


@each(("result", "reason"), [(ours, one) for ours, all_ in CALLKARO_WORDS.items() for one in all_])
def test_every_documented_hangup_reason_has_its_result(result, reason):
    outcome = read(hangup_reason=reason)
    assert (outcome.result, outcome.hangup_reason) == (result, reason)
    assert outcome.proves_cancellation == (result == "cancelled")


def test_no_hangup_reason_but_the_documented_ones_has_a_result():
    assert sorted(RESULTS) == sorted(chain(*CALLKARO_WORDS.values()))
    assert set(CALLKARO_WORDS) | {"unrecognised"} == set(Result)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("ROBOT_UPRISING", "ROBOT_UPRISING"),
        ("client_initiated", "client_initiated"),
        (None, None),
        ("", None),
        (7, None),
        (["UNKNOWN"], None),
    ],
)
def test_a_hangup_reason_that_is_not_documented_is_unrecognised_and_kept(reason, kept):
    outcome = read(hangup_reason=reason)
    assert (outcome.result, outcome.hangup_reason) == (Result.UNRECOGNISED, kept)
    assert not outcome.proves_cancellation


@each(
    ("given", "tries"),
    [
        (-1, -1),
        (0, 0),
        (3, 3),
        ("2", 2),
        (" -1 ", -1),
        (2.0, 2),
        (-2, 0),
        (10**6 + 1, 0),
        (10**400, 0),
        ("two", 0),
        ("9" * 5000, 0),
        (True, 0),
        (None, 0),
        ([1], 0),
        (math.nan, 0),
        (math.inf, 0),
    ],
)
def test_a_try_count_that_can_not_be_read_is_the_first(given, tries):
    assert read(try_count=given).try_count == tries


@each(
    ("given", "duration_s"),
    [
        (0, 0),
        (42.9, 42),
        ("42", 42),
        ("42.9", 42),
        (-1, None),
        ("0:42", None),
        (10**9 + 1, None),
        (1e300, None),
        (math.nan, None),
        (False, None),
    ],
)
def test_a_duration_is_whole_seconds(given, duration_s):
    assert read(call_duration=given).duration_s == duration_s


@each(
    ("given", "zone", "ended_at"),
    [
        ("2025-12-19 16:01:07", "Asia/Kolkata", "2025-12-19T10:31:07+00:00"),
        ("2025-12-19 16:01:07", "UTC", "2025-12-19T16:01:07+00:00"),
        (" 2025-12-19T16:01:07 ", "Asia/Kolkata", "2025-12-19T10:31:07+00:00"),
        ("2025-12-19T16:01:07Z", "Asia/Kolkata", "2025-12-19T16:01:07+00:00"),
        ("2025-12-19T16:01:07.5+0200", "Asia/Kolkata", "2025-12-19T14:01:07.500000+00:00"),
        ("2025-03-09 02:30:00", "America/New_York", "2025-03-09T07:30:00+00:00"),  # skipped there
        ("2025-12-19", "UTC", None),
        ("2025-12-19 16:01", "UTC", None),
        ("2025-02-30 16:01:07", "UTC", None),
        ("0001-01-01 00:00:00", "Asia/Kolkata", None),
        ("9999-12-31 23:59:59", "America/New_York", None),
        ("2025-12-19 16:01:07+99:99", "UTC", None),
        ("२०२५-12-19 16:01:07", "UTC", None),
        ("2025-12-19 16:01:07", "Mars/Olympus", None),
        ("2025-12-19 16:01:07", "America", None),
        ("2025-12-19 16:01:07", "", None),
        (1766140267, "UTC", None),
    ],
)
def test_a_time_without_a_zone_is_in_callkaros_and_comes_out_in_utc(given, zone, ended_at):
    outcome = read_outcome({"event": "call_ended", "data": {**FULL, "time": given}}, zone)
    assert outcome is not None
    assert (outcome.ended_at.isoformat() if outcome.ended_at else None) == ended_at
    assert outcome.ended_at is None or outcome.ended_at.tzinfo is UTC
    assert replace(outcome, ended_at=READ.ended_at) == READ


@pytest.mark.parametrize(
    ("scheduled", "is_final"), [(True, False), (False, True), (None, True), ("true", True)]
)
def test_only_a_redial_that_is_surely_coming_makes_it_not_final(scheduled, is_final):
    assert read(next_call_scheduled=scheduled).is_final is is_final


@pytest.mark.parametrize(
    ("given", "converted"),
    [(True, True), (False, False), (None, None), ("true", None), (1, None)],
)
def test_a_conversion_is_known_or_not(given, converted):
    assert read(conversion_status=given).conversion_status is converted


@each(
    ("url", "kept"),
    [
        ("https://a.example/x?y=1", True),
        ("HTTP://a.example/", True),
        ("javascript:alert(1)", False),
        ("//a.example/x", False),
        ("https://", False),
        ("https://a.example/a b", False),
        ("https://a.example/\n", True),  # trimmed
        ("https://a.example/\u202e", False),
        ("https://a.example/" + "x" * 2000, False),
    ],
)
def test_a_link_is_a_web_address_or_nothing(url, kept):
    outcome = read(recordingUrl=url, call_link=url)
    assert outcome.recording_url == outcome.call_link == (url.strip() if kept else None)


# --- what is kept is bounded -----------------------------------------------------------------


def test_long_texts_are_cut():
    outcome = read(transcription="ab" * 10**6, disposition_reason="x" * 10**5)
    assert outcome.transcription == "ab" * (LONGEST_TRANSCRIPTION // 2)
    assert outcome.disposition_reason == "x" * LONGEST_TEXT


def test_a_variable_that_is_too_large_does_not_cost_the_others():
    post_call = {"first": 1, "novel": "x" * LARGEST_POST_CALL, "last": [True, None]}
    assert read(post_call=post_call).post_call == {"first": 1, "last": [True, None]}


def test_as_many_variables_are_kept_as_fit():
    post_call = {f"variable {n}": n for n in range(2000)}
    kept = read(post_call=post_call).post_call
    assert list(kept) == list(post_call)[: len(kept)]
    assert LARGEST_POST_CALL * 0.8 < len(orjson.dumps(kept)) <= LARGEST_POST_CALL


def test_variables_hold_nothing_that_can_not_be_written_and_read_again():
    given = {"a\ud800": "b\udfff", "nan": math.nan, "inf": [-math.inf], "big": 2**64, 7: "x"}
    assert read(post_call=given).post_call == {"a?": "b?", "nan": None, "inf": [None], "big": None}


def test_variables_nested_without_end_are_no_crash():
    nested: Any = "x"
    for _ in range(50_000):
        nested = [nested]
    kept = read(post_call={"deep": nested, "flat": 1}).post_call
    assert kept["flat"] == 1
    assert str(kept["deep"]).strip("[]") == "None"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.text(st.characters(categories=["Cs", "Nd", "Zs"]), max_size=4)
    | st.sampled_from([*RESULTS, FULL["time"], "x" * 30_000, 10**50, "https://a.example"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
DATA = st.dictionaries(st.sampled_from(sorted(FULL)), JSON) | JSON
MOST_BYTES = 6 * LONGEST_TRANSCRIPTION + LARGEST_POST_CALL + 6 * 3 * LONGEST_TEXT + 6000


@examples(150)
@given(content=JSON | st.fixed_dictionaries({"event": st.just("call_ended"), "data": DATA}))
def test_whatever_comes_is_read_or_none(content):
    check(read_outcome(content, INDIA))


@examples(200)
@given(data=st.dictionaries(st.sampled_from(sorted(set(FULL) - {"callSid"})), JSON))
def test_whatever_stands_beside_an_id_an_outcome_is_read(data):
    outcome = read_data({**data, "callSid": "c-1"})
    assert outcome is not None
    check(outcome)
    check_shown(outcome)


def check(outcome: Outcome | None) -> None:
    """Check that an outcome is bounded and survives being stored."""
    if outcome is None:
        return
    assert outcome.call_sid or outcome.delivery_id
    stored = orjson.dumps(as_record(outcome))
    assert len(stored) <= MOST_BYTES
    assert read_record(orjson.loads(stored)) == outcome


def check_shown(outcome: Outcome) -> None:
    """Check that an outcome can be answered with."""
    shown = OutcomeResponse().dump(outcome)
    assert orjson.loads(orjson.dumps(shown)) == shown


# --- what it means for the number ------------------------------------------------------------


@each(
    ("suppress_when", "more", "stops"),
    [
        (None, {}, False),
        (None, {"post_call": {"do_not_call": "yes"}}, False),
        ("post_call.do_not_call == 'yes'", {"post_call": {"do_not_call": "yes"}}, True),
        ("post_call.do_not_call == 'yes'", {"post_call": {"do_not_call": "no"}}, False),
        ("post_call.do_not_call == 'yes'", {"post_call": {}}, False),
        ("post_call.do_not_call == 'yes'", {"post_call": None}, False),
        ("post_call.do_not_call", {"post_call": {"do_not_call": True}}, True),
        ("disposition_reason == 'asked for a visit'", {}, True),
        ("result == 'not_reached'", {"hangup_reason": "USER_REJECTED"}, True),
        ("result == 'not_reached'", {}, False),
        ("hangup_reason == 'USER_REJECTED'", {"hangup_reason": "USER_REJECTED"}, True),
        ("conversion_status == `false`", {"conversion_status": False}, True),
        ("try_count > `0`", {}, True),
        # Only true stops: an agent that always says something would have everybody suppressed.
        ("post_call.do_not_call", {"post_call": {"do_not_call": "yes"}}, False),
        ("post_call.do_not_call", {"post_call": {"do_not_call": "false"}}, False),
        ("post_call.do_not_call", {"post_call": {"do_not_call": 1}}, False),
        ("post_call", {"post_call": {"do_not_call": True}}, False),
        # What can't be worked out stops nobody.
        ("contains(post_call.said, 'stop')", {"post_call": {}}, False),
        ("contains(post_call.said, 'stop')", {"post_call": {"said": 7}}, False),
        ("contains(post_call.said, 'stop')", {"post_call": {"said": "please stop"}}, True),
    ],
)
def test_who_asks_to_stop_is_told_by_the_setting(suppress_when, more, stops):
    expression = suppress_when and Expression.of(suppress_when)
    assert asks_to_stop(read(**more), expression) is stops


@pytest.mark.parametrize("suppress_when", [None, "`false`", "abs(result) > `0`"])
def test_a_number_that_does_not_exist_is_not_called_again_whatever_the_setting(suppress_when):
    expression = suppress_when and Expression.of(suppress_when)
    assert asks_to_stop(read(hangup_reason="INVALID_PHONE_NUMBER"), expression)
    assert asks_to_stop(read(hangup_reason="DND_NUMBER"), expression)


@each("reason", sorted(set(RESULTS) - {"INVALID_PHONE_NUMBER", "DND_NUMBER"}))
def test_no_other_end_of_a_call_stops_by_itself(reason):
    assert not asks_to_stop(read(hangup_reason=reason), None)


def number_in(content: Any, **more: Any) -> str | None:
    return number_of(content, replace(LEAST, **more))


@each(
    ("written", "number"),
    [
        ("919876543210", "+919876543210"),
        ("+919876543210", "+919876543210"),
        ("+91 98765-43210", "+919876543210"),
        (919876543210, "+919876543210"),
        ("12025550123", "+12025550123"),
        # Nothing is guessed: without its country it is no number.
        ("9876543210", None),
        ("09876543210", None),
        ("00919876543210", None),
        ("91987654321", None),
        ("", None),
        ("asha", None),
        ("9" * 500, None),
        pytest.param(10**5000, None, id="endless"),
        (-919876543210, None),
        (919876543210.0, None),
        (True, None),
        (None, None),
        (["919876543210"], None),
        ({"number": "919876543210"}, None),
    ],
)
def test_the_persons_number_is_read_where_it_is_surely_one(written, number):
    assert number_in({"data": {"to": written, "from": "918000000000"}}) == number


@pytest.mark.parametrize(
    ("try_count", "number"),
    [
        (0, "+919876543210"),
        (3, "+919876543210"),
        (INBOUND, "+918045670000"),  # of an inbound call, who called
    ],
)
def test_the_person_is_who_was_called_or_who_called(try_count, number):
    data = {"to": "919876543210", "from": "918045670000"}
    assert number_in({"event": "call_ended", "data": data}, try_count=try_count) == number


@each(
    "content",
    [None, [], "text", 7, {}, {"data": None}, {"data": []}, {"data": "to"}, {"data": [1]}],
)
def test_a_body_of_another_shape_has_no_number(content):
    assert number_in(content) is None


# --- records ---------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [READ, LEAST, replace(READ, conversion_status=False)])
@pytest.mark.parametrize("written", [as_record, stored_record])
def test_an_outcome_is_read_back_as_it_was_written(outcome, written):
    assert read_record(orjson.loads(orjson.dumps(written(outcome)))) == outcome


def test_what_the_rest_of_an_outcome_says_is_not_stored():
    at = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    stored = stored_record(replace(READ, received_at=at))
    assert stored["post_call_detail"] == {"interested": {"comment": "Asked."}}
    assert "received_at" not in stored
    unended = replace(READ, ended_at=None, received_at=at)
    assert read_record(stored_record(unended)) == unended


@each("value", [True, 1.0, "1", None, [1]])
def test_a_value_that_is_not_that_of_post_call_is_stored(value):
    detail = {"a": {"value": value, "comment": None}, "b": {"value": None, "comment": "c"}}
    outcome = replace(READ, post_call={"a": 1}, post_call_detail=detail)
    assert stored_record(outcome)["post_call_detail"]["a"]["value"] == value
    assert repr(read_record(stored_record(outcome)).post_call_detail) == repr(detail)


def test_a_record_of_a_newer_release_is_read():
    record = {**as_record(READ), "mood": "fine", "result": "abducted"}
    assert read_record(record) == replace(READ, result=Result.UNRECOGNISED)


def test_a_record_of_an_older_release_is_read():
    assert read_record({"call_sid": "c-1"}) == LEAST


def test_an_outcome_does_not_print_what_was_said():
    assert repr(READ) == "Outcome(call_sid='c-1', try=1, result=<Result.CONNECTED: 'connected'>)"


# --- answers ---------------------------------------------------------------------------------


def test_an_outcome_is_shown_with_its_numbers_masked():
    said = replace(
        READ,
        transcription="User: call 98765 43210 instead",
        disposition_reason="wants +919876543210",
        hangup_reason="TO 9876543210",
        post_call={
            "phone": "+919876543210",
            "alternative": 9876543210,
            "said": ["my number is 98765-43210!", "9876543210!"],
            "callback_at": "2025-12-20 10:00",
            "visit_on": "2025-12-20",
            "score": 7,
        },
        post_call_detail={
            "phone": {"value": "+919876543210", "comment": "Said 98765 43210."},
            "score": {"value": 7, "comment": None},
        },
    )
    assert OutcomeResponse().dump(said) == {
        "call_sid": "c-1",
        "try_count": 1,
        "final": True,
        "result": "connected",
        "hangup_reason": "TO ••••••3210",
        "ended_at": "2025-12-19T10:31:07.000Z",
        "duration_s": 42,
        "conversion_status": True,
        "disposition_reason": "wants +91••••••3210",
        "post_call": {
            "phone": "+91••••••3210",
            "alternative": "••••••3210",
            "said": ["my number is ••••••3210!", "••••••3210!"],
            "callback_at": "2025-12-20 10:00",
            "visit_on": "2025-12-20",
            "score": 7,
        },
        "recording_url": "https://recordings.example/c-1.mp3",
        "call_link": "https://dashboard.example/calls/c-1",
        "transcription": "User: call ••••••3210 instead",
        "post_call_detail": {
            "phone": {"value": "+91••••••3210", "comment": "Said ••••••3210."},
            "score": {"value": 7, "comment": None},
        },
        "version_id": "v1",
    }


def test_a_number_does_not_hide_behind_a_date():
    said = replace(READ, post_call={"said": "2025-12-20 10:00 9876543210"})
    assert "98765" not in str(OutcomeResponse().dump(said))


def test_what_is_not_known_is_shown_as_null():
    shown = OutcomeResponse().dump(LEAST)
    known = {"call_sid": "c-1", "try_count": 0, "final": True, "result": "unrecognised"}
    assert {name: value for name, value in shown.items() if value is not None} == {
        **known,
        "post_call": {},
        "post_call_detail": {},
    }
    assert len(shown) == 15


@each(
    ("given", "kept"),
    [
        ({"a": {"value": 1, "comment": " Said so. "}}, {"a": {"value": 1, "comment": "Said so."}}),
        ({"a": {"value": None}}, {"a": {"value": None, "comment": None}}),
        ({"a": {"comment": 7, "more": "x"}}, {"a": {"value": None, "comment": None}}),
        ({"a": {"value": {"deep": [1]}}}, {"a": {"value": {"deep": [1]}, "comment": None}}),
        ({"a": "text", "b": None, "c": {"other": 1}, "d": []}, {}),
        ({"a": {"value": 1, "comment": "x" * 9000}}, {"a": {"value": 1, "comment": "x" * 500}}),
        ({"a": {"value": "x" * 9000}, "b": {"value": 2}}, {"b": {"value": 2, "comment": None}}),
        ([{"a": 1}], {}),
        ("text", {}),
    ],
)
def test_the_agents_comments_are_kept_as_far_as_they_fit(given, kept):
    assert read(post_call_detail=given).post_call_detail == kept


def test_the_agents_comments_are_bounded_in_all():
    given = {f"v{number}": {"value": "y", "comment": "c" * 490} for number in range(1000)}
    kept = read(post_call_detail=given).post_call_detail
    assert 10 < len(kept) < 20
    assert len(orjson.dumps(kept)) < 9 * 1024


def test_a_record_without_the_agents_comments_is_read():
    old = as_record(READ)
    for name in ("post_call_detail", "version_id"):
        del old[name]
    older = read_record(old)
    assert older == replace(READ, post_call_detail={}, version_id=None)
    assert older.received_at is None
    at = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert read_record(as_record(replace(READ, received_at=at))).received_at == at


@each(
    ("address", "is_kept"),
    [
        ("https://recordings.example/c-1.mp3", True),
        ("http://localhost:8001/recordings/1", True),
        ("HTTPS://Recordings.Example", True),
        ("https://192.0.2.7/a?b=c#d", True),
        ("javascript:alert(1)", False),
        ("data:audio/mpeg;base64,AAAA", False),
        ("https://good.example@evil.example/", False),
        ("https://good.example\\@evil.example/", False),
        ("https://evil.example;script-src/a", False),
        ("https://*.example/", False),
        ("https://[::1]/", False),
        ("https://a..b/", False),
        ("https://-a.example/", False),
        ("https:///path", False),
        ("//recordings.example/1", False),
        ("https://recordings.example/a b", False),
    ],
)
def test_a_link_has_a_plain_host_name(address, is_kept):
    kept = address if is_kept else None
    assert read(recordingUrl=address).recording_url == kept
    # Also of a record that an older release kept.
    shown = headline(replace(READ, recording_url=address, call_link=address))
    assert (shown.recording_url, shown.call_link) == (kept, kept)


def test_a_delivery_is_shown_with_its_outcomes():
    delivery = Delivery(
        id="d-1",
        event_id="e-1",
        source="website",
        subject=None,
        route="call back",
        to="call",
        routes="r",
        status=Status.DELIVERED,
        order=1,
        created_at=datetime(2025, 12, 19, tzinfo=UTC),
    )
    assert DeliveryResponse().dump(delivery)["outcomes"] == []
    shown = DeliveryResponse().dump(replace(delivery, outcomes=(LEAST, READ)))
    assert [one["result"] for one in shown["outcomes"]] == ["unrecognised", "connected"]
